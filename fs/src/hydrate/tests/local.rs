//! What lies elsewhere on the local disk is copied, exactly as far as it is what it should be.

use super::{World, noise, until, world};
use crate::content::{Filled, Former, LocalContent};
use crate::meta::rows::{BaseVersion, ContentNo, Ino};
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tarn_proto::manifest::LocatedChunk;

const SIZE: usize = 8 << 20;

/// Versions that were made of these bytes.
fn edits(old: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut middle = old.to_vec();
    middle[old.len() / 2] ^= 1;
    let front = [&noise(90, 1000), old].concat();
    let behind = [old, &noise(91, 1000)].concat();
    let moved = [&old[old.len() / 2..], &old[..old.len() / 2]].concat();
    let short = old[..old.len() / 3].to_vec();
    vec![("middle", middle), ("front", front), ("behind", behind), ("moved", moved), ("short", short)]
}

async fn chunks(world: &World, base: &BaseVersion) -> Vec<LocatedChunk> {
    world.hydrator.all_chunks(Some(base)).await.unwrap()
}

/// Frames of the chunks that only the new version has.
async fn new_frames(world: &World, old: &BaseVersion, new: &BaseVersion) -> u64 {
    let known: HashSet<_> = chunks(world, old).await.into_iter().map(|chunk| chunk.entry.id).collect();
    let is_new = |chunk: &LocatedChunk| !known.contains(&chunk.entry.id);
    let lengths = chunks(world, new).await.into_iter().filter(is_new).map(|chunk| chunk.entry.length);
    lengths.map(|length| length.div_ceil(64 << 10)).sum()
}

fn frames(world: &World) -> u64 {
    world.hydrator.counters().frames_fetched
}

fn backing(world: &World, no: u64) -> PathBuf {
    world._dir.path().join("contents").join(format!("{no:02x}")).join(format!("{no:016x}"))
}

/// A file that is all here.
async fn local(world: &World, no: u64, bytes: &[u8]) -> Arc<LocalContent> {
    let file = world.file(no, bytes);
    assert!(world.read(&file, 0, bytes.len()).await == bytes);
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_version_fetches_exactly_its_new_chunks() {
    let old = noise(1, SIZE);
    for (what, bytes) in edits(&old) {
        let world = world(1 << 30);
        let former = local(&world, 1, &old).await;
        let file = world.file(2, &bytes);
        let before = frames(&world);
        assert!(world.read(&file, 0, bytes.len()).await == bytes, "{what}");
        let expected = new_frames(&world, &former.base().unwrap(), &file.base().unwrap()).await;
        assert_eq!(frames(&world) - before, expected, "{what}");
        assert!(file.is_complete(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_manifest_is_a_tree_is_compared_with_the_one_before() {
    let old = noise(1, SIZE);
    for (what, bytes) in edits(&old) {
        let world = world(1 << 30);
        let (old_base, base) = (world.server.store_as_tree(&old), world.server.store_as_tree(&bytes));
        let former = world.contents.adopt(ContentNo(1), Ino(1), old_base.clone());
        // As after a restart: nobody knows yet which chunks it has.
        assert_eq!(former.fill(old_base.content.version, 0, &old).unwrap(), Filled::Done);
        let file = world.contents.adopt(ContentNo(2), Ino(2), base.clone());
        file.set_former(Former { content: former, base: old_base.clone() });
        let expected = new_frames(&world, &old_base, &base).await;
        let before = frames(&world);
        assert!(world.read(&file, 0, bytes.len()).await == bytes, "{what}");
        assert_eq!(frames(&world) - before, expected, "{what}");
        assert!(file.former().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_local_elsewhere_is_read_without_the_server() {
    let world = world(1 << 30);
    let old = noise(1, SIZE);
    local(&world, 1, &old).await;
    let moved = [&old[SIZE / 2..], &old[..SIZE / 2]].concat();
    let copy = world.file(2, &old);
    let other = world.file(3, &moved);
    world.hydrator.set_reach(crate::hydrate::Reach::Away);
    assert!(world.read(&copy, 0, SIZE).await == old);
    let shared = chunks(&world, &other.base().unwrap()).await;
    let known: HashSet<_> =
        chunks(&world, &copy.base().unwrap()).await.into_iter().map(|chunk| chunk.entry.id).collect();
    let inside = shared.iter().find(|chunk| known.contains(&chunk.entry.id)).unwrap();
    let (start, length) = (inside.offset as usize, inside.entry.length as usize);
    assert!(world.read(&other, start as u64, length).await == moved[start..start + length]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_are_not_copied() {
    let world = world(1 << 30);
    let old = noise(1, SIZE);
    local(&world, 1, &old).await;
    let mut rotten = fs::read(backing(&world, 1)).unwrap();
    rotten[SIZE / 2] ^= 1;
    fs::write(backing(&world, 1), &rotten).unwrap();
    let copy = world.file(2, &old);
    let before = frames(&world);
    assert!(world.read(&copy, 0, SIZE).await == old);
    let fetched = frames(&world) - before;
    assert!((1..=64).contains(&fetched), "{fetched} frames for one damaged chunk");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_programs_changed_or_what_is_gone_is_fetched() {
    let world = world(1 << 30);
    let old = noise(1, SIZE);
    let source = local(&world, 1, &old).await;
    for offset in (0..SIZE).step_by(100_000) {
        source.write(offset as u64, b"changed").unwrap();
    }
    let copy = world.file(2, &old);
    assert!(world.read(&copy, 0, SIZE).await == old);
    world.contents.evict(ContentNo(2)).unwrap();
    let again = world.file(3, &old);
    assert!(world.read(&again, 0, SIZE).await == old);
    world.contents.remove(ContentNo(3)).unwrap();
    let last = world.file(4, &old);
    assert!(world.read(&last, 0, SIZE).await == old);
    let all: u64 = chunks(&world, &last.base().unwrap()).await.iter().map(|c| c.entry.length.div_ceil(64 << 10)).sum();
    assert_eq!(frames(&world), 4 * all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_within_a_small_budget_is_right_and_stays_within() {
    let budget = 10 << 20;
    let world = world(budget);
    let old = noise(1, SIZE);
    local(&world, 1, &old).await;
    let front = [&noise(90, 1000)[..], &old].concat();
    let file = world.file(2, &front);
    for start in (0..front.len()).step_by(256 << 10) {
        let end = front.len().min(start + (256 << 10));
        assert!(world.read(&file, start as u64, end - start).await == front[start..end], "at {start}");
        assert!(world.contents.usage().bytes <= budget);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_what_was_copied_is_served_from_memory() {
    let world = world(64 << 10);
    let bytes = noise(1, 200_000);
    let base = world.server.store(&bytes);
    let id = base.content.manifest.entries[0].id;
    world.contents.give_chunk(id, bytes.clone().into());
    let file = world.contents.adopt(ContentNo(1), Ino(1), base);
    assert!(world.read(&file, 0, bytes.len()).await == bytes);
    assert_eq!(frames(&world), 0);
    assert!(world.contents.usage().bytes <= 64 << 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_copies_are_not_fetched_ahead() {
    let world = world(1 << 30);
    let originals: Vec<_> = (0..20).map(|no| noise(no + 1, 2000)).collect();
    for (no, bytes) in originals.iter().enumerate() {
        local(&world, no as u64, bytes).await;
    }
    let before = frames(&world);
    let copies: Vec<_> = originals.iter().enumerate().map(|(no, bytes)| world.file(100 + no as u64, bytes)).collect();
    world.hydrator.siblings(&copies);
    until(|| copies.iter().all(|copy| copy.is_complete())).await;
    assert_eq!(frames(&world), before);
}
