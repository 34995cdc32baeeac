//! Owns what is told of a mount and of what is in it. Nothing here waits for the network for long.

use super::MountService;
use crate::control::messages::{
    CacheStatus, DeviceStatus, InodeCounts, MountStatus, PassthroughStatus, PathStatus, ProgramRow, QueueStatus,
    QuotaStatus, StatusReply,
};
use crate::control::{Failure, MountPath, rfc3339};
use crate::daemon::parts::Parts;
use crate::env::Env;
use crate::meta::rows::Ino;
use crate::sync::SyncStatus;
use crate::sync::engine::Held;
use crate::sync::link::LinkState;
use crate::telemetry::{CounterValues, Rates};
use crate::tree::{HeldDeletes, NoRoom, QueueTotals, damage_notes};
use crate::vfs::{Caused, STATE, Stop, Vfs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::api::{DeviceReceipt, Usage};
use tokio::task::spawn_blocking;

/// Who has a file is told if the server answers within this.
const RECEIPTS_WAIT: Duration = Duration::from_millis(800);
/// A folder on the way that must be listed first gets this long.
const LISTING_WAIT: Duration = Duration::from_millis(800);

impl MountService {
    pub(super) async fn mount_status(&self) -> Result<StatusReply, Failure> {
        let parts = Arc::clone(&self.parts);
        let (env, state_dir) = self.state.clone();
        let looked = spawn_blocking(move || {
            let conflicts = parts.journal.readers().get().and_then(|reader| reader.conflicts());
            let held = parts.tree.held_deletes(None).ok().flatten();
            let room = (parts.tree.usage(), parts.tree.waiting_for_room(None));
            let told =
                (conflicts.map_or(0, |all| all.len()), held, disk_trouble(&parts), room, damaged(&env, &state_dir));
            (parts.sync.status(), parts.contents.usage(), counters(&parts), told)
        });
        let (sync, usage, counters, (conflicts, held, trouble, (usage_there, no_room), damaged)) =
            looked.await.map_err(Failure::failed)?;
        let credentials = self.identity.credentials();
        let (in_memory, in_database) = self.parts.tree.inode_counts();
        let inodes = InodeCounts { in_memory: in_memory as u64, in_database: in_database as u64 };
        let status = MountStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            life: self.lives.0,
            server: credentials.server,
            online: sync.engine.link == LinkState::Online,
            queue: queue_status(sync.queue),
            cache: CacheStatus { bytes: usage.bytes, limit_bytes: usage.limit_bytes },
            counters,
            held: held_count(&sync)
                + held.as_ref().map_or(0, |held| held.operations)
                + no_room.as_ref().map_or(0, |no_room| no_room.operations),
            last_error: trouble.or_else(|| last_error(&sync)),
            damaged,
            verified: self.verifier.last(),
            passthrough: passthrough(&self.parts.vfs),
            inodes,
            quota: usage_there.and_then(quota_status),
        };
        Ok(StatusReply {
            user: credentials.user,
            device: credentials.device_name,
            limits: self.limits.get(),
            rates: Rates {
                fetched_bytes_per_s: sync.rate.received_bytes_per_sec,
                sent_bytes_per_s: sync.rate.sent_bytes_per_sec,
            },
            bookkeeping_bytes: usage.extra_bytes,
            conflicts: conflicts as u64,
            held_reason: held
                .as_ref()
                .map(held_deletes_text)
                .or_else(|| no_room.as_ref().map(no_room_text))
                .or_else(|| held_reason(&sync)),
            status,
        })
    }

    pub(super) async fn caused(&self) -> Result<Vec<ProgramRow>, Failure> {
        let parts = Arc::clone(&self.parts);
        let row = move |caused: Caused| ProgramRow {
            last_path: parts.tree.path_of(caused.last).ok().flatten().map(|path| lossy(&path)),
            program: caused.program,
            scans: caused.scans,
            asked_bytes: caused.asked_bytes,
            ahead_bytes: caused.ahead_bytes,
            refused: caused.refused_count,
        };
        let all = self.parts.vfs.caused();
        spawn_blocking(move || all.into_iter().map(row).collect()).await.map_err(Failure::failed)
    }

    pub(super) async fn path_status(&self, path: &MountPath) -> Result<PathStatus, Failure> {
        let found = tokio::time::timeout(LISTING_WAIT, self.find(path)).await;
        let shown = self.shown(path);
        let ino = found.map_err(|_| Failure::failed(format_args!("{shown}: not listed yet, try again")))??;
        let stat = self.parts.on_tree(&shown, move |tree| Ok((tree.stat(ino)?, tree.is_pinned(ino)?)));
        let (stat, pinned) = stat.await?;
        let vfs = Arc::clone(&self.parts.vfs);
        let state = spawn_blocking(move || vfs.getxattr(ino, STATE.as_bytes())).await.map_err(Failure::failed)?;
        let state = state.map_err(|stop| {
            Failure::failed(match stop {
                Stop::Fail(error) => format!("{shown}: {error}"),
                Stop::Wait(_) => format!("{shown}: not listed yet, try again"),
            })
        })?;
        Ok(PathStatus {
            path: path.to_string(),
            state: String::from_utf8_lossy(&state).into_owned(),
            size_bytes: stat.size_bytes,
            local_bytes: stat.allocated_bytes,
            pinned,
            devices: tokio::time::timeout(RECEIPTS_WAIT, self.receipts(ino)).await.ok().flatten(),
        })
    }

    /// Which devices know the version of a file that the server has; `None` if it does not say.
    async fn receipts(&self, ino: Ino) -> Option<Vec<DeviceStatus>> {
        let node = self.parts.on_tree("receipts", move |tree| tree.published_file(ino)).await.ok()??;
        let told = self.identity.remote.receipts(node).await.ok()?;
        let status = |device: DeviceReceipt| DeviceStatus {
            name: device.name,
            has_version: device.has_version,
            heard: device.time.map(rfc3339),
        };
        Some(told.devices.into_iter().map(status).collect())
    }
}

/// A path below the mount, for people.
fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).trim_start_matches('/').to_owned()
}

fn passthrough(vfs: &Vfs) -> PassthroughStatus {
    let why_not = vfs.why_no_passthrough();
    PassthroughStatus { active: why_not.is_none(), why_not, read_requests: vfs.read_requests() }
}

fn counters(parts: &Parts) -> CounterValues {
    let fetched = parts.hydrator.counters();
    let sent = parts.sync.status().transferred;
    CounterValues {
        chunks_fetched: fetched.chunks_fetched,
        frames_fetched: fetched.frames_fetched,
        bytes_fetched: fetched.bytes_fetched,
        bytes_copied: fetched.bytes_copied,
        chunks_sent: sent.chunks_sent,
        bytes_sent: sent.bytes_sent,
    }
}

/// The first lines of the notes: what a person is told until the folders are gone.
fn damaged(env: &Env, state_dir: &Path) -> Vec<String> {
    let notes = damage_notes(env, state_dir).unwrap_or_default();
    notes.iter().filter_map(|note| note.lines().next()).map(str::to_owned).collect()
}

/// What is wrong with the local disk, and what to do.
fn disk_trouble(parts: &Parts) -> Option<String> {
    let doubtful = || match parts.contents.doubtful_count() {
        0 => None,
        count => Some(format!(
            "the local disk did not take all bytes of files that were to be durable ({count} by now): see to the disk, and \
             write them again; what the server has by then is fetched from it"
        )),
    };
    parts.journal.trouble().or_else(doubtful)
}

/// What went wrong last, unless it has passed since.
fn last_error(sync: &SyncStatus) -> Option<String> {
    let engine = &sync.engine;
    let is_well = engine.link == LinkState::Online && engine.failures == 0;
    let error = engine.last_error.as_ref().filter(|error| !(error.is_passing && is_well))?;
    Some(error.reason.clone())
}

/// Operations that will not go up by themselves.
/// What is queued, as clients see it.
pub(super) fn queue_status(totals: QueueTotals) -> QueueStatus {
    let QueueTotals { operations, bytes, local_only } = totals;
    QueueStatus { operations, bytes, local_only }
}

fn held_count(sync: &SyncStatus) -> u64 {
    if sync.engine.held.is_some() { sync.queue.operations } else { sync.engine.stuck.len() as u64 }
}

/// Why operations are held, for people.
pub(super) fn held_reason(sync: &SyncStatus) -> Option<String> {
    match sync.engine.held {
        Some(held) => Some(held_text(held).to_owned()),
        None => sync.engine.stuck.first().map(|stuck| stuck.reason.clone()),
    }
}

fn quota_status(usage: Usage) -> Option<QuotaStatus> {
    usage.bytes_max.map(|limit_bytes| QuotaStatus { bytes: usage.bytes_used, limit_bytes })
}

/// What waits for room, and what a person can do about it.
pub(super) fn no_room_text(no_room: &NoRoom) -> String {
    let NoRoom { operations, sample, .. } = no_room;
    format!(
        "the quota is used up: {operations} operations wait for room on the server ({sample}, ...); remove something, or have \
         the quota raised"
    )
}

/// What is held, and what a person can do about it.
pub(super) fn held_deletes_text(held: &HeldDeletes) -> String {
    let HeldDeletes { deletes, sample, .. } = held;
    format!(
        "{deletes} deletes are held, unusually many ({sample}, ...): `tarn confirm` sends them, `tarn undo` takes them back"
    )
}

/// What a person is to do.
pub(super) fn held_text(held: Held) -> &'static str {
    match held {
        Held::SignedOut => {
            "the server does not know this device any more (revoked?): unmount, `tarn login`, mount again"
        }
        Held::MustSignInAnew => {
            "this device's state was copied or restored from a backup, and the server refuses to enrol it anew: \
             unmount, `tarn logout`, `tarn login`, mount again"
        }
    }
}
