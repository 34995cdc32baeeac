//! A folder that changes while it is listed, here and elsewhere: a name that is there all the while is shown once by each
//! listing, and no name twice. Random changes against sets of names.

use super::fixture::*;
use crate::meta::rows::Ino;
use crate::tree::DirHandle;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tarn_proto::change::Row;
use tarn_proto::ids::NodeId;
use tarn_proto::node::NodeState;
use tarn_proto::op::RenameMode;
use tarn_proto::version::VersionVector;

const FOLDER: NodeId = NodeId([12; 16]);

/// A number stands for whichever name or listing is at that place among those that there are.
#[derive(Debug, Clone)]
enum Step {
    Open,
    Read { listing: usize, max: usize },
    Make,
    Remove(usize),
    Move(usize),
    MoveOver(usize, usize),
    Exchange(usize, usize),
    TheyMake,
    TheyRemove(usize),
    TheyMove(usize),
    TheyReplace(usize),
    Push,
    Sweep,
    PullAll,
}

fn step(page_max: usize) -> impl Strategy<Value = Step> {
    let at = || any::<usize>();
    prop_oneof![
        1 => Just(Step::Open),
        6 => (at(), 1..page_max).prop_map(|(listing, max)| Step::Read { listing, max }),
        2 => Just(Step::Make),
        2 => at().prop_map(Step::Remove),
        2 => at().prop_map(Step::Move),
        1 => (at(), at()).prop_map(|(from, to)| Step::MoveOver(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Step::Exchange(from, to)),
        2 => Just(Step::TheyMake),
        2 => at().prop_map(Step::TheyRemove),
        2 => at().prop_map(Step::TheyMove),
        1 => at().prop_map(Step::TheyReplace),
        2 => Just(Step::Push),
        2 => Just(Step::Sweep),
        1 => Just(Step::PullAll),
    ]
}

/// A listing under way.
struct Listing {
    handle: DirHandle,
    after: u64,
    /// There when it began, and never gone since.
    steady: BTreeSet<String>,
    /// Shown, and not gone since.
    seen: BTreeSet<String>,
}

struct World {
    device: Device,
    dir: Ino,
    next: u32,
    /// What is there; the node of what only others have touched.
    names: BTreeMap<String, Option<NodeId>>,
    listings: Vec<Listing>,
}

fn theirs() -> NodeState {
    remote_file(b"theirs", VersionVector::default().with(OTHER, 1), OTHER)
}

fn node(number: u32) -> NodeId {
    let mut id = [0x55; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

impl World {
    fn new(count: u32) -> Self {
        let mut device = Device::new();
        let mut rows =
            vec![node_row(root(), folder()), node_row(FOLDER, folder()), entry_row(root(), "d", Some(FOLDER))];
        let mut names = BTreeMap::new();
        for number in 0..count {
            let name = format!("n{number:05}");
            rows.extend([node_row(node(number), theirs()), entry_row(FOLDER, &name, Some(node(number)))]);
            names.insert(name, Some(node(number)));
        }
        device.pull_known(rows);
        let dir = device.at("/d");
        device.tree.refer(dir).unwrap();
        let mut world = Self { device, dir, next: count, names, listings: Vec::new() };
        world.open();
        world
    }

    fn open(&mut self) {
        let handle = self.device.tree.open_dir(self.dir).unwrap();
        let steady = self.names.keys().cloned().collect();
        self.listings.push(Listing { handle, after: 0, steady, seen: BTreeSet::new() });
    }

    fn read(&mut self, at: usize, max: usize) -> usize {
        let listing = &mut self.listings[at];
        let page = self.device.tree.read_dir(listing.handle, listing.after, max).unwrap();
        for entry in &page {
            let name = entry.name.to_string();
            assert!(entry.cookie > listing.after, "{name} is not behind what was read");
            assert!(self.names.contains_key(&name), "{name} is not there");
            assert!(listing.seen.insert(name.clone()), "{name} is shown twice");
            listing.after = entry.cookie;
        }
        page.len()
    }

    /// The name at a place, and whether only others have touched it.
    fn name_at(&self, at: usize) -> Option<(String, Option<NodeId>)> {
        let name = self.names.iter().nth(at % self.names.len().max(1));
        name.map(|(name, node)| (name.clone(), *node))
    }

    fn theirs_at(&self, at: usize) -> Option<(String, NodeId)> {
        let theirs: Vec<_> = self.names.iter().filter_map(|(name, node)| Some((name, (*node)?))).collect();
        theirs.get(at % theirs.len().max(1)).map(|(name, node)| ((*name).clone(), *node))
    }

    fn fresh(&mut self) -> (String, NodeId) {
        self.next += 1;
        // Some sort before all others.
        let letter = if self.next.is_multiple_of(2) { 'a' } else { 'z' };
        (format!("{letter}{:05}", self.next), node(self.next))
    }

    fn is_gone(&mut self, name: &str) {
        self.names.remove(name);
        for listing in &mut self.listings {
            listing.steady.remove(name);
            listing.seen.remove(name);
        }
    }

    fn rename(&mut self, from: &str, to: &str, mode: RenameMode) {
        self.device.rename((self.dir, from), (self.dir, to), mode).unwrap();
        self.names.insert(to.to_owned(), None);
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Open if self.listings.len() < 6 => self.open(),
            Step::Open => {}
            Step::Read { listing, max } => drop(self.read(listing % self.listings.len(), max)),
            Step::Push => drop(self.device.push()),
            Step::Sweep => self.device.swept(),
            Step::PullAll => self.device.pull_all(),
            Step::Make | Step::Remove(_) | Step::Move(_) | Step::MoveOver(..) | Step::Exchange(..) => self.here(step),
            Step::TheyMake | Step::TheyRemove(_) | Step::TheyMove(_) | Step::TheyReplace(_) => self.elsewhere(step),
        }
    }

    /// What programs do here.
    fn here(&mut self, step: &Step) {
        match *step {
            Step::Make => {
                let (name, _) = self.fresh();
                self.device.file(self.dir, &name);
                self.names.insert(name, None);
            }
            Step::Remove(at) => {
                let Some((gone, _)) = self.name_at(at) else { return };
                self.device.tree.unlink(self.dir, &name(&gone)).unwrap();
                self.is_gone(&gone);
            }
            Step::Move(at) => {
                let Some((from, _)) = self.name_at(at) else { return };
                let (to, _) = self.fresh();
                self.rename(&from, &to, RenameMode::Replace);
                self.is_gone(&from);
            }
            Step::MoveOver(from, to) | Step::Exchange(from, to) => {
                let (Some((from, _)), Some((to, _))) = (self.name_at(from), self.name_at(to)) else { return };
                if from == to {
                    return;
                }
                let exchanges = matches!(step, Step::Exchange(..));
                self.rename(&from, &to, if exchanges { RenameMode::Exchange } else { RenameMode::Replace });
                if exchanges {
                    self.names.insert(from, None);
                } else {
                    self.is_gone(&from);
                }
            }
            _ => {}
        }
    }

    /// What other devices do, where this one has done nothing.
    fn elsewhere(&mut self, step: &Step) {
        let (fresh, fresh_node) = self.fresh();
        let entry = |name: &str, node: Option<NodeId>| entry_row(FOLDER, name, node);
        let rows = match *step {
            Step::TheyMake => {
                self.names.insert(fresh.clone(), Some(fresh_node));
                vec![node_row(fresh_node, theirs()), entry(&fresh, Some(fresh_node))]
            }
            Step::TheyRemove(at) => {
                let Some((name, node)) = self.theirs_at(at) else { return };
                self.is_gone(&name);
                vec![entry(&name, None), Row::Node { node, state: None }]
            }
            Step::TheyMove(at) => {
                let Some((name, node)) = self.theirs_at(at) else { return };
                self.is_gone(&name);
                self.names.insert(fresh.clone(), Some(node));
                vec![entry(&name, None), entry(&fresh, Some(node))]
            }
            Step::TheyReplace(at) => {
                let Some((name, node)) = self.theirs_at(at) else { return };
                self.names.insert(name.clone(), Some(fresh_node));
                let old = Row::Node { node, state: None };
                vec![node_row(fresh_node, theirs()), entry(&name, Some(fresh_node)), old]
            }
            _ => return,
        };
        self.device.pull_known(rows);
    }

    /// Reads all listings to their end.
    fn finish(mut self) {
        for at in 0..self.listings.len() {
            while self.read(at, 7_000) > 0 {}
            let listing = &self.listings[at];
            let missed: Vec<&String> = listing.steady.difference(&listing.seen).collect();
            assert!(missed.is_empty(), "listing {at} leaves out {missed:?}");
            self.device.tree.close_dir(listing.handle);
        }
        let all: Vec<String> = self.names.keys().cloned().collect();
        assert_eq!(self.device.list(self.dir), all);
        self.device.push();
        self.device.swept();
        assert_eq!(self.device.list(self.dir), all);
    }
}

fn run(count: u32, steps: Vec<Step>) {
    on_a_thread_of_its_own(move || {
        let mut world = World::new(count);
        steps.iter().for_each(|step| world.take(step));
        world.finish();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_name_that_stays_is_listed_once_each_while_here_and_elsewhere_names_come_and_go(
        count in 0..60u32, steps in proptest::collection::vec(step(20), 1..80),
    ) {
        run(count, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_a_large_folder_each_name_that_stays_is_listed_once_each_while_names_come_and_go(
        steps in proptest::collection::vec(step(900), 1..60),
    ) {
        run(2_200, steps);
    }
}
