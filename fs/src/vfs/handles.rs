//! Owns the table of open handles: cheap to enter, to find and to leave; knows nothing of what they hold.

use parking_lot::RwLock;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SHARDS: usize = 16;
/// The higher bits of a number say in which life of the daemon it was given.
const LIFE_SHIFT: u32 = 40;

/// Open handles by number. Numbers are never used again, so a late call cannot reach another's handle.
#[derive(Debug)]
pub struct Handles<T> {
    life: u64,
    last: AtomicU64,
    shards: [RwLock<HashMap<u64, Arc<T>>>; SHARDS],
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self { life: 0, last: AtomicU64::new(0), shards: std::array::from_fn(|_| RwLock::default()) }
    }
}

impl<T> Handles<T> {
    /// Numbers from here on as no other life of the daemon does; before the first is given.
    pub fn begin_life(&mut self, life: u32) {
        self.life = u64::from(life);
        self.last = AtomicU64::new(self.life << LIFE_SHIFT);
    }

    /// Whether a number was given in this life.
    pub fn is_own(&self, number: u64) -> bool {
        number >> LIFE_SHIFT == self.life
    }

    /// Enters a handle that has its number already; what had that number here.
    pub fn put(&self, number: u64, value: T) -> Option<Arc<T>> {
        self.shard(number).write().insert(number, Arc::new(value))
    }

    /// A number for a handle that is to be entered.
    pub fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Enters a handle and numbers it.
    pub fn insert(&self, value: T) -> u64 {
        let number = self.next();
        self.put(number, value);
        number
    }

    /// Finds a handle.
    pub fn get(&self, number: u64) -> Option<Arc<T>> {
        self.shard(number).read().get(&number).cloned()
    }

    /// Takes a handle out.
    pub fn remove(&self, number: u64) -> Option<Arc<T>> {
        self.shard(number).write().remove(&number)
    }

    /// Number of open handles.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    fn shard(&self, number: u64) -> &RwLock<HashMap<u64, Arc<T>>> {
        &self.shards[number as usize % SHARDS]
    }
}
