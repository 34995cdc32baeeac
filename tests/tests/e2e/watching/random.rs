//! Whatever others do, in whatever order, while programs watch, read and stay in folders, and while daemon after daemon is
//! killed: what this device shows is what there is, and it has done nothing itself.

use super::{SOON, World};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tarn_tests::device::Device;
use tarn_tests::seed::Seed;
use tarn_tests::wait::eventually;
use tarn_tests::watch::Watcher;

const CHANGES: u64 = 500;
const KILLS: u64 = 4;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn place(root: &Path, seed: &mut Seed) -> PathBuf {
    (0..=seed.below(2)).fold(root.to_owned(), |path, _| path.join(NAMES[seed.index(NAMES.len())]))
}

/// Many of these cannot be done: a name is taken, or not there.
fn change(root: &Path, seed: &mut Seed) -> io::Result<()> {
    let (one, other) = (place(root, seed), place(root, seed));
    match seed.below(10) {
        0 | 1 => fs::write(one, seed.next_u64().to_string().repeat(seed.index(300))),
        2 | 3 => fs::create_dir(one),
        4 | 5 => fs::rename(one, other),
        6 => {
            let spare = root.join("spare");
            fs::rename(&one, &spare)?;
            let swapped = fs::rename(&other, &one);
            fs::rename(&spare, if swapped.is_ok() { &other } else { &one })
        }
        7 => fs::hard_link(one, other),
        8 => fs::remove_file(one),
        _ => fs::remove_dir_all(one),
    }
}

/// Watches and reads all that is there, again and again.
fn look_around(root: &Path, is_over: &AtomicBool) -> usize {
    let (mut told, mut watchers) = (0, Vec::new());
    while !is_over.load(Ordering::Relaxed) {
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            watchers.extend(Watcher::new(&[&folder]));
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                    // What it was when it was listed may be gone.
                    _ => drop(fs::read(entry.path())),
                }
            }
        }
        if watchers.len() > 60 {
            told += watchers.drain(..).map(|mut watcher| watcher.seen().len()).sum::<usize>();
        }
    }
    told
}

#[test]
fn random_changes_elsewhere_leave_what_is_shown_here_right_and_nothing_done() {
    let seed = std::env::var("TARN_WATCH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    eprintln!("TARN_WATCH_SEED={seed}");
    let world = World::with(Device::surviving, |_| {});
    let (mut seed, is_over) = (Seed::new(seed), AtomicBool::new(false));
    thread::scope(|scope| {
        let looking = scope.spawn(|| look_around(&world.docs, &is_over));
        for turn in 1..=CHANGES {
            // Most of these cannot be done at first.
            let _ = change(&world.a.join("docs"), &mut seed);
            if turn.is_multiple_of(CHANGES / KILLS) {
                world.a.wait().unwrap();
                world.b.kill_daemon().unwrap();
                eventually(SOON, "the next daemon answers", || world.b.status().is_ok());
            }
        }
        world.a.wait().unwrap();
        is_over.store(true, Ordering::Relaxed);
        assert!(looking.join().unwrap() > 0);
    });
    world.nothing_was_done();
}
