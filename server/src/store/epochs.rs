//! Owns the rows of a space's histories: where each began, and what was brought back of a lost one.

use super::sql::{self, Param};
use super::{Conn, StoreError};
use sqlx::Row as _;
use std::collections::HashMap;
use tarn_proto::ids::{EpochId, NodeId, SpaceId};
use tarn_proto::lost::EpochStart;

/// Where a space's histories began, oldest first.
///
/// # Errors
/// The database fails.
pub async fn of_space(conn: &mut Conn, space: SpaceId) -> Result<Vec<EpochStart>, StoreError> {
    let query = "SELECT epoch, seq FROM epochs WHERE space = $1 ORDER BY no";
    let rows = sqlx::query(query).bind(space.as_bytes()).fetch_all(conn).await?;
    let start =
        |row| Ok(EpochStart { epoch: sql::id(row, "epoch", EpochId::from_slice)?, seq: sql::count(row, "seq")? });
    rows.iter().map(start).collect()
}

/// Adds the history that begins now.
///
/// # Errors
/// The database fails.
pub async fn begin(conn: &mut Conn, space: SpaceId, no: usize, start: EpochStart) -> Result<(), StoreError> {
    let row: Vec<Param> =
        vec![space.as_bytes().into(), (no as i64).into(), start.epoch.as_bytes().into(), (start.seq as i64).into()];
    sql::insert_rows(conn, "INSERT INTO epochs (space, no, epoch, seq)", 4, "", [row]).await?;
    Ok(())
}

/// Forgets what was brought back: the next history has lost it anew.
///
/// # Errors
/// The database fails.
pub async fn forget_recovered(conn: &mut Conn, space: SpaceId) -> Result<(), StoreError> {
    for query in ["DELETE FROM recoveries WHERE space = $1", "DELETE FROM recovered WHERE space = $1"] {
        sqlx::query(query).bind(space.as_bytes()).execute(&mut *conn).await?;
    }
    Ok(())
}

/// First and last seqs of what was brought back.
///
/// # Errors
/// The database fails.
pub async fn recoveries(conn: &mut Conn, space: SpaceId) -> Result<Vec<(u64, u64)>, StoreError> {
    let query = "SELECT seq_first, seq_last FROM recoveries WHERE space = $1";
    let rows = sqlx::query(query).bind(space.as_bytes()).fetch_all(conn).await?;
    rows.iter().map(|row| Ok((sql::count(row, "seq_first")?, sql::count(row, "seq_last")?))).collect()
}

/// Notes that these seqs brought something back.
///
/// # Errors
/// The database fails.
pub async fn note_recovery(conn: &mut Conn, space: SpaceId, (first, last): (u64, u64)) -> Result<(), StoreError> {
    let row: Vec<Param> = vec![space.as_bytes().into(), (first as i64).into(), (last as i64).into()];
    sql::insert_rows(conn, "INSERT INTO recoveries (space, seq_first, seq_last)", 3, "", [row]).await?;
    Ok(())
}

/// Up to which seq of the lost history these nodes and conflicts were brought back; those that were not are not in it.
///
/// # Errors
/// The database fails.
pub async fn recovered(conn: &mut Conn, space: SpaceId, ids: &[NodeId]) -> Result<HashMap<NodeId, u64>, StoreError> {
    let query = "SELECT id, upto FROM recovered WHERE space = $1 AND id IN ({ids})";
    let fixed: [Param; 1] = [space.as_bytes().into()];
    let rows = sql::select_in(conn, query, &fixed, ids.iter().map(|id| id.as_bytes().into())).await?;
    rows.iter()
        .map(|row| Ok((sql::id(row, "id", NodeId::from_slice)?, row.try_get::<i64, _>("upto")?.unsigned_abs())))
        .collect()
}

/// Notes up to which seq of the lost history nodes and conflicts have been brought back.
///
/// # Errors
/// The database fails.
pub async fn set_recovered(
    conn: &mut Conn,
    space: SpaceId,
    ids: impl IntoIterator<Item = NodeId>,
    upto: u64,
) -> Result<(), StoreError> {
    let rows: Vec<Vec<Param>> =
        ids.into_iter().map(|id| vec![space.as_bytes().into(), id.as_bytes().into(), (upto as i64).into()]).collect();
    let head = "INSERT INTO recovered (space, id, upto)";
    let tail = "ON CONFLICT (space, id) DO UPDATE SET upto = excluded.upto WHERE recovered.upto < excluded.upto";
    sql::insert_rows(conn, head, 3, tail, rows).await?;
    Ok(())
}
