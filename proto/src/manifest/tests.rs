//! Tests of manifests: limits, canonical bytes, locality of edits, ranges.
#![allow(clippy::unwrap_used)]

use super::*;

fn entry(number: u64) -> ManifestEntry {
    ManifestEntry { id: node_id(&number.to_le_bytes()), length: 1 + number % 1_000, stored: number % 700 }
}

#[test]
fn small_manifest_is_its_root_alone() {
    let built = build((0..256).map(entry).collect()).unwrap();
    assert_eq!((built.manifest.level, built.manifest.entries.len(), built.nodes.len()), (0, 256, 0));
}
