//! Owns how a list of chunks becomes a manifest tree, so that an edit changes few nodes.
//!
//! A node ends after an entry whose id says so, which depends on no other entry but through the
//! minimum and maximum: after an edit the same boundaries come back soon. Before the average length
//! fewer ids end a node than after it, which keeps lengths together and forced ends rare.

use super::node::{encode_node, node_id};
use super::{Manifest, ManifestEntry, ManifestError, check_length};
use crate::ids::ChunkId;
use crate::limits::{FILE_BYTES_MAX, MANIFEST_ENTRIES_MAX};

/// Fewest entries of a node that is not the last of its level.
const ENTRIES_MIN: usize = 32;
/// From this many entries on more ids end a node.
const ENTRIES_AVG: usize = 128;
/// One id in 128 ends a node below the average, one in 32 above it.
const STRICT_MASK: u32 = 128 - 1;
const LOOSE_MASK: u32 = 32 - 1;

/// A node below the root, ready to be stored as a chunk of kind manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeBytes {
    /// Its name.
    pub id: ChunkId,
    /// Its encoding: the chunk's plaintext.
    pub bytes: Vec<u8>,
    /// Levels of nodes below it.
    pub level: u8,
}

/// A manifest and the nodes below its root, lower levels first. Equal nodes may come twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The root, for the version.
    pub manifest: Manifest,
    /// The nodes, to be stored before the version is pushed.
    pub nodes: Vec<NodeBytes>,
}

/// Builds the manifest of a file from its chunks in order. The same chunks give the same tree.
///
/// # Errors
/// Fails on chunks that no file has: an impossible length, or together more than a file may have.
pub fn build(chunks: Vec<ManifestEntry>) -> Result<Built, ManifestError> {
    let size = super::length_of(&chunks).unwrap_or(u64::MAX);
    if size > FILE_BYTES_MAX {
        return Err(ManifestError::TooLarge(size));
    }
    let mut manifest = Manifest { level: 0, entries: chunks };
    let mut nodes = Vec::new();
    while manifest.entries.len() > MANIFEST_ENTRIES_MAX {
        manifest = raise(&manifest, &mut nodes)?;
    }
    manifest.check(size)?;
    Ok(Built { manifest, nodes })
}

/// Packs the entries of one level into nodes and returns the level above.
fn raise(below: &Manifest, nodes: &mut Vec<NodeBytes>) -> Result<Manifest, ManifestError> {
    let mut entries = Vec::new();
    let mut rest = below.entries.as_slice();
    while !rest.is_empty() {
        let (group, after) = rest.split_at(node_end(rest));
        rest = after;
        let bytes = encode_node(below.level, group)?;
        let entry = ManifestEntry {
            id: node_id(&bytes),
            length: super::length_of(group).unwrap_or(u64::MAX),
            stored: group.iter().fold(0, |sum, entry| sum.saturating_add(entry.stored)),
        };
        check_length(group, entry.length)?;
        nodes.push(NodeBytes { id: entry.id, bytes, level: below.level });
        entries.push(entry);
    }
    Ok(Manifest { level: below.level + 1, entries })
}

/// How many of these entries the next node takes.
fn node_end(entries: &[ManifestEntry]) -> usize {
    let window = &entries[..entries.len().min(MANIFEST_ENTRIES_MAX)];
    let ends = |&(index, entry): &(usize, &ManifestEntry)| {
        let [a, b, c, d, ..] = entry.id.0;
        let mask = if index < ENTRIES_AVG { STRICT_MASK } else { LOOSE_MASK };
        u32::from_le_bytes([a, b, c, d]) & mask == 0
    };
    window.iter().enumerate().skip(ENTRIES_MIN - 1).find(ends).map_or(window.len(), |(index, _)| index + 1)
}
