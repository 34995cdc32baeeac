//! Owns the set of inodes whose cached pages or listing the kernel has yet to drop. An open in between
//! must not tell the kernel to keep them. Counts changes of attributes, so that what was concluded from them
//! can be seen to be old.

use crate::meta::rows::Ino;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Has the kernel forget the attributes of an inode, at once. May be called by whoever answers a call.
pub trait ForgetAttributes: Send + Sync + Debug {
    /// The attributes only: this waits for nobody who uses the inode.
    fn forget_attributes(&self, ino: Ino);
}

/// Inodes with invalidations on their way to the kernel, and how many.
#[derive(Debug, Default)]
pub struct Stale {
    kernel: OnceLock<Box<dyn ForgetAttributes>>,
    on_their_way: Mutex<HashMap<Ino, u32>>,
    change_count: AtomicU64,
}

impl Stale {
    /// Sets how the kernel is told; only the first counts.
    pub fn attach(&self, kernel: Box<dyn ForgetAttributes>) {
        // A second mount tells through the first one's.
        let _ = self.kernel.set(kernel);
    }

    /// Whether the kernel may hold something old of an inode that is being opened. Then it has forgotten its attributes when
    /// this returns: with the old size it would cut short, or run beyond, what the handle reads.
    pub fn is_stale_to_open(&self, ino: Ino) -> bool {
        let is_stale = self.contains(ino);
        if is_stale {
            self.forget_attributes(ino);
        }
        is_stale
    }

    /// Has the kernel forget attributes that a call changed without its answer saying so.
    pub fn forget_attributes(&self, ino: Ino) {
        if let Some(kernel) = self.kernel.get() {
            kernel.forget_attributes(ino);
        }
    }

    /// Notes that attributes of some inode changed.
    pub fn note_attributes(&self) {
        self.change_count.fetch_add(1, Ordering::AcqRel);
    }

    /// How often that happened.
    pub fn attribute_changes(&self) -> u64 {
        self.change_count.load(Ordering::Acquire)
    }

    /// Notes one more invalidation on its way.
    pub fn enter(&self, ino: Ino) {
        *self.on_their_way.lock().entry(ino).or_default() += 1;
    }

    /// Notes that one has reached the kernel.
    pub fn leave(&self, ino: Ino) {
        let mut set = self.on_their_way.lock();
        let Some(count) = set.get_mut(&ino) else { return };
        *count -= 1;
        if *count == 0 {
            set.remove(&ino);
        }
    }

    /// Whether the kernel may hold something old of this inode.
    pub fn contains(&self, ino: Ino) -> bool {
        self.on_their_way.lock().contains_key(&ino)
    }
}
