//! Owns the way from a range of a file to the chunks that hold it, as far as the nodes at hand lead.

use super::node::decode_node;
use super::{Manifest, ManifestEntry, ManifestError, check_length};
use crate::ids::ChunkId;
use std::ops::Range;

/// A chunk and where in the file it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocatedChunk {
    /// The file's offset of the chunk's first byte.
    pub offset: u64,
    /// The chunk.
    pub entry: ManifestEntry,
}

impl LocatedChunk {
    /// The chunk's bytes in the file.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.entry.length)
    }
}

/// What a range of a file consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The chunks that hold the range, in file order; all of them if nothing is missing.
    pub chunks: Vec<LocatedChunk>,
    /// Nodes that are needed to find the others, in file order. Their children may be needed next.
    pub missing: Vec<ChunkId>,
}

/// Finds the chunks that hold the bytes `range` of a file, clipped to its end. `lookup` gives the
/// verified plaintext of a node, or `None` if it is not at hand; when some are missing, fetch them
/// and ask again.
///
/// # Errors
/// Fails on a manifest or node that cannot be, among them a node that does not stand for what its
/// parent says. What is not below the range is not looked at.
pub fn resolve<B: AsRef<[u8]>>(
    manifest: &Manifest,
    range: Range<u64>,
    mut lookup: impl FnMut(&ChunkId) -> Option<B>,
) -> Result<Resolved, ManifestError> {
    manifest.check(manifest.length().unwrap_or(u64::MAX))?;
    let mut resolved = Resolved::default();
    walk(manifest.level, &manifest.entries, 0, &range, &mut lookup, &mut resolved)?;
    Ok(resolved)
}

/// Visits the entries that meet the range. Each step down has a lower level, so this ends.
fn walk<B: AsRef<[u8]>>(
    level: u8,
    entries: &[ManifestEntry],
    mut offset: u64,
    range: &Range<u64>,
    lookup: &mut impl FnMut(&ChunkId) -> Option<B>,
    resolved: &mut Resolved,
) -> Result<(), ManifestError> {
    for &entry in entries {
        let located = LocatedChunk { offset, entry };
        offset = located.range().end;
        if offset <= range.start || located.offset >= range.end || range.is_empty() {
            continue;
        }
        let Some(below) = level.checked_sub(1) else {
            resolved.chunks.push(located);
            continue;
        };
        match lookup(&entry.id) {
            None => resolved.missing.push(entry.id),
            Some(bytes) => {
                let children = children_of(&entry, below, bytes.as_ref())?;
                walk(below, &children, located.offset, range, lookup, resolved)?;
            }
        }
    }
    Ok(())
}

/// Decodes the node that `parent` names and checks that it is what the parent says.
pub(super) fn children_of(
    parent: &ManifestEntry,
    level: u8,
    bytes: &[u8],
) -> Result<Vec<ManifestEntry>, ManifestError> {
    let node = decode_node(bytes)?;
    if node.level != level {
        return Err(ManifestError::Level(node.level));
    }
    check_length(&node.entries, parent.length)?;
    Ok(node.entries)
}
