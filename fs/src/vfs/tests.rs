//! What POSIX says of corner cases, call by call, on a tree in memory.

#![allow(clippy::unwrap_used)]

mod again;
mod passthrough;
mod programs;
mod replay;
mod xattrs;

use super::fake::FakeTree;
use super::stale::tests::Told;
use super::*;
use crate::meta::rows::ROOT;
use crate::tree::{Stat, TreeError};
use tarn_proto::limits::FILE_BYTES_MAX;

const ROOT_USER: Caller = Caller { uid: 0, gid: 0, tid: 0, is_again: false, unique: 0 };
const ANNA: Caller = Caller { uid: 1000, gid: 1000, tid: 0, is_again: false, unique: 0 };
const RDWR: OpenFlags =
    OpenFlags { read: true, write: true, append: false, sync: false, direct: false, truncate: false, exclusive: false };
const RDONLY: OpenFlags = OpenFlags { write: false, ..RDWR };

fn posix() -> Options {
    Options {
        posix: true,
        read_only: false,
        uid: 0,
        gid: 0,
        privileged: true,
        scanners: Vec::new(),
        passthrough: true,
        cache_bytes: u64::MAX,
    }
}

fn owner_view() -> Options {
    Options {
        posix: false,
        read_only: false,
        uid: 1000,
        gid: 1000,
        privileged: false,
        scanners: Vec::new(),
        passthrough: false,
        cache_bytes: u64::MAX,
    }
}

fn fresh(options: Options) -> (Vfs, FakeTree) {
    let tree = FakeTree::new();
    (tree.mount(options), tree)
}

/// The tree's word in a failed call.
fn refusal<T: std::fmt::Debug>(answer: Answer<T>) -> TreeError {
    match answer {
        Err(Stop::Fail(VfsError::Tree(error))) => error,
        other => panic!("no refusal of the tree: {other:?}"),
    }
}

fn made(vfs: &Vfs, caller: Caller, name: &str, mode: u32) -> (Stat, u64) {
    let (shown, opened) = vfs.create(caller, ROOT, name.as_bytes(), mode, RDWR).unwrap();
    (shown.stat, opened.handle)
}

#[test]
fn a_name_of_255_bytes_is_taken_and_one_of_256_is_too_long() {
    let (vfs, _) = fresh(posix());
    vfs.mkdir(ANNA, ROOT, &[0xff; 255], 0o755).unwrap();
    for answer in [vfs.mkdir(ANNA, ROOT, &[b'n'; 256], 0o755), vfs.symlink(ANNA, ROOT, &[b'n'; 256], b"t")] {
        assert!(matches!(refusal(answer), TreeError::NameTooLong));
    }
    assert!(matches!(refusal(vfs.lookup(ROOT, &[b'n'; 256])), TreeError::NameTooLong));
}

#[test]
fn an_absent_name_is_an_answer_that_counts_nothing_and_a_found_one_counts_once() {
    let (vfs, tree) = fresh(posix());
    assert!(vfs.lookup(ROOT, b"absent").unwrap().is_none());
    let dir = vfs.mkdir(ANNA, ROOT, b"d", 0o755).unwrap().stat.ino;
    vfs.lookup(ROOT, b"d").unwrap().unwrap();
    assert_eq!(tree.refs(dir), 2);
    vfs.forget(dir, 2);
    assert_eq!(tree.refs(dir), 0);
}

#[test]
fn an_unlisted_folder_makes_lookup_and_opendir_wait_for_its_listing() {
    let (vfs, tree) = fresh(posix());
    tree.lose_listing(ROOT);
    assert!(matches!(vfs.lookup(ROOT, b"x"), Err(Stop::Wait(WaitFor::List(_)))));
    assert!(matches!(vfs.opendir(ROOT), Err(Stop::Wait(WaitFor::List(_)))));
}

#[test]
fn contradicting_and_unknown_rename_flags_are_invalid() {
    let (vfs, _) = fresh(posix());
    made(&vfs, ANNA, "a", 0o644);
    let both = RenameFlags { no_replace: true, exchange: true, others: false };
    let whiteout = RenameFlags { others: true, ..RenameFlags::default() };
    for flags in [both, whiteout] {
        assert!(matches!(refusal(vfs.rename((ROOT, b"a"), (ROOT, b"b"), flags)), TreeError::Invalid));
    }
    vfs.rename((ROOT, b"a"), (ROOT, b"b"), RenameFlags::default()).unwrap();
}

#[test]
fn a_read_only_mount_refuses_every_change_and_no_read() {
    let (vfs, tree) = fresh(posix());
    made(&vfs, ANNA, "f", 0o644);
    let vfs = tree.mount(Options { read_only: true, ..posix() });
    let file = vfs.lookup(ROOT, b"f").unwrap().unwrap().stat.ino;
    let changes = [
        vfs.mkdir(ANNA, ROOT, b"d", 0o755).map(drop),
        vfs.unlink(ROOT, b"f"),
        vfs.setattr(ANNA, file, SetAttr { mode: Some(0o600), ..SetAttr::default() }).map(drop),
        vfs.open(ANNA, file, RDWR).map(drop),
        vfs.setxattr(ANNA, file, b"user.a", b"1", XattrMode::Either),
    ];
    assert!(changes.into_iter().all(|change| matches!(refusal(change), TreeError::ReadOnly)));
    vfs.open(ANNA, file, RDONLY).unwrap();
}

#[test]
fn what_is_made_in_a_setgid_folder_gets_its_group_and_folders_its_bit() {
    let (vfs, _) = fresh(posix());
    let dir = vfs.mkdir(Caller { gid: 77, ..ANNA }, ROOT, b"d", 0o2775).unwrap().stat.ino;
    let below = vfs.mkdir(ANNA, dir, b"below", 0o755).unwrap().stat;
    let file = vfs.mknod(ANNA, dir, b"file", libc::S_IFREG | 0o644, 0).unwrap().stat;
    assert_eq!((below.attrs.gid, below.attrs.mode), (77, 0o2755));
    assert_eq!((file.attrs.gid, file.attrs.mode), (77, 0o644));
}

#[test]
fn special_files_keep_their_kind_and_device_number() {
    let (vfs, _) = fresh(posix());
    let device = vfs.mknod(ROOT_USER, ROOT, b"null", libc::S_IFCHR | 0o666, 0x103).unwrap();
    assert_eq!(device.stat.kind, tarn_proto::node::NodeKind::CharDevice { rdev: 0x103 });
    assert!(matches!(refusal(vfs.mknod(ROOT_USER, ROOT, b"x", libc::S_IFDIR, 0)), TreeError::Invalid));
}

#[test]
fn create_opens_what_another_made_first_unless_it_must_be_new() {
    let (vfs, tree) = fresh(posix());
    let (stat, handle) = made(&vfs, ANNA, "f", 0o644);
    vfs.write(ANNA, handle, 0, b"old", false).unwrap();
    let exclusive = OpenFlags { exclusive: true, ..RDWR };
    assert!(matches!(refusal(vfs.create(ANNA, ROOT, b"f", 0o600, exclusive)), TreeError::Exists));
    let (again, _) = vfs.create(ANNA, ROOT, b"f", 0o600, OpenFlags { truncate: true, ..RDWR }).unwrap();
    assert_eq!((again.stat.ino, again.stat.size_bytes, again.stat.attrs.mode), (stat.ino, 0, 0o644));
    assert_eq!(tree.opens(stat.ino), (2, 2));
}

#[test]
fn handles_are_counted_in_and_out_and_a_closed_one_is_bad() {
    let (vfs, tree) = fresh(posix());
    let (stat, first) = made(&vfs, ANNA, "f", 0o644);
    let second = vfs.open(ANNA, stat.ino, RDONLY).unwrap().handle;
    assert_eq!(tree.opens(stat.ino), (2, 1));
    vfs.release(first);
    vfs.release(second);
    assert_eq!((tree.opens(stat.ino), vfs.open_count()), ((0, 0), 0));
    assert!(matches!(vfs.read(first, 0, 8), Err(Stop::Fail(VfsError::BadHandle))));
    assert!(matches!(vfs.fsync(first), Err(Stop::Fail(VfsError::BadHandle))));
}

#[test]
fn a_failed_open_leaves_no_handle_counted() {
    let (vfs, tree) = fresh(posix());
    let dir = vfs.mkdir(ANNA, ROOT, b"d", 0o755).unwrap().stat.ino;
    assert!(matches!(refusal(vfs.open(ANNA, dir, RDWR)), TreeError::IsADirectory));
    assert_eq!((tree.opens(dir), vfs.open_count()), ((0, 0), 0));
}

#[test]
fn a_handle_serves_only_what_it_was_opened_for() {
    let (vfs, _) = fresh(posix());
    let (stat, _) = made(&vfs, ANNA, "f", 0o644);
    let reader = vfs.open(ANNA, stat.ino, RDONLY).unwrap().handle;
    assert!(matches!(vfs.write(ANNA, reader, 0, b"x", false), Err(Stop::Fail(VfsError::BadHandle))));
    assert!(matches!(vfs.fallocate(ANNA, reader, 0, 1, 0), Err(Stop::Fail(VfsError::BadHandle))));
    // open(O_RDONLY | O_TRUNC) comes as a truncation through its handle; who may is the kernel's to know.
    let through = |handle| SetAttr { size_bytes: Some(1), handle: Some(handle), ..SetAttr::default() };
    assert_eq!(vfs.setattr(ANNA, stat.ino, through(reader)).unwrap().stat.size_bytes, 1);
    let other = made(&vfs, ANNA, "g", 0o644).1;
    assert!(matches!(vfs.setattr(ANNA, stat.ino, through(other)), Err(Stop::Fail(VfsError::BadHandle))));
}

#[test]
fn a_file_grows_to_its_limit_and_not_beyond() {
    let (vfs, _) = fresh(posix());
    let (stat, handle) = made(&vfs, ANNA, "f", 0o644);
    let too_large = SetAttr { size_bytes: Some(FILE_BYTES_MAX + 1), ..SetAttr::default() };
    assert!(matches!(vfs.setattr(ANNA, stat.ino, too_large), Err(Stop::Fail(VfsError::FileTooLarge))));
    assert!(matches!(vfs.write(ANNA, handle, FILE_BYTES_MAX, b"x", false), Err(Stop::Fail(VfsError::FileTooLarge))));
    assert!(matches!(vfs.write(ANNA, handle, u64::MAX, b"x", false), Err(Stop::Fail(VfsError::FileTooLarge))));
}

#[test]
fn a_write_by_another_than_root_clears_setuid_and_executable_setgid() {
    let (vfs, _) = fresh(posix());
    for (mode, after) in [(0o6755, 0o755), (0o2644, 0o2644), (0o4644, 0o644)] {
        let (stat, handle) = made(&vfs, ANNA, &format!("{mode:o}"), mode);
        vfs.write(ROOT_USER, handle, 0, b"x", false).unwrap();
        assert_eq!(vfs.getattr(stat.ino).unwrap().stat.attrs.mode, mode);
        vfs.write(ANNA, handle, 0, b"x", false).unwrap();
        assert_eq!(vfs.getattr(stat.ino).unwrap().stat.attrs.mode, after);
    }
}

#[test]
fn privileges_given_back_between_two_writes_of_one_handle_are_cleared_again() {
    let (vfs, _) = fresh(posix());
    let (stat, handle) = made(&vfs, ANNA, "f", 0o755);
    for _ in 0..2 {
        vfs.write(ANNA, handle, 0, b"x", false).unwrap();
        let given = SetAttr { mode: Some(0o4755), ..SetAttr::default() };
        vfs.setattr(ROOT_USER, stat.ino, given).unwrap();
        vfs.write(ROOT_USER, handle, 0, b"x", false).unwrap();
        assert_eq!(vfs.getattr(stat.ino).unwrap().stat.attrs.mode, 0o4755);
        vfs.write(ANNA, handle, 0, b"x", false).unwrap();
        assert_eq!(vfs.getattr(stat.ino).unwrap().stat.attrs.mode, 0o755);
    }
}

#[test]
fn truncate_and_fallocate_clear_setuid_too_and_any_write_the_capabilities() {
    let (vfs, _) = fresh(posix());
    let (stat, handle) = made(&vfs, ANNA, "f", 0o4755);
    let mode = || vfs.getattr(stat.ino).unwrap().stat.attrs.mode;
    let shrink = SetAttr { size_bytes: Some(0), ..SetAttr::default() };
    let restore = SetAttr { mode: Some(0o4755), ..SetAttr::default() };
    assert_eq!(vfs.setattr(ANNA, stat.ino, shrink).unwrap().stat.attrs.mode, 0o755);
    vfs.setattr(ANNA, stat.ino, restore).unwrap();
    vfs.fallocate(ANNA, handle, 0, 10, 0).unwrap();
    assert_eq!(mode(), 0o755);
    vfs.setxattr(ROOT_USER, stat.ino, b"security.capability", b"cap", XattrMode::Either).unwrap();
    vfs.write(ROOT_USER, handle, 0, b"x", false).unwrap();
    assert!(matches!(refusal(vfs.getxattr(stat.ino, b"security.capability")), TreeError::NoAttribute));
}

#[test]
fn chown_clears_setuid_of_files_and_keeps_it_on_folders() {
    let (vfs, _) = fresh(posix());
    let (file, _) = made(&vfs, ROOT_USER, "f", 0o6755);
    let dir = vfs.mkdir(ROOT_USER, ROOT, b"d", 0o2755).unwrap().stat.ino;
    let owner = SetAttr { uid: Some(5), gid: Some(6), ..SetAttr::default() };
    let changed = vfs.setattr(ROOT_USER, file.ino, owner).unwrap().stat.attrs;
    assert_eq!((changed.uid, changed.gid, changed.mode), (5, 6, 0o755));
    assert_eq!(vfs.setattr(ROOT_USER, dir, owner).unwrap().stat.attrs.mode, 0o2755);
}

#[test]
fn the_owner_view_shows_the_mounting_user_and_refuses_to_mean_another() {
    let (vfs, tree) = fresh(posix());
    let (stat, _) = made(&vfs, Caller { uid: 7, gid: 8, ..ANNA }, "f", 0o644);
    let vfs = tree.mount(owner_view());
    let shown = vfs.getattr(stat.ino).unwrap().stat.attrs;
    assert_eq!((shown.uid, shown.gid), (1000, 1000));
    let own = SetAttr { uid: Some(1000), gid: Some(1000), ..SetAttr::default() };
    vfs.setattr(ANNA, stat.ino, own).unwrap();
    let foreign = SetAttr { uid: Some(1), ..SetAttr::default() };
    assert!(matches!(refusal(vfs.setattr(ANNA, stat.ino, foreign)), TreeError::NotPermitted));
    let vfs = tree.mount(posix());
    assert_eq!(vfs.getattr(stat.ino).unwrap().stat.attrs.uid, 7);
}

#[test]
fn times_are_set_to_the_nanosecond_before_1970_too() {
    let (vfs, _) = fresh(posix());
    let (stat, _) = made(&vfs, ANNA, "f", 0o644);
    let (atime, mtime) = (Timestamp { secs: -5, nanos: 1 }, Timestamp { secs: 9, nanos: 999_999_999 });
    let set = SetAttr { atime: Some(NewTime::At(atime)), mtime: Some(NewTime::At(mtime)), ..SetAttr::default() };
    let shown = vfs.setattr(ANNA, stat.ino, set).unwrap();
    assert_eq!((shown.atime, shown.stat.attrs.mtime), (atime, mtime));
    let now = SetAttr { mtime: Some(NewTime::Now), ..SetAttr::default() };
    let shown = vfs.setattr(ANNA, stat.ino, now).unwrap();
    assert!(shown.stat.attrs.mtime > mtime && shown.stat.attrs.ctime >= shown.stat.attrs.mtime);
    assert_eq!(shown.atime, atime);
}

#[test]
fn the_state_of_a_file_is_readable_and_never_listed() {
    let (vfs, tree) = fresh(posix());
    let (file, handle) = made(&vfs, ANNA, "f", 0o644);
    let state = || String::from_utf8(vfs.getxattr(file.ino, STATE.as_bytes()).unwrap()).unwrap();
    vfs.write(ANNA, handle, 0, b"0123456789", false).unwrap();
    assert_eq!(state(), "hydrated");
    tree.lose_bytes(file.ino, 0..5);
    assert_eq!(state(), "partial");
    tree.lose_bytes(file.ino, 5..10);
    assert_eq!(state(), "online-only");
    assert!(vfs.listxattr(ROOT_USER, file.ino).unwrap().is_empty());
}

#[test]
fn a_read_of_what_is_not_here_waits_for_exactly_that() {
    let (vfs, tree) = fresh(posix());
    let (file, handle) = made(&vfs, ANNA, "f", 0o644);
    vfs.write(ANNA, handle, 0, &[7; 100], false).unwrap();
    tree.lose_bytes(file.ino, 40..50);
    let Err(Stop::Wait(WaitFor::Bytes { ranges, .. })) = vfs.read(handle, 0, 100) else {
        panic!("the read did not wait");
    };
    assert_eq!((ranges.len(), &ranges[0]), (1, &(40..50)));
    assert_eq!(vfs.read(handle, 50, 100).unwrap().len(), 50);
    assert!(vfs.read(handle, 100, 100).unwrap().is_empty());
}

#[test]
fn a_sequential_reader_has_what_it_will_want_asked_for_and_a_random_one_has_not() {
    let (vfs, tree) = fresh(posix());
    let (file, writer) = made(&vfs, ANNA, "f", 0o644);
    vfs.write(ANNA, writer, 0, &vec![1; 4 << 20], false).unwrap();
    tree.lose_bytes(file.ino, 128 << 10..4 << 20);
    let random = vfs.open(ANNA, file.ino, RDONLY).unwrap().handle;
    for offset in [64 << 10, 3 << 20, 4096] {
        let _ = vfs.read(random, offset, 4096);
    }
    assert!(tree.1.asked_soon.lock().is_empty());
    let reader = vfs.open(ANNA, file.ino, RDONLY).unwrap().handle;
    for offset in [0, 32 << 10, 64 << 10] {
        vfs.read(reader, offset, 64 << 10).unwrap();
    }
    assert_eq!(tree.1.asked_soon.lock().first().map(|range| range.start), Some(128 << 10));
}

#[test]
fn what_is_not_local_is_data_to_seek_not_a_hole() {
    let (vfs, tree) = fresh(posix());
    let (file, handle) = made(&vfs, ANNA, "f", 0o644);
    vfs.write(ANNA, handle, 0, &[7; 100], false).unwrap();
    tree.lose_bytes(file.ino, 0..100);
    assert_eq!(vfs.lseek(handle, 10, libc::SEEK_DATA).unwrap(), 10);
    assert_eq!(vfs.lseek(handle, 10, libc::SEEK_HOLE).unwrap(), 100);
    for offset in [-1, 100] {
        assert!(matches!(vfs.lseek(handle, offset, libc::SEEK_DATA), Err(Stop::Fail(VfsError::BeyondEnd))));
    }
    assert!(matches!(refusal(vfs.lseek(handle, 0, 99)), TreeError::Invalid));
}

#[test]
fn fallocate_grows_keeps_zeroes_and_punches_as_asked() {
    let (vfs, _) = fresh(posix());
    let (file, handle) = made(&vfs, ANNA, "f", 0o644);
    let size = || vfs.getattr(file.ino).unwrap().stat.size_bytes;
    let allocate = |offset, len, mode| vfs.fallocate(ANNA, handle, offset, len, mode);
    vfs.write(ANNA, handle, 0, &[7; 10], false).unwrap();
    allocate(0, 20, libc::FALLOC_FL_KEEP_SIZE).unwrap();
    assert_eq!(size(), 10);
    allocate(0, 20, 0).unwrap();
    assert_eq!(size(), 20);
    allocate(2, 3, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE).unwrap();
    allocate(15, 15, libc::FALLOC_FL_ZERO_RANGE).unwrap();
    let bytes = vfs.read(handle, 0, 40).unwrap();
    assert_eq!(bytes.len(), 30);
    assert_eq!(bytes[..10], [7, 7, 0, 0, 0, 7, 7, 7, 7, 7]);
    assert!(matches!(refusal(allocate(0, 0, 0)), TreeError::Invalid));
    for mode in [libc::FALLOC_FL_PUNCH_HOLE, libc::FALLOC_FL_COLLAPSE_RANGE, libc::FALLOC_FL_INSERT_RANGE] {
        assert!(matches!(refusal(allocate(0, 5, mode)), TreeError::NotSupported));
    }
}

#[test]
fn copy_file_range_copies_to_the_end_and_stops_short_before_what_is_missing() {
    let (vfs, tree) = fresh(posix());
    let (from, source) = made(&vfs, ANNA, "from", 0o644);
    let (to, target) = made(&vfs, ANNA, "to", 0o644);
    let bytes: Vec<u8> = (0..3 << 20).map(|i: u32| (i / 7) as u8).collect();
    vfs.write(ANNA, source, 0, &bytes, false).unwrap();
    assert_eq!(vfs.copy_file_range(ANNA, (source, 0), (target, 5), 1 << 30).unwrap(), 3 << 20);
    assert_eq!(vfs.getattr(to.ino).unwrap().stat.size_bytes, (3 << 20) + 5);
    tree.lose_bytes(from.ino, 2 << 20..3 << 20);
    assert_eq!(vfs.copy_file_range(ANNA, (source, 0), (target, 0), 3 << 20).unwrap(), 2 << 20);
    let missing = vfs.copy_file_range(ANNA, (source, 2 << 20), (target, 0), 10);
    assert!(matches!(missing, Err(Stop::Wait(WaitFor::Bytes { .. }))));
}

#[test]
fn appends_go_to_the_end_wherever_the_caller_believes_it_is_and_maps_to_their_place() {
    let (vfs, _) = fresh(posix());
    let (file, handle) = made(&vfs, ANNA, "f", 0o644);
    vfs.write(ANNA, handle, 0, b"0123456789", false).unwrap();
    let appends = vfs.open(ANNA, file.ino, (libc::O_RDWR | libc::O_APPEND).into()).unwrap().handle;
    vfs.write(ANNA, appends, 4, b"ab", false).unwrap();
    vfs.write(ANNA, appends, 4, b"cd", true).unwrap();
    assert_eq!(&vfs.read(handle, 0, 20).unwrap()[..], b"0123cd6789ab");
}

#[test]
fn a_synchronous_handle_syncs_with_each_write() {
    let (vfs, tree) = fresh(posix());
    let (file, _) = made(&vfs, ANNA, "f", 0o644);
    let handle = vfs.open(ANNA, file.ino, (libc::O_RDWR | libc::O_DSYNC).into()).unwrap().handle;
    vfs.write(ANNA, handle, 0, b"x", false).unwrap();
    assert_eq!(tree.sync_count(), 1);
}

#[test]
fn a_listing_starts_with_the_dots_and_survives_changes_between_calls() {
    let (vfs, _) = fresh(posix());
    for i in 0..10 {
        made(&vfs, ANNA, &format!("f{i}"), 0o644);
    }
    let handle = vfs.opendir(ROOT).unwrap().handle;
    let first = vfs.readdir(handle, 0, 4).unwrap();
    assert_eq!(first[..2].iter().map(|item| &item.name[..]).collect::<Vec<_>>(), [&b"."[..], b".."]);
    vfs.unlink(ROOT, b"f0").unwrap();
    vfs.unlink(ROOT, b"f9").unwrap();
    let rest = vfs.readdir(handle, first.last().unwrap().cookie, 100).unwrap();
    let names: Vec<_> = rest.iter().map(|item| String::from_utf8_lossy(&item.name).into_owned()).collect();
    assert_eq!(names, ["f4", "f5", "f6", "f7", "f8"]);
    assert!(vfs.readdir(handle, rest.last().unwrap().cookie, 100).unwrap().is_empty());
    vfs.releasedir(handle);
    assert!(matches!(vfs.readdir(handle, 0, 1), Err(Stop::Fail(VfsError::BadHandle))));
}

#[test]
fn the_kernel_keeps_its_cache_but_for_what_is_being_invalidated() {
    let (vfs, _) = fresh(posix());
    let (file, _) = made(&vfs, ANNA, "f", 0o644);
    let serve = |flags: OpenFlags| vfs.open(ANNA, file.ino, flags).unwrap().serve;
    assert_eq!(serve(RDONLY), Serve::KeepCache);
    assert_eq!(serve(OpenFlags { direct: true, ..RDONLY }), Serve::Direct);
    vfs.stale.enter(file.ino);
    vfs.stale.owe(file.ino, Old::Content);
    vfs.stale.enter(ROOT);
    assert_eq!(serve(RDONLY), Serve::Direct, "nobody can tell the kernel yet");
    let told = Arc::new(Told::default());
    vfs.stale.attach(Box::new(Arc::clone(&told)));
    assert_eq!((serve(RDONLY), vfs.opendir(ROOT).unwrap().keep_cache), (Serve::KeepCache, false));
    assert_eq!(*told.0.lock(), [(file.ino, Old::Content)], "by the open, before it was answered");
    vfs.stale.leave(file.ino);
    vfs.stale.leave(ROOT);
    assert_eq!((serve(RDONLY), vfs.opendir(ROOT).unwrap().keep_cache), (Serve::KeepCache, true));
}
