//! Owns the rows of conflicts: contents that did not stay, until somebody resolves them.

use super::sql::{self, Param};
use super::{Conn, StoreError};
use crate::rules::ConflictRow;
use sqlx::any::AnyRow;
use tarn_proto::api::to_binary;
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
