//! Owns the calls on open files: open, create, release, fsync.

use super::open_table::{OpenRecord, Slot};
use super::passthrough::{Left, Lend, Passage};
use super::ports::FileContent;
use super::{Answer, Caller, NewMode, Shown, Stop, Vfs, VfsError};
use crate::hydrate::ReadAhead;
use crate::meta::rows::Ino;
use crate::tree::TreeError;
use parking_lot::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use tarn_proto::node::NodeKind;

/// How a file was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenFlags {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Each write goes to the end.
    pub append: bool,
    /// What is written is durable when the call returns.
    pub sync: bool,
    /// Past the page cache.
    pub direct: bool,
    /// Emptied first.
    pub truncate: bool,
    /// `create` must make it.
    pub exclusive: bool,
}

impl From<i32> for OpenFlags {
    fn from(flags: i32) -> Self {
        let has = |flag: i32| flags & flag == flag;
        let access = flags & libc::O_ACCMODE;
        Self {
            read: access != libc::O_WRONLY,
            write: access != libc::O_RDONLY,
            append: has(libc::O_APPEND),
            sync: has(libc::O_DSYNC),
            direct: has(libc::O_DIRECT),
            truncate: has(libc::O_TRUNC),
            exclusive: has(libc::O_EXCL),
        }
    }
}

impl OpenFlags {
    /// As a number, for the record of what is open.
    pub(super) fn bits(self) -> u64 {
        let Self { read, write, append, sync, direct, truncate, exclusive } = self;
        let all = [read, write, append, sync, direct, truncate, exclusive];
        all.into_iter().rev().fold(0, |bits, is| bits << 1 | u64::from(is))
    }

    /// The same back; `None` for what means nothing.
    pub(super) fn of_bits(bits: u64) -> Option<Self> {
        let has = |bit: u32| bits >> bit & 1 == 1;
        let (read, write, append, sync) = (has(0), has(1), has(2), has(3));
        (bits >> 7 == 0).then(|| Self {
            read,
            write,
            append,
            sync,
            direct: has(4),
            truncate: has(5),
            exclusive: has(6),
        })
    }

    /// Whether the tree counts it as writing.
    pub(super) fn writes(self) -> bool {
        self.write || self.truncate
    }

    /// Whether only its maps are the backing file's, where the file is lent.
    pub(super) fn maps_only(self) -> bool {
        self.writes() || self.direct
    }
}

/// An open file.
#[derive(Debug)]
pub struct OpenFile {
    /// Which inode.
    pub ino: Ino,
    /// How.
    pub flags: OpenFlags,
    /// Taken at the first read: many programs open and only stat.
    content: OnceLock<Arc<dyn FileContent>>,
    /// As of which count of attribute changes a write has nothing to take away, plus one; 0: not known.
    pub(super) unprivileged_at: AtomicU64,
    /// Where it stands in the record of what is open.
    slot: Option<Slot>,
    /// What the kernel serves it from by itself.
    lend: Option<Arc<Lend>>,
    /// How it has been read so far.
    pub(super) reading: Mutex<ReadAhead>,
}

/// How the kernel is to serve an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serve {
    /// Through its page cache, and what it has there still holds.
    KeepCache,
    /// Through its page cache, dropping what is there.
    FreshCache,
    /// Past its page cache.
    Direct,
    /// Not at all: its page cache stays as it is.
    Aside,
}

/// What `open` answers.
#[derive(Debug)]
pub struct Opened {
    /// The handle.
    pub handle: u64,
    /// How the kernel is to serve it, unless it can pass this process by.
    pub serve: Serve,
    /// How it can.
    pub passage: Option<Passage>,
}

impl OpenFile {
    /// One that nothing was read from yet; `slot`: where it stands in the record of what is open.
    pub(super) fn new(
        ino: Ino,
        flags: OpenFlags,
        (lend, slot): (Option<Arc<Lend>>, Option<Slot>),
        cache_bytes: u64,
    ) -> Self {
        let reading = Mutex::new(ReadAhead::for_budget(cache_bytes));
        let (content, unprivileged_at) = (OnceLock::new(), AtomicU64::new(0));
        Self { ino, flags, content, unprivileged_at, lend, slot, reading }
    }

    /// Whether the kernel serves it, or maps of it, from its backing file.
    pub(super) fn is_passed_through(&self) -> bool {
        self.lend.as_ref().is_some_and(|lend| lend.is_given())
    }

    /// How it passes this process by, if it does.
    pub(super) fn passage(&self) -> Option<Passage> {
        let number = self.lend.as_ref()?.number()?;
        Some(Passage { number, maps_only: self.flags.maps_only() })
    }
}

impl Vfs {
    /// Opens a file.
    ///
    /// # Errors
    /// `NotPermitted` for what an immutable or append-only file is protected from; else as the tree says.
    pub fn open(&self, caller: Caller, ino: Ino, flags: OpenFlags) -> Answer<Opened> {
        if let Some(answer) = self.replayed_open(caller, ino, flags.truncate) {
            return answer;
        }
        let writes = flags.writes();
        let mut flags = flags;
        if writes {
            self.writable()?;
            flags = self.protected_open(ino, flags)?;
        }
        self.tree.opened(ino, writes)?;
        if flags.truncate
            && let Err(stop) = self.empty(caller, ino)
        {
            self.tree.closed(ino, writes);
            return Err(stop);
        }
        self.handle_of(caller, ino, flags)
    }

    /// A handle of a file that the tree counts as opened.
    ///
    /// # Errors
    /// The tree's; then it counts as opened no more.
    fn handle_of(&self, caller: Caller, ino: Ino, flags: OpenFlags) -> Answer<Opened> {
        let (handle, passage) = match self.given_before(caller, ino) {
            Some((handle, file)) => {
                // Counted twice: when it was taken up, and now.
                self.tree.closed(ino, flags.writes());
                (handle, file.passage())
            }
            None => self.new_handle(caller, ino, flags)?,
        };
        Ok(Opened { handle, serve: self.serve(ino, flags), passage })
    }

    fn new_handle(&self, caller: Caller, ino: Ino, flags: OpenFlags) -> Answer<(u64, Option<Passage>)> {
        let lend = self.lend(ino, flags)?;
        let (handle, backing) = (self.files.next(), lend.as_ref().and_then(|lend| lend.number()));
        let record = OpenRecord { handle, ino, flags, unique: caller.unique, backing };
        let slot = self.table.as_ref().map(|table| table.enter(&record)).transpose();
        let slot = slot.map_err(|error| self.not_opened(ino, flags, error))?;
        let file = OpenFile::new(ino, flags, (lend.filter(|_| backing.is_some()), slot), self.options().cache_bytes);
        let passage = file.passage();
        self.files.put(handle, file);
        Ok((handle, passage))
    }

    /// What a handle is lent, so that it passes this process by.
    fn lend(&self, ino: Ino, flags: OpenFlags) -> Answer<Option<Arc<Lend>>> {
        // What is opened to be written is not worth it: it will soon be another version.
        let lend = || if flags.maps_only() { None } else { self.tree.lend(ino) };
        let Some(lend) = self.passthrough.join(ino, lend) else { return Ok(None) };
        if flags.read
            && flags.write
            && let Err(error) = lend.expose()
        {
            drop(lend);
            return Err(self.not_opened(ino, flags, error));
        }
        Ok(Some(lend))
    }

    fn not_opened(&self, ino: Ino, flags: OpenFlags, error: impl Into<TreeError>) -> Stop {
        // If it is lent still, it is taken back when somebody wants to drop it.
        self.close(ino, flags.writes());
        error.into().into()
    }

    /// Makes and opens a file, or opens the one that another made first.
    ///
    /// # Errors
    /// `Exists` if it must not be there or is no file; else as the tree says.
    pub fn create(
        &self,
        caller: Caller,
        parent: Ino,
        name: &[u8],
        mode: impl Into<NewMode>,
        flags: OpenFlags,
    ) -> Answer<(Shown, Opened)> {
        let fresh = OpenFlags { truncate: false, ..flags };
        let stat = match self.make(caller, parent, name, NodeKind::File, mode.into(), Some(fresh.write)) {
            // One that must not be there may be there by the same call: see `again`.
            Err(Stop::Fail(VfsError::Tree(TreeError::Exists))) if !flags.exclusive || caller.is_again => {
                return self.open_existing(caller, parent, name, flags);
            }
            made => made?,
        };
        let opened = self.handle_of(caller, stat.ino, fresh)?;
        Ok((self.entered(stat), opened))
    }

    fn open_existing(&self, caller: Caller, parent: Ino, name: &[u8], flags: OpenFlags) -> Answer<(Shown, Opened)> {
        let found = self.tree.lookup(parent, &super::names::checked(name)?)?;
        if !found.kind.is_file() {
            return Err(TreeError::Exists.into());
        }
        let opened = self.open(caller, found.ino, flags)?;
        Ok((self.entered(self.tree.stat(found.ino)?), opened))
    }

    /// The last descriptor was closed and the last map is gone; but maps of what the kernel serves by itself may live on: then
    /// returns the inode for which [`Self::look_at_maps`] is to be called, now and then, until it says true.
    pub fn release(&self, handle: u64) -> Option<Ino> {
        let file = self.files.remove(handle)?;
        if let (Some(table), Some(slot)) = (&self.table, file.slot) {
            table.clear(slot);
        }
        let is_lent = self.close(file.ino, file.flags.writes());
        is_lent.then_some(file.ino)
    }

    /// Takes back what is lent and not in use, before somebody wants to drop it.
    pub fn take_back_unused(&self) {
        self.passthrough.closed().into_iter().for_each(|ino| {
            self.look_at_maps(ino);
        });
    }

    /// Whether no program has a map any more of a file that was closed.
    pub fn look_at_maps(&self, ino: Ino) -> bool {
        match self.passthrough.look_again(ino) {
            Left::Lent | Left::Watched => false,
            Left::Ended(owed) => {
                owed.into_iter().for_each(|wrote| self.tree.closed(ino, wrote));
                true
            }
            Left::Closed => true,
        }
    }

    /// Ends a handle; whether the file is lent still, and somebody must look when it is not in use any more.
    fn close(&self, ino: Ino, wrote: bool) -> bool {
        match self.passthrough.leave(ino, wrote) {
            Left::Closed => self.tree.closed(ino, wrote),
            Left::Ended(owed) => owed.into_iter().for_each(|wrote| self.tree.closed(ino, wrote)),
            Left::Lent => return true,
            Left::Watched => {}
        }
        false
    }

    /// Makes a file durable.
    ///
    /// # Errors
    /// `BadHandle`; else as the tree says.
    pub fn fsync(&self, handle: u64) -> Answer<()> {
        Ok(self.tree.fsync(self.file(handle)?.ino)?)
    }

    /// The same but for its times.
    ///
    /// # Errors
    /// As [`Self::fsync`].
    pub fn fdatasync(&self, handle: u64) -> Answer<()> {
        Ok(self.tree.fdatasync(self.file(handle)?.ino)?)
    }

    /// Number of open files.
    pub fn open_count(&self) -> usize {
        self.files.count()
    }

    pub(super) fn file(&self, handle: u64) -> Result<Arc<OpenFile>, VfsError> {
        self.files.get(handle).ok_or(VfsError::BadHandle)
    }

    pub(super) fn content<'f>(&self, file: &'f OpenFile) -> Answer<&'f Arc<dyn FileContent>> {
        if let Some(content) = file.content.get() {
            return Ok(content);
        }
        let content = self.tree.content(file.ino)?;
        Ok(file.content.get_or_init(|| content))
    }

    /// Decides how the kernel serves a file; the one place for it.
    fn serve(&self, ino: Ino, flags: OpenFlags) -> Serve {
        // What the kernel has in its cache would end where the old version did.
        let is_stale = self.stale.is_stale_to_open(ino);
        match () {
            () if flags.direct | is_stale => Serve::Direct,
            () if self.doubtful.is_first_use(ino) => Serve::FreshCache,
            () => Serve::KeepCache,
        }
    }

    fn empty(&self, caller: Caller, ino: Ino) -> Answer<()> {
        self.tree.truncate(ino, 0)?;
        self.drop_privileges_on_write(caller, ino).map(drop)
    }
}
