//! Owns the check of a device's cursor against a space's journal.

use super::Failure;
use crate::store::spaces::SpaceRow;
use crate::store::{Conn, journal};
use tarn_proto::change::Cursor;
use tarn_proto::error::ErrorCode;

/// Checks that a cursor is a moment of the space's history.
///
/// # Errors
/// It is of another history (`EpochChanged`), or this server does not know that moment yet (`LaggingReplica`).
pub(super) async fn check_cursor(conn: &mut Conn, space: &SpaceRow, cursor: &Cursor) -> Result<(), Failure> {
    if cursor.epoch != space.cursor.epoch {
        return Err(Failure::refused(ErrorCode::EpochChanged, "the cursor is of another epoch"));
    }
    if cursor.seq > space.cursor.seq {
        return Err(Failure::refused(ErrorCode::LaggingReplica, "the cursor is ahead of this server"));
    }
    let hash = if cursor.seq == space.cursor.seq {
        Some(space.cursor.hash)
    } else {
        journal::hash_at(conn, space.space, cursor.seq).await?
    };
    if hash != Some(cursor.hash) {
        return Err(Failure::refused(ErrorCode::EpochChanged, "the cursor's hash is of another history"));
    }
    Ok(())
}
