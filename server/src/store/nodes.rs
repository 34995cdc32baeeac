//! Owns the rows of nodes and aliases: what a node is, was, or stands for.

use super::sql::{self, Param};
use super::{Conn, StoreError};
use crate::rules::{AliasRow, NodeRow};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::collections::HashMap;
use tarn_proto::api::to_binary;
use tarn_proto::ids::{DeviceId, NodeId, SpaceId};
use tarn_proto::node::{Attrs, NodeKind, NodeState, Timestamp};

/// A node's interval as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInterval {
    /// Which node.
    pub node: NodeId,
    /// Whose space.
    pub space: SpaceId,
    /// Since when, until when.
    pub seq_to: Option<u64>,
    /// Since when, by whom, what.
    pub row: NodeRow,
}

const COLUMNS: &str = "node, space, seq_from, seq_to, device, content_seq, content_device, kind, size_bytes, \
     version_id, state";
const COLUMN_COUNT: usize = 11;
/// The columns that [`NodeInterval::from_row`] reads, of a table named `n`.
pub const LOADED: &str = "n.node, n.space, n.seq_from, n.seq_to, n.device, n.content_seq, n.content_device, n.state";

/// The number that stands for a regular file.
pub const KIND_FILE: i64 = 0;
/// The number that stands for a folder.
pub const KIND_DIR: i64 = 1;

/// The number that stands for a kind of node.
fn kind_number(kind: &NodeKind) -> i64 {
    match kind {
        NodeKind::File => KIND_FILE,
        NodeKind::Dir => KIND_DIR,
        NodeKind::Symlink { .. } => 2,
        NodeKind::Fifo => 3,
        NodeKind::Socket => 4,
        NodeKind::CharDevice { .. } => 5,
        NodeKind::BlockDevice { .. } => 6,
        NodeKind::Mount { .. } => 7,
    }
}

impl NodeInterval {
    /// Reads the columns of [`LOADED`].
    ///
    /// # Errors
    /// They hold something else.
    pub fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        let seq_to: Option<i64> = row.try_get("seq_to")?;
        Ok(Self {
            node: sql::id(row, "node", NodeId::from_slice)?,
            space: sql::id(row, "space", SpaceId::from_slice)?,
            seq_to: seq_to.map(|seq| u64::try_from(seq).map_err(|_| StoreError::corrupt("seq_to"))).transpose()?,
            row: NodeRow {
                seq: sql::count(row, "seq_from")?,
                device: sql::id(row, "device", DeviceId::from_slice)?,
                content_seq: sql::count(row, "content_seq")?,
                content_device: sql::id(row, "content_device", DeviceId::from_slice)?,
                state: sql::blob(row, "state")?,
            },
        })
    }

    fn params(&self) -> Vec<Param> {
        let file = self.row.file();
        vec![
            self.node.as_bytes().into(),
            self.space.as_bytes().into(),
            (self.row.seq as i64).into(),
            self.seq_to.map(|seq| seq as i64).into(),
            self.row.device.as_bytes().into(),
            (self.row.content_seq as i64).into(),
            self.row.content_device.as_bytes().into(),
            kind_number(&self.row.state.kind).into(),
            file.map_or(0, |file| file.content.size as i64).into(),
            file.map(|file| file.content.version.as_bytes().to_vec()).into(),
            to_binary(&self.row.state).into(),
        ]
    }
}

/// The row of a new space's root directory, as it is before the first change.
pub fn root_row(now_ms: i64) -> NodeRow {
    let now = Timestamp {
        secs: now_ms.div_euclid(1_000),
        nanos: u32::try_from(now_ms.rem_euclid(1_000)).unwrap_or(0) * 1_000_000,
    };
    let attrs = Attrs { mode: 0o755, mtime: now, ctime: now, btime: now, ..Attrs::default() };
    let nobody = DeviceId([0; 16]);
    let state = NodeState { kind: NodeKind::Dir, attrs, file: None };
    NodeRow { seq: 0, device: nobody, content_seq: 0, content_device: nobody, state }
}

/// Makes a new space's root directory. It is so since seq 0, so no pull brings it before it changes.
pub(super) async fn insert_root(conn: &mut Conn, space: SpaceId, now_ms: i64) -> Result<(), StoreError> {
    let root = NodeInterval { node: NodeId::root_of(space), space, seq_to: None, row: root_row(now_ms) };
    insert(conn, &[root]).await
}

/// Stores intervals.
///
/// # Errors
/// The database fails.
pub async fn insert(conn: &mut Conn, rows: &[NodeInterval]) -> Result<(), StoreError> {
    let head = format!("INSERT INTO nodes ({COLUMNS})");
    sql::insert_rows(conn, &head, COLUMN_COUNT, "", rows.iter().map(NodeInterval::params)).await?;
    Ok(())
}

/// IN makes SQLite begin with these nodes: with UPDATE … FROM it goes through all that are present.
pub(super) fn end_query(nodes: usize) -> String {
    let values = sql::rows_of_placeholders(1, nodes, 2);
    format!(
        "WITH v (node, seq) AS (VALUES {values}) UPDATE nodes SET seq_to = \
         (SELECT v.seq FROM v WHERE v.node = nodes.node) WHERE seq_to IS NULL AND node IN (SELECT node FROM v)"
    )
}

/// Ends present nodes; each at its seq.
///
/// # Errors
/// The database fails.
pub async fn end(conn: &mut Conn, ended: &[(NodeId, u64)]) -> Result<(), StoreError> {
    for batch in ended.chunks(sql::IN_LIST_MAX) {
        let query = end_query(batch.len());
        let params = batch.iter().flat_map(|(node, seq)| [node.as_bytes().into(), Param::from(*seq as i64)]);
        sqlx::query_with(sqlx::AssertSqlSafe(query), sql::arguments(params)?)
            .persistent(batch.len() == 1 || batch.len() == sql::IN_LIST_MAX)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

fn node_params(nodes: &[NodeId]) -> impl Iterator<Item = Param> + '_ {
    nodes.iter().map(|node| node.as_bytes().into())
}

/// Those of these nodes that are present, in whatever space.
///
/// # Errors
/// The database fails.
pub async fn present(conn: &mut Conn, nodes: &[NodeId]) -> Result<Vec<NodeInterval>, StoreError> {
    let query = format!("SELECT {LOADED} FROM nodes n WHERE n.node IN ({{ids}}) AND n.seq_to IS NULL");
    let rows = sql::select_in(conn, &query, &[], node_params(nodes)).await?;
    rows.iter().map(NodeInterval::from_row).collect()
}

/// The last state of those of these nodes that are gone.
///
/// # Errors
/// The database fails.
pub async fn gone(conn: &mut Conn, nodes: &[NodeId]) -> Result<Vec<NodeInterval>, StoreError> {
    let query = format!(
        "SELECT {LOADED} FROM nodes n WHERE n.node IN ({{ids}}) AND n.seq_to = \
         (SELECT MAX(m.seq_to) FROM nodes m WHERE m.node = n.node AND m.space = n.space)"
    );
    let rows = sql::select_in(conn, &query, &[], node_params(nodes)).await?;
    rows.iter().map(NodeInterval::from_row).collect()
}

/// Those of these ids for which another node stands.
///
/// # Errors
/// The database fails.
pub async fn aliases(
    conn: &mut Conn,
    space: SpaceId,
    nodes: &[NodeId],
) -> Result<HashMap<NodeId, AliasRow>, StoreError> {
    const QUERY: &str = "SELECT node, target, seq FROM aliases WHERE space = $1 AND node IN ({ids})";
    let rows = sql::select_in(conn, QUERY, &[space.as_bytes().into()], node_params(nodes)).await?;
    let read = |row: &AnyRow| {
        let alias = AliasRow { target: sql::id(row, "target", NodeId::from_slice)?, seq: sql::count(row, "seq")? };
        Ok((sql::id(row, "node", NodeId::from_slice)?, alias))
    };
    rows.iter().map(read).collect()
}

/// Stores aliases.
///
/// # Errors
/// The database fails.
pub async fn insert_aliases(conn: &mut Conn, space: SpaceId, aliases: &[(NodeId, AliasRow)]) -> Result<(), StoreError> {
    let params = |(node, alias): &(NodeId, AliasRow)| -> Vec<Param> {
        vec![node.as_bytes().into(), space.as_bytes().into(), alias.target.as_bytes().into(), (alias.seq as i64).into()]
    };
    let head = "INSERT INTO aliases (node, space, target, seq)";
    sql::insert_rows(conn, head, 4, "", aliases.iter().map(params)).await?;
    Ok(())
}

/// A node as it was at a seq.
///
/// # Errors
/// The database fails.
pub async fn at(conn: &mut Conn, space: SpaceId, node: NodeId, seq: u64) -> Result<Option<NodeInterval>, StoreError> {
    let query = format!(
        "SELECT {LOADED} FROM nodes n WHERE n.node = $1 AND n.space = $2 AND n.seq_from <= $3 \
         AND (n.seq_to IS NULL OR n.seq_to > $3)"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(query))
        .bind(node.as_bytes())
        .bind(space.as_bytes())
        .bind(seq as i64)
        .fetch_optional(&mut *conn)
        .await?;
    row.as_ref().map(NodeInterval::from_row).transpose()
}
