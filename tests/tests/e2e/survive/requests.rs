//! A daemon that is killed while it reads requests: what it had not read whole, the next one is asked again.

use super::{BACK_WITHIN, Met, given, next_daemon, supervisor, surviving};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use tarn_tests::process::Process;
use tarn_tests::seed::Seed;
use tarn_tests::wait::eventually;

/// TARN_SURVIVE_KILLS asks for more.
const KILLS: u64 = 25;
/// As many as a daemon has workers: when it begins, each reads one of their requests.
const WRITERS: u64 = 4;
/// The kernel sends it in one request.
const LARGE_BYTES: usize = 1 << 20;

/// Processes whose parent is this one.
fn children(parent: Process) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent_of = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parent_of == Some(parent.pid())
    };
    pids.filter(is_child).collect()
}

/// Overwrites a file whole, again and again.
fn overwrite(path: &Path, done: &AtomicU64, ends: &AtomicBool) -> Result<(File, Vec<u8>), Met> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let (mut seed, mut bytes) = (Seed::new(5), Vec::new());
    while bytes.is_empty() || !ends.load(Ordering::Relaxed) {
        bytes = seed.bytes(LARGE_BYTES);
        file.write_all_at(&bytes, 0)?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok((file, bytes))
}

/// Areas of memory that are there whole, from the page that takes a request's head to the last that takes its data, locked, and
/// that a fork leaves alone.
fn ready_buffers(process: Process) -> usize {
    let areas = fs::read_to_string(format!("/proc/{}/smaps", process.pid())).unwrap();
    let (mut resident_kib, mut count) = (0, 0);
    for line in areas.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["Rss:", kib, "kB"] => resident_kib = kib.parse().unwrap(),
            ["VmFlags:", ref flags @ ..] => {
                let is_ready = flags.contains(&"lo") && flags.contains(&"dc");
                count += usize::from(is_ready && resident_kib >= LARGE_BYTES / 1024 + 8);
            }
            _ => {}
        }
    }
    count
}

/// The pages of a request are made when it is read where they are not there before: a kill at that moment would be told.
#[test]
fn the_memory_for_requests_is_there_before_the_first() {
    let (_server, a) = surviving("a");
    for _ in 0..2 {
        let daemon = a.daemon().unwrap();
        assert_eq!(ready_buffers(daemon), WRITERS as usize);
        daemon.kill();
        next_daemon(&a, Some(daemon));
    }
    a.unmount().unwrap();
}

#[test]
fn large_writes_meet_no_error_when_daemon_after_daemon_is_killed_as_it_reads_its_first_requests() {
    let (server, a) = surviving("a");
    server.stop().unwrap();
    let (supervisor, mut daemon) = (supervisor(&a), a.daemon().unwrap());
    let (done, ends) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let (a, done, ends) = (&a, &done, &ends);
        let writer = |number| scope.spawn(move || overwrite(&a.join(&format!("{number}")), done, ends));
        let writers: Vec<_> = (0..WRITERS).map(writer).collect();
        for _ in 0..given("TARN_SURVIVE_KILLS", KILLS) {
            daemon.signal(libc::SIGKILL);
            let before = done.load(Ordering::Relaxed);
            eventually(BACK_WITHIN, "the next daemon", || {
                let next = children(supervisor).into_iter().find(|pid| *pid != daemon.pid());
                next.and_then(Process::of_pid).map(|next| daemon = next).is_some()
            });
            // Busy: the others are being read at this very moment. Each writer may have been answered by the last daemon; of one that
            // never serves the supervisor thinks ill, and waits.
            while done.load(Ordering::Relaxed) <= before + WRITERS && writers.iter().any(|writer| !writer.is_finished())
            {
                std::hint::spin_loop();
            }
        }
        ends.store(true, Ordering::Relaxed);
        for writer in writers {
            let (file, bytes) = writer.join().unwrap().expect("a program met an error");
            let mut read = vec![0; LARGE_BYTES];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == bytes);
        }
    });
    server.restart().unwrap();
    a.unmount().unwrap();
}
