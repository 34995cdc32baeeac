//! Owns a chunk's stored form: independent frames of 64 KiB, each zstd or raw, behind a header.
//!
//! Nothing leaves a decoder that was not verified against the chunk's id. Stored bytes are hostile:
//! memory is bounded by the plaintext lengths that a well-formed header can announce.

use super::ChunkError;
use super::hash::{chunk_id, frame_value};
use super::header::{CODEC_SEALED, Header, HeaderWriter};
use super::key::ContentKey;
use crate::ids::ChunkId;
use crate::limits::{CHUNK_BYTES_MAX, FRAME_BYTES};
use std::borrow::Cow;
use std::sync::Mutex;
use zstd::bulk::{Compressor, Decompressor};

/// Chunks of fewer frames are compressed without being probed first.
const PROBE_FRAMES_MIN: usize = 4;
/// Bytes of each probe.
const PROBE_BYTES: usize = 8 << 10;
/// Level of probes: zstd's cheapest.
const PROBE_LEVEL: i32 = 1;

/// Makes the stored form of a chunk. Frames that zstd at `level` shrinks by less than a twentieth
/// stay raw, and chunks whose probes do not shrink are not tried at all.
///
/// # Errors
/// Fails on an empty or too long chunk, and for sealed spaces, whose codec does not exist yet:
/// their plaintext must not be stored readable.
pub fn encode(key: &ContentKey, plain: &[u8], level: i32) -> Result<Vec<u8>, ChunkError> {
    if key.is_sealed() {
        return Err(ChunkError::Codec(CODEC_SEALED));
    }
    encode_plain(key, plain, level)
}

/// Makes the stored form with plain frames, whatever the key.
pub(super) fn encode_plain(key: &ContentKey, plain: &[u8], level: i32) -> Result<Vec<u8>, ChunkError> {
    if plain.is_empty() || plain.len() > CHUNK_BYTES_MAX {
        return Err(ChunkError::PlainLength(plain.len() as u64));
    }
    let mut compressor = if is_worth_compressing(plain) { compressor(level) } else { None };
    let mut header = HeaderWriter::new(plain.len() as u32);
    let mut frames = Vec::new();
    for (index, frame) in (0..).zip(plain.chunks(FRAME_BYTES)) {
        let value = (plain.len() > FRAME_BYTES).then(|| frame_value(key, index, frame));
        let packed = compressor.as_mut().and_then(|compressor| shrink(compressor, frame));
        let stored = packed.as_deref().unwrap_or(frame);
        header.push(stored.len() as u32, packed.is_none(), value.as_ref());
        frames.extend_from_slice(stored);
    }
    give_back(compressor);
    let mut stored = header.finish();
    stored.append(&mut frames);
    Ok(stored)
}

/// Whether a few samples of a chunk suggest that it shrinks.
fn is_worth_compressing(plain: &[u8]) -> bool {
    if plain.len() < PROBE_FRAMES_MIN * FRAME_BYTES {
        return true;
    }
    let Some(mut compressor) = compressor(PROBE_LEVEL) else { return false };
    let last = plain.len() - PROBE_BYTES;
    let is_worth_it = [0, last / 3, last / 3 * 2, last]
        .into_iter()
        .any(|start| shrink(&mut compressor, &plain[start..start + PROBE_BYTES]).is_some());
    give_back(Some(compressor));
    is_worth_it
}

/// Compressors that nobody uses now: making one costs more than a small file takes.
static IDLE: Mutex<Vec<Compressor<'static>>> = Mutex::new(Vec::new());
/// Most of them that are kept.
const IDLE_MAX: usize = 4;

/// A compressor of this level, an idle one if there is.
fn compressor(level: i32) -> Option<Compressor<'static>> {
    let idle = IDLE.lock().ok().and_then(|mut idle| idle.pop());
    match idle {
        Some(mut compressor) => compressor.set_compression_level(level).ok().map(|()| compressor),
        None => Compressor::new(level).ok(),
    }
}

/// Keeps one for the next.
fn give_back(compressor: Option<Compressor<'static>>) {
    if let (Some(compressor), Ok(mut idle)) = (compressor, IDLE.lock())
        && idle.len() < IDLE_MAX
    {
        idle.push(compressor);
    }
}

/// The compressed form, if it saves at least a twentieth.
fn shrink(compressor: &mut Compressor<'_>, plain: &[u8]) -> Option<Vec<u8>> {
    // A failure to compress costs space, never bytes.
    compressor.compress(plain).ok().filter(|packed| packed.len() <= plain.len() - plain.len().div_ceil(20))
}

/// Restores and verifies a whole chunk from its stored form.
///
/// # Errors
/// Fails on anything but exactly the stored form of the chunk `id`.
pub fn decode(key: &ContentKey, id: ChunkId, stored: &[u8]) -> Result<Vec<u8>, ChunkError> {
    let header = Header::parse(stored)?;
    decode_frames(key, id, &header, 0, header.frame_count(), &stored[header.header_len()..])
}

/// Restores and verifies one frame from its stored bytes.
///
/// # Errors
/// Fails on anything but exactly that frame of the chunk `id`.
pub fn decode_frame(
    key: &ContentKey,
    id: ChunkId,
    header: &Header,
    index: u32,
    stored: &[u8],
) -> Result<Vec<u8>, ChunkError> {
    decode_frames(key, id, header, index, 1, stored)
}

/// Restores and verifies `count` frames from `first` on, which lie side by side in `stored`.
///
/// # Errors
/// Fails on anything but exactly these frames of the chunk `id`.
pub fn decode_frames(
    key: &ContentKey,
    id: ChunkId,
    header: &Header,
    first: u32,
    count: u32,
    stored: &[u8],
) -> Result<Vec<u8>, ChunkError> {
    let end = first.checked_add(count).filter(|&end| end <= header.frame_count()).ok_or(ChunkError::NoFrame(first))?;
    header.verify(key, id)?;
    let mut plain = Vec::with_capacity((first..end).map(|index| header.frame_plain_len(index)).sum());
    let mut unpacker = Unpacker::default();
    let mut rest = stored;
    for index in first..end {
        let range = header.frame_stored_range(index).ok_or(ChunkError::NoFrame(index))?;
        let (frame, after) = rest.split_at_checked(range.len()).ok_or(ChunkError::Truncated)?;
        let opened = unpacker.open(header, index, frame)?;
        check_frame(key, id, header, index, &opened)?;
        plain.extend_from_slice(&opened);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(ChunkError::Trailing(rest.len()));
    }
    Ok(plain)
}

/// Compares a frame with the verified header, or with the id if it is the only one.
fn check_frame(key: &ContentKey, id: ChunkId, header: &Header, index: u32, plain: &[u8]) -> Result<(), ChunkError> {
    let belongs = match header.frame_value(index) {
        Some(value) => frame_value(key, index, plain) == *value,
        None => chunk_id(key, plain) == id,
    };
    if belongs { Ok(()) } else { Err(ChunkError::FrameMismatch(index)) }
}

/// Restores frames one after another; makes zstd's state when the first compressed one comes.
#[derive(Default)]
struct Unpacker(Option<Decompressor<'static>>);

impl Unpacker {
    /// A frame's unverified plaintext.
    fn open<'a>(&mut self, header: &Header, index: u32, stored: &'a [u8]) -> Result<Cow<'a, [u8]>, ChunkError> {
        if header.is_raw(index) {
            return Ok(Cow::Borrowed(stored));
        }
        let plain = self.unpack(header.frame_plain_len(index), stored).ok_or(ChunkError::Compression(index))?;
        Ok(Cow::Owned(plain))
    }

    /// Decompresses into exactly `plain_len` bytes: a bomb finds no room.
    fn unpack(&mut self, plain_len: usize, stored: &[u8]) -> Option<Vec<u8>> {
        let decompressor = match &mut self.0 {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::new().ok()?),
        };
        let mut plain = vec![0; plain_len];
        let written = decompressor.decompress_to_buffer(stored, &mut plain[..]).ok()?;
        (written == plain_len).then_some(plain)
    }
}

#[cfg(test)]
mod tests;
