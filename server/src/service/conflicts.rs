//! Owns the list of open conflicts.

use super::{Failure, Identity};
use crate::store::Database;
use tarn_proto::api::ConflictsResponse;
use tarn_proto::error::ErrorCode;

/// Lists the open conflicts of all the caller's spaces, oldest first.
///
/// # Errors
/// The database fails.
pub async fn conflicts(db: &Database, identity: Identity) -> Result<ConflictsResponse, Failure> {
    let _ = (db, identity);
    Err(Failure::refused(ErrorCode::Unavailable, "not served yet"))
}
