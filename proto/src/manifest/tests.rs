//! Tests of manifests: limits, canonical bytes, locality of edits, ranges.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn entry(number: u64) -> ManifestEntry {
    ManifestEntry { id: node_id(&number.to_le_bytes()), length: 1 + number % 1_000, stored: number % 700 }
}

fn store_of(built: &Built) -> BTreeMap<ChunkId, Vec<u8>> {
    built.nodes.iter().map(|node| (node.id, node.bytes.clone())).collect()
}

fn ids_of(built: &Built) -> BTreeSet<(u8, ChunkId)> {
    built.nodes.iter().map(|node| (node.level, node.id)).collect()
}

#[test]
fn a_manifest_of_up_to_256_chunks_is_its_root_alone() {
    for count in [0, 1, 255, 256] {
        let built = build((0..count).map(entry).collect()).unwrap();
        assert_eq!((built.manifest.level, built.nodes.len()), (0, 0));
        assert_eq!(built.manifest.entries.len() as u64, count);
    }
    assert_eq!(build((0..257).map(entry).collect()).unwrap().manifest.level, 1);
}

#[test]
fn nodes_have_between_32_and_256_entries_and_near_128() {
    let built = build((0..40_000).map(entry).collect()).unwrap();
    assert_eq!(built.manifest.level, 2);
    let counts: Vec<usize> = built
        .nodes
        .iter()
        .filter(|node| node.level == 0)
        .map(|node| decode_node(&node.bytes).unwrap().entries.len())
        .collect();
    let (last, others) = counts.split_last().unwrap();
    assert!(*last <= 256 && others.iter().all(|count| (32..=256).contains(count)));
    let average = 40_000 / counts.len();
    assert!((100..150).contains(&average), "average {average}");
    let forced = counts.iter().filter(|&&count| count == 256).count();
    assert!(forced * 20 < counts.len(), "{forced} of {} nodes end by force", counts.len());
}

#[test]
fn an_edit_changes_few_nodes_of_each_level() {
    let old: Vec<_> = (0..40_000).map(entry).collect();
    let known = ids_of(&build(old.clone()).unwrap());
    let (mut edits, mut minimal) = (0, 0);
    for at in (0..40_000).step_by(1_999) {
        for inserted in [0, 1, 3] {
            let mut new = old.clone();
            new.splice(at..at + 1, (0..inserted).map(|n| entry(1_000_000 + n)));
            let fresh: Vec<_> = ids_of(&build(new).unwrap()).difference(&known).copied().collect();
            let per_level = [0, 1].map(|level| fresh.iter().filter(|(l, _)| *l == level).count());
            assert!(per_level.iter().all(|&count| count <= 6), "edit at {at}: {per_level:?}");
            edits += 1;
            minimal += usize::from(per_level == [1, 1]);
        }
    }
    assert!(minimal * 10 >= edits * 8, "only {minimal} of {edits} edits changed one node a level");
}

#[test]
fn impossible_manifests_are_refused() {
    let manifest = |level, entries: Vec<ManifestEntry>| Manifest { level, entries };
    let of_length = |length| ManifestEntry { length, ..entry(0) };
    let refused = |m: Manifest| m.check(m.length().unwrap_or(0)).unwrap_err();
    assert_eq!(manifest(0, vec![]).check(0), Ok(()));
    assert_eq!(manifest(0, vec![]).check(1), Err(ManifestError::Length { expected: 1, actual: Some(0) }));
    assert!(matches!(refused(manifest(7, vec![entry(1)])), ManifestError::Level(7)));
    assert!(matches!(refused(manifest(1, vec![])), ManifestError::EntryCount { level: 1, count: 0 }));
    assert!(matches!(refused(manifest(0, vec![entry(1); 257])), ManifestError::EntryCount { count: 257, .. }));
    assert!(matches!(refused(manifest(0, vec![of_length(0)])), ManifestError::EntryLength { length: 0, .. }));
    assert!(matches!(refused(manifest(0, vec![of_length((4 << 20) + 1)])), ManifestError::EntryLength { .. }));
    assert!(matches!(refused(manifest(1, vec![of_length(1 << 50); 2])), ManifestError::TooLarge(_)));
    assert!(matches!(refused(manifest(1, vec![of_length(u64::MAX); 2])), ManifestError::EntryLength { .. }));
    assert!(build(vec![of_length(0); 300]).is_err());
}

#[test]
fn a_node_that_is_not_what_its_parent_says_is_refused() {
    let built = build((0..600).map(entry).collect()).unwrap();
    let store = store_of(&built);
    let mut lying = built.manifest.clone();
    lying.entries[0].length += 1;
    let error = resolve(&lying, 0..10, |id| store.get(id)).unwrap_err();
    assert!(matches!(error, ManifestError::Length { .. }));
    let deeper = Manifest { level: 2, ..built.manifest.clone() };
    assert_eq!(resolve(&deeper, 0..10, |id| store.get(id)), Err(ManifestError::Level(0)));
}

#[test]
fn resolving_asks_only_for_nodes_that_the_range_needs() {
    let built = build((0..40_000).map(entry).collect()).unwrap();
    let (store, mut cache) = (store_of(&built), BTreeMap::new());
    let mut rounds = 0;
    let chunks = loop {
        let resolved = resolve(&built.manifest, 5_000_000..5_000_001, |id| cache.get(id)).unwrap();
        if resolved.missing.is_empty() {
            break resolved.chunks;
        }
        rounds += 1;
        cache.extend(resolved.missing.iter().map(|id| (*id, store[id].clone())));
    };
    assert_eq!((rounds, cache.len(), chunks.len()), (2, 2, 1));
    assert!(chunks[0].range().contains(&5_000_000));
}

#[test]
fn a_survey_lists_everything_once_and_skips_what_is_known() {
    let built = build((0..2_000).map(|n| entry(n % 1_500)).collect()).unwrap();
    let (store, size) = (store_of(&built), built.manifest.length().unwrap());
    let all = survey(&built.manifest, size, |id| Lookup::Bytes(&store[id])).unwrap();
    assert_eq!((all.chunks.len(), all.nodes.len()), (1_500, store.len()));
    assert!(all.missing.is_empty());
    let known = survey(&built.manifest, size, |id| Lookup::<&Vec<u8>>::Known { length: all.nodes[id] }).unwrap();
    assert_eq!(known, Survey::default());
    let missing = survey(&built.manifest, size, |_| Lookup::<&Vec<u8>>::Missing).unwrap();
    assert_eq!(missing.missing.len(), built.manifest.entries.iter().map(|e| e.id).collect::<BTreeSet<_>>().len());
    let lying = survey(&built.manifest, size, |_| Lookup::<&Vec<u8>>::Known { length: 3 });
    assert!(matches!(lying, Err(ManifestError::TwoLengths(_))));
    assert!(survey(&built.manifest, size + 1, |_| Lookup::<&Vec<u8>>::Missing).is_err());
}

#[test]
fn one_chunk_with_two_lengths_is_refused() {
    let entries = vec![entry(1), ManifestEntry { length: 999, ..entry(1) }];
    let manifest = Manifest { level: 0, entries };
    let lookup = |_: &ChunkId| Lookup::<Vec<u8>>::Missing;
    assert_eq!(survey(&manifest, 1_001, lookup), Err(ManifestError::TwoLengths(entry(1).id)));
}

#[test]
fn a_hostile_tree_costs_no_more_than_its_nodes() {
    // Five nodes that stand for 256^5 chunks of one byte each.
    let mut below = ManifestEntry { length: 1, ..entry(1) };
    let mut store = BTreeMap::new();
    for level in 0..5 {
        let bytes = encode_node(level, &[below; 256]).unwrap();
        below = ManifestEntry { id: node_id(&bytes), length: below.length * 256, stored: 0 };
        store.insert(below.id, bytes);
    }
    let manifest = Manifest { level: 5, entries: vec![below; 256] };
    let seen = survey(&manifest, below.length * 256, |id| Lookup::Bytes(&store[id])).unwrap();
    assert_eq!((seen.nodes.len(), seen.chunks.len()), (5, 1));
    let resolved = resolve(&manifest, 1 << 40..(1 << 40) + 5, |id| store.get(id)).unwrap();
    assert_eq!(resolved.chunks.len(), 5);
}

fn any_entry() -> impl Strategy<Value = ManifestEntry> {
    (any::<[u8; 32]>(), 1u64..=4 << 20, any::<u64>()).prop_map(|(id, length, stored)| ManifestEntry {
        id: ChunkId(id),
        length,
        stored,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nodes_round_trip_and_have_one_encoding(
        level in 0u8..=6, entries in prop::collection::vec(any_entry(), 1..=256), at: prop::sample::Index, flip in 1u8..,
    ) {
        let mut bytes = encode_node(level, &entries).unwrap();
        prop_assert!(bytes.len() <= NODE_BYTES_MAX);
        let node = decode_node(&bytes).unwrap();
        prop_assert_eq!((node.level, &node.entries), (level, &entries));
        prop_assert!(decode_node(&bytes[..at.index(bytes.len())]).is_err());
        prop_assert!(decode_node(&[&bytes[..], &[0]].concat()).is_err());
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(changed) = decode_node(&bytes) {
            prop_assert_eq!(encode_node(changed.level, &changed.entries).unwrap(), bytes);
        }
    }

    #[test]
    fn arbitrary_nodes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_node(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = 0xd1;
        }
        let _ = decode_node(&bytes);
    }

    #[test]
    fn a_range_resolves_to_exactly_the_chunks_that_meet_it(count in 0u64..3_000, start: u64, length in 0u64..100_000) {
        let chunks: Vec<_> = (0..count).map(entry).collect();
        let built = build(chunks.clone()).unwrap();
        let store = store_of(&built);
        let size = built.manifest.length().unwrap();
        let start = start % (size + 10);
        let range = start..start + length;
        let resolved = resolve(&built.manifest, range.clone(), |id| store.get(id)).unwrap();
        let mut offset = 0;
        let expected: Vec<_> = chunks
            .into_iter()
            .map(|entry| {
                let located = LocatedChunk { offset, entry };
                offset += entry.length;
                located
            })
            .filter(|c| length > 0 && c.offset < range.end && c.range().end > range.start)
            .collect();
        prop_assert_eq!(resolved, Resolved { chunks: expected, missing: vec![] });
    }
}

#[test]
fn building_from_good_chunks_never_fails() {
    for count in (0..1_500).step_by(119) {
        let built = build((0..count).map(entry).collect()).unwrap();
        built.manifest.check((0..count).map(|n| entry(n).length).sum()).unwrap();
    }
}
