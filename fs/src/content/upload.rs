//! Owns what must be uploaded of a snapshot: its chunks, cut again only where it changed.

use super::seams::SnapshotError;
use super::snapshot::Snapshot;
use crate::meta::ranges::RangeSet;
use bytes::Bytes;
use std::collections::HashSet;
use std::ops::Range;
use tarn_proto::chunk::{ContentKey, chunk_id};
use tarn_proto::ids::{ChunkId, ContentId};
use tarn_proto::manifest::{LocatedChunk, ManifestEntry, Recut, RecutStep, content_id};

/// The chunks of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPlan {
    /// All chunks in file order. `stored` of new ones is their plaintext length until they are encoded.
    pub entries: Vec<ManifestEntry>,
    /// Chunks that the base does not have, each once: read them with [`Snapshot::read_at`], encode, send.
    pub fresh: Vec<LocatedChunk>,
    /// All that the server compares.
    pub content_id: ContentId,
    /// Bytes of the content.
    pub size_bytes: u64,
}

impl Snapshot {
    /// Cuts the snapshot into chunks. `base` are all chunks of the base's manifest, none without base.
    /// Reads only what lies in or right behind changed chunks; those bytes must be local. `found` hears of each chunk
    /// that is to be sent as soon as its end is known; cut again, it hears of the same ones again.
    ///
    /// # Errors
    /// `Missing` names bytes to hydrate before asking again; `Stale` wants a new snapshot.
    pub fn plan_upload(
        &self,
        key: &ContentKey,
        base: &[LocatedChunk],
        found: &mut dyn FnMut(&LocatedChunk),
    ) -> Result<UploadPlan, SnapshotError> {
        let old_size = base.last().map_or(0, |chunk| chunk.range().end);
        let mut known: HashSet<ChunkId> = base.iter().map(|chunk| chunk.entry.id).collect();
        let mut recut = Recut::new(key, base, old_size, self.dirty(), self.size_bytes());
        let (mut entries, mut fresh) = (Vec::new(), Vec::new());
        let mut window = Window::default();
        loop {
            match recut.step() {
                RecutStep::Keep(entry) => entries.push(entry),
                RecutStep::Done => break,
                RecutStep::Read(range) => {
                    let offset = range.start;
                    let bytes = window.read(self, range)?;
                    let Some(length) = recut.offer(&bytes) else { continue };
                    let id = chunk_id(key, &bytes[..length]);
                    let entry = ManifestEntry { id, length: length as u64, stored: length as u64 };
                    entries.push(entry);
                    if known.insert(id) {
                        let chunk = LocatedChunk { offset, entry };
                        found(&chunk);
                        fresh.push(chunk);
                    }
                }
            }
        }
        self.narrow(fresh.iter().fold(RangeSet::new(), |mut set, chunk| {
            set.insert(chunk.range());
            set
        }));
        let content_id = content_id(key, &entries);
        Ok(UploadPlan { entries, fresh, content_id, size_bytes: self.size_bytes() })
    }
}

/// The bytes read last: windows grow and move on step by step.
#[derive(Debug, Default)]
struct Window {
    offset: u64,
    bytes: Bytes,
}

impl Window {
    fn read(&mut self, snapshot: &Snapshot, range: Range<u64>) -> Result<Bytes, SnapshotError> {
        let end = self.offset + self.bytes.len() as u64;
        if !(self.offset..=end).contains(&range.start) {
            (self.offset, self.bytes) = (range.start, Bytes::new());
        }
        let end = self.offset + self.bytes.len() as u64;
        let kept = self.bytes.slice((range.start - self.offset) as usize..(range.end.min(end) - self.offset) as usize);
        if range.end <= end {
            return Ok(kept);
        }
        let tail = snapshot.read_at(end.max(range.start)..range.end)?;
        let bytes: Bytes = if kept.is_empty() { tail } else { [kept, tail].concat().into() };
        (self.offset, self.bytes) = (range.start, bytes.clone());
        Ok(bytes)
    }
}

/// The ranges of two versions in which chunks with the same id lie at the same place.
pub fn unchanged_ranges(old: &[LocatedChunk], new: &[LocatedChunk]) -> Vec<Range<u64>> {
    let old: HashSet<_> = old.iter().map(|chunk| (chunk.offset, chunk.entry.id)).collect();
    let mut ranges = RangeSet::new();
    for chunk in new.iter().filter(|chunk| old.contains(&(chunk.offset, chunk.entry.id))) {
        ranges.insert(chunk.range());
    }
    ranges.iter().collect()
}
