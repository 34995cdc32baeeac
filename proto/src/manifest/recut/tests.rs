//! Tests of recutting: the same chunks as cutting everything, with few bytes read.
#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

use super::*;
use crate::chunk::{chunk_id, cut};
use crate::ids::ChunkId;
use crate::testdata::noise;
use proptest::prelude::*;

const MIB: usize = 1 << 20;
const KEY: ContentKey = ContentKey::Ordinary;

fn chunks_of(data: &[u8]) -> Vec<LocatedChunk> {
    let mut offset = 0;
    let locate = |length: usize| {
        let id = chunk_id(&KEY, &data[offset..offset + length]);
        let located =
            LocatedChunk { offset: offset as u64, entry: ManifestEntry { id, length: length as u64, stored: 0 } };
        offset += length;
        located
    };
    cut(&KEY, data).into_iter().map(locate).collect()
}

/// The new chunks, and how many bytes had to be read to find them.
fn recut(old: &[u8], new: &[u8], dirty: &[Range<u64>]) -> (Vec<(ChunkId, u64)>, u64) {
    let chunks = chunks_of(old);
    let mut recut = Recut::new(&KEY, &chunks, old.len() as u64, dirty, new.len() as u64);
    let (mut found, mut read_bytes, mut read_to) = (Vec::new(), 0, 0);
    loop {
        match recut.step() {
            RecutStep::Done => return (found, read_bytes),
            RecutStep::Keep(entry) => found.push((entry.id, entry.length)),
            RecutStep::Read(range) => {
                read_bytes += range.end.saturating_sub(range.start.max(read_to));
                read_to = range.end.max(read_to);
                let window = &new[range.start as usize..range.end as usize];
                if let Some(length) = recut.offer(window) {
                    found.push((chunk_id(&KEY, &window[..length]), length as u64));
                }
            }
        }
    }
}

fn expected(new: &[u8]) -> Vec<(ChunkId, u64)> {
    chunks_of(new).iter().map(|chunk| (chunk.entry.id, chunk.entry.length)).collect()
}

#[test]
fn an_unchanged_content_is_kept_without_reading() {
    let data = noise(1, 8 * MIB);
    assert_eq!(recut(&data, &data, &[]), (expected(&data), 0));
    assert_eq!(recut(&[], &[], &[]), (vec![], 0));
}

#[test]
fn a_small_edit_in_the_middle_reads_little() {
    let old = noise(2, 48 * MIB);
    let mut new = old.clone();
    new[20 * MIB..20 * MIB + 4_096].copy_from_slice(&noise(3, 4_096));
    let (found, read_bytes) = recut(&old, &new, &[20 * MIB as u64..20 * MIB as u64 + 4_096]);
    assert_eq!(found, expected(&new));
    assert!(read_bytes <= 4 * MIB as u64, "{read_bytes} bytes read");
}

#[test]
fn sizes_around_every_boundary_are_cut_as_a_whole_file_is() {
    let old = noise(4, 4 * MIB);
    for boundary in chunks_of(&old).iter().map(|chunk| chunk.range().end as usize) {
        for size in boundary.saturating_sub(2)..(boundary + 4).min(old.len()) {
            assert_eq!(recut(&old, &old[..size], &[]).0, expected(&old[..size]), "{size}");
            // The other way round: the shorter file is the old one, and grows.
            assert_eq!(recut(&old[..size], &old, &[]).0, expected(&old), "{size}");
        }
    }
}

#[test]
fn the_byte_behind_a_chunk_belongs_to_its_end() {
    let old = noise(5, 6 * MIB);
    for chunk in chunks_of(&old).iter().skip(1) {
        let mut new = old.clone();
        new[chunk.offset as usize] ^= 0xff;
        assert_eq!(recut(&old, &new, &[chunk.offset..chunk.offset + 1]).0, expected(&new));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn recutting_finds_what_cutting_everything_finds(
        seed in 1u64..,
        old_size in 0..9 * MIB,
        new_size in 0..9 * MIB,
        resize: bool,
        zeros: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 1usize..100_000), 0..4),
    ) {
        let old = if zeros { vec![0; old_size] } else { noise(seed, old_size) };
        let mut new = old.clone();
        if resize {
            new.truncate(new_size);
            new.extend(noise(seed ^ 1 | 2, new_size - new.len()));
        }
        let mut dirty: Vec<Range<u64>> = Vec::new();
        for (at, length) in edits {
            let start = at.index(new.len().max(1)).min(new.len());
            let end = (start + length).min(new.len());
            new[start..end].copy_from_slice(&noise(seed ^ 4 | 8, end - start));
            dirty.push(start as u64..end as u64);
        }
        dirty.retain(|range| !range.is_empty());
        dirty.sort_by_key(|range| range.start);
        dirty.dedup_by(|later, earlier| {
            let meets = later.start <= earlier.end;
            if meets { earlier.end = earlier.end.max(later.end); }
            meets
        });
        prop_assert_eq!(recut(&old, &new, &dirty).0, expected(&new));
    }
}
