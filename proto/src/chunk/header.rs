//! Owns the header of a chunk's stored form: what says where its frames are and what they hash to.
//!
//! All numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, [`VERSION`] |
//! | 1 | codec: 0 plain frames, 1 sealed frames (reserved) |
//! | 4 | plaintext length of the chunk |
//! | 4 or 36 per frame | stored length, top bit set if the frame is raw and not zstd; then, only if the chunk has more than one frame, the frame's BLAKE3 subtree value |
//!
//! The frames follow in order, nothing between or after them. A raw frame is as long as its plaintext
//! and a compressed one shorter, so a stored form is at most [`CHUNK_STORED_BYTES_MAX`] long.

use super::ChunkError;
use super::hash::merge_values;
use super::key::ContentKey;
use crate::ids::ChunkId;
use crate::limits::{CHUNK_BYTES_MAX, FRAME_BYTES};
use blake3::hazmat::ChainingValue;
use std::ops::Range;

/// First byte of the stored form.
pub const VERSION: u8 = 0xc1;
/// Codec of ordinary spaces: each frame zstd or raw.
pub const CODEC_PLAIN: u8 = 0;
/// Codec of sealed spaces: each frame an AEAD. Reserved; refused until it exists.
pub const CODEC_SEALED: u8 = 1;
/// Bytes that tell how long a header is ([`Header::len_from_prefix`]).
pub const PREFIX_BYTES: usize = 6;
/// Longest header.
pub const HEADER_BYTES_MAX: usize = PREFIX_BYTES + CHUNK_BYTES_MAX / FRAME_BYTES * (4 + 32);
/// Longest stored form.
pub const CHUNK_STORED_BYTES_MAX: usize = HEADER_BYTES_MAX + CHUNK_BYTES_MAX;

const RAW_BIT: u32 = 1 << 31;

/// A header that is well formed. Only [`Header::verify`] ties it to a chunk id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    plain_len: u32,
    /// Where each frame ends, counted from the header's end; and whether it is raw.
    ends: Vec<(u32, bool)>,
    /// One per frame if there is more than one, else none.
    values: Vec<ChainingValue>,
}

/// Number of frames of a chunk of `plain_len` bytes.
pub fn frames_in(plain_len: u32) -> u32 {
    plain_len.div_ceil(FRAME_BYTES as u32)
}

/// Length of the header of a chunk of `plain_len` bytes.
fn header_len(plain_len: u32) -> usize {
    let frame_count = frames_in(plain_len) as usize;
    PREFIX_BYTES + frame_count * if frame_count > 1 { 36 } else { 4 }
}

/// Plaintext length of frame `index` of a chunk of `plain_len` bytes; 0 past the end.
fn frame_len(plain_len: u32, index: u32) -> usize {
    let start = u64::from(index) * FRAME_BYTES as u64;
    u64::from(plain_len).saturating_sub(start).min(FRAME_BYTES as u64) as usize
}

/// Checks a prefix and returns the plaintext length that it announces.
fn parse_prefix(bytes: &[u8]) -> Result<u32, ChunkError> {
    let [version, codec, a, b, c, d, ..] = *bytes else { return Err(ChunkError::Truncated) };
    if version != VERSION {
        return Err(ChunkError::Version(version));
    }
    if codec != CODEC_PLAIN {
        return Err(ChunkError::Codec(codec));
    }
    let plain_len = u32::from_le_bytes([a, b, c, d]);
    if plain_len == 0 || plain_len > CHUNK_BYTES_MAX as u32 {
        return Err(ChunkError::PlainLength(plain_len.into()));
    }
    Ok(plain_len)
}

impl Header {
    /// Length of the header whose first [`PREFIX_BYTES`] (or more) these are.
    ///
    /// # Errors
    /// Fails on fewer bytes, and on a prefix that no header has.
    pub fn len_from_prefix(bytes: &[u8]) -> Result<usize, ChunkError> {
        parse_prefix(bytes).map(header_len)
    }

    /// Reads the header at the start of a stored form, or of what was fetched of one.
    ///
    /// # Errors
    /// Fails on anything that [`super::encode`] would not write.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChunkError> {
        let plain_len = parse_prefix(bytes)?;
        let body = bytes.get(PREFIX_BYTES..header_len(plain_len)).ok_or(ChunkError::Truncated)?;
        let frame_count = frames_in(plain_len);
        let mut header = Self { plain_len, ends: Vec::new(), values: Vec::new() };
        for (index, entry) in (0..frame_count).zip(body.chunks_exact(body.len() / frame_count as usize)) {
            header.push_entry(index, entry)?;
        }
        Ok(header)
    }

    fn push_entry(&mut self, index: u32, entry: &[u8]) -> Result<(), ChunkError> {
        let (word, value) = entry.split_first_chunk().ok_or(ChunkError::Truncated)?;
        let word = u32::from_le_bytes(*word);
        let (raw, stored) = (word & RAW_BIT != 0, word & !RAW_BIT);
        let plain = frame_len(self.plain_len, index) as u32;
        let fits = if raw { stored == plain } else { (1..plain).contains(&stored) };
        if !fits {
            return Err(ChunkError::FrameLength(index));
        }
        self.ends.push((self.frames_len() as u32 + stored, raw));
        if let Ok(value) = value.try_into() {
            self.values.push(value);
        }
        Ok(())
    }

    /// Plaintext length of the whole chunk. Proven only by decoding the last frame: compare it with
    /// the manifest's length.
    pub fn plain_len(&self) -> usize {
        self.plain_len as usize
    }

    /// Number of frames, at least 1.
    pub fn frame_count(&self) -> u32 {
        self.ends.len() as u32
    }

    /// Length of the header itself.
    pub fn header_len(&self) -> usize {
        header_len(self.plain_len)
    }

    /// Plaintext length of a frame; 0 if there is no such frame.
    pub fn frame_plain_len(&self, index: u32) -> usize {
        frame_len(self.plain_len, index)
    }

    /// Where a frame's bytes are in the stored form; `None` if there is no such frame.
    pub fn frame_stored_range(&self, index: u32) -> Option<Range<usize>> {
        self.frames_stored_range(index, 1).filter(|range| !range.is_empty())
    }

    /// Where the bytes of `count` frames from `first` on are in the stored form, clipped to the
    /// chunk's end; `None` if there is no frame `first`.
    pub fn frames_stored_range(&self, first: u32, count: u32) -> Option<Range<usize>> {
        let last = first.saturating_add(count).min(self.frame_count());
        (first < self.frame_count())
            .then(|| self.header_len() + self.frame_start(first)..self.header_len() + self.frame_start(last))
    }

    /// Length of the whole stored form.
    pub fn total_stored_len(&self) -> usize {
        self.header_len() + self.frames_len()
    }

    /// Checks that the subtree values lead to the chunk's id. For a chunk of one frame nothing can
    /// be checked before its frame is there, and this succeeds.
    ///
    /// # Errors
    /// Fails on another chunk's header.
    pub fn verify(&self, key: &ContentKey, id: ChunkId) -> Result<(), ChunkError> {
        if self.frame_count() == 1 || merge_values(key, &self.values)? == id {
            return Ok(());
        }
        Err(ChunkError::HeaderMismatch)
    }

    /// Whether a frame is stored as it is.
    pub(super) fn is_raw(&self, index: u32) -> bool {
        self.ends.get(index as usize).is_some_and(|&(_, raw)| raw)
    }

    /// A frame's subtree value; `None` in a chunk of one frame.
    pub(super) fn frame_value(&self, index: u32) -> Option<&ChainingValue> {
        self.values.get(index as usize)
    }

    fn frames_len(&self) -> usize {
        self.frame_start(self.frame_count())
    }

    /// Where frame `index` starts, counted from the header's end.
    fn frame_start(&self, index: u32) -> usize {
        match index.checked_sub(1) {
            None => 0,
            Some(before) => self.ends.get(before as usize).map_or(0, |&(end, _)| end as usize),
        }
    }
}

/// Writes headers; the mirror of [`Header::parse`].
pub(super) struct HeaderWriter(Vec<u8>);

impl HeaderWriter {
    /// Starts a header. The length is within a chunk's bounds.
    pub(super) fn new(plain_len: u32) -> Self {
        let mut bytes = Vec::with_capacity(header_len(plain_len));
        bytes.extend([VERSION, CODEC_PLAIN]);
        bytes.extend(plain_len.to_le_bytes());
        Self(bytes)
    }

    /// Adds the next frame.
    pub(super) fn push(&mut self, stored_len: u32, raw: bool, value: Option<&ChainingValue>) {
        self.0.extend((stored_len | if raw { RAW_BIT } else { 0 }).to_le_bytes());
        self.0.extend(value.into_iter().flatten());
    }

    /// The header's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}
