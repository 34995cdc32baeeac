//! Owns a file's history: what it was, and making it so again.

use super::push::decide;
use super::spaces::{lock_own, own};
use super::{Failure, Identity};
use crate::env::Env;
use crate::rules::{Author, Snapshot};
use crate::store::batch::Batch;
use crate::store::nodes::{self, NodeInterval};
use crate::store::{Conn, Database, entries, spaces, versions};
use tarn_proto::api::{Answer, VersionInfo, VersionsResponse};
use tarn_proto::change::Cursor;
use tarn_proto::ids::{DeviceId, NodeId, SpaceId, VersionId};
use tarn_proto::node::{AttrChange, Content, ContentSummary, FileVersion, Timestamp};
use tarn_proto::op::{OpKind, Operation, Place};

/// What a restore did.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// The space that changed.
    pub space: SpaceId,
    /// The rows that changed; the counter is the journal's: it was no operation of a device.
    pub answer: Answer,
    /// Where the journal stands; the route tells who waits.
    pub cursor: Cursor,
}

/// A file's content, by id or as it is now; for whoever streams it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The space it is in.
    pub space: SpaceId,
    /// The content.
    pub file: FileVersion,
}

pub(super) fn no_file() -> Failure {
    Failure::not_found("file")
}

fn no_version() -> Failure {
    Failure::not_found("version")
}

/// The newest row of a file of the caller's, which may be gone.
pub(super) async fn find(conn: &mut Conn, identity: Identity, node: NodeId) -> Result<NodeInterval, Failure> {
    let mut rows = nodes::present(conn, &[node]).await?;
    if rows.is_empty() {
        rows = nodes::gone(conn, &[node]).await?;
    }
    let row = rows.into_iter().next().filter(|row| row.row.state.kind.is_file()).ok_or_else(no_file)?;
    match own(conn, identity, row.space).await {
        Ok(_) => Ok(row),
        Err(Failure::Refused { .. }) => Err(no_file()),
        Err(other) => Err(other),
    }
}

/// Lists a file's history, newest first; a removed file still has one.
///
/// # Errors
/// There is no such file in the caller's spaces, or the database fails.
pub async fn versions(db: &Database, identity: Identity, node: NodeId) -> Result<VersionsResponse, Failure> {
    let mut tx = db.begin_read().await?;
    let found = find(&mut tx, identity, node).await?;
    let stored = versions::of_node(&mut tx, found.space, node).await?;
    let info = |stored: versions::StoredVersion| VersionInfo {
        version: stored.file.content.version,
        content: ContentSummary { size: stored.file.content.size, content_id: stored.file.content.content_id },
        vector: stored.file.vector,
        author: stored.file.author,
        seq: stored.seq,
        time: time_of(stored.time_ms),
    };
    Ok(VersionsResponse { versions: stored.into_iter().map(info).collect() })
}

pub(super) fn time_of(ms: i64) -> Timestamp {
    let nanos = u32::try_from(ms.rem_euclid(1_000)).unwrap_or(0) * 1_000_000;
    Timestamp { secs: ms.div_euclid(1_000), nanos }
}

/// Finds a file's content: the version asked for, or the present one.
///
/// # Errors
/// There is no such file or version in the caller's spaces, or the database fails.
pub async fn content(
    db: &Database,
    identity: Identity,
    node: NodeId,
    version: Option<VersionId>,
) -> Result<Found, Failure> {
    let mut tx = db.begin_read().await?;
    let found = find(&mut tx, identity, node).await?;
    let file = match version {
        Some(version) => old_content(&mut tx, &found, version).await?,
        None if found.seq_to.is_some() => return Err(no_file()),
        None => found.row.state.file.ok_or_else(no_file)?,
    };
    Ok(Found { space: found.space, file })
}

async fn old_content(conn: &mut Conn, found: &NodeInterval, version: VersionId) -> Result<FileVersion, Failure> {
    let stored = versions::get(conn, found.space, version).await?;
    stored.filter(|stored| stored.node == found.node).map(|stored| stored.file).ok_or_else(no_version)
}

/// Makes an old content the present one: a new version that has seen the present one. A removed file
/// comes back where it was.
///
/// # Errors
/// There is no such file or version in the caller's spaces, or the database fails.
pub async fn restore(
    db: &Database,
    env: &Env,
    identity: Identity,
    node: NodeId,
    version: VersionId,
) -> Result<Restored, Failure> {
    let fresh = VersionId(env.random());
    db.retry(|| try_restore(db, env, identity, node, (version, fresh))).await
}

async fn try_restore(
    db: &Database,
    env: &Env,
    identity: Identity,
    node: NodeId,
    (version, fresh): (VersionId, VersionId),
) -> Result<Restored, Failure> {
    let mut tx = db.begin().await?;
    let space = find(&mut tx, identity, node).await?.space;
    let row = lock_own(&mut tx, identity, space).await?;
    let found = find(&mut tx, identity, node).await?;
    let old = old_content(&mut tx, &found, version).await?;
    let seq = row.cursor.seq + 1;
    let op = restoring(&mut tx, env, &found, Content { version: fresh, ..old.content }, seq).await?;
    // The server writes in its own name: the device's counters are the device's.
    let author = Author {
        space,
        device: server_device(&row.cursor),
        shown_as: identity.device,
        device_name: String::new(),
        cursor_seq: row.cursor.seq,
        now: env.now(),
    };
    let mut snapshot = Snapshot::empty(space);
    let (answer, effects) = decide(&mut tx, &mut snapshot, &author, &op, seq).await?;
    let mut batch = Batch::new(space, row.cursor, env.now_ms());
    if let Some(effects) = effects {
        batch.add(effects);
        batch.write(&mut tx).await?;
        let used = row.bytes_used.saturating_add_signed(batch.bytes_grown());
        spaces::advance(&mut tx, space, &batch.cursor(), used).await?;
    }
    tx.commit().await?;
    Ok(Restored { space, answer, cursor: batch.cursor() })
}

/// The component of the server itself in version vectors; its counter is the journal's seq, which a lost history used, too.
pub(super) fn server_device(cursor: &Cursor) -> DeviceId {
    DeviceId(cursor.epoch.0)
}

async fn restoring(
    conn: &mut Conn,
    env: &Env,
    found: &NodeInterval,
    content: Content,
    seq: u64,
) -> Result<Operation, Failure> {
    let place = place_of(conn, found).await?.ok_or_else(no_file)?;
    let base = found.row.file().map(|file| file.vector.clone()).unwrap_or_default();
    let now = env.now();
    let attrs = AttrChange { mtime: Some(now), ctime: Some(now), ..AttrChange::default() };
    let kind = OpKind::Write { node: found.node, place, base, content, attrs };
    Ok(Operation { counter: seq, time: now, alt_name: None, kind })
}

/// Where the file is, or was last.
async fn place_of(conn: &mut Conn, found: &NodeInterval) -> Result<Option<Place>, Failure> {
    let entries = match found.seq_to {
        None => entries::naming(conn, &[found.node]).await?,
        Some(_) => entries::that_named(conn, &[found.node]).await?,
    };
    Ok(entries.into_iter().find(|entry| entry.seq_to == found.seq_to).map(|entry| entry.place))
}
