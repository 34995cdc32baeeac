//! Owns handles that an earlier daemon of the same mount gave out. Programs go on using them, and the kernel names the inode
//! with each call: such a handle is opened here when it is first used. Each life of the daemon numbers its handles apart.
//!
//! What the kernel checked when the file was opened holds; what is remembered of a handle beside its flags begins anew.

use super::dirs::OpenDir;
use super::files::OpenFile;
use super::{Answer, OpenFlags, Vfs};
use crate::meta::rows::Ino;
use parking_lot::Mutex;
use std::collections::HashSet;

/// Inodes of which the kernel may have pages that an earlier daemon would have told it to drop.
#[derive(Debug, Default)]
pub(super) struct Doubtful {
    inode_max: u64,
    opened: Mutex<HashSet<Ino>>,
}

impl Doubtful {
    /// Whether this is the first time that an inode is opened in this life: what the kernel has of it is dropped then.
    pub fn is_first_use(&self, ino: Ino) -> bool {
        ino.0 <= self.inode_max && self.opened.lock().insert(ino)
    }
}

/// An open file as the kernel names it in a call.
#[derive(Debug, Clone, Copy)]
pub struct Through {
    /// The handle.
    pub handle: u64,
    /// Its inode.
    pub ino: Ino,
    /// How it was opened, as far as the call says.
    pub flags: OpenFlags,
}

impl Through {
    /// Of a call that reads and says no more.
    pub fn reading(handle: u64, ino: Ino) -> Self {
        Self { handle, ino, flags: OpenFlags { read: true, ..OpenFlags::default() } }
    }

    /// Of a call that writes and says no more.
    pub fn writing(handle: u64, ino: Ino) -> Self {
        Self { handle, ino, flags: OpenFlags { read: true, write: true, ..OpenFlags::default() } }
    }
}

impl Vfs {
    /// The same file system, served by the daemon that is the `life`-th after the one that mounted; inodes up to `inode_max`
    /// are known to the kernel.
    #[must_use]
    pub fn in_life(mut self, life: u32, inode_max: u64) -> Self {
        self.doubtful = Doubtful { inode_max, ..Doubtful::default() };
        self.files.begin_life(life);
        self.dirs.begin_life(life);
        self
    }

    /// The number of a handle that is open here.
    ///
    /// # Errors
    /// As the tree says of opening what an earlier daemon had open.
    pub fn inherited(&self, through: Through) -> Answer<u64> {
        let Through { handle, ino, flags } = through;
        if self.files.is_own(handle) {
            return Ok(handle);
        }
        let _one_at_a_time = self.inheriting.lock();
        if self.files.get(handle).is_some_and(|file| file.flags.write || !flags.write) {
            return Ok(handle);
        }
        self.tree.opened(ino, flags.write)?;
        let flags = OpenFlags { truncate: false, exclusive: false, ..flags };
        let file = OpenFile::new(ino, flags, None, self.options.cache_bytes);
        if let Some(before) = self.files.put(handle, file) {
            self.tree.closed(before.ino, before.flags.write);
        }
        Ok(handle)
    }

    /// The same for a directory.
    ///
    /// # Errors
    /// As the tree says of opening it.
    pub fn inherited_dir(&self, handle: u64, ino: Ino) -> Answer<u64> {
        if self.dirs.is_own(handle) || self.dirs.get(handle).is_some() {
            return Ok(handle);
        }
        let listing = self.tree.open_dir(ino)?;
        self.dirs.put(handle, OpenDir::new(ino, listing));
        Ok(handle)
    }
}
