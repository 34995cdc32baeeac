//! Owns manifests: where the bytes of a content are.

use crate::ids::ChunkId;
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
}

impl Manifest {
    /// Sum of the entries' lengths, `None` on overflow.
    pub fn length(&self) -> Option<u64> {
        self.entries.iter().try_fold(0u64, |sum, entry| sum.checked_add(entry.length))
    }
}
