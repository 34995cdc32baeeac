//! A content against a vector of bytes: whatever is done, in whatever order, through kills at any
//! moment, a read gives the bytes that were written or says what is missing, and what is missing is
//! the base's.

use super::world::{Record, World, base_of, chunks_of, noise};
use crate::content::{Acknowledged, LocalContent, Read, Snapshot, SnapshotError, unchanged_ranges};
use crate::meta::rows::{BaseVersion, ContentNo};
use proptest::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use tarn_proto::ids::VersionId;
use tarn_proto::version::VersionVector;

#[derive(Debug, Clone)]
enum Op {
    Write { at: u64, len: usize },
    Truncate { to: u64 },
    Punch { at: u64, len: u64 },
    Zero { at: u64, len: u64 },
    Fill { at: u64, len: u64 },
    FillAll,
    Evict,
    Materialise { share: usize },
    Record,
    Settle,
    Sync,
    Snapshot,
    ReadSnapshot,
    Acknowledge,
    Rebase { keep: bool },
    Borrow { len: u64, upto: u64 },
    Kill,
    Unload,
}

fn op(size: u64) -> impl Strategy<Value = Op> {
    let len = 1..size / 4 + 2;
    prop_oneof![
        8 => (0..size, len.clone()).prop_map(|(at, len)| Op::Write { at, len: len as usize }),
        3 => (0..size * 5 / 4).prop_map(|to| Op::Truncate { to }),
        2 => (0..size, len.clone()).prop_map(|(at, len)| Op::Punch { at, len }),
        1 => (0..size, len.clone()).prop_map(|(at, len)| Op::Zero { at, len }),
        6 => (0..size, len).prop_map(|(at, len)| Op::Fill { at, len }),
        1 => Just(Op::FillAll),
        3 => Just(Op::Evict),
        3 => (0..=100usize).prop_map(|share| Op::Materialise { share }),
        3 => Just(Op::Record),
        2 => Just(Op::Settle),
        1 => Just(Op::Sync),
        3 => Just(Op::Snapshot),
        2 => Just(Op::ReadSnapshot),
        3 => Just(Op::Acknowledge),
        3 => any::<bool>().prop_map(|keep| Op::Rebase { keep }),
        2 => (1..size, 1..size).prop_map(|(len, upto)| Op::Borrow { len, upto }),
        3 => Just(Op::Kill),
        1 => Just(Op::Unload),
    ]
}

const NO: u64 = 7;

struct Model {
    world: World,
    content: Arc<LocalContent>,
    /// What programs see.
    bytes: Vec<u8>,
    /// The base version's bytes, if there is a base.
    base: Option<Vec<u8>>,
    version: u8,
    snapshot: Option<(Snapshot, Vec<u8>)>,
    seed: u64,
}

impl Model {
    fn new(initial: Option<Vec<u8>>) -> Self {
        let world = World::new(1 << 30);
        let content = match &initial {
            Some(bytes) => world.adopt(NO, bytes, 1),
            None => world.create(NO),
        };
        let bytes = initial.clone().unwrap_or_default();
        Self { world, content, bytes, base: initial, version: 1, snapshot: None, seed: 1 }
    }

    fn fresh(&mut self, len: usize) -> Vec<u8> {
        self.seed += 1;
        noise(self.seed, len)
    }

    fn log_row(&self) {
        let hold = self.content.hold();
        self.world.journal.push(Record::Row(ContentNo(NO), hold.content().row()));
    }

    fn fill(&self, range: Range<u64>) {
        let Some(base) = &self.base else { return };
        let range = range.start.min(base.len() as u64)..range.end.min(base.len() as u64);
        if range.start < range.end {
            let data = &base[range.start as usize..range.end as usize];
            self.content.fill(VersionId([self.version; 16]), range.start, data).unwrap();
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Write { at, len } => {
                let data = self.fresh(len);
                self.content.write(at, &data).unwrap();
                let end = at as usize + len;
                self.bytes.resize(self.bytes.len().max(end), 0);
                self.bytes[at as usize..end].copy_from_slice(&data);
            }
            Op::Truncate { to } => {
                self.content.truncate(to).unwrap();
                self.bytes.resize(to as usize, 0);
            }
            Op::Punch { at, len } => {
                self.content.punch(at..at + len).unwrap();
                let end = self.bytes.len().min((at + len) as usize);
                self.bytes[(at as usize).min(end)..end].fill(0);
            }
            Op::Zero { at, len } => {
                self.content.zero(at..at + len, false).unwrap();
                self.bytes.resize(self.bytes.len().max((at + len) as usize), 0);
                self.bytes[at as usize..(at + len) as usize].fill(0);
            }
            Op::Fill { at, len } => self.fill(at..at + len),
            Op::FillAll => self.fill(0..u64::MAX / 4),
            Op::Evict => drop(self.world.contents.evict(ContentNo(NO)).unwrap()),
            Op::Materialise { share } => {
                self.world.journal.set_share(share);
                self.world.journal.materialise(&[]).unwrap();
            }
            Op::Record => drop(self.world.contents.record_presence().unwrap()),
            Op::Settle => {
                self.content.settle().unwrap();
                self.log_row();
            }
            Op::Sync => self.content.sync().unwrap(),
            Op::Snapshot => self.snapshot = Some((self.content.snapshot().unwrap(), self.bytes.clone())),
            Op::ReadSnapshot => self.read_snapshot(),
            Op::Acknowledge => self.acknowledge(),
            Op::Rebase { keep } => self.rebase(keep),
            Op::Borrow { len, upto } => self.borrow(len as usize, upto),
            Op::Kill => self.kill(),
            Op::Unload => drop(self.world.contents.unload_idle()),
        }
    }

    fn read_snapshot(&mut self) {
        let Some((snapshot, bytes)) = &self.snapshot else { return };
        assert_eq!(snapshot.size_bytes(), bytes.len() as u64);
        match snapshot.read_at(0..bytes.len() as u64) {
            Ok(read) => assert!(read == bytes[..], "a snapshot does not change"),
            Err(SnapshotError::Stale) => self.snapshot = None,
            Err(SnapshotError::Missing(ranges)) => {
                let base = self.base.as_ref().expect("only a base's bytes can be missing");
                for range in ranges {
                    let (start, end) = (range.start as usize, range.end as usize);
                    assert!(base[start..end] == bytes[start..end], "what is missing is the base's");
                }
            }
            Err(e) => panic!("{e}"),
        }
    }

    fn acknowledge(&mut self) {
        let Some((snapshot, bytes)) = self.snapshot.take() else { return };
        self.version += 1;
        let unchanged = snapshot.generation() == self.content.generation();
        let base = base_of(&bytes, self.version);
        let result = self.content.acknowledged(Some(snapshot.generation()), base).unwrap();
        assert_eq!(result == Acknowledged::Clean, unchanged, "clean exactly if nothing was written since");
        self.base = Some(bytes);
        self.log_row();
    }

    fn rebase(&mut self, keep: bool) {
        if self.content.is_dirty() {
            return;
        }
        let old = self.base.clone().expect("what is clean has a base");
        let mut new = old.clone();
        let (at, len) = (new.len() / 3, new.len() / 5);
        let data = self.fresh(len);
        new[at..at + len].copy_from_slice(&data);
        new.truncate(old.len() - old.len() / 7);
        self.version += 1;
        let kept = if keep { unchanged_ranges(&chunks_of(&old), &chunks_of(&new)) } else { Vec::new() };
        self.world.contents.rebase(ContentNo(NO), base_of(&new, self.version), &kept).unwrap();
        self.log_row();
        self.snapshot = None;
        self.bytes = new.clone();
        self.base = Some(new);
    }

    /// Empties it, and goes on with another file's version in two steps. Nothing is on its way to the server then.
    fn borrow(&mut self, len: usize, upto: u64) {
        self.apply(Op::Truncate { to: 0 });
        let (lent, version) = (self.fresh(len), self.version + 1);
        let from = BaseVersion { vector: VersionVector::default(), ..base_of(&lent, version) };
        let mut at = 0;
        for end in [upto.min(len as u64), len as u64] {
            if at < end && self.content.borrow(&from, &(at..end)).unwrap() {
                (at, self.version) = (end, version);
            }
        }
        if at > 0 {
            (self.snapshot, self.bytes, self.base) = (None, lent[..at as usize].to_vec(), Some(lent));
        }
    }

    fn kill(&mut self) {
        self.snapshot = None;
        self.world.kill();
        self.content = self.world.get(NO);
    }

    fn check(&self) {
        let size = self.bytes.len() as u64;
        assert_eq!(self.content.size_bytes(), size);
        for start in [0, size / 3, size.saturating_sub(1)] {
            for len in [1, 5_000, self.bytes.len()] {
                self.check_read(start, len);
            }
        }
    }

    fn check_read(&self, start: u64, len: usize) {
        let end = self.bytes.len().min(start as usize + len);
        let expected = &self.bytes[(start as usize).min(end)..end];
        match self.content.read(start, len).unwrap() {
            Read::Bytes(bytes) => assert!(bytes == expected, "bytes at {start}, {len} long"),
            Read::Missing(ranges) => {
                let base = self.base.as_ref().expect("only a base's bytes can be missing");
                for range in ranges {
                    let (from, to) = (range.start as usize, range.end as usize);
                    assert!(base.get(from..to) == Some(&self.bytes[from..to]), "missing {range:?} is not the base's");
                }
            }
        }
    }

    /// Nothing is lost: with the base's bytes filled in, everything is there.
    fn check_all(&self) {
        self.fill(0..u64::MAX / 4);
        let read = self.content.read(0, self.bytes.len() + 1).unwrap();
        assert!(read == Read::Bytes(self.bytes.clone().into()));
    }
}

fn run(initial: Option<Vec<u8>>, ops: Vec<Op>) {
    let mut model = Model::new(initial);
    for op in ops {
        model.apply(op);
        model.check();
    }
    model.apply(Op::Kill);
    model.check();
    model.check_all();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn small_contents_read_as_written_or_as_missing(
        size in 0..65_536usize, is_new in any::<bool>(), ops in proptest::collection::vec(op(60_000), 1..40),
    ) {
        run((!is_new).then(|| noise(99, size)), ops);
    }

    #[test]
    fn contents_around_the_limit_read_as_written_or_as_missing(
        size in 1..200_000usize, is_new in any::<bool>(), ops in proptest::collection::vec(op(120_000), 1..40),
    ) {
        run((!is_new).then(|| noise(99, size)), ops);
    }

    #[test]
    fn large_contents_read_as_written_or_as_missing(
        size in 1..3_000_000usize, is_new in any::<bool>(), ops in proptest::collection::vec(op(2_500_000), 1..25),
    ) {
        run((!is_new).then(|| noise(99, size)), ops);
    }
}

#[test]
fn a_clean_row_names_no_slot_with_older_bytes() {
    let shrink_and_grow = [Op::Truncate { to: 1 }, Op::Truncate { to: 22_117 }];
    let ops = [Op::Write { at: 17_527, len: 4_589 }, Op::Kill].into_iter().chain(shrink_and_grow);
    run(Some(noise(99, 12_878)), ops.chain([Op::Snapshot, Op::Acknowledge]).collect());
}

#[test]
fn what_was_borrowed_before_it_got_a_file_keeps_its_size() {
    let ops = [Op::Borrow { len: 65_537, upto: 65_537 }, Op::Fill { at: 0, len: 1 }, Op::Materialise { share: 34 }];
    run(Some(noise(99, 1)), ops.to_vec());
}

#[test]
fn parts_of_a_small_content_come_after_a_restart() {
    let ops = [Op::Fill { at: 1, len: 1 }, Op::Record, Op::Kill, Op::Fill { at: 0, len: 1 }, Op::Record];
    run(Some(noise(99, 22_620)), ops.to_vec());
}

#[test]
fn what_was_borrowed_small_and_then_outgrew_a_slot_keeps_its_bytes() {
    let before = [Op::Write { at: 0, len: 1 }, Op::Record, Op::Write { at: 43_846, len: 13_822 }];
    let borrowed = [Op::Borrow { len: 1, upto: 1 }, Op::Write { at: 38_003, len: 5_844 }];
    let after = [Op::Truncate { to: 65_537 }, Op::Materialise { share: 13 }];
    run(Some(Vec::new()), before.into_iter().chain(borrowed).chain(after).collect());
}

#[test]
fn what_is_fetched_over_logged_bytes_is_not_replayed_over() {
    let before = [Op::Write { at: 0, len: 1 }, Op::Punch { at: 0, len: 1 }, Op::Write { at: 0, len: 1 }];
    let borrowed = [Op::Borrow { len: 1, upto: 1 }, Op::FillAll];
    let after = [Op::Write { at: 55_282, len: 10_255 }, Op::Materialise { share: 15 }];
    run(Some(Vec::new()), before.into_iter().chain(borrowed).chain(after).collect());
}
