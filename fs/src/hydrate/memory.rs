//! Owns the bounded memory that carries bytes for which the disk has no room.

use crate::content::{LocalContent, Read};
use crate::meta::rows::ContentNo;
use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use std::io;
use std::ops::Range;
use tarn_proto::ids::VersionId;

/// Frames by content and version, and by where in the file they start.
#[derive(Debug)]
pub(super) struct Memory {
    bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    frames: LruCache<(ContentNo, VersionId), Vec<(u64, Bytes)>>,
    bytes: usize,
}

impl Memory {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Mutex::new(Held { frames: LruCache::unbounded(), bytes: 0 }) }
    }

    /// Keeps a frame until it is pushed out by later ones.
    pub(super) fn put(&self, no: ContentNo, version: VersionId, offset: u64, frame: Bytes) {
        let mut held = self.held.lock();
        let held = &mut *held;
        held.bytes += frame.len();
        let frames = held.frames.get_or_insert_mut((no, version), Vec::new);
        if let Some(index) = frames.iter().position(|(start, _)| *start == offset) {
            held.bytes -= frames.remove(index).1.len();
        }
        frames.push((offset, frame));
        while held.bytes > self.bytes_max && held.drop_oldest() {}
    }

    /// The parts of a range that are not held.
    pub(super) fn gaps(&self, no: ContentNo, version: VersionId, range: Range<u64>) -> Vec<Range<u64>> {
        let mut missing = crate::meta::ranges::RangeSet::of(range);
        if let Some(frames) = self.held.lock().frames.peek(&(no, version)) {
            frames.iter().for_each(|(start, bytes)| missing.remove(*start..*start + bytes.len() as u64));
        }
        missing.iter().collect()
    }

    /// Copies a range that is held; whether all of it is.
    fn copy(&self, no: ContentNo, version: VersionId, range: &Range<u64>, out: &mut [u8]) -> bool {
        if !self.gaps(no, version, range.clone()).is_empty() {
            return false;
        }
        let mut held = self.held.lock();
        let Some(frames) = held.frames.get(&(no, version)) else { return range.is_empty() };
        let mut copied = 0;
        for (start, bytes) in frames {
            let (from, to) = (range.start.max(*start), range.end.min(start + bytes.len() as u64));
            if from < to {
                out[(from - range.start) as usize..(to - range.start) as usize]
                    .copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
                copied += to - from;
            }
        }
        copied == range.end - range.start
    }

    /// Reads a content with the help of what is held here.
    pub(super) fn read_through(&self, content: &LocalContent, offset: u64, len: usize) -> io::Result<Read> {
        let gaps = match content.read(offset, len)? {
            Read::Missing(gaps) => gaps,
            bytes => return Ok(bytes),
        };
        let Some(base) = content.base() else { return Ok(Read::Missing(gaps)) };
        let end = content.size_bytes().min(offset.saturating_add(len as u64));
        let mut out = vec![0; end.saturating_sub(offset) as usize];
        let mut at = offset;
        for gap in gaps.iter().cloned().chain(std::iter::once(end..end)) {
            let slice = &mut out[(at - offset) as usize..(gap.start - offset) as usize];
            match content.read(at, slice.len())? {
                Read::Bytes(bytes) if bytes.len() == slice.len() => slice.copy_from_slice(&bytes),
                _ => return Ok(Read::Missing(gaps)),
            }
            let slice = &mut out[(gap.start - offset) as usize..(gap.end - offset) as usize];
            if !self.copy(content.no(), base.content.version, &gap, slice) {
                return Ok(Read::Missing(gaps));
            }
            at = gap.end;
        }
        // A write to a gap, or another version, would have changed what belongs there.
        let is_same = content.missing(offset..end) == gaps && content.base().as_ref() == Some(&base);
        Ok(if is_same { Read::Bytes(out.into()) } else { Read::Missing(gaps) })
    }
}

impl Held {
    /// Drops the frame that came first of the content that was used longest ago.
    fn drop_oldest(&mut self) -> bool {
        let Some((key, mut frames)) = self.frames.pop_lru() else { return false };
        if !frames.is_empty() {
            self.bytes -= frames.remove(0).1.len();
        }
        if !frames.is_empty() {
            self.frames.put(key, frames);
            self.frames.demote(&key);
        }
        true
    }
}
