//! Owns what is said over the socket. The shapes that `--json` prints are marked; they are stable.

use super::findings::VerifyReport;
pub use super::status::{
    CacheStatus, DeviceStatus, InodeCounts, MountStatus, PassthroughStatus, PathStatus, ProgramRow, QueueStatus,
    QuotaStatus, RateLimits, StatusReply,
};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tarn_proto::api::Keep;
use tarn_proto::bytes64;

/// The path of something, as bytes: absolute, or relative to the root of the mount, which is empty.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MountPath(#[serde(with = "bytes64")] Vec<u8>);

impl MountPath {
    /// From a path.
    pub fn new(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a path.
    pub fn to_path(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.0))
    }
}

impl fmt::Debug for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_path())
    }
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_path().display())
    }
}

/// The daemon's greeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the messages ([`super::PROTOCOL`]).
    pub protocol: u32,
    /// The daemon's version, for people.
    pub version: String,
    /// The process that serves FUSE.
    pub pid: u32,
    /// Where it is mounted (absolute, without symlinks).
    pub mount: MountPath,
    /// How many daemons the mount had before.
    #[serde(default)]
    pub life: u32,
    /// The program that is installed could not go on with the mount: this one is of the one before.
    #[serde(default)]
    pub fell_back: bool,
}

/// What the command line asks. Paths are relative to the mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// What goes on in the mount.
    Status,
    /// What goes on with one file or folder.
    Look {
        /// Which.
        path: MountPath,
    },
    /// Waits until what this device did before is durable on the server.
    Wait {
        /// What `path` depends on only; everything if empty.
        path: MountPath,
        /// For at most this long.
        timeout_ms: Option<u64>,
    },
    /// Takes the mount away and ends the daemon.
    Unmount {
        /// Without waiting for what is dirty.
        now: bool,
        /// Waits for at most this long, then stays mounted.
        timeout_ms: Option<u64>,
    },
    /// Brings contents here.
    Hydrate {
        /// Files, or folders with all that is below.
        paths: Vec<MountPath>,
    },
    /// Drops clean contents.
    Evict {
        /// Files, or folders with all that is below; everything if one is empty.
        paths: Vec<MountPath>,
    },
    /// Brings contents here and keeps them.
    Pin {
        /// Files, or folders with all that is or will be below.
        paths: Vec<MountPath>,
    },
    /// Keeps contents no longer.
    Unpin {
        /// What was pinned.
        paths: Vec<MountPath>,
    },
    /// Which programs had what fetched.
    Programs,
    /// Sets limits of how fast content goes up and comes down, and tells them.
    Limit {
        /// Of what is sent.
        up: RateChange,
        /// Of what is fetched.
        down: RateChange,
    },
    /// Lets what is held go to the server.
    Confirm,
    /// Takes held deletes back.
    Undo,
    /// Compares what the kernel, memory, database, log, server and local disk say.
    Verify {
        /// At or below this only; all if empty.
        path: MountPath,
        /// A sample instead of everything.
        light: bool,
    },
    /// Open conflicts.
    Conflicts {
        /// Of this, or below it, only; all if empty.
        path: MountPath,
    },
    /// Resolves a conflict.
    Resolve {
        /// The file, or the sibling that shows the version that did not stay.
        path: MountPath,
        /// The conflict's id, if the path does not say which.
        conflict: Option<String>,
        /// What is wanted.
        choice: Choice,
    },
}

/// What becomes of a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateChange {
    /// It stays.
    #[default]
    Keep,
    /// There is none.
    Off,
    /// It is this.
    BytesPerS(u64),
}

impl RateChange {
    /// The limit after it.
    pub fn of(self, before: Option<u64>) -> Option<u64> {
        match self {
            Self::Keep => before,
            Self::Off => None,
            Self::BytesPerS(rate) => Some(rate),
        }
    }
}

/// What a person wants of two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The version that this device had under the name: its own if it wrote one of them, else the one that stayed.
    Mine,
    /// The other one.
    Theirs,
    /// Both, as two files.
    Both,
    /// What the file holds now, made of both.
    Merged,
}

impl Request {
    /// Whether the answer may take as long as it takes.
    pub fn is_long(&self) -> bool {
        !matches!(self, Self::Status | Self::Look { .. } | Self::Conflicts { .. })
    }
}

/// How far long work has come. Totals may grow while it runs; 0 if not known yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Files, or operations, that are done.
    pub items: u64,
    /// Of so many.
    pub items_total: u64,
    /// Bytes that are done.
    pub bytes: u64,
    /// Of so many.
    pub bytes_total: u64,
    /// What it waits for, if it does not go on: "the server cannot be reached".
    pub waiting_for: Option<String>,
}

/// One row of `tarn conflicts --json`: stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictRow {
    /// Its id.
    pub id: String,
    /// The file's path below the mount.
    pub path: String,
    /// The path of the sibling that shows the version that did not stay, if there is one.
    pub sibling: Option<String>,
    /// The device that wrote that version.
    pub device: String,
    /// When the server recorded it, RFC 3339 in UTC.
    pub time: String,
}

/// How a conflict was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The file's path below the mount.
    pub path: String,
    /// What was kept.
    pub keep: Keep,
    /// The device whose version had not stayed.
    pub device: String,
    /// The device that resolved it before, if it was not this one.
    pub before_by: Option<String>,
    /// Whether that is what was wanted.
    pub is_as_wanted: bool,
}

/// What became of a request on contents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Files that were looked at.
    pub files: u64,
    /// Bytes brought or dropped.
    pub bytes: u64,
    /// Files that stay as they are because they are dirty, pinned or in use (evict).
    pub kept: u64,
}

/// The last line on success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To `Status`.
    Status(Box<StatusReply>),
    /// To `Look`.
    Look(PathStatus),
    /// To `Wait`: it is so.
    Durable,
    /// To `Unmount`: the mount is gone, the daemon is ending.
    Unmounted {
        /// What was not sent; it goes up after the next mount.
        left: QueueStatus,
    },
    /// To `Hydrate`, `Evict`, `Pin`, `Unpin`, `Confirm`, `Undo`.
    Done(Work),
    /// To `Programs`, those that had most fetched first.
    Programs(Vec<ProgramRow>),
    /// To `Limit`.
    Limits(RateLimits),
    /// To `Verify`.
    Verified(Box<VerifyReport>),
    /// To `Conflicts`.
    Conflicts(Vec<ConflictRow>),
    /// To `Resolve`.
    Resolved(Resolved),
}

/// What kind of failure; gives the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It failed.
    Failed,
    /// It was not finished in time.
    TimedOut,
}

/// The last line on failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Which kind.
    pub kind: FailureKind,
    /// For people: what is wrong and what to do.
    pub message: String,
}

impl Failure {
    /// It failed.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self { kind: FailureKind::Failed, message: message.to_string() }
    }

    /// It was not finished in time.
    pub fn timed_out(message: impl fmt::Display) -> Self {
        Self { kind: FailureKind::TimedOut, message: message.to_string() }
    }
}

/// One line from the daemon after the greeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Progress(Progress),
    Reply(Reply),
    Failure(Failure),
}

/// One line from the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub protocol: u32,
    pub request: Request,
}
