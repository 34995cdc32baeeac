//! Programs that watch are told of what other devices did, as if it had been done here; and nothing is done by that.

mod random;

use crate::converge;
use libc::{
    IN_ATTRIB, IN_CLOSE_WRITE, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_ISDIR, IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO,
};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tarn_tests::blocks::du_blocks;
use tarn_tests::device::Device;
use tarn_tests::marks::{Marks, Scope};
use tarn_tests::process::{Process, is_root};
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::eventually;
use tarn_tests::watch::Watcher;

const SOON: Duration = Duration::from_secs(20);

/// Two devices that have a folder `docs`, with a watcher of it on the second.
struct World {
    server: Server,
    a: Device,
    b: Device,
    docs: PathBuf,
    watcher: Watcher,
}

impl World {
    fn new(prepare: impl FnOnce(&Device)) -> Self {
        Self::with(|b| b, prepare)
    }

    fn with(second: impl FnOnce(Device) -> Device, prepare: impl FnOnce(&Device)) -> Self {
        let server = crate::server();
        let (a, b) = (Device::mounted(&server, "a").unwrap(), second(Device::new(&server, "b").unwrap()));
        b.mount().unwrap();
        fs::create_dir(a.join("docs")).unwrap();
        prepare(&a);
        converge(&a, &b);
        let docs = b.join("docs");
        let watcher = Watcher::new(&[&docs]).unwrap();
        Self { server, a, b, docs, watcher }
    }

    #[track_caller]
    fn told(&mut self, wanted: &[(u32, &str)]) {
        let docs = self.docs.clone();
        let wanted: Vec<_> = wanted.iter().map(|(mask, name)| (docs.as_path(), *mask, *name)).collect();
        self.watcher.expect(SOON, &wanted).unwrap();
    }

    /// What the first device does while the server is away reaches the second all at once.
    fn at_once(&self, work: impl FnOnce(&Path)) {
        self.a.wait().unwrap();
        self.server.kill();
        work(&self.a.join("docs"));
        self.server.restart().unwrap();
        self.a.wait().unwrap();
    }

    /// Both show the same, and the second has done nothing, neither to itself nor to the server.
    #[track_caller]
    fn nothing_was_done(&self) {
        converge(&self.a, &self.b);
        let status = self.b.status().unwrap();
        assert_eq!((&status["queue"]["operations"], &status["held"]), (&0.into(), &0.into()), "{status}");
        let done = self.a.tarn(&["undo", "--device", "b", "--since", "1h"]).unwrap().ok().unwrap();
        assert_eq!(done.stdout, "nothing to take back\n");
    }
}

#[test]
fn files_that_come_change_move_and_go_elsewhere_are_told_of() {
    let mut world = World::new(|_| {});
    fs::write(world.a.join("docs/one"), "first").unwrap();
    world.told(&[(IN_CREATE, "one"), (IN_MODIFY, "one"), (IN_CLOSE_WRITE, "one")]);
    assert_eq!(fs::read_to_string(world.b.join("docs/one")).unwrap(), "first");
    fs::write(world.a.join("docs/one"), "second, longer").unwrap();
    world.told(&[(IN_MODIFY, "one"), (IN_CLOSE_WRITE, "one")]);
    assert_eq!(fs::read_to_string(world.b.join("docs/one")).unwrap(), "second, longer");
    fs::set_permissions(world.a.join("docs/one"), fs::Permissions::from_mode(0o600)).unwrap();
    world.told(&[(IN_ATTRIB, "one")]);
    fs::rename(world.a.join("docs/one"), world.a.join("docs/two")).unwrap();
    world.told(&[(IN_MOVED_FROM, "one"), (IN_MOVED_TO, "two")]);
    symlink("two", world.a.join("docs/link")).unwrap();
    world.told(&[(IN_CREATE, "link")]);
    fs::hard_link(world.a.join("docs/two"), world.a.join("docs/three")).unwrap();
    world.told(&[(IN_CREATE, "three")]);
    // Who watches a file itself is told of it, too.
    let (docs, two) = (world.docs.clone(), world.b.join("docs/two"));
    world.watcher.add(&two).unwrap();
    fs::write(world.a.join("docs/three"), "third").unwrap();
    world.watcher.expect(SOON, &[(&two, IN_CLOSE_WRITE, "")]).unwrap();
    fs::remove_file(world.a.join("docs/two")).unwrap();
    world.watcher.expect(SOON, &[(&docs, IN_DELETE, "two"), (&two, IN_ATTRIB, "")]).unwrap();
    fs::remove_file(world.a.join("docs/three")).unwrap();
    world.watcher.expect(SOON, &[(&docs, IN_DELETE, "three"), (&two, IN_DELETE_SELF, "")]).unwrap();
    world.nothing_was_done();
}

#[test]
fn folders_that_come_move_and_go_elsewhere_are_told_of() {
    let mut world = World::new(|a| {
        fs::create_dir_all(a.join("docs/sub/deep")).unwrap();
        fs::create_dir(a.join("other")).unwrap();
        fs::write(a.join("docs/sub/deep/file"), "x").unwrap();
    });
    let (sub, deep) = (world.b.join("docs/sub"), world.b.join("docs/sub/deep"));
    world.watcher.add(&sub).unwrap();
    world.watcher.add(&deep).unwrap();
    fs::create_dir(world.a.join("docs/dir")).unwrap();
    world.told(&[(IN_CREATE | IN_ISDIR, "dir")]);
    fs::rename(world.a.join("docs/dir"), world.a.join("docs/sub/dir")).unwrap();
    let docs = world.docs.clone();
    let moved = [(docs.as_path(), IN_MOVED_FROM | IN_ISDIR, "dir"), (&sub, IN_MOVED_TO | IN_ISDIR, "dir")];
    let events = world.watcher.expect(SOON, &moved).unwrap();
    let cookies: Vec<u32> = events.iter().map(|event| event.cookie).filter(|cookie| *cookie != 0).collect();
    assert!(cookies.len() == 2 && cookies[0] == cookies[1], "{events:x?}");
    fs::remove_dir(world.a.join("docs/sub/dir")).unwrap();
    world.watcher.expect(SOON, &[(&sub, IN_DELETE | IN_ISDIR, "dir")]).unwrap();
    // Out of what is watched and into it again.
    fs::rename(world.a.join("docs/sub"), world.a.join("other/sub")).unwrap();
    world.told(&[(IN_MOVED_FROM | IN_ISDIR, "sub")]);
    fs::rename(world.a.join("other/sub"), world.a.join("docs/sub")).unwrap();
    world.told(&[(IN_MOVED_TO | IN_ISDIR, "sub")]);
    fs::remove_dir_all(world.a.join("docs/sub")).unwrap();
    let gone = [
        (deep.as_path(), IN_DELETE, "file"),
        (&sub, IN_DELETE | IN_ISDIR, "deep"),
        (&deep, IN_DELETE_SELF, ""),
        (&docs, IN_DELETE | IN_ISDIR, "sub"),
        (&sub, IN_DELETE_SELF, ""),
    ];
    world.watcher.expect(SOON, &gone).unwrap();
    world.nothing_was_done();
}

#[test]
fn a_folder_that_moves_to_where_nobody_looked_goes_on_for_who_is_in_it() {
    let mut world = World::new(|a| fs::create_dir(a.join("docs/sub")).unwrap());
    let sub = File::open(world.docs.join("sub")).unwrap();
    world.at_once(|docs| {
        fs::create_dir(docs.join("../new")).unwrap();
        fs::rename(docs.join("sub"), docs.join("../new/sub")).unwrap();
    });
    world.told(&[(IN_MOVED_FROM | IN_ISDIR, "sub")]);
    world.nothing_was_done();
    let inside = PathBuf::from(format!("/proc/self/fd/{}/made", sub.as_raw_fd()));
    fs::write(&inside, "by who is in it").unwrap();
    assert_eq!(fs::read_to_string(world.b.join("new/sub/made")).unwrap(), "by who is in it");
    converge(&world.a, &world.b);
}

#[test]
fn telling_fetches_and_sends_nothing_and_keeps_nothing() {
    let mut world = World::new(|a| fs::write(a.join("docs/known"), "known").unwrap());
    let (fetched, local) = (world.b.counter("bytes_fetched").unwrap(), du_blocks(&world.docs));
    let content = Seed::new(7).bytes(300_000);
    fs::write(world.a.join("docs/large"), &content).unwrap();
    fs::rename(world.a.join("docs/known"), world.a.join("docs/renamed")).unwrap();
    world.told(&[(IN_CLOSE_WRITE, "large"), (IN_MOVED_TO, "renamed")]);
    fs::remove_file(world.a.join("docs/renamed")).unwrap();
    world.told(&[(IN_DELETE, "renamed")]);
    assert_eq!(world.b.counter("bytes_fetched").unwrap(), fetched);
    assert_eq!(world.b.counter("chunks_sent").unwrap(), 0);
    assert!(du_blocks(&world.docs) <= local);
    world.nothing_was_done();
    assert_eq!(fs::read(world.docs.join("large")).unwrap(), content);
}

#[test]
fn what_is_done_here_is_told_once() {
    let mut world = World::new(|_| {});
    fs::write(world.docs.join("own"), "mine").unwrap();
    fs::create_dir(world.docs.join("dir")).unwrap();
    world.b.wait().unwrap();
    fs::write(world.a.join("docs/end"), "theirs").unwrap();
    world.told(&[(IN_CREATE, "own"), (IN_CREATE | IN_ISDIR, "dir"), (IN_CLOSE_WRITE, "end")]);
    fs::rename(world.docs.join("own"), world.docs.join("moved")).unwrap();
    fs::remove_dir(world.docs.join("dir")).unwrap();
    world.b.wait().unwrap();
    fs::remove_file(world.a.join("docs/end")).unwrap();
    let docs = world.docs.clone();
    let events = world.watcher.expect(SOON, &[(&docs, IN_DELETE, "end")]).unwrap();
    let told: Vec<&str> = events.iter().filter(|event| event.mask & IN_ATTRIB == 0).map(|event| &*event.name).collect();
    assert_eq!(told, ["own", "moved", "dir", "end"], "{events:x?}");
}

#[test]
fn names_that_change_what_they_stand_for_all_at_once_are_what_they_should_be() {
    let mut world = World::new(|a| {
        ["one", "two", "swapped", "gone"].iter().for_each(|name| fs::write(a.join("docs").join(name), name).unwrap());
        fs::create_dir_all(a.join("docs/dir/inner")).unwrap();
        fs::create_dir(a.join("docs/other")).unwrap();
    });
    let read = |world: &World, name: &str| fs::read_to_string(world.docs.join(name)).unwrap_or_default();
    for round in 0..3 {
        // The kernel has a name for each.
        fs::read_dir(&world.docs).unwrap().for_each(|entry| assert!(entry.unwrap().metadata().is_ok()));
        world.at_once(|docs| {
            let at = |name: &str| docs.join(name);
            fs::rename(at("one"), at("spare")).unwrap();
            fs::rename(at("swapped"), at("one")).unwrap();
            fs::rename(at("spare"), at("swapped")).unwrap();
            fs::rename(at("two"), at("gone")).unwrap();
            fs::write(at("two"), format!("another two {round}")).unwrap();
            fs::rename(at("dir"), at("spare")).unwrap();
            fs::rename(at("other"), at("dir")).unwrap();
            fs::rename(at("spare"), at("other")).unwrap();
        });
        world.told(&[
            (IN_MOVED_FROM, "one"),
            (IN_MOVED_TO, "one"),
            (IN_MOVED_FROM, "swapped"),
            // A save with a backup: each is the next version of what it was.
            (IN_MODIFY, "gone"),
            (IN_MODIFY, "two"),
            (IN_MOVED_TO | IN_ISDIR, "dir"),
            (IN_MOVED_TO | IN_ISDIR, "other"),
        ]);
        world.nothing_was_done();
        assert_eq!(read(&world, "two"), format!("another two {round}"));
    }
    assert_eq!((read(&world, "one"), read(&world, "swapped")), ("swapped".into(), "one".into()));
    assert!(world.docs.join("other/inner").is_dir() && !world.docs.join("dir/inner").exists());
}

#[test]
fn who_reads_when_told_reads_the_new_content() {
    let mut world = World::new(|a| fs::write(a.join("docs/n"), "0").unwrap());
    for turn in 1..=20u32 {
        let content = turn.to_string().repeat(turn as usize);
        fs::write(world.a.join("docs/n"), &content).unwrap();
        fs::write(world.a.join(&format!("docs/new{turn}")), &content).unwrap();
        let (docs, new) = (world.docs.clone(), format!("new{turn}"));
        let told = [(docs.as_path(), IN_CLOSE_WRITE, "n"), (&docs, IN_CLOSE_WRITE, &*new)];
        world.watcher.expect(SOON, &told).unwrap();
        for name in ["n", &new] {
            assert_eq!(fs::read_to_string(docs.join(name)).unwrap(), content, "{name}");
        }
    }
    world.nothing_was_done();
}

#[test]
fn who_has_a_file_open_keeps_its_version_and_others_are_told_of_the_next() {
    let mut world = World::new(|a| fs::write(a.join("docs/f"), "old").unwrap());
    let mut open = File::open(world.docs.join("f")).unwrap();
    open.read_exact_at(&mut [0], 0).unwrap();
    fs::write(world.a.join("docs/f"), "new").unwrap();
    world.told(&[(IN_CLOSE_WRITE, "f")]);
    assert_eq!(fs::read_to_string(world.docs.join("f")).unwrap(), "new");
    fs::remove_file(world.a.join("docs/f")).unwrap();
    world.told(&[(IN_DELETE, "f")]);
    let mut seen = String::new();
    open.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "old");
    drop(open);
    world.nothing_was_done();
}

#[test]
fn a_program_that_changes_is_told_of_and_never_held_open() {
    let script = |text: &str| format!("#!/bin/sh\necho {text}\n");
    let mut world = World::new(|a| {
        fs::write(a.join("docs/tool"), script("one")).unwrap();
        fs::set_permissions(a.join("docs/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    });
    fs::write(world.a.join("docs/tool"), script("two")).unwrap();
    let docs = world.docs.clone();
    let events = world.watcher.expect(SOON, &[(&docs, IN_MODIFY, "tool")]).unwrap();
    assert!(events.iter().all(|event| event.mask & IN_CLOSE_WRITE == 0), "{events:x?}");
    let said = Command::new(docs.join("tool")).output().unwrap();
    assert_eq!(said.stdout, b"two\n");
    world.nothing_was_done();
}

#[test]
fn many_changes_at_once_are_all_told_and_an_unmount_need_not_wait_for_them() {
    const COUNT: usize = 1500;
    let mut world = World::new(|_| {});
    let name = |number: usize| format!("file{number}");
    world.at_once(|docs| (0..COUNT).for_each(|number| fs::write(docs.join(name(number)), "x").unwrap()));
    let names: Vec<String> = (0..COUNT).map(name).collect();
    let wanted: Vec<(u32, &str)> = names.iter().map(|name| (IN_CREATE, name.as_str())).collect();
    world.told(&wanted);
    converge(&world.a, &world.b);
    world.at_once(|docs| names.iter().for_each(|name| fs::remove_file(docs.join(name)).unwrap()));
    let wanted: Vec<(u32, &str)> = names.iter().map(|name| (IN_DELETE, name.as_str())).collect();
    world.told(&wanted);
    world.nothing_was_done();
    world.at_once(|docs| (0..COUNT).for_each(|number| fs::write(docs.join(name(number)), "x").unwrap()));
    let docs = world.docs.clone();
    world.watcher.expect(SOON, &[(&docs, IN_CREATE, "file0")]).unwrap();
    world.b.unmount().unwrap();
}

#[test]
fn who_makes_and_removes_the_same_names_here_is_not_taken_for_the_player() {
    let world = World::new(|_| {});
    let is_over = AtomicBool::new(false);
    let refused = |error: &std::io::Error| !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists);
    thread::scope(|scope| {
        let (docs, is_over) = (&world.docs, &is_over);
        let work = scope.spawn(move || {
            let mut turns = 0;
            while !is_over.load(Ordering::Relaxed) {
                for name in ["shared", "own"] {
                    let made = File::create_new(docs.join(name)).map(drop);
                    let moved = fs::rename(docs.join(name), docs.join("moved"));
                    let gone = fs::remove_file(docs.join("moved"));
                    let failed: Vec<_> = [made, moved, gone].into_iter().filter_map(Result::err).collect();
                    assert!(!failed.iter().any(refused), "{failed:?}");
                }
                turns += 1;
            }
            turns
        });
        for turn in 0..60 {
            fs::write(world.a.join("docs/shared"), turn.to_string()).unwrap();
            fs::write(world.a.join(&format!("docs/theirs{turn}")), "theirs").unwrap();
            // Whoever came second has another name.
            let _ = fs::remove_file(world.a.join("docs/shared"));
        }
        let last = world.docs.join("theirs59");
        eventually(SOON, "all of it is here", || last.exists());
        is_over.store(true, Ordering::Relaxed);
        assert!(work.join().unwrap() > 0);
    });
    converge(&world.a, &world.b);
    for turn in 0..60 {
        assert_eq!(fs::read_to_string(world.docs.join(format!("theirs{turn}"))).unwrap(), "theirs");
    }
}

#[test]
fn a_player_whose_daemon_is_killed_does_nothing_that_the_next_one_would_take_for_a_persons_act() {
    let mut world = World::with(Device::surviving, |a| {
        (0..200).for_each(|number| fs::write(a.join(&format!("docs/{number}")), "kept").unwrap());
    });
    for turn in 0..4 {
        world.at_once(|docs| {
            for number in 0..200 {
                let name = docs.join(number.to_string());
                fs::rename(&name, docs.join("away")).unwrap();
                fs::rename(docs.join("away"), docs.join(format!("{number}.{turn}"))).unwrap();
                fs::write(&name, "kept").unwrap();
            }
        });
        let docs = world.docs.clone();
        world.watcher.expect(SOON, &[(&docs, IN_MOVED_FROM, "0")]).unwrap();
        world.b.kill_daemon().unwrap();
        eventually(SOON, "the next daemon answers", || world.b.status().is_ok());
    }
    world.nothing_was_done();
    fs::write(world.a.join("docs/end"), "x").unwrap();
    world.told(&[(IN_CREATE, "end")]);
}

#[test]
fn fanotify_tells_of_a_folder_and_of_a_mount() {
    if !is_root() {
        return eprintln!("skipped: needs root");
    }
    let world = World::new(|_| {});
    let names = libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_MOVED_FROM | libc::FAN_MOVED_TO | libc::FAN_ONDIR;
    let mut folder = Marks::new(&world.docs, Scope::Folder, names).unwrap();
    let mut mount = Marks::new(&world.docs, Scope::Mount, libc::FAN_MODIFY | libc::FAN_CLOSE_WRITE).unwrap();
    let mut told = |mask: u64, name: &str| eventually(SOON, name, || folder.told(mask, name));
    fs::write(world.a.join("docs/one"), "first").unwrap();
    told(libc::FAN_CREATE, "one");
    eventually(SOON, "it was written", || mount.told(libc::FAN_CLOSE_WRITE, "one"));
    fs::create_dir(world.a.join("docs/dir")).unwrap();
    told(libc::FAN_CREATE | libc::FAN_ONDIR, "dir");
    fs::rename(world.a.join("docs/one"), world.a.join("docs/two")).unwrap();
    told(libc::FAN_MOVED_FROM, "one");
    told(libc::FAN_MOVED_TO, "two");
    fs::remove_file(world.a.join("docs/two")).unwrap();
    told(libc::FAN_DELETE, "two");
    drop(folder);
    drop(mount);
    world.nothing_was_done();
}

/// The process that tells programs of what others did in this mount.
fn player_of(device: &Device) -> Option<Process> {
    let mount = device.path().canonicalize().unwrap();
    let expected = [&b"replay-changes"[..], mount.as_os_str().as_bytes()];
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::of_pid).find(|process| {
        let line = fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap_or_default();
        line.split(|byte| *byte == 0).skip(1).zip(expected).filter(|(word, expected)| word == expected).count() == 2
    })
}

#[test]
fn nothing_waits_for_a_player_that_does_not_answer() {
    let mut world = World::new(|_| {});
    fs::write(world.a.join("docs/first"), "x").unwrap();
    world.told(&[(IN_CREATE, "first")]);
    let player = player_of(&world.b).unwrap();
    player.freeze();
    for number in 0..20 {
        fs::write(world.a.join(&format!("docs/{number}")), "x").unwrap();
    }
    // While it is waited for, and after it was given up.
    eventually(SOON, "changes arrive", || world.docs.join("19").exists());
    fs::write(world.docs.join("own"), "x").unwrap();
    assert!(player.ends_within(SOON), "a player that does not answer is ended");
    fs::write(world.a.join("docs/after"), "x").unwrap();
    world.told(&[(IN_CREATE, "after")]);
    let next = player_of(&world.b).unwrap();
    next.freeze();
    fs::write(world.a.join("docs/last"), "x").unwrap();
    eventually(SOON, "changes arrive", || world.docs.join("last").exists());
    converge(&world.a, &world.b);
    world.b.unmount().unwrap();
    assert!(next.ends_within(SOON), "a player ends with its mount");
}

#[test]
fn a_player_ends_with_its_daemon() {
    let mut world = World::new(|_| {});
    fs::write(world.a.join("docs/first"), "x").unwrap();
    world.told(&[(IN_CREATE, "first")]);
    let player = player_of(&world.b).unwrap();
    player.freeze();
    world.b.kill_daemon().unwrap();
    assert!(player.ends_within(SOON));
}
