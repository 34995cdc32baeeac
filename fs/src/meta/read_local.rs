//! Owns reading the local side: inodes, local entries, contents, the queue.

use super::Result;
use super::codec::{decode, from_sql, to_sql};
use super::read_remote::name_at;
use super::readers::Reader;
use super::rows::{ContentNo, ContentRow, EntryRow, Ino, InodeRow, QueuedOp, Ticket};
use rusqlite::Row;
use tarn_proto::ids::{NodeId, VersionId};
use tarn_proto::name::Name;

impl Reader {
    /// An inode.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn inode(&self, ino: Ino) -> Result<Option<InodeRow>> {
        self.one("select row from inode where ino = ?1", [to_sql("inode", ino.0)?], |row| blob("inode", row, 0))
    }

    /// The inode that shows a node (the newest, were there ever two).
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn inode_of(&self, node: NodeId) -> Result<Option<(Ino, InodeRow)>> {
        let sql = "select ino, row from inode where node = ?1 order by ino desc limit 1";
        self.one(sql, [node.as_bytes()], |row| Ok((ino_at(row, 0)?, blob("inode", row, 1)?)))
    }

    /// All orphans: inodes that show no node (for start-up).
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn orphans_all(&self) -> Result<Vec<(Ino, InodeRow)>> {
        let sql = "select ino, row from inode where node is null";
        self.all(sql, [], |row| Ok((ino_at(row, 0)?, blob("inode", row, 1)?)))
    }

    /// All inodes (for a rebuild).
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn inodes_all(&self) -> Result<Vec<(Ino, InodeRow)>> {
        self.all("select ino, row from inode", [], |row| Ok((ino_at(row, 0)?, blob("inode", row, 1)?)))
    }

    /// Inodes that have a local content, and which, or that a person pinned. Reads all inodes: for work in the background.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn holders_all(&self) -> Result<Vec<(Ino, Option<ContentNo>, bool)>> {
        let all = self.all("select ino, row from inode", [], |row| {
            let inode: InodeRow = blob("inode", row, 1)?;
            Ok((ino_at(row, 0)?, inode.content, inode.pinned))
        })?;
        Ok(all.into_iter().filter(|(_, content, pinned)| content.is_some() || *pinned).collect())
    }

    /// A local entry.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn local_entry(&self, parent: Ino, name: &Name) -> Result<Option<EntryRow>> {
        let sql = "select ino, ticket from local_entry where parent = ?1 and name = ?2";
        self.one(sql, (to_sql("local_entry", parent.0)?, name.as_bytes()), |row| entry_at(row, 0))
    }

    /// The local entries of a directory, those that hide a name included, in order of the names.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn local_entries(&self, parent: Ino) -> Result<Vec<(Name, EntryRow)>> {
        let sql = "select name, ino, ticket from local_entry where parent = ?1 order by name";
        self.all(sql, [to_sql("local_entry", parent.0)?], |row| {
            Ok((name_at("local_entry", row, 0)?, entry_at(row, 1)?))
        })
    }

    /// All local entries (for start-up).
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn local_entries_all(&self) -> Result<Vec<(Ino, Name, EntryRow)>> {
        self.all("select parent, name, ino, ticket from local_entry", [], |row| {
            Ok((ino_at(row, 0)?, name_at("local_entry", row, 1)?, entry_at(row, 2)?))
        })
    }

    /// The local names of an inode.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn local_entries_of(&self, ino: Ino) -> Result<Vec<(Ino, Name, EntryRow)>> {
        let sql = "select parent, name, ino, ticket from local_entry where ino = ?1";
        self.all(sql, [to_sql("local_entry", ino.0)?], |row| {
            Ok((ino_at(row, 0)?, name_at("local_entry", row, 1)?, entry_at(row, 2)?))
        })
    }

    /// A content.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn content(&self, no: ContentNo) -> Result<Option<ContentRow>> {
        self.one("select row from content where no = ?1", [to_sql("content", no.0)?], |row| blob("content", row, 0))
    }

    /// All contents (for start-up: slab, budget, least recently used).
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn contents_all(&self) -> Result<Vec<(ContentNo, ContentRow)>> {
        self.all("select no, row from content", [], |row| {
            Ok((ContentNo(from_sql("content", row.get(0)?)?), blob("content", row, 1)?))
        })
    }

    /// The queue, in order.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn queue_all(&self) -> Result<Vec<(Ticket, QueuedOp)>> {
        self.all("select ticket, op from queue order by ticket", [], |row| {
            Ok((Ticket(from_sql("queue", row.get(0)?)?), blob("queue", row, 1)?))
        })
    }

    /// One queued operation.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn queued(&self, ticket: Ticket) -> Result<Option<QueuedOp>> {
        self.one("select op from queue where ticket = ?1", [to_sql("queue", ticket.0)?], |row| blob("queue", row, 0))
    }

    /// The rescue list: contents to be moved out of harm's way, with the paths they had.
    ///
    /// # Errors
    /// What the database says; a malformed row.
    pub fn rescues_all(&self) -> Result<Vec<(VersionId, String)>> {
        self.all("select version, path from rescue", [], |row| {
            let version = row.get_ref(0)?.as_blob().unwrap_or_default();
            Ok((super::codec::id("rescue", version, VersionId::from_slice)?, row.get(1)?))
        })
    }
}

pub(super) fn blob<T: serde::de::DeserializeOwned>(table: &'static str, row: &Row<'_>, column: usize) -> Result<T> {
    decode(table, row.get_ref(column)?.as_blob().unwrap_or_default())
}

pub(super) fn ino_at(row: &Row<'_>, column: usize) -> Result<Ino> {
    Ok(Ino(from_sql("inode", row.get(column)?)?))
}

fn entry_at(row: &Row<'_>, column: usize) -> Result<EntryRow> {
    let ino: Option<i64> = row.get(column)?;
    let ino = ino.map(|ino| from_sql("local_entry", ino)).transpose()?.map(Ino);
    Ok(EntryRow { ino, ticket: Ticket(from_sql("local_entry", row.get(column + 1)?)?) })
}
