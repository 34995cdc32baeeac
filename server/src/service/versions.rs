//! Owns a file's history: what it was, and making it so again.

use super::{Failure, Identity};
use crate::env::Env;
use crate::store::Database;
use tarn_proto::api::{Answer, VersionsResponse};
use tarn_proto::change::Cursor;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{NodeId, SpaceId, VersionId};
use tarn_proto::node::FileVersion;

/// What a restore did.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// The space that changed.
    pub space: SpaceId,
    /// The rows that changed; the counter is 0: it was no operation of a device.
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

/// Lists a file's history, newest first.
///
/// # Errors
/// There is no such file in the caller's spaces, or the database fails.
pub async fn versions(db: &Database, identity: Identity, node: NodeId) -> Result<VersionsResponse, Failure> {
    let _ = (db, identity, node);
    Err(Failure::refused(ErrorCode::Unavailable, "not served yet"))
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
    let _ = (db, identity, node, version);
    Err(Failure::refused(ErrorCode::Unavailable, "not served yet"))
}

/// Makes an old content the present one: a new version that has seen the present one.
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
    let _ = (db, env, identity, node, version);
    Err(Failure::refused(ErrorCode::Unavailable, "not served yet"))
}
