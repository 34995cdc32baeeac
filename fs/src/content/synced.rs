//! Owns syncing one file for many who wrote to it. The kernel tells of a failed write-out once, to whoever syncs next, and
//! counts its bytes as written from then on: so failures are counted here, and nobody takes bytes for durable that
//! were written before one.

use crate::env::DiskFile;
use parking_lot::Mutex;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The syncs of one file.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    one_at_a_time: Mutex<()>,
    failures: AtomicU64,
}

impl Syncs {
    /// Syncs that failed so far: whoever writes remembers it from before, for [`Self::sync`].
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// Makes durable what was written since this many syncs had failed.
    ///
    /// # Errors
    /// The disk's, or one that somebody else was told meanwhile: then what was written counts as lost.
    pub(super) fn sync(&self, file: &dyn DiskFile, seen: u64) -> io::Result<()> {
        let _one = self.one_at_a_time.lock();
        if let Err(error) = file.sync_data() {
            self.failures.fetch_add(1, Ordering::AcqRel);
            return Err(error);
        }
        if self.failures() == seen { Ok(()) } else { Err(lost()) }
    }
}

/// Said of bytes that the disk did not take.
pub(super) fn lost() -> io::Error {
    io::Error::other("the local disk did not take what was written")
}
