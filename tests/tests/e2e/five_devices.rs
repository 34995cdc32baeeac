//! Five devices at random work on the same few names while their daemons and the server are killed. At the end all trees are equal to the
//! last byte, and what a person saved and left alone is in the tree or in a file's history.

use crate::crash_check::given;
use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tarn_proto::chunk::{ContentKey, chunk_id};
use tarn_proto::manifest::{ManifestEntry, content_id};
use tarn_tests::device::Device;
use tarn_tests::diff::{entries, same_tree};
use tarn_tests::programs::run;
use tarn_tests::seed::Seed;
use tarn_tests::server::{Server, ready};
use tarn_tests::wait::eventually;

const DEVICES: usize = 5;
/// Kills in the default run; `TARN_DEVICES_KILLS` asks for more.
const KILLS: u64 = 6;
/// Deeds between two kills, of all devices together.
const DEEDS_BETWEEN: u64 = 120;
/// Seconds over which all of it is spread, in `TARN_DEVICES_SECONDS`; without it people are as fast as they can.
const SECONDS: u64 = 0;
const FOLDERS: [&str; 4] = ["", "one", "two", "one/deep"];
const NAMES: [&str; 6] = ["a", "b", "c", "d.txt", "e.txt", "d.txt~"];
const SOON: Duration = Duration::from_secs(300);

/// When which deed is done, of all people together.
struct Pace {
    began: Instant,
    spread: Duration,
    deeds: AtomicU64,
    enough: u64,
}

impl Pace {
    fn new(kills: u64, spread: Duration) -> Self {
        Self { began: Instant::now(), spread, deeds: AtomicU64::new(0), enough: (kills + 1) * DEEDS_BETWEEN }
    }

    /// Waits for the next deed's time; false if all are done.
    fn next(&self) -> bool {
        let deed = self.deeds.fetch_add(1, Ordering::Relaxed);
        if deed >= self.enough {
            return false;
        }
        let due = self.spread.mul_f64(deed as f64 / self.enough as f64);
        eventually(SOON + self.spread, "a deed's time comes", || self.began.elapsed() >= due);
        true
    }
}

/// Somebody at a device.
struct Person<'a> {
    device: &'a Device,
    dice: Seed,
    made: u64,
    /// Whether files beside others are removed now and then: over hours there would be tens of thousands.
    is_tidy: bool,
    /// What was saved here and not replaced or removed here since.
    left_alone: HashSet<Vec<u8>>,
}

impl<'a> Person<'a> {
    fn new(device: &'a Device, dice: Seed, is_tidy: bool) -> Self {
        Self { device, dice, made: 0, is_tidy, left_alone: HashSet::new() }
    }

    fn place(&mut self) -> PathBuf {
        let folder = FOLDERS[self.dice.index(FOLDERS.len())];
        self.device.join(folder).join(NAMES[self.dice.index(NAMES.len())])
    }

    /// Bytes that nobody else writes, ever.
    fn news(&mut self) -> Vec<u8> {
        self.made += 1;
        let length = [10, 900, 5_000, 90_000][self.dice.index(4)];
        let mut bytes = format!("{} {}\n", self.device.name(), self.made).into_bytes();
        bytes.extend(self.dice.bytes(length));
        bytes
    }

    /// What stands at a place may go: it is this person's wish.
    fn part_with(&mut self, path: &Path) -> io::Result<()> {
        match fs::read(path) {
            Ok(bytes) => drop(self.left_alone.remove(&bytes)),
            Err(error) if [ErrorKind::NotFound, ErrorKind::IsADirectory].contains(&error.kind()) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn save(&mut self, path: &Path, by_rename: bool) -> io::Result<()> {
        let bytes = self.news();
        self.part_with(path)?;
        if by_rename {
            let temporary = self.device.join(&format!(".save.{}.{}", self.device.name(), self.made));
            fs::write(&temporary, &bytes)?;
            fs::rename(&temporary, path)?;
        } else {
            fs::write(path, &bytes)?;
        }
        self.left_alone.insert(bytes);
        Ok(())
    }

    /// Does something; that it fails is all right.
    fn act(&mut self) -> io::Result<()> {
        let (path, other) = (self.place(), self.place());
        match self.dice.below(12) {
            0..=3 => self.save(&path, false),
            4..=5 => self.save(&path, true),
            6..=7 => {
                self.part_with(&other)?;
                fs::rename(&path, &other)
            }
            8 => {
                self.part_with(&path)?;
                fs::remove_file(&path)
            }
            9 => fs::hard_link(&path, &other),
            10 => fs::create_dir_all(self.device.join(FOLDERS[1 + self.dice.index(FOLDERS.len() - 1)])),
            _ => self.look_around(),
        }
    }

    /// Looks at the whole tree. Who is tidy removes half of what lies beside something.
    fn look_around(&mut self) -> io::Result<()> {
        let beside = |path: &Path| path.to_string_lossy().contains(" (conflict from ");
        for (path, _) in entries(self.device.path()).map_err(io::Error::other)? {
            if self.is_tidy && beside(&path) && self.dice.below(2) == 0 {
                let path = self.device.path().join(path);
                self.part_with(&path)?;
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Works until all deeds are done.
    fn work(&mut self, pace: &Pace) {
        while pace.next() {
            match self.act() {
                Ok(()) => {}
                Err(error) => assert!(is_ordinary(&error), "{}: {error}", self.device.name()),
            }
        }
    }
}

/// Whether somebody else was faster, a name is of another kind, or bytes are on a server that is dead: nothing else may fail.
fn is_ordinary(error: &io::Error) -> bool {
    let ordinary = [libc::ENOENT, libc::EEXIST, libc::EISDIR, libc::ENOTDIR, libc::ESTALE, libc::ENETUNREACH];
    error.raw_os_error().is_none_or(|number| ordinary.contains(&number))
}

/// Kills a daemon or the server, and has it come back.
fn kill_one(server: &Server, devices: &[Device], dice: &mut Seed) {
    match devices.get(dice.index(DEVICES + 1)) {
        Some(device) => {
            device.kill_daemon().unwrap();
            eventually(SOON, "the next daemon serves", || device.status().is_ok());
        }
        None => {
            server.kill();
            server.restart().unwrap();
            ready(server);
        }
    }
}

/// The ids of all contents that any file ever had on the server.
fn history(server: &Server) -> String {
    let mut command = Command::new("sqlite3");
    command.args(["-readonly", "-cmd", ".timeout 10000"]).arg(server.data().join("tarn.db"));
    run(command.arg("select lower(hex(content_id)) from versions"), "").unwrap().ok().unwrap().stdout
}

/// The content id of a file of one chunk, as all files here are.
fn id_of(bytes: &[u8]) -> String {
    let id = chunk_id(&ContentKey::Ordinary, bytes);
    content_id(&ContentKey::Ordinary, &[ManifestEntry { id, length: bytes.len() as u64, stored: 0 }]).to_string()
}

/// What was left alone is in the tree or in the history.
#[track_caller]
fn nothing_is_lost(server: &Server, devices: &[Device], left_alone: &HashSet<Vec<u8>>) {
    let shown = entries(devices[0].path()).unwrap();
    let files = shown.iter().filter(|(_, meta)| meta.is_file()).map(|(path, _)| devices[0].path().join(path));
    let shown: HashSet<Vec<u8>> = files.map(|path| fs::read(path).unwrap()).collect();
    let history = history(server);
    let is_known = |bytes: &[u8]| history.contains(&id_of(bytes));
    let lost = left_alone.iter().filter(|bytes| !shown.contains(*bytes) && !is_known(bytes));
    let lost: Vec<String> = lost.map(|bytes| String::from_utf8_lossy(&bytes[..8]).into_owned()).collect();
    assert!(lost.is_empty(), "saved, left alone, and nowhere any more: {lost:?} of {}", left_alone.len());
    let unknown = shown.iter().filter(|bytes| !bytes.is_empty() && !is_known(bytes)).count();
    assert_eq!(unknown, 0, "of {} contents that are shown", shown.len());
}

#[test]
fn five_devices_that_are_killed_at_random_work_end_equal_and_lose_nothing() {
    let (seed, kills) = (given("TARN_CRASH_SEED", 5), given("TARN_DEVICES_KILLS", KILLS));
    let (mut dice, began) = (Seed::new(seed), Instant::now());
    let server = crate::server();
    let device = |name: &&str| Device::new(&server, name).unwrap().surviving();
    let devices: Vec<Device> = ["a", "b", "c", "d", "e"].iter().map(device).collect();
    devices.iter().for_each(|device| device.mount().unwrap());
    let pace = Pace::new(kills, Duration::from_secs(given("TARN_DEVICES_SECONDS", SECONDS)));
    let is_tidy = !pace.spread.is_zero();
    let mut people: Vec<Person<'_>> = devices.iter().map(|device| Person::new(device, dice.fork(), is_tidy)).collect();
    thread::scope(|scope| {
        for person in &mut people {
            scope.spawn(|| person.work(&pace));
        }
        for kill in 1..=kills {
            let is_due = || pace.deeds.load(Ordering::Relaxed) >= kill * DEEDS_BETWEEN;
            eventually(SOON + pace.spread, "people work", is_due);
            kill_one(&server, &devices, &mut dice);
        }
    });
    for device in devices.iter().chain(&devices) {
        device.wait().unwrap();
    }
    for device in &devices[1..] {
        eventually(SOON, "all show the same", || same_tree(devices[0].path(), device.path()).is_ok());
    }
    devices.iter().for_each(|device| drop(crate::verify::assert_sound(device, &[])));
    server.check().unwrap().ok().unwrap();
    let left_alone: HashSet<Vec<u8>> = people.into_iter().flat_map(|person| person.left_alone).collect();
    nothing_is_lost(&server, &devices, &left_alone);
    let (names, seconds) = (entries(devices[0].path()).unwrap().len(), began.elapsed().as_secs());
    println!(
        "Figures: {} deeds of {DEVICES} devices, {kills} kills, {names} names, {} contents left alone, {seconds} s",
        pace.enough,
        left_alone.len()
    );
}
