//! Owns handles that an earlier daemon of the same mount gave out. Programs go on using them. What that daemon entered in its
//! record (`open_table`) is open here from the start, and what it lent to the kernel is held. Folders, and files
//! of a mount without a record, are opened when they are first used: the kernel names the inode with each call. Each life of
//! the daemon numbers its handles apart.
//!
//! What the kernel checked when the file was opened holds; what is remembered of a handle beside its flags begins anew.

use super::dirs::OpenDir;
use super::files::OpenFile;
use super::open_table::{ExchangeRecord, Left, LentRecord, OpenRecord, Slot};
use super::passthrough::{Lend, Lending, Serving};
use super::ports::TreePort;
use super::{Answer, Caller, OpenFlags, Vfs};
use crate::meta::rows::Ino;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

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

/// What an earlier daemon left open, taken up.
#[derive(Debug, Default)]
pub struct TakenUp {
    open: Vec<(Slot, OpenRecord)>,
    inodes: HashMap<Ino, Serving>,
    exchanges: Vec<ExchangeRecord>,
}

impl TakenUp {
    /// Opens once more what is open, and holds what is lent. To be called before anything else is done with the tree: what is
    /// open keeps its version.
    pub fn of(tree: &dyn TreePort, lending: &Lending, left: Left) -> Self {
        lending.kernel.close(left.stray);
        let mut all = Self { exchanges: left.exchanges, ..Self::default() };
        for (slot, record) in left.open {
            match tree.opened(record.ino, record.flags.writes()) {
                Ok(()) => {
                    all.inodes.entry(record.ino).or_default().handles += 1;
                    all.open.push((slot, record));
                }
                Err(error) => {
                    tracing::warn!(%error, ino = record.ino.0, "an open file is known no more");
                    lending.table.iter().for_each(|table| table.clear(slot));
                }
            }
        }
        left.lent.into_iter().for_each(|(slot, record)| all.lend(tree, lending, slot, &record));
        all
    }

    fn lend(&mut self, tree: &dyn TreePort, lending: &Lending, slot: Slot, record: &LentRecord) {
        let LentRecord { backing, ino, file, is_exposed } = *record;
        let is_served =
            self.open.iter().any(|(_, open)| open.ino == ino && open.backing.is_some() && open.backing == backing);
        let serving = self.inodes.entry(ino).or_default();
        // One that is not served from it any more may have maps, which keep the version.
        let is_alone = serving.handles == 0 && serving.lend.is_none();
        let is_wanted = is_served || is_alone && tree.opened(ino, is_exposed).is_ok();
        let lent = if is_wanted { tree.lend_again(ino, file, is_exposed) } else { None };
        if is_wanted && !is_served {
            serving.owed.push(is_exposed);
        }
        match lent {
            Some(file) => {
                let lend = Lend::inherited(file, lending.clone(), slot, record);
                if !is_served {
                    // The number may have been taken back just before the end, and not have been struck out any more.
                    lend.renew();
                }
                serving.lend = Some(Arc::new(lend));
            }
            None => {
                if is_served {
                    tracing::warn!(
                        ino = ino.0,
                        "a file that the kernel reads by itself cannot be opened anew until it is closed"
                    );
                }
                backing.iter().for_each(|number| lending.kernel.close(*number));
                lending.table.iter().for_each(|table| table.clear(slot));
            }
        }
    }
}

impl Vfs {
    /// The same file system, which lends files, and goes on with what was taken up.
    #[must_use]
    pub fn lending(mut self, lending: Lending, taken: TakenUp) -> Self {
        self.table = lending.table.clone();
        let cache_bytes = self.options.cache_bytes;
        for (slot, OpenRecord { handle, ino, flags, unique, backing }) in taken.open {
            let lend = backing.and_then(|_| taken.inodes.get(&ino)?.lend.clone());
            self.files.put(handle, OpenFile::new(ino, flags, (lend, Some(slot)), cache_bytes));
            self.given.get_mut().insert(unique, handle);
        }
        self.exchanges = taken.exchanges.into_iter().map(|record| (record.unique, record)).collect();
        self.passthrough.begin(lending, taken.inodes);
        self
    }

    /// The handle that was given to this very call, by a daemon that ended before it had said so.
    pub(super) fn given_before(&self, caller: Caller, ino: Ino) -> Option<(u64, Arc<OpenFile>)> {
        let handle = if caller.is_again { self.given.lock().remove(&caller.unique)? } else { return None };
        let file = self.files.get(handle)?;
        if file.ino == ino {
            return Some((handle, file));
        }
        // The name is another file's by now.
        self.release(handle);
        None
    }

    /// Files that an earlier daemon left lent and nobody has open: [`Self::look_at_maps`] is to be called for each, now and
    /// then, until it says true.
    pub fn left_lent(&self) -> Vec<Ino> {
        self.passthrough.unwatched()
    }

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
        let file = OpenFile::new(ino, flags, (None, None), self.options.cache_bytes);
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
