//! Owns how listings fill the kernel's buffers. A buffer that is sent empty says that the directory is at its end: so one to
//! which nothing could be added yet waits instead.

use super::attr::{file_attr, file_type};
use super::reply::{GENERATION, KEPT_FOR, Respond};
use crate::vfs::{Answer, DirItem, Shown, Vfs};
use fuser::{Errno, INodeNo, ReplyDirectory, ReplyDirectoryPlus};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Entries asked of the tree at once: about what one buffer of the kernel takes.
const BATCH: usize = 128;

/// A buffer of the kernel.
pub(super) trait Buffer: Send + 'static {
    /// What is told of an entry.
    type Entry: Send + 'static;
    /// What is to be told of an entry; `None` if it has gone meanwhile.
    fn entry(vfs: &Vfs, item: DirItem) -> Answer<Option<Self::Entry>>;
    /// Adds an entry; whether the buffer was full already.
    fn put(&mut self, vfs: &Vfs, entry: &Self::Entry) -> bool;
    fn send(self);
    fn refuse(self, errno: Errno);
}

/// By name.
impl Buffer for ReplyDirectory {
    type Entry = DirItem;

    fn entry(_: &Vfs, item: DirItem) -> Answer<Option<DirItem>> {
        Ok(Some(item))
    }

    fn put(&mut self, _: &Vfs, item: &DirItem) -> bool {
        self.add(INodeNo(item.ino.0), item.cookie, file_type(item.node_type), OsStr::from_bytes(&item.name))
    }

    fn send(self) {
        self.ok();
    }

    fn refuse(self, errno: Errno) {
        self.error(errno);
    }
}

/// With attributes; the kernel counts that it knows what it is told of.
impl Buffer for ReplyDirectoryPlus {
    type Entry = (DirItem, Shown);

    fn entry(vfs: &Vfs, item: DirItem) -> Answer<Option<(DirItem, Shown)>> {
        Ok(vfs.attrs_of(&item)?.map(|shown| (item, shown)))
    }

    fn put(&mut self, vfs: &Vfs, (item, shown): &(DirItem, Shown)) -> bool {
        let name = OsStr::from_bytes(&item.name);
        let full = self.add(INodeNo(item.ino.0), item.cookie, name, &KEPT_FOR, &file_attr(shown), GENERATION);
        if !full && !item.is_dots() {
            vfs.refer(item);
        }
        full
    }

    fn send(self) {
        self.ok();
    }

    fn refuse(self, errno: Errno) {
        self.error(errno);
    }
}

/// Puts entries after a cookie into a buffer until no more fits, or the directory is at its end. A failure after the first
/// entry ends the buffer there: what it holds has been counted, and the next call meets the failure again.
pub(super) fn fill<B: Buffer>(vfs: &Vfs, handle: u64, after: u64, buffer: &mut B) -> Answer<()> {
    let (mut after, mut is_empty) = (after, true);
    loop {
        let items = match vfs.readdir(handle, after, BATCH) {
            Err(_) if !is_empty => return Ok(()),
            items => items?,
        };
        if items.is_empty() {
            return Ok(());
        }
        for item in items {
            after = item.cookie;
            match B::entry(vfs, item) {
                Ok(Some(entry)) if buffer.put(vfs, &entry) => return Ok(()),
                Ok(Some(_)) => is_empty = false,
                Ok(None) => {}
                Err(stop) if is_empty => return Err(stop),
                Err(_) => return Ok(()),
            }
        }
    }
}

/// The first entries after a cookie, for a buffer that had to wait for them; none only at the end.
pub(super) fn batch<B: Buffer>(vfs: &Vfs, handle: u64, mut after: u64) -> Answer<Vec<B::Entry>> {
    loop {
        let items = vfs.readdir(handle, after, BATCH)?;
        let Some(last) = items.last() else { return Ok(Vec::new()) };
        after = last.cookie;
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            entries.extend(B::entry(vfs, item)?);
        }
        if !entries.is_empty() {
            return Ok(entries);
        }
    }
}

/// A buffer that waits for its first entries.
pub(super) struct Waiting<B> {
    pub vfs: Arc<Vfs>,
    pub buffer: B,
}

impl<B: Buffer> Respond<Vec<B::Entry>> for Waiting<B> {
    fn answer(mut self, entries: Vec<B::Entry>) {
        for entry in &entries {
            if self.buffer.put(&self.vfs, entry) {
                break;
            }
        }
        self.buffer.send();
    }

    fn refuse(self, errno: Errno) {
        self.buffer.refuse(errno);
    }
}
