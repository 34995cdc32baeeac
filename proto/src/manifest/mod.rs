//! Owns manifests: where the bytes of a content are.
//!
//! A manifest of up to 256 chunks is its root alone. A longer one is a tree whose inner nodes travel
//! and are stored as chunks of kind manifest, named by the hash of their bytes with the ordinary key:
//! they hold ids and lengths only and are never sealed. Start at [`build()`] (chunks to tree),
//! [`resolve()`] (range to chunks), [`Recut`] (old chunks and an edit to new chunks) and [`survey()`] (everything below a root).
//!
//! Never fetches anything: callers hand in the nodes they have and are told which they lack.

mod build;
mod content_id;
mod node;
mod recut;
mod resolve;
mod survey;

pub use build::{Built, NodeBytes, build};
pub use content_id::content_id;
pub use node::{ManifestNode, NODE_BYTES_MAX, decode_node, encode_node, node_id};
pub use recut::{Recut, RecutStep};
pub use resolve::{LocatedChunk, Resolved, resolve};
pub use survey::{Lookup, Survey, survey};

use crate::ids::ChunkId;
use crate::limits::{CHUNK_BYTES_MAX, FILE_BYTES_MAX, MANIFEST_ENTRIES_MAX, MANIFEST_LEVEL_MAX};
use serde::{Deserialize, Serialize};

/// One child of a manifest node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ManifestEntry {
    /// At level 0 a chunk of the file, above it the chunk that holds a manifest node's bytes.
    pub id: ChunkId,
    /// Plaintext bytes of the file that it stands for.
    pub length: u64,
    /// Bytes in stored form of the file's chunks below it, as their author knew them; for progress, decides nothing.
    pub stored: u64,
}

/// A manifest's root node, carried by the version itself. Level 0 lists the file's chunks in order;
/// level n lists nodes of level n - 1. An empty file has level 0 and no entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Manifest {
    /// Levels of nodes below this one.
    pub level: u8,
    /// The children, in file order.
    pub entries: Vec<ManifestEntry>,
}

/// The error of a manifest that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The lengths do not add up to the size, or overflow.
    #[error("the manifest's lengths add up to {actual:?}, not {expected}")]
    Length {
        /// What was said.
        expected: u64,
        /// What they add up to.
        actual: Option<u64>,
    },
    /// The file is larger than a file may be.
    #[error("a file cannot have {0} bytes")]
    TooLarge(u64),
    /// The tree is deeper than a tree may be.
    #[error("a manifest cannot have level {0}")]
    Level(u8),
    /// A node has more entries than a node may have, or none although something is below it.
    #[error("a manifest node of level {level} cannot have {count} entries")]
    EntryCount {
        /// The node's level.
        level: u8,
        /// Its entries.
        count: usize,
    },
    /// An entry stands for no bytes, or for more than a chunk may have.
    #[error("entry {index} of a manifest node of level {level} cannot stand for {length} bytes")]
    EntryLength {
        /// The node's level.
        level: u8,
        /// Which entry.
        index: usize,
        /// Its length.
        length: u64,
    },
    /// A node's bytes are not what [`encode_node`] writes.
    #[error("the bytes of manifest node {0} are malformed")]
    Malformed(ChunkId),
    /// One id stands for two lengths.
    #[error("{0} stands for two lengths")]
    TwoLengths(ChunkId),
}

impl Manifest {
    /// Sum of the entries' lengths, `None` on overflow.
    pub fn length(&self) -> Option<u64> {
        length_of(&self.entries)
    }

    /// Checks everything that can be checked without the nodes below: that the lengths add up to
    /// `size`, and that level, number of entries and their lengths are within bounds.
    ///
    /// # Errors
    /// Says which rule the manifest breaks.
    pub fn check(&self, size: u64) -> Result<(), ManifestError> {
        if size > FILE_BYTES_MAX {
            return Err(ManifestError::TooLarge(size));
        }
        check_entries(self.level, &self.entries)?;
        check_length(&self.entries, size)
    }
}

fn length_of(entries: &[ManifestEntry]) -> Option<u64> {
    entries.iter().try_fold(0u64, |sum, entry| sum.checked_add(entry.length))
}

fn check_length(entries: &[ManifestEntry], expected: u64) -> Result<(), ManifestError> {
    let actual = length_of(entries);
    if actual == Some(expected) { Ok(()) } else { Err(ManifestError::Length { expected, actual }) }
}

/// Checks one node by itself. Only the empty file's root has no entries.
fn check_entries(level: u8, entries: &[ManifestEntry]) -> Result<(), ManifestError> {
    if level > MANIFEST_LEVEL_MAX {
        return Err(ManifestError::Level(level));
    }
    if entries.len() > MANIFEST_ENTRIES_MAX || (level > 0 && entries.is_empty()) {
        return Err(ManifestError::EntryCount { level, count: entries.len() });
    }
    let length_max = if level == 0 { CHUNK_BYTES_MAX as u64 } else { FILE_BYTES_MAX };
    match entries.iter().position(|entry| entry.length == 0 || entry.length > length_max) {
        Some(index) => Err(ManifestError::EntryLength { level, index, length: entries[index].length }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
