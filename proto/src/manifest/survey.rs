//! Owns the whole of a manifest: every node and chunk below a root, each looked at once.

use super::resolve::children_of;
use super::{Manifest, ManifestEntry, ManifestError};
use crate::ids::ChunkId;
use std::collections::BTreeMap;

/// What a caller knows of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<B> {
    /// Its verified plaintext.
    Bytes(B),
    /// It and everything below it was surveyed before; it stands for `length` bytes of file.
    Known {
        /// The bytes of file below it.
        length: u64,
    },
    /// It is not at hand.
    Missing,
}

/// Everything below a manifest's root that is not known already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Nodes that were read, and the bytes of file below each.
    pub nodes: BTreeMap<ChunkId, u64>,
    /// Chunks, and their plaintext lengths.
    pub chunks: BTreeMap<ChunkId, u64>,
    /// Nodes that are not at hand, and what their parents say is below each.
    pub missing: BTreeMap<ChunkId, u64>,
}

/// Lists everything below a root. However often a node occurs, it is read once, so the work is
/// bounded by the nodes that exist and not by the size that a hostile root claims.
///
/// # Errors
/// Fails on a manifest or node that cannot be, as in [`super::resolve()`], and when one id is said to
/// stand for two lengths.
pub fn survey<B: AsRef<[u8]>>(
    manifest: &Manifest,
    size: u64,
    mut lookup: impl FnMut(&ChunkId) -> Lookup<B>,
) -> Result<Survey, ManifestError> {
    manifest.check(size)?;
    let mut survey = Survey::default();
    let mut level = manifest.level;
    let mut entries = manifest.entries.clone();
    while let Some(below) = level.checked_sub(1) {
        let mut children = Vec::new();
        let mut read = BTreeMap::new();
        for entry in &entries {
            children.append(&mut visit(entry, below, &mut lookup, &mut read, &mut survey.missing)?);
        }
        survey.nodes.append(&mut read);
        (level, entries) = (below, children);
    }
    for entry in &entries {
        note(&mut survey.chunks, entry)?;
    }
    Ok(survey)
}

/// Looks at one entry that names a node; returns its children the first time it is read. `read` holds
/// the nodes of this level only: on another level the same node is wrong, and must be looked at to say so.
fn visit<B: AsRef<[u8]>>(
    entry: &ManifestEntry,
    level: u8,
    lookup: &mut impl FnMut(&ChunkId) -> Lookup<B>,
    read: &mut BTreeMap<ChunkId, u64>,
    missing: &mut BTreeMap<ChunkId, u64>,
) -> Result<Vec<ManifestEntry>, ManifestError> {
    if read.contains_key(&entry.id) {
        note(read, entry)?;
        return Ok(Vec::new());
    }
    match lookup(&entry.id) {
        Lookup::Bytes(bytes) => {
            let children = children_of(entry, level, bytes.as_ref())?;
            note(read, entry)?;
            Ok(children)
        }
        Lookup::Known { length } if length == entry.length => Ok(Vec::new()),
        Lookup::Known { .. } => Err(ManifestError::TwoLengths(entry.id)),
        Lookup::Missing => note(missing, entry).map(|()| Vec::new()),
    }
}

fn note(seen: &mut BTreeMap<ChunkId, u64>, entry: &ManifestEntry) -> Result<(), ManifestError> {
    if *seen.entry(entry.id).or_insert(entry.length) == entry.length {
        return Ok(());
    }
    Err(ManifestError::TwoLengths(entry.id))
}
