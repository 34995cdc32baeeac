//! The whole conversation over a real socket, with a service that is made up.

#![allow(clippy::unwrap_used)]

use super::super::findings::VerifyReport;
use super::super::messages::*;
use super::super::{ProgressSink, Server, Service, socket};
use super::*;
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Wait reports and then waits to be let go; unmount says what is left; everything else is refused.
#[derive(Default)]
struct Fake {
    go: Notify,
    given_up: Arc<AtomicBool>,
    dropped: Arc<Notify>,
}

struct OnDrop(Arc<AtomicBool>, Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        self.1.notify_one();
    }
}

fn refused<T>() -> Result<T, Failure> {
    Err(Failure::failed("not here"))
}

#[async_trait]
impl Service for Fake {
    fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            version: "9".into(),
            pid: 7,
            mount: MountPath::new(Path::new("/m/\u{e9}")),
            life: 0,
            fell_back: false,
        }
    }
    async fn status(&self) -> Result<StatusReply, Failure> {
        refused()
    }
    async fn look(&self, path: &MountPath) -> Result<PathStatus, Failure> {
        let path = path.to_string();
        Ok(PathStatus { path, state: "dirty".into(), size_bytes: 3, local_bytes: 4096, pinned: false, devices: None })
    }
    async fn wait(&self, _: &MountPath, timeout: Option<Duration>, sink: &ProgressSink) -> Result<(), Failure> {
        let _guard = OnDrop(Arc::clone(&self.given_up), Arc::clone(&self.dropped));
        sink.set(Progress { items: 1, items_total: 2, ..Default::default() });
        if timeout == Some(Duration::ZERO) {
            return Err(Failure::timed_out("not yet"));
        }
        self.go.notified().await;
        Ok(())
    }
    async fn unmount(&self, now: bool, _: Option<Duration>, _: &ProgressSink) -> Result<QueueStatus, Failure> {
        Ok(QueueStatus { operations: u64::from(now), bytes: 5, local_only: 0 })
    }
    async fn hydrate(&self, paths: &[MountPath], _: &ProgressSink) -> Result<Work, Failure> {
        Ok(Work { files: paths.len() as u64, ..Default::default() })
    }
    async fn evict(&self, _: &[MountPath], _: &ProgressSink) -> Result<Work, Failure> {
        refused()
    }
    async fn pin(&self, _: &[MountPath], _: &ProgressSink) -> Result<Work, Failure> {
        refused()
    }
    async fn unpin(&self, _: &[MountPath]) -> Result<Work, Failure> {
        refused()
    }
    async fn programs(&self) -> Result<Vec<ProgramRow>, Failure> {
        Ok(Vec::new())
    }
    async fn limit(&self, _: RateChange, _: RateChange) -> Result<RateLimits, Failure> {
        Ok(RateLimits::default())
    }
    async fn confirm(&self) -> Result<Work, Failure> {
        refused()
    }
    async fn undo(&self) -> Result<Work, Failure> {
        refused()
    }
    async fn verify(&self, _: &MountPath, light: bool, _: &ProgressSink) -> Result<VerifyReport, Failure> {
        Ok(VerifyReport { light, ..Default::default() })
    }
    async fn resolve(&self, _: &MountPath, _: Option<&str>, _: Choice) -> Result<Resolved, Failure> {
        refused()
    }
    async fn conflicts(&self, _: &MountPath) -> Result<Vec<ConflictRow>, Failure> {
        Ok(Vec::new())
    }
}

struct Stand {
    service: Arc<Fake>,
    server: Server,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

fn stand() -> Stand {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let service = Arc::new(Fake::default());
    let server = Server::start(socket::listen(&path).unwrap(), Arc::clone(&service) as Arc<dyn Service>);
    Stand { service, server, path, _dir: dir }
}

fn wait_request(timeout_ms: Option<u64>) -> Request {
    Request::Wait { path: MountPath::new(Path::new("")), timeout_ms }
}

#[tokio::test]
async fn requests_are_answered_with_progress_in_between() {
    let stand = stand();
    let mut client = Client::connect(&stand.path).await.unwrap();
    assert_eq!((client.hello().pid, client.hello().mount.to_path()), (7, PathBuf::from("/m/\u{e9}")));
    let mut seen = Vec::new();
    let reply = client.ask(wait_request(None), |progress| {
        seen.push(progress.items);
        stand.service.go.notify_one();
    });
    assert_eq!(reply.await.unwrap(), Reply::Durable);
    assert_eq!(seen, [1]);
}

#[tokio::test]
async fn any_bytes_make_a_path() {
    use std::os::unix::ffi::OsStrExt;
    let path = MountPath::new(Path::new(std::ffi::OsStr::from_bytes(b"a\xff\n\"b")));
    let json = serde_json::to_string(&path).unwrap();
    assert_eq!(serde_json::from_str::<MountPath>(&json).unwrap(), path);
    let stand = stand();
    let mut client = Client::connect(&stand.path).await.unwrap();
    let reply = client.ask(Request::Hydrate { paths: vec![path] }, |_| {}).await.unwrap();
    assert_eq!(reply, Reply::Done(Work { files: 1, ..Default::default() }));
}

#[tokio::test]
async fn failures_keep_their_kind() {
    let stand = stand();
    let mut client = Client::connect(&stand.path).await.unwrap();
    let failed = client.ask(Request::Status, |_| {}).await.unwrap_err();
    assert!(matches!(failed, ClientError::Failed(Failure { kind: FailureKind::Failed, .. })), "{failed}");
    let mut client = Client::connect(&stand.path).await.unwrap();
    let late = client.ask(wait_request(Some(0)), |_| {}).await.unwrap_err();
    assert!(matches!(late, ClientError::Failed(Failure { kind: FailureKind::TimedOut, .. })), "{late}");
}

#[tokio::test]
async fn work_is_given_up_when_its_client_goes_away() {
    let stand = stand();
    let mut client = Client::connect(&stand.path).await.unwrap();
    let dropped = Arc::clone(&stand.service.dropped);
    {
        let ask = client.ask(wait_request(None), |_| {});
        tokio::pin!(ask);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut ask).await.is_err());
    }
    drop(client);
    tokio::time::timeout(Duration::from_secs(5), dropped.notified()).await.unwrap();
    assert!(stand.service.given_up.load(Ordering::SeqCst));
}

#[tokio::test]
async fn stopping_lets_answers_out_and_drops_idle_connections() {
    let stand = stand();
    let mut idle = Client::connect(&stand.path).await.unwrap();
    let mut client = Client::connect(&stand.path).await.unwrap();
    let service = Arc::clone(&stand.service);
    let mut reported = false;
    let ask = client.ask(wait_request(None), |_| {
        reported = true;
        service.go.notify_one();
    });
    let (reply, ()) = tokio::join!(ask, stand.server.stop(Duration::from_secs(5)));
    assert!(matches!(reply, Ok(Reply::Durable) | Err(ClientError::Ended)), "{reply:?}");
    assert!(matches!(idle.ask(Request::Status, |_| {}).await, Err(ClientError::Ended)));
    assert!(matches!(Client::connect(&stand.path).await, Err(ClientError::NoDaemon)));
}

#[tokio::test]
async fn another_version_is_told_what_to_do() {
    let stand = stand();
    let mut stream = BufReader::new(socket::connect(&stand.path).await.unwrap());
    let _hello: Hello = read_line(&mut stream).await.unwrap();
    stream.write_all(b"{\"protocol\":99,\"request\":\"of the future\"}\n").await.unwrap();
    let Line::Failure(failure) = read_line(&mut stream).await.unwrap() else { panic!("a failure") };
    assert!(failure.message.contains("different versions"), "{failure}");
}

#[tokio::test]
async fn a_daemon_of_another_version_is_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = socket::listen(&path).unwrap();
    let daemon = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"{\"protocol\":99,\"version\":\"3.1\",\"new\":true}\n").await.unwrap();
    };
    let (client, ()) = tokio::join!(Client::connect(&path), daemon);
    assert!(matches!(client, Err(ClientError::OtherVersion(version)) if version == "3.1"));
}

#[tokio::test]
async fn nobody_there_and_garbage_are_told_apart() {
    let stand = stand();
    let nobody = Client::connect(&stand.path.with_file_name("none")).await;
    assert!(matches!(nobody, Err(ClientError::NoDaemon)));
    let mut stream = BufReader::new(socket::connect(&stand.path).await.unwrap());
    let _hello: Hello = read_line(&mut stream).await.unwrap();
    stream.write_all(b"garbage\n").await.unwrap();
    let Line::Failure(failure) = read_line(&mut stream).await.unwrap() else { panic!("a failure") };
    assert!(failure.message.contains("cannot be read"), "{failure}");
}
