//! Owns reading what the server said: nodes, entries, listings, aliases, conflicts, cursors.

use super::codec::{decode, from_sql, id};
use super::readers::Reader;
use super::{MetaError, Result};
use rusqlite::{OptionalExtension, Params, Row};
use tarn_proto::change::{ConflictState, Cursor};
use tarn_proto::ids::{ConflictId, NodeId, SpaceId};
use tarn_proto::name::Name;
use tarn_proto::node::NodeState;

/// A node as the server said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteNode {
    /// Since when.
    pub seq: u64,
    /// Its state; `None` once it is gone.
    pub state: Option<NodeState>,
}

/// An entry as the server said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteEntry {
    /// The directory.
    pub parent: NodeId,
    /// The name.
    pub name: Name,
    /// What it names; `None` once it is free.
    pub node: Option<NodeId>,
    /// Since when.
    pub seq: u64,
}

/// An open conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictRecord {
    /// Its id.
    pub conflict: ConflictId,
    /// Since when.
    pub seq: u64,
    /// Its state.
    pub state: ConflictState,
}

impl Reader {
    /// How many nodes the server has, as far as is known here. Reads all of them: not under a lock.
    ///
    /// # Errors
    /// What the database says.
    pub fn count_nodes(&self) -> Result<u64> {
        let sql = "select count(*) from remote_node where state is not null";
        let count = self.one(sql, [], |row| from_sql("remote_node", row.get(0)?))?;
        Ok(count.unwrap_or(0))
    }

    /// A node, tombstones included; `None` when the server never spoke of it.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn remote_node(&self, node: NodeId) -> Result<Option<RemoteNode>> {
        self.one("select seq, state from remote_node where node = ?1", [node.as_bytes()], |row| {
            let seq = from_sql("remote_node", row.get(0)?)?;
            let state: Option<Vec<u8>> = row.get(1)?;
            Ok(RemoteNode { seq, state: state.map(|blob| decode("remote_node", &blob)).transpose()? })
        })
    }

    /// An entry, tombstones included.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn remote_entry(&self, parent: NodeId, name: &Name) -> Result<Option<RemoteEntry>> {
        let sql = "select parent, name, node, seq from remote_entry where parent = ?1 and name = ?2";
        self.one(sql, [parent.as_bytes(), name.as_bytes()], entry_of)
    }

    /// The entries of a directory in order of their names, without tombstones.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn remote_children(&self, parent: NodeId) -> Result<Vec<RemoteEntry>> {
        let sql =
            "select parent, name, node, seq from remote_entry where parent = ?1 and node is not null order by name";
        self.all(sql, [parent.as_bytes()], entry_of)
    }

    /// The entries of a directory with their nodes, in order of the names, without tombstones. A node
    /// of which the server has not spoken yet is `None`.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn remote_children_with_nodes(&self, parent: NodeId) -> Result<Vec<(RemoteEntry, Option<RemoteNode>)>> {
        let sql = "select e.parent, e.name, e.node, e.seq, n.seq, n.state from remote_entry e \
                   left join remote_node n on n.node = e.node where e.parent = ?1 and e.node is not null order by e.name";
        self.all(sql, [parent.as_bytes()], |row| {
            let seq: Option<i64> = row.get(4)?;
            let state: Option<Vec<u8>> = row.get(5)?;
            let state = state.map(|blob| decode("remote_node", &blob)).transpose()?;
            let seq = seq.map(|seq| from_sql("remote_node", seq)).transpose()?;
            Ok((entry_of(row)?, seq.map(|seq| RemoteNode { seq, state })))
        })
    }

    /// The names of a node.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn entries_of_node(&self, node: NodeId) -> Result<Vec<RemoteEntry>> {
        self.all("select parent, name, node, seq from remote_entry where node = ?1", [node.as_bytes()], entry_of)
    }

    /// The seq as of which all entries of a directory are known.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn listed(&self, node: NodeId) -> Result<Option<u64>> {
        self.one("select seq from listed where node = ?1", [node.as_bytes()], |row| from_sql("listed", row.get(0)?))
    }

    /// The folder that stands for `node`, if it is an alias.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn alias(&self, node: NodeId) -> Result<Option<NodeId>> {
        self.one("select target from alias where node = ?1", [node.as_bytes()], |row| {
            id("alias", row.get_ref(0)?.as_blob().unwrap_or_default(), NodeId::from_slice)
        })
    }

    /// All aliases with their targets.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn aliases(&self) -> Result<Vec<(NodeId, NodeId)>> {
        self.all("select node, target from alias", [], |row| Ok((node_at(row, 0)?, node_at(row, 1)?)))
    }

    /// All open conflicts.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn conflicts(&self) -> Result<Vec<ConflictRecord>> {
        self.all("select conflict, seq, state from conflict where state is not null", [], |row| {
            let blob = row.get_ref(0)?.as_blob().unwrap_or_default();
            let state: Vec<u8> = row.get(2)?;
            Ok(ConflictRecord {
                conflict: id("conflict", blob, ConflictId::from_slice)?,
                seq: from_sql("conflict", row.get(1)?)?,
                state: decode("conflict", &state)?,
            })
        })
    }

    /// Where this device stands in a space's journal.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn cursor(&self, space: SpaceId) -> Result<Option<Cursor>> {
        self.one("select cursor from cursor where space = ?1", [space.as_bytes()], |row| {
            decode("cursor", row.get_ref(0)?.as_blob().unwrap_or_default())
        })
    }

    /// A value kept for whoever keeps it.
    ///
    /// # Errors
    /// What the database says.
    pub fn kv(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.one("select value from kv where key = ?1", [key], |row| Ok(row.get(0)?))
    }

    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.statement(sql).map_err(|e| self.fail(e))?;
        let found = statement.query_row(params, |row| Ok(read(row))).optional();
        found.map_err(|e| self.fail(e))?.transpose().map_err(|e| self.fail(e))
    }

    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.statement(sql).map_err(|e| self.fail(e))?;
        let mut rows = statement.query(params).map_err(|e| self.fail(e))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(|e| self.fail(e))? {
            found.push(read(row).map_err(|e| self.fail(e))?);
        }
        Ok(found)
    }
}

pub(super) fn node_at(row: &Row<'_>, column: usize) -> Result<NodeId> {
    id("remote_entry", row.get_ref(column)?.as_blob().unwrap_or_default(), NodeId::from_slice)
}

pub(super) fn entry_of(row: &Row<'_>) -> Result<RemoteEntry> {
    let node = if row.get_ref(2)? == rusqlite::types::ValueRef::Null { None } else { Some(node_at(row, 2)?) };
    let seq = from_sql("remote_entry", row.get(3)?)?;
    Ok(RemoteEntry { parent: node_at(row, 0)?, name: name_at("remote_entry", row, 1)?, node, seq })
}

/// A name as SQLite kept it.
pub(super) fn name_at(table: &'static str, row: &Row<'_>, column: usize) -> Result<Name> {
    let bytes: Vec<u8> = row.get(column)?;
    Name::new(bytes).map_err(|e| MetaError::Malformed { table, detail: e.to_string() })
}
