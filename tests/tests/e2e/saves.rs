//! How programs save (`tests/fixtures/saves`): each sequence of calls is replayed in a mount and on a plain disk at the same time. A
//! program on this device sees the same of both after each call; another device sees whole contents only, under names that stay; and
//! the file that people see keeps its node and its history where the design says so.

mod history;
mod onlooker;

use crate::converge;
use history::History;
use onlooker::Onlooker;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tarn_tests::device::Device;
use tarn_tests::diff::{entries, same_tree};
use tarn_tests::saves::{Call, Claim, Fixture, Follower, Look, Replayer, shown};
use tarn_tests::server::Server;
use tarn_tests::wait::{eventually, timed};

const SOON: Duration = Duration::from_secs(30);
/// Less than a first half waits for its second one.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a replay is tried on a machine that is too slow for it.
const TRIES: usize = 5;

fn fixtures() -> Vec<Fixture> {
    Fixture::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/saves")).unwrap()
}

/// How fast a program makes its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// One after the other, with the pauses of the fixture.
    Natural,
    /// After each call the other device gets all that can be sent by then.
    Watched,
}

/// A folder in which a program works, what had its files open before, and a follower of each file.
struct Stage {
    folder: PathBuf,
    program: Replayer,
    open_before: BTreeMap<PathBuf, File>,
    followers: BTreeMap<PathBuf, Follower>,
}

impl Stage {
    fn new(folder: &Path) -> Self {
        let program = Replayer::new(folder);
        Self { folder: folder.into(), program, open_before: BTreeMap::new(), followers: BTreeMap::new() }
    }

    fn watch(&mut self) {
        for path in files(&self.folder) {
            let there = self.folder.join(&path);
            self.open_before.insert(path.clone(), File::open(&there).unwrap());
            self.followers.insert(path, Follower::new(&there).unwrap());
        }
    }

    /// All that can be seen here, and what followers say.
    fn look(&mut self) -> (Look, Vec<Vec<String>>) {
        let followed = self.followers.values_mut().map(|follower| follower.look().unwrap()).collect();
        (shown(&self.folder, &self.open_before, &self.program).unwrap(), followed)
    }

    /// What nobody writes just now, by path: bytes that others may see.
    fn whole(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let id = |meta: fs::Metadata| {
            (std::os::unix::fs::MetadataExt::dev(&meta), std::os::unix::fs::MetadataExt::ino(&meta))
        };
        let written: Vec<_> = self.program.handles().values().map(|file| id(file.metadata().unwrap())).collect();
        let whole = files(&self.folder).into_iter().map(|path| (path.clone(), self.folder.join(path)));
        let whole = whole.filter(|(_, there)| !written.contains(&id(fs::metadata(there).unwrap())));
        whole.map(|(path, there)| (path, fs::read(there).unwrap())).collect()
    }
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    entries(folder).unwrap().into_iter().filter(|(_, meta)| meta.is_file()).map(|(path, _)| path).collect()
}

/// Waits until the other device has what was made last here.
struct Marks<'a> {
    from: &'a Device,
    to: &'a Device,
    count: usize,
    /// Whether one took so long that a first half may have been sent without its second one.
    were_slow: bool,
}

impl Marks<'_> {
    fn pass(&mut self) {
        self.count += 1;
        let name = format!("marks/{}", self.count);
        fs::write(self.from.join(&name), "").unwrap();
        let ((), took) = timed(|| eventually(SOON, "what was made later is there", || self.to.join(&name).exists()));
        self.were_slow |= took > PATIENCE;
    }
}

/// What came of a replay.
struct Replayed {
    before: History,
    after: History,
    onlooker: onlooker::Report,
    whole: BTreeMap<PathBuf, BTreeSet<Vec<u8>>>,
    stayed: BTreeSet<PathBuf>,
    names: BTreeSet<PathBuf>,
}

/// Replays until no pause that is not the program's own was so long that it might have been a person's.
fn replay(fixture: &Fixture, server: &Server, pace: Pace, marks: &mut Marks<'_>) -> Replayed {
    for number in 0..TRIES {
        marks.were_slow = false;
        let replayed = replay_once(fixture, server, &format!("{}-{pace:?}-{number}", fixture.name), pace, marks);
        if !marks.were_slow {
            return replayed;
        }
    }
    panic!("{}: this machine is too slow to tell what others see at every moment", fixture.name);
}

fn replay_once(fixture: &Fixture, server: &Server, name: &str, pace: Pace, marks: &mut Marks<'_>) -> Replayed {
    let (a, b) = (marks.from, marks.to);
    let disk = tempfile::tempdir().unwrap();
    fs::create_dir(a.join(name)).unwrap();
    let (mut here, mut plain) = (Stage::new(&a.join(name)), Stage::new(disk.path()));
    for call in &fixture.before {
        here.program.call(call).unwrap();
        plain.program.call(call).unwrap();
    }
    converge(a, b);
    let before = History::of(server, a, name);
    let names: BTreeSet<PathBuf> = entries(disk.path()).unwrap().into_keys().collect();
    let existed = files(disk.path());
    let onlooker = Onlooker::of(&b.join(name), existed.clone());
    [&mut here, &mut plain].into_iter().for_each(Stage::watch);
    let mut whole: BTreeMap<PathBuf, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut note = |plain: &Stage| {
        plain.whole().into_iter().for_each(|(path, bytes)| {
            whole.entry(path).or_default().insert(bytes);
        });
    };
    note(&plain);
    for call in &fixture.calls {
        let began = Instant::now();
        here.program.call(call).unwrap();
        plain.program.call(call).unwrap();
        assert_eq!(here.look(), plain.look(), "{name}: here and on a disk, after {call:?}");
        note(&plain);
        match (call, pace) {
            (Call::Pause, _) => eventually(SOON, "all is sent that can be", || is_sent(a)),
            (_, Pace::Watched) => marks.pass(),
            (_, Pace::Natural) => marks.were_slow |= began.elapsed() > PATIENCE,
        }
    }
    a.wait().unwrap();
    converge(a, b);
    same_tree(disk.path(), &b.join(name)).unwrap();
    let names = names.into_iter().chain(entries(disk.path()).unwrap().into_keys()).collect();
    let stayed = existed.intersection(&files(disk.path())).cloned().collect();
    Replayed { before, after: History::of(server, a, name), onlooker: onlooker.report(), whole, stayed, names }
}

fn is_sent(device: &Device) -> bool {
    device.status().unwrap()["queue"]["operations"] == 0
}

impl Replayed {
    /// Others saw whole contents only, no name that is not to be seen, and missed none.
    fn check_what_others_saw(&self, fixture: &Fixture) {
        let claims = |claim: &Claim| fixture.after.contains(claim);
        for (path, seen) in &self.onlooker.contents {
            let whole = &self.whole[path];
            let torn: Vec<usize> = seen.iter().filter(|bytes| !whole.contains(*bytes)).map(Vec::len).collect();
            assert!(
                torn.is_empty(),
                "{}: others saw {} with {torn:?} bytes, never whole",
                fixture.name,
                path.display()
            );
        }
        for path in &self.onlooker.missed {
            let is_allowed = !self.stayed.contains(path) || claims(&Claim::Vanishes(path.clone()));
            assert!(is_allowed, "{}: others missed {}", fixture.name, path.display());
        }
        for path in self.onlooker.names.difference(&self.names) {
            assert!(claims(&Claim::Passes(path.clone())), "{}: others saw {}", fixture.name, path.display());
        }
    }

    /// Nodes and histories are what the fixture claims, of each file.
    fn check_history(&self, fixture: &Fixture) {
        let (before, after) = (&self.before.files, &self.after.files);
        let mut claimed = BTreeSet::new();
        for claim in &fixture.after {
            let (path, holds) = match claim {
                Claim::Same(path) => (path, after[path].goes_on_from(&before[path])),
                Claim::Kept(path) => (path, after[path] == before[path]),
                Claim::Fresh(path) => (path, before.values().all(|old| old.node != after[path].node)),
                Claim::Moved(from, path) => (path, after[path] == before[from]),
                Claim::Passes(_) | Claim::Vanishes(_) => continue,
            };
            claimed.insert(path.clone());
            assert!(holds, "{}: {claim:?}, but before {before:#?} and now {after:#?}", fixture.name);
        }
        let unclaimed: Vec<_> = after.keys().filter(|path| !claimed.contains(*path)).collect();
        assert!(unclaimed.is_empty(), "{}: nothing is claimed of {unclaimed:?}", fixture.name);
        self.check_versions(fixture);
    }

    /// No version is in any history that was never whole on this device.
    fn check_versions(&self, fixture: &Fixture) {
        let sizes: BTreeSet<u64> = self.whole.values().flatten().map(|bytes| bytes.len() as u64).collect();
        for (path, file) in &self.after.files {
            let torn: Vec<_> = file.versions.iter().filter(|version| !sizes.contains(&version.bytes)).collect();
            assert!(torn.is_empty(), "{}: {} has {torn:?} in its history", fixture.name, path.display());
        }
    }
}

/// Some of the fixtures, between two devices.
fn replay_all(wanted: impl Fn(&Fixture) -> bool, pace: Pace, check: impl Fn(&Replayed, &Fixture)) {
    let server = crate::server();
    let (a, b) = (Device::mounted(&server, "a").unwrap(), Device::mounted(&server, "b").unwrap());
    fs::create_dir(a.join("marks")).unwrap();
    let mut marks = Marks { from: &a, to: &b, count: 0, were_slow: false };
    let only = std::env::var("TARN_SAVES_ONLY").ok();
    let is_wanted = |fixture: &Fixture| wanted(fixture) && only.as_ref().is_none_or(|only| fixture.name == *only);
    for fixture in fixtures().iter().filter(|fixture| is_wanted(fixture)) {
        eprintln!("{}: {}", fixture.name, fixture.from);
        let replayed = replay(fixture, &server, pace, &mut marks);
        replayed.check_what_others_saw(fixture);
        check(&replayed, fixture);
    }
}

#[test]
fn what_programs_save_keeps_its_node_and_others_see_it_whole() {
    replay_all(|_| true, Pace::Natural, Replayed::check_history);
}

#[test]
fn others_see_whole_contents_after_each_call_of_a_program_that_saves() {
    replay_all(|_| true, Pace::Watched, |_, _| {});
}
