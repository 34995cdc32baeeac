//! Owns the seam towards the kernel: what it must forget or see after a change from elsewhere.

use super::happened::Happening;
use crate::meta::rows::Ino;
use std::fmt::Debug;
use tarn_proto::name::Name;

/// Something the kernel may have cached that is no longer so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalidation {
    /// The attributes of an inode.
    Attributes(Ino),
    /// The attributes and the cached pages of an inode.
    Content(Ino),
    /// A name in a directory, absent ones too.
    Entry {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Name,
    },
    /// A name in a directory that is gone with what it named.
    Gone {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Name,
        /// What it named.
        child: Ino,
    },
}

/// Takes invalidations to the kernel. Called without any lock held, but for [`Notifier::announce`]; must not call back
/// into the tree on the same thread, and must not block on it: it queues.
pub trait Notifier: Send + Sync + Debug {
    /// Notes what [`Notifier::invalidate`] is about to be given. Called under the tree's lock, before anybody can see what
    /// changed: it notes, and does nothing else.
    fn announce(&self, batch: &[Invalidation]) {
        let _ = batch;
    }

    /// Queues invalidations that were announced, to be sent in order.
    fn invalidate(&self, batch: Vec<Invalidation>);

    /// Announces and queues what nobody could see before.
    fn announce_and_invalidate(&self, batch: Vec<Invalidation>) {
        self.announce(&batch);
        self.invalidate(batch);
    }

    /// Queues what programs that watch are to be told, behind the invalidations that came before.
    fn happened(&self, batch: Vec<Happening>) {
        drop(batch);
    }
}
