//! A mount goes on under the version of the program that is installed meanwhile, or under the one before.

use super::{BACK_WITHIN, hold, next_daemon, supervisor};
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tarn_tests::device::Device;
use tarn_tests::process::Process;
use tarn_tests::programs::program;
use tarn_tests::server::Server;
use tarn_tests::wait::eventually;

/// A device whose mount is of a program of its own.
struct Installed {
    device: Device,
    program: PathBuf,
    _server: Server,
    _folder: tempfile::TempDir,
}

impl Installed {
    fn mounted() -> Self {
        let server = crate::server();
        let (device, folder) = (Device::new(&server, "a").unwrap().surviving(), tempfile::tempdir().unwrap());
        let program = folder.path().join("tarn");
        let installed = Self { device, program, _server: server, _folder: folder };
        installed.install();
        let mut mount = Command::new(&installed.program);
        mount.arg("mount").arg(installed.device.path()).env("TARN_HOME", installed.device.home());
        assert!(mount.status().unwrap().success());
        installed
    }

    /// Puts another copy in place, as package managers do.
    fn install(&self) {
        let new = self.program.with_extension("new");
        fs::copy(program("tarn"), &new).unwrap();
        fs::rename(new, &self.program).unwrap();
    }

    /// Puts a script in place.
    fn install_script(&self, script: &str) {
        let new = self.program.with_extension("new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, &self.program).unwrap();
    }

    /// Whether a process runs what is installed now.
    fn runs_it(&self, process: Process) -> bool {
        let which = |path: &str| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
        which(&format!("/proc/{}/exe", process.pid())) == which(self.program.to_str().unwrap())
    }

    fn restart(&self) -> Result<(), String> {
        let finished = self.device.tarn(&["restart", self.device.path().to_str().unwrap()]).unwrap();
        finished.ok().map(drop).map_err(|error| error.to_string() + &format!("{error:?}"))
    }

    fn life(&self) -> u64 {
        self.device.status().unwrap()["life"].as_u64().unwrap()
    }

    fn works(&self) {
        let path = self.device.join("works");
        fs::write(&path, "yes").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"yes");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn programs_go_on_under_the_version_that_is_installed_meanwhile() {
    let a = Installed::mounted();
    let (daemon, supervisor) = (a.device.daemon().unwrap(), supervisor(&a.device));
    let locked = File::create(a.device.join("locked")).unwrap();
    locked.lock().unwrap();
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let program = scope.spawn(|| hold(&a.device.join("log"), &ends));
        a.install();
        assert!(!a.runs_it(daemon));
        a.restart().unwrap();
        let next = a.device.daemon().unwrap();
        assert!(a.runs_it(next) && !daemon.lives() && a.life() == 1);
        eventually(BACK_WITHIN, "the supervisor is what is installed", || a.runs_it(supervisor));
        // As such it starts the next one, after a crash too.
        next.kill();
        next_daemon(&a.device, Some(next));
        a.install();
        a.restart().unwrap();
        assert_eq!((a.life(), a.runs_it(a.device.daemon().unwrap())), (3, true));
        assert!(!program.is_finished(), "a program met an error");
        ends.store(true, Ordering::Relaxed);
        assert!(program.join().unwrap().unwrap() > 0);
    });
    let other = File::open(a.device.join("locked")).unwrap();
    assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
    drop((locked, other));
    let last = a.device.daemon().unwrap();
    a.device.unmount().unwrap();
    for process in [last, supervisor] {
        assert!(process.ends_within(BACK_WITHIN), "process {} stays", process.pid());
    }
}

#[test]
fn a_version_that_cannot_go_on_is_told_and_the_one_before_goes_on() {
    let a = Installed::mounted();
    let held = File::create(a.device.join("held")).unwrap();
    let break_it: [&dyn Fn(); 2] = [&|| a.install_script("exit 1"), &|| fs::remove_file(&a.program).unwrap()];
    for break_it in break_it {
        break_it();
        let refused = a.restart().unwrap_err();
        assert!(refused.contains("could not go on") && refused.contains("exit status 1"), "{refused}");
        a.works();
        let daemon = a.device.daemon().unwrap();
        daemon.kill();
        next_daemon(&a.device, Some(daemon));
        a.works();
    }
    a.install();
    a.restart().unwrap();
    assert!(a.runs_it(a.device.daemon().unwrap()));
    drop(held);
    a.device.unmount().unwrap();
}

#[test]
fn the_status_tells_of_a_mount_between_two_daemons() {
    let a = Installed::mounted();
    let fifo = a.program.with_extension("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    a.install_script(&format!("read line < {}\nexit 1", fifo.display()));
    let daemon = a.device.daemon().unwrap();
    daemon.kill();
    let said = a.device.status().unwrap_err();
    assert!(format!("{said:?}").contains("having the next one go on"), "{said:?}");
    OpenOptions::new().write(true).open(&fifo).unwrap().write_all(b"go\n").unwrap();
    next_daemon(&a.device, Some(daemon));
    a.works();
    a.device.unmount().unwrap();
}

#[test]
fn a_mount_without_a_supervisor_is_not_restarted() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let daemon = a.daemon().unwrap();
    let refused = a.tarn(&["restart"]).unwrap().ok().unwrap_err();
    assert!(format!("{refused:?}").contains("has no supervisor"), "{refused:?}");
    daemon.signal(libc::SIGUSR1);
    fs::write(a.join("f"), "goes on").unwrap();
    assert_eq!(a.daemon().unwrap(), daemon);
    a.unmount().unwrap();
}
