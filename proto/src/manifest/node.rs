//! Owns the bytes of a manifest node: one encoding for each node, and no others accepted.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, [`VERSION`] |
//! | 1 | levels of nodes below this one |
//! | 2 | number of entries, little-endian, at least 1 |
//! | 48 per entry | id (32), length (8), stored (8), little-endian |

use super::{ManifestEntry, ManifestError, check_entries};
use crate::chunk::{ContentKey, chunk_id};
use crate::ids::ChunkId;
use crate::limits::MANIFEST_ENTRIES_MAX;

const VERSION: u8 = 0xd1;
const HEAD_BYTES: usize = 4;
const ENTRY_BYTES: usize = 48;

/// Longest encoding of a node.
pub const NODE_BYTES_MAX: usize = HEAD_BYTES + MANIFEST_ENTRIES_MAX * ENTRY_BYTES;

/// A node below a root, as decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestNode {
    /// Levels of nodes below this one.
    pub level: u8,
    /// The children, in file order.
    pub entries: Vec<ManifestEntry>,
}

/// The name of a node: the hash of its bytes with the ordinary key, in every space.
pub fn node_id(bytes: &[u8]) -> ChunkId {
    chunk_id(&ContentKey::Ordinary, bytes)
}

/// Encodes a node.
///
/// # Errors
/// Fails on a node that [`decode_node`] would not take.
pub fn encode_node(level: u8, entries: &[ManifestEntry]) -> Result<Vec<u8>, ManifestError> {
    check_node(level, entries)?;
    let mut bytes = Vec::with_capacity(HEAD_BYTES + entries.len() * ENTRY_BYTES);
    bytes.extend([VERSION, level]);
    bytes.extend((entries.len() as u16).to_le_bytes());
    for entry in entries {
        bytes.extend(entry.id.0);
        bytes.extend(entry.length.to_le_bytes());
        bytes.extend(entry.stored.to_le_bytes());
    }
    Ok(bytes)
}

/// Decodes a node. That its bytes hash to the id by which they were found is the caller's to have
/// checked (`chunk::decode` does).
///
/// # Errors
/// Fails on anything that [`encode_node`] would not write.
pub fn decode_node(bytes: &[u8]) -> Result<ManifestNode, ManifestError> {
    let malformed = || ManifestError::Malformed(node_id(bytes));
    let [VERSION, level, low, high, body @ ..] = bytes else { return Err(malformed()) };
    let count = usize::from(u16::from_le_bytes([*low, *high]));
    if count > MANIFEST_ENTRIES_MAX || body.len() != count * ENTRY_BYTES {
        return Err(malformed());
    }
    let entries = body.chunks_exact(ENTRY_BYTES).map(decode_entry).collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
    check_node(*level, &entries)?;
    Ok(ManifestNode { level: *level, entries })
}

fn decode_entry(bytes: &[u8]) -> Option<ManifestEntry> {
    let (id, rest) = bytes.split_first_chunk::<32>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let stored = rest.try_into().ok()?;
    Some(ManifestEntry { id: ChunkId(*id), length: u64::from_le_bytes(*length), stored: u64::from_le_bytes(stored) })
}

/// A node that stands below a root has entries, whatever its level.
fn check_node(level: u8, entries: &[ManifestEntry]) -> Result<(), ManifestError> {
    if entries.is_empty() {
        return Err(ManifestError::EntryCount { level, count: 0 });
    }
    check_entries(level, entries)
}
