//! Owns the errors of the log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the log did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// No space left; nothing was appended, and the same call may succeed later.
    #[error("no space left for the local log")]
    Full,
    /// A write or sync failed earlier; the log takes nothing more until it is opened again.
    #[error("the local log failed and takes no more: {0}")]
    Poisoned(Arc<io::Error>),
    /// A record longer than a record may be.
    #[error("a record of {len_bytes} bytes is too long for the local log")]
    TooLong {
        /// Its length.
        len_bytes: usize,
    },
    /// Records are missing in the middle; those before are sound.
    #[error("the local log {path} is damaged at byte {offset}: records from {expected} to {until} are missing")]
    Damaged {
        /// Which segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The first missing record.
        expected: u64,
        /// The next one that is there.
        until: u64,
    },
    /// A newer Tarn wrote it.
    #[error("the local log {path} has format {found}, this Tarn knows up to {known}: install a newer Tarn")]
    TooNew {
        /// Which segment.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known format.
        known: u32,
    },
    /// The file system, while opening or reading.
    #[error("local log: {0}")]
    Io(Arc<io::Error>),
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::Full } else { Self::Io(Arc::new(error)) }
    }
}

/// Whether an error says that the disk, or the user's share of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
