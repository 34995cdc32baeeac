//! Owns the list of a user's spaces, and whether a space is one of them.

use super::{Failure, Identity};
use crate::store::spaces::{self, SpaceRow};
use crate::store::{Conn, Database, epochs};
use tarn_proto::api::{SpaceInfo, SpacesResponse};
use tarn_proto::ids::{NodeId, SpaceId};

/// Lists the caller's spaces; `home` is the account's home space.
///
/// # Errors
/// The database fails.
pub async fn list(db: &Database, identity: Identity, home: SpaceId) -> Result<SpacesResponse, Failure> {
    let mut conn = db.reader().await?;
    let rows = spaces::of_user(&mut conn, identity.user).await?;
    let mut infos = Vec::with_capacity(rows.len());
    for row in rows {
        infos.push(SpaceInfo {
            space: row.space,
            home: row.space == home,
            root: NodeId::root_of(row.space),
            cursor: row.cursor,
            epochs: epochs::of_space(&mut conn, row.space).await?,
            bytes_used: row.bytes_used,
            bytes_max: row.bytes_max,
        });
    }
    Ok(SpacesResponse { spaces: infos })
}

/// The caller's space; another user's is answered as if it did not exist.
///
/// # Errors
/// There is none, or the database fails.
pub async fn own(conn: &mut Conn, identity: Identity, space: SpaceId) -> Result<SpaceRow, Failure> {
    owned(spaces::get(conn, space).await?, identity)
}

/// The caller's space, locked until the transaction ends.
///
/// # Errors
/// As [`own`].
pub async fn lock_own(conn: &mut Conn, identity: Identity, space: SpaceId) -> Result<SpaceRow, Failure> {
    owned(spaces::lock(conn, space).await?, identity)
}

fn owned(row: Option<SpaceRow>, identity: Identity) -> Result<SpaceRow, Failure> {
    row.filter(|row| row.owner == identity.user).ok_or_else(|| Failure::not_found("space"))
}

/// The caller's spaces, and how far each journal is.
///
/// # Errors
/// The database fails.
pub async fn of_caller(db: &Database, identity: Identity) -> Result<Vec<(SpaceId, u64)>, Failure> {
    let rows = spaces::of_user(&mut *db.reader().await?, identity.user).await?;
    Ok(rows.into_iter().map(|row| (row.space, row.cursor.seq)).collect())
}
