//! Owns how a mount is wanted: what `tarn mount` was told.

use crate::limits;
use crate::tree::{DeleteLimits, LOCAL_ONLY_DEFAULT};
use crate::vfs::SCANNERS_DEFAULT;
use std::path::PathBuf;
use std::time::Duration;

/// How a mount is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// Where.
    pub dir: PathBuf,
    /// Budget of clean local content.
    pub cache_bytes: u64,
    /// Other users may enter.
    pub allow_other: bool,
    /// Stored owners are shown and enforced.
    pub posix: bool,
    /// Nothing may be changed.
    pub read_only: bool,
    /// Texts that two devices changed in different places are merged.
    pub merges_texts: bool,
    /// The kernel may serve complete files by itself, where it can.
    pub passthrough: bool,
    /// Programs that only scan, by the name of their executable.
    pub scanners: Vec<String>,
    /// Names of files that stay on this device, as patterns.
    pub local_only: Vec<String>,
    /// How many files and folders are kept in memory.
    pub files_in_memory: usize,
    /// How long a read waits for the network.
    pub read_timeout: Duration,
    /// From which size on deletes are held.
    pub hold_deletes: HoldDeletes,
}

impl MountOptions {
    /// As without any flag.
    pub fn at(dir: PathBuf) -> Self {
        Self {
            dir,
            cache_bytes: limits::CACHE_BYTES_DEFAULT,
            allow_other: false,
            posix: false,
            read_only: false,
            merges_texts: true,
            passthrough: true,
            scanners: SCANNERS_DEFAULT.map(String::from).to_vec(),
            local_only: LOCAL_ONLY_DEFAULT.map(String::from).to_vec(),
            files_in_memory: limits::FILES_IN_MEMORY_DEFAULT,
            read_timeout: limits::READ_TIMEOUT_DEFAULT,
            hold_deletes: HoldDeletes::default(),
        }
    }
}

/// From which size on a removal is unusual: more files than `count` and more than `percent` of the space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldDeletes {
    /// Never.
    Off,
    /// Beyond both.
    Beyond {
        /// Files.
        count: u64,
        /// Percent of the space's files.
        percent: u8,
    },
}

impl HoldDeletes {
    /// As the tree wants it.
    pub(super) fn limits(self) -> Option<DeleteLimits> {
        match self {
            Self::Off => None,
            Self::Beyond { count, percent } => Some(DeleteLimits { count, percent }),
        }
    }
}

impl Default for HoldDeletes {
    fn default() -> Self {
        Self::Beyond { count: 1000, percent: 30 }
    }
}
