//! Owns where plaintext is cut: FastCDC (2020), normalised, with the space's own gear table.
//!
//! Where a chunk ends depends only on bytes from its start on. So cutting that begins at any old
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

/// Cuts a stream chunk by chunk, reading at most two chunks' worth ahead.
///
/// The reader stands at a chunk boundary (0, or one of an old manifest) and gives everything from
/// there to the end of the file. The caller stops when it likes: a boundary at which old and new
/// bytes are the same from there on is a boundary of both.
pub struct StreamCutter<R> {
    key: ContentKey,
    reader: R,
    offset: u64,
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
}

const BUFFER_BYTES: usize = 2 * CHUNK_BYTES_MAX;

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
        self.fill()?;
        let window = &self.buffer[self.start..];
        if window.is_empty() {
            return Ok(None);
        }
        let (offset, start) = (self.offset, self.start);
        let length = first_cut(&self.key, window);
        self.start += length;
        self.offset += length as u64;
        Ok(Some(CutChunk { offset, bytes: &self.buffer[start..start + length] }))
    }

    /// Makes the window hold a largest chunk, or everything that is left.
    fn fill(&mut self) -> io::Result<()> {
        if self.ended || self.buffer.len() - self.start >= CHUNK_BYTES_MAX {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        // Small files take small buffers: `take` grows the buffer with what there is to read.
        let wanted = BUFFER_BYTES - self.buffer.len();
        let got = self.reader.by_ref().take(wanted as u64).read_to_end(&mut self.buffer)?;
        self.ended = got < wanted;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
