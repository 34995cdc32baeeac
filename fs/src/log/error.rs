//! Owns the errors of the log.

use super::Lsn;
use std::fmt;
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
    /// Records are missing that were durable once; those before are sound.
    #[error(transparent)]
    Damaged(Damage),
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

/// Records are missing that were durable once: bytes changed on the disk, or files are gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Damage {
    /// Which segment.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// The first missing record.
    pub expected: Lsn,
    /// The next one that is there, if there is one.
    pub until: Option<Lsn>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, offset, expected, until } = self;
        write!(f, "the local log {} is damaged at byte {offset}: records from {}", path.display(), expected.0)?;
        match until {
            Some(until) => write!(f, " to {} are missing", until.0),
            None => write!(f, " on are missing"),
        }
    }
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
