//! A daemon's life with a mount that is made up.

#![allow(clippy::unwrap_used)]

use super::super::StandingMount;
use super::*;
use crate::control::findings::VerifyReport;
use crate::control::messages::*;
use crate::control::{Failure, PROTOCOL, ProgressSink};
use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use tarn_proto::ids::{DeviceId, SpaceId, UserId};
use tokio::sync::watch;

/// Goes away when it is told to; is busy for whoever asks politely.
#[derive(Debug)]
struct FakeMount {
    gone: watch::Sender<bool>,
    busy: bool,
}

#[async_trait]
impl StandingMount for FakeMount {
    fn unmount(&self) -> io::Result<()> {
        if self.busy {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        self.detach()
    }
    fn detach(&self) -> io::Result<()> {
        self.gone.send_replace(true);
        Ok(())
    }
    async fn gone(&self) {
        self.gone.subscribe().wait_for(|gone| *gone).await.unwrap();
    }
}

struct FakeService {
    ending: Arc<Ending>,
    mount: PathBuf,
}

fn refused<T>() -> Result<T, Failure> {
    Err(Failure::failed("not here"))
}

#[async_trait]
impl Service for FakeService {
    fn hello(&self) -> Hello {
        let mount = MountPath::new(&self.mount);
        Hello { protocol: PROTOCOL, version: "0".into(), pid: std::process::id(), mount, life: 0, fell_back: false }
    }
    async fn status(&self) -> Result<StatusReply, Failure> {
        refused()
    }
    async fn look(&self, _: &MountPath) -> Result<PathStatus, Failure> {
        refused()
    }
    async fn wait(&self, _: &MountPath, _: Option<Duration>, _: &ProgressSink) -> Result<(), Failure> {
        refused()
    }
    async fn unmount(&self, now: bool, _: Option<Duration>, _: &ProgressSink) -> Result<QueueStatus, Failure> {
        if now {
            self.ending.take_away_now();
        } else {
            self.ending.take_away()?;
        }
        Ok(QueueStatus { operations: 3, bytes: 9, local_only: 0 })
    }
    async fn hydrate(&self, _: &[MountPath], _: &ProgressSink) -> Result<Work, Failure> {
        refused()
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
        Err(Failure::failed("not here"))
    }
    async fn undo(&self) -> Result<Work, Failure> {
        Err(Failure::failed("not here"))
    }
    async fn verify(&self, _: &MountPath, _: bool, _: &ProgressSink) -> Result<VerifyReport, Failure> {
        Err(Failure::failed("not here"))
    }
    async fn resolve(&self, _: &MountPath, _: Option<&str>, _: Choice) -> Result<Resolved, Failure> {
        refused()
    }
    async fn conflicts(&self, _: &MountPath) -> Result<Vec<ConflictRow>, Failure> {
        refused()
    }
}

struct Stand {
    dir: tempfile::TempDir,
    home: Home,
    env: Env,
}

impl Stand {
    fn signed_in(home: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(&dir.path().join(home));
        let stand = Self { home, env: Env::real(), dir };
        std::fs::create_dir(stand.mount()).unwrap();
        stand.credentials().save(&stand.env, &stand.home.credentials_file()).unwrap();
        stand
    }

    fn mount(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    fn credentials(&self) -> Credentials {
        let (device, home) = (DeviceId([2; 16]), SpaceId([3; 16]));
        let (server, user, device_name) = ("http://localhost:1".into(), "ada".into(), "desk".into());
        let user_id = UserId([1; 16]);
        Credentials { server, user, user_id, device, device_name, home, token: Some("t".into()) }
    }

    /// Runs a daemon whose mount is busy or not; `shown` is where it says that it is mounted.
    fn run(&self, busy: bool, shown: PathBuf, ready: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopped);
        let build = async move |ground: &Ground| {
            let mount = FakeMount { gone: watch::channel(false).0, busy };
            let ending = Arc::new(Ending::new(Box::new(mount), ground.options.dir.clone()));
            let service = Arc::new(FakeService { ending: Arc::clone(&ending), mount: shown });
            let stop = Box::pin(async move { flag.store(true, Ordering::SeqCst) });
            Ok(Standing { service, ending, connection: None, table: None, rest: Arc::new(|| {}), stop })
        };
        let outcome = run(&self.env, &self.home, MountOptions::at(self.mount()), None, build, ready);
        assert!(outcome.as_ref().is_err_and(|e| !e.to_string().contains("gone")) || stopped.load(Ordering::SeqCst));
        outcome
    }

    fn ask(&self, request: Request) -> Result<Reply, crate::control::ClientError> {
        let socket = Marker::load(&self.env, &self.home).unwrap().socket.to_path();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { Client::connect(&socket).await?.ask(request, |_| {}).await })
    }
}

#[test]
fn it_serves_until_it_is_unmounted_and_leaves_no_trace() {
    for home in ["home".to_owned(), "h".repeat(250)] {
        let stand = Stand::signed_in(&home);
        let (said, hear) = mpsc::channel();
        std::thread::scope(|scope| {
            let daemon = scope
                .spawn(|| stand.run(false, stand.mount(), |path| said.send(path.to_owned()).map_err(io::Error::other)));
            assert_eq!(hear.recv().unwrap(), stand.mount().canonicalize().unwrap());
            let reply = stand.ask(Request::Unmount { now: false, timeout_ms: None }).unwrap();
            assert_eq!(reply, Reply::Unmounted { left: QueueStatus { operations: 3, bytes: 9, local_only: 0 } });
            daemon.join().unwrap().unwrap();
        });
        assert_eq!(Marker::load(&stand.env, &stand.home), None);
        assert!(!stand.home.socket().exists());
        StateLock::acquire(&stand.env, &stand.home.state_dir(), Duration::ZERO).unwrap();
    }
}

#[test]
fn a_busy_mount_stays_unless_it_must_go_now() {
    let stand = Stand::signed_in("home");
    let (said, hear) = mpsc::channel();
    std::thread::scope(|scope| {
        let daemon = scope.spawn(|| stand.run(true, stand.mount(), |_| said.send(()).map_err(io::Error::other)));
        hear.recv().unwrap();
        let refused = stand.ask(Request::Unmount { now: false, timeout_ms: None }).unwrap_err();
        assert!(refused.to_string().contains("in use by"), "{refused}");
        stand.ask(Request::Unmount { now: true, timeout_ms: None }).unwrap();
        daemon.join().unwrap().unwrap();
    });
}

#[test]
fn a_second_mount_of_one_state_is_told_where_the_first_is() {
    let stand = Stand::signed_in("home");
    let (said, hear) = mpsc::channel();
    std::thread::scope(|scope| {
        // Something really mounted, or the first would count as ending.
        let daemon = scope.spawn(|| stand.run(false, "/proc".into(), |_| said.send(()).map_err(io::Error::other)));
        hear.recv().unwrap();
        let second = stand.run(false, stand.mount(), |_| Ok(())).unwrap_err();
        assert!(second.to_string().contains("mounted at /proc already"), "{second}");
        stand.ask(Request::Unmount { now: true, timeout_ms: None }).unwrap();
        daemon.join().unwrap().unwrap();
    });
}

#[test]
fn a_daemon_that_is_ending_is_waited_for() {
    let stand = Stand::signed_in("home");
    let lock = StateLock::acquire(&stand.env, &stand.home.state_dir(), Duration::ZERO).unwrap();
    let (said, hear) = mpsc::channel();
    std::thread::scope(|scope| {
        let daemon = scope.spawn(|| stand.run(false, stand.mount(), |_| said.send(()).map_err(io::Error::other)));
        assert!(hear.recv_timeout(Duration::from_millis(150)).is_err());
        drop(lock);
        hear.recv_timeout(Duration::from_secs(5)).unwrap();
        stand.ask(Request::Unmount { now: true, timeout_ms: None }).unwrap();
        daemon.join().unwrap().unwrap();
    });
}

#[test]
fn nobody_who_is_not_signed_in_mounts() {
    let stand = Stand::signed_in("home");
    Credentials { token: None, ..stand.credentials() }.save(&stand.env, &stand.home.credentials_file()).unwrap();
    let refused = stand.run(false, stand.mount(), |_| Ok(())).unwrap_err();
    assert!(refused.to_string().contains("tarn login"), "{refused}");
}

#[test]
fn without_anybody_to_tell_it_takes_the_mount_away_again() {
    let stand = Stand::signed_in("home");
    let failed = stand.run(true, stand.mount(), |_| Err(io::ErrorKind::BrokenPipe.into())).unwrap_err();
    assert!(failed.to_string().contains("gone"), "{failed}");
    assert_eq!(Marker::load(&stand.env, &stand.home), None);
}
