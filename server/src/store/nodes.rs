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
const LOADED: &str = "n.node, n.space, n.seq_from, n.seq_to, n.device, n.content_seq, n.content_device, n.state";

/// The number that stands for a kind of node.
fn kind_number(kind: &NodeKind) -> i64 {
    match kind {
        NodeKind::File => 0,
        NodeKind::Dir => 1,
        NodeKind::Symlink { .. } => 2,
        NodeKind::Fifo => 3,
        NodeKind::Socket => 4,
        NodeKind::CharDevice { .. } => 5,
        NodeKind::BlockDevice { .. } => 6,
        NodeKind::Mount { .. } => 7,
    }
}

impl NodeInterval {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
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
