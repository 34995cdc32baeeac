//! A byte that rots on either side is found, named, and put right from the other side where that has it.

use crate::{converge, server};
use std::fs;
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
