//! Owns the lock of the state folder: an flock, so it goes with its holder, however that ends.

use crate::env::{DiskFile, Env, OpenMode};
use parking_lot::{Condvar, Mutex};
use rustix::fs::{FlockOperation, flock};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const FILE_NAME: &str = "lock";
const POLL: Duration = Duration::from_millis(10);

/// Why the state folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon runs on it.
    #[error("{0} is in use by another tarn; unmount that one first")]
    Held(PathBuf),
    /// The file system.
    #[error("{path} cannot be locked: {source}")]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The right to use a state folder; given back when dropped.
#[derive(Debug)]
pub struct StateLock {
    held: Held,
}

#[derive(Debug)]
enum Held {
    Here(Arc<dyn DiskFile>),
    Inherited(OwnedFd),
}

impl StateLock {
    /// A lock that another process had taken and handed on.
    pub fn inherited(fd: OwnedFd) -> Self {
        Self { held: Held::Inherited(fd) }
    }

    /// What to hand on: the lock is held as long as anybody has it open.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.held {
            Held::Here(file) => file.as_fd(),
            Held::Inherited(fd) => Some(fd.as_fd()),
        }
    }

    /// Locks `dir` (made if need be), waiting up to `wait` for another holder to end.
    ///
    /// # Errors
    /// `Held` after the wait, or what the file system says.
    pub fn acquire(env: &Env, dir: &Path, wait: Duration) -> Result<Self, LockError> {
        let path = dir.join(FILE_NAME);
        let fail = |source| LockError::Io { path: path.clone(), source };
        env.disk.create_dir_all(dir).map_err(fail)?;
        let file = env.disk.open(&path, OpenMode::Create).map_err(fail)?;
        let deadline = env.clock.monotonic() + wait;
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        loop {
            let Some(fd) = file.as_fd() else { return Ok(Self { held: Held::Here(file) }) };
            match flock(fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { held: Held::Here(file) }),
                Err(e) if e != rustix::io::Errno::WOULDBLOCK => return Err(fail(e.into())),
                Err(_) if env.clock.monotonic() >= deadline => return Err(LockError::Held(dir.to_owned())),
                Err(_) => condvar.wait_for(&mut mutex.lock(), POLL),
            };
        }
    }
}
