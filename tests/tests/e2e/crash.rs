//! Kill -9 at random moments, of either side: what a call returned for is still there.

use crate::{converge, no_chunk_is_sent_again};
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::process::{Process, is_root};
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::within;

/// Kills per test in the default run.
const KILLS: u64 = 20;
/// Files that are written around each kill, one of them large.
const FILES_PER_KILL: u64 = 12;
/// So many kills at least must find something that is not on the server yet.
const KILLS_IN_FLIGHT_MIN: u64 = 16;

on_both! {
    nothing_is_lost_when_the_daemon_is_killed_again_and_again:
        nothing_is_lost_when_the_daemon_is_killed_again_and_again_on_sqlite,
        nothing_is_lost_when_the_daemon_is_killed_again_and_again_on_postgres;
    nothing_is_lost_when_the_server_is_killed_again_and_again:
        nothing_is_lost_when_the_server_is_killed_again_and_again_on_sqlite,
        nothing_is_lost_when_the_server_is_killed_again_and_again_on_postgres;
}

fn content(number: u64) -> Vec<u8> {
    let mut seed = Seed::new(number);
    let size = if number.is_multiple_of(FILES_PER_KILL) { 2 << 20 } else { seed.index(50_000) };
    seed.bytes(size)
}

/// Writes one file so that it is there under its name only when it is whole, again until every call succeeds.
fn write_stubbornly(root: &Path, number: u64) {
    let (part, whole) = (root.join(format!(".part{number}")), root.join(format!("{number}")));
    let content = content(number);
    let attempt = || fs::write(&part, &content).and_then(|()| fs::rename(&part, &whole)).is_ok() || whole.exists();
    assert!(within(Duration::from_secs(60), attempt), "file {number} could not be written in a minute");
}

/// Copies files in; around every few of them something is killed at a random moment while they are on their way.
fn copy_through_kills(a: &Device, mut kill: impl FnMut()) {
    // Not the root: while nothing is mounted, its folder is there and could be written to.
    let root = a.join("tree");
    fs::create_dir(&root).unwrap();
    let (mut seed, mut in_flight) = (Seed::new(8), 0);
    for round in 0..KILLS {
        thread::scope(|scope| {
            let numbers = round * FILES_PER_KILL..(round + 1) * FILES_PER_KILL;
            let writer = scope.spawn(|| numbers.for_each(|number| write_stubbornly(&root, number)));
            let moment = Duration::from_millis(seed.below(60));
            within(moment, || writer.is_finished());
            let is_queued = || a.status().is_ok_and(|status| status["queue"]["operations"].as_u64() > Some(0));
            in_flight += u64::from(within(Duration::from_secs(1), is_queued));
            kill();
        });
    }
    assert!(in_flight >= KILLS_IN_FLIGHT_MIN, "only {in_flight} kills found something queued");
}

/// All files are on `a` and on a fresh device, the server finds nothing wrong, and no chunk went up twice.
#[track_caller]
fn all_arrived(server: &Server, a: &Device) {
    let b = Device::mounted(server, "b").unwrap();
    converge(a, &b);
    for device in [a, &b] {
        let root = device.join("tree");
        assert_eq!(fs::read_dir(&root).unwrap().count() as u64, KILLS * FILES_PER_KILL);
        for number in 0..KILLS * FILES_PER_KILL {
            let read = fs::read(root.join(number.to_string())).unwrap();
            assert!(read == content(number), "file {number} differs: {} bytes", read.len());
        }
    }
    no_chunk_is_sent_again(server);
    let check = server.check().unwrap();
    assert_eq!(check.code, 0, "{}{}", check.stdout, check.stderr);
}

fn nothing_is_lost_when_the_daemon_is_killed_again_and_again(server: &Server) {
    let a = Device::mounted(server, "a").unwrap();
    copy_through_kills(&a, || {
        a.kill_daemon().unwrap();
        a.mount().unwrap();
    });
    all_arrived(server, &a);
}

fn nothing_is_lost_when_the_server_is_killed_again_and_again(server: &Server) {
    let a = Device::mounted(server, "a").unwrap();
    copy_through_kills(&a, || server.restart().unwrap());
    all_arrived(server, &a);
}

#[test]
fn written_bytes_survive_a_kill_before_anything_was_uploaded() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    server.freeze();
    let bytes = Seed::new(9).bytes(500_000);
    fs::write(a.join("large"), &bytes).unwrap();
    fs::write(a.join("small"), "small").unwrap();
    a.kill_daemon().unwrap();
    a.mount().unwrap();
    assert_eq!(fs::read(a.join("large")).unwrap(), bytes);
    assert_eq!(fs::read_to_string(a.join("small")).unwrap(), "small");
    server.thaw();
    a.wait().unwrap();
}

#[test]
fn what_was_written_stays_local_when_both_sides_are_killed_and_the_server_stays_away() {
    const ROUNDS: u64 = 6;
    const FILES: u64 = 60;
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let root = a.join("tree");
    fs::create_dir(&root).unwrap();
    let mut seed = Seed::new(10);
    for round in 0..ROUNDS {
        let numbers = round * FILES..(round + 1) * FILES;
        thread::scope(|scope| {
            let writer = scope.spawn(|| numbers.for_each(|number| write_stubbornly(&root, number)));
            let moment = Duration::from_millis(30 + seed.below(300));
            within(moment, || writer.is_finished());
            server.kill();
            a.kill_daemon().unwrap();
            a.mount().unwrap();
        });
        for number in 0..(round + 1) * FILES {
            let read = fs::read(root.join(number.to_string()));
            assert!(read.is_ok_and(|read| read == content(number)), "round {round}: file {number} is not local");
        }
        server.restart().unwrap();
        a.await_online(true);
    }
    a.wait().unwrap();
    assert_eq!(a.counter("chunks_fetched").unwrap(), 0, "nothing was fetched that was written here");
}

/// A second descriptor of the daemon's connection to the kernel: as long as it is open, nobody is told that the daemon is gone.
/// `None` where this is not allowed.
fn keep_connection(daemon: Process) -> Option<OwnedFd> {
    let folder = format!("/proc/{}/fd", daemon.pid());
    let is_connection = |path: &Path| fs::read_link(path).is_ok_and(|to| to == Path::new("/dev/fuse"));
    let path =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(|path| is_connection(path)).unwrap();
    let number: i32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
    // SAFETY: both calls take integers; each descriptor that they give is owned once, here.
    unsafe {
        let process = libc::syscall(libc::SYS_pidfd_open, daemon.pid(), 0);
        let process = OwnedFd::from_raw_fd(i32::try_from(process).ok().filter(|fd| *fd >= 0)?);
        let copy = libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0);
        Some(OwnedFd::from_raw_fd(i32::try_from(copy).ok().filter(|fd| *fd >= 0)?))
    }
}

/// Whether connections of one's own can be ended: an ordinary user does that through a file system of the kernel's that is
/// not mounted everywhere.
fn may_abort() -> bool {
    is_root() || fs::read_dir("/sys/fs/fuse/connections").is_ok_and(|mut connections| connections.next().is_some())
}

#[test]
fn who_waits_in_the_mount_of_a_killed_daemon_is_told_by_the_next_mount() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    fs::write(a.join("file"), "kept").unwrap();
    let Some(_connection) = keep_connection(a.daemon().unwrap()) else {
        return eprintln!("skipped: descriptors of other processes cannot be had here");
    };
    let can_abort = may_abort();
    a.kill_daemon().unwrap();
    let (sender, told) = std::sync::mpsc::channel();
    let path = a.join("unknown");
    thread::spawn(move || sender.send(fs::read(path).map_err(|e| e.kind())));
    a.mount().unwrap();
    if can_abort {
        let end = told.recv_timeout(Duration::from_secs(20)).expect("the waiting program is told");
        assert!(end.is_err());
    }
    assert_eq!(fs::read(a.join("file")).unwrap(), b"kept");
}
