//! Owns the manifest nodes at hand: a bounded number, verified.

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use tarn_proto::ids::ChunkId;

/// Nodes that were fetched lately.
#[derive(Debug)]
pub(super) struct Nodes(Mutex<LruCache<ChunkId, Bytes>>);

impl Nodes {
    pub(super) fn new(count_max: NonZeroUsize) -> Self {
        Self(Mutex::new(LruCache::new(count_max)))
    }

    pub(super) fn get(&self, id: &ChunkId) -> Option<Bytes> {
        self.0.lock().get(id).cloned()
    }

    pub(super) fn put(&self, id: ChunkId, bytes: Bytes) {
        self.0.lock().put(id, bytes);
    }
}
