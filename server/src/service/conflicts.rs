//! Owns the list of open conflicts, and resolving them: once, whoever asks how often.

use super::cursor::check_cursor;
use super::push::ask;
use super::spaces::{lock_own, own};
use super::versions::server_device;
use super::{Failure, Identity, chunks_there};
use crate::env::Env;
use crate::rules::{self, Author, Decision, Resolve, Snapshot};
use crate::store::batch::Batch;
use crate::store::conflicts::{self, StoredConflict};
use crate::store::{Conn, Database, devices, spaces};
use tarn_proto::api::{ConflictInfo, ConflictsResponse, Outcome, Resolution, ResolveRequest, ResolveResponse};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ConflictId, SpaceId, VersionId};

/// Lists the open conflicts of all the caller's spaces, oldest first.
///
/// # Errors
/// The database fails.
pub async fn conflicts(db: &Database, identity: Identity) -> Result<ConflictsResponse, Failure> {
    let mut tx = db.begin_read().await?;
    let mut all = Vec::new();
    for space in spaces::of_user(&mut tx, identity.user).await? {
        let open = conflicts::of_space(&mut tx, space.space).await?;
        all.extend(open.into_iter().map(|row| ConflictInfo { conflict: row.id, space: space.space, state: row.state }));
    }
    all.sort_by_key(|info| (info.state.time, info.conflict));
    Ok(ConflictsResponse { conflicts: all })
}

/// What a call to resolve brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The space of the conflict.
    pub space: SpaceId,
    /// The answer.
    pub response: ResolveResponse,
    /// Whether this call did it; then the route tells who waits.
    pub is_new: bool,
}

/// Resolves a conflict of the caller's. One that is resolved already answers how, and changes nothing.
///
/// # Errors
/// There is no such conflict in the caller's spaces; the file or its sibling holds what the caller has not seen; a
/// name is wanted; or the database fails.
pub async fn resolve(
    db: &Database,
    env: &Env,
    identity: Identity,
    conflict: ConflictId,
    request: &ResolveRequest,
) -> Result<Resolved, Failure> {
    if let Some(content) = &request.content {
        chunks_there::check(db, identity.user, content).await?;
    }
    let version = VersionId(env.random());
    db.retry(|| try_resolve(db, env, identity, conflict, (request, version))).await
}

/// A conflict in one of the caller's spaces.
async fn find(conn: &mut Conn, identity: Identity, conflict: ConflictId) -> Result<StoredConflict, Failure> {
    let missing = || Failure::not_found("conflict");
    let found = conflicts::get(conn, conflict).await?.ok_or_else(missing)?;
    match own(conn, identity, found.space).await {
        Ok(_) => Ok(found),
        Err(Failure::Refused { .. }) => Err(missing()),
        Err(other) => Err(other),
    }
}

async fn try_resolve(
    db: &Database,
    env: &Env,
    identity: Identity,
    conflict: ConflictId,
    (request, version): (&ResolveRequest, VersionId),
) -> Result<Resolved, Failure> {
    let mut tx = db.begin().await?;
    let space = find(&mut tx, identity, conflict).await?.space;
    let row = lock_own(&mut tx, identity, space).await?;
    let found = find(&mut tx, identity, conflict).await?;
    // Asked again it says the same, whatever the caller knows by now.
    if let Some((seq, resolution)) = found.resolved {
        return Ok(Resolved { space, response: ResolveResponse { resolution, seq }, is_new: false });
    }
    if let Some(cursor) = &request.cursor {
        check_cursor(&mut tx, &row, cursor).await?;
    }
    let seq = row.cursor.seq + 1;
    let resolution = Resolution {
        keep: request.keep,
        device: identity.device,
        device_name: devices::by_id(&mut tx, identity.device).await?.map(|device| device.name).unwrap_or_default(),
        time: env.now(),
    };
    // The server writes in its own name: the device's counters are the device's.
    let author = Author {
        space,
        device: server_device(&row.cursor),
        shown_as: identity.device,
        device_name: resolution.device_name.clone(),
        cursor_seq: row.cursor.seq,
        now: resolution.time,
    };
    let asked = Resolve {
        conflict,
        node: found.row.state.node,
        keep: request.keep,
        seen_file: request.seen_file.as_ref().unwrap_or(&request.seen).clone(),
        seen_sibling: request.seen_sibling.as_ref().unwrap_or(&request.seen).clone(),
        alt_name: request.alt_name.clone(),
        content: request.content.clone(),
        version,
        counter: seq,
    };
    let mut snapshot = Snapshot::empty(space);
    let decision = ask(&mut tx, &mut snapshot, |snapshot| rules::resolve(snapshot, &author, &asked, seq)).await?;
    let mut batch = Batch::new(space, row.cursor, env.now_ms());
    batch.add(effects_of(decision)?);
    batch.write(&mut tx).await?;
    conflicts::keep_resolution(&mut tx, conflict, seq, &resolution).await?;
    let used = row.bytes_used.saturating_add_signed(batch.bytes_grown());
    spaces::advance(&mut tx, space, &batch.cursor(), used).await?;
    tx.commit().await?;
    Ok(Resolved { space, response: ResolveResponse { resolution, seq }, is_new: true })
}

fn effects_of(decision: Decision) -> Result<rules::Effects, Failure> {
    match (decision.outcome, decision.effects) {
        (Outcome::Applied, Some(effects)) => Ok(effects),
        (Outcome::Refused { code, detail }, _) => Err(Failure::refused(code, detail)),
        (Outcome::NeedsName, _) => Err(Failure::refused(
            ErrorCode::AlreadyExists,
            "the name is taken, or none was sent: send another alt_name",
        )),
        (outcome, _) => Err(Failure::Internal(format!("resolving a conflict ended with {outcome:?}"))),
    }
}
