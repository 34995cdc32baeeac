//! Owns keeping what is pinned local: what is created below a pinned folder later, or changed elsewhere, is brought.
//!
//! In memory are only names of what is to be looked at, and the few files that are being brought.

mod backlog;

use super::parts::Parts;
use crate::hydrate::{HydrateError, Priority};
use crate::meta::rows::Ino;
use crate::tree::{Invalidation, Notifier};
use backlog::Backlog;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::spawn_blocking;

/// How often it is looked whether something new lies below a pin.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Every so many looks what is pinned no more is let go.
const RELEASE_LOOKS: u32 = 20;
/// Files that are brought at once: enough for small ones to share a call, few enough to leave readers room.
const FILES_AT_ONCE: usize = 32;

/// Why a pinned file is not brought.
#[derive(Debug, thiserror::Error)]
enum BringError {
    #[error(transparent)]
    Hydrate(#[from] HydrateError),
    #[error("what is pinned does not fit: raise --cache-size, or unpin something")]
    NoRoom,
    #[error("the local disk: {0}")]
    Local(String),
}

/// Brings what pins ask for, as long as the parts are there.
pub(super) async fn keep(parts: Weak<Parts>) {
    let mut backlog = Backlog::default();
    for look in 0u32.. {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(standing) = parts.upgrade() else { return };
        if look.is_multiple_of(RELEASE_LOOKS) && standing.tree.take_has_left_pins() {
            let standing = Arc::clone(&standing);
            // If it fails, that is in the log, and the next one to leave brings it up again.
            let _ = spawn_blocking(move || release(&standing)).await;
        }
        backlog.note(standing.tree.take_fresh_pinned(), &standing.tree);
        let due = backlog.take_due(standing.hydrator.is_online());
        drop(standing);
        let mut failed = BTreeSet::new();
        for ino in due {
            bring_below(&parts, ino, &mut failed).await;
        }
        backlog.put_back(failed);
    }
}

/// Lets go what is not pinned any more: moved away, or removed.
fn release(parts: &Parts) {
    for (no, ino) in parts.contents.pinned() {
        if !parts.tree.is_pinned(ino).unwrap_or(false) {
            match parts.contents.get(no) {
                Ok(content) => content.set_pinned(false),
                Err(error) => tracing::debug!(%error, "what was pinned is gone"),
            }
        }
    }
}

/// Brings a file, or all files below a folder; notes what is to be tried again.
async fn bring_below(parts: &Weak<Parts>, start: Ino, failed: &mut BTreeSet<Ino>) {
    let Some(standing) = parts.upgrade() else { return };
    // One that is gone by now, or pinned no more, needs nothing.
    if !standing.tree.is_pinned(start).unwrap_or(false) {
        return;
    }
    let files = standing.files_below("what is pinned", start).await;
    drop(standing);
    let files = match files {
        Ok(files) => files,
        Err(error) => {
            tracing::debug!(error = %error.message, "what is pinned could not be listed yet");
            failed.insert(start);
            return;
        }
    };
    for batch in files.chunks(FILES_AT_ONCE) {
        let results = join_all(batch.iter().map(|file| bring(parts, *file))).await;
        for (file, result) in batch.iter().zip(results) {
            match result {
                Ok(()) => {}
                // The rest would fare no better now.
                Err(BringError::Hydrate(error)) if error.is_retryable() => {
                    tracing::debug!(%error, "what is pinned could not be brought yet");
                    failed.insert(start);
                    return;
                }
                // Trying again would drop everything else each time; unpinning something tries all again.
                Err(error @ BringError::NoRoom) => tracing::warn!(%error, ino = file.0, "a pinned file is not local"),
                Err(error) => {
                    tracing::warn!(%error, ino = file.0, "a pinned file is not local");
                    failed.insert(*file);
                }
            }
        }
    }
}

async fn bring(parts: &Weak<Parts>, file: Ino) -> Result<(), BringError> {
    let Some(standing) = parts.upgrade() else { return Ok(()) };
    let Ok(content) = standing.on_tree("what is pinned", move |tree| tree.content(file)).await else { return Ok(()) };
    content.set_pinned(true);
    if !standing.tree.is_pinned(file).unwrap_or(false) {
        // Unpinned a moment ago, and by whoever did so perhaps before the line above.
        content.set_pinned(false);
        return Ok(());
    }
    let missing = content.missing(0..content.size_bytes());
    if missing.is_empty() {
        return Ok(());
    }
    make_room(&standing, &missing).await?;
    let (hydrator, notifier) = (standing.hydrator.clone(), Arc::clone(&standing.notifier));
    // Whatever it waits for, the mount may end meanwhile.
    drop(standing);
    let is_whole = hydrator.need_on_disk(&content, &missing, Priority::Prefetch).await?;
    // How much of it is here is among its attributes.
    notifier.announce_and_invalidate(vec![Invalidation::Attributes(file)]);
    // Another version that came meanwhile is noted, and looked at next.
    if is_whole { Ok(()) } else { Err(BringError::NoRoom) }
}

/// Bytes that find no room on the disk would be fetched in vain.
async fn make_room(parts: &Parts, missing: &[Range<u64>]) -> Result<(), BringError> {
    let bytes = missing.iter().map(|range| range.end - range.start).sum();
    let contents = Arc::clone(&parts.contents);
    if !contents.is_known() {
        return Err(HydrateError::Unreachable.into());
    }
    let local = |error: &dyn std::fmt::Display| BringError::Local(error.to_string());
    let room = spawn_blocking(move || contents.reserve(bytes)).await.map_err(|e| local(&e))?;
    room.map_err(|e| local(&e))?.map(drop).ok_or(BringError::NoRoom)
}
