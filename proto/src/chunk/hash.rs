//! Owns ids of content: chunk ids, content ids, and the subtree values that let one frame be verified.

use super::ChunkError;
use super::key::ContentKey;
use crate::ids::{ChunkId, ContentId};
use crate::limits::FRAME_BYTES;
use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// The id of a chunk: BLAKE3 of its plaintext, keyed in sealed spaces.
pub fn chunk_id(key: &ContentKey, plain: &[u8]) -> ChunkId {
    ChunkId(*chunk_hasher(key).update(plain).finalize().as_bytes())
}

/// The content id of a whole plaintext that is in memory.
pub fn content_id(key: &ContentKey, plain: &[u8]) -> ContentId {
    let mut hasher = ContentHasher::new(key);
    hasher.update(plain);
    hasher.finish()
}

/// Computes a content id piece by piece.
#[derive(Debug, Clone)]
pub struct ContentHasher(Hasher);

impl ContentHasher {
    /// Starts with no bytes.
    pub fn new(key: &ContentKey) -> Self {
        Self(Hasher::new_keyed(key.content_key()))
    }

    /// Takes the plaintext's next bytes.
    pub fn update(&mut self, plain: &[u8]) {
        self.0.update(plain);
    }

    /// The id of all bytes taken so far.
    pub fn finish(&self) -> ContentId {
        ContentId(*self.0.finalize().as_bytes())
    }
}

fn chunk_hasher(key: &ContentKey) -> Hasher {
    key.chunk_key().map_or_else(Hasher::new, Hasher::new_keyed)
}

/// The subtree value of frame `index` of a chunk that has more than one frame. A frame is a complete
/// subtree because its size is a power of two; the last one lies on the tree's right edge.
pub(super) fn frame_value(key: &ContentKey, index: u32, plain: &[u8]) -> ChainingValue {
    debug_assert!(!plain.is_empty() && plain.len() <= FRAME_BYTES, "a frame has 1 to FRAME_BYTES bytes");
    chunk_hasher(key).set_input_offset(u64::from(index) * FRAME_BYTES as u64).update(plain).finalize_non_root()
}

/// The chunk id that subtree values lead to.
///
/// # Errors
/// Fails with fewer than two values: a chunk of one frame has no subtree.
pub(super) fn merge_values(key: &ContentKey, values: &[ChainingValue]) -> Result<ChunkId, ChunkError> {
    if values.len() < 2 {
        return Err(ChunkError::HeaderMismatch);
    }
    let mode = key.chunk_key().map_or(Mode::Hash, Mode::KeyedHash);
    let (left, right) = split(values);
    let root = merge_subtrees_root(&subtree(mode, left), &subtree(mode, right), mode);
    Ok(ChunkId(*root.as_bytes()))
}

fn subtree(mode: Mode<'_>, values: &[ChainingValue]) -> ChainingValue {
    match values {
        [value] => *value,
        _ => {
            let (left, right) = split(values);
            merge_subtrees_non_root(&subtree(mode, left), &subtree(mode, right), mode)
        }
    }
}

/// BLAKE3's shape: the left subtree is the largest power of two that leaves something for the right.
fn split(values: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    values.split_at(values.len().next_power_of_two() / 2)
}
