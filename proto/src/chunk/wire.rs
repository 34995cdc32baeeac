//! Owns the bodies that carry chunks: uploads and answers to fetches. All numbers little-endian.
//!
//! | upload item | |
//! |---|---|
//! | 1 | kind: 0 data, 1 manifest node |
//! | 32 | id |
//! | 4 | stored length |
//! | … | stored form |
//!
//! | fetch item | |
//! |---|---|
//! | 32 | id |
//! | 1 | status: 0 ok, 1 unknown, 2 damaged |
//! | 4, 4 | first frame, frame count |
//! | 4, 4 | header length, frames length |
//! | …, … | header, frames |
//!
//! A body is items side by side until it ends. Decoders take pieces of any size as they arrive, hold
//! at most one item and one piece, and check lengths before they wait for bytes.

use super::ChunkError;
use super::frame::decode_frames;
use super::header::{CHUNK_STORED_BYTES_MAX, HEADER_BYTES_MAX, Header, PREFIX_BYTES};
use super::key::ContentKey;
use crate::ids::ChunkId;
use crate::limits::{CHUNK_BYTES_MAX, CHUNKS_PER_CALL_MAX, FETCH_RANGES_MAX, FRAME_BYTES, UPLOAD_BODY_BYTES_MAX};
use bytes::{Buf as _, BufMut, Bytes, BytesMut};

/// Bytes of an upload item before its stored form.
pub const UPLOAD_HEAD_BYTES: usize = 1 + 32 + 4;
/// Bytes of a fetch item before its header.
pub const FETCH_HEAD_BYTES: usize = 32 + 1 + 4 * 4;

const FRAMES_MAX: u32 = (CHUNK_BYTES_MAX / FRAME_BYTES) as u32;

/// The error of a body that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The body ends inside an item.
    #[error("the body ends inside an item")]
    Truncated,
    /// The body is longer than allowed.
    #[error("the body is longer than allowed")]
    TooLong,
    /// The body has more items than allowed.
    #[error("the body has more items than allowed")]
    TooMany,
    /// A kind or status byte that means nothing.
    #[error("unknown kind or status {0}")]
    Unknown(u8),
    /// A length that no item can have.
    #[error("an item announces an impossible length")]
    Length,
}

/// What a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChunkKind {
    /// A piece of a file.
    Data,
    /// A node of a manifest tree; never sealed.
    Manifest,
}

impl ChunkKind {
    /// The byte that stands for it.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Manifest => 1,
        }
    }

    /// What a byte stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Data),
            1 => Some(Self::Manifest),
            _ => None,
        }
    }
}

/// One chunk of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadItem {
    /// What it holds.
    pub kind: ChunkKind,
    /// Its id, unproven.
    pub id: ChunkId,
    /// Its stored form, unproven.
    pub stored: Bytes,
}

/// Appends one item to an upload body.
pub fn put_upload_item(out: &mut impl BufMut, kind: ChunkKind, id: ChunkId, stored: &[u8]) {
    out.put_slice(&upload_head(kind, id, stored.len() as u32));
    out.put_slice(stored);
}

/// What stands before the stored form of an upload item, for bodies that are streamed.
pub fn upload_head(kind: ChunkKind, id: ChunkId, stored_len: u32) -> [u8; UPLOAD_HEAD_BYTES] {
    let mut head = [0; UPLOAD_HEAD_BYTES];
    let mut out = &mut head[..];
    out.put_u8(kind.to_byte());
    out.put_slice(&id.0);
    out.put_u32_le(stored_len);
    head
}

/// Reads an upload body as it arrives.
#[derive(Debug, Default)]
pub struct UploadDecoder {
    buffer: BytesMut,
    taken_bytes: usize,
    item_count: usize,
}

impl UploadDecoder {
    /// Starts before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece of the body.
    ///
    /// # Errors
    /// Fails when the body outgrows its limit.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), WireError> {
        self.taken_bytes = self.taken_bytes.saturating_add(piece.len());
        if self.taken_bytes > UPLOAD_BODY_BYTES_MAX {
            return Err(WireError::TooLong);
        }
        self.buffer.extend_from_slice(piece);
        Ok(())
    }

    /// The next item, if it is there as a whole.
    ///
    /// # Errors
    /// Fails on what cannot become an item.
    pub fn next_item(&mut self) -> Result<Option<UploadItem>, WireError> {
        let Some(mut head) = self.buffer.get(..UPLOAD_HEAD_BYTES) else { return Ok(None) };
        if self.item_count >= CHUNKS_PER_CALL_MAX {
            return Err(WireError::TooMany);
        }
        let kind_byte = head.get_u8();
        let kind = ChunkKind::from_byte(kind_byte).ok_or(WireError::Unknown(kind_byte))?;
        let id = take_id(&mut head);
        let stored_len = head.get_u32_le() as usize;
        if !(PREFIX_BYTES..=CHUNK_STORED_BYTES_MAX).contains(&stored_len) {
            return Err(WireError::Length);
        }
        if self.buffer.len() < UPLOAD_HEAD_BYTES + stored_len {
            return Ok(None);
        }
        self.buffer.advance(UPLOAD_HEAD_BYTES);
        self.item_count += 1;
        Ok(Some(UploadItem { kind, id, stored: self.buffer.split_to(stored_len).freeze() }))
    }

    /// Checks, when the body has ended, that it ended between items.
    ///
    /// # Errors
    /// Fails when bytes are left.
    pub fn finish(&self) -> Result<(), WireError> {
        if self.buffer.is_empty() { Ok(()) } else { Err(WireError::Truncated) }
    }
}

/// What the server says about one range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchStatus {
    /// Header and frames follow.
    Ok,
    /// No space of the user reaches such a chunk.
    Unknown,
    /// The server knows the chunk but cannot read it.
    Damaged,
}

impl FetchStatus {
    fn to_byte(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Unknown => 1,
            Self::Damaged => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Ok, Self::Unknown, Self::Damaged].into_iter().find(|status| status.to_byte() == byte)
    }
}

/// The answer to one range of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchItem {
    /// Which chunk.
    pub id: ChunkId,
    /// Whether there is something.
    pub status: FetchStatus,
    /// First frame that is here.
    pub first_frame: u32,
    /// How many frames are here.
    pub frame_count: u32,
    /// The chunk's header; empty unless the status is ok.
    pub header: Bytes,
    /// The frames' stored bytes, side by side.
    pub frames: Bytes,
}

impl FetchItem {
    /// Restores and verifies the plaintext of the frames that are here.
    ///
    /// # Errors
    /// Fails on anything but exactly the announced frames of the chunk `self.id`.
    pub fn open(&self, key: &ContentKey) -> Result<(Header, Vec<u8>), ChunkError> {
        let header = Header::parse(&self.header)?;
        if self.header.len() != header.header_len() {
            return Err(ChunkError::Trailing(self.header.len() - header.header_len()));
        }
        let plain = decode_frames(key, self.id, &header, self.first_frame, self.frame_count, &self.frames)?;
        Ok((header, plain))
    }
}

/// What stands before the header of a fetch item, for bodies that are streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchHead {
    /// Which chunk.
    pub id: ChunkId,
    /// Whether there is something.
    pub status: FetchStatus,
    /// First frame that follows.
    pub first_frame: u32,
    /// How many frames follow.
    pub frame_count: u32,
    /// Length of the header that follows.
    pub header_len: u32,
    /// Length of the frames that follow it.
    pub frames_len: u32,
}

impl FetchHead {
    /// The head of a range that has no bytes to send.
    pub fn without_bytes(id: ChunkId, status: FetchStatus) -> Self {
        Self { id, status, first_frame: 0, frame_count: 0, header_len: 0, frames_len: 0 }
    }

    /// The head in bytes.
    pub fn to_bytes(self) -> [u8; FETCH_HEAD_BYTES] {
        let mut head = [0; FETCH_HEAD_BYTES];
        let mut out = &mut head[..];
        out.put_slice(&self.id.0);
        out.put_u8(self.status.to_byte());
        for number in [self.first_frame, self.frame_count, self.header_len, self.frames_len] {
            out.put_u32_le(number);
        }
        head
    }

    fn parse(mut bytes: &[u8]) -> Result<Self, WireError> {
        let id = take_id(&mut bytes);
        let status_byte = bytes.get_u8();
        let status = FetchStatus::from_byte(status_byte).ok_or(WireError::Unknown(status_byte))?;
        let [first_frame, frame_count, header_len, frames_len] = std::array::from_fn(|_| bytes.get_u32_le());
        let head = Self { id, status, first_frame, frame_count, header_len, frames_len };
        if head.is_possible() { Ok(head) } else { Err(WireError::Length) }
    }

    fn is_possible(&self) -> bool {
        if self.status != FetchStatus::Ok {
            return *self == Self::without_bytes(self.id, self.status);
        }
        self.frame_count >= 1
            && self.first_frame.checked_add(self.frame_count).is_some_and(|end| end <= FRAMES_MAX)
            && (PREFIX_BYTES..=HEADER_BYTES_MAX).contains(&(self.header_len as usize))
            && self.frames_len as usize <= self.frame_count as usize * FRAME_BYTES
    }
}

/// Appends one range's answer to a fetch body.
pub fn put_fetch_item(out: &mut impl BufMut, item: &FetchItem) {
    let head = FetchHead {
        id: item.id,
        status: item.status,
        first_frame: item.first_frame,
        frame_count: item.frame_count,
        header_len: item.header.len() as u32,
        frames_len: item.frames.len() as u32,
    };
    out.put_slice(&head.to_bytes());
    out.put_slice(&item.header);
    out.put_slice(&item.frames);
}

/// Reads the answer to a fetch as it arrives.
#[derive(Debug, Default)]
pub struct FetchDecoder {
    buffer: BytesMut,
    item_count: usize,
}

impl FetchDecoder {
    /// Starts before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next item, if it is there as a whole. Ask until there is none before the next
    /// [`push`](Self::push): that is what bounds memory.
    ///
    /// # Errors
    /// Fails on what cannot become an item.
    pub fn next_item(&mut self) -> Result<Option<FetchItem>, WireError> {
        let Some(head) = self.buffer.get(..FETCH_HEAD_BYTES) else { return Ok(None) };
        if self.item_count >= FETCH_RANGES_MAX {
            return Err(WireError::TooMany);
        }
        let head = FetchHead::parse(head)?;
        let (header_len, frames_len) = (head.header_len as usize, head.frames_len as usize);
        if self.buffer.len() < FETCH_HEAD_BYTES + header_len + frames_len {
            return Ok(None);
        }
        self.buffer.advance(FETCH_HEAD_BYTES);
        self.item_count += 1;
        Ok(Some(FetchItem {
            id: head.id,
            status: head.status,
            first_frame: head.first_frame,
            frame_count: head.frame_count,
            header: self.buffer.split_to(header_len).freeze(),
            frames: self.buffer.split_to(frames_len).freeze(),
        }))
    }

    /// Checks, when the body has ended, that it ended between items.
    ///
    /// # Errors
    /// Fails when bytes are left.
    pub fn finish(&self) -> Result<(), WireError> {
        if self.buffer.is_empty() { Ok(()) } else { Err(WireError::Truncated) }
    }
}

/// Takes an id off the front of a head, whose length was checked.
fn take_id(head: &mut &[u8]) -> ChunkId {
    let mut id = [0; ChunkId::LEN];
    head.copy_to_slice(&mut id);
    ChunkId(id)
}

#[cfg(test)]
mod tests;
