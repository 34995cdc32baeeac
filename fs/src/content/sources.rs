//! Owns where chunks lie on the local disk: what one content has of another's chunks is copied, not fetched. So a new
//! version costs what is new in it, wherever that stands, and a copy, a version that comes back or the result of a merge nothing.
//!
//! A hint, never a promise: bytes that are found are compared with the chunk's id before they are used, and an entry that
//! misled is dropped. Kept in memory alone, bounded; [`Contents::inventory`] adds what an earlier run left.

use super::Filled;
use super::local::LocalContent;
use super::state::{Body, State};
use super::store::{Contents, Shared};
use crate::meta::rows::{BaseVersion, ContentNo};
use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use tarn_proto::chunk::chunk_id;
use tarn_proto::ids::{ChunkId, VersionId};
use tarn_proto::manifest::{LocatedChunk, ManifestEntry};

/// Chunks whose place is known: of some 128 GiB.
const PLACES_MAX: NonZeroUsize = NonZeroUsize::new(1 << 17).expect("not zero");
/// Chunks that were given before any content has them.
const GIVEN_MAX: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");

/// A content, and where in it a chunk starts.
type Place = (ContentNo, u64);

/// Where a chunk was seen last, and where before: one of two copies may go.
type Places = [Option<Place>; 2];

/// Where chunks are.
#[derive(Debug)]
pub(super) struct Sources {
    places: Mutex<LruCache<ChunkId, Places>>,
    given: Mutex<LruCache<ChunkId, Bytes>>,
}

/// A content whose version was replaced by another's, with its manifest: its chunks are looked up when they are wanted.
#[derive(Debug, Clone)]
pub struct Former {
    /// What has the bytes.
    pub content: Arc<LocalContent>,
    /// What it shows.
    pub base: BaseVersion,
}

/// What came of looking for a chunk on the local disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copied {
    /// It is here now, or the content shows another version.
    Done,
    /// It was found, and there is no room for it: serve it from memory.
    Full(Bytes),
    /// No other content has it.
    Missing,
}

/// The chunks of a version that are named without looking further.
fn chunks_of(base: &BaseVersion) -> impl Iterator<Item = (ChunkId, u64)> + '_ {
    let manifest = &base.content.manifest;
    let entries: &[ManifestEntry] = if manifest.level == 0 { &manifest.entries } else { &[] };
    entries.iter().scan(0, |end, entry| {
        let offset = *end;
        *end += entry.length;
        Some((entry.id, offset))
    })
}

impl Sources {
    pub(super) fn new() -> Self {
        Self { places: Mutex::new(LruCache::new(PLACES_MAX)), given: Mutex::new(LruCache::new(GIVEN_MAX)) }
    }

    fn get(&self, id: &ChunkId) -> Places {
        self.places.lock().get(id).copied().unwrap_or_default()
    }

    fn note_at(&self, chunks: impl Iterator<Item = (ChunkId, Place)>) {
        let mut places = self.places.lock();
        for (id, place) in chunks {
            let known = places.get_or_insert_mut(id, Places::default);
            if known[0] != Some(place) {
                *known = [Some(place), known[0]];
            }
        }
    }

    /// A content that has a version's bytes, as far as is known.
    pub(super) fn note(&self, no: ContentNo, base: &BaseVersion) {
        self.note_at(chunks_of(base).map(|(id, offset)| (id, (no, offset))));
    }

    /// One that may have some of them by and by.
    pub(super) fn note_new(&self, no: ContentNo, base: &BaseVersion) {
        let mut places = self.places.lock();
        for (id, offset) in chunks_of(base) {
            let known = places.get_or_insert_mut(id, Places::default);
            let place = Some((no, offset));
            if let Some(free) = known.iter().position(Option::is_none)
                && !known.contains(&place)
            {
                known[free] = place;
            }
        }
    }

    fn forget_place(&self, id: &ChunkId, place: Place) {
        let mut places = self.places.lock();
        let Some(known) = places.peek_mut(id) else { return };
        *known = match *known {
            [first, second] if first == Some(place) => [second, None],
            [first, second] if second == Some(place) => [first, None],
            other => other,
        };
        if known[0].is_none() {
            places.pop(id);
        }
    }

    /// A content is gone.
    pub(super) fn forget(&self, no: ContentNo, base: &BaseVersion) {
        chunks_of(base).for_each(|(id, offset)| self.forget_place(&id, (no, offset)));
    }
}

impl Shared {
    /// A chunk's bytes, from another content than `own`.
    fn found(self: &Arc<Self>, own: Place, entry: &ManifestEntry) -> Option<Bytes> {
        let is_it = |bytes: &[u8]| bytes.len() as u64 == entry.length && chunk_id(&self.key, bytes) == entry.id;
        if let Some(bytes) = self.sources.given.lock().get(&entry.id).cloned() {
            return Some(bytes).filter(|bytes| is_it(bytes));
        }
        let elsewhere = self.sources.get(&entry.id).into_iter().flatten().filter(|place| *place != own);
        for place in elsewhere {
            let bytes = self.get(place.0).ok().and_then(|content| content.peek(place.1..place.1 + entry.length));
            if let Some(bytes) = bytes.filter(|bytes| is_it(bytes)) {
                return Some(bytes);
            }
            self.sources.forget_place(&entry.id, place);
        }
        None
    }
}

impl LocalContent {
    /// Says that these chunks are in it, at least in part.
    pub fn note_chunks<'a>(&self, chunks: impl IntoIterator<Item = &'a LocatedChunk>) {
        self.shared.sources.note_at(chunks.into_iter().map(|chunk| (chunk.entry.id, (self.no, chunk.offset))));
    }

    /// Says that it has what its version is made of: others may copy that.
    pub fn note_as_source(&self) {
        if let Some(base) = self.base() {
            self.shared.sources.note(self.no, &base);
        }
    }

    /// Says what it replaces, whose manifest must be looked into first.
    pub fn set_former(&self, former: Former) {
        let is_deep = former.base.content.manifest.level > 0;
        self.state.write().former = Some(former).filter(|_| is_deep);
    }

    /// What it replaces, until [`Self::forget_former`].
    pub fn former(&self) -> Option<Former> {
        self.state.read().former.clone()
    }

    /// Says that the chunks of what it replaces were noted.
    pub fn forget_former(&self) {
        self.state.write().former = None;
    }

    /// Whether a chunk of its version may lie elsewhere on the local disk.
    pub fn has_source(&self, chunk: &LocatedChunk) -> bool {
        let id = &chunk.entry.id;
        let elsewhere = |place: Place| place != (self.no, chunk.offset);
        self.shared.sources.get(id).into_iter().flatten().any(elsewhere)
            || self.shared.sources.given.lock().contains(id)
    }

    /// Copies a chunk of `version` from where else it lies. Reads and writes the disk.
    ///
    /// # Errors
    /// The disk's or the database's, about this content; of the other one they count as `Missing`.
    pub fn copy_chunk(&self, version: VersionId, chunk: &LocatedChunk, is_guess: bool) -> io::Result<Copied> {
        let Some(bytes) = self.shared.found((self.no, chunk.offset), &chunk.entry) else { return Ok(Copied::Missing) };
        let filled = self.fill_as(version, chunk.offset, &bytes, is_guess)?;
        if filled == Filled::Done {
            self.note_chunks([chunk]);
        }
        Ok(if filled == Filled::Full { Copied::Full(bytes) } else { Copied::Done })
    }

    /// Bytes as they lie there, unverified, if all are; whoever asks does not use them as a program does.
    fn peek(&self, range: Range<u64>) -> Option<Bytes> {
        let state: &State = &self.state.read();
        let is_there = !state.is_removed && !matches!(state.body, Body::Nothing) && state.present.covers(range.clone());
        if !is_there || range.end > state.size_bytes {
            return None;
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.read_present(state, &mut bytes, range.start).ok()?;
        Some(bytes.into())
    }
}

impl Contents {
    /// Keeps a chunk that was made here and that a version will soon be made of. A few, in memory.
    pub fn give_chunk(&self, id: ChunkId, bytes: Bytes) {
        self.shared.sources.given.lock().put(id, bytes);
    }
}
