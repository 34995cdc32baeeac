//! What a sync that failed leaves behind: nobody is told later that its bytes are durable, and nothing relies on it.

use super::world::*;
use crate::content::{Acknowledged, ContentError, Filled, LocalContent, LocalState, Read, WriteEffect};
use crate::env::{CrashDisk, Fault};
use crate::meta::rows::ContentNo;
use std::io::ErrorKind;
use std::sync::Arc;
use tarn_proto::ids::VersionId;

const BUDGET_BYTES: u64 = 64 << 20;

type Change = fn(&LocalContent) -> Result<WriteEffect, ContentError>;

fn world() -> (CrashDisk, World) {
    let disk = CrashDisk::new();
    (disk.clone(), World::on(Arc::new(disk), BUDGET_BYTES))
}

/// The next change of the disk fails.
fn fail_next(disk: &CrashDisk) {
    disk.fail_after(0, Fault::Error(ErrorKind::Other));
}

fn bytes_of(content: &LocalContent) -> Vec<u8> {
    match content.read(0, content.size_bytes() as usize).unwrap() {
        Read::Bytes(bytes) => bytes.to_vec(),
        Read::Missing(ranges) => panic!("missing: {ranges:?}"),
    }
}

#[test]
fn a_sync_that_failed_is_not_followed_by_one_that_claims_its_bytes() {
    let (disk, world) = world();
    let content = world.create(1);
    let (old, new) = (noise(1, 300_000), noise(2, 300_000));
    content.write(0, &old).unwrap();
    content.sync().unwrap();
    content.write(0, &new).unwrap();
    fail_next(&disk);
    assert!(content.sync().is_err());
    assert!(content.sync().is_err(), "the kernel says yes now, and has written nothing");
    content.write(0, &new[..200_000]).unwrap();
    assert!(content.sync().is_err(), "not all of it was written again");
    assert!(bytes_of(&content) == new, "what was written is still read");
    content.write(200_000, &new[200_000..]).unwrap();
    content.sync().unwrap();
    drop(content);
    let world = world.cut(Arc::new(disk.power_cut(|| false)));
    assert!(bytes_of(&world.get(1)) == new, "what the last sync said is there");
}

#[test]
fn a_failure_that_another_call_was_told_is_every_writer_s() {
    let (disk, world) = world();
    let content = world.create(1);
    content.write(0, &noise(1, 300_000)).unwrap();
    // A file that is made longer is synced first, as its name is not durable yet.
    fail_next(&disk);
    assert!(content.truncate(400_000).is_err());
    assert!(content.sync().is_err());
    content.truncate(10).unwrap();
    content.write(0, &noise(2, 300_000)).unwrap();
    content.sync().unwrap();
    drop(content);
    let world = world.cut(Arc::new(disk.power_cut(|| false)));
    assert!(bytes_of(&world.get(1)) == noise(2, 300_000));
}

#[test]
fn what_the_server_has_of_bytes_in_doubt_is_fetched_again() {
    let (disk, world) = world();
    let content = world.create(1);
    let bytes = noise(3, 300_000);
    content.write(0, &bytes).unwrap();
    let snapshot = content.snapshot().unwrap();
    fail_next(&disk);
    assert!(content.sync().is_err());
    assert_eq!(content.acknowledged(Some(snapshot.generation()), base_of(&bytes, 1)).unwrap(), Acknowledged::Clean);
    assert_eq!(content.state(), LocalState::OnlineOnly, "no row says that the disk has it");
    content.sync().unwrap();
    assert_eq!(content.fill(VersionId([1; 16]), 0, &bytes).unwrap(), Filled::Done);
    world.contents.record_presence().unwrap();
    drop(content);
    let world = world.cut(Arc::new(disk.power_cut(|| false)));
    assert!(bytes_of(&world.get(1)) == bytes);
}

#[test]
fn the_log_keeps_what_a_backing_file_s_failed_sync_should_have_saved() {
    let (disk, world) = world();
    let bytes = noise(4, 300_000);
    let content = world.adopt(1, &bytes, 1);
    // Recovery would take this for the base's bytes, so it is in the log as well.
    content.write(1000, b"logged").unwrap();
    fail_next(&disk);
    assert!(world.journal.materialise(&[]).is_err());
    assert!(world.journal.materialise(&[]).is_err(), "a second try must not make the log forget it");
    drop(content);
    let world = world.cut(Arc::new(disk.power_cut(|| false)));
    let read = world.get(1).read(1000, 6).unwrap();
    assert_eq!(read, Read::Bytes(b"logged".to_vec().into()));
}

#[test]
fn small_contents_are_written_anew_when_the_sync_of_their_slots_failed() {
    let (disk, world) = world();
    let content = world.create(1);
    content.write(0, b"small").unwrap();
    // The slot is written, then synced.
    disk.fail_after(1, Fault::Error(ErrorKind::Other));
    assert!(world.journal.materialise(&[]).is_err());
    world.journal.materialise(&[]).unwrap();
    drop(content);
    let world = world.cut(Arc::new(disk.power_cut(|| false)));
    assert_eq!(bytes_of(&world.get(1)), b"small");
}

#[test]
fn a_slot_that_a_failed_sync_of_others_took_is_never_called_durable() {
    let (disk, world) = world();
    let fetched = world.adopt(1, b"fetched", 1);
    assert_eq!(fetched.fill(VersionId([1; 16]), 0, b"fetched").unwrap(), Filled::Done);
    let other = world.create(2);
    other.write(0, b"other").unwrap();
    world.journal.set_share(100);
    // Somebody else's slot is written, then the slab is synced for it.
    disk.fail_after(1, Fault::Error(ErrorKind::Other));
    assert!(world.journal.materialise(&[]).is_err());
    world.contents.record_presence().unwrap();
    assert!(world.journal.row(ContentNo(1)).unwrap().present.is_empty(), "the disk never took it");
    assert_eq!(bytes_of(&fetched), b"fetched", "it can be read as long as it is in memory");
    drop((fetched, other));
    let world = world.cut(Arc::new(disk.power_cut(|| false)));
    assert!(matches!(world.get(1).read(0, 7).unwrap(), Read::Missing(_)));
    assert_eq!(bytes_of(&world.get(2)), b"other");
}

#[test]
fn a_sync_asks_the_disk_for_nothing_when_nothing_changed_since_the_last_one_and_for_each_change_else() {
    let (disk, world) = world();
    let content = world.create(1);
    content.write(0, &noise(1, 300_000)).unwrap();
    let changes: [Change; 6] = [
        |content| content.write(0, b"first"),
        |content| content.write(1_000, b"more"),
        |content| content.truncate(100_000),
        |content| content.truncate(200_000),
        |content| content.punch(4_096..40_960),
        |content| content.allocate(0..400_000, true),
    ];
    for (number, change) in changes.iter().enumerate() {
        change(&content).unwrap();
        let before = disk.sync_count();
        content.sync().unwrap();
        let synced = disk.sync_count();
        assert_eq!(synced - before, 1, "change {number}");
        content.sync().unwrap();
        assert_eq!(disk.sync_count(), synced, "after change {number}");
    }
    let bytes = bytes_of(&content);
    drop(content);
    let world = world.cut(Arc::new(disk.power_cut(|| false)));
    assert!(bytes_of(&world.get(1)) == bytes);
}
