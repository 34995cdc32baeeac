//! Owns looking for rows that cannot be: damaged pages and indexes, rows that cannot be read, rows that speak of others
//! that are not there. Reads all of the database, as of one moment: for work in the background.

use super::codec::{decode, from_sql, id, to_sql};
use super::readers::Reader;
use super::rows::{ContentNo, ContentRow, Ino, InodeRow, QueuedOp};
use super::{MetaError, Result};
use rusqlite::Row;
use serde::de::DeserializeOwned;
use tarn_proto::ids::{NodeId, SpaceId};
use tarn_proto::node::NodeState;

/// A row that cannot be as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// Its table.
    pub table: &'static str,
    /// The inode that it is about, if that can be said.
    pub ino: Option<Ino>,
    /// The node that it is about, if that can be said.
    pub node: Option<NodeId>,
    /// What is wrong with it.
    pub detail: String,
}

/// What was found, up to a bound.
struct Found<'a> {
    db: &'a Reader,
    faults: Vec<RowFault>,
    max: usize,
}

const NO_INODE: &str = "select parent, name, ino from local_entry e where ino is not null \
                        and not exists(select 1 from inode i where i.ino = e.ino)";
const NO_NODE: &str = "select parent, name, node from remote_entry e where node is not null \
                       and not exists(select 1 from remote_node n where n.node = e.node and n.state is not null)";
const NO_NAME: &str = "select node from remote_node n where state is not null \
                       and not exists(select 1 from remote_entry e where e.node = n.node)";

impl Reader {
    /// What SQLite finds wrong with pages and indexes, at most so much.
    ///
    /// # Errors
    /// What the database says.
    pub fn damaged_pages(&self, max: usize) -> Result<Vec<String>> {
        let said: Vec<String> = self.all(&format!("pragma integrity_check({max})"), [], |row| Ok(row.get(0)?))?;
        Ok(said.into_iter().filter(|said| said != "ok").collect())
    }

    /// Rows that cannot be as they are, at most so many, and how many rows were looked at. Names of nodes are complete
    /// once everything was pulled from `space`.
    ///
    /// # Errors
    /// What the database says.
    pub fn faults(&self, space: SpaceId, max: usize) -> Result<(u64, Vec<RowFault>)> {
        self.snapshot(|db| {
            let mut found = Found { db, faults: Vec::new(), max };
            let mut count = found.inodes()? + found.contents()?;
            count += found.unreadable::<QueuedOp>("queue", "select ticket, op from queue")?;
            count += found.nodes()?;
            found.entries(space)?;
            Ok((count, found.faults))
        })
    }
}

impl Found<'_> {
    fn add(&mut self, table: &'static str, ino: Option<Ino>, node: Option<NodeId>, detail: String) -> Result<()> {
        if self.faults.len() < self.max {
            self.faults.push(RowFault { table, ino, node, detail });
        }
        Ok(())
    }

    /// Visits rows one by one, whatever their number.
    fn each(&mut self, sql: &str, mut visit: impl FnMut(&mut Self, &Row<'_>) -> Result<()>) -> Result<u64> {
        let db = self.db;
        let mut statement = db.statement(sql).map_err(|e| db.fail(e))?;
        let mut rows = statement.query([]).map_err(|e| db.fail(e))?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(|e| db.fail(e))? {
            visit(self, row).map_err(|e| db.fail(e))?;
            count += 1;
        }
        Ok(count)
    }

    fn inodes(&mut self) -> Result<u64> {
        self.each("select ino, row, node from inode", |this, row| {
            let ino = Some(Ino(from_sql("inode", row.get(0)?)?));
            let inode: InodeRow = match read("inode", row, 1) {
                Ok(inode) => inode,
                Err(detail) => return this.add("inode", ino, None, detail),
            };
            let node: Option<Vec<u8>> = row.get(2)?;
            if node.as_deref() != inode.node.as_ref().map(|node| &node.0[..]) {
                this.add("inode", ino, inode.node, "the index has another node than the row".into())?;
            }
            if let Some(no) = inode.content
                && !this.has_content(no)?
            {
                this.add("inode", ino, inode.node, format!("its local content {} has no row", no.0))?;
            }
            Ok(())
        })
    }

    fn has_content(&self, no: ContentNo) -> Result<bool> {
        let found = self.db.one("select 1 from content where no = ?1", [to_sql("content", no.0)?], |_| Ok(()))?;
        Ok(found.is_some())
    }

    fn contents(&mut self) -> Result<u64> {
        self.each("select no, row from content", |this, row| {
            let no = ContentNo(from_sql("content", row.get(0)?)?);
            let content: ContentRow = match read("content", row, 1) {
                Ok(content) => content,
                Err(detail) => return this.add("content", None, None, format!("content {}: {detail}", no.0)),
            };
            // An inode that cannot be read is told by itself.
            let Ok(inode) = this.db.inode(content.ino) else { return Ok(()) };
            if inode.is_none_or(|inode| inode.content != Some(no)) {
                let detail = format!("content {} is of inode {}, which does not have it", no.0, content.ino.0);
                this.add("content", Some(content.ino), None, detail)?;
            }
            Ok(())
        })
    }

    fn nodes(&mut self) -> Result<u64> {
        self.each("select node, state from remote_node where state is not null", |this, row| {
            let node = node_at(row, 0)?;
            if let Err(detail) = read::<NodeState>("remote_node", row, 1) {
                this.add("remote_node", None, Some(node), detail)?;
            }
            Ok(())
        })
    }

    /// Only looks whether rows can be read.
    fn unreadable<T: DeserializeOwned>(&mut self, table: &'static str, sql: &str) -> Result<u64> {
        self.each(sql, |this, row| {
            if let Err(detail) = read::<T>(table, row, 1) {
                let key: i64 = row.get(0)?;
                this.add(table, None, None, format!("row {key}: {detail}"))?;
            }
            Ok(())
        })
    }

    fn entries(&mut self, space: SpaceId) -> Result<()> {
        self.each(NO_INODE, |this, row| {
            let (parent, ino) = (Ino(from_sql("local_entry", row.get(0)?)?), row.get::<_, i64>(2)?);
            let detail = format!("{} names inode {ino}, which has no row", name_at(row)?);
            this.add("local_entry", Some(parent), None, detail)
        })?;
        self.each(NO_NODE, |this, row| {
            let (parent, node) = (node_at(row, 0)?, node_at(row, 2)?);
            let detail = format!("{} names node {node}, which is not there", name_at(row)?);
            this.add("remote_entry", None, Some(parent), detail)
        })?;
        if self.db.cursor(space).ok().flatten().is_none() {
            return Ok(()); // folders that nobody has listed hold the names
        }
        let root = NodeId::root_of(space);
        self.each(NO_NAME, |this, row| {
            let node = node_at(row, 0)?;
            if node != root {
                this.add("remote_node", None, Some(node), "no name leads to it".into())?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn read<T: DeserializeOwned>(table: &'static str, row: &Row<'_>, column: usize) -> std::result::Result<T, String> {
    let blob = row.get_ref(column).map_err(|e| e.to_string())?;
    decode(table, blob.as_blob().unwrap_or_default()).map_err(|e: MetaError| e.to_string())
}

fn node_at(row: &Row<'_>, column: usize) -> Result<NodeId> {
    id("remote_node", row.get_ref(column)?.as_blob().unwrap_or_default(), NodeId::from_slice)
}

fn name_at(row: &Row<'_>) -> Result<String> {
    Ok(String::from_utf8_lossy(row.get_ref(1)?.as_blob().unwrap_or_default()).into_owned())
}
