//! The command line: accounts, check, starting and ending, as other programs use it.

use crate::database::Place;
use crate::server::{PASSWORD, code, http, json, noise, upload_body};
use reqwest::header::CONTENT_TYPE;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tarn_proto::api::*;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::ChunkId;

each_database!(
    an_account_is_made_once,
    the_server_ends_in_order_and_keeps_what_it_acknowledged,
    a_killed_server_keeps_what_it_acknowledged,
    check_names_what_is_damaged,
);

impl Place {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tarn-server"));
        command.args(words);
        command
    }

    fn stores(&self, words: &[&str]) -> Command {
        let mut command = self.command(words);
        let objects = self.config().objects;
        command.args(["--database", &self.database, "--objects", &objects]);
        command
    }

    fn add(&self, name: &str, password: &str) -> Output {
        let mut command = self.command(&["user", "add", name, "--password-stdin", "--database", &self.database]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn serve(&self) -> Served {
        let mut command = self.stores(&["serve", "--listen", "127.0.0.1:0", "--log-level", "warn"]);
        let mut child = command.arg("--data").arg(self.dir.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("the address").to_owned();
        Served { child, url }
    }
}

struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn signal(&self, signal: &str) {
        Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
    }

    async fn login(&self, password: &str) -> reqwest::Response {
        let (user, device_name) = ("carl".to_owned(), "laptop".to_owned());
        let request = LoginRequest { user, password: password.into(), device_name, device: None };
        let call = http().post(format!("{}/api/v1/auth/login", self.url)).header(CONTENT_TYPE, MEDIA_JSON);
        call.body(serde_json::to_vec(&request).unwrap()).send().await.unwrap()
    }

    async fn upload(
        &self,
        login: &LoginResponse,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}/api/v1/spaces/{}/chunks", self.url, login.home);
        http().post(url).bearer_auth(&login.token).header(CONTENT_TYPE, MEDIA_CHUNKS).body(body).send().await
    }

    async fn missing(&self, login: &LoginResponse, ids: &[ChunkId]) -> Vec<ChunkId> {
        let url = format!("{}/api/v1/spaces/{}/chunks/missing", self.url, login.home);
        let body = serde_json::to_vec(&MissingRequest { ids: ids.to_vec() }).unwrap();
        json::<MissingResponse>(http().post(url).bearer_auth(&login.token).body(body).send().await.unwrap())
            .await
            .missing
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn an_account_is_made_once(place: Place) {
    assert_eq!(place.add("carl", &format!("{PASSWORD}\n")).status.code(), Some(0), "before the server ever ran");
    let served = place.serve();
    let again = place.add("carl", "other");
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("carl"));
    assert_eq!(code(served.login("other").await).await, ErrorCode::BadCredentials, "nothing was changed");
    json::<LoginResponse>(served.login(PASSWORD).await).await;
    assert_eq!(place.add("dora", "two\nlines\n").status.code(), Some(0), "while the server runs");
    for (name, password) in [("", "x"), (&*"n".repeat(65), "x"), ("eve", ""), ("eve", "\n")] {
        assert_eq!(place.add(name, password).status.code(), Some(1), "{name:?} {password:?}");
    }
    for words in [&["serve"][..], &["user", "add", "x", "--password-stdin"], &["check"], &["nonsense"]] {
        assert_eq!(place.command(words).stderr(Stdio::null()).status().unwrap().code(), Some(2), "{words:?}");
    }
}

async fn the_server_ends_in_order_and_keeps_what_it_acknowledged(place: Place) {
    place.add("carl", PASSWORD);
    let mut served = place.serve();
    let login: LoginResponse = json(served.login(PASSWORD).await).await;
    let (body, ids) = upload_body(&[noise(1, 100_000)]);
    assert!(served.upload(&login, body).await.unwrap().status().is_success());
    let (endless, half) = endless_body();
    let started = Instant::now();
    let (unfinished, ()) = tokio::join!(served.upload(&login, endless), async {
        half.await.unwrap();
        served.signal("-TERM");
    });
    assert!(unfinished.is_err(), "an upload without its end is not acknowledged");
    let status = served.child.wait().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "it ended after {:?}", started.elapsed());
    assert_eq!(status.code(), Some(0));
    let served = place.serve();
    assert_eq!(served.missing(&login, &ids).await, []);
}

/// A body whose first half was sent when the receiver is told, and that never ends.
fn endless_body() -> (reqwest::Body, tokio::sync::oneshot::Receiver<()>) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let (body, _) = upload_body(&[noise(2, 100_000)]);
    let first = futures_util::stream::once(async move { Ok::<_, std::io::Error>(body[..50_000].to_vec()) });
    let then = futures_util::stream::once(async move {
        sender.send(()).unwrap();
        std::future::pending::<Result<Vec<u8>, std::io::Error>>().await
    });
    (reqwest::Body::wrap_stream(futures_util::StreamExt::chain(first, then)), receiver)
}

async fn a_killed_server_keeps_what_it_acknowledged(place: Place) {
    place.add("carl", PASSWORD);
    let served = place.serve();
    let login: LoginResponse = json(served.login(PASSWORD).await).await;
    let mut acknowledged = Vec::new();
    for seed in 0..20 {
        let (body, ids) = upload_body(&[noise(seed, 30_000)]);
        if seed == 15 {
            served.signal("-KILL");
        }
        if served.upload(&login, body).await.is_ok_and(|answer| answer.status().is_success()) {
            acknowledged.extend(ids);
        }
    }
    assert!(acknowledged.len() >= 15);
    drop(served);
    let served = place.serve();
    assert_eq!(served.missing(&login, &acknowledged).await, []);
    let output = place.stores(&["check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

async fn check_names_what_is_damaged(place: Place) {
    place.add("carl", PASSWORD);
    let served = place.serve();
    let login: LoginResponse = json(served.login(PASSWORD).await).await;
    let (body, ids) = upload_body(&[noise(1, 30_000)]);
    served.upload(&login, body).await.unwrap();
    let clean = place.stores(&["check"]).output().unwrap();
    assert_eq!(clean.status.code(), Some(0), "{}", String::from_utf8_lossy(&clean.stdout));
    let pack = place.packs().into_iter().find(|path| path.extension().is_some_and(|e| e == "pack")).unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[20_000] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let damaged = place.stores(&["check"]).output().unwrap();
    assert_eq!(damaged.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&damaged.stdout).contains(&ids[0].to_string()));
}

#[test]
fn check_makes_no_server_of_a_folder_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_tarn-server"));
    let output = check.args(["check", "--data"]).arg(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no server keeps its data here"), "{output:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
