//! Owns which chunks of an old content are chunks of the new one too, so that an edit of a huge file
//! reads, hashes and sends only what changed.
//!
//! Never reads: the caller is told which bytes of the new content decide, and offers them.

use super::{LocatedChunk, ManifestEntry};
use crate::chunk::ContentKey;
use crate::chunk::cut::{WINDOW_STEP_BYTES, try_cut};
use crate::limits::CHUNK_BYTES_MAX;
use std::ops::Range;

/// What comes next in the new content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecutStep {
    /// An old chunk, unchanged, as the manifest had it.
    Keep(ManifestEntry),
    /// These bytes of the new content must be offered with [`Recut::offer`].
    Read(Range<u64>),
    /// The new content is complete.
    Done,
}

/// Finds the chunks of an edited content in order: the same that cutting all of it would find.
///
/// Call [`step`](Self::step) until it is done; answer each `Read` with [`offer`](Self::offer), which
/// says how long the new chunk at the window's start is, or wants a longer window.
pub struct Recut<'a> {
    key: ContentKey,
    old: &'a [LocatedChunk],
    old_size: u64,
    dirty: &'a [Range<u64>],
    new_size: u64,
    offset: u64,
    window: u64,
}

impl<'a> Recut<'a> {
    /// Starts at the content's beginning.
    ///
    /// `old` are all chunks of the old content, which has `old_size` bytes; `dirty` are the ranges in
    /// which the new content may differ from it, ordered and apart. Bytes beyond the old size need
    /// not be in them.
    pub fn new(
        key: &ContentKey,
        old: &'a [LocatedChunk],
        old_size: u64,
        dirty: &'a [Range<u64>],
        new_size: u64,
    ) -> Self {
        Self { key: key.clone(), old, old_size, dirty, new_size, offset: 0, window: 0 }
    }

    /// Where in the new content the next chunk starts.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Says what comes next. A kept chunk is passed over by this; a `Read` is repeated until its bytes
    /// are offered.
    pub fn step(&mut self) -> RecutStep {
        if self.offset >= self.new_size {
            return RecutStep::Done;
        }
        if self.window == 0 {
            if let Some(kept) = self.kept_chunk() {
                self.offset = kept.range().end;
                return RecutStep::Keep(kept.entry);
            }
            self.window = self.clip(WINDOW_STEP_BYTES as u64);
        }
        RecutStep::Read(self.offset..self.offset + self.window)
    }

    /// Takes the bytes that the last `Read` named. `Some` is the length of the chunk at their start,
    /// which has then been passed over; with `None` the next `Read` names more.
    pub fn offer(&mut self, bytes: &[u8]) -> Option<usize> {
        let at_end = self.offset + bytes.len() as u64 >= self.new_size;
        match try_cut(&self.key, bytes, at_end) {
            Some(length) => {
                self.offset += length as u64;
                self.window = 0;
                Some(length)
            }
            None => {
                self.window = self.clip(self.window + WINDOW_STEP_BYTES as u64);
                None
            }
        }
    }

    fn clip(&self, window: u64) -> u64 {
        window.min(CHUNK_BYTES_MAX as u64).min(self.new_size - self.offset)
    }

    /// The old chunk that starts here, if nothing that decided its end has changed.
    fn kept_chunk(&self) -> Option<LocatedChunk> {
        let index = self.old.binary_search_by_key(&self.offset, |chunk| chunk.offset).ok()?;
        let chunk = self.old[index];
        let end = chunk.range().end;
        let decided_by = match end {
            // Its length alone ended it.
            _ if chunk.entry.length == CHUNK_BYTES_MAX as u64 => end,
            // The end of the file ended it, or does now.
            _ if end == self.new_size => end,
            _ if end == self.old_size => return None,
            // The first byte behind it ended it. Cutting looks at bytes in pairs, and an odd last
            // one is never looked at: one byte more must be there.
            _ => end + 1,
        };
        let has_bytes = end == decided_by || self.new_size > decided_by;
        let is_clean = end <= self.new_size && has_bytes && !self.is_dirty(chunk.offset..decided_by);
        is_clean.then_some(chunk)
    }

    fn is_dirty(&self, range: Range<u64>) -> bool {
        let first = self.dirty.partition_point(|dirty| dirty.end <= range.start);
        self.dirty.get(first).is_some_and(|dirty| dirty.start < range.end)
    }
}

#[cfg(test)]
mod tests;
