//! The kernel in the loop: a real mount of a tree in memory.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::content::Read;
use crate::env::RealClock;
use crate::meta::rows::{Ino, ROOT};
use crate::tree::{Invalidation, NewNode, Notifier};
use crate::vfs::fake::{FakeTree, Network};
use crate::vfs::ports::TreePort;
use crate::vfs::{Options, Ports, Vfs};
use std::fs::{self, File};
use std::io::{Read as _, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tarn_proto::name::Name;
use tarn_proto::node::NodeKind;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(2);

struct Mount {
    tree: FakeTree,
    notifier: Arc<KernelNotifier>,
    session: Option<Session>,
    runtime: Runtime,
    folder: TempDir,
}

impl Mount {
    fn new() -> Self {
        let tree = FakeTree::new();
        let notifier = Arc::new(KernelNotifier::default());
        let ports = Ports {
            tree: Arc::new(tree.clone()),
            lister: Arc::new(tree.clone()),
            clock: Arc::new(RealClock::new()),
            stale: notifier.stale().clone(),
        };
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let vfs = Vfs::new(ports, Options { posix: uid == 0, read_only: false, uid, gid, privileged: uid == 0 });
        let folder = tempfile::tempdir().unwrap();
        let options = MountOptions {
            mountpoint: folder.path().into(),
            source: "tarn:anna@example.org".into(),
            allow_other: false,
            read_timeout: PATIENCE,
        };
        let runtime = Runtime::new().unwrap();
        let session = mount(Arc::new(vfs), &notifier, &options, runtime.handle()).unwrap();
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
        self.notifier.invalidate(vec![Invalidation::Content(self.ino(name))]);
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
fn files_folders_and_links_behave_as_on_any_disk() {
    let mount = Mount::new();
    let path = |name: &str| mount.path(name);
    fs::create_dir(path("d")).unwrap();
    fs::write(path("d/a"), b"hello").unwrap();
    let mut appender = File::options().append(true).open(path("d/a")).unwrap();
    appender.write_all(b", world").unwrap();
    assert_eq!(fs::read(path("d/a")).unwrap(), b"hello, world");
    fs::hard_link(path("d/a"), path("b")).unwrap();
    assert_eq!((fs::metadata(path("b")).unwrap().nlink(), mount.ino("b")), (2, mount.ino("d/a")));
    symlink("d/a", path("s")).unwrap();
    assert_eq!(fs::read(path("s")).unwrap(), b"hello, world");
    assert_eq!(fs::read_link(path("s")).unwrap(), PathBuf::from("d/a"));
    appender.set_len(5).unwrap();
    fs::rename(path("d/a"), path("c")).unwrap();
    assert_eq!(fs::read(path("b")).unwrap(), b"hello");
    assert_eq!(fs::remove_dir(path("c")).unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
    fs::remove_file(path("b")).unwrap();
    fs::remove_file(path("c")).unwrap();
    let mut reader = File::open(path("s")).map_err(|error| error.raw_os_error());
    assert_eq!(reader.as_mut().map(drop), Err(&mut Some(libc::ENOENT)));
    assert_eq!(appender.metadata().unwrap().nlink(), 0);
    fs::remove_dir(path("d")).unwrap();
    fs::set_permissions(path("s"), fs::Permissions::from_mode(0o600)).unwrap_err();
}

#[test]
fn an_unlinked_file_stays_readable_through_its_handle() {
    let mount = Mount::new();
    let mut file = File::options().read(true).write(true).create_new(true).open(mount.path("f")).unwrap();
    file.write_all(b"still here").unwrap();
    fs::remove_file(mount.path("f")).unwrap();
    fs::write(mount.path("f"), b"another").unwrap();
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");
}

#[test]
fn ten_thousand_entries_are_listed_once_each() {
    let mount = Mount::new();
    for i in 0..10_000 {
        let new = NewNode { kind: NodeKind::File, mode: 0o644, uid: 0, gid: 0 };
        mount.tree.create(ROOT, &name(&format!("file-{i:05}")), new).unwrap();
    }
    for _ in 0..2 {
        let entries = fs::read_dir(mount.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert!(names.iter().enumerate().all(|(i, name)| *name == format!("file-{i:05}")));
        assert_eq!(names.len(), 10_000);
    }
}

#[test]
fn a_shared_map_and_read_and_write_see_the_same_bytes() {
    let mount = Mount::new();
    let file = File::options().read(true).write(true).create_new(true).open(mount.path("f")).unwrap();
    file.write_all_at(&[1; 8192], 0).unwrap();
    // SAFETY: a fresh mapping of 8192 bytes of an open file, unmapped below and used in between only.
    let map = unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let at =
            libc::mmap(std::ptr::null_mut(), 8192, access, libc::MAP_SHARED, std::os::fd::AsRawFd::as_raw_fd(&file), 0);
        assert_ne!(at, libc::MAP_FAILED);
        std::slice::from_raw_parts_mut(at.cast::<u8>(), 8192)
    };
    file.write_all_at(&[2; 10], 100).unwrap();
    assert_eq!(map[99..111], [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
    map[5000] = 3;
    let mut byte = [0];
    file.read_exact_at(&mut byte, 5000).unwrap();
    assert_eq!(byte, [3]);
    // SAFETY: the mapping made above; nothing refers to it after this.
    unsafe {
        assert_eq!(libc::msync(map.as_mut_ptr().cast(), 8192, libc::MS_SYNC), 0);
        assert_eq!(libc::munmap(map.as_mut_ptr().cast(), 8192), 0);
    }
    let content = mount.tree.content(mount.ino("f")).unwrap();
    assert_eq!(content.read(5000, 1).unwrap(), Read::Bytes(vec![3].into()));
}

#[test]
fn attributes_arrive_as_programs_set_them() {
    let mount = Mount::new();
    let path = mount.path("f");
    fs::write(&path, b"x").unwrap();
    rustix::fs::setxattr(&path, "user.colour", b"red", rustix::fs::XattrFlags::CREATE).unwrap();
    let mut value = [0; 16];
    assert_eq!(rustix::fs::getxattr(&path, "user.colour", &mut value).unwrap(), 3);
    assert_eq!(rustix::fs::getxattr(&path, "user.none", &mut value).unwrap_err(), rustix::io::Errno::NODATA);
    assert_eq!(rustix::fs::getxattr(&path, "user.colour", &mut value[..2]).unwrap_err(), rustix::io::Errno::RANGE);
    assert_eq!(rustix::fs::getxattr(&path, "user.tarn.state", &mut value).unwrap(), 8);
    assert_eq!(rustix::fs::listxattr(&path, &mut value).unwrap(), 12);
    let before = rustix::fs::Timespec { tv_sec: -2, tv_nsec: 300_000_000 };
    let times = rustix::fs::Timestamps { last_access: before, last_modification: before };
    rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
    let stat = fs::metadata(&path).unwrap();
    assert_eq!((stat.mtime(), stat.mtime_nsec(), stat.atime(), stat.atime_nsec()), (-2, 300_000_000, -2, 300_000_000));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode(), 0o100604);
}

#[test]
fn the_umask_applies_once_and_special_files_can_be_made() {
    let mount = Mount::new();
    let script = "umask 027; : > f; mkdir d; mkfifo p; stat -c %a f d; sh -c 'echo through > p' & cat p";
    let output = Command::new("sh").args(["-c", script]).current_dir(mount.folder.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "640\n750\nthrough\n");
    assert!(fs::metadata(mount.path("p")).unwrap().file_type().is_fifo());
}

#[test]
fn names_and_flags_that_cannot_be_give_their_errno() {
    let mount = Mount::new();
    let long = mount.path(&"n".repeat(256));
    assert_eq!(File::create(long).unwrap_err().raw_os_error(), Some(libc::ENAMETOOLONG));
    fs::write(mount.path("a"), b"1").unwrap();
    fs::write(mount.path("b"), b"2").unwrap();
    let rename =
        |flags| rustix::fs::renameat_with(rustix::fs::CWD, mount.path("a"), rustix::fs::CWD, mount.path("b"), flags);
    use rustix::fs::RenameFlags as Flags;
    assert_eq!(rename(Flags::NOREPLACE).unwrap_err(), rustix::io::Errno::EXIST);
    assert_eq!(rename(Flags::WHITEOUT).unwrap_err(), rustix::io::Errno::INVAL);
    rename(Flags::EXCHANGE).unwrap();
    assert_eq!((fs::read(mount.path("a")).unwrap(), fs::read(mount.path("b")).unwrap()), (b"2".into(), b"1".into()));
    let dir = fs::create_dir(mount.path("d")).and_then(|()| File::options().write(true).open(mount.path("d")));
    assert_eq!(dir.unwrap_err().raw_os_error(), Some(libc::EISDIR));
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
        (error.raw_os_error(), started.elapsed() >= PATIENCE)
    };
    *mount.tree.1.state.lock() = Network::Down;
    assert_eq!(read(), (Some(libc::ENETUNREACH), false));
    *mount.tree.1.state.lock() = Network::Silent;
    assert_eq!(read(), (Some(libc::EIO), true));
    // Meanwhile and after, all else answers.
    assert_eq!(fs::metadata(mount.path("f")).unwrap().len(), 10_000);
}

#[test]
fn a_reader_that_waits_can_be_ended() {
    let mount = Mount::new();
    drop(mount.cold("f"));
    *mount.tree.1.state.lock() = Network::Silent;
    for signal in ["INT", "TERM", "KILL"] {
        let mut reader = Command::new("cat").arg(mount.path("f")).stdout(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/stat", reader.id());
        until(|| fs::read_to_string(&status).is_ok_and(|stat| stat.contains(") D ") || stat.contains("cat) S ")));
        let kill = Command::new("kill").args([format!("-{signal}"), reader.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let started = Instant::now();
        assert!(!reader.wait().unwrap().success());
        assert!(started.elapsed() < Duration::from_secs(1), "SIG{signal} took {:?}", started.elapsed());
    }
}

#[test]
fn what_comes_from_elsewhere_is_seen_once_it_is_invalidated() {
    let mount = Mount::new();
    assert!(!mount.path("new").exists());
    assert_eq!(fs::read_dir(mount.folder.path()).unwrap().count(), 0);
    let new = NewNode { kind: NodeKind::File, mode: 0o644, uid: 0, gid: 0 };
    let made = mount.tree.create(ROOT, &name("new"), new).unwrap();
    // The kernel still remembers that there is none, and the empty listing.
    assert!(!mount.path("new").exists());
    mount.notifier.invalidate(vec![Invalidation::Entry { parent: ROOT, name: name("new") }]);
    until(|| mount.path("new").exists());
    until(|| !mount.notifier.stale().contains(ROOT));
    assert_eq!(fs::read_dir(mount.folder.path()).unwrap().count(), 1);

    fs::write(mount.path("new"), b"old text").unwrap();
    assert_eq!(fs::read(mount.path("new")).unwrap(), b"old text");
    mount.tree.truncate(made.ino, 0).unwrap();
    mount.tree.write(made.ino, 0, b"new text, longer").unwrap();
    mount.notifier.invalidate(vec![Invalidation::Content(made.ino)]);
    until(|| !mount.notifier.stale().contains(made.ino));
    assert_eq!(fs::read(mount.path("new")).unwrap(), b"new text, longer");

    mount.tree.unlink(ROOT, &name("new")).unwrap();
    mount.notifier.invalidate(vec![Invalidation::Gone { parent: ROOT, name: name("new"), child: made.ino }]);
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
