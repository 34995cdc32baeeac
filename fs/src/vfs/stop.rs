//! Owns why a call does not answer at once: it must wait for the network, or it fails. errno numbers are
//! given in `fuse` alone.

use super::ports::{BringError, FileContent};
use crate::tree::{TreeError, Unlisted};
use std::ops::Range;
use std::sync::Arc;
use tarn_proto::name::NameError;

/// What a call must have before it can answer; when it is there, the call is made again.
#[derive(Debug, Clone)]
pub enum WaitFor {
    /// The listing of a folder, or more of it.
    List(Unlisted),
    /// Bytes of a file.
    Bytes {
        /// Of which content.
        content: Arc<dyn FileContent>,
        /// Which bytes.
        ranges: Vec<Range<u64>>,
        /// Nothing is to be concluded from it about what is read next.
        alone: bool,
    },
}

/// Why a call does not answer at once.
#[derive(Debug)]
pub enum Stop {
    /// It must wait; nothing has been done yet.
    Wait(WaitFor),
    /// It fails.
    Fail(VfsError),
}

/// Why a call fails.
#[derive(Debug, thiserror::Error)]
pub enum VfsError {
    /// The tree says so.
    #[error(transparent)]
    Tree(TreeError),
    /// The handle is not open, or not for this.
    #[error("bad file handle")]
    BadHandle,
    /// The file would be larger than a file can be.
    #[error("file too large")]
    FileTooLarge,
    /// Nothing lies beyond this offset.
    #[error("no data beyond the offset")]
    BeyondEnd,
    /// Devices know such requests, files do not.
    #[error("inappropriate request")]
    NotADevice,
    /// The server cannot be reached.
    #[error("the server cannot be reached")]
    Unreachable,
    /// The network did not bring it in time.
    #[error("not here in time")]
    TimedOut,
    /// The caller has been told to end meanwhile.
    #[error("interrupted")]
    Interrupted,
    /// The bytes cannot be had: the server lacks them, or what it sent is damaged.
    #[error("the content cannot be read: {0}")]
    Unreadable(String),
    /// A defect of this program; the log has it.
    #[error("internal error")]
    Defect,
}

/// What a call answers.
pub type Answer<T> = Result<T, Stop>;

impl From<TreeError> for Stop {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Unlisted(folder) => Self::Wait(WaitFor::List(folder)),
            other => Self::Fail(VfsError::Tree(other)),
        }
    }
}

impl From<VfsError> for Stop {
    fn from(error: VfsError) -> Self {
        Self::Fail(error)
    }
}

impl From<NameError> for Stop {
    fn from(error: NameError) -> Self {
        Self::from(match error {
            NameError::Empty => TreeError::NotFound,
            NameError::TooLong => TreeError::NameTooLong,
            NameError::BadByte | NameError::Dots => TreeError::Invalid,
        })
    }
}

impl From<BringError> for VfsError {
    fn from(error: BringError) -> Self {
        match error {
            BringError::Unreachable => Self::Unreachable,
            BringError::Unreadable(why) => Self::Unreadable(why),
            BringError::Local(error) => Self::Tree(TreeError::Disk(error)),
        }
    }
}
