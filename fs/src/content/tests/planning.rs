//! Planning an upload finds the chunks that cutting everything would find, and reads little for it.

use super::world::{World, base_of, chunks_of, noise};
use crate::content::SnapshotError;
use proptest::prelude::*;
use tarn_proto::chunk::ContentKey;
use tarn_proto::ids::VersionId;
use tarn_proto::manifest::content_id;

/// Plans with nothing local but what was written, fetching what is missing. Returns the bytes fetched.
fn check(base: &[u8], edits: &[(u64, Vec<u8>)], truncate: Option<u64>) -> u64 {
    let world = World::new(1 << 30);
    let content = world.adopt(1, base, 1);
    let mut new = base.to_vec();
    for (at, data) in edits {
        content.write(*at, data).unwrap();
        let end = *at as usize + data.len();
        new.resize(new.len().max(end), 0);
        new[*at as usize..end].copy_from_slice(data);
    }
    if let Some(to) = truncate {
        content.truncate(to).unwrap();
        new.resize(to as usize, 0);
    }
    let (old, mut fetched) = (chunks_of(base), 0);
    let snapshot = content.snapshot().unwrap();
    let plan = loop {
        match snapshot.plan_upload(&ContentKey::Ordinary, &old, &mut |_| {}) {
            Ok(plan) => break plan,
            Err(SnapshotError::Missing(ranges)) => {
                for range in ranges {
                    fetched += range.end - range.start;
                    let data = &base[range.start as usize..range.end as usize];
                    content.fill(VersionId([1; 16]), range.start, data).unwrap();
                }
            }
            Err(e) => panic!("{e}"),
        }
    };
    let expected: Vec<_> = chunks_of(&new).into_iter().map(|chunk| chunk.entry).collect();
    assert_eq!(plan.entries, expected);
    assert_eq!(plan.content_id, content_id(&ContentKey::Ordinary, &expected));
    for chunk in &plan.fresh {
        let range = chunk.range();
        assert_eq!(snapshot.read_at(range.clone()).unwrap(), new[range.start as usize..range.end as usize]);
    }
    assert_eq!(base_of(&new, 2).content.size, plan.size_bytes);
    fetched
}

#[test]
fn an_edit_in_the_middle_of_a_cold_file_fetches_only_the_chunks_around_it() {
    let base = noise(5, 64 << 20);
    let fetched = check(&base, &[(31 << 20, noise(6, 4096))], None);
    assert!(fetched <= 8 << 20, "{fetched} bytes fetched");
}

#[test]
fn appending_to_a_cold_file_fetches_its_last_chunks_only() {
    let base = noise(5, 16 << 20);
    let fetched = check(&base, &[(16 << 20, noise(6, 100_000))], None);
    assert!(fetched <= 8 << 20, "{fetched} bytes fetched");
}

#[test]
fn a_new_file_is_planned_whole() {
    assert_eq!(check(&[], &[(0, noise(7, 3_000_000))], None), 0);
    assert_eq!(check(&[], &[(0, noise(7, 10))], None), 0);
    assert_eq!(check(&[], &[], None), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cutting_again_where_it_changed_gives_what_cutting_everything_gives(
        size in 0..8_000_000usize,
        edits in proptest::collection::vec((0..8_000_000u64, 1..200_000usize, any::<u64>()), 0..4),
        truncate in proptest::option::of(0..9_000_000u64),
    ) {
        let edits: Vec<_> = edits.into_iter().map(|(at, len, seed)| (at, noise(seed | 1, len))).collect();
        check(&noise(3, size), &edits, truncate);
    }
}
