//! A daemon ends at once when it is killed, also while the kernel is being told of a change under a lock that a program holds.

use super::{BACK_WITHIN, next_daemon, surviving};
use crate::converge;
use std::fs;
use std::io::ErrorKind;
use std::thread;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::process::{Process, is_root};
use tarn_tests::threads::{Stopped, threads_of};
use tarn_tests::wait::eventually;

const SOON: Duration = Duration::from_secs(30);

/// Whether somebody tells the kernel and waits in it.
fn waits(process: &Process) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap_or_default();
    let is_messenger = line.split(|byte| *byte == 0).nth(1) == Some(b"tell-kernel");
    threads_of(*process).iter().any(|(_, name, state)| *state == 'D' && (is_messenger || name == "fuse-notify"))
}

#[test]
fn a_daemon_that_is_killed_while_it_tells_the_kernel_has_a_successor() {
    if !is_root() {
        return eprintln!("skipped: only root may stop threads of another process");
    }
    let (server, a) = surviving("a");
    let b = Device::mounted(&server, "b").unwrap();
    fs::create_dir(a.join("d")).unwrap();
    fs::write(a.join("d/known"), "known").unwrap();
    converge(&a, &b);
    let daemon = a.daemon().unwrap();
    // A program's call holds the folder for as long as nobody answers.
    let workers = Stopped::threads(daemon, "fuser-").unwrap();
    let absent = a.join("d/absent");
    let program = thread::spawn(move || fs::symlink_metadata(absent).unwrap_err().kind());
    fs::write(b.join("d/new"), "from elsewhere").unwrap();
    b.wait().unwrap();
    eventually(SOON, "the kernel is being told", || a.processes().iter().any(waits));
    let told_by: Vec<Process> = a.processes().into_iter().filter(waits).collect();
    daemon.signal(libc::SIGKILL);
    workers.reap();
    assert_eq!(program.join().unwrap(), ErrorKind::NotFound);
    next_daemon(&a, Some(daemon));
    for process in told_by {
        assert!(process.ends_within(BACK_WITHIN), "process {} stays", process.pid());
    }
    assert_eq!(fs::read(a.join("d/new")).unwrap(), b"from elsewhere");
    converge(&a, &b);
    a.unmount().unwrap();
}

#[test]
fn changes_are_told_though_somebody_ends_the_process_that_tells_them() {
    let (server, a) = surviving("a");
    let b = Device::mounted(&server, "b").unwrap();
    for turn in 0..3 {
        assert!(fs::metadata(a.join(&turn.to_string())).is_err(), "the kernel knows that it is absent");
        fs::write(b.join(&turn.to_string()), "new").unwrap();
        converge(&a, &b);
        let messengers = a.processes().into_iter().filter(|process| {
            let line = fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(b"tell-kernel")
        });
        assert_eq!(messengers.map(Process::kill).count(), 1);
    }
    a.unmount().unwrap();
}
