//! The budget holds at every moment, in blocks; what is pinned or held stays.

use super::world::{World, noise};
use crate::content::{Filled, LocalState, Read};
use crate::meta::rows::{ContentNo, Ino};
use tarn_proto::ids::VersionId;

const BUDGET: u64 = 4 << 20;

fn version(number: u8) -> VersionId {
    VersionId([number; 16])
}

#[test]
fn clean_bytes_never_exceed_the_budget_and_the_newest_stay() {
    let world = World::new(BUDGET);
    let mut sizes = [40_000usize, 1_000, 3_000_000, 64_000, 900_000, 4_097].into_iter().cycle();
    let mut files = Vec::new();
    for no in 0..60u64 {
        let bytes = noise(no + 1, sizes.next().unwrap());
        let content = world.adopt(no, &bytes, 1);
        for (index, frame) in bytes.chunks(65_536).enumerate() {
            assert_eq!(content.fill(version(1), index as u64 * 65_536, frame).unwrap(), Filled::Done);
            let allocated = world.allocated_bytes();
            assert!(allocated <= BUDGET, "{allocated} bytes after frame {index} of file {no}");
        }
        if no % 7 == 0 {
            world.contents.record_presence().unwrap();
        }
        files.push((content, bytes));
    }
    let (newest, bytes) = files.last().unwrap();
    assert_eq!(newest.read(0, bytes.len()).unwrap(), Read::Bytes(bytes.clone().into()));
    let (oldest, _) = &files[0];
    assert_eq!(oldest.state(), LocalState::OnlineOnly);
}

#[test]
fn what_was_read_lately_stays_and_what_was_not_goes() {
    let world = World::new(BUDGET);
    let old = noise(1, 1_000_000);
    let read = world.adopt(1, &old, 1);
    let unread = world.adopt(2, &old, 1);
    for content in [&read, &unread] {
        content.fill(version(1), 0, &old).unwrap();
    }
    for no in 3..8u64 {
        assert!(matches!(read.read(0, 10).unwrap(), Read::Bytes(_)), "file {no}");
        let bytes = noise(no, 1_000_000);
        world.adopt(no, &bytes, 1).fill(version(1), 0, &bytes).unwrap();
    }
    assert_eq!(unread.state(), LocalState::OnlineOnly);
}

#[test]
fn pinned_and_held_contents_are_not_evicted_and_then_there_is_no_room() {
    let world = World::new(BUDGET);
    let bytes = noise(1, 3_000_000);
    let pinned = world.adopt(1, &bytes, 1);
    pinned.fill(version(1), 0, &bytes).unwrap();
    pinned.set_pinned(true);
    let other = world.adopt(2, &bytes, 1);
    assert_eq!(other.fill(version(1), 0, &bytes).unwrap(), Filled::Full);
    assert_eq!(world.contents.evict(ContentNo(1)).unwrap(), 0);
    pinned.set_pinned(false);
    let hold = pinned.hold();
    assert_eq!(other.fill(version(1), 0, &bytes).unwrap(), Filled::Full);
    drop(hold);
    assert_eq!(other.fill(version(1), 0, &bytes).unwrap(), Filled::Done);
    assert!(world.allocated_bytes() <= BUDGET);
}

#[test]
fn a_pinned_content_need_not_be_loaded_to_be_kept() {
    let world = World::new(BUDGET);
    let bytes = noise(1, 3_000_000);
    let pinned = world.adopt(1, &bytes, 1);
    pinned.fill(version(1), 0, &bytes).unwrap();
    pinned.set_pinned(true);
    drop(pinned);
    world.contents.record_presence().unwrap();
    world.journal.materialise(&[]).unwrap();
    world.contents.unload_idle();
    assert!(world.contents.get_loaded(ContentNo(1)).is_none(), "memory does not grow with what is pinned");
    let other = world.adopt(2, &bytes, 1);
    assert_eq!(other.fill(version(1), 0, &bytes).unwrap(), Filled::Full);
    assert_eq!(world.contents.pinned(), [(ContentNo(1), Ino(1))]);
    assert_eq!(world.get(1).state(), LocalState::Hydrated);
    world.get(1).set_pinned(false);
    assert_eq!(other.fill(version(1), 0, &bytes).unwrap(), Filled::Done);
}

#[test]
fn dirty_bytes_are_not_bounded_by_the_budget() {
    let world = World::new(BUDGET);
    let bytes = noise(1, 1 << 20);
    let content = world.create(1);
    for index in 0..8u64 {
        content.write(index << 20, &bytes).unwrap();
    }
    assert_eq!(world.contents.usage().bytes, 0);
    assert_eq!(world.contents.evict_all().unwrap(), 0);
    assert_eq!(content.read(7 << 20, 1 << 20).unwrap(), Read::Bytes(bytes.into()));
}

#[test]
fn an_acknowledged_file_counts_and_can_be_evicted() {
    let world = World::new(BUDGET);
    let bytes = noise(1, 6 << 20);
    let content = world.create(1);
    content.write(0, &bytes).unwrap();
    let snapshot = content.snapshot().unwrap();
    world.contents.make_room(content.dirty_bytes()).unwrap();
    content.acknowledged(Some(snapshot.generation()), super::world::base_of(&bytes, 1)).unwrap();
    assert!(world.contents.usage().bytes >= 6 << 20);
    world.contents.trim().unwrap();
    assert!(world.contents.usage().bytes <= BUDGET);
    assert!(world.allocated_bytes() <= BUDGET);
    assert_eq!(content.state(), LocalState::Partial);
}

#[test]
fn what_an_earlier_run_left_counts_and_can_be_evicted() {
    let mut world = World::new(BUDGET);
    for no in 1..40u64 {
        let bytes = noise(no, 30_000 + no as usize);
        world.adopt(no, &bytes, 1).fill(version(1), 0, &bytes).unwrap();
    }
    let bytes = noise(100, 2_000_000);
    world.adopt(100, &bytes, 1).fill(version(1), 0, &bytes).unwrap();
    world.contents.record_presence().unwrap();
    let before = world.contents.usage().bytes;
    world.kill();
    assert_eq!(world.contents.usage().bytes, before);
    assert_eq!(world.get(100).read(0, 2_000_000).unwrap(), Read::Bytes(bytes.into()));
    assert_eq!(world.contents.evict_all().unwrap(), before);
    assert_eq!(world.contents.usage().bytes, 0);
    assert!(world.allocated_bytes() < 100_000, "{} bytes left", world.allocated_bytes());
}
