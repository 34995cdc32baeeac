//! Owns the content format: how plaintext becomes chunks, ids, stored bytes and wire bodies.
//!
//! Never touches a disk, a network or a clock. Start at [`key`] (what a space's content depends on),
//! then [`mod@cut`] (plaintext to chunks), [`hash`] (chunks to ids), [`header`] and [`frame`] (a chunk's
//! stored form) and [`wire`] (many stored chunks in one body).

pub mod cut;
pub mod frame;
pub mod hash;
pub mod header;
pub mod key;
pub mod wire;

pub use cut::{StreamCutter, cut};
pub use frame::{decode, decode_frame, decode_frames, encode};
pub use hash::{ContentHasher, chunk_id, content_id};
pub use header::Header;
pub use key::ContentKey;

/// The error of bytes that are not what they should be. None of them is cured by asking the same
/// source again for the same bytes; another copy may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A chunk has at least one byte and at most `CHUNK_BYTES_MAX`.
    #[error("a chunk cannot have {0} bytes")]
    PlainLength(u64),
    /// The first byte names no known version of the stored form.
    #[error("unknown version {0:#04x} of the stored form")]
    Version(u8),
    /// The codec is unknown, or does not fit the key.
    #[error("codec {0} is unknown or does not fit the space")]
    Codec(u8),
    /// Fewer bytes than announced.
    #[error("the stored form ends early")]
    Truncated,
    /// More bytes than announced.
    #[error("{0} bytes too many after the stored form")]
    Trailing(usize),
    /// A frame's stored length cannot be.
    #[error("frame {0} has an impossible stored length")]
    FrameLength(u32),
    /// There is no such frame.
    #[error("there is no frame {0}")]
    NoFrame(u32),
    /// A frame does not decompress to its plaintext length.
    #[error("frame {0} does not decompress")]
    Compression(u32),
    /// The header's subtree values do not lead to the chunk's id.
    #[error("the header does not belong to the chunk")]
    HeaderMismatch,
    /// A frame's plaintext is not the chunk's.
    #[error("frame {0} does not belong to the chunk")]
    FrameMismatch(u32),
}
