//! Owns what `tarn status`, `tarn top` and `tarn limit` tell. The shapes that `--json` prints are marked; they are stable.

use super::findings::Verified;
use crate::telemetry::{CounterValues, Rates};
use serde::{Deserialize, Serialize};

/// One program, as `tarn status --why --json` tells it: stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramRow {
    /// Its executable, or its name where that cannot be seen.
    pub program: String,
    /// Whether it gets only what is local and the heads of files.
    pub scans: bool,
    /// Bytes that it waited for.
    pub asked_bytes: u64,
    /// Bytes fetched ahead of its reads.
    pub ahead_bytes: u64,
    /// Reads that it was refused because it only scans.
    pub refused: u64,
    /// The file that it was about last, below the mount; null if that is gone.
    pub last_path: Option<String>,
}

/// `tarn limit --json`: stable. Null where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimits {
    /// Bytes of content that may be sent in a second.
    pub up_bytes_per_s: Option<u64>,
    /// Bytes of content that may be fetched in a second.
    pub down_bytes_per_s: Option<u64>,
}

/// What is queued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Operations that the server has not acknowledged.
    pub operations: u64,
    /// Bytes of content that they bring.
    pub bytes: u64,
    /// Locks and temporary files, which stay on this device.
    #[serde(default)]
    pub local_only: u64,
}

/// What is cached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStatus {
    /// Allocated bytes of local content.
    pub bytes: u64,
    /// The budget.
    pub limit_bytes: u64,
}

/// `tarn status MOUNT --json`: stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountStatus {
    /// The process that serves FUSE.
    pub pid: u32,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// How many daemons the mount had before it.
    #[serde(default)]
    pub life: u32,
    /// The server's address.
    pub server: String,
    /// Whether the server answers.
    pub online: bool,
    /// What is queued.
    pub queue: QueueStatus,
    /// What is cached.
    pub cache: CacheStatus,
    /// What went over the network since the mount.
    pub counters: CounterValues,
    /// Operations that are held or stuck: they will not go up by themselves.
    pub held: u64,
    /// The last thing that went wrong and has not gone right since.
    pub last_error: Option<String>,
    /// What was damaged on the local disk and is kept in a folder that is still there.
    #[serde(default)]
    pub damaged: Vec<String>,
    /// What the last verification of the whole mount came to; null if there was none.
    #[serde(default)]
    pub verified: Option<Verified>,
    /// Whether the kernel reads complete files by itself.
    #[serde(default)]
    pub passthrough: PassthroughStatus,
    /// Where the files and folders are that the kernel knows.
    #[serde(default)]
    pub inodes: InodeCounts,
    /// The account's quota, as far as known; null if it has none.
    #[serde(default)]
    pub quota: Option<QuotaStatus>,
}

/// How full the account is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaStatus {
    /// Bytes of all files that the server has.
    pub bytes: u64,
    /// What they may have together.
    pub limit_bytes: u64,
}

/// Files and folders by where the daemon has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InodeCounts {
    /// In memory.
    pub in_memory: u64,
    /// Known to the kernel, and in the database alone.
    pub in_database: u64,
}

/// Whether the kernel reads complete files by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassthroughStatus {
    /// Whether it does.
    pub active: bool,
    /// Why not.
    pub why_not: Option<String>,
    /// Reads that it asked the daemon for since the mount.
    pub read_requests: u64,
}

/// The status, and what people like to see beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReply {
    /// What `--json` prints.
    pub status: MountStatus,
    /// The account.
    pub user: String,
    /// This device's name.
    pub device: String,
    /// Limits of how fast content goes up and comes down.
    #[serde(default)]
    pub limits: RateLimits,
    /// Transfer rates over the last seconds.
    pub rates: Rates,
    /// What of the cache's bytes are log and database.
    #[serde(default)]
    pub bookkeeping_bytes: u64,
    /// Open conflicts.
    pub conflicts: u64,
    /// Why operations are held, if any are.
    pub held_reason: Option<String>,
}

/// `tarn status FILE --json`: stable, but that states may be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStatus {
    /// The path below the mount.
    pub path: String,
    /// As `user.tarn.state` says: online-only, partial, hydrated, dirty, uploading, conflict, local-only.
    pub state: String,
    /// The size that programs see.
    pub size_bytes: u64,
    /// Bytes on the local disk.
    pub local_bytes: u64,
    /// Whether it, or a folder above, is pinned.
    pub pinned: bool,
    /// For a file that the server has: which devices know its version. Null if the server does not say so at once.
    #[serde(default)]
    pub devices: Option<Vec<DeviceStatus>>,
}

/// One device in `tarn status PATH --json`: stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// What people call it.
    pub name: String,
    /// Whether it knows the version that the server has.
    pub has_version: bool,
    /// When it last said how far it is, RFC 3339 in UTC; null if it never did.
    pub heard: Option<String>,
}
