//! Owns reading a whole folder at once: entries, nodes and inodes in one statement.

use super::Result;
use super::codec::{decode, from_sql, id};
use super::read_remote::name_at;
use super::readers::Reader;
use super::rows::{Ino, InodeRow};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::NodeState;

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
}
