//! Owns what a folder's listing does.

use super::{Failure, Identity};
use crate::store::Database;
use tarn_proto::api::ChildrenResponse;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{NodeId, SpaceId};

/// Lists a folder by name, as of the journal's seq at the first page; `after` is `next` of the page
/// before (it holds that seq too).
///
/// # Errors
/// The space is not the caller's, there is no such folder, or the database fails.
pub async fn children(
    db: &Database,
    identity: Identity,
    space: SpaceId,
    node: NodeId,
    after: Option<&str>,
) -> Result<ChildrenResponse, Failure> {
    let _ = (db, identity, space, node, after);
    Err(Failure::refused(ErrorCode::Unavailable, "not served yet"))
}
