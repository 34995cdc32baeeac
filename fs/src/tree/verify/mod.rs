//! Owns comparing: memory with the database once everything logged is in it, and what the database knows of a folder
//! with what the server lists. Decides nothing and changes nothing. Memory is read in steps, so that programs never
//! wait for all of it: what changes meanwhile may look like a difference once, and is looked at again by who asked.

mod describe;
mod folder;
mod memory;
mod names;

pub use folder::{FolderMismatch, compare_folder};

use super::Tree;
use super::error::TreeError;
use crate::meta::rows::Ino;
use crate::meta::{KnownFolder, RowFault};
use tarn_proto::ids::NodeId;

/// Something that memory and database say differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The inode that it is about, if it is about one.
    pub ino: Option<Ino>,
    /// What differs.
    pub what: String,
    /// What memory says; `None`: it has no such thing.
    pub memory: Option<String>,
    /// What the database says.
    pub database: Option<String>,
}

/// What one comparison of memory and database came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryLook {
    /// Rows that were compared.
    pub rows: u64,
    /// Those that differ.
    pub mismatches: Vec<Mismatch>,
}

impl MemoryLook {
    /// Compares what both say of one thing, as texts that say all of it.
    fn compare<T: PartialEq>(
        &mut self,
        (ino, what): (Option<Ino>, impl FnOnce() -> String),
        memory: Option<&T>,
        database: Option<&T>,
        describe: impl Fn(&T, Option<&T>) -> String,
    ) {
        self.rows += 1;
        if memory == database {
            return;
        }
        let (memory_says, database_says) =
            (memory.map(|row| describe(row, database)), database.map(|row| describe(row, memory)));
        self.mismatches.push(Mismatch { ino, what: what(), memory: memory_says, database: database_says });
    }
}

impl Tree {
    /// Compares memory and database once: queue, local names and cursor, and at most `inodes_max` of the inodes at hand,
    /// with listings and contents, beginning at the place that `from` stands for, so that each has its turn.
    ///
    /// # Errors
    /// What the database says.
    pub fn compare_memory(&self, inodes_max: usize, from: u64) -> Result<MemoryLook, TreeError> {
        let mut look = MemoryLook::default();
        self.compare_queue(&mut look)?;
        self.compare_names(&mut look)?;
        self.compare_cursor(&mut look)?;
        self.compare_inodes(&mut look, inodes_max, from)?;
        Ok(look)
    }

    /// Looks for rows of the database that cannot be as they are: how many rows there are, and at most `max` faults.
    ///
    /// # Errors
    /// What the database says.
    pub fn row_faults(&self, max: usize) -> Result<(u64, Vec<RowFault>), TreeError> {
        self.core.journal.drain()?;
        Ok(self.core.reader()?.faults(self.identity().space, max)?)
    }

    /// What the server has said of a folder, as the database has it.
    ///
    /// # Errors
    /// What the database says.
    pub fn known_folder(&self, folder: NodeId) -> Result<KnownFolder, TreeError> {
        self.core.journal.drain()?;
        Ok(self.core.reader()?.known_folder(self.identity().space, folder)?)
    }

    /// The node of an inode that the server has spoken of.
    ///
    /// # Errors
    /// `NotFound` for an inode that is gone.
    pub fn published(&self, ino: Ino) -> Result<Option<NodeId>, TreeError> {
        self.look(|session| {
            let inode = session.inode(ino)?;
            let Some(node) = inode.node else { return Ok(None) };
            Ok(session.remote_seq(node)?.map(|_| node))
        })
    }
}
