//! Owns where plaintext is cut: FastCDC (2020), normalised, with the space's own gear table.
//!
//! Where a chunk ends depends only on bytes from its start on (and on whether the file ends): on its own,
//! and unless it has the maximum length on the first one behind it, which decides. So cutting that begins at any old
//! boundary finds the boundaries that cutting from the file's start would have found.

use super::key::ContentKey;
use crate::limits::{CHUNK_BYTES_AVG, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN};
use fastcdc::v2020::{Normalization, cut_gear, select_masks};
use std::io::{self, Read};

/// Length of the chunk at the start of `window`, 0 if it is empty. The window must hold
/// [`CHUNK_BYTES_MAX`] bytes or reach to the end of the file.
pub fn first_cut(key: &ContentKey, window: &[u8]) -> usize {
    let (strict, loose) = select_masks(CHUNK_BYTES_AVG, Normalization::Level2);
    let gear = key.gear();
    let (min, avg, max) = (CHUNK_BYTES_MIN, CHUNK_BYTES_AVG, CHUNK_BYTES_MAX);
    cut_gear(window, min, avg, max, strict, loose, strict << 1, loose << 1, &gear.table, &gear.shifted).1
}

/// Like [`first_cut`] with a window that may end anywhere: `None` if the bytes at hand do not decide
/// where the chunk ends. `at_end` says that the window reaches to the end of the file.
pub fn try_cut(key: &ContentKey, window: &[u8], at_end: bool) -> Option<usize> {
    let length = first_cut(key, window);
    let decided = at_end || length < window.len() || window.len() >= CHUNK_BYTES_MAX;
    (decided && length > 0).then_some(length)
}

/// Lengths of all chunks of a whole file, in order; none for an empty one.
pub fn cut(key: &ContentKey, mut data: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !data.is_empty() {
        let length = first_cut(key, data);
        lengths.push(length);
        data = &data[length..];
    }
    lengths
}

/// One chunk as a [`StreamCutter`] found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutChunk<'a> {
    /// Where in the file it starts.
    pub offset: u64,
    /// Its plaintext.
    pub bytes: &'a [u8],
}

impl CutChunk<'_> {
    /// Where in the file it ends.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// Cuts a stream chunk by chunk, reading at most [`WINDOW_STEP_BYTES`] more than the chunk needs.
///
/// The reader stands at a chunk boundary (0, or one of an old manifest) and gives everything from
/// there to the end of the file. The caller may stop after any chunk.
pub struct StreamCutter<R> {
    key: ContentKey,
    reader: R,
    offset: u64,
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
}

/// By how much a window grows while the bytes at hand do not decide where a chunk ends.
pub const WINDOW_STEP_BYTES: usize = 512 << 10;

impl<R: Read> StreamCutter<R> {
    /// Cuts what `reader` gives; its first byte is the file's byte `offset`.
    pub fn new(key: &ContentKey, reader: R, offset: u64) -> Self {
        Self { key: key.clone(), reader, offset, buffer: Vec::new(), start: 0, ended: false }
    }

    /// Where in the file the next chunk starts.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads and cuts the next chunk; `None` at the end.
    ///
    /// # Errors
    /// The reader's. The cutter then stands where it stood, and may be asked again.
    pub fn next_chunk(&mut self) -> io::Result<Option<CutChunk<'_>>> {
        let length = loop {
            match try_cut(&self.key, &self.buffer[self.start..], self.ended) {
                Some(length) => break length,
                None if self.ended => return Ok(None),
                None => self.fill()?,
            }
        };
        let (offset, start) = (self.offset, self.start);
        self.start += length;
        self.offset += length as u64;
        Ok(Some(CutChunk { offset, bytes: &self.buffer[start..self.start] }))
    }

    /// Drops the chunks that were given out and reads one step more.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let got = self.reader.by_ref().take(WINDOW_STEP_BYTES as u64).read_to_end(&mut self.buffer)?;
        self.ended = got < WINDOW_STEP_BYTES;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
