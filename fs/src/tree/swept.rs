//! Owns what is kept of inodes that the kernel knows and memory let go of: how often the kernel was told of them, and
//! the little that no row says. Plain data; who lets go is in `sweep`.

use super::state::Inode;
use crate::meta::rows::Ino;
use std::collections::HashMap;
use tarn_proto::node::Timestamp;

/// Inodes that the kernel knows and memory does not hold. Millions of them: a few bytes each.
#[derive(Debug, Default)]
pub(super) struct Swept {
    refs: HashMap<Ino, u32>,
    relinked: HashMap<Ino, Timestamp>,
    subdirs: HashMap<Ino, u32>,
}

impl Swept {
    /// Keeps what must be kept of an inode that memory lets go of; false if it cannot be.
    pub fn put(&mut self, ino: Ino, inode: &Inode) -> bool {
        let Ok(refs) = u32::try_from(inode.kernel_refs) else { return false };
        self.refs.insert(ino, refs);
        if let Some(time) = inode.relinked {
            self.relinked.insert(ino, time);
        }
        let subdirs = inode.subdirs();
        if subdirs > 0 {
            self.subdirs.insert(ino, subdirs);
        }
        true
    }

    /// Gives an inode that comes back into memory what was kept of it.
    pub fn recall(&mut self, ino: Ino, inode: &mut Inode) {
        if let Some(refs) = self.refs.remove(&ino) {
            inode.kernel_refs = u64::from(refs);
            inode.relinked = self.relinked.remove(&ino);
            inode.subdir_count = self.subdirs.remove(&ino).unwrap_or(0);
        }
    }

    /// The kernel forgot an inode `count` times.
    pub fn forget(&mut self, ino: Ino, count: u64) {
        let Some(refs) = self.refs.get_mut(&ino) else { return };
        *refs = refs.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        if *refs == 0 {
            self.remove(ino);
        }
    }

    /// Forgets an inode that is gone.
    pub fn remove(&mut self, ino: Ino) {
        if self.refs.remove(&ino).is_some() {
            self.relinked.remove(&ino);
            self.subdirs.remove(&ino);
        }
    }

    pub fn contains(&self, ino: Ino) -> bool {
        self.refs.contains_key(&ino)
    }

    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    pub fn len(&self) -> usize {
        self.refs.len()
    }
}
