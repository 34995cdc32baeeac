//! Owns reading for those who compare: what is known of one folder as of one moment, rows in pages, a sample of folders.

use super::Result;
use super::codec::{decode, from_sql, id, to_sql};
use super::read_local::{blob, ino_at};
use super::read_remote::{RemoteEntry, RemoteNode, entry_of};
use super::readers::Reader;
use super::rows::{ContentNo, ContentRow, Ino, InodeRow};
use tarn_proto::ids::{NodeId, SpaceId};

/// What the server has said of a folder, all as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFolder {
    /// Up to where everything is known; `None` until the first full pull is complete.
    pub upto: Option<u64>,
    /// The folder itself.
    pub node: Option<RemoteNode>,
    /// Its entries, those that are gone included, with what they name.
    pub entries: Vec<(RemoteEntry, Option<RemoteNode>)>,
}

const ENTRIES: &str = "select e.parent, e.name, e.node, e.seq, n.seq, n.state from remote_entry e \
                       left join remote_node n on n.node = e.node where e.parent = ?1 order by e.name";

impl Reader {
    /// What the server has said of a folder.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn known_folder(&self, space: SpaceId, folder: NodeId) -> Result<KnownFolder> {
        self.snapshot(|db| {
            let entries = db.all(ENTRIES, [folder.as_bytes()], |row| {
                let seq: Option<i64> = row.get(4)?;
                let state: Option<Vec<u8>> = row.get(5)?;
                let state = state.map(|blob| decode("remote_node", &blob)).transpose()?;
                let seq = seq.map(|seq| from_sql("remote_node", seq)).transpose()?;
                Ok((entry_of(row)?, seq.map(|seq| RemoteNode { seq, state })))
            })?;
            let upto = db.cursor(space)?.map(|cursor| cursor.seq);
            Ok(KnownFolder { upto, node: db.remote_node(folder)?, entries })
        })
    }

    /// Inodes behind a number, in order, at most so many.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn inodes_behind(&self, after: Ino, max: usize) -> Result<Vec<(Ino, InodeRow)>> {
        let sql = "select ino, row from inode where ino > ?1 order by ino limit ?2";
        let max = to_sql("inode", max as u64)?;
        self.all(sql, [to_sql("inode", after.0)?, max], |row| Ok((ino_at(row, 0)?, blob("inode", row, 1)?)))
    }

    /// Contents behind a number, in order, at most so many.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn contents_behind(&self, after: ContentNo, max: usize) -> Result<Vec<(ContentNo, ContentRow)>> {
        let sql = "select no, row from content where no > ?1 order by no limit ?2";
        let max = to_sql("content", max as u64)?;
        self.all(sql, [to_sql("content", after.0)?, max], |row| {
            Ok((ContentNo(from_sql("content", row.get(0)?)?), blob("content", row, 1)?))
        })
    }

    /// The highest number of a content that is there; 0 if none is.
    ///
    /// # Errors
    /// What the database says.
    pub fn last_content(&self) -> Result<ContentNo> {
        let last: Option<Option<i64>> = self.one("select max(no) from content", [], |row| Ok(row.get(0)?))?;
        Ok(ContentNo(from_sql("content", last.flatten().unwrap_or(0))?))
    }

    /// Folders that hold something, by id from one on, at most so many.
    ///
    /// # Errors
    /// What the database says.
    pub fn folders_from(&self, from: NodeId, max: usize) -> Result<Vec<NodeId>> {
        let sql = "select distinct parent from remote_entry where parent >= ?1 order by parent limit ?2";
        let max = to_sql("remote_entry", max as u64)?;
        self.all(sql, (from.as_bytes(), max), |row| {
            id("remote_entry", row.get_ref(0)?.as_blob().unwrap_or_default(), NodeId::from_slice)
        })
    }
}
