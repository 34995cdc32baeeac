//! Damage planted in the files of the store is found, told, and dropped where it can be fetched again.

use super::world::{World, base_of, chunks_of, noise};
use crate::content::{ChunkCheck, Filled, Read};
use crate::meta::rows::{ContentNo, ContentPlace};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use tarn_proto::ids::VersionId;

const VERSION: VersionId = VersionId([1; 16]);

/// A content of which everything is here and recorded.
fn hydrated(world: &World, no: u64, bytes: &[u8]) {
    let content = world.adopt(no, bytes, 1);
    for chunk in chunks_of(bytes) {
        let range = chunk.range();
        let piece = &bytes[range.start as usize..range.end as usize];
        assert_eq!(content.fill(VERSION, range.start, piece).unwrap(), Filled::Done);
    }
    world.contents.record_presence().unwrap();
}

fn flip(path: PathBuf, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn backing(world: &World, no: u64) -> PathBuf {
    world.dir.path().join(format!("contents/{:02x}/{no:016x}", no & 0xff))
}

/// What is found of each chunk.
fn checked(world: &World, no: u64, bytes: &[u8]) -> Vec<ChunkCheck> {
    let content = world.get(no);
    chunks_of(bytes).iter().map(|chunk| content.check_chunk(VERSION, chunk)).collect()
}

#[test]
fn a_flipped_byte_in_a_backing_file_is_found_and_its_chunk_alone_is_dropped() {
    let world = World::new(1 << 30);
    let bytes = noise(1, 6 << 20);
    hydrated(&world, 1, &bytes);
    let chunks = chunks_of(&bytes);
    assert!(chunks.len() > 2 && checked(&world, 1, &bytes).iter().all(|found| *found == ChunkCheck::Right));
    flip(backing(&world, 1), chunks[1].offset + 100);
    let found = checked(&world, 1, &bytes);
    assert!(matches!(found[1], ChunkCheck::Damaged(_)), "{found:?}");
    assert_eq!(found.iter().filter(|found| **found == ChunkCheck::Right).count(), chunks.len() - 1);

    assert!(world.contents.drop_damaged(ContentNo(1), VERSION, &[chunks[1].range()]).unwrap());
    let content = world.get(1);
    assert_eq!(content.missing(0..bytes.len() as u64), [chunks[1].range()]);
    let row = world.journal.row(ContentNo(1)).unwrap();
    assert!(!row.present.intersects(chunks[1].range()), "the row says so, too");
    let piece = &bytes[chunks[1].offset as usize..chunks[1].range().end as usize];
    content.fill(VERSION, chunks[1].offset, piece).unwrap();
    assert_eq!(content.read(0, bytes.len()).unwrap(), Read::Bytes(bytes.into()));
}

#[test]
fn a_flipped_byte_in_the_slab_is_found_though_the_content_was_read_before() {
    let world = World::new(1 << 30);
    let bytes = noise(2, 9000);
    hydrated(&world, 1, &bytes);
    let content = world.get(1);
    assert_eq!(content.read(0, 9000).unwrap(), Read::Bytes(bytes.clone().into()));
    let ContentPlace::Slab { offset, .. } = content.row().place else { panic!("a small content") };
    flip(world.dir.path().join("slab"), offset + 5000);
    assert!(matches!(checked(&world, 1, &bytes)[..], [ChunkCheck::Damaged(_)]));
    assert!(world.contents.drop_damaged(ContentNo(1), VERSION, &[0..9000]).unwrap());
    assert_eq!(content.read(0, 9000).unwrap(), Read::Missing(vec![0..9000]));
    world.contents.record_presence().unwrap();
    assert_eq!(world.journal.row(ContentNo(1)).unwrap().place, ContentPlace::None);
    assert_eq!(content.fill(VERSION, 0, &bytes).unwrap(), Filled::Done);
    assert_eq!(checked(&world, 1, &bytes), [ChunkCheck::Right]);
}

#[test]
fn what_is_not_all_here_or_not_clean_is_not_called_damaged() {
    let world = World::new(1 << 30);
    let bytes = noise(3, 3 << 20);
    let content = world.adopt(1, &bytes, 1);
    let chunks = chunks_of(&bytes);
    assert_eq!(content.check_chunk(VERSION, &chunks[0]), ChunkCheck::Absent);
    content.fill(VERSION, 0, &bytes[..65_536]).unwrap();
    assert_eq!(content.check_chunk(VERSION, &chunks[0]), ChunkCheck::Partial(65_536));
    content.fill(VERSION, 0, &bytes).unwrap();
    content.write(10, b"x").unwrap();
    assert_eq!(content.check_chunk(VERSION, &chunks[0]), ChunkCheck::Partial(chunks[0].entry.length - 1));
    assert_eq!(content.check_chunk(VersionId([2; 16]), &chunks[0]), ChunkCheck::Moved);
    assert_eq!(content.dirty_ranges(), [10..11]);
}

#[test]
fn dirty_bytes_that_are_gone_from_the_disk_are_named_and_never_dropped() {
    let world = World::new(1 << 30);
    let bytes = noise(4, 3 << 20);
    let content = world.create(1);
    content.write(0, &bytes).unwrap();
    content.sync().unwrap();
    assert!(content.unreadable(0..3 << 20).is_empty() && world.contents.has_backing(ContentNo(1)));
    let file = std::fs::OpenOptions::new().write(true).open(backing(&world, 1)).unwrap();
    file.set_len(1 << 20).unwrap();
    let lost: Vec<_> = content.unreadable(0..3 << 20).into_iter().map(|(range, _)| range).collect();
    assert_eq!(lost, [1 << 20..2 << 20, 2 << 20..3 << 20]);
    assert!(!world.contents.drop_damaged(ContentNo(1), VERSION, &[0..3 << 20]).unwrap());
    assert_eq!(content.present_bytes(), 3 << 20);
    std::fs::remove_file(backing(&world, 1)).unwrap();
    assert!(!world.contents.has_backing(ContentNo(1)));
}

#[test]
fn what_is_held_is_not_dropped() {
    let world = World::new(1 << 30);
    let bytes = noise(5, 1 << 20);
    hydrated(&world, 1, &bytes);
    let hold = world.get(1).hold();
    assert!(!world.contents.drop_damaged(ContentNo(1), VERSION, &[0..1 << 20]).unwrap());
    drop(hold);
    assert!(world.contents.drop_damaged(ContentNo(1), VERSION, &[0..1 << 20]).unwrap());
    assert_eq!(world.get(1).base().unwrap(), base_of(&bytes, 1));
}
