//! Owns what is remembered of chunks: index rows, headers, and who reaches what. All of that is
//! immutable while nothing is collected; memory is bounded. Whose a space is, is believed for seconds.

use crate::limits;
use crate::store::chunks::ChunkRow;
use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::time::Instant;
use tarn_proto::ids::{ChunkId, SpaceId, UserId};

/// Rough cost of an entry beside its header.
const ENTRY_BYTES: usize = 200;

/// A chunk's place, and its header once it was read.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) row: ChunkRow,
    pub(super) header: Option<Bytes>,
}

/// Bounded memory of rows and reach.
#[derive(Debug)]
pub(super) struct Cache {
    chunks: Mutex<Inner>,
    owners: Mutex<LruCache<(UserId, SpaceId), Instant>>,
}

#[derive(Debug)]
struct Inner {
    rows: LruCache<ChunkId, Located>,
    reach: LruCache<(UserId, ChunkId), ()>,
    bytes: usize,
}

impl Default for Cache {
    fn default() -> Self {
        let inner = Inner { rows: LruCache::unbounded(), reach: LruCache::unbounded(), bytes: 0 };
        let owners = NonZeroUsize::new(limits::TOKEN_CACHE_COUNT_MAX).unwrap_or(NonZeroUsize::MIN);
        Self { chunks: Mutex::new(inner), owners: Mutex::new(LruCache::new(owners)) }
    }
}

impl Cache {
    /// A chunk that the user is known to reach.
    pub(super) fn get(&self, user: UserId, id: ChunkId) -> Option<Located> {
        let mut inner = self.chunks.lock();
        inner.reach.get(&(user, id))?;
        inner.rows.get(&id).cloned()
    }

    /// Remembers a chunk that the user reaches.
    pub(super) fn put(&self, user: UserId, located: Located) {
        let mut inner = self.chunks.lock();
        let id = located.row.id;
        inner.put_row(located);
        if inner.reach.put((user, id), ()).is_none() {
            inner.bytes += ENTRY_BYTES;
        }
        inner.shrink();
    }

    /// Whether a space was the user's a moment ago.
    pub(super) fn owns(&self, user: UserId, space: SpaceId, now: Instant) -> bool {
        self.owners.lock().get(&(user, space)).is_some_and(|until| *until > now)
    }

    /// Remembers that a space is the user's.
    pub(super) fn put_owner(&self, user: UserId, space: SpaceId, now: Instant) {
        self.owners.lock().put((user, space), now + limits::TOKEN_CACHE_TIME_MAX);
    }

    /// Remembers a header that was read.
    pub(super) fn put_header(&self, row: ChunkRow, header: Bytes) {
        let mut inner = self.chunks.lock();
        inner.put_row(Located { row, header: Some(header) });
        inner.shrink();
    }
}

fn cost(located: &Located) -> usize {
    ENTRY_BYTES + located.header.as_ref().map_or(0, Bytes::len)
}

impl Inner {
    fn put_row(&mut self, mut located: Located) {
        let id = located.row.id;
        if located.header.is_none() {
            located.header =
                self.rows.peek(&id).filter(|old| old.row == located.row).and_then(|old| old.header.clone());
        }
        self.bytes += cost(&located);
        if let Some(old) = self.rows.put(id, located) {
            self.bytes -= cost(&old);
        }
    }

    fn shrink(&mut self) {
        while self.bytes > limits::CHUNK_CACHE_BYTES_MAX {
            let row = self.rows.pop_lru().map(|(_, old)| cost(&old));
            let reach = self.reach.pop_lru().map(|_| ENTRY_BYTES);
            match row.unwrap_or(0) + reach.unwrap_or(0) {
                0 => return,
                freed => self.bytes -= freed,
            }
        }
    }
}
