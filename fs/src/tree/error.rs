//! Owns why a call on the tree fails. errno numbers are given in `fuse` alone.

use super::types::Unlisted;
use std::io;

/// Why a call on the tree fails.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// No such name, or no such inode any more.
    #[error("no such file or directory")]
    NotFound,
    /// The name is taken.
    #[error("file exists")]
    Exists,
    /// A directory is needed.
    #[error("not a directory")]
    NotADirectory,
    /// Anything but a directory is needed.
    #[error("is a directory")]
    IsADirectory,
    /// The directory has entries.
    #[error("directory not empty")]
    NotEmpty,
    /// The arguments make no sense together (a directory moved into itself).
    #[error("invalid argument")]
    Invalid,
    /// The name is too long.
    #[error("name too long")]
    NameTooLong,
    /// This user may not.
    #[error("operation not permitted")]
    NotPermitted,
    /// The operation is not supported for this node.
    #[error("not supported")]
    NotSupported,
    /// There is no such extended attribute.
    #[error("no such attribute")]
    NoAttribute,
    /// Larger than a file may be.
    #[error("file too large")]
    FileTooLarge,
    /// The value or name of an extended attribute is too long.
    #[error("too large")]
    TooLarge,
    /// The mount is read-only.
    #[error("read-only")]
    ReadOnly,
    /// The folder has not been listed yet, or not far enough.
    #[error("the folder is not known here yet")]
    Unlisted(Unlisted),
    /// The local disk failed (full, broken).
    #[error("the local disk: {0}")]
    Disk(#[from] io::Error),
    /// The local database failed or is damaged.
    #[error("the local database: {0}")]
    Database(String),
}
