//! Owns the ports' real side: the tree, and its contents with the way to what is not local.

use super::ports::{BringError, FileContent, LentFile, Listing, Space, TreePort};
use super::walks::{Means, Walks};
use crate::content::{Lent, LocalContent, Read};
use crate::env::FileId;
use crate::hydrate::{HydrateError, Hydrator, Priority};
use crate::meta::rows::Ino;
use crate::tree::{DirEntry, DirHandle, NewNode, RenameRequest, Stat, SyncState, Tree, TreeError};
use async_trait::async_trait;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use tarn_proto::name::Name;
use tarn_proto::node::AttrChange;
use tokio::runtime::Handle;

type Result<T> = std::result::Result<T, TreeError>;

/// The tree with a hydrator behind it.
#[derive(Debug, Clone)]
pub struct LiveTree {
    tree: Arc<Tree>,
    means: Means,
    walks: Walks,
    state_dir: PathBuf,
}

impl LiveTree {
    /// The tree with who brings what its contents lack. Prefetches run on `runtime`; `place` is a folder of the
    /// disk that everything local lies on, and the budget of what lies there.
    pub fn new(tree: Arc<Tree>, hydrator: Hydrator, runtime: Handle, place: (PathBuf, u64)) -> Self {
        let (state_dir, cache_bytes) = place;
        let means = Means { tree: tree.clone(), hydrator, runtime, cache_bytes };
        Self { tree, means, walks: Walks::default(), state_dir }
    }
}

impl TreePort for LiveTree {
    fn lookup(&self, parent: Ino, name: &Name) -> Result<Stat> {
        self.tree.lookup(parent, name)
    }

    fn refer(&self, ino: Ino) {
        // It was found a moment ago; if it has gone since, there is nothing to count.
        let _ = self.tree.refer(ino);
    }

    fn forget(&self, ino: Ino, count: u64) {
        self.tree.forget(ino, count);
    }

    fn stat(&self, ino: Ino) -> Result<Stat> {
        self.tree.stat(ino)
    }

    fn flags(&self, ino: Ino) -> Result<u32> {
        self.tree.flags(ino)
    }

    fn parent_of(&self, ino: Ino) -> Option<Ino> {
        self.tree.parent_of(ino).ok().flatten()
    }

    fn path_of(&self, ino: Ino) -> Option<Vec<u8>> {
        self.tree.path_of(ino).ok().flatten()
    }

    fn is_gone(&self, ino: Ino) -> bool {
        self.tree.is_gone(ino).unwrap_or(false)
    }

    fn open_dir(&self, ino: Ino) -> Result<Box<dyn Listing>> {
        let handle = self.tree.open_dir(ino)?;
        Ok(Box::new(LiveListing { tree: self.tree.clone(), handle }))
    }

    fn create(&self, parent: Ino, name: &Name, new: NewNode) -> Result<Stat> {
        self.tree.create(parent, name, new)
    }

    fn unlink(&self, parent: Ino, name: &Name) -> Result<()> {
        self.tree.unlink(parent, name)
    }

    fn rmdir(&self, parent: Ino, name: &Name) -> Result<()> {
        self.tree.rmdir(parent, name)
    }

    fn rename(&self, request: &RenameRequest) -> Result<()> {
        self.tree.rename(request)
    }

    fn link(&self, ino: Ino, parent: Ino, name: &Name) -> Result<Stat> {
        self.tree.link(ino, parent, name)
    }

    fn set_attrs(&self, ino: Ino, change: &AttrChange) -> Result<Stat> {
        self.tree.set_attrs(ino, change)
    }

    fn opened(&self, ino: Ino, write: bool) -> Result<()> {
        self.tree.opened(ino, write)
    }

    fn closed(&self, ino: Ino, write: bool) {
        if let Err(error) = self.tree.closed(ino, write) {
            tracing::warn!(%error, ino = ino.0, "the times of a closed file were not recorded");
        }
    }

    fn content(&self, ino: Ino) -> Result<Arc<dyn FileContent>> {
        let content = self.tree.content(ino)?;
        self.walks.read(&self.means, ino);
        Ok(Arc::new(LiveContent { content, means: self.means.clone(), walks: self.walks.clone() }))
    }

    fn lend(&self, ino: Ino) -> Option<Box<dyn LentFile>> {
        let content = self.tree.large_content(ino)?;
        let lent = content.lend().inspect_err(|error| tracing::debug!(%error, ino = ino.0, "a file is not lent"));
        let lent = lent.ok().flatten()?;
        Some(Box::new(LiveLent { tree: self.tree.clone(), ino, lent }))
    }

    fn lend_again(&self, ino: Ino, file: FileId, is_exposed: bool) -> Option<Box<dyn LentFile>> {
        let lent = self.tree.content(ino).and_then(|content| Ok(content.lend_again(file, is_exposed)?));
        let lent = lent.inspect_err(|error| tracing::warn!(%error, ino = ino.0, "a file is not lent again"));
        Some(Box::new(LiveLent { tree: self.tree.clone(), ino, lent: lent.ok().flatten()? }))
    }

    fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> Result<()> {
        self.tree.write(ino, offset, data).map(drop)
    }

    fn append(&self, ino: Ino, data: &[u8]) -> Result<()> {
        self.tree.append(ino, data).map(drop)
    }

    fn truncate(&self, ino: Ino, size_bytes: u64) -> Result<()> {
        self.tree.truncate(ino, size_bytes).map(drop)
    }

    fn punch(&self, ino: Ino, range: Range<u64>) -> Result<()> {
        self.tree.punch(ino, range).map(drop)
    }

    fn zero(&self, ino: Ino, range: Range<u64>, keep_size: bool) -> Result<()> {
        self.tree.zero(ino, range, keep_size).map(drop)
    }

    fn allocate(&self, ino: Ino, range: Range<u64>, keep_size: bool) -> Result<()> {
        self.tree.allocate(ino, range, keep_size).map(drop)
    }

    fn share(&self, from: Ino, to: Ino, range: Range<u64>) -> Result<Option<u64>> {
        self.tree.share(from, to, range)
    }

    fn fsync(&self, ino: Ino) -> Result<()> {
        self.tree.fsync(ino)
    }

    fn fdatasync(&self, ino: Ino) -> Result<()> {
        self.tree.fdatasync(ino)
    }

    fn fsync_dir(&self, _: Ino) -> Result<()> {
        self.tree.sync_log()
    }

    fn sync_state(&self, ino: Ino) -> Result<SyncState> {
        self.tree.sync_state(ino)
    }

    fn space(&self) -> Result<Space> {
        let disk = rustix::fs::statvfs(&self.state_dir).map_err(io::Error::from)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let local = (bytes(disk.f_blocks), bytes(disk.f_bavail));
        let (total_bytes, free_bytes) = self.tree.quota_left().unwrap_or(local);
        Ok(Space { total_bytes, free_bytes, node_count: self.tree.node_count() })
    }
}

#[derive(Debug)]
struct LiveListing {
    tree: Arc<Tree>,
    handle: DirHandle,
}

impl Listing for LiveListing {
    fn read(&self, after_cookie: u64, max: usize) -> Result<Vec<DirEntry>> {
        self.tree.read_dir(self.handle, after_cookie, max)
    }
}

impl Drop for LiveListing {
    fn drop(&mut self) {
        self.tree.close_dir(self.handle);
    }
}

#[derive(Debug)]
struct LiveLent {
    tree: Arc<Tree>,
    ino: Ino,
    lent: Lent,
}

impl LentFile for LiveLent {
    fn fd(&self) -> BorrowedFd<'_> {
        self.lent.fd()
    }

    fn is_in_use(&self) -> bool {
        self.lent.is_in_use()
    }

    fn expose(&self) -> Result<()> {
        self.lent.expose().map_err(|error| TreeError::Disk(io::Error::other(error)))
    }

    fn conceal(&self) {
        let noted = if self.lent.is_changed() { self.tree.note_mapped_write(self.ino) } else { Ok(()) };
        let concealed = noted.and_then(|()| Ok(self.lent.conceal()?));
        if let Err(error) = concealed {
            // The log says that it is open for writing: the next start takes it for written.
            tracing::warn!(%error, ino = self.ino.0, "what a map wrote is queued at the next start only");
        }
    }
}

#[derive(Debug)]
struct LiveContent {
    content: Arc<LocalContent>,
    means: Means,
    walks: Walks,
}

#[async_trait]
impl FileContent for LiveContent {
    fn size_bytes(&self) -> u64 {
        self.content.size_bytes()
    }

    fn read(&self, offset: u64, len: usize) -> Result<Read> {
        Ok(self.means.hydrator.read_through(&self.content, offset, len)?)
    }

    fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.content.missing(range)
    }

    fn present_bytes(&self) -> u64 {
        self.content.present_bytes()
    }

    async fn need(&self, ranges: &[Range<u64>], alone: bool) -> std::result::Result<(), BringError> {
        if !alone {
            self.walks.missed(&self.means, &self.content);
        }
        Ok(self.means.hydrator.need(&self.content, ranges, Priority::Demand).await?)
    }

    fn soon(&self, ranges: Vec<Range<u64>>) {
        let (content, hydrator) = (self.content.clone(), self.means.hydrator.clone());
        self.means.runtime.spawn(async move {
            if let Err(error) = hydrator.need(&content, &ranges, Priority::Prefetch).await {
                tracing::debug!(%error, "nothing was fetched ahead");
            }
        });
    }
}

impl From<HydrateError> for BringError {
    fn from(error: HydrateError) -> Self {
        match error {
            HydrateError::Offline | HydrateError::Unreachable => Self::Unreachable,
            HydrateError::Refused { .. }
            | HydrateError::Damaged { .. }
            | HydrateError::Manifest(_)
            | HydrateError::NoVersion => Self::Unreadable(error.to_string()),
            HydrateError::Local(error) => {
                let errno = error.raw_os_error().map(io::Error::from_raw_os_error);
                Self::Local(errno.unwrap_or_else(|| io::Error::new(error.kind(), error.to_string())))
            }
        }
    }
}
