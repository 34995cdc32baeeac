//! Owns every bound that both sides must agree on. Sizes in bytes unless the name says otherwise.

/// Longest name on the wire (it may be sealed one day); a mount allows 255.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Longest byte string inside a message (an xattr value).
pub const BYTE_STRING_BYTES_MAX: usize = 64 << 10;
/// All extended attributes of one node together.
pub const XATTRS_BYTES_MAX: usize = 64 << 10;
/// Longest symlink target (PATH_MAX).
pub const SYMLINK_BYTES_MAX: usize = 4_095;
/// Deepest folder the server accepts a node in.
pub const DEPTH_MAX: usize = 4_096;
/// Chunk sizes: FastCDC's minimum; also the size up to which a file is one chunk.
pub const CHUNK_BYTES_MIN: usize = 256 << 10;
/// Chunk sizes: FastCDC's average.
pub const CHUNK_BYTES_AVG: usize = 1 << 20;
/// Chunk sizes: FastCDC's maximum.
pub const CHUNK_BYTES_MAX: usize = 4 << 20;
/// Plaintext of one frame.
pub const FRAME_BYTES: usize = 64 << 10;
/// Entries of one manifest node.
pub const MANIFEST_ENTRIES_MAX: usize = 256;
/// Levels of a manifest tree above its chunks.
pub const MANIFEST_LEVEL_MAX: u8 = 6;
/// Largest file.
pub const FILE_BYTES_MAX: u64 = 1 << 50;
/// Operations in one push.
pub const PUSH_OPS_MAX: usize = 1_024;
/// Rows in one call that brings back what a lost history had.
pub const RECOVER_ROWS_MAX: usize = 2_000;
/// Body of one push, or of one such call.
pub const PUSH_BODY_BYTES_MAX: usize = 8 << 20;
/// Body of one chunk upload; stored as one pack.
pub const UPLOAD_BODY_BYTES_MAX: usize = 32 << 20;
/// Ids in one `missing` call, chunks in one upload.
pub const CHUNKS_PER_CALL_MAX: usize = 16_384;
/// Ranges in one `fetch` call.
pub const FETCH_RANGES_MAX: usize = 4_096;
/// Plaintext that one `fetch` call may ask for.
pub const FETCH_BYTES_MAX: u64 = 64 << 20;
/// Rows in one page of a pull or a listing.
pub const PAGE_ROWS_MAX: usize = 5_000;
/// Body of any other call.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Devices in one version vector.
pub const VECTOR_DEVICES_MAX: usize = 1_024;
/// User and device names, in characters.
pub const LABEL_CHARS_MAX: usize = 64;
/// Hours for which `missing` protects what it asked about from garbage collection.
pub const LEASE_HOURS: u64 = 24;
