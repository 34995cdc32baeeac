//! A content that borrows another's version: nothing is moved, and nothing is lost through kills.

use super::world::{World, base_of, noise};
use crate::content::{Filled, LocalContent, Read};
use std::ops::Range;
use std::sync::Arc;
use tarn_proto::ids::VersionId;

const SMALL: usize = 50_000;
const LARGE: usize = 200_000;

/// Contents 1, of which nothing is here, and 2, which borrows all of it.
fn borrowed(world: &World, len: usize) -> Arc<LocalContent> {
    let source = world.adopt(1, &noise(1, len), 1);
    let (base, end) = source.lends(&(0..u64::MAX)).unwrap();
    let copy = world.create(2);
    assert!(base.is_borrowed() && copy.borrow(&base, &(0..end)).unwrap());
    copy
}

#[track_caller]
fn assert_reads(content: &LocalContent, bytes: &[u8]) {
    assert_eq!(content.size_bytes(), bytes.len() as u64);
    for gap in content.missing(0..u64::MAX) {
        let (start, end) = (gap.start as usize, gap.end as usize);
        let version = content.base().unwrap().content.version;
        assert_eq!(content.fill(version, gap.start, &noise(1, bytes.len())[start..end]).unwrap(), Filled::Done);
    }
    assert_eq!(content.read(0, bytes.len() + 1).unwrap(), Read::Bytes(bytes.to_vec().into()));
}

#[test]
fn what_was_borrowed_is_there_after_a_kill_wherever_the_database_stands() {
    for (len, share) in [SMALL, LARGE].into_iter().flat_map(|len| [0, 50, 100].map(|share| (len, share))) {
        let mut world = World::new(1 << 30);
        let copy = borrowed(&world, len);
        assert_eq!(copy.read(0, len).unwrap(), Read::Missing(vec![0..len as u64]));
        world.journal.set_share(share);
        world.journal.materialise(&[]).unwrap();
        world.kill();
        let copy = world.get(2);
        assert!(copy.is_dirty() && copy.base().unwrap().is_borrowed(), "{len} {share}");
        assert_reads(&copy, &noise(1, len));
    }
}

#[test]
fn writes_over_what_was_borrowed_stay_through_kills() {
    let shares = [0, 30, 60, 100];
    for (len, share, early) in [SMALL, LARGE]
        .into_iter()
        .flat_map(|len| shares.map(|share| [(len, share, false), (len, share, true)]))
        .flatten()
    {
        let mut world = World::new(1 << 30);
        let copy = borrowed(&world, len);
        if early {
            world.journal.materialise(&[]).unwrap();
        }
        let mut bytes = noise(1, len);
        for at in [40_000, 10] {
            copy.write(at as u64, b"mine").unwrap();
            bytes[at..at + 4].copy_from_slice(b"mine");
        }
        copy.truncate(45_000).unwrap();
        bytes.truncate(45_000);
        world.journal.set_share(share);
        world.journal.materialise(&[]).unwrap();
        world.kill();
        let copy = world.get(2);
        assert_eq!(copy.read(10, 4).unwrap(), Read::Bytes("mine".into()));
        let version = copy.base().unwrap().content.version;
        for gap in copy.missing(0..u64::MAX) {
            let part = &noise(1, len)[gap.start as usize..gap.end as usize];
            assert_eq!(copy.fill(version, gap.start, part).unwrap(), Filled::Done);
        }
        assert_eq!(copy.read(0, len).unwrap(), Read::Bytes(bytes.into()), "{len} {share} {early}");
    }
}

#[test]
fn only_what_is_unchanged_and_not_all_here_is_lent() {
    let world = World::new(1 << 30);
    let bytes = noise(1, LARGE);
    let source = world.adopt(1, &bytes, 1);
    assert_eq!(source.lends(&(10..50)).unwrap().1, 50);
    assert_eq!(source.lends(&(0..u64::MAX)).unwrap().1, LARGE as u64);
    assert!(source.lends(&(LARGE as u64..u64::MAX)).is_none());
    source.fill(VersionId([1; 16]), 0, &bytes[..100_000]).unwrap();
    assert!(source.lends(&(0..100_000)).is_none(), "what is here is copied, so that the copy is here too");
    source.write(5, b"x").unwrap();
    assert!(source.lends(&(0..u64::MAX)).is_none());
    assert!(world.create(3).lends(&(0..u64::MAX)).is_none());
}

#[test]
fn borrowing_goes_on_where_it_stopped_and_only_there() {
    let mut world = World::new(1 << 30);
    let source = world.adopt(1, &noise(1, LARGE), 1);
    let (base, _) = source.lends(&(0..u64::MAX)).unwrap();
    let copy = world.create(2);
    let borrow = |range: Range<u64>| copy.borrow(&base, &range).unwrap();
    assert!(!borrow(10..20) && borrow(0..100_000) && !borrow(0..100_000) && !borrow(150_000..LARGE as u64));
    let other = base_of(&noise(2, LARGE), 2);
    assert!(!copy.borrow(&other, &(100_000..LARGE as u64)).unwrap());
    assert!(borrow(100_000..LARGE as u64));
    world.kill();
    assert_reads(&world.get(2), &noise(1, LARGE));
    let written = world.create(3);
    written.write(0, b"own").unwrap();
    assert!(!written.borrow(&base, &(0..10)).unwrap());
}
