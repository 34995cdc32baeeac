//! A mount outlives its daemon: programs that use it while daemon after daemon is killed see pauses and nothing else.

mod lent;
mod notices;
mod requests;
mod upgrade;

use crate::converge;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};
use tarn_tests::device::Device;
use tarn_tests::process::Process;
use tarn_tests::seed::Seed;
use tarn_tests::wait::{eventually, timed, within};

/// Kills in the default run; TARN_SURVIVE_KILLS asks for more.
const KILLS: u64 = 5;
/// The next daemon answers by then, on any machine.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// Files of the folder that is listed all the while.
const STILL_FILES: u64 = 60;
const LARGE_BYTES: usize = 8 << 20;

fn given(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// An error that a program met: of which of its calls, and when.
#[derive(Debug)]
struct Met {
    #[expect(dead_code, reason = "it is printed")]
    error: io::Error,
    #[expect(dead_code, reason = "it is printed")]
    call: &'static Location<'static>,
    #[expect(dead_code, reason = "it is printed")]
    at: SystemTime,
}

impl From<io::Error> for Met {
    #[track_caller]
    fn from(error: io::Error) -> Self {
        Self { error, call: Location::caller(), at: SystemTime::now() }
    }
}

/// What one program does again and again; how often it did.
type Work = fn(&Path, u64) -> Result<(), Met>;

/// Makes and removes names of each kind. Every call succeeds, for nobody else is here.
fn make_and_remove(root: &Path, turn: u64) -> Result<(), Met> {
    let at = |name: &str| root.join(format!("{name}{turn}"));
    fs::create_dir(at("dir"))?;
    let inner = at("dir").join("file");
    OpenOptions::new().write(true).create_new(true).open(&inner)?.write_all(&turn.to_be_bytes())?;
    fs::hard_link(&inner, at("link"))?;
    symlink("target", at("symlink"))?;
    fs::rename(&inner, at("moved"))?;
    same(&fs::read(at("link"))?, &turn.to_be_bytes(), "a link")?;
    same(fs::read_link(at("symlink"))?.as_os_str().as_encoded_bytes(), b"target", "a symlink")?;
    fs::remove_dir(at("dir"))?;
    ["link", "symlink", "moved"].iter().try_for_each(|name| fs::remove_file(at(name)))?;
    Ok(())
}

/// Writes a file anew and puts it over the last one, which is whole whenever it is read.
fn replace(root: &Path, turn: u64) -> Result<(), Met> {
    let (part, whole) = (root.join("part"), root.join("whole"));
    let bytes = Seed::new(turn).bytes(1 + turn as usize * 997 % 200_000);
    let mut file = File::create(&part)?;
    bytes.chunks(50_000).try_for_each(|chunk| file.write_all(chunk))?;
    if turn.is_multiple_of(4) {
        file.sync_all()?;
    }
    fs::rename(&part, &whole)?;
    same(&fs::read(&whole)?, &bytes, "what was put in place")?;
    Ok(())
}

/// Removes a file that it has open, and goes on with it.
fn use_unlinked(root: &Path, turn: u64) -> Result<(), Met> {
    let path = root.join(format!("unlinked{turn}"));
    let bytes = Seed::new(turn).bytes(100_000);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    file.write_all_at(&bytes[..60_000], 0)?;
    fs::remove_file(&path)?;
    let mut read = vec![0; bytes.len()];
    for _ in 0..20 {
        file.write_all_at(&bytes[60_000..], 60_000)?;
        file.read_exact_at(&mut read, 0)?;
        same(&read, &bytes, "an unlinked file")?;
    }
    if file.metadata()?.nlink() == 0 { Ok(()) } else { Err(io::Error::other("an unlinked file has a name").into()) }
}

fn same(found: &[u8], expected: &[u8], what: &str) -> io::Result<()> {
    if found == expected {
        return Ok(());
    }
    let at = found.iter().zip(expected).position(|(one, other)| one != other);
    Err(io::Error::other(format!("{what} differs: {} bytes of {}, first at {at:?}", found.len(), expected.len())))
}

/// Names with inode numbers.
fn numbers(dir: &Path) -> io::Result<BTreeMap<PathBuf, u64>> {
    fs::read_dir(dir)?.map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.metadata()?.ino())))).collect()
}

/// Files that are there all the while, one of them large.
fn plant(root: &Path) -> io::Result<Vec<u8>> {
    fs::create_dir(root)?;
    (0..STILL_FILES).try_for_each(|number| fs::write(root.join(format!("{number}")), number.to_be_bytes()))?;
    let large = Seed::new(1).bytes(LARGE_BYTES);
    fs::write(root.join("large"), &large)?;
    Ok(large)
}

/// Looks at what stays: names, inode numbers, and the large file through one handle, which the kernel may read by itself.
fn look(root: &Path, large: &[u8], ends: &AtomicBool) -> Result<u64, Met> {
    let (expected, file, mut seed) = (numbers(root)?, File::open(root.join("large"))?, Seed::new(2));
    let (mut turns, mut read) = (0, vec![0; 100_000]);
    while !ends.load(Ordering::Relaxed) {
        let offset = seed.index(large.len() - read.len());
        file.read_exact_at(&mut read, offset as u64)?;
        same(&read, &large[offset..offset + read.len()], "the large file")?;
        let found = numbers(root)?;
        if found != expected {
            let missing: Vec<_> = expected.iter().filter(|(path, ino)| found.get(*path) != Some(ino)).collect();
            return Err(io::Error::other(format!("the listing differs: {} names, {missing:?}", found.len())).into());
        }
        turns += 1;
    }
    Ok(turns)
}

/// Appends lines through one handle and overwrites through another; each line is there once.
fn hold(path: &Path, ends: &AtomicBool) -> Result<u64, Met> {
    let mut log = OpenOptions::new().create(true).append(true).open(path)?;
    let fixed =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path.with_extension("fixed"))?;
    let mut lines = 0;
    while !ends.load(Ordering::Relaxed) {
        log.write_all(format!("{lines:09}\n").as_bytes())?;
        fixed.write_all_at(format!("{lines:09}").as_bytes(), lines % 100 * 9)?;
        lines += 1;
        let mut last = [0; 9];
        fixed.read_exact_at(&mut last, (lines - 1) % 100 * 9)?;
        same(&last, format!("{:09}", lines - 1).as_bytes(), "what was written through a handle")?;
    }
    let expected: String = (0..lines).map(|line| format!("{line:09}\n")).collect();
    same(&fs::read(path)?, expected.as_bytes(), "the log")?;
    Ok(lines)
}

fn work(root: PathBuf, work: Work, ends: &AtomicBool) -> Result<u64, Met> {
    fs::create_dir(&root)?;
    let mut turns = 0;
    while !ends.load(Ordering::Relaxed) {
        work(&root, turns)?;
        turns += 1;
    }
    Ok(turns)
}

/// The daemon after `before`, when it answers.
fn next_daemon(device: &Device, before: Option<Process>) -> Process {
    let mut found = None;
    eventually(BACK_WITHIN, "the next daemon answers", || {
        found = device.daemon().ok().filter(|daemon| Some(*daemon) != before);
        found.is_some()
    });
    found.unwrap()
}

/// Kills the daemon at random moments; the longest time until the mount answered again.
fn kill_again_and_again(device: &Device, kills: u64, mut seed: Seed, goes_on: impl Fn() -> bool) -> Duration {
    let (mut longest, mut before) = (Duration::ZERO, None);
    for turn in 0..kills {
        let daemon = next_daemon(device, before);
        within(Duration::from_millis(seed.below(400)), || !goes_on());
        daemon.kill();
        let unknown = device.join(&format!("not there {turn}"));
        let (found, took) = timed(|| fs::symlink_metadata(unknown));
        assert_eq!(found.unwrap_err().kind(), ErrorKind::NotFound);
        longest = longest.max(took);
        before = Some(daemon);
        assert!(goes_on(), "a program met an error after kill {turn}");
    }
    next_daemon(device, before);
    longest
}

#[test]
fn programs_see_a_pause_and_nothing_else_when_daemons_are_killed_with_passthrough() {
    see_a_pause_and_nothing_else(&[]);
}

#[test]
fn programs_see_a_pause_and_nothing_else_when_daemons_are_killed_without_passthrough() {
    see_a_pause_and_nothing_else(&["--no-passthrough"]);
}

fn see_a_pause_and_nothing_else(mount_args: &[&str]) {
    let (kills, seed) = (given("TARN_SURVIVE_KILLS", KILLS), given("TARN_CRASH_SEED", 11));
    let server = crate::server();
    let a = Device::new(&server, "a").unwrap().surviving().with_mount_args(mount_args);
    a.mount().unwrap();
    let ends = AtomicBool::new(false);
    let large = plant(&a.join("still")).unwrap();
    let lent = lent::plant(&a.join("lent")).unwrap();
    a.wait().unwrap();
    let works: [(&str, Work); 3] = [("names", make_and_remove), ("replaced", replace), ("unlinked", use_unlinked)];
    let (longest, turns) = thread::scope(|scope| {
        let (a, ends, large) = (&a, &ends, &large);
        let mut programs: Vec<(&str, thread::ScopedJoinHandle<'_, Result<u64, Met>>)> = Vec::new();
        for (name, what) in works {
            programs.push((name, scope.spawn(move || work(a.join(name), what, ends))));
        }
        programs.push(("still", scope.spawn(move || look(&a.join("still"), large, ends))));
        programs.push(("held", scope.spawn(move || hold(&a.join("log"), ends))));
        programs.push(("lent", scope.spawn(move || lent::use_lent(&a.join("lent"), lent, ends))));
        let goes_on = || programs.iter().all(|(_, program)| !program.is_finished());
        let killer = std::panic::AssertUnwindSafe(|| kill_again_and_again(a, kills, Seed::new(seed), goes_on));
        let longest = std::panic::catch_unwind(killer);
        ends.store(true, Ordering::Relaxed);
        let ended = programs.into_iter().map(|(name, program)| (name, program.join().unwrap()));
        let (ended, met): (Vec<_>, Vec<_>) = ended.partition(|(_, turns)| turns.is_ok());
        assert!(met.is_empty(), "seed {seed}: programs met errors: {met:#?}; {longest:?}");
        let turns: Vec<String> =
            ended.iter().map(|(name, turns)| format!("{name} {}", turns.as_ref().unwrap())).collect();
        (longest.unwrap(), turns)
    });
    println!("Figures: {kills} kills, the longest pause {} ms; turns: {}", longest.as_millis(), turns.join(", "));
    let b = Device::mounted(&server, "b").unwrap();
    converge(&a, &b);
    a.unmount().unwrap();
}

/// The process that would start the next daemon.
fn supervisor(device: &Device) -> Process {
    let daemon = device.daemon().unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    Process::of_pid(parent.trim().parse().unwrap()).unwrap()
}

fn surviving(name: &str) -> (tarn_tests::server::Server, Device) {
    let server = crate::server();
    let device = Device::new(&server, name).unwrap().surviving();
    device.mount().unwrap();
    (server, device)
}

#[test]
fn what_changes_elsewhere_is_seen_after_a_daemon_was_killed() {
    let (server, a) = surviving("a");
    let b = Device::mounted(&server, "b").unwrap();
    fs::create_dir(a.join("d")).unwrap();
    fs::write(a.join("d/changes"), "before").unwrap();
    fs::write(a.join("d/goes"), "before").unwrap();
    converge(&a, &b);
    // The kernel knows all of it, and that a name is absent; the daemon after the next knows nothing of that.
    let held = File::open(a.join("d/changes")).unwrap();
    assert_eq!(fs::read(a.join("d/changes")).unwrap(), b"before");
    assert!(fs::metadata(a.join("d/comes")).is_err());
    assert_eq!(fs::read_dir(a.join("d")).unwrap().count(), 2);
    for _ in 0..2 {
        let daemon = a.daemon().unwrap();
        daemon.kill();
        next_daemon(&a, Some(daemon));
    }
    fs::write(b.join("d/changes"), "after, and longer").unwrap();
    fs::write(b.join("d/comes"), "new").unwrap();
    fs::remove_file(b.join("d/goes")).unwrap();
    converge(&a, &b);
    assert_eq!(fs::read(a.join("d/changes")).unwrap(), b"after, and longer");
    assert_eq!(fs::read(a.join("d/comes")).unwrap(), b"new");
    assert!(fs::metadata(a.join("d/goes")).is_err());
    drop(held);
    a.unmount().unwrap();
}

#[test]
fn an_open_file_keeps_its_version_when_it_was_not_used_since_the_kill() {
    let (server, a) = surviving("a");
    let b = Device::mounted(&server, "b").unwrap();
    fs::write(a.join("f"), "before").unwrap();
    converge(&a, &b);
    let held = File::open(a.join("f")).unwrap();
    let daemon = a.daemon().unwrap();
    daemon.kill();
    next_daemon(&a, Some(daemon));
    fs::write(b.join("f"), "after, and longer").unwrap();
    converge(&a, &b);
    assert_eq!(fs::read(a.join("f")).unwrap(), b"after, and longer");
    let mut read = [0; 6];
    held.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"before");
    drop(held);
    a.unmount().unwrap();
}

#[test]
fn a_mount_goes_away_with_all_its_processes() {
    let (_server, a) = surviving("a");
    for ends in
        [|device: &Device| device.unmount().unwrap(), |device: &Device| supervisor(device).signal(libc::SIGTERM)]
    {
        let (daemon, supervisor) = (a.daemon().unwrap(), supervisor(&a));
        daemon.kill();
        let next = next_daemon(&a, Some(daemon));
        ends(&a);
        for process in [next, supervisor] {
            assert!(process.ends_within(BACK_WITHIN), "process {} stays", process.pid());
        }
        a.mount().unwrap();
    }
}

#[test]
fn a_mount_whose_supervisor_was_killed_lives_as_long_as_its_daemon() {
    let (_server, a) = surviving("a");
    supervisor(&a).kill();
    fs::write(a.join("f"), "written").unwrap();
    assert_eq!(fs::read(a.join("f")).unwrap(), b"written");
    a.kill_daemon().unwrap();
    // A call that is under way at that moment is told ECONNABORTED.
    let is_dead = || fs::metadata(a.join("not there")).unwrap_err().raw_os_error() == Some(libc::ENOTCONN);
    eventually(BACK_WITHIN, "the mount does not end with its daemon", is_dead);
    a.mount().unwrap();
    assert_eq!(fs::read(a.join("f")).unwrap(), b"written");
    a.unmount().unwrap();
}

#[test]
fn locks_are_held_on_while_daemons_come_and_go() {
    let (_server, a) = surviving("a");
    let (one, other) = (File::create(a.join("f")).unwrap(), File::open(a.path().join("f")).unwrap());
    one.lock().unwrap();
    let daemon = a.daemon().unwrap();
    daemon.kill();
    next_daemon(&a, Some(daemon));
    assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
    drop(one);
    other.try_lock().unwrap();
}
