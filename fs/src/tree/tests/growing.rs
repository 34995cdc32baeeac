//! A folder that is read while its names come in.

use super::fixture::*;
use crate::meta::rows::ROOT;
use crate::tree::{Ahead, DirHandle, Listing, TreeError, Unlisted};
use proptest::prelude::*;
use std::collections::BTreeSet;
use tarn_proto::api::{ChildEntry, ChildrenResponse};
use tarn_proto::change::Row;
use tarn_proto::ids::NodeId;
use tarn_proto::op::RenameMode;

pub(super) fn node(number: usize) -> NodeId {
    let mut id = [0x66; 16];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    NodeId(id)
}

pub(super) fn head(seq: u64) -> ChildrenResponse {
    ChildrenResponse { seq, node: folder_state(), node_seq: 1, children: Vec::new(), next: None, epoch: None }
}

pub(super) fn named(text: &str, number: usize) -> [Row; 2] {
    [node_row(node(number), theirs(b"theirs", 1)), entry_row(root(), text, Some(node(number)))]
}

/// A device whose root is being listed, page by page.
pub(super) struct World {
    pub device: Device,
    listing: Option<Listing>,
    rest: std::vec::IntoIter<ChildEntry>,
    seq: u64,
}

impl World {
    /// The server has names that end in what they are numbered.
    fn new(names: impl Iterator<Item = String>) -> Self {
        let mut device = Device::unloaded();
        let rows: Vec<Row> = names.enumerate().flat_map(|(number, text)| named(&text, number)).collect();
        device.changed_elsewhere(&rows);
        Self { device, listing: None, rest: Vec::new().into_iter(), seq: 0 }
    }

    pub fn of(count: usize) -> Self {
        Self::new((0..count).map(|number| format!("n{number:05}")))
    }

    /// Others remove a name, and make another before it.
    fn one_goes_and_one_comes(&mut self) {
        let gone = [entry_row(root(), "n00004", None), gone(node(4))];
        let rows: Vec<Row> = gone.into_iter().chain(named("n00002x", 99)).collect();
        self.device.changed_elsewhere(&rows);
    }

    fn begin(&mut self) {
        (self.rest, self.seq) = (self.device.children(root()).into_iter(), self.device.seq);
        self.listing = Some(self.device.tree.begin_listing(root(), self.seq).unwrap());
    }

    /// Takes in a page, and ends the listing with the last.
    pub fn page(&mut self, max: usize) {
        if self.listing.is_none() {
            self.begin();
        }
        let listing = self.listing.take().unwrap();
        let listing = self.device.tree.list_children(listing, self.rest.by_ref().take(max).collect()).unwrap();
        if self.rest.len() > 0 && !listing.is_over() {
            self.listing = Some(listing);
        } else {
            self.device.tree.end_listing(listing, head(self.seq)).unwrap();
        }
    }

    fn read(&self, handle: DirHandle, after: u64) -> Result<Vec<(String, u64)>, TreeError> {
        let page = self.device.tree.read_dir(handle, after, 10_000)?;
        Ok(page.into_iter().map(|entry| (entry.name.to_string(), entry.cookie)).collect())
    }
}

fn unlisted<T: std::fmt::Debug>(result: Result<T, TreeError>) -> Unlisted {
    match result {
        Err(TreeError::Unlisted(folder)) => folder,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_are_read_as_they_come_and_the_end_is_told_when_it_is_known() {
    let mut world = World::of(250);
    let before = unlisted(world.device.tree.open_dir(ROOT));
    world.page(100);
    let handle = world.device.tree.open_dir(ROOT).unwrap();
    let mut all = world.read(handle, 0).unwrap();
    assert_eq!((all.len(), all[0].0.as_str(), all[99].0.as_str()), (100, "n00000", "n00099"));
    let first = unlisted(world.read(handle, all[99].1));
    assert!(first.progress > before.progress && first.node == root());
    world.page(100);
    all.extend(world.read(handle, all[99].1).unwrap());
    let second = unlisted(world.read(handle, all[199].1));
    assert!(second.progress > first.progress, "whoever waits sees that there is more");
    world.page(100);
    all.extend(world.read(handle, all[199].1).unwrap());
    assert_eq!((all.len(), world.read(handle, all[249].1).unwrap().len()), (250, 0));
    assert_eq!(world.read(handle, 0).unwrap(), all, "the places stay when all is known");
    world.device.tree.close_dir(handle);
    let device = world.device.restart();
    let again = device.tree.read_dir_whole(ROOT).unwrap();
    assert!(again.iter().map(|entry| (entry.name.to_string(), entry.cookie)).eq(all), "and after a restart");
}

#[test]
fn what_has_come_can_be_looked_up_and_changed_and_what_has_not_is_waited_for() {
    let mut world = World::of(20);
    world.page(10);
    let device = &world.device;
    assert_eq!(device.lookup(ROOT, "n00003").unwrap().size_bytes, 6);
    assert!(matches!(device.lookup(ROOT, "n00003x"), Err(TreeError::NotFound)), "the listing is past it");
    let ahead = Ahead { files_max: 100, bytes_max: 1 << 20, file_bytes_max: 1_000, beyond: false };
    let behind = device.tree.absent_behind(device.at("/n00006"), ahead).unwrap();
    assert_eq!(behind.len(), 3, "what is read next may be fetched");
    unlisted(device.lookup(ROOT, "n00010"));
    unlisted(device.lookup(ROOT, "zz"));
    unlisted(device.tree.create(ROOT, &name("zz"), new(tarn_proto::node::NodeKind::File)));
    device.file(ROOT, "n00004x");
    device.tree.unlink(ROOT, &name("n00005")).unwrap();
    device.renamed((ROOT, "n00006"), (ROOT, "n00000a"));
    assert!(matches!(device.lookup(ROOT, "n00006"), Err(TreeError::NotFound)));
    assert!(matches!(device.rename((ROOT, "n00001"), (ROOT, "zz"), RenameMode::Replace), Err(TreeError::Unlisted(_))));
    world.page(10);
    let names = world.device.list(ROOT);
    let expected: BTreeSet<String> = (0..20).map(|number| format!("n{number:05}")).collect();
    let mut expected: Vec<String> = expected.into_iter().filter(|n| n != "n00005" && n != "n00006").collect();
    expected.extend(["n00000a".to_owned(), "n00004x".to_owned()]);
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn after_a_crash_half_way_the_folder_is_unknown_and_what_was_made_in_it_is_not_lost() {
    let mut world = World::of(20);
    world.page(10);
    let made = world.device.written(ROOT, "n00004x", b"here");
    world.device = world.device.kill();
    unlisted(world.device.tree.open_dir(ROOT));
    unlisted(world.device.lookup(ROOT, "n00003"));
    assert_eq!(world.device.lookup(ROOT, "n00004x").unwrap().ino, made, "what is of this device needs no server");
    assert_eq!(world.device.read(made), b"here");
    world.listing = None;
    world.page(7);
    world.page(20);
    assert_eq!(world.device.list(ROOT).len(), 21);
    assert_eq!(world.device.push().len(), 1);
    assert_eq!(world.device.list(ROOT).len(), 21);
}

#[test]
fn a_listing_that_breaks_off_keeps_its_places_and_the_next_one_takes_away_what_went() {
    let mut world = World::of(30);
    world.page(10);
    let handle = world.device.tree.open_dir(ROOT).unwrap();
    let first = world.read(handle, 0).unwrap();
    world.listing = None;
    world.one_goes_and_one_comes();
    assert!(matches!(world.device.lookup(ROOT, "n00002x"), Err(TreeError::NotFound)), "as far as anybody knows");
    world.page(6);
    assert_eq!(world.device.lookup(ROOT, "n00002x").unwrap().link_count, 1);
    world.page(100);
    let mut all = world.read(handle, 0).unwrap();
    let kept: Vec<_> = first.into_iter().filter(|(name, _)| name != "n00004").collect();
    assert_eq!(all[..9], kept, "each at its place");
    assert!(all[9].0 == "n00002x", "what is new comes behind");
    all.sort();
    assert_eq!((all.len(), all.iter().any(|(name, _)| name == "n00004")), (30, false));
}

#[test]
fn a_page_that_is_older_than_an_answer_brings_nothing_back() {
    let mut world = World::of(20);
    world.page(10);
    // What is asked for anew is as of before the removal.
    world.begin();
    world.device.tree.unlink(ROOT, &name("n00003")).unwrap();
    assert_eq!(world.device.push().len(), 1);
    world.device.swept();
    world.page(20);
    assert!(!world.device.list(ROOT).contains(&"n00003".to_owned()));
    assert!(matches!(world.device.lookup(ROOT, "n00003"), Err(TreeError::NotFound)));
}

#[test]
fn a_listing_goes_on_where_it_was_when_the_whole_tree_overtakes_it() {
    let mut world = World::of(30);
    world.page(10);
    let handle = world.device.tree.open_dir(ROOT).unwrap();
    let first = world.read(handle, 0).unwrap();
    world.one_goes_and_one_comes();
    world.device.pull_all();
    let rest = world.read(handle, first[9].1).unwrap();
    assert_eq!((rest.len(), world.read(handle, rest.last().unwrap().1).unwrap().len()), (21, 0));
    assert!(rest.iter().any(|(name, _)| name == "n00002x"));
    assert_eq!(world.read(handle, 0).unwrap()[..9].iter().filter(|entry| first.contains(entry)).count(), 9);
    world.page(10);
    assert!(world.listing.is_none(), "the rest of it is not asked for");
    assert_eq!(world.device.list(ROOT).len(), 30);
}

/// A number stands for whichever name or reader is at that place among those that there are.
#[derive(Debug, Clone)]
enum Step {
    Page(usize),
    BreakOff,
    Open,
    Read(usize, usize),
    LookUp(usize),
    Make(bool),
    Remove(usize),
    Move(usize),
    TheyMake,
    TheyRemove(usize),
    Push,
    Sweep,
    PullAll,
}

fn step(page_max: usize) -> impl Strategy<Value = Step> {
    let at = || any::<usize>();
    prop_oneof![
        6 => (1..page_max).prop_map(Step::Page),
        1 => Just(Step::BreakOff),
        2 => Just(Step::Open),
        6 => (at(), 1..page_max).prop_map(|(reader, max)| Step::Read(reader, max)),
        3 => at().prop_map(Step::LookUp),
        3 => any::<bool>().prop_map(Step::Make),
        2 => at().prop_map(Step::Remove),
        2 => at().prop_map(Step::Move),
        1 => Just(Step::TheyMake),
        1 => at().prop_map(Step::TheyRemove),
        2 => Just(Step::Push),
        1 => Just(Step::Sweep),
        1 => Just(Step::PullAll),
    ]
}

/// Somebody who reads the folder.
struct Reader {
    handle: DirHandle,
    after: u64,
    /// There when it began, and never gone since.
    steady: BTreeSet<String>,
    seen: BTreeSet<String>,
}

/// Names that end in `m` are changed here alone, those in `t` by others alone.
struct Play {
    world: World,
    next: usize,
    names: BTreeSet<String>,
    /// Made by others; this device may not have heard of them.
    unheard: BTreeSet<String>,
    readers: Vec<Reader>,
    is_loaded: bool,
}

impl Play {
    fn new(count: usize) -> Self {
        let text = |number: usize| format!("n{number:05}{}", if number.is_multiple_of(3) { 'm' } else { 't' });
        let names: BTreeSet<String> = (0..count).map(text).collect();
        let world = World::new(names.iter().cloned());
        let unheard = BTreeSet::new();
        Self { world, next: count, names, unheard, readers: Vec::new(), is_loaded: false }
    }

    fn fresh(&mut self, is_early: bool, whose: char) -> String {
        self.next += 1;
        format!("{}{:05}{whose}", if is_early { 'a' } else { 'z' }, self.next)
    }

    fn at(&self, at: usize, whose: char) -> Option<String> {
        let all: Vec<&String> = self.names.iter().filter(|name| name.ends_with(whose)).collect();
        all.get(at % all.len().max(1)).map(|name| (*name).clone())
    }

    fn is_gone(&mut self, name: &str) {
        self.names.remove(name);
        for reader in &mut self.readers {
            reader.steady.remove(name);
        }
    }

    fn open(&mut self) {
        if let Ok(handle) = self.world.device.tree.open_dir(ROOT) {
            let (steady, seen) = (self.names.difference(&self.unheard).cloned().collect(), BTreeSet::new());
            self.readers.push(Reader { handle, after: 0, steady, seen });
        }
    }

    /// Whether it is at the end; `None`: more must come first.
    fn read(&mut self, at: usize, max: usize) -> Option<bool> {
        let reader = &mut self.readers[at];
        let page = match self.world.device.tree.read_dir(reader.handle, reader.after, max) {
            Err(TreeError::Unlisted(_)) => return None,
            page => page.unwrap(),
        };
        for entry in &page {
            assert!(entry.cookie > reader.after && reader.seen.insert(entry.name.to_string()), "{} twice", entry.name);
            reader.after = entry.cookie;
        }
        let missed: Vec<&String> = reader.steady.difference(&reader.seen).collect();
        assert!(!page.is_empty() || missed.is_empty(), "at the end without {missed:?}");
        Some(page.is_empty())
    }

    /// What a program here does to its own names; nothing where it would have to wait.
    fn here(&mut self, step: &Step) {
        let device = &self.world.device;
        match *step {
            Step::Make(is_early) => {
                let fresh = self.fresh(is_early, 'm');
                let made = self.world.device.tree.create(ROOT, &name(&fresh), new(tarn_proto::node::NodeKind::File));
                if !matches!(made, Err(TreeError::Unlisted(_))) {
                    made.unwrap();
                    self.names.insert(fresh);
                }
            }
            Step::Remove(at) => {
                let Some(gone) = self.at(at, 'm') else { return };
                let removed = device.tree.unlink(ROOT, &name(&gone));
                if !matches!(removed, Err(TreeError::Unlisted(_))) {
                    removed.unwrap();
                    self.is_gone(&gone);
                }
            }
            Step::Move(at) => {
                let Some(from) = self.at(at, 'm') else { return };
                let to = self.fresh(at.is_multiple_of(2), 'm');
                let moved = self.world.device.rename((ROOT, &from), (ROOT, &to), RenameMode::Replace);
                if !matches!(moved, Err(TreeError::Unlisted(_))) {
                    moved.unwrap();
                    self.is_gone(&from);
                    self.names.insert(to);
                }
            }
            Step::LookUp(at) => {
                let Some(there) = self.at(at, 'm') else { return };
                assert!(!matches!(device.lookup(ROOT, &there), Err(TreeError::NotFound)), "{there} is there");
                assert!(device.lookup(ROOT, &format!("{there} not")).is_err());
            }
            _ => {}
        }
    }

    fn elsewhere(&mut self, step: &Step) {
        let rows: Vec<Row> = match *step {
            Step::TheyMake => {
                let fresh = self.fresh(self.next.is_multiple_of(2), 't');
                self.names.insert(fresh.clone());
                self.unheard.extend((!self.is_loaded).then(|| fresh.clone()));
                named(&fresh, self.next).into()
            }
            Step::TheyRemove(at) => {
                let Some(gone) = self.at(at, 't') else { return };
                self.is_gone(&gone);
                vec![entry_row(root(), &gone, None)]
            }
            _ => return,
        };
        if self.is_loaded {
            self.world.device.pull_known(rows);
        } else {
            self.world.device.changed_elsewhere(&rows);
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Page(max) if !self.is_loaded || self.world.listing.is_some() => self.world.page(max),
            Step::BreakOff => self.world.listing = None,
            Step::Open if self.readers.len() < 5 => self.open(),
            Step::Read(at, max) if !self.readers.is_empty() => drop(self.read(at % self.readers.len(), max)),
            Step::Push => drop(self.world.device.push()),
            Step::Sweep => self.world.device.swept(),
            Step::PullAll => {
                self.world.device.pull_all();
                self.is_loaded = true;
                self.unheard.clear();
            }
            Step::Make(_) | Step::Remove(_) | Step::Move(_) | Step::LookUp(_) => self.here(step),
            Step::TheyMake | Step::TheyRemove(_) => self.elsewhere(step),
            _ => {}
        }
    }

    /// Reads all to the end, taking in what they wait for.
    fn finish(mut self) {
        self.open();
        for at in 0..self.readers.len() {
            loop {
                match self.read(at, 1_000) {
                    Some(true) => break,
                    Some(false) => {}
                    None => self.world.page(700),
                }
            }
            self.world.device.tree.close_dir(self.readers[at].handle);
        }
        self.world.device.push();
        self.world.device.pull_all();
        let all: Vec<String> = self.names.iter().cloned().collect();
        assert_eq!(self.world.device.list(ROOT), all);
        self.world.device.swept();
        assert_eq!(self.world.device.list(ROOT), all);
    }
}

fn play(count: usize, steps: Vec<Step>) {
    on_a_thread_of_its_own(move || {
        let mut play = Play::new(count);
        steps.iter().for_each(|step| play.take(step));
        play.finish();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_name_that_stays_is_read_once_while_names_come_in_and_here_and_elsewhere_change(
        count in 0..60usize, steps in proptest::collection::vec(step(20), 1..80),
    ) {
        play(count, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_a_large_folder_each_name_that_stays_is_read_once_while_names_come_in(
        steps in proptest::collection::vec(step(2_500), 1..40),
    ) {
        play(6_000, steps);
    }
}
