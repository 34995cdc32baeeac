//! Owns what the command line's requests mean in a mount that stands.

mod conflicts;
mod contents;
mod looks;
mod verify;
mod waiting;

use super::identity::OwnIdentity;
use super::parts::Parts;
use super::rate_limits::KeptLimits;
use super::verify::Verifier;
use crate::control::findings::VerifyReport;
use crate::control::messages::{
    Choice, ConflictRow, PathStatus, ProgramRow, QueueStatus, RateChange, RateLimits, Resolved, StatusReply, Work,
};
use crate::control::{Failure, Hello, MountPath, PROTOCOL, ProgressSink, Service};
use crate::env::Env;
use crate::meta::rows::Ino;
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// The service of one mount.
#[derive(Debug)]
pub(super) struct MountService {
    pub parts: Arc<Parts>,
    pub identity: Arc<OwnIdentity>,
    pub mount: PathBuf,
    pub verifier: Arc<Verifier>,
    pub limits: Arc<KeptLimits>,
    /// Where the state lies.
    pub state: (Env, PathBuf),
    /// How many daemons the mount had before; whether this is one of another program than is installed.
    pub lives: (u32, bool),
}

impl MountService {
    /// The inode at a path below the mount.
    async fn find(&self, path: &MountPath) -> Result<Ino, Failure> {
        let bytes = path.as_bytes().to_vec();
        self.parts.on_tree(&self.shown(path), move |tree| tree.resolve(&bytes)).await
    }

    /// The path as people write it.
    fn shown(&self, path: &MountPath) -> String {
        self.mount.join(path.to_path()).display().to_string()
    }
}

#[async_trait]
impl Service for MountService {
    fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mount: MountPath::new(&self.mount),
            life: self.lives.0,
            fell_back: self.lives.1,
        }
    }

    async fn status(&self) -> Result<StatusReply, Failure> {
        self.mount_status().await
    }

    async fn look(&self, path: &MountPath) -> Result<PathStatus, Failure> {
        self.path_status(path).await
    }

    async fn wait(&self, path: &MountPath, timeout: Option<Duration>, sink: &ProgressSink) -> Result<(), Failure> {
        self.wait_for(path, timeout, sink).await
    }

    async fn unmount(&self, now: bool, timeout: Option<Duration>, sink: &ProgressSink) -> Result<QueueStatus, Failure> {
        self.take_away(now, timeout, sink).await
    }

    async fn hydrate(&self, paths: &[MountPath], sink: &ProgressSink) -> Result<Work, Failure> {
        self.bring(paths, sink).await
    }

    async fn evict(&self, paths: &[MountPath], sink: &ProgressSink) -> Result<Work, Failure> {
        self.drop_bytes(paths, sink).await
    }

    async fn pin(&self, paths: &[MountPath], sink: &ProgressSink) -> Result<Work, Failure> {
        self.set_pins(paths, true).await?;
        self.bring(paths, sink).await
    }

    async fn unpin(&self, paths: &[MountPath]) -> Result<Work, Failure> {
        self.set_pins(paths, false).await
    }

    async fn verify(&self, path: &MountPath, light: bool, sink: &ProgressSink) -> Result<VerifyReport, Failure> {
        self.verify_below(path, light, sink).await
    }

    async fn conflicts(&self, path: &MountPath) -> Result<Vec<ConflictRow>, Failure> {
        self.open_conflicts(path).await
    }

    async fn resolve(&self, path: &MountPath, conflict: Option<&str>, choice: Choice) -> Result<Resolved, Failure> {
        self.resolve_conflict(path, conflict, choice).await
    }

    async fn programs(&self) -> Result<Vec<ProgramRow>, Failure> {
        self.caused().await
    }

    async fn limit(&self, up: RateChange, down: RateChange) -> Result<RateLimits, Failure> {
        let limits = Arc::clone(&self.limits);
        let changed = spawn_blocking(move || limits.change(up, down)).await.map_err(Failure::failed)?;
        changed.map_err(|error| Failure::failed(format_args!("{error:#}")))
    }

    async fn confirm(&self) -> Result<Work, Failure> {
        let files = self.parts.on_tree("confirm", |tree| tree.confirm_deletes()).await?;
        Ok(Work { files, ..Work::default() })
    }

    async fn undo(&self) -> Result<Work, Failure> {
        let files = self.parts.on_tree("undo", |tree| tree.undo_deletes()).await?;
        Ok(Work { files, ..Work::default() })
    }
}
