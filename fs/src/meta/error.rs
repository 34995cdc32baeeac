//! Owns the errors of the local database. Each says what to do next; none is a panic.

use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The file is not a sound database.
    #[error(
        "the local database {path} is damaged ({detail}); everything that was uploaded is safe on the server. \
         To rebuild it without losing what was not: `tarn unmount --now`, then `tarn doctor --rebuild`, then mount again"
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// A newer Tarn made it.
    #[error("the local database {path} has format {found}, this Tarn knows up to {known}: install a newer Tarn")]
    TooNew {
        /// The database file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest known format.
        known: i64,
    },
    /// A row that cannot be read.
    #[error("the local database holds a malformed row in {table}: {detail}")]
    Malformed {
        /// Where.
        table: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// No space left on the device.
    #[error("no space left for the local database")]
    Full,
    /// Anything else that SQLite says; trying again may help.
    #[error("local database: {0}")]
    Sqlite(rusqlite::Error),
    /// The file system.
    #[error("local database: {0}")]
    Io(#[from] io::Error),
}

impl MetaError {
    /// Whether the same call may succeed later without anybody repairing the database.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full | Self::Sqlite(_) | Self::Io(_))
    }

    /// Names the file in what SQLite says about a damaged one.
    pub(super) fn at(self, path: &Path) -> Self {
        match self {
            Self::Damaged { detail, .. } => Self::Damaged { path: path.to_owned(), detail },
            other => other,
        }
    }
}

impl From<rusqlite::Error> for MetaError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path: PathBuf::new(), detail: error.to_string() }
            }
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Sqlite(error),
        }
    }
}
