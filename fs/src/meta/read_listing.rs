//! Owns reading what a listing or a `stat` needs at once: entries, nodes and inodes in one statement.

use super::Result;
use super::codec::{decode, from_sql, id, to_sql};
use super::read_local::{blob, ino_at};
use super::read_remote::{name_at, node_at};
use super::readers::Reader;
use super::rows::{Ino, InodeRow};
use rusqlite::{Row, params_from_iter};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{NodeKind, NodeState};

/// One entry of a folder with what it names.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildRow {
    /// The entry's name.
    pub name: Name,
    /// What it names.
    pub node: NodeId,
    /// The node's state; `None` if the server has not spoken of it.
    pub state: Option<NodeState>,
    /// The inode that shows the node, if it has one.
    pub inode: Option<(Ino, InodeRow)>,
    /// How many names the node has.
    pub link_count: u64,
}

/// One entry of a folder, without what only its `stat` needs.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryBrief {
    /// The entry's name.
    pub name: Name,
    /// What it names.
    pub node: NodeId,
    /// What that is; `None` if the server has not spoken of it.
    pub kind: Option<NodeKind>,
    /// The inode that shows the node, if it has one.
    pub ino: Option<Ino>,
}

/// An inode with all that the database knows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownInode {
    /// Its row.
    pub row: InodeRow,
    /// Its node's state on the server.
    pub state: Option<NodeState>,
    /// The node's name on the server, if it has exactly one: folder, name, the folder's inode.
    pub place: Option<(NodeId, Name, Option<Ino>)>,
}

/// Nodes that one statement asks for.
const NODES_AT_ONCE: usize = 256;

const BRIEF: &str = "select e.name, e.node, n.state, i.ino from remote_entry e \
                     left join remote_node n on n.node = e.node left join inode i on i.node = e.node \
                     where e.parent = ?1 and e.node is not null order by e.name, i.ino";

macro_rules! known {
    ($which:literal) => {
        concat!(
            "select i.ino, i.row, n.state, e.parent, e.name, p.ino from inode i \
             left join remote_node n on n.node = i.node left join remote_entry e on e.node = i.node \
             left join inode p on p.node = e.parent where ",
            $which,
            " order by i.ino desc limit 2"
        )
    };
}

const SQL: &str = "select e.name, e.node, n.state, i.ino, i.row, \
                   (select count(*) from remote_entry l where l.node = e.node) \
                   from remote_entry e left join remote_node n on n.node = e.node left join inode i on i.node = e.node \
                   where e.parent = ?1 and e.node is not null order by e.name, i.ino";

impl Reader {
    /// The entries of a directory with their nodes and inodes, in order of the names, without tombstones.
    /// A node that two inodes show (there should be none) comes twice, the newer inode last.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn children_with_inodes(&self, parent: NodeId) -> Result<Vec<ChildRow>> {
        self.all(SQL, [parent.as_bytes()], |row| {
            let state: Option<Vec<u8>> = row.get(2)?;
            let ino: Option<i64> = row.get(3)?;
            let inode = match ino {
                Some(ino) => {
                    let blob: Vec<u8> = row.get(4)?;
                    Some((Ino(from_sql("inode", ino)?), decode("inode", &blob)?))
                }
                None => None,
            };
            Ok(ChildRow {
                name: name_at("remote_entry", row, 0)?,
                node: id("remote_entry", row.get_ref(1)?.as_blob().unwrap_or_default(), NodeId::from_slice)?,
                state: state.map(|blob| decode("remote_node", &blob)).transpose()?,
                inode,
                link_count: from_sql("remote_entry", row.get(5)?)?,
            })
        })
    }

    /// The entries of a directory in order of the names, without tombstones. A node that two inodes show (there should be
    /// none) comes once, with the newer one.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn entries_in_brief(&self, parent: NodeId) -> Result<Vec<EntryBrief>> {
        let mut rows = self.all(BRIEF, [parent.as_bytes()], |row| {
            let state: Option<NodeState> = optional_blob(row, 2)?;
            Ok(EntryBrief {
                name: name_at("remote_entry", row, 0)?,
                node: node_at(row, 1)?,
                kind: state.map(|state| state.kind),
                ino: optional_ino(row, 3)?,
            })
        })?;
        rows.dedup_by(|newer, older| {
            let is_same = newer.name == older.name;
            if is_same {
                older.ino = newer.ino;
            }
            is_same
        });
        Ok(rows)
    }

    /// Whether a directory has more than so many entries, tombstones included.
    ///
    /// # Errors
    /// What the database says.
    pub fn has_more_entries(&self, parent: NodeId, count: usize) -> Result<bool> {
        let sql = "select exists(select 1 from remote_entry where parent = ?1 limit 1 offset ?2)";
        let offset = to_sql("remote_entry", count as u64)?;
        Ok(self.one(sql, (parent.as_bytes(), offset), |row| Ok(row.get(0)?))?.unwrap_or(false))
    }

    /// Whether the database has heard of any of these nodes.
    ///
    /// # Errors
    /// What the database says.
    pub fn knows_any(&self, nodes: &[NodeId]) -> Result<bool> {
        let list = vec!["?"; NODES_AT_ONCE].join(",");
        let sql = format!(
            "select exists(select 1 from remote_node where node in ({list})) or exists(select 1 from inode where node in ({list}))"
        );
        for part in nodes.chunks(NODES_AT_ONCE) {
            // Always the same statement: the last of them fills the rest.
            let filled = part.iter().chain(std::iter::repeat(&part[part.len() - 1])).take(NODES_AT_ONCE);
            let twice = filled.clone().chain(filled).map(NodeId::as_bytes);
            if self.one(&sql, params_from_iter(twice), |row| Ok(row.get(0)?))?.unwrap_or(false) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An inode with all that is known of it.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn known_inode(&self, ino: Ino) -> Result<Option<KnownInode>> {
        let rows = self.all(known!("i.ino = ?1"), [to_sql("inode", ino.0)?], known_at)?;
        Ok(joined(rows).map(|(_, known)| known))
    }

    /// The inode that shows a node (the newest, were there ever two), with all that is known of it.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn known_inode_of(&self, node: NodeId) -> Result<Option<(Ino, KnownInode)>> {
        Ok(joined(self.all(known!("i.node = ?1"), [node.as_bytes()], known_at)?))
    }
}

/// Of one inode there is a row for each of its node's names.
fn joined(rows: Vec<(Ino, KnownInode)>) -> Option<(Ino, KnownInode)> {
    let mut rows = rows.into_iter();
    let (ino, mut known) = rows.next()?;
    if rows.next().is_some_and(|(other, _)| other == ino) {
        known.place = None;
    }
    Some((ino, known))
}

fn known_at(row: &Row<'_>) -> Result<(Ino, KnownInode)> {
    let parent: Option<Vec<u8>> = row.get(3)?;
    let place = match parent {
        Some(_) => Some((node_at(row, 3)?, name_at("remote_entry", row, 4)?, optional_ino(row, 5)?)),
        None => None,
    };
    Ok((ino_at(row, 0)?, KnownInode { row: blob("inode", row, 1)?, state: optional_blob(row, 2)?, place }))
}

fn optional_blob(row: &Row<'_>, column: usize) -> Result<Option<NodeState>> {
    let blob = row.get_ref(column)?.as_blob_or_null().unwrap_or_default();
    blob.map(|blob| decode("remote_node", blob)).transpose()
}

pub(super) fn optional_ino(row: &Row<'_>, column: usize) -> Result<Option<Ino>> {
    let ino: Option<i64> = row.get(column)?;
    Ok(ino.map(|ino| from_sql("inode", ino)).transpose()?.map(Ino))
}
