//! Owns what the mount shows of what is stored: whose everything is, and times of reading.

use super::Vfs;
use crate::meta::rows::Ino;
use crate::tree::Stat;
use tarn_proto::node::Timestamp;

/// How a mount shows the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Show and enforce the stored owners; else everything belongs to `uid` and `gid`.
    pub posix: bool,
    /// Nothing can be changed.
    pub read_only: bool,
    /// The mounting user.
    pub uid: u32,
    /// The mounting user's group.
    pub gid: u32,
    /// The mounting user is root: `trusted.*` and `security.*` attributes and foreign owners are stored.
    pub privileged: bool,
    /// Programs that only scan, by the name of their executable.
    pub scanners: Vec<String>,
    /// The kernel may serve complete files by itself.
    pub passthrough: bool,
    /// Budget of the cache: what is fetched ahead of readers stays small beside it.
    pub cache_bytes: u64,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Thread id; 0: not of this pid namespace, or the kernel itself.
    pub tid: u32,
    /// The same call was made before, of a daemon that ended without answering: it may have been done.
    pub is_again: bool,
    /// The call's number; a second call has that of the first.
    pub unique: u64,
}

impl Caller {
    /// Whether this caller keeps setuid and setgid bits when it writes. (CAP_FSETID; fuser does not pass the
    /// kernel's own flag in every call, so root stands for it.)
    pub fn keeps_setid(self) -> bool {
        self.uid == 0
    }
}

/// A node as programs see it: owners as the mount shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What is stored, with the shown owners.
    pub stat: Stat,
    /// Last read, as far as anybody told.
    pub atime: Timestamp,
    /// Whether the kernel may keep the name and the attributes until it is told otherwise.
    pub is_kept: bool,
}

impl Vfs {
    /// Shows a node as this mount does.
    pub(super) fn show(&self, mut stat: Stat) -> Shown {
        if !self.options.posix {
            (stat.attrs.uid, stat.attrs.gid) = (self.options.uid, self.options.gid);
        }
        let atime = self.atimes.lock().get(&stat.ino).copied().unwrap_or(stat.attrs.mtime);
        Shown { stat, atime, is_kept: true }
    }

    /// Remembers a time of reading that a program set. It is of this mount's memory only: reads do not
    /// change it and no other device sees it.
    pub(super) fn set_atime(&self, ino: Ino, time: Timestamp) {
        self.atimes.lock().put(ino, time);
    }
}
