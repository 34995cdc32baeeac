//! Owns the seam that the daemon implements: what requests mean.

use super::findings::VerifyReport;
use super::messages::{Failure, Hello, MountPath, Progress, Reply, Request};
use async_trait::async_trait;
use std::time::Duration;
use tokio::sync::watch;

use super::messages::{
    Choice, ConflictRow, PathStatus, ProgramRow, QueueStatus, RateChange, RateLimits, Resolved, StatusReply, Work,
};

/// Where long work says how far it has come. Only the newest is kept; cheap to call often.
#[derive(Debug, Clone)]
pub struct ProgressSink(watch::Sender<Progress>);

impl ProgressSink {
    /// A sink and what looks at it.
    pub fn new() -> (Self, watch::Receiver<Progress>) {
        let (sender, receiver) = watch::channel(Progress::default());
        (Self(sender), receiver)
    }

    /// Says how far it has come.
    pub fn set(&self, progress: Progress) {
        self.0.send_if_modified(|current| {
            let changed = *current != progress;
            *current = progress;
            changed
        });
    }
}

/// What requests mean. Futures are dropped when the client goes away: that must leave nothing half done.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// The greeting.
    fn hello(&self) -> Hello;
    /// What goes on in the mount. Never waits for the network.
    async fn status(&self) -> Result<StatusReply, Failure>;
    /// What goes on with one file or folder. Never waits for the network.
    async fn look(&self, path: &MountPath) -> Result<PathStatus, Failure>;
    /// Waits until what was done before is durable on the server; `Failed` at once if something is held or stuck.
    async fn wait(&self, path: &MountPath, timeout: Option<Duration>, sink: &ProgressSink) -> Result<(), Failure>;
    /// Waits for what is dirty unless `now`, takes the mount away and begins to end the daemon.
    async fn unmount(&self, now: bool, timeout: Option<Duration>, sink: &ProgressSink) -> Result<QueueStatus, Failure>;
    /// Brings contents here.
    async fn hydrate(&self, paths: &[MountPath], sink: &ProgressSink) -> Result<Work, Failure>;
    /// Drops clean contents.
    async fn evict(&self, paths: &[MountPath], sink: &ProgressSink) -> Result<Work, Failure>;
    /// Brings contents here and keeps them.
    async fn pin(&self, paths: &[MountPath], sink: &ProgressSink) -> Result<Work, Failure>;
    /// Keeps contents no longer.
    async fn unpin(&self, paths: &[MountPath]) -> Result<Work, Failure>;
    /// Which programs had what fetched.
    async fn programs(&self) -> Result<Vec<ProgramRow>, Failure>;
    /// Sets limits of how fast content goes up and comes down, for good, and tells them.
    async fn limit(&self, up: RateChange, down: RateChange) -> Result<RateLimits, Failure>;
    /// Lets what is held go to the server.
    async fn confirm(&self) -> Result<Work, Failure>;
    /// Takes held deletes back.
    async fn undo(&self) -> Result<Work, Failure>;
    /// Compares what all sides say of what is at or below a path.
    async fn verify(&self, path: &MountPath, light: bool, sink: &ProgressSink) -> Result<VerifyReport, Failure>;
    /// Open conflicts below a path. Never waits for the network.
    async fn conflicts(&self, path: &MountPath) -> Result<Vec<ConflictRow>, Failure>;
    /// Resolves a conflict once what was done to its files is on the server.
    async fn resolve(&self, path: &MountPath, conflict: Option<&str>, choice: Choice) -> Result<Resolved, Failure>;
}

/// Has a request answered.
pub(super) async fn dispatch(service: &dyn Service, request: Request, sink: &ProgressSink) -> Result<Reply, Failure> {
    let millis = |timeout_ms: Option<u64>| timeout_ms.map(Duration::from_millis);
    match request {
        Request::Status => service.status().await.map(|reply| Reply::Status(Box::new(reply))),
        Request::Look { path } => service.look(&path).await.map(Reply::Look),
        Request::Wait { path, timeout_ms } => {
            service.wait(&path, millis(timeout_ms), sink).await.map(|()| Reply::Durable)
        }
        Request::Unmount { now, timeout_ms } => {
            service.unmount(now, millis(timeout_ms), sink).await.map(|left| Reply::Unmounted { left })
        }
        Request::Hydrate { paths } => service.hydrate(&paths, sink).await.map(Reply::Done),
        Request::Evict { paths } => service.evict(&paths, sink).await.map(Reply::Done),
        Request::Pin { paths } => service.pin(&paths, sink).await.map(Reply::Done),
        Request::Unpin { paths } => service.unpin(&paths).await.map(Reply::Done),
        Request::Programs => service.programs().await.map(Reply::Programs),
        Request::Limit { up, down } => service.limit(up, down).await.map(Reply::Limits),
        Request::Confirm => service.confirm().await.map(Reply::Done),
        Request::Undo => service.undo().await.map(Reply::Done),
        Request::Verify { path, light } => {
            service.verify(&path, light, sink).await.map(|report| Reply::Verified(Box::new(report)))
        }
        Request::Conflicts { path } => service.conflicts(&path).await.map(Reply::Conflicts),
        Request::Resolve { path, conflict, choice } => {
            service.resolve(&path, conflict.as_deref(), choice).await.map(Reply::Resolved)
        }
    }
}
