//! Owns the set of inodes whose cached pages or listing the kernel has yet to drop. An open in between
//! must not tell the kernel to keep them.

use crate::meta::rows::Ino;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Inodes with invalidations on their way to the kernel, and how many.
#[derive(Debug, Default)]
pub struct Stale(Mutex<HashMap<Ino, u32>>);

impl Stale {
    /// Notes one more invalidation on its way.
    pub fn enter(&self, ino: Ino) {
        *self.0.lock().entry(ino).or_default() += 1;
    }

    /// Notes that one has reached the kernel.
    pub fn leave(&self, ino: Ino) {
        let mut set = self.0.lock();
        let Some(count) = set.get_mut(&ino) else { return };
        *count -= 1;
        if *count == 0 {
            set.remove(&ino);
        }
    }

    /// Whether the kernel may hold something old of this inode.
    pub fn contains(&self, ino: Ino) -> bool {
        self.0.lock().contains_key(&ino)
    }
}
