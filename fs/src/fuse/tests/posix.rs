//! What any disk does, as programs do it: run on every kind of mount.

use std::fs::{self, File};
use std::io::{Read as _, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

fn ino(path: PathBuf) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

pub fn files_folders_and_links_behave_as_on_any_disk(mount: &Path) {
    let path = |name: &str| mount.join(name);
    fs::create_dir(path("d")).unwrap();
    fs::write(path("d/a"), b"hello").unwrap();
    let mut appender = File::options().append(true).open(path("d/a")).unwrap();
    appender.write_all(b", world").unwrap();
    assert_eq!(fs::read(path("d/a")).unwrap(), b"hello, world");
    fs::hard_link(path("d/a"), path("b")).unwrap();
    assert_eq!((fs::metadata(path("b")).unwrap().nlink(), ino(path("b"))), (2, ino(path("d/a"))));
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

pub fn an_unlinked_file_stays_readable_through_its_handle(mount: &Path) {
    let mut file = File::options().read(true).write(true).create_new(true).open(mount.join("f")).unwrap();
    file.write_all(b"still here").unwrap();
    fs::remove_file(mount.join("f")).unwrap();
    fs::write(mount.join("f"), b"another").unwrap();
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");
}

pub fn a_shared_map_and_read_and_write_see_the_same_bytes(mount: &Path) {
    let file = File::options().read(true).write(true).create_new(true).open(mount.join("f")).unwrap();
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
    assert_eq!(fs::read(mount.join("f")).unwrap()[4999..5002], [1, 3, 1]);
}

pub fn attributes_arrive_as_programs_set_them(mount: &Path) {
    let path = mount.join("f");
    fs::write(&path, b"x").unwrap();
    rustix::fs::setxattr(&path, "user.colour", b"red", rustix::fs::XattrFlags::CREATE).unwrap();
    let mut value = [0; 16];
    assert_eq!(rustix::fs::getxattr(&path, "user.colour", &mut value).unwrap(), 3);
    assert_eq!(rustix::fs::getxattr(&path, "user.none", &mut value).unwrap_err(), rustix::io::Errno::NODATA);
    assert_eq!(rustix::fs::getxattr(&path, "user.colour", &mut value[..2]).unwrap_err(), rustix::io::Errno::RANGE);
    let len = rustix::fs::getxattr(&path, "user.tarn.state", &mut value).unwrap();
    assert!([&b"hydrated"[..], b"dirty"].contains(&&value[..len]));
    assert_eq!(rustix::fs::listxattr(&path, &mut value).unwrap(), 12);
    let before = rustix::fs::Timespec { tv_sec: -2, tv_nsec: 300_000_000 };
    let times = rustix::fs::Timestamps { last_access: before, last_modification: before };
    rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
    let stat = fs::metadata(&path).unwrap();
    assert_eq!((stat.mtime(), stat.mtime_nsec(), stat.atime(), stat.atime_nsec()), (-2, 300_000_000, -2, 300_000_000));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode(), 0o100604);
}

pub fn the_umask_applies_once_and_special_files_can_be_made(mount: &Path) {
    let script = "umask 027; : > f; mkdir d; mkfifo p; stat -c %a f d; sh -c 'echo through > p' & cat p";
    let output = Command::new("sh").args(["-c", script]).current_dir(mount).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "640\n750\nthrough\n");
    assert!(fs::metadata(mount.join("p")).unwrap().file_type().is_fifo());
}

pub fn names_and_flags_that_cannot_be_give_their_errno(mount: &Path) {
    let long = mount.join("n".repeat(256));
    assert_eq!(File::create(long).unwrap_err().raw_os_error(), Some(libc::ENAMETOOLONG));
    fs::write(mount.join("a"), b"1").unwrap();
    fs::write(mount.join("b"), b"2").unwrap();
    let rename =
        |flags| rustix::fs::renameat_with(rustix::fs::CWD, mount.join("a"), rustix::fs::CWD, mount.join("b"), flags);
    use rustix::fs::RenameFlags as Flags;
    assert_eq!(rename(Flags::NOREPLACE).unwrap_err(), rustix::io::Errno::EXIST);
    assert_eq!(rename(Flags::WHITEOUT).unwrap_err(), rustix::io::Errno::INVAL);
    rename(Flags::EXCHANGE).unwrap();
    assert_eq!((fs::read(mount.join("a")).unwrap(), fs::read(mount.join("b")).unwrap()), (b"2".into(), b"1".into()));
    let dir = fs::create_dir(mount.join("d")).and_then(|()| File::options().write(true).open(mount.join("d")));
    assert_eq!(dir.unwrap_err().raw_os_error(), Some(libc::EISDIR));
}

pub fn ten_thousand_files_are_listed_once_each_while_some_are_removed(mount: &Path) {
    let name = |i: u32| format!("file-{i:05}");
    for i in 0..10_000 {
        File::create(mount.join(name(i))).unwrap();
    }
    let mut listing = fs::read_dir(mount).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = listing.by_ref().take(10).collect();
    (0..10_000).step_by(100).for_each(|i| fs::remove_file(mount.join(name(i))).unwrap());
    names.extend(listing);
    names.sort();
    names.windows(2).for_each(|pair| assert!(pair[0] < pair[1], "{} came twice", pair[0]));
    assert!((0..10_000).filter(|i| i % 100 != 0).all(|i| names.binary_search(&name(i)).is_ok()));
    assert_eq!(fs::read_dir(mount).unwrap().count(), 9_900);
}

pub fn a_large_file_reads_back_after_scattered_writes_and_truncation(mount: &Path) {
    let path = mount.join("large");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let mut model = vec![0u8; 3 << 20];
    for step in 0..200u64 {
        let (offset, len) = ((step * 7_919 * 131) % (3 << 20), 1 + (step * 977) % 40_000);
        let len = len.min((3 << 20) - offset) as usize;
        let bytes: Vec<u8> = (0..len).map(|i| (i as u64 * 31 + step) as u8).collect();
        file.write_all_at(&bytes, offset).unwrap();
        model[offset as usize..offset as usize + len].copy_from_slice(&bytes);
    }
    file.set_len(3 << 20).unwrap();
    assert!(fs::read(&path).unwrap() == model);
    file.set_len(1_000_001).unwrap();
    file.set_len(2_000_000).unwrap();
    model.truncate(1_000_001);
    model.resize(2_000_000, 0);
    file.sync_all().unwrap();
    assert!(fs::read(&path).unwrap() == model);
}

pub fn a_change_of_names_moves_ctime_and_leaves_mtime_alone(mount: &Path) {
    let (a, b, c) = (mount.join("a"), mount.join("b"), mount.join("c"));
    let times = |path: &Path| {
        let stat = fs::metadata(path).unwrap();
        ((stat.mtime(), stat.mtime_nsec()), (stat.ctime(), stat.ctime_nsec()))
    };
    fs::write(&a, b"x").unwrap();
    fs::write(&c, b"y").unwrap();
    let before = times(&a);
    fs::hard_link(&a, &b).unwrap();
    let linked = times(&a);
    fs::rename(&a, mount.join("d")).unwrap();
    let renamed = times(&b);
    fs::rename(&c, mount.join("d")).unwrap();
    let displaced = times(&b);
    assert!(before.1 < linked.1 && linked.1 < renamed.1 && renamed.1 < displaced.1);
    assert!([linked.0, renamed.0, displaced.0].iter().all(|mtime| *mtime == before.0));
}

pub fn flags_of_chattr_are_kept_and_those_without_meaning_refused(mount: &Path) {
    let shell = |script: &str| {
        let output = Command::new("sh").args(["-c", script]).current_dir(mount).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let flags = |name: &str| shell(&format!("lsattr -d {name} | cut -d' ' -f1 | tr -d -- -\\\\n"));
    fs::write(mount.join("f"), b"text").unwrap();
    fs::create_dir(mount.join("d")).unwrap();
    assert_eq!((flags("f").as_str(), shell("chattr +dA f d && echo done").as_str()), ("", "done\n"));
    assert_eq!((flags("f"), flags("d")), ("dA".to_owned(), "dA".to_owned()));
    assert_eq!(shell("chattr -A f; chattr +c f 2>&1"), "chattr: Operation not supported while setting flags on f\n");
    assert_eq!(flags("f"), "d");
    fs::write(mount.join("f"), b"other").unwrap();
}

fn both_ways(path: &Path) -> File {
    File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

/// Takes a lock of all of a file without waiting; whether it was free.
fn takes_lock(file: &File, command: i32) -> bool {
    let mut lock: libc::flock =
        libc::flock { l_type: libc::F_WRLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    // SAFETY: the descriptor is open, and the structure is the one that these commands take.
    unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(file), command, &raw mut lock) == 0 }
}

pub fn locks_of_each_kind_exclude_and_end_with_their_file(mount: &Path) {
    let (one, other) = (both_ways(&mount.join("f")), both_ways(&mount.join("f")));
    one.lock().unwrap();
    assert!(matches!(other.try_lock(), Err(fs::TryLockError::WouldBlock)));
    one.unlock().unwrap();
    other.try_lock().unwrap();
    assert!(takes_lock(&one, libc::F_OFD_SETLK) && !takes_lock(&other, libc::F_OFD_SETLK));
    assert!(!takes_lock(&other, libc::F_SETLK), "a process's lock meets that of an open file");
    drop(one);
    assert!(takes_lock(&other, libc::F_SETLK) && !takes_lock(&both_ways(&mount.join("f")), libc::F_OFD_SETLK));
}

pub fn of_many_who_make_a_file_one_does_and_all_appends_are_whole(mount: &Path) {
    const EACH: usize = 200;
    let made: usize = std::thread::scope(|scope| {
        let worker = |number: usize| {
            let made = File::options().write(true).create_new(true).open(mount.join("once")).is_ok();
            let mut file = File::options().append(true).create(true).open(mount.join("lines")).unwrap();
            (0..EACH).for_each(|line| file.write_all(format!("{number} {line:>90}\n").as_bytes()).unwrap());
            usize::from(made)
        };
        let workers: Vec<_> = (0..6).map(|number| scope.spawn(move || worker(number))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(made, 1);
    let text = fs::read_to_string(mount.join("lines")).unwrap();
    assert!(text.lines().all(|line| line.len() == 92));
    for number in 0..6 {
        let own = text.lines().filter(|line| line.starts_with(&format!("{number} ")));
        assert!(
            own.map(|line| line[2..].trim().parse::<usize>().unwrap()).eq(0..EACH),
            "the lines of {number} in their order"
        );
    }
}

pub fn holes_ranges_and_direct_access_agree_with_ordinary_reads(mount: &Path) {
    use rustix::fs::FallocateFlags as Flags;
    let file = both_ways(&mount.join("f"));
    let mut expected = vec![0; 300_000];
    file.set_len(300_000).unwrap();
    file.write_all_at(&[7; 100_000], 100_000).unwrap();
    expected[100_000..200_000].fill(7);
    rustix::fs::fallocate(&file, Flags::PUNCH_HOLE | Flags::KEEP_SIZE, 120_000, 10_001).unwrap();
    rustix::fs::fallocate(&file, Flags::ZERO_RANGE, 150_000, 5_000).unwrap();
    rustix::fs::fallocate(&file, Flags::empty(), 290_000, 20_000).unwrap();
    expected[120_000..130_001].fill(0);
    expected[150_000..155_000].fill(0);
    expected.resize(310_000, 0);
    assert!(fs::read(mount.join("f")).unwrap() == expected);
    let shifts = rustix::fs::fallocate(&file, Flags::COLLAPSE_RANGE, 0, 4096);
    assert_eq!(shifts.unwrap_err(), rustix::io::Errno::OPNOTSUPP);
    assert_eq!(rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(5)).unwrap(), 5);
    assert_eq!(rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(5)).unwrap(), 310_000);
    assert_eq!(rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(310_000)).unwrap_err(), rustix::io::Errno::NXIO);

    use std::os::unix::fs::OpenOptionsExt;
    let direct = File::options().read(true).write(true).custom_flags(libc::O_DIRECT).open(mount.join("f")).unwrap();
    direct.write_all_at(&[9; 333], 77).unwrap();
    expected[77..410].fill(9);
    let mut bytes = vec![0; 310_000];
    direct.read_exact_at(&mut bytes[1..], 1).unwrap();
    assert!(bytes[1..] == expected[1..] && fs::read(mount.join("f")).unwrap() == expected);

    let copy = both_ways(&mount.join("copy"));
    copy.write_all_at(&[5; 1000], 0).unwrap();
    let (mut from, mut to) = (90_000, 500);
    while from < 250_000 {
        let left = 250_000 - from as usize;
        let count = rustix::fs::copy_file_range(&file, Some(&mut from), &copy, Some(&mut to), left);
        assert!(count.unwrap() > 0);
    }
    let copied = fs::read(mount.join("copy")).unwrap();
    assert!(copied[..500] == [5; 500] && copied[500..] == expected[90_000..250_000]);
}

pub fn what_fuse_does_not_carry_is_refused_and_never_half_done(mount: &Path) {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
    use rustix::io::Errno;
    let nameless = rustix::fs::open(mount, OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR);
    assert_eq!(nameless.map(drop), Err(Errno::OPNOTSUPP));
    fs::write(mount.join("f"), b"text").unwrap();
    let (from, to) = (both_ways(&mount.join("f")), both_ways(&mount.join("clone")));
    assert_eq!(rustix::fs::ioctl_ficlone(&to, &from), Err(Errno::OPNOTSUPP));
    assert_eq!(to.metadata().unwrap().len(), 0);
    let told = rustix::fs::statx(CWD, mount.join("f"), AtFlags::empty(), StatxFlags::ALL | StatxFlags::BTIME).unwrap();
    assert_eq!(told.stx_mask & StatxFlags::BTIME.bits(), 0, "no time of birth is told rather than a wrong one");
    // It syncs nothing, and says so nowhere: it must not fail for who calls it beside fsync.
    rustix::fs::syncfs(&from).unwrap();
}
