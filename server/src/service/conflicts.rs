//! Owns the list of open conflicts.

use super::{Failure, Identity};
use crate::store::{Database, conflicts, spaces};
use tarn_proto::api::{ConflictInfo, ConflictsResponse};

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
