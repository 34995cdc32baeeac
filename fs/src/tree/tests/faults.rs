//! The local disk fails at each of its changes in turn. Whatever a call said before is so afterwards: while the daemon
//! lives, after it was killed, and after the power was cut as far as an fsync had returned.

use super::fixture::{TOP, applied_rows, content, cursor, identity, name, new};
use crate::content::{Options, Read};
use crate::env::{CrashDisk, Env, Fault};
use crate::journal::{Journal, JournalOptions, Materialise};
use crate::meta::rows::Ino;
use crate::tree::{Readiness, RenameRequest, Tree, TreeError};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::Change;
use tarn_proto::node::NodeKind;
use tarn_proto::op::RenameMode;

const BUDGET_BYTES: u64 = 32 << 20;
/// Larger contents are in files of their own, of which any bytes since their last fsync may be there after a power cut.
const SMALL_BYTES_MAX: usize = 64 << 10;

/// What is known of one name.
#[derive(Debug, Clone, Default)]
struct Known {
    /// What it held, in order; `None` where it was not there.
    history: Vec<Option<Vec<u8>>>,
    /// States before this one are past for good.
    synced: usize,
    /// A call failed: any state since the last one that is sure may be there.
    unsure_from: Option<usize>,
}

impl Known {
    fn last(&self) -> Option<&Vec<u8>> {
        self.history.last()?.as_ref()
    }

    fn may_be(&self, from: usize, found: Option<&Vec<u8>>) -> bool {
        let states = &self.history[from.min(self.history.len() - 1)..];
        let is_large = states.iter().flatten().any(|bytes| bytes.len() > SMALL_BYTES_MAX);
        let sizes = || states.iter().flatten().map(Vec::len);
        match found {
            Some(found) if is_large => {
                // A write that failed may have been done in part, from its start.
                let is_partial = self.unsure_from.is_some() && Some(found.len()) <= sizes().max();
                (is_partial || sizes().any(|size| size == found.len()))
                    && found.iter().enumerate().all(|(at, byte)| {
                        states.iter().flatten().any(|state| state.get(at).is_none_or(|known| known == byte))
                    })
            }
            found => states.iter().any(|state| state.as_ref() == found),
        }
    }
}

pub struct Life {
    pub tree: Arc<Tree>,
    pub journal: Arc<Journal>,
}

struct World {
    disk: CrashDisk,
    life: Option<Life>,
    known: BTreeMap<&'static str, Known>,
    on_server: Vec<Vec<u8>>,
    seq: u64,
    errors: Vec<String>,
    step: usize,
}

pub fn open(disk: &CrashDisk) -> Result<Life, String> {
    let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
    let journal = JournalOptions { materialise: Materialise::Manual, ..JournalOptions::for_budget(BUDGET_BYTES) };
    let contents = Options { budget_bytes: BUDGET_BYTES, floor_bytes: 0, ..Options::default() };
    let opened = Tree::assemble(&env, Path::new("/state"), journal, contents, identity()).map_err(|e| e.to_string())?;
    opened.tree.take_inventory().map_err(|e| e.to_string())?;
    Ok(Life { tree: opened.tree, journal: opened.journal })
}

fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| seed.wrapping_add((at % 251) as u8) | 1).collect()
}

impl World {
    /// A device that has pulled an empty space; nothing has failed yet.
    fn new() -> Self {
        let disk = CrashDisk::new();
        let life = open(&disk).unwrap();
        let errors = Vec::new();
        let mut world =
            Self { disk, life: Some(life), known: BTreeMap::new(), on_server: Vec::new(), seq: 0, errors, step: 0 };
        let tree = Arc::clone(world.tree());
        // Waits for what is staged, so somebody else must bring it into the database.
        let journal = Arc::clone(&world.life.as_ref().unwrap().journal);
        std::thread::scope(|scope| {
            let loading = scope.spawn(move || {
                tree.begin_load().and_then(|()| tree.finish_load(crate::tree::Loaded::first(cursor(0))))
            });
            while !loading.is_finished() {
                journal.materialise_now().unwrap();
                std::thread::yield_now();
            }
            loading.join().unwrap().unwrap();
        });
        world.materialise();
        assert!(world.errors.is_empty());
        world
    }

    fn tree(&self) -> &Arc<Tree> {
        &self.life.as_ref().unwrap().tree
    }

    fn told<T>(&mut self, outcome: Result<T, impl std::fmt::Display>) -> Option<T> {
        outcome.map_err(|e| self.errors.push(format!("step {}: {e}", self.step))).ok()
    }

    /// Makes one change of one name.
    fn change(
        &mut self,
        path: &'static str,
        after: Option<Vec<u8>>,
        call: impl FnOnce(&Tree) -> Result<(), TreeError>,
    ) {
        let outcome = call(self.tree());
        let done = self.told(outcome).is_some();
        let known = self.known.entry(path).or_insert_with(|| Known { history: vec![None], ..Known::default() });
        known.history.push(after);
        if !done {
            known.unsure_from.get_or_insert(known.history.len() - 2);
        }
    }

    /// A file is worked on as long as no call on it failed.
    fn is_sure(&self, path: &str) -> bool {
        self.known.get(path).is_none_or(|known| known.unsure_from.is_none())
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        self.known.get(path).and_then(Known::last).cloned().unwrap_or_default()
    }

    fn write(&mut self, path: &'static str, offset: usize, data: Vec<u8>) {
        if !self.is_sure(path) {
            return;
        }
        if self.known.get(path).and_then(Known::last).is_none() {
            self.change(path, Some(Vec::new()), |tree| tree.create(TOP, &name(path), new(NodeKind::File)).map(drop));
        }
        let mut after = self.bytes(path);
        after.resize(after.len().max(offset + data.len()), 0);
        after[offset..offset + data.len()].copy_from_slice(&data);
        self.change(path, Some(after), |tree| {
            let ino = tree.lookup(TOP, &name(path))?.ino;
            tree.opened(ino, true)?;
            let written = tree.write(ino, offset as u64, &data).map(drop);
            tree.closed(ino, true).and(written)
        });
    }

    fn truncate(&mut self, path: &'static str, size: usize) {
        if self.is_sure(path) {
            let mut after = self.bytes(path);
            after.resize(size, 0);
            self.change(path, Some(after), |tree| {
                let ino = tree.lookup(TOP, &name(path))?.ino;
                tree.truncate(ino, size as u64).map(drop)
            });
        }
    }

    fn remove(&mut self, path: &'static str) {
        if self.is_sure(path) {
            self.change(path, None, |tree| tree.unlink(TOP, &name(path)));
        }
    }

    fn rename(&mut self, from: &'static str, to: &'static str) {
        if !self.is_sure(from) || !self.is_sure(to) {
            return;
        }
        let bytes = self.bytes(from);
        let request = RenameRequest {
            parent: TOP,
            name: name(from),
            to_parent: TOP,
            to_name: name(to),
            mode: RenameMode::Replace,
        };
        let before = self.errors.len();
        self.change(to, Some(bytes), |tree| tree.rename(&request));
        let failed = self.errors.len() > before;
        self.change(from, None, |_| Ok(()));
        if failed {
            let known = self.known.get_mut(from).unwrap();
            known.unsure_from = Some(known.history.len() - 2);
        }
    }

    fn fsync(&mut self, path: &'static str) {
        let Ok(stat) = self.tree().lookup(TOP, &name(path)) else { return };
        // What either says of bytes and names is the same.
        let outcome =
            if self.step.is_multiple_of(2) { self.tree().fsync(stat.ino) } else { self.tree().fdatasync(stat.ino) };
        if self.told(outcome).is_some()
            && let Some(known) = self.known.get_mut(path)
        {
            known.synced = known.unsure_from.unwrap_or(known.history.len() - 1);
        }
    }

    fn materialise(&mut self) {
        let outcome = self.life.as_ref().unwrap().journal.drain();
        self.told(outcome);
    }

    /// Everything that is ready goes to a server that takes it.
    fn push(&mut self) {
        let outcome = self.try_push();
        self.told(outcome);
    }

    fn try_push(&mut self) -> Result<(), TreeError> {
        let tree = Arc::clone(self.tree());
        let mut batch = Vec::new();
        for item in tree.queue(1_000)? {
            if item.readiness != Readiness::Ready {
                break;
            }
            let mut sent = None;
            if let Some(ino) = item.content_of.filter(|_| item.frozen.is_none()) {
                tree.prepare(item.ticket)?;
                let Found::Bytes(bytes) = read(&tree, ino)? else { break };
                sent = Some(content(&bytes));
                self.on_server.push(bytes);
            }
            batch.push((item.ticket, sent));
        }
        let frozen = tree.freeze(batch)?;
        let before = self.seq;
        let mut answers = Vec::new();
        for (ticket, op) in &frozen {
            self.seq += 1;
            let changes = applied_rows(op).into_iter().map(|row| Change { seq: self.seq, row }).collect();
            answers.push((*ticket, Answer { counter: op.counter, outcome: Outcome::Applied, changes }));
        }
        tree.settle(&answers, cursor(before), cursor(self.seq))
    }

    /// A bit of everything; what is done after a failure is the same as without. `look` sees the world after each step.
    fn work(&mut self, look: impl Fn(&Self, usize)) {
        let steps: [&dyn Fn(&mut Self); 31] = [
            &|w| w.write("small", 0, pattern(1, 100)),
            &|w| w.fsync("small"),
            &|w| w.write("large", 0, pattern(2, 150_000)),
            &|w| w.fsync("large"),
            &|w| w.write("grown", 0, pattern(3, 60_000)),
            &|w| w.write("large", 5_000, pattern(4, 1_000)),
            &|w| w.write("draft", 0, pattern(5, 3_000)),
            &Self::materialise,
            &|w| w.write("grown", 60_000, pattern(6, 20_000)),
            &|w| w.write("small", 100, pattern(7, 100)),
            &|w| w.fsync("grown"),
            &|w| w.rename("draft", "final"),
            &|w| w.fsync("final"),
            &|w| w.truncate("large", 100_000),
            &|w| w.fsync("large"),
            &Self::push,
            &Self::push,
            &|w| w.write("large", 50_000, pattern(8, 2_000)),
            &|w| w.write("small", 20, pattern(9, 20)),
            &|w| w.fsync("small"),
            &Self::materialise,
            &|w| w.fsync("large"),
            &|w| w.remove("final"),
            &|w| w.write("late", 0, pattern(10, 70_000)),
            &|w| w.truncate("grown", 10),
            &|w| w.fsync("grown"),
            &Self::materialise,
            &Self::push,
            // The failure may be long ago: what failed then must still not be taken for durable.
            &|w| w.fsync("large"),
            &|w| w.fsync("late"),
            &|w| w.fsync("grown"),
        ];
        for (number, step) in steps.iter().enumerate() {
            self.step = number;
            step(self);
            look(self, number);
        }
    }

    fn check(&self, life: &Life, is_cut: bool, what: &str) {
        for (path, known) in &self.known {
            let from = known.unsure_from.unwrap_or(known.history.len() - 1);
            let from = if is_cut { known.synced.min(from) } else { from };
            let found = match life.tree.lookup(TOP, &name(path)) {
                Err(TreeError::NotFound) => None,
                Err(e) => panic!("{what}: {path}: {e}; {:?}", self.errors),
                Ok(stat) => match read(&life.tree, stat.ino) {
                    Ok(Found::Bytes(bytes)) => Some(bytes),
                    // What is fetched again is what the server was given.
                    Ok(Found::Elsewhere(bytes)) => {
                        let fetched = self.on_server.iter().filter(|sent| sent.len() == bytes.len());
                        let whole = fetched.map(|sent| bytes.iter().zip(sent).map(|(own, sent)| own.unwrap_or(*sent)));
                        let mut whole = whole.map(Iterator::collect::<Vec<u8>>);
                        let good = whole.find(|bytes| known.may_be(from, Some(bytes)));
                        Some(good.unwrap_or_else(|| panic!("{what}: {path} is not the server's; {:?}", self.errors)))
                    }
                    Err(e) => panic!("{what}: {path} cannot be read: {e}; {:?}", self.errors),
                },
            };
            let sizes: Vec<_> = known.history.iter().map(|state| state.as_ref().map(Vec::len)).collect();
            assert!(
                known.may_be(from, found.as_ref()),
                "{what}: {path} of {:?} bytes is none of {sizes:?} from {from} on; {:?}",
                found.as_ref().map(Vec::len),
                self.errors
            );
        }
    }

    /// Compares what a daemon finds that is started now: after a kill, or after power cuts that keep nothing or all of
    /// what was not synced.
    fn check_ends(&self, what: &str) {
        let after = |disk: CrashDisk, is_cut: bool, how: &str| {
            disk.mend();
            let what = format!("{what}, {how}");
            let life = open(&disk).unwrap_or_else(|e| panic!("{what}: {e}; {:?}", self.errors));
            self.check(&life, is_cut, &what);
        };
        after(self.disk.copy(), false, "killed");
        after(self.disk.copy().power_cut(|| false), true, "cut");
        after(self.disk.copy().power_cut(|| true), true, "cut late");
    }
}

enum Found {
    Bytes(Vec<u8>),
    /// Some of them are to be fetched.
    Elsewhere(Vec<Option<u8>>),
}

fn read(tree: &Tree, ino: Ino) -> Result<Found, TreeError> {
    let content = tree.content(ino)?;
    let size = content.size_bytes() as usize;
    Ok(match content.read(0, size)? {
        Read::Bytes(bytes) => Found::Bytes(bytes.to_vec()),
        Read::Missing(gaps) => {
            let mut bytes = vec![None; size];
            let mut at = 0;
            for gap in gaps.iter().chain([&(size as u64..size as u64)]) {
                if let Read::Bytes(part) = content.read(at, (gap.start - at) as usize)? {
                    part.iter().enumerate().for_each(|(i, byte)| bytes[at as usize + i] = Some(*byte));
                }
                at = gap.end;
            }
            Found::Elsewhere(bytes)
        }
    })
}

fn nothing_is_lost(fault: fn(ErrorKind) -> Fault, kind: ErrorKind) {
    let mut calm = World::new();
    let before = calm.disk.change_count();
    calm.work(|_, _| {});
    let changes = calm.disk.change_count() - before;
    let mut told = 0;
    for at in 0..changes {
        let mut world = World::new();
        world.disk.fail_after(at, fault(kind));
        world.work(|_, _| {});
        let what = format!("change {at} of {changes}");
        world.check(world.life.as_ref().unwrap(), false, &format!("{what}, alive"));
        world.check_ends(&what);
        told += u64::from(!world.errors.is_empty());
    }
    assert!(told > changes / 2, "of {changes} failures {told} were told");
}

#[test]
fn without_a_failure_every_step_leaves_what_was_said() {
    let mut world = World::new();
    world.work(|world, step| {
        world.check(world.life.as_ref().unwrap(), false, &format!("after step {step}, alive"));
        world.check_ends(&format!("after step {step}"));
    });
    assert_eq!(world.errors, Vec::<String>::new());
}

#[test]
fn an_io_error_at_any_change_loses_nothing_that_was_said() {
    nothing_is_lost(Fault::Error, ErrorKind::Other);
}

#[test]
fn no_space_at_any_change_loses_nothing_that_was_said() {
    nothing_is_lost(Fault::Error, ErrorKind::StorageFull);
}

#[test]
fn a_disk_that_becomes_read_only_at_any_change_loses_nothing_that_was_said() {
    nothing_is_lost(Fault::Stuck, ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn fdatasync_of_a_file_that_is_written_again_and_again_is_one_sync() {
    let mut world = World::new();
    world.write("large", 0, pattern(1, 150_000));
    world.fsync("large");
    // Somebody has it open all the while: its times are in memory only.
    let ino = world.tree().lookup(TOP, &name("large")).unwrap().ino;
    world.tree().opened(ino, true).unwrap();
    world.step = 1;
    for turn in 2..10 {
        world.write("large", usize::from(turn) * 10_000, pattern(turn, 5_000));
        let before = world.disk.sync_count();
        world.fsync("large");
        assert_eq!(world.disk.sync_count() - before, 1);
        world.check_ends(&format!("turn {turn}"));
    }
    assert_eq!(world.errors, Vec::<String>::new());
}
