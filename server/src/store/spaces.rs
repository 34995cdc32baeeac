//! Owns the rows of spaces: who owns one, and where its journal stands.

use super::sql::{self, Param};
use super::{Conn, StoreError};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use tarn_proto::api::Usage;
use tarn_proto::change::Cursor;
use tarn_proto::ids::{EpochId, JournalHash, SpaceId, UserId};
use tarn_proto::lost::EpochStart;

/// A space's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceRow {
    /// Its id.
    pub space: SpaceId,
    /// Whose it is.
    pub owner: UserId,
    /// Where its journal stands.
    pub cursor: Cursor,
    /// Bytes of all present contents.
    pub bytes_used: u64,
    /// Bytes that may be used; `None` without a quota.
    pub bytes_max: Option<u64>,
}

impl SpaceRow {
    /// How full it is.
    pub fn usage(&self) -> Usage {
        Usage { bytes_used: self.bytes_used, bytes_max: self.bytes_max }
    }
}

const COLUMNS: &str = "space_id, owner, epoch, seq, hash, bytes_used, bytes_max";

/// The running hash before the first change.
pub const HASH_ZERO: JournalHash = JournalHash([0; 32]);

fn from_row(row: &AnyRow) -> Result<SpaceRow, StoreError> {
    let bad = || StoreError::corrupt("a row of spaces");
    let count = |value: i64| u64::try_from(value).map_err(|_| bad());
    Ok(SpaceRow {
        space: sql::id(row, "space_id", SpaceId::from_slice)?,
        owner: sql::id(row, "owner", UserId::from_slice)?,
        cursor: Cursor {
            epoch: sql::id(row, "epoch", EpochId::from_slice)?,
            seq: count(row.try_get("seq")?)?,
            hash: sql::id(row, "hash", JournalHash::from_slice)?,
        },
        bytes_used: count(row.try_get("bytes_used")?)?,
        bytes_max: row.try_get::<Option<i64>, _>("bytes_max")?.map(count).transpose()?,
    })
}

/// Makes an empty space with its root directory, whose owner is `owner`.
///
/// # Errors
/// The database fails.
pub async fn create(
    conn: &mut Conn,
    space: SpaceId,
    owner: UserId,
    epoch: EpochId,
    now_ms: i64,
) -> Result<(), StoreError> {
    let row: Vec<Param> = vec![
        space.as_bytes().into(),
        owner.as_bytes().into(),
        epoch.as_bytes().into(),
        0.into(),
        HASH_ZERO.as_bytes().into(),
        0.into(),
        Param::Int(None),
        now_ms.into(),
    ];
    let head = "INSERT INTO spaces (space_id, owner, epoch, seq, hash, bytes_used, bytes_max, created_ms)";
    sql::insert_rows(conn, head, 8, "", [row]).await?;
    super::epochs::begin(conn, space, 0, EpochStart { epoch, seq: 0 }).await?;
    super::nodes::insert_root(conn, space, now_ms).await
}

/// The row of a space.
///
/// # Errors
/// The database fails.
pub async fn get(conn: &mut Conn, space: SpaceId) -> Result<Option<SpaceRow>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM spaces WHERE space_id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(query)).bind(space.as_bytes()).fetch_optional(conn).await?;
    row.as_ref().map(from_row).transpose()
}

/// Locks a space's row until the transaction ends: the order of all changes of the space.
///
/// # Errors
/// The database fails.
pub async fn lock(conn: &mut Conn, space: SpaceId) -> Result<Option<SpaceRow>, StoreError> {
    let query = format!("UPDATE spaces SET seq = seq WHERE space_id = $1 RETURNING {COLUMNS}");
    let row = sqlx::query(sqlx::AssertSqlSafe(query)).bind(space.as_bytes()).fetch_optional(conn).await?;
    row.as_ref().map(from_row).transpose()
}

/// Moves a locked space's journal forward.
///
/// # Errors
/// The database fails.
pub async fn advance(conn: &mut Conn, space: SpaceId, to: &Cursor, bytes_used: u64) -> Result<(), StoreError> {
    sqlx::query("UPDATE spaces SET seq = $1, hash = $2, bytes_used = $3 WHERE space_id = $4")
        .bind(to.seq as i64)
        .bind(to.hash.as_bytes())
        .bind(bytes_used as i64)
        .bind(space.as_bytes())
        .execute(conn)
        .await?;
    Ok(())
}

/// Sets how many bytes a space may use; `None`: as many as there are.
///
/// # Errors
/// The database fails.
pub async fn set_quota(conn: &mut Conn, space: SpaceId, bytes_max: Option<u64>) -> Result<(), StoreError> {
    let bytes_max = bytes_max.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    sqlx::query("UPDATE spaces SET bytes_max = $1 WHERE space_id = $2")
        .bind(bytes_max)
        .bind(space.as_bytes())
        .execute(conn)
        .await?;
    Ok(())
}

/// Has a locked space's journal go on as another history.
///
/// # Errors
/// The database fails.
pub async fn set_epoch(conn: &mut Conn, space: SpaceId, epoch: EpochId) -> Result<(), StoreError> {
    sqlx::query("UPDATE spaces SET epoch = $1 WHERE space_id = $2")
        .bind(epoch.as_bytes())
        .bind(space.as_bytes())
        .execute(conn)
        .await?;
    Ok(())
}

/// The spaces of a user.
///
/// # Errors
/// The database fails.
pub async fn of_user(conn: &mut Conn, user: UserId) -> Result<Vec<SpaceRow>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM spaces WHERE owner = $1 ORDER BY created_ms, space_id");
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(user.as_bytes()).fetch_all(conn).await?;
    rows.iter().map(from_row).collect()
}

/// All spaces.
///
/// # Errors
/// The database fails.
pub async fn all(conn: &mut Conn) -> Result<Vec<SpaceRow>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM spaces ORDER BY space_id");
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(conn).await?;
    rows.iter().map(from_row).collect()
}
