//! Owns what a pull does: a consistent cut of a space's changes, in pages.

use super::{Failure, Identity};
use crate::store::Database;
use tarn_proto::api::PullResponse;
use tarn_proto::change::Cursor;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::SpaceId;

/// Answers what changed after `cursor`; `page` is `next` of the page before.
///
/// # Errors
/// The space is not the caller's, the cursor is of another history or too far, or the database fails.
pub async fn pull(
    db: &Database,
    identity: Identity,
    space: SpaceId,
    cursor: Cursor,
    page: Option<&str>,
) -> Result<PullResponse, Failure> {
    let _ = (db, identity, space, cursor, page);
    Err(Failure::refused(ErrorCode::Unavailable, "not served yet"))
}
