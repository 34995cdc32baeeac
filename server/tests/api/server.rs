//! Owns a server in this process, and devices that call it.

use crate::database::Place;
use bytes::BytesMut;
use reqwest::{Method, Response, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;
use tarn_proto::api::*;
use tarn_proto::chunk::wire::{ChunkKind, put_upload_item};
use tarn_proto::chunk::{ContentKey, chunk_id, encode};
use tarn_proto::error::{ErrorCode, Problem};
use tarn_proto::ids::{ChunkId, DeviceId, SpaceId};
use tarn_server::app::App;
use tarn_server::config::{self, ServeConfig};
use tarn_server::env::Env;
use tarn_server::service::accounts;
use tarn_server::store::Database;

pub const PASSWORD: &str = "correct horse";

/// A running server.
pub struct Server {
    pub place: Place,
    app: Option<App>,
    http: reqwest::Client,
}

impl Place {
    /// How a server of this place is told to run.
    pub fn config(&self) -> ServeConfig {
        let data = self.dir.path().to_owned();
        ServeConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            database: self.database.clone(),
            objects: config::default_objects(&data),
            put_log: Some(data.join("put.log")),
            data,
            insecure: false,
        }
    }

    /// The files of packs.
    pub fn packs(&self) -> Vec<PathBuf> {
        let Ok(dirs) = std::fs::read_dir(self.dir.path().join("objects")) else { return Vec::new() };
        dirs.flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap().map(|file| file.unwrap().path())).collect()
    }
}

pub fn http() -> reqwest::Client {
    // A second installation is another test's; the first one stays.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap()
}

impl Server {
    /// Starts a server with the accounts `anna` and `bert`.
    pub async fn start(place: Place) -> Self {
        let db = Database::open(&place.database).await.unwrap();
        for name in ["anna", "bert"] {
            accounts::add(&db, &Env::real(), name, PASSWORD.into(), None).await.unwrap();
        }
        db.close().await;
        let app = App::start(&place.config(), Env::real()).await.unwrap();
        Self { place, app: Some(app), http: http() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.app.as_ref().unwrap().address())
    }

    pub async fn stop(&mut self) {
        self.app.take().unwrap().stop().await.unwrap();
    }

    /// Another process's server over the same stores, where the database is made for that.
    pub async fn second(&self) -> Option<Self> {
        if self.place.database.starts_with("sqlite") {
            return None;
        }
        let place = self.place.beside();
        let config = ServeConfig { objects: self.place.config().objects, ..place.config() };
        let app = App::start(&config, Env::real()).await.unwrap();
        Some(Self { place, app: Some(app), http: http() })
    }

    pub async fn restart(&mut self) {
        self.app = Some(App::start(&self.place.config(), Env::real()).await.unwrap());
    }

    /// A call without a token.
    pub fn call(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url()))
    }

    pub async fn login(&self, user: &str, password: &str, device_name: &str, device: Option<DeviceId>) -> Response {
        let request =
            LoginRequest { user: user.into(), password: password.into(), device_name: device_name.into(), device };
        self.call(Method::POST, "/api/v1/auth/login")
            .header(header::CONTENT_TYPE, MEDIA_JSON)
            .body(serde_json::to_vec(&request).unwrap())
            .send()
            .await
            .unwrap()
    }

    /// A device that has signed in.
    pub async fn device(&self, user: &str, name: &str) -> Device<'_> {
        let login: LoginResponse = json(self.login(user, PASSWORD, name, None).await).await;
        Device { server: self, login }
    }
}

/// A device with its token.
pub struct Device<'a> {
    pub server: &'a Server,
    pub login: LoginResponse,
}

impl Device<'_> {
    pub fn call(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.server.call(method, &format!("/api/v1{path}")).bearer_auth(&self.login.token)
    }

    pub fn space(&self, path: &str) -> String {
        space(self.login.home, path)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.call(Method::GET, path).send().await.unwrap()
    }

    pub async fn post<T: Serialize>(&self, path: &str, message: &T) -> Response {
        let body = serde_json::to_vec(message).unwrap();
        self.call(Method::POST, path).header(header::CONTENT_TYPE, MEDIA_JSON).body(body).send().await.unwrap()
    }

    pub async fn missing(&self, ids: &[ChunkId]) -> Vec<ChunkId> {
        let request = MissingRequest { ids: ids.to_vec() };
        json::<MissingResponse>(self.post(&self.space("/chunks/missing"), &request).await).await.missing
    }

    pub async fn upload(&self, body: impl Into<reqwest::Body>) -> Response {
        let call = self.call(Method::POST, &self.space("/chunks"));
        call.header(header::CONTENT_TYPE, MEDIA_CHUNKS).body(body).send().await.unwrap()
    }
}

pub fn space(space: SpaceId, path: &str) -> String {
    format!("/spaces/{space}{path}")
}

/// The message of an answer that must be a success.
pub async fn json<T: DeserializeOwned>(response: Response) -> T {
    let status = response.status();
    let body = response.bytes().await.unwrap();
    assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

/// The code of an answer that must be a problem, well formed.
pub async fn code(response: Response) -> ErrorCode {
    let status = response.status();
    let media = response.headers().get(header::CONTENT_TYPE).cloned();
    let body = response.bytes().await.unwrap();
    assert_eq!(media.as_ref().map(|media| media.as_bytes()), Some(MEDIA_PROBLEM.as_bytes()), "{status} {body:?}");
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.status, status.as_u16());
    assert_eq!(problem.retryable, problem.code.is_retryable());
    problem.code
}

/// Bytes that do not compress.
pub fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// An upload body of data chunks, and their ids.
pub fn upload_body(plains: &[Vec<u8>]) -> (Vec<u8>, Vec<ChunkId>) {
    let mut body = BytesMut::new();
    let put = |plain: &Vec<u8>| {
        let id = chunk_id(&ContentKey::Ordinary, plain);
        put_upload_item(&mut body, ChunkKind::Data, id, &encode(&ContentKey::Ordinary, plain, 1).unwrap());
        id
    };
    let ids = plains.iter().map(put).collect();
    (body.to_vec(), ids)
}
