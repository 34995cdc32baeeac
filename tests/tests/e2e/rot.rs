//! A byte that rots on either side is found, named, and put right from the other side where that has it.

use crate::{converge, server};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::diff::same_tree;
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::eventually;

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn find(path: &Path, bytes: &[u8]) -> Option<u64> {
    let all = fs::read(path).unwrap();
    all.windows(bytes.len()).position(|window| window == bytes).map(|at| at as u64)
}

/// Writes as many files of so many bytes; what is in them.
fn write_files(device: &Device, count: u64, size: usize) -> Vec<Vec<u8>> {
    let write = |number| {
        let bytes = Seed::new(number).bytes(size);
        fs::write(device.join(&format!("file{number}")), &bytes).unwrap();
        bytes
    };
    (0..count).map(write).collect()
}

#[track_caller]
fn all_there(device: &Device, files: &[Vec<u8>]) {
    for (number, bytes) in files.iter().enumerate() {
        assert_eq!(&fs::read(device.join(&format!("file{number}"))).unwrap(), bytes, "file{number}");
    }
}

fn packs(server: &Server) -> Vec<PathBuf> {
    let below = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let folders = below(&server.data().join("objects")).into_iter().filter(|path| path.is_dir());
    folders.flat_map(|dir| below(&dir)).filter(|path| path.extension().is_some_and(|end| end == "pack")).collect()
}

#[test]
fn a_flipped_byte_in_the_log_is_named_while_it_runs_and_loses_nothing_of_what_is_in_memory() {
    let server = server();
    let a = Device::mounted(&server, "a").unwrap();
    a.wait().unwrap();
    server.stop().unwrap();
    let marks = write_files(&a, 20, 900);
    let log = a.home().join("state/log");
    let segments = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let (segment, at) = segments.filter_map(|path| Some((path.clone(), find(&path, &marks[19])?))).next().unwrap();
    flip(&segment, at + 100);
    let verified = a.tarn(&["verify"]).unwrap();
    let is_named = verified.code == 1 && verified.stdout.contains("log");
    // What has come into the database by now is not asked of the log any more.
    assert!(is_named || verified.code == 0, "{}{}", verified.stdout, verified.stderr);
    server.restart().unwrap();
    a.wait().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    let alike = || same_tree(a.path(), b.path()).is_ok();
    eventually(Duration::from_secs(60), "both show the same", alike);
    all_there(&b, &marks);
}

/// Copies what is there of a device's database.
fn copy_database(from: &Path, to: &Path) {
    for name in ["state.db", "state.db-wal"] {
        match fs::copy(from.join(name), to.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => drop(fs::remove_file(to.join(name))),
            copied => drop(copied.unwrap()),
        }
    }
}

/// A device that was killed right after it wrote, its database being behind; where the log has the bytes of a file.
fn killed_behind(server: &Server, count: u64) -> (Device, Vec<Vec<u8>>, PathBuf) {
    let a = Device::mounted(server, "a").unwrap();
    fs::write(a.join("earlier"), "earlier").unwrap();
    a.wait().unwrap();
    server.stop().unwrap();
    let (daemon, state, before) = (a.daemon().unwrap(), a.home().join("state"), tempfile::tempdir().unwrap());
    daemon.freeze();
    copy_database(&state, before.path());
    daemon.thaw();
    let files = write_files(&a, count, 900);
    // One has a file of its own below the mount.
    fs::write(a.join("large"), Seed::new(77).bytes(300_000)).unwrap();
    fs::File::open(a.path()).unwrap().sync_all().unwrap();
    daemon.kill();
    copy_database(before.path(), &state);
    let segments = fs::read_dir(state.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let mut named = segments.filter(|path| find(path, &files[0]).is_some());
    let segment = named.next().expect("the log has what was written last");
    (a, files, segment)
}

#[test]
fn a_flipped_byte_in_the_log_of_a_device_that_is_not_mounted_is_named_and_what_stands_behind_is_kept() {
    let server = server();
    let (a, files, segment) = killed_behind(&server, 12);
    flip(&segment, find(&segment, &files[5]).unwrap() + 100);
    let mounted = a.tarn(&["mount", a.path().to_str().unwrap(), "--no-supervisor"]).unwrap();
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    assert!(mounted.stderr.contains("the local log was damaged"), "{}", mounted.stderr);
    for name in ["file5", "file6", "file11", "large"] {
        assert!(mounted.stderr.contains(&format!("\n  {name}\n")), "{name}: {}", mounted.stderr);
    }
    // All before it, and nothing that rests on what is missing.
    assert_eq!(fs::read_to_string(a.join("earlier")).unwrap(), "earlier");
    all_there(&a, &files[..5]);
    assert!((6..12).all(|number| !a.join(&format!("file{number}")).exists()));
    let aside = a.home().join("state/damaged-1");
    for (number, bytes) in files.iter().enumerate().skip(6) {
        assert_eq!(&fs::read(aside.join(format!("files/file{number}"))).unwrap(), bytes, "file{number}");
    }
    let almost = fs::read(aside.join("files/damaged file5")).unwrap();
    assert_eq!(almost.iter().zip(&files[5]).filter(|(one, other)| one != other).count(), 1);
    let large = fs::read_dir(aside.join("contents")).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    assert!(large.into_iter().any(|bytes| bytes == Seed::new(77).bytes(300_000)), "the large file is kept");
    assert!(find(&aside.join("log").join(segment.file_name().unwrap()), &files[11]).is_some());
    told_until_it_is_gone(&a, &aside);
    server.restart().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    converge(&a, &b);
    all_there(&b, &files[..5]);
}

/// It is told until the folder is removed, also by a daemon that comes later.
fn told_until_it_is_gone(a: &Device, aside: &Path) {
    let told = |args: &[&str]| a.tarn(args).unwrap().stdout.contains("the local log was damaged");
    let status = ["status", a.path().to_str().unwrap()];
    assert!(told(&status) && told(&["doctor"]));
    a.kill_daemon().unwrap();
    let again = a.tarn(&["mount", a.path().to_str().unwrap(), "--no-supervisor"]).unwrap();
    assert!(again.code == 0 && again.stderr.contains(aside.to_str().unwrap()), "{}", again.stderr);
    assert!(told(&status) && !a.home().join("state/damaged-3").exists());
    fs::remove_dir_all(aside).unwrap();
    assert!(!told(&status) && !told(&["doctor"]));
}

#[test]
fn a_flipped_byte_in_the_last_record_of_a_log_is_named_too_and_a_torn_tail_is_none() {
    let server = server();
    let (a, files, segment) = killed_behind(&server, 3);
    let copy = a.copied("copy").unwrap();
    let bytes = fs::read(&segment).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    flip(&segment, used);
    let mounted = a.tarn(&["mount", a.path().to_str().unwrap(), "--no-supervisor"]).unwrap();
    assert!(mounted.code == 0 && mounted.stderr.contains("the local log was damaged"), "{}", mounted.stderr);
    all_there(&a, &files);
    // What a power cut leaves of a record that was never synced.
    let of_copy = copy.home().join("state/log").join(segment.file_name().unwrap());
    let file = fs::OpenOptions::new().write(true).open(of_copy).unwrap();
    file.write_all_at(&[0x5a; 300], used + 1).unwrap();
    let mounted = copy.tarn(&["mount", copy.path().to_str().unwrap(), "--no-supervisor"]).unwrap();
    assert!(mounted.code == 0 && mounted.stderr.is_empty(), "{}", mounted.stderr);
    all_there(&copy, &files);
    assert!(fs::read(copy.join("large")).unwrap() == Seed::new(77).bytes(300_000));
}

#[test]
fn with_database_and_log_both_damaged_the_servers_is_there_and_what_was_not_sent_is_there_or_kept_and_named() {
    let server = server();
    let (a, files, segment) = killed_behind(&server, 12);
    flip(&segment, find(&segment, &files[5]).unwrap() + 100);
    let state = a.home().join("state");
    fs::write(state.join("state.db"), vec![b'x'; 70_000]).unwrap();
    // There need not be one.
    drop(fs::remove_file(state.join("state.db-wal")));
    let refused = format!("{:#}", a.mount().unwrap_err());
    assert!(refused.contains("tarn doctor --rebuild"), "{refused}");
    let rebuilt = a.tarn(&["doctor", "--rebuild"]).unwrap();
    assert_eq!(rebuilt.code, 0, "{}{}", rebuilt.stdout, rebuilt.stderr);
    let is_said = |what: &str| rebuilt.stdout.contains(what);
    let folders = ["damaged-1", "damaged-2/README"].map(|name| state.join(name).display().to_string());
    for what in ["the local log was damaged", "\n  file5\n", "\n  file11\n", "\n  large\n", &folders[0], &folders[1]] {
        assert!(is_said(what), "{what}: {}", rebuilt.stdout);
    }
    for (number, bytes) in files.iter().enumerate().skip(6) {
        assert_eq!(&fs::read(state.join(format!("damaged-2/files/file{number}"))).unwrap(), bytes, "file{number}");
    }
    let folders = ["damaged-1/contents", "damaged-2/contents"].map(|name| fs::read_dir(state.join(name)).unwrap());
    let mut large = folders.into_iter().flatten().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    assert!(large.any(|bytes| bytes == Seed::new(77).bytes(300_000)), "the large file is kept");
    server.restart().unwrap();
    a.mount().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    converge(&a, &b);
    assert_eq!(fs::read_to_string(b.join("earlier")).unwrap(), "earlier");
    assert_eq!(fs::read_to_string(a.join("earlier")).unwrap(), "earlier");
    all_there(&b, &files[..5]);
    assert!((6..12).all(|number| !a.join(&format!("file{number}")).exists()));
    let log = fs::read_to_string(a.home().join("daemon.log")).unwrap_or_default();
    assert!(!log.contains("panicked") && !rebuilt.stderr.contains("panicked"), "{log}");
    told_until_it_is_gone(&a, &state.join("damaged-2"));
}

#[test]
fn a_flipped_byte_in_a_pack_is_named_refused_and_never_served() {
    let server = server();
    let a = Device::mounted(&server, "a").unwrap();
    let bytes = Seed::new(5).bytes(2 << 20);
    fs::write(a.join("large"), &bytes).unwrap();
    a.wait().unwrap();
    let (pack, at) =
        packs(&server).into_iter().find_map(|pack| Some((pack.clone(), find(&pack, &bytes[..64])?))).unwrap();
    flip(&pack, at + 30_000);
    let check = server.check().unwrap();
    assert!(check.code == 1 && check.stdout.contains("chunk"), "{}{}", check.stdout, check.stderr);

    let b = Device::mounted(&server, "b").unwrap();
    let read = fs::read(b.join("large"));
    assert_eq!(read.map_err(|e| e.raw_os_error()), Err(Some(libc::EIO)), "other bytes are never shown");
    assert!(fs::read(a.join("large")).unwrap() == bytes, "the device that has them goes on");
}

#[test]
fn a_damaged_database_of_the_server_is_named_by_check_and_ends_nothing_in_a_panic() {
    let server = server();
    let a = Device::mounted(&server, "a").unwrap();
    write_files(&a, 300, 300);
    a.wait().unwrap();
    server.stop().unwrap();
    let database = server.data().join("tarn.db");
    let pages = fs::metadata(&database).unwrap().len() / 4096;
    let (mut named, mut seed) = (0, Seed::new(3));
    for _ in 0..12 {
        let page = 1 + seed.below(pages - 1);
        // The kind of page, and where its cells begin.
        flip(&database, page * 4096);
        let check = server.check().unwrap();
        assert!(!check.stderr.contains("panicked"), "{}", check.stderr);
        named += u64::from(check.code == 1);
        flip(&database, page * 4096);
    }
    assert!(named >= 6, "{named} of 12 damaged pages were named");
    server.restart().unwrap();
    let check = server.check().unwrap();
    assert_eq!(check.code, 0, "{}{}", check.stdout, check.stderr);
}

#[test]
fn a_flipped_byte_in_the_log_of_a_device_s_database_loses_nothing() {
    let server = server();
    let a = Device::mounted(&server, "a").unwrap();
    a.wait().unwrap();
    server.stop().unwrap();
    let files = write_files(&a, 100, 2_000);
    let unmounted = a.tarn(&["unmount", a.path().to_str().unwrap(), "--now"]).unwrap();
    assert_eq!(unmounted.code, 0, "{}", unmounted.stderr);
    let log = a.home().join("state/state.db-wal");
    let len = fs::metadata(&log).unwrap().len();
    assert!(len > 0, "the database has no log beside it");
    flip(&log, len / 2);
    // SQLite forgets what stands behind it; the device's own log still has that.
    a.mount().unwrap();
    all_there(&a, &files);
    server.restart().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    converge(&a, &b);
}

#[test]
fn a_flipped_byte_in_a_device_s_database_is_named_or_refused_and_ends_nothing_in_a_panic() {
    let server = server();
    let a = Device::mounted(&server, "a").unwrap();
    write_files(&a, 200, 300);
    a.wait().unwrap();
    a.unmount().unwrap();
    // All of it is in the one file then, and nothing in a log beside.
    a.tarn(&["doctor", "--rebuild"]).unwrap().ok().unwrap();
    let database = a.home().join("state/state.db");
    let pages = fs::metadata(&database).unwrap().len() / 4096;
    assert!(pages > 10, "{pages} pages");
    let (mut named, mut seed) = (0, Seed::new(4));
    for _ in 0..5 {
        let page = 1 + seed.below(pages - 1);
        flip(&database, page * 4096);
        match a.mount() {
            Err(refused) => {
                let refused = format!("{refused:#}");
                assert!(refused.contains("damaged") && refused.contains("doctor --rebuild"), "{refused}");
                named += 1;
            }
            Ok(()) => {
                named += u64::from(a.tarn(&["verify"]).unwrap().code == 1);
                let unmounted = a.tarn(&["unmount", a.path().to_str().unwrap(), "--now"]).unwrap();
                assert_eq!(unmounted.code, 0, "{}", unmounted.stderr);
            }
        }
        let log = fs::read_to_string(a.home().join("daemon.log")).unwrap_or_default();
        assert!(!log.contains("panicked"), "{log}");
        flip(&database, page * 4096);
    }
    assert!(named >= 3, "{named} of 5 damaged pages were named");
}
