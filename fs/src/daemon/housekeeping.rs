//! Owns what a daemon does beside: taking inventory, telling who is online, keeping the budget.

use super::parts::Parts;
use super::pins;
use crate::content::Contents;
use crate::env::Env;
use crate::journal::Journal;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::spawn_blocking;

/// How often the budget is looked after: log and database grow in between.
const ROUND_EVERY: Duration = Duration::from_millis(250);
/// Every so many rounds memory is looked after.
const TIDY_ROUNDS: u32 = 8;
/// Every so many rounds what was fetched is made durable and recorded.
const PRESENCE_ROUNDS: u32 = 20;
/// While changes wait for room on the server, it is asked every so many rounds: nobody tells of a larger quota.
const ROOM_ROUNDS: u32 = 40;
/// Every so many rounds temporary files are looked at.
const LOCAL_ONLY_ROUNDS: u32 = 2_400;
/// What log and database may grow by between two rounds counts as used: this much, or this part of the budget.
const GROWTH_BYTES: u64 = 8 << 20;
const GROWTH_SHARE: u64 = 32;

/// Starts all of it; it ends with the parts.
pub(super) fn start(env: &Env, parts: &Arc<Parts>, state_dir: &Path) {
    tokio::spawn(follow_link(Arc::downgrade(parts)));
    tokio::spawn(pins::keep(Arc::downgrade(parts)));
    tokio::spawn(rounds(env.clone(), Arc::downgrade(parts), state_dir.to_owned()));
}

/// Readers are told at once when the server is away, instead of each finding out.
async fn follow_link(parts: Weak<Parts>) {
    let Some(mut view) = parts.upgrade().map(|parts| parts.sync.watch()) else { return };
    loop {
        let reach = view.borrow_and_update().reach();
        match parts.upgrade() {
            Some(parts) => parts.hydrator.set_reach(reach),
            None => return,
        }
        if view.changed().await.is_err() {
            return;
        }
    }
}

async fn rounds(env: Env, parts: Weak<Parts>, state_dir: PathBuf) {
    let first = parts.clone();
    let taken = spawn_blocking(move || first.upgrade().map(|parts| parts.tree.take_inventory())).await;
    if let Ok(Some(Err(error))) = taken {
        tracing::error!(%error, "what an earlier run left could not be counted; nothing new is kept");
    }
    for count in 0u32.. {
        tokio::time::sleep(ROUND_EVERY).await;
        let (env, parts, state_dir) = (env.clone(), parts.clone(), state_dir.clone());
        let round = spawn_blocking(move || parts.upgrade().map(|parts| round(&env, &parts, &state_dir, count)));
        match round.await {
            Ok(Some(Ok(()))) => {}
            Ok(Some(Err(error))) => tracing::warn!(%error, "housekeeping failed"),
            Ok(None) | Err(_) => return,
        }
    }
}

fn round(env: &Env, parts: &Parts, state_dir: &Path, count: u32) -> anyhow::Result<()> {
    count_extra(env, &parts.contents, &parts.journal, state_dir)?;
    parts.contents.trim()?;
    if count.is_multiple_of(TIDY_ROUNDS) {
        parts.tree.tidy();
    }
    if count.is_multiple_of(ROOM_ROUNDS) && parts.tree.waiting_for_room(None).is_some() {
        parts.sync.pull();
    }
    if count.is_multiple_of(LOCAL_ONLY_ROUNDS) {
        parts.tree.review_local_only()?;
    }
    if count.is_multiple_of(PRESENCE_ROUNDS) {
        parts.contents.record_presence()?;
    }
    Ok(())
}

/// Counts what is not content against the budget: log and database, and what they may grow by until the next time.
pub(super) fn count_extra(env: &Env, contents: &Contents, journal: &Journal, state_dir: &Path) -> io::Result<()> {
    let growth_bytes = GROWTH_BYTES.min(contents.usage().limit_bytes / GROWTH_SHARE);
    let database_bytes = database_bytes(env, state_dir, journal.wal_bytes())?;
    contents.set_extra_bytes(journal.log_bytes() + database_bytes + growth_bytes);
    Ok(())
}

/// The database and its write-ahead log count against the budget; the latter at least with what it grows to.
fn database_bytes(env: &Env, state_dir: &Path, wal_bytes: u64) -> io::Result<u64> {
    let mut bytes = 0;
    let mut known_wal_bytes = 0;
    for path in env.disk.read_dir(state_dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with("-wal") {
            known_wal_bytes += allocated_bytes(&path)?;
        } else if name.starts_with(crate::meta::FILE_NAME) {
            bytes += allocated_bytes(&path)?;
        }
    }
    Ok(bytes + known_wal_bytes.max(wal_bytes))
}

/// Allocated bytes of a file; none if it is gone by now.
fn allocated_bytes(path: &Path) -> io::Result<u64> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(meta.blocks() * 512),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(e),
    }
}
