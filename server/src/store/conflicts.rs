//! Owns the rows of conflicts: contents that did not stay, until somebody resolves them.

use super::sql::{self, Param};
use super::{Conn, StoreError};
use crate::rules::ConflictRow;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use tarn_proto::api::{Resolution, from_binary, to_binary};
use tarn_proto::ids::{ConflictId, NodeId, SpaceId};

/// A conflict's interval as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictInterval {
    /// Until when; `None` while it is open.
    pub seq_to: Option<u64>,
    /// The record.
    pub row: ConflictRow,
}

/// The columns that [`from_row`] reads, of a table named `c`.
pub const LOADED: &str = "c.conflict_id, c.seq_from, c.seq_to, c.state";

/// Reads the columns of [`LOADED`].
///
/// # Errors
/// They hold something else.
pub fn from_row(row: &AnyRow) -> Result<ConflictRow, StoreError> {
    Ok(ConflictRow {
        id: sql::id(row, "conflict_id", ConflictId::from_slice)?,
        seq: sql::count(row, "seq_from")?,
        state: sql::blob(row, "state")?,
    })
}

/// The open conflicts of these nodes.
///
/// # Errors
/// The database fails.
pub async fn of_nodes(conn: &mut Conn, nodes: &[NodeId]) -> Result<Vec<ConflictRow>, StoreError> {
    let query = format!("SELECT {LOADED} FROM conflicts c WHERE c.node IN ({{ids}}) AND c.seq_to IS NULL");
    let rows = sql::select_in(conn, &query, &[], nodes.iter().map(|node| node.as_bytes().into())).await?;
    rows.iter().map(from_row).collect()
}

/// The open conflicts of a space, oldest first.
///
/// # Errors
/// The database fails.
pub async fn of_space(conn: &mut Conn, space: SpaceId) -> Result<Vec<ConflictRow>, StoreError> {
    let query = format!(
        "SELECT {LOADED} FROM conflicts c WHERE c.space = $1 AND c.seq_to IS NULL ORDER BY c.seq_from, c.conflict_id"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(space.as_bytes()).fetch_all(&mut *conn).await?;
    rows.iter().map(from_row).collect()
}

/// A conflict, open or not.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredConflict {
    /// The space it is in.
    pub space: SpaceId,
    /// Its newest state.
    pub row: ConflictRow,
    /// The seq that resolved it, and how; `None` while it is open.
    pub resolved: Option<(u64, Resolution)>,
}

/// A conflict by its id.
///
/// # Errors
/// The database fails.
pub async fn get(conn: &mut Conn, conflict: ConflictId) -> Result<Option<StoredConflict>, StoreError> {
    let query = format!(
        "SELECT {LOADED}, c.space, c.resolution FROM conflicts c WHERE c.conflict_id = $1 \
         ORDER BY c.seq_from DESC LIMIT 1"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(query)).bind(conflict.as_bytes()).fetch_optional(&mut *conn).await?;
    row.map(|row| {
        let resolution: Option<Vec<u8>> = row.try_get("resolution")?;
        let read = |bytes: Vec<u8>| -> Result<(u64, Resolution), StoreError> {
            let resolution =
                from_binary(&bytes).map_err(|error| StoreError::corrupt(format!("a resolution: {error}")))?;
            Ok((sql::count(&row, "seq_to")?, resolution))
        };
        Ok(StoredConflict {
            space: sql::id(&row, "space", SpaceId::from_slice)?,
            row: from_row(&row)?,
            resolved: resolution.map(read).transpose()?,
        })
    })
    .transpose()
}

/// Remembers how a conflict was resolved that ended with `seq`.
///
/// # Errors
/// The database fails.
pub async fn keep_resolution(
    conn: &mut Conn,
    conflict: ConflictId,
    seq: u64,
    resolution: &Resolution,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE conflicts SET resolution = $1 WHERE conflict_id = $2 AND seq_to = $3")
        .bind(to_binary(resolution))
        .bind(conflict.as_bytes())
        .bind(seq as i64)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Ends an open conflict's interval.
///
/// # Errors
/// The database fails.
pub async fn end(conn: &mut Conn, ended: &[(ConflictId, u64)]) -> Result<(), StoreError> {
    for (id, seq) in ended {
        sqlx::query("UPDATE conflicts SET seq_to = $1 WHERE conflict_id = $2 AND seq_to IS NULL")
            .bind(*seq as i64)
            .bind(id.as_bytes())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Stores intervals.
///
/// # Errors
/// The database fails.
pub async fn insert(conn: &mut Conn, space: SpaceId, rows: &[ConflictInterval]) -> Result<(), StoreError> {
    let params = |interval: &ConflictInterval| -> Vec<Param> {
        let row = &interval.row;
        vec![
            row.id.as_bytes().into(),
            space.as_bytes().into(),
            (row.seq as i64).into(),
            interval.seq_to.map(|seq| seq as i64).into(),
            row.state.node.as_bytes().into(),
            row.state.device.as_bytes().into(),
            to_binary(&row.state).into(),
        ]
    };
    let head = "INSERT INTO conflicts (conflict_id, space, seq_from, seq_to, node, device, state)";
    sql::insert_rows(conn, head, 7, "", rows.iter().map(params)).await?;
    Ok(())
}
