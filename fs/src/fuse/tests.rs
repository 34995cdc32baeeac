//! The kernel in the loop: a real mount of a tree in memory.

#![allow(clippy::unwrap_used)]

mod acl;
mod flags;
mod live;
mod posix;

use super::*;
use crate::env::RealClock;
use crate::meta::rows::{Ino, ROOT};
use crate::tree::{Invalidation, NewNode, Notifier};
use crate::vfs::fake::{FakeTree, Network};
use crate::vfs::ports::TreePort;
use crate::vfs::{Options, Ports, Vfs};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tarn_proto::name::Name;
use tarn_proto::node::NodeKind;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(2);

/// How mounts of these tests show the tree.
fn shown() -> Options {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let (posix, privileged) = (uid == 0, uid == 0);
    let (scanners, passthrough, cache_bytes) = (Vec::new(), false, u64::MAX);
    Options { posix, read_only: false, uid, gid, privileged, scanners, passthrough, cache_bytes }
}

struct Mount {
    tree: FakeTree,
    notifier: Arc<KernelNotifier>,
    session: Option<Session>,
    runtime: Runtime,
    folder: Arc<TempDir>,
}

impl Mount {
    fn new() -> Self {
        Self::at(Arc::new(tempfile::tempdir().unwrap()))
    }

    fn at(folder: Arc<TempDir>) -> Self {
        let tree = FakeTree::new();
        let notifier = Arc::new(KernelNotifier::default());
        let ports = Ports {
            tree: Arc::new(tree.clone()),
            lister: Arc::new(tree.clone()),
            clock: Arc::new(RealClock::new()),
            stale: notifier.stale().clone(),
            replay: notifier.replay().clone(),
        };
        let vfs = Vfs::new(ports, shown());
        let options = MountOptions {
            waits: Arc::default(),
            mountpoint: folder.path().into(),
            source: "tarn:anna@example.org".into(),
            allow_other: false,
            read_timeout: PATIENCE,
            backings: Arc::default(),
        };
        let runtime = Runtime::new().unwrap();
        let session = mount(Arc::new(vfs), &notifier, &options, runtime.handle(), None).unwrap();
        Self { tree, notifier, session: Some(session), runtime, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ino(&self, name: &str) -> Ino {
        Ino(fs::symlink_metadata(self.path(name)).unwrap().ino())
    }

    /// A file of which nothing is here, opened.
    fn cold(&self, name: &str) -> File {
        fs::write(self.path(name), vec![7; 10_000]).unwrap();
        self.tree.lose_bytes(self.ino(name), 0..10_000);
        // The kernel has its own copy of what was just written.
        self.notifier.announce_and_invalidate(vec![Invalidation::Content(self.ino(name))]);
        until(|| !self.notifier.stale().contains(self.ino(name)));
        File::open(self.path(name)).unwrap()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let _ = session.detach();
            let _ = session.join();
        }
    }
}

/// Runs each scenario on a mount of the tree in memory and on one of a real tree.
macro_rules! on_every_mount {
    ($($scenario:ident,)*) => {
        mod on_a_tree_in_memory {
            $(#[test] fn $scenario() { super::posix::$scenario(super::Mount::new().folder.path()); })*
        }
        mod on_a_real_tree {
            $(#[test] fn $scenario() { super::posix::$scenario(super::live::Live::new().path()); })*
        }
    };
}

on_every_mount! {
    files_folders_and_links_behave_as_on_any_disk,
    an_unlinked_file_stays_readable_through_its_handle,
    a_shared_map_and_read_and_write_see_the_same_bytes,
    attributes_arrive_as_programs_set_them,
    the_umask_applies_once_and_special_files_can_be_made,
    names_and_flags_that_cannot_be_give_their_errno,
    ten_thousand_files_are_listed_once_each_while_some_are_removed,
    a_large_file_reads_back_after_scattered_writes_and_truncation,
    a_change_of_names_moves_ctime_and_leaves_mtime_alone,
    flags_of_chattr_are_kept_and_those_without_meaning_refused,
    locks_of_each_kind_exclude_and_end_with_their_file,
    of_many_who_make_a_file_one_does_and_all_appends_are_whole,
    holes_ranges_and_direct_access_agree_with_ordinary_reads,
    what_fuse_does_not_carry_is_refused_and_never_half_done,
}

/// Waits for a condition, with a deadline.
fn until(mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(5), "it did not come true");
        std::thread::yield_now();
    }
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

#[test]
fn a_read_of_what_is_not_here_brings_it() {
    let mount = Mount::new();
    let mut bytes = Vec::new();
    mount.cold("f").read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, vec![7; 10_000]);
}

#[test]
fn an_unlisted_folder_is_listed_when_it_is_opened_and_offline_it_is_unreachable() {
    let mount = Mount::new();
    fs::create_dir(mount.path("d")).unwrap();
    fs::write(mount.path("d/f"), b"x").unwrap();
    mount.tree.lose_listing(mount.ino("d"));
    *mount.tree.1.state.lock() = Network::Down;
    let error = fs::read_dir(mount.path("d")).map(drop).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH));
    *mount.tree.1.state.lock() = Network::Up;
    assert_eq!(fs::read_dir(mount.path("d")).unwrap().count(), 1);
}

#[test]
fn offline_a_read_fails_at_once_and_on_a_silent_network_at_its_deadline() {
    let mount = Mount::new();
    let file = mount.cold("f");
    let read = || {
        let started = Instant::now();
        let error = file.read_at(&mut [0; 10], 0).unwrap_err();
        let took = started.elapsed();
        // The kernel asks a second time for what it was refused while it read ahead.
        assert!(took < 2 * PATIENCE, "{took:?}");
        (error.raw_os_error(), took >= PATIENCE)
    };
    *mount.tree.1.state.lock() = Network::Down;
    assert_eq!(read(), (Some(libc::ENETUNREACH), false));
    *mount.tree.1.state.lock() = Network::Silent;
    assert_eq!(read(), (Some(libc::EIO), true));
    // Meanwhile and after, all else answers.
    assert_eq!(fs::metadata(mount.path("f")).unwrap().len(), 10_000);
}

/// Each signal ends a program that waits for the network, soon.
fn each_signal_ends(mount: &Mount, program: &[&str], path: &Path) {
    let waited_count = || *mount.tree.1.waited_count.lock();
    for signal in ["INT", "TERM", "KILL"] {
        let before = waited_count();
        // Whoever runs the tests in the background may have had SIGINT ignored.
        let reader = Command::new("env").arg("--default-signal").args(program).arg(path).stdout(Stdio::null()).spawn();
        let mut reader = reader.unwrap();
        until(|| waited_count() > before);
        let kill = Command::new("kill").args([format!("-{signal}"), reader.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let started = Instant::now();
        assert!(!reader.wait().unwrap().success());
        assert!(started.elapsed() < Duration::from_secs(1), "SIG{signal} took {:?}", started.elapsed());
    }
}

#[test]
fn a_reader_that_waits_can_be_ended() {
    let mount = Mount::new();
    drop(mount.cold("f"));
    *mount.tree.1.state.lock() = Network::Silent;
    each_signal_ends(&mount, &["cat"], &mount.path("f"));
}

/// A folder of which ten names have come and ten have not.
fn half_listed() -> (Mount, PathBuf) {
    let mount = Mount::new();
    let folder = mount.path("d");
    fs::create_dir(&folder).unwrap();
    (0..20).for_each(|number| fs::write(folder.join(format!("f{number}")), b"x").unwrap());
    mount.tree.lose_rest(mount.ino("d"), 10);
    (mount, folder)
}

#[test]
fn names_are_listed_as_they_come_and_a_listing_that_breaks_off_fails() {
    let (mount, folder) = half_listed();
    for (network, errno) in [(Network::Silent, libc::EIO), (Network::Down, libc::ENETUNREACH)] {
        *mount.tree.1.state.lock() = network;
        let mut names = fs::read_dir(&folder).unwrap();
        assert!(names.by_ref().take(10).all(|name| name.is_ok()));
        let error = names.next().expect("the listing is not at its end").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno));
    }
    let mut names = fs::read_dir(&folder).unwrap();
    assert!(names.by_ref().take(10).all(|name| name.is_ok()));
    *mount.tree.1.state.lock() = Network::Up;
    let rest: Vec<_> = names.map(|name| name.unwrap().file_name()).collect();
    assert_eq!(rest.len(), 10, "the rest, in the same listing");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 20);
}

#[test]
fn whoever_waits_for_the_rest_of_a_listing_can_be_ended() {
    let (mount, folder) = half_listed();
    *mount.tree.1.state.lock() = Network::Silent;
    each_signal_ends(&mount, &["ls", "-U"], &folder);
}

#[test]
fn what_comes_from_elsewhere_is_seen_once_it_is_invalidated() {
    let mount = Mount::new();
    assert!(!mount.path("new").exists());
    assert_eq!(fs::read_dir(mount.folder.path()).unwrap().count(), 0);
    let new = NewNode::plain(NodeKind::File, 0o644);
    let made = mount.tree.create(ROOT, &name("new"), new).unwrap();
    // The kernel still remembers that there is none, and the empty listing.
    assert!(!mount.path("new").exists());
    mount.notifier.announce_and_invalidate(vec![Invalidation::Entry { parent: ROOT, name: name("new") }]);
    until(|| mount.path("new").exists());
    until(|| !mount.notifier.stale().contains(ROOT));
    assert_eq!(fs::read_dir(mount.folder.path()).unwrap().count(), 1);

    fs::write(mount.path("new"), b"old text").unwrap();
    assert_eq!(fs::read(mount.path("new")).unwrap(), b"old text");
    mount.tree.truncate(made.ino, 0).unwrap();
    mount.tree.write(made.ino, 0, b"new text, longer").unwrap();
    mount.notifier.announce_and_invalidate(vec![Invalidation::Content(made.ino)]);
    until(|| !mount.notifier.stale().contains(made.ino));
    assert_eq!(fs::read(mount.path("new")).unwrap(), b"new text, longer");

    mount.tree.unlink(ROOT, &name("new")).unwrap();
    mount.notifier.announce_and_invalidate(vec![Invalidation::Gone {
        parent: ROOT,
        name: name("new"),
        child: made.ino,
    }]);
    until(|| !mount.path("new").exists());
}

#[test]
fn a_panic_in_a_call_is_an_io_error_and_the_mount_goes_on() {
    let mount = Mount::new();
    let error = fs::metadata(mount.path(FakeTree::PANICS)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    fs::write(mount.path("f"), b"x").unwrap();
}

#[test]
fn a_busy_mount_is_not_removed_but_taken_out_of_the_tree_and_that_is_noticed() {
    let mut mount = Mount::new();
    let file = File::create(mount.path("f")).unwrap();
    let session = mount.session.take().unwrap();
    assert_eq!(session.unmount().unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
    session.detach().unwrap();
    let ended = async { tokio::time::timeout(Duration::from_secs(2), session.ended()).await };
    mount.runtime.block_on(ended).expect("the end of a busy mount is noticed");
    assert_eq!(fs::read_dir(mount.folder.path()).unwrap().count(), 0);
    drop(file);
    session.join().unwrap();
}

#[test]
fn the_late_end_of_a_mount_leaves_the_next_one_at_its_place_alone() {
    let mut mount = Mount::new();
    let file = File::create(mount.path("f")).unwrap();
    let session = mount.session.take().unwrap();
    session.detach().unwrap();
    let next = Mount::at(Arc::clone(&mount.folder));
    fs::write(next.path("g"), b"next").unwrap();
    drop(file);
    session.join().unwrap();
    assert_eq!(fs::read(next.path("g")).unwrap(), b"next");
}

#[test]
fn calls_that_last_keep_no_other_waiting_and_a_crew_at_rest_ends() {
    let mut mount = Mount::new();
    // By the end of this one worker waits for requests, and the others rest.
    (0..64).for_each(|number| fs::write(mount.path(&format!("f{number}")), b"x").unwrap());
    let held = mount.tree.hold_syncs();
    let sync = |number| {
        let file = File::open(mount.path(&format!("f{number}"))).unwrap();
        std::thread::spawn(move || file.sync_all())
    };
    let syncs: Vec<_> = (0..3).map(sync).collect();
    until(|| mount.tree.syncing_count() == 3);
    (0..64).for_each(|number| assert!(!mount.path(&format!("absent{number}")).exists()));
    assert_eq!(mount.tree.sync_count(), 0);
    drop(held);
    syncs.into_iter().for_each(|sync| sync.join().unwrap().unwrap());
    assert_eq!(mount.tree.sync_count(), 3);
    let session = mount.session.take().unwrap();
    session.unmount().unwrap();
    session.join().unwrap();
}

/// The kernel takes no attributes in that it had asked for before it was told to forget them: a size that a program is shown,
/// and that ends there, ends the program when it maps the file.
#[test]
fn who_opens_what_was_written_elsewhere_finds_the_kernel_told_of_it_and_not_told_again() {
    let mount = Mount::new();
    let path = mount.path("f");
    fs::write(&path, b"short").unwrap();
    let ino = mount.ino("f");
    mount.tree.truncate(ino, 100_000).unwrap();
    let news = vec![Invalidation::Attributes(ino), Invalidation::Content(ino)];
    mount.notifier.announce(&news);
    let file = File::open(&path).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 100_000);
    let asked = mount.tree.stat_count();
    mount.notifier.invalidate(news);
    mount.notifier.rest(PATIENCE);
    assert_eq!(file.metadata().unwrap().len(), 100_000);
    assert_eq!((mount.tree.stat_count(), mount.notifier.stale().contains(ino)), (asked, false));
    assert_eq!(fs::read(&path).unwrap().len(), 100_000);
}

/// The kernel may be about to learn of it from an answer that tells how it was before.
#[test]
fn what_the_kernel_did_not_know_when_it_was_told_is_stale_until_it_was_told_again() {
    let mount = Mount::new();
    let made = mount.tree.create(ROOT, &name("new"), NewNode::plain(NodeKind::File, 0o644)).unwrap();
    mount.notifier.announce_and_invalidate(vec![Invalidation::Content(made.ino)]);
    mount.notifier.rest(PATIENCE);
    assert!(mount.notifier.stale().contains(made.ino), "it was told once");
    assert_eq!(mount.ino("new"), made.ino);
    until(|| !mount.notifier.stale().contains(made.ino));
    mount.notifier.announce_and_invalidate(vec![Invalidation::Content(made.ino)]);
    mount.notifier.rest(PATIENCE);
    assert!(!mount.notifier.stale().contains(made.ino), "it knows it now");
}

#[test]
fn an_unmounted_session_ends_and_is_joined() {
    let mut mount = Mount::new();
    let session = mount.session.take().unwrap();
    session.unmount().unwrap();
    let ended = async { tokio::time::timeout(Duration::from_secs(2), session.ended()).await };
    mount.runtime.block_on(ended).expect("the end of a mount is noticed");
    session.join().unwrap();
}

#[test]
fn the_table_of_mounts_tells_that_it_is_remote() {
    let mount = Mount::new();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains(mount.folder.path().to_str().unwrap())).unwrap();
    assert!(line.contains(" fuse.tarn tarn:anna@example.org "), "{line}");
}
