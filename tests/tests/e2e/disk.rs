//! The disk under the state of a device fills up or takes no more writes: writers are told, nothing that was said is lost,
//! and work goes on once the disk does.

use crate::{converge, server};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use tarn_tests::crash::power::{Disk, Kind};
use tarn_tests::device::Device;
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::{eventually, timed};

/// Space that Tarn leaves alone for what is not content.
const FLOOR_BYTES: u64 = 256 << 20;
/// No call takes longer, whatever the disk does.
const CALL: Duration = Duration::from_secs(10);

/// What must be there, by name.
type Files = BTreeMap<String, Vec<u8>>;

fn broken_disk(kind: Kind) -> Option<Disk> {
    let disk = Disk::new(kind).unwrap();
    if disk.is_none() {
        eprintln!("skipped: a file system cannot be mounted from an image here (that takes root)");
    }
    disk
}

fn device_on(disk: &Disk, server: &Server) -> Device {
    let device = Device::with_home(server, "a", &disk.path().join("home")).unwrap();
    device.mount().unwrap();
    device
}

/// Writes files until one is refused: those that were taken, and why the next was not.
fn write_until_refused(root: &Path, kind: &str, size: usize, fsync: bool) -> (Files, io::Error) {
    let (mut files, mut seed) = (Files::new(), Seed::new(size as u64));
    for number in 0..2_000 {
        let (name, bytes) = (format!("{kind}{number}"), seed.bytes(size));
        let (outcome, took) = timed(|| {
            let mut file = File::create(root.join(&name))?;
            file.write_all(&bytes)?;
            if fsync { file.sync_all() } else { Ok(()) }
        });
        assert!(took < CALL, "{name} took {took:?}");
        match outcome {
            Ok(()) => drop(files.insert(name, bytes)),
            Err(error) => return (files, error),
        }
    }
    panic!("nothing is refused");
}

#[track_caller]
fn all_there(root: &Path, files: &Files) {
    for (name, bytes) in files {
        let (read, took) = timed(|| fs::read(root.join(name)));
        let read = read.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(read == *bytes, "{name} reads {} bytes, {} were written", read.len(), bytes.len());
        assert!(took < CALL, "{name} took {took:?}");
    }
}

fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOSPC)
}

fn a_full_disk_refuses_writers_and_nothing_else(kind: Kind) {
    let Some(disk) = broken_disk(kind) else { return };
    let server = crate::server();
    let a = device_on(&disk, &server);
    let mut seed = Seed::new(1);
    // Room is made of what the server has, so this is not necessarily here.
    let sent = Files::from([("sent".to_owned(), seed.bytes(3 << 20)), ("moved".to_owned(), seed.bytes(5_000))]);
    sent.iter().for_each(|(name, bytes)| fs::write(a.join(name), bytes).unwrap());
    a.wait().unwrap();
    server.stop().unwrap();

    disk.fill(FLOOR_BYTES + (24 << 20)).unwrap();
    let (mut files, error) = write_until_refused(a.path(), "large", 1 << 20, false);
    assert!(is_full(&error) && !files.is_empty(), "{} files were taken: {error}", files.len());
    fs::create_dir(a.join("dir")).unwrap();
    fs::rename(a.join("moved"), a.join("dir/moved")).unwrap();
    File::open(a.join("dir")).unwrap().sync_all().unwrap();
    assert_eq!(fs::metadata(a.join("dir/moved")).unwrap().len(), 5_000);
    all_there(a.path(), &files);

    // Others fill what Tarn had left for its own needs.
    disk.fill(0).unwrap();
    let (taken, error) = write_until_refused(a.path(), "little", 3_000, false);
    assert!(is_full(&error), "{error}");
    files.extend(taken);
    all_there(a.path(), &files);
    assert!(a.status().is_ok());

    a.kill_with_waiters(a.daemon().unwrap());
    if let Err(refused) = a.mount() {
        let refused = format!("{refused:#}");
        assert!(refused.contains("no space left") && refused.contains("free"), "{refused}");
        disk.empty().unwrap();
        a.mount().unwrap();
    } else {
        all_there(a.path(), &files);
        disk.empty().unwrap();
    }
    all_there(a.path(), &files);
    fs::write(a.join("after"), seed.bytes(2 << 20)).unwrap();
    server.restart().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    converge(&a, &b);
    all_there(b.path(), &files);
    assert_eq!(
        [fs::read(a.join("sent")).unwrap(), fs::read(a.join("dir/moved")).unwrap()],
        [sent["sent"].clone(), sent["moved"].clone()]
    );
}

#[test]
fn a_full_disk_refuses_writers_and_nothing_else_on_ext4() {
    a_full_disk_refuses_writers_and_nothing_else(Kind::Ext4);
}

#[test]
fn a_full_disk_refuses_writers_and_nothing_else_on_xfs() {
    a_full_disk_refuses_writers_and_nothing_else(Kind::Xfs);
}

fn work_resumes_on_the_running_mount_when_space_is_back(kind: Kind) {
    let Some(disk) = broken_disk(kind) else { return };
    let server = crate::server();
    let a = device_on(&disk, &server);
    disk.fill(0).unwrap();
    let (files, error) = write_until_refused(a.path(), "file", 40_000, false);
    assert!(is_full(&error), "{error}");
    disk.empty().unwrap();
    // What waits to be brought into the database is tried again by and by.
    eventually(Duration::from_secs(30), "writers are let in again", || fs::write(a.join("after"), "after").is_ok());
    let b = Device::mounted(&server, "b").unwrap();
    converge(&a, &b);
    all_there(b.path(), &files);
    assert_eq!(fs::read(b.join("after")).unwrap(), b"after");
}

#[test]
fn work_resumes_on_the_running_mount_when_space_is_back_on_ext4() {
    work_resumes_on_the_running_mount_when_space_is_back(Kind::Ext4);
}

#[test]
fn work_resumes_on_the_running_mount_when_space_is_back_on_xfs() {
    work_resumes_on_the_running_mount_when_space_is_back(Kind::Xfs);
}

/// What is there can be read, `tarn status` says what to do, and that can be done.
fn goes_on_read_only(a: &Device) {
    assert_eq!(fs::read(a.join("first")).unwrap(), b"first");
    assert!(fs::read_dir(a.path()).unwrap().count() > 20);
    let told = || a.status().unwrap()["last_error"].as_str().is_some_and(|text| text.contains("unmount --now"));
    eventually(Duration::from_secs(20), "the status says what to do", told);
    let unmounted = a.tarn(&["unmount", a.path().to_str().unwrap(), "--now"]).unwrap();
    assert_eq!(unmounted.code, 0, "{}", unmounted.stderr);
}

fn a_disk_that_takes_no_more_writes_loses_nothing(kind: Kind) {
    let Some(disk) = broken_disk(kind) else { return };
    let server = server();
    let a = device_on(&disk, &server);
    fs::write(a.join("first"), "first").unwrap();
    a.wait().unwrap();
    server.stop().unwrap();
    assert!(!disk.remount_read_only().unwrap(), "the system does not take the disk from a daemon that writes to it");
    let (root, breaking) = (a.path().to_owned(), &disk);
    let (files, error) = std::thread::scope(|scope| {
        let writer = scope.spawn(move || write_until_refused(&root, "file", 90_000, true));
        eventually(Duration::from_secs(20), "some are written", || a.join("file20").exists());
        breaking.refuse_writes().unwrap();
        writer.join().unwrap()
    });
    assert!(matches!(error.raw_os_error(), Some(libc::EIO | libc::EROFS)), "{error}");
    match kind {
        Kind::Ext4 => goes_on_read_only(&a),
        // Nothing can be read of it either: all that is left is to end.
        Kind::Xfs => {
            let (_, took) = timed(|| (fs::read(a.join("first")), fs::read_dir(a.path()).map(Iterator::count)));
            assert!(took < CALL, "{took:?}");
            a.kill_with_waiters(a.daemon().unwrap());
        }
    }

    disk.restart().unwrap();
    a.mount().unwrap();
    all_there(a.path(), &files);
    server.restart().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    converge(&a, &b);
    all_there(b.path(), &files);
}

#[test]
fn a_disk_that_takes_no_more_writes_loses_nothing_on_ext4() {
    a_disk_that_takes_no_more_writes_loses_nothing(Kind::Ext4);
}

#[test]
fn a_disk_that_takes_no_more_writes_loses_nothing_on_xfs() {
    a_disk_that_takes_no_more_writes_loses_nothing(Kind::Xfs);
}
