//! Owns the calls that only look: lookup, stat, listings, paths.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::types::{DirEntry, QueueTotals, Stat, SyncState};
use crate::meta::rows::{Ino, ROOT, Verdict};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::NodeKind;

type Result<T> = std::result::Result<T, TreeError>;

/// Entries of a directory read under one lock.
const ENTRIES_AT_ONCE: usize = 512;

/// An open directory: its cookies stay while it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirHandle {
    /// The directory.
    pub ino: Ino,
}

impl Session<'_> {
    pub(super) fn stat(&mut self, ino: Ino) -> Result<Stat> {
        let content = self.local_content(ino)?;
        let link_count = self.link_count(ino)?;
        let inode = self.inode(ino)?;
        let kind = inode.kind().cloned().ok_or(TreeError::NotFound)?;
        let attrs = inode.attrs().ok_or(TreeError::NotFound)?;
        let remote_size = || inode.version().map(|file| file.content.size);
        let size_bytes = match &kind {
            NodeKind::File => content.as_ref().map(|c| c.size_bytes()).or_else(remote_size).unwrap_or(0),
            NodeKind::Symlink { target } => target.len() as u64,
            _ => 0,
        };
        let allocated_bytes = match content {
            Some(content) => content.allocated_bytes()?,
            None => 0,
        };
        Ok(Stat { ino, kind, attrs, size_bytes, allocated_bytes, link_count })
    }

    fn link_count(&mut self, ino: Ino) -> Result<u32> {
        let inode = self.inode(ino)?;
        if inode.is_dir() {
            return Ok(2 + inode.subdirs());
        }
        if let Some(links) = &inode.links {
            return Ok(u32::try_from(links.len()).unwrap_or(u32::MAX));
        }
        Ok(u32::try_from(self.links(ino)?.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn path(&mut self, ino: Ino) -> Result<Option<Vec<u8>>> {
        let mut parts = Vec::new();
        let mut at = ino;
        while at != ROOT {
            let links = match self.links(at) {
                // Others removed what was above.
                Err(TreeError::NotFound) if at != ino => return Ok(None),
                links => links?,
            };
            let Some((parent, name)) = links.into_iter().next() else { return Ok(None) };
            parts.push(name);
            if parts.len() > tarn_proto::limits::DEPTH_MAX {
                return Ok(None);
            }
            at = parent;
        }
        let mut path = Vec::new();
        for name in parts.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name.as_bytes());
        }
        Ok(Some(path))
    }
}

impl Tree {
    /// Looks a name up.
    ///
    /// # Errors
    /// `NotFound`; `Unlisted` if the folder must be listed first.
    pub fn lookup(&self, parent: Ino, name: &Name) -> Result<Stat> {
        self.look(|session| {
            let ino = session.child_seen(parent, name)?.ok_or(TreeError::NotFound)?;
            session.stat(ino)
        })
    }

    /// Counts that the kernel was told of an inode.
    ///
    /// # Errors
    /// `NotFound` for an inode that is gone.
    pub fn refer(&self, ino: Ino) -> Result<()> {
        self.look(|session| {
            session.inode(ino)?.kernel_refs += 1;
            Ok(())
        })
    }

    /// The flags of `chattr` of an inode, without the rest of what `stat` brings together.
    ///
    /// # Errors
    /// `NotFound` for an inode that is gone.
    pub fn flags(&self, ino: Ino) -> Result<u32> {
        self.look(|session| Ok(session.inode(ino)?.flags()))
    }

    /// What `stat` wants to know.
    ///
    /// # Errors
    /// `NotFound` for an inode that is gone.
    pub fn stat(&self, ino: Ino) -> Result<Stat> {
        self.look(|session| session.stat(ino))
    }

    /// Opens a directory for reading: a folder that is being listed as soon as some of its names have come.
    ///
    /// # Errors
    /// `NotADirectory`; `Unlisted` if it must be listed first.
    pub fn open_dir(&self, ino: Ino) -> Result<DirHandle> {
        self.look(|session| {
            session.readable(ino)?;
            session.inode(ino)?.dir_handles += 1;
            Ok(DirHandle { ino })
        })
    }

    /// Ends an open directory.
    pub fn close_dir(&self, handle: DirHandle) {
        self.with(|session| {
            if let Some(inode) = session.state.inodes.get_mut(&handle.ino) {
                inode.dir_handles = inode.dir_handles.saturating_sub(1);
            }
            session.release_if_idle(handle.ino);
        });
    }

    /// Entries after a cookie (0: from the start), at most `max`; without "." and "..", whose cookies are 1 and 2. None: there
    /// are no more.
    ///
    /// # Errors
    /// `NotADirectory`; `Unlisted` if the folder must be listed (further) before it is known what comes then.
    pub fn read_dir(&self, handle: DirHandle, after: u64, max: usize) -> Result<Vec<DirEntry>> {
        if let Some(page) = self.look(|session| session.read_growing(handle.ino, after, max))? {
            return Ok(page);
        }
        self.load_listing(handle.ino)?;
        self.look(|session| Ok(session.dir(handle.ino)?.entries(after, max)))
    }

    /// All entries of a directory, as they are while it is read.
    ///
    /// # Errors
    /// As [`Self::open_dir`] and [`Self::read_dir`].
    pub fn read_dir_whole(&self, ino: Ino) -> Result<Vec<DirEntry>> {
        let handle = self.open_dir(ino)?;
        let (mut all, mut after) = (Vec::new(), 0);
        let outcome = loop {
            match self.read_dir(handle, after, ENTRIES_AT_ONCE) {
                Ok(page) if page.is_empty() => break Ok(all),
                Ok(page) => {
                    after = page.last().map_or(after, |last| last.cookie);
                    all.extend(page);
                }
                Err(error) => break Err(error),
            }
        };
        self.close_dir(handle);
        outcome
    }

    /// The directory above; the root is its own.
    ///
    /// # Errors
    /// `NotFound` for an inode that is gone.
    pub fn parent_of(&self, ino: Ino) -> Result<Option<Ino>> {
        if ino == ROOT {
            return Ok(Some(ROOT));
        }
        self.look(|session| session.parent(ino))
    }

    /// One of an inode's paths, from the root, with a leading `/` (the root's is empty); `None` for an orphan.
    ///
    /// # Errors
    /// `NotFound` for an inode that is gone.
    pub fn path_of(&self, ino: Ino) -> Result<Option<Vec<u8>>> {
        self.look(|session| session.path(ino))
    }

    /// Whether nothing is left of an inode but what programs hold: it never has a name again.
    ///
    /// # Errors
    /// What the database says.
    pub fn is_gone(&self, ino: Ino) -> Result<bool> {
        self.look(|session| match session.inode(ino) {
            Err(TreeError::NotFound) => Ok(true),
            inode => Ok(inode?.node.is_none() && session.links(ino)?.is_empty()),
        })
    }

    /// The inode that shows a node here, if one does.
    ///
    /// # Errors
    /// What the database says.
    pub fn ino_of(&self, node: NodeId) -> Result<Option<Ino>> {
        self.look(|session| session.known_ino(node))
    }

    /// The node of a file that the server has; `None` for anything else.
    ///
    /// # Errors
    /// `NotFound` for an inode that is gone.
    pub fn published_file(&self, ino: Ino) -> Result<Option<NodeId>> {
        self.look(|session| {
            let inode = session.inode(ino)?;
            let is_file = inode.remote.as_ref().is_some_and(|remote| remote.file.is_some());
            Ok(inode.node.filter(|_| is_file))
        })
    }

    /// The inode at a path below the root.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`; `Unlisted` if a folder on the way must be listed first.
    pub fn resolve(&self, path: &[u8]) -> Result<Ino> {
        self.look(|session| {
            let mut at = ROOT;
            for part in path.split(|&c| c == b'/').filter(|part| !part.is_empty() && *part != b".") {
                let name = Name::new(part).map_err(|_| TreeError::NotFound)?;
                at = session.child_seen(at, &name)?.ok_or(TreeError::NotFound)?;
            }
            Ok(at)
        })
    }

    /// What is queued for a node.
    ///
    /// # Errors
    /// `NotFound` for an inode that is gone.
    pub fn sync_state(&self, ino: Ino) -> Result<SyncState> {
        self.look(|session| {
            let mut state = SyncState::InSync;
            for (_, queued) in session.state.queue.of_ino(ino) {
                if queued.op.frozen.is_some() || queued.prepared.is_some() {
                    return Ok(SyncState::Uploading);
                }
                let stays = queued.op.verdict == Verdict::LocalOnly;
                state = if stays { SyncState::LocalOnly } else { SyncState::Dirty };
            }
            Ok(state)
        })
    }

    /// What is queued, in numbers.
    pub fn queue_totals(&self) -> QueueTotals {
        self.with(|session| {
            let (mut totals, mut contents) = (QueueTotals::default(), Vec::new());
            for (_, queued) in session.state.queue.to_send() {
                totals.operations += 1;
                contents.extend(queued.op.op.content_of());
            }
            totals.local_only = session.state.queue.ops.len() as u64 - totals.operations;
            for ino in contents {
                let content = session.state.inodes.get(&ino).and_then(|inode| inode.content.clone());
                totals.bytes += content.map_or(0, |content| content.size_bytes());
            }
            totals
        })
    }
}
