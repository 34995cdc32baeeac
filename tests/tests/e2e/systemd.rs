//! A mount that runs as a service of systemd: its descriptor store is what a supervisor is elsewhere. A stub stands for
//! systemd; it starts what docs/systemd.md says.

#[path = "systemd/stub.rs"]
mod stub;

use crate::crash_check::given;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use stub::{Manager, setting};
use tarn_tests::device::Device;
use tarn_tests::mounts::{is_mounted, unmount_by_force};
use tarn_tests::seed::Seed;
use tarn_tests::wait::timed;

/// `TARN_SURVIVE_KILLS` gives another number.
const KILLS: u64 = 4;
/// The status of a daemon that made room for the next one.
const ROOM_STATUS: i32 = 75;

/// Works in a folder until it is over; each call must do what it would on any disk. How many files it made.
fn work(folder: &Path, is_over: &AtomicBool) -> usize {
    let mut appended = File::options().append(true).create(true).open(folder.join("appended")).unwrap();
    for count in 0.. {
        let (new, name) = (folder.join(format!("new-{count}")), folder.join(format!("file-{count}")));
        fs::write(&new, format!("text {count}")).unwrap();
        fs::rename(&new, &name).unwrap();
        assert_eq!(fs::read_to_string(&name).unwrap(), format!("text {count}"));
        writeln!(appended, "line {count}").unwrap();
        if is_over.load(Ordering::SeqCst) {
            return count + 1;
        }
    }
    0
}

#[test]
fn programs_go_on_when_systemd_starts_the_next_daemon() {
    let server = crate::server();
    let a = Device::new(&server, "a").unwrap();
    let mut systemd = Manager::new(&a);
    systemd.start();
    assert_eq!(systemd.kept(), ["tarn-device", "tarn-lock", "tarn-mount", "tarn-open"]);
    let bytes = Seed::new(5).bytes(300_000);
    fs::write(a.join("f"), &bytes).unwrap();
    fs::write(a.join("removed"), "still here").unwrap();
    let (mut open, mut removed) = (File::open(a.join("f")).unwrap(), File::open(a.join("removed")).unwrap());
    fs::remove_file(a.join("removed")).unwrap();
    let (inode, is_over) = (open.metadata().unwrap().ino(), AtomicBool::new(false));
    let (kills, mut longest) = (given("TARN_SURVIVE_KILLS", KILLS), Duration::ZERO);
    let files = thread::scope(|scope| {
        let worker = scope.spawn(|| work(a.path(), &is_over));
        for life in 1..=kills {
            let (seen, took) = timed(|| {
                systemd.kill();
                systemd.start();
                fs::metadata(a.join("f")).unwrap().ino()
            });
            longest = longest.max(took);
            assert_eq!((a.status().unwrap()["life"].as_u64(), systemd.kept().len()), (Some(life), 4));
            let (mut whole, mut text) = (Vec::new(), String::new());
            open.rewind().unwrap();
            removed.rewind().unwrap();
            open.read_to_end(&mut whole).unwrap();
            removed.read_to_string(&mut text).unwrap();
            assert!(whole == bytes && text == "still here");
            assert_eq!(seen, inode);
        }
        let restart = scope.spawn(|| a.tarn(&["restart"]).unwrap());
        assert_eq!(systemd.ended().code(), Some(ROOM_STATUS));
        systemd.start();
        let said = restart.join().unwrap();
        assert!(said.code == 0 && said.stdout.contains("goes on under version"), "{said:?}");
        is_over.store(true, Ordering::SeqCst);
        worker.join().unwrap()
    });
    println!("Figures: {kills} kills, the longest pause {} ms; {files} files made", longest.as_millis());
    let lines = fs::read_to_string(a.join("appended")).unwrap();
    assert!(lines.lines().eq((0..files).map(|count| format!("line {count}"))), "each call was done once");
    drop((open, removed));
    a.unmount().unwrap();
    assert!(systemd.ended().success());
    assert!(systemd.kept().is_empty() && !is_mounted(a.path()));
    // The lock of the state is free: nobody keeps it.
    a.mount().unwrap();
    assert!(fs::read(a.join("f")).unwrap() == bytes);
}

#[test]
fn what_systemd_kept_of_a_mount_that_is_gone_is_given_up() {
    let server = crate::server();
    let a = Device::new(&server, "a").unwrap();
    let mut systemd = Manager::new(&a);
    systemd.start();
    fs::write(a.join("f"), "text").unwrap();
    systemd.kill();
    unmount_by_force(a.path());
    assert!(!is_mounted(a.path()) && systemd.kept().len() == 4);
    systemd.start();
    assert_eq!(fs::read_to_string(a.join("f")).unwrap(), "text");
    assert_eq!((a.status().unwrap()["life"].as_u64(), systemd.kept().len()), (Some(0), 4));
    a.unmount().unwrap();
    assert!(systemd.ended().success() && systemd.kept().is_empty());
}

#[test]
fn the_units_in_the_document_have_systemd_keep_and_start_what_is_needed() {
    assert_eq!((setting("Type"), setting("Restart"), setting("KillMode")), ("notify", "on-failure", "mixed"));
    assert!(setting("FileDescriptorStoreMax").parse::<u32>().unwrap() >= 4);
}
