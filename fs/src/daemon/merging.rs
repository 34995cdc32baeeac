//! Owns merging texts that two devices changed without knowing of each other. Only conflicts of this device's own
//! writes: each is merged by one device. It is made of contents that the server has, and takes place there, at once or
//! not at all: nothing local is touched, and whoever wrote meanwhile has a conflict as before.

use super::identity::OwnIdentity;
use super::parts::Parts;
use super::text_merge::{TEXT_BYTES_MAX, is_mergeable, merged};
use crate::env::Env;
use crate::meta::ConflictRecord;
use crate::remote::{Remote as _, RemoteError, UploadItem};
use crate::tree::SeenOfConflict;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tarn_proto::api::{Keep, ResolveRequest, VersionInfo};
use tarn_proto::change::{ConflictState, Cursor};
use tarn_proto::chunk::{ContentKey, chunk_id, content_id, encode};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ConflictId, VersionId};
use tarn_proto::manifest::{Manifest, ManifestEntry};
use tarn_proto::node::Content;
use tarn_proto::version::VersionVector;
use tokio::task::spawn_blocking;

/// How often it is looked whether there is news.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A merge that the server could not be asked for is tried again after so many looks.
const RETRY_LOOKS: u32 = 25;
/// A file that is written all the time is not tried for ever.
const TRIES_MAX: u32 = 3;

/// Starts it; it ends with the parts.
pub(super) fn start(env: &Env, parts: &Arc<Parts>, identity: &Arc<OwnIdentity>) {
    tokio::spawn(keep(env.clone(), Arc::downgrade(parts), Arc::clone(identity)));
}

async fn keep(env: Env, parts: Weak<Parts>, identity: Arc<OwnIdentity>) {
    let mut known = None;
    let mut tried = Tried::new();
    let mut looks_left = 0;
    loop {
        let Some(parts) = parts.upgrade() else { return };
        let news = Some(parts.tree.conflict_news());
        if news != known || looks_left == 1 {
            known = news;
            let is_done = Merging { env: &env, parts: &parts, identity: &identity }.all(&mut tried).await;
            looks_left = if is_done { 0 } else { RETRY_LOOKS };
        } else {
            looks_left = looks_left.saturating_sub(1);
        }
        drop(parts);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What a try was made of: the conflict, and where its file was and in which version. While these are the same, so is what comes of it.
type Made = (ConflictState, Option<(Vec<u8>, Option<VersionId>)>);

/// The conflicts that nothing came of so far. One that is heard of later is no reason to ask for all of these again.
type Tried = HashMap<ConflictId, Made>;

struct Merging<'a> {
    env: &'a Env,
    parts: &'a Arc<Parts>,
    identity: &'a OwnIdentity,
}

impl Merging<'_> {
    /// Merges what can be and was not tried before; false if the server could not be asked.
    async fn all(&self, tried: &mut Tried) -> bool {
        let own = self.identity.credentials().device;
        let parts = Arc::clone(self.parts);
        // Of which history what is found is: the server may be put back meanwhile.
        let cursor = parts.tree.cursor();
        let records = spawn_blocking(move || {
            parts.journal.drain().ok()?;
            let records = parts.journal.readers().get().ok()?.conflicts().ok()?;
            let owned = records.into_iter().filter(|record| record.state.device == own);
            let known = owned.map(|record| Some((parts.tree.file_of_conflict(&record.state).ok()?, record)));
            known.collect::<Option<Vec<_>>>()
        });
        let Ok(Some(records)) = records.await else { return false };
        let (mut is_done, mut left) = (true, Tried::new());
        for (file, record) in records {
            let made = (record.state.clone(), file);
            let is_tried = tried.remove(&record.conflict).is_some_and(|before| before == made);
            if is_tried || self.is_tried_now(&record, cursor).await {
                left.insert(record.conflict, made);
            } else {
                is_done = false;
            }
        }
        *tried = left;
        is_done
    }

    /// Tries it; false if that is to be done again.
    async fn is_tried_now(&self, record: &ConflictRecord, cursor: Option<Cursor>) -> bool {
        match self.one(record, cursor).await {
            Ok(()) => true,
            Err(error) if error.is_retryable() => false,
            // What the server lost is brought back first.
            Err(RemoteError::Refused { code: ErrorCode::EpochChanged, .. }) => false,
            Err(error) => {
                tracing::info!(%error, conflict = %record.conflict, "a conflict is left to a person");
                true
            }
        }
    }

    async fn one(&self, record: &ConflictRecord, cursor: Option<Cursor>) -> Result<(), RemoteError> {
        for _ in 0..TRIES_MAX {
            let Some((text, seen)) = self.merge(record).await? else { return Ok(()) };
            let content = self.send(text.into_bytes()).await?;
            let request = ResolveRequest { cursor, content: Some(content), ..seen.request(Keep::Merged) };
            match self.identity.remote.resolve(record.conflict, &request).await {
                Ok(_) => {
                    tracing::info!(conflict = %record.conflict, "two changes of a text were merged");
                    return Ok(());
                }
                Err(RemoteError::Refused { code: ErrorCode::Stale, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The text made of both, and what it has seen.
    async fn merge(&self, record: &ConflictRecord) -> Result<Option<(String, SeenOfConflict)>, RemoteError> {
        let state = &record.state;
        // Where a tool owns the files there is no sibling, and nothing is merged.
        let Some(sibling) = state.sibling else { return Ok(None) };
        let place = self.parts.tree.place_of(state.node).ok().flatten();
        if !place.is_some_and(|(_, path)| is_mergeable(path.rsplit(|&byte| byte == b'/').next().unwrap_or(&path))) {
            return Ok(None);
        }
        let remote = &self.identity.remote;
        let history = remote.versions(state.node).await?.versions;
        let Some((stayed, base)) = stayed_and_base(&history, &state.theirs.vector) else { return Ok(None) };
        let sizes = [base.content.size, stayed.content.size, state.theirs.content.size];
        if sizes.iter().any(|&size| size > TEXT_BYTES_MAX as u64) {
            return Ok(None);
        }
        let base = remote.content(state.node, base.version, TEXT_BYTES_MAX).await?;
        let theirs = remote.content(sibling, state.theirs.content.version, TEXT_BYTES_MAX).await?;
        let seen = SeenOfConflict { file: stayed.vector.clone(), sibling: state.theirs.vector.clone() };
        let stayed = remote.content(state.node, stayed.version, TEXT_BYTES_MAX).await?;
        Ok(merged(&base, &stayed, &theirs).map(|text| (text, seen)))
    }

    /// Brings a text to the server.
    async fn send(&self, text: Vec<u8>) -> Result<Content, RemoteError> {
        let key = ContentKey::Ordinary;
        let size = text.len() as u64;
        let mut manifest = Manifest { level: 0, entries: Vec::new() };
        if size > 0 {
            let id = chunk_id(&key, &text);
            let stored = encode(&key, &text, 1).map_err(|error| RemoteError::Malformed(error.to_string()))?;
            manifest.entries.push(ManifestEntry { id, length: size, stored: stored.len() as u64 });
            // Who reads the result here need not fetch it.
            self.parts.contents.give_chunk(id, text.clone().into());
            let item = UploadItem { id, manifest_node: false, stored: stored.into() };
            self.identity.remote.upload(self.identity.credentials().home, vec![item]).await?;
        }
        let version = VersionId(self.env.rng.id());
        Ok(Content { version, size, content_id: content_id(&key, &text), manifest })
    }
}

/// The present version, and the newest one that both sides had seen.
fn stayed_and_base<'v>(
    history: &'v [VersionInfo],
    theirs: &VersionVector,
) -> Option<(&'v VersionInfo, &'v VersionInfo)> {
    let stayed = history.first()?;
    let base = history.iter().find(|old| stayed.vector.has_seen(&old.vector) && theirs.has_seen(&old.vector))?;
    Some((stayed, base))
}
