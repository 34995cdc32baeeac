//! Single rules that the model does not name.

use super::world::{World, base_of, noise};
use crate::content::{ContentError, Filled, LocalState, Read, SnapshotError};
use crate::meta::rows::{ContentNo, ContentPlace};
use std::os::unix::fs::FileExt;
use tarn_proto::ids::VersionId;

#[test]
fn bytes_of_another_version_are_not_taken() {
    let world = World::new(1 << 30);
    let content = world.adopt(1, &noise(1, 1000), 1);
    assert_eq!(content.fill(VersionId([2; 16]), 0, &noise(1, 1000)).unwrap(), Filled::Stale);
    assert_eq!(content.state(), LocalState::OnlineOnly);
}

#[test]
fn a_small_content_damaged_on_the_disk_counts_as_absent() {
    let mut world = World::new(1 << 30);
    let bytes = noise(1, 1000);
    world.adopt(1, &bytes, 1).fill(VersionId([1; 16]), 0, &bytes).unwrap();
    world.contents.record_presence().unwrap();
    world.kill();
    let slab = std::fs::OpenOptions::new().write(true).open(world.dir.path().join("slab")).unwrap();
    slab.write_all_at(b"x", 500).unwrap();
    let content = world.get(1);
    assert_eq!(content.read(0, 1000).unwrap(), Read::Missing(vec![0..1000]));
    assert_eq!(content.fill(VersionId([1; 16]), 0, &bytes).unwrap(), Filled::Done);
    assert_eq!(content.read(0, 1000).unwrap(), Read::Bytes(bytes.into()));
}

#[test]
fn small_contents_have_no_file_of_their_own() {
    let world = World::new(1 << 30);
    let content = world.create(1);
    content.write(0, &noise(1, 65_536)).unwrap();
    world.journal.materialise(&[]).unwrap();
    assert!(matches!(content.row().place, ContentPlace::Slab { capacity_bytes: 65_536, .. }));
    let files = std::fs::read_dir(world.dir.path().join("contents")).unwrap().count();
    assert_eq!(files, 0);
    content.write(65_536, b"x").unwrap();
    assert_eq!(content.row().place, ContentPlace::File);
    assert!(content.row().open_for_writing);
}

#[test]
fn a_replaced_slot_is_used_again_only_after_the_commit() {
    let world = World::new(1 << 30);
    let content = world.create(1);
    content.write(0, &noise(1, 4096)).unwrap();
    world.journal.materialise(&[]).unwrap();
    let first = content.row().place;
    content.write(0, &noise(2, 4096)).unwrap();
    world.journal.materialise(&[]).unwrap();
    let second = content.row().place;
    assert_ne!(first, second);
    content.write(0, &noise(3, 4096)).unwrap();
    world.journal.materialise(&[]).unwrap();
    assert_eq!(content.row().place, first);
}

#[test]
fn a_removed_content_takes_its_file_along() {
    let world = World::new(1 << 30);
    let content = world.create(1);
    content.write(0, &noise(1, 1 << 20)).unwrap();
    assert!(world.allocated_bytes() >= 1 << 20);
    world.contents.remove(ContentNo(1)).unwrap();
    assert_eq!(world.allocated_bytes(), 0);
    assert!(matches!(content.write(0, b"x"), Err(ContentError::Unknown(_))));
}

#[test]
fn a_snapshot_of_a_removed_content_is_gone_and_not_short_of_bytes() {
    let world = World::new(1 << 30);
    let content = world.create(1);
    content.write(0, &noise(1, 1 << 20)).unwrap();
    let snapshot = content.snapshot().unwrap();
    world.contents.remove(ContentNo(1)).unwrap();
    assert!(matches!(snapshot.read_at(0..10), Err(SnapshotError::Stale)));
}

#[test]
fn a_snapshot_that_outgrows_its_bound_says_so() {
    let world = World::new(1 << 30);
    let content = world.create(1);
    let bytes = noise(1, 1 << 20);
    for index in 0..70u64 {
        content.write(index << 20, &bytes).unwrap();
    }
    let snapshot = content.snapshot().unwrap();
    for index in 0..70u64 {
        content.write(index << 20, &noise(2, 1 << 20)).unwrap();
    }
    assert!(matches!(snapshot.read_at(0..10), Err(SnapshotError::Stale)));
}

#[test]
fn a_dirty_content_is_not_rebased() {
    let world = World::new(1 << 30);
    let content = world.adopt(1, &noise(1, 100_000), 1);
    content.write(5, b"mine").unwrap();
    let theirs = base_of(&noise(2, 100_000), 2);
    assert!(matches!(world.contents.rebase(ContentNo(1), theirs, &[]), Err(ContentError::Dirty)));
    assert_eq!(content.read(5, 4).unwrap(), Read::Bytes("mine".into()));
}

#[test]
fn what_is_not_local_is_data_to_those_who_look_for_holes() {
    let world = World::new(1 << 30);
    let content = world.adopt(1, &noise(1, 100_000), 1);
    assert_eq!((content.seek_data(10), content.seek_hole(10)), (Some(10), Some(100_000)));
    assert_eq!((content.seek_data(100_000), content.seek_hole(100_000)), (None, None));
}
