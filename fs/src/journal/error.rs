//! Owns the journal's errors and how it feels.

use crate::log::LogError;
use crate::meta::MetaError;
use std::io;
use std::path::PathBuf;

/// Why a unit of work was not taken, or the journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The database.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The database cannot be written now and memory holds all it may; nothing was taken. The
    /// materialiser goes on trying.
    #[error("the local database cannot be written: {detail}")]
    Stalled {
        /// For people.
        detail: String,
        /// Whether space is all that it lacks.
        is_full: bool,
    },
    /// A sound record that makes no sense: a newer Tarn wrote it.
    #[error("record {lsn} of the local log cannot be read ({detail}): was it written by a newer Tarn?")]
    Record {
        /// Which.
        lsn: u64,
        /// What is wrong.
        detail: String,
    },
    /// The contents could not be written.
    #[error("local contents: {0}")]
    Content(io::Error),
    /// Making or opening something in the state folder.
    #[error("{path}: {source}")]
    Dir {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The journal is closing.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    /// Whether there is no space left (ENOSPC), rather than something broken (EIO).
    pub fn is_full(&self) -> bool {
        match self {
            Self::Log(LogError::Full) | Self::Meta(MetaError::Full) => true,
            Self::Stalled { is_full, .. } => *is_full,
            Self::Content(e) => matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded),
            _ => false,
        }
    }
}

/// How the materialiser feels. Nothing is lost while it fails: it goes on trying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Well.
    Good,
    /// The last try failed.
    Failing {
        /// How often in a row.
        tries: u32,
        /// For people.
        detail: String,
        /// Whether space is all that it lacks.
        is_full: bool,
    },
}
