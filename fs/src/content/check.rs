//! Owns looking at bytes that are here: clean ones against the ids of the chunks that they came as, dirty ones for
//! whether they can be read at all. Fetches and changes nothing; what is wrong is dropped by
//! [`super::Contents::drop_damaged`].

use super::local::LocalContent;
use super::state::State;
use std::ops::Range;
use std::sync::atomic::Ordering;
use tarn_proto::chunk::chunk_id;
use tarn_proto::ids::VersionId;
use tarn_proto::manifest::LocatedChunk;

/// Dirty bytes are read in pieces of this size.
const PIECE_BYTES: u64 = 1 << 20;

/// What a look at one chunk of a content found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkCheck {
    /// All of it is here, clean, and what it should be.
    Right,
    /// All of it is here and clean, but it is not what its id says, or cannot be read.
    Damaged(String),
    /// So many clean bytes of it are here, and not the rest: there is nothing to compare them with.
    Partial(u64),
    /// Nothing clean of it is here.
    Absent,
    /// The content shows another version by now.
    Moved,
}

impl State {
    /// Clean bytes that are here of a range.
    fn clean_bytes(&self, range: Range<u64>) -> u64 {
        let parts = self.present.within(range).into_iter();
        parts.flat_map(|part| self.dirty.gaps(part)).map(|part| part.end - part.start).sum()
    }
}

impl LocalContent {
    /// Compares what is here of one chunk of `version` with the chunk's id.
    pub fn check_chunk(&self, version: VersionId, chunk: &LocatedChunk) -> ChunkCheck {
        let state = self.state.read();
        if state.is_removed || state.base.as_ref().is_none_or(|base| base.content.version != version) {
            return ChunkCheck::Moved;
        }
        let clean_bytes = state.clean_bytes(chunk.range());
        // What a program may be writing unseen is not clean.
        if clean_bytes == 0 || state.exposed.is_some() {
            return ChunkCheck::Absent;
        }
        if clean_bytes < chunk.entry.length {
            return ChunkCheck::Partial(clean_bytes);
        }
        let mut bytes = vec![0; chunk.entry.length as usize];
        if let Err(error) = self.read_present(&state, &mut bytes, chunk.offset) {
            return ChunkCheck::Damaged(format!("they cannot be read ({error})"));
        }
        let found = chunk_id(&self.shared.key, &bytes);
        if found != chunk.entry.id {
            return ChunkCheck::Damaged(format!("they are chunk {found}"));
        }
        if let Some(home) = &state.home
            && state.size_bytes == chunk.entry.length
        {
            home.verified.store(true, Ordering::Release);
        }
        ChunkCheck::Right
    }

    /// What differs from the base.
    pub fn dirty_ranges(&self) -> Vec<Range<u64>> {
        self.state.read().dirty.iter().collect()
    }

    /// Reads what is dirty of a range: what cannot be read, and why.
    pub fn unreadable(&self, range: Range<u64>) -> Vec<(Range<u64>, String)> {
        let mut found = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let piece = at..range.end.min(at + PIECE_BYTES);
            at = piece.end;
            let state = self.state.read();
            for part in state.dirty.within(piece) {
                let mut bytes = vec![0; (part.end - part.start) as usize];
                if let Err(error) = self.read_present(&state, &mut bytes, part.start) {
                    found.push((part, error.to_string()));
                }
            }
        }
        found
    }
}
