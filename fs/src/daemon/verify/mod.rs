//! Owns verification: what the kernel shows, memory, the database, the log, what the server lists and the bytes on the
//! local disk are compared with each other. Fetches no content, holds no lock for long, and changes only what can be
//! put right at no risk: clean bytes that are not what they should be are dropped, and the kernel is told to look again.
//!
//! Start reading at [`Verifier::verify`], then the looks: `database`, `folders` (with `kernel` and `server`), `contents`.

mod contents;
mod daily;
mod database;
mod folders;
mod kernel;
mod report;
mod saved;
mod server;
mod settled;
mod walker;

pub(super) use daily::start;
pub use walker::serve_walk;

use super::identity::OwnIdentity;
use super::parts::Parts;
use crate::control::findings::{Verified, VerifyReport};
use crate::control::{Failure, ProgressSink};
use crate::env::Env;
use crate::meta::rows::{Ino, ROOT};
use crate::remote::HttpRemote;
use parking_lot::Mutex;
use report::Report;
use saved::Saved;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tarn_proto::ids::SpaceId;
use tokio::sync::watch;
use walker::Walker;

/// How much one verification looks at.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    folders: usize,
    inodes: usize,
    content_bytes: u64,
    time: Option<Duration>,
}

/// Everything.
const FULL: Bounds = Bounds { folders: usize::MAX, inodes: usize::MAX, content_bytes: u64::MAX, time: None };
/// A sample, another one each time.
const LIGHT: Bounds =
    Bounds { folders: 200, inodes: 5000, content_bytes: 64 << 20, time: Some(Duration::from_secs(30)) };

/// Verifies one mount, once at a time.
#[derive(Debug)]
pub(super) struct Verifier {
    env: Env,
    parts: Weak<Parts>,
    identity: Arc<OwnIdentity>,
    mount: PathBuf,
    /// Where the last result is kept.
    file: PathBuf,
    last: Mutex<Option<Saved>>,
    running: tokio::sync::Mutex<()>,
    pauses: watch::Sender<usize>,
}

/// Keeps verifications from running while it lives.
#[derive(Debug)]
pub(super) struct Pause(Arc<Verifier>);

impl Drop for Pause {
    fn drop(&mut self) {
        self.0.pauses.send_modify(|count| *count -= 1);
    }
}

/// One verification.
struct Run<'a> {
    env: &'a Env,
    parts: Arc<Parts>,
    remote: Arc<HttpRemote>,
    space: SpaceId,
    mount: &'a Path,
    is_light: bool,
    bounds: Bounds,
    /// By the monotonic clock.
    ends: Option<Duration>,
    report: Report<'a>,
    walker: tokio::sync::Mutex<Option<Walker>>,
}

impl Verifier {
    pub fn new(env: &Env, parts: &Arc<Parts>, identity: &Arc<OwnIdentity>, mount: &Path, file: PathBuf) -> Self {
        Self {
            env: env.clone(),
            parts: Arc::downgrade(parts),
            identity: Arc::clone(identity),
            mount: mount.to_owned(),
            last: Mutex::new(Saved::load(env, &file)),
            file,
            running: tokio::sync::Mutex::new(()),
            pauses: watch::Sender::new(0),
        }
    }

    /// What the last verification of the whole mount came to.
    pub fn last(&self) -> Option<Verified> {
        self.last.lock().as_ref().map(|saved| saved.result.clone())
    }

    /// Breaks off what runs, and lets nothing begin: whoever looks at the mount keeps it from being taken away, and the machine
    /// from falling asleep.
    pub async fn pause(self: &Arc<Self>) -> Pause {
        self.pauses.send_modify(|count| *count += 1);
        let pause = Pause(Arc::clone(self));
        drop(self.running.lock().await);
        pause
    }

    /// Verifies the mount, or what lies at or below `start`. Waits for one that runs already.
    pub async fn verify(&self, start: Ino, light: bool, sink: &ProgressSink) -> Result<VerifyReport, Failure> {
        let _one_at_a_time = self.running.lock().await;
        let mut pauses = self.pauses.subscribe();
        let report = tokio::select! {
            biased;
            _paused = pauses.wait_for(|count| *count > 0) => {
                return Err(Failure::failed("broken off: the mount is being taken away, or the machine falls asleep"));
            }
            report = self.run(start, light, sink) => report?,
        };
        let compared = report.compared;
        tracing::info!(light, differences = report.difference_count, ?compared, left_out = ?report.left_out, "verified");
        if start == ROOT {
            self.save(&report).await;
        }
        Ok(report)
    }

    async fn run(&self, start: Ino, light: bool, sink: &ProgressSink) -> Result<VerifyReport, Failure> {
        let parts = self.parts.upgrade().ok_or_else(|| Failure::failed("the mount is gone"))?;
        let bounds = if light { LIGHT } else { FULL };
        let run = Run {
            env: &self.env,
            parts,
            remote: Arc::clone(&self.identity.remote),
            space: self.identity.credentials().home,
            mount: &self.mount,
            is_light: light,
            bounds,
            ends: bounds.time.map(|time| self.env.clock.monotonic() + time),
            report: Report::new(light, sink),
            walker: tokio::sync::Mutex::default(),
        };
        run.database().await?;
        let files = run.folders(start).await?;
        run.contents(files.as_ref()).await?;
        Ok(run.report.finish())
    }

    async fn save(&self, report: &VerifyReport) {
        let saved = Saved::of(report, self.env.clock.wall());
        *self.last.lock() = Some(saved.clone());
        let (env, file) = (self.env.clone(), self.file.clone());
        let done = self.env.blocking(move || saved.save(&env, &file)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(%error, "the result of verifying could not be kept");
        }
    }
}

impl Run<'_> {
    /// Whether the time is up.
    fn is_over(&self) -> bool {
        self.ends.is_some_and(|ends| self.env.clock.monotonic() >= ends)
    }

    /// Runs work that looks at the local disk.
    async fn local<T: Send + 'static>(&self, work: impl FnOnce(&Parts) -> T + Send + 'static) -> Result<T, Failure> {
        let parts = Arc::clone(&self.parts);
        self.env.blocking(move || work(&parts)).await.map_err(Failure::failed)
    }

    /// A number that is another one each time.
    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        self.env.rng.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}
