//! Owns what a push does: an ordered batch of operations in one transaction under the space's lock.

use super::{Failure, Identity};
use crate::env::Env;
use crate::store::Database;
use tarn_proto::api::{PushRequest, PushResponse};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::SpaceId;

/// Applies a device's operations. If `after` is beyond `before`, the route tells who waits.
///
/// # Errors
/// The space is not the caller's, the cursor or the counters do not fit, or the database fails;
/// then nothing has happened.
pub async fn push(
    db: &Database,
    env: &Env,
    identity: Identity,
    space: SpaceId,
    request: PushRequest,
) -> Result<PushResponse, Failure> {
    let _ = (db, env, identity, space, request);
    Err(Failure::refused(ErrorCode::Unavailable, "not served yet"))
}
