//! Owns finding what one device changed: the numbers of its changes, the nodes that they touched, and what those were.

use super::nodes::{self, NodeInterval};
use super::sql::{self, Param};
use super::{Conn, StoreError};
use std::collections::HashSet;
use tarn_proto::ids::{DeviceId, NodeId, SpaceId};

const TOUCHED: &str = "SELECT node FROM nodes WHERE space = $1 AND seq_from >= $2 AND device = $3 \
     UNION SELECT node FROM entries WHERE space = $1 AND seq_from >= $2 AND device = $3 \
     UNION SELECT n.node FROM nodes n JOIN journal j ON j.space = n.space AND j.seq = n.seq_to \
     WHERE n.space = $1 AND n.seq_to >= $2 AND j.device = $3 \
     UNION SELECT e.node FROM entries e JOIN journal j ON j.space = e.space AND j.seq = e.seq_to \
     WHERE e.space = $1 AND e.seq_to >= $2 AND j.device = $3";

/// The numbers of a device's changes since a moment.
///
/// # Errors
/// The database fails.
pub async fn seqs_since(
    conn: &mut Conn,
    space: SpaceId,
    device: DeviceId,
    since_ms: i64,
) -> Result<HashSet<u64>, StoreError> {
    let rows = sqlx::query("SELECT seq FROM journal WHERE space = $1 AND device = $2 AND time_ms >= $3")
        .bind(space.as_bytes())
        .bind(device.as_bytes())
        .bind(since_ms)
        .fetch_all(&mut *conn)
        .await?;
    rows.iter().map(|row| sql::count(row, "seq")).collect()
}

/// The nodes that a device's changes from a number on touched.
///
/// # Errors
/// The database fails.
pub async fn touched(
    conn: &mut Conn,
    space: SpaceId,
    device: DeviceId,
    first_seq: u64,
) -> Result<Vec<NodeId>, StoreError> {
    let rows = sqlx::query(TOUCHED)
        .bind(space.as_bytes())
        .bind(first_seq as i64)
        .bind(device.as_bytes())
        .fetch_all(&mut *conn)
        .await?;
    rows.iter().map(|row| sql::id(row, "node", NodeId::from_slice)).collect()
}

/// All that these nodes ever were in a space, in no order.
///
/// # Errors
/// The database fails.
pub async fn histories(conn: &mut Conn, space: SpaceId, of: &[NodeId]) -> Result<Vec<NodeInterval>, StoreError> {
    let query = format!("SELECT {} FROM nodes n WHERE n.space = $1 AND n.node IN ({{ids}})", nodes::LOADED);
    let ids = of.iter().map(|node| Param::from(node.as_bytes()));
    let rows = sql::select_in(conn, &query, &[space.as_bytes().into()], ids).await?;
    rows.iter().map(NodeInterval::from_row).collect()
}
