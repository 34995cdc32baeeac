//! Owns the calls on open directories: opendir, readdir, readdirplus, releasedir, fsyncdir.

use super::ports::Listing;
use super::{Answer, Shown, Vfs, VfsError};
use crate::meta::rows::Ino;
use crate::tree::{NodeType, TreeError};
use std::sync::Arc;

/// The cookie of "."; 0 is the start, and the tree's own cookies are higher than these two.
const DOT: u64 = 1;
/// The cookie of "..".
const DOT_DOT: u64 = 2;

/// An open directory.
#[derive(Debug)]
pub struct OpenDir {
    ino: Ino,
    listing: Box<dyn Listing>,
}

/// What `opendir` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedDir {
    /// The handle.
    pub handle: u64,
    /// Whether what the kernel has of the listing still holds.
    pub keep_cache: bool,
}

/// One entry as `readdir` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirItem {
    /// Where to go on after it.
    pub cookie: u64,
    /// Its name.
    pub name: Vec<u8>,
    /// What it names.
    pub ino: Ino,
    /// What that is.
    pub node_type: NodeType,
}

impl OpenDir {
    pub(super) fn new(ino: Ino, listing: Box<dyn Listing>) -> Self {
        Self { ino, listing }
    }
}

impl DirItem {
    /// Whether it is "." or "..", which the kernel does not count as looked up.
    pub fn is_dots(&self) -> bool {
        self.cookie <= DOT_DOT
    }
}

impl Vfs {
    /// Opens a directory; its listing stays as it is for this handle's cookies.
    ///
    /// # Errors
    /// Waits for a listing that is not known yet.
    pub fn opendir(&self, ino: Ino) -> Answer<OpenedDir> {
        let listing = self.tree.open_dir(ino)?;
        let keep_cache = !(self.stale.contains(ino) | self.doubtful.is_first_use(ino));
        Ok(OpenedDir { handle: self.dirs.insert(OpenDir::new(ino, listing)), keep_cache })
    }

    /// Up to about `max` entries after a cookie; none at the end.
    ///
    /// # Errors
    /// `BadHandle`; else as the tree says.
    pub fn readdir(&self, handle: u64, after: u64, max: usize) -> Answer<Vec<DirItem>> {
        let dir = self.dir(handle)?;
        let mut items = self.dots(dir.ino, after);
        let entries = dir.listing.read(after.max(DOT_DOT), max)?;
        items.extend(entries.into_iter().map(|entry| DirItem {
            cookie: entry.cookie,
            name: entry.name.as_bytes().to_vec(),
            ino: entry.ino,
            node_type: entry.node_type,
        }));
        Ok(items)
    }

    /// The attributes to tell with an entry; `None` if it has gone meanwhile.
    ///
    /// # Errors
    /// As the tree says.
    pub fn attrs_of(&self, item: &DirItem) -> Answer<Option<Shown>> {
        match self.tree.stat(item.ino) {
            Ok(stat) => Ok(Some(self.show(stat))),
            Err(TreeError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts that the kernel was told of an entry by `readdirplus`.
    pub fn refer(&self, item: &DirItem) {
        self.tree.refer(item.ino);
    }

    /// Closes a directory.
    pub fn releasedir(&self, handle: u64) {
        drop(self.dirs.remove(handle));
    }

    /// Makes what was done in a directory durable.
    ///
    /// # Errors
    /// `BadHandle`; else as the tree says.
    pub fn fsyncdir(&self, handle: u64) -> Answer<()> {
        Ok(self.tree.fsync_dir(self.dir(handle)?.ino)?)
    }

    fn dir(&self, handle: u64) -> Result<Arc<OpenDir>, VfsError> {
        self.dirs.get(handle).ok_or(VfsError::BadHandle)
    }

    fn dots(&self, ino: Ino, after: u64) -> Vec<DirItem> {
        let parent = self.tree.parent_of(ino).unwrap_or(ino);
        let dots = [(DOT, &b"."[..], ino), (DOT_DOT, &b".."[..], parent)];
        let rest = dots.into_iter().filter(|(cookie, ..)| *cookie > after);
        rest.map(|(cookie, name, ino)| DirItem { cookie, name: name.to_vec(), ino, node_type: NodeType::Dir }).collect()
    }
}
