//! Owns the player: the process that makes changes from elsewhere a second time, in the mount of the daemon that started it. It
//! knows nothing but its orders, keeps nothing open between them, and ends with its input.

use super::orders::{Change, Folder, Order, Place, Said};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fstat, fstatfs, futimens, major,
    minor, mkdirat, mknodat, openat, renameat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tarn_proto::node::NodeKind;

const ROOT: u64 = 1;
const TOUCHED: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ };
const LEFT: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ };

type Result<T> = std::result::Result<T, Errno>;

/// Obeys until the input ends. Called by the command line.
///
/// # Errors
/// Input or output failed.
pub fn serve_replay(mount: &Path, device: u32, input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    for line in input.lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let said = match obey(&Stage { mount, device }, &order) {
            Ok(()) => Said::Done,
            // Names have changed once more, or are not yet known as they are.
            Err(Errno::NOENT | Errno::EXIST | Errno::STALE | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP) => Said::Stale,
            Err(errno) => Said::Failed(errno.raw_os_error()),
        };
        let mut line = serde_json::to_vec(&said)?;
        line.push(b'\n');
        output.write_all(&line)?;
        output.flush()?;
    }
    Ok(())
}

/// The mount that this is the player of.
struct Stage<'a> {
    mount: &'a Path,
    device: u32,
}

fn obey(stage: &Stage<'_>, order: &Order) -> Result<()> {
    match order {
        Order::Make { at, kind } => make(stage.open(&at.folder)?.as_fd(), at.name(), kind),
        Order::Remove { at, ino, is_dir } => {
            let folder = stage.open(&at.folder)?;
            expect(folder.as_fd(), at.name(), *ino)?;
            announce(folder.as_fd())?;
            unlinkat(&folder, at.name(), if *is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() })
        }
        Order::Rename { from, to, ino } => {
            let (old, new) = (stage.open(&from.folder)?, stage.open(&to.folder)?);
            // A folder that the kernel has seen at its new place is so brought back to the old one.
            expect(old.as_fd(), from.name(), *ino)?;
            announce(old.as_fd())?;
            renameat(&old, from.name(), &new, to.name())
        }
        Order::Touch { at, ino, change } => {
            let folder = stage.open(&at.folder)?;
            expect(folder.as_fd(), at.name(), *ino)?;
            touch(folder.as_fd(), at.name(), *change)
        }
    }
}

impl Stage<'_> {
    /// Opens a folder only to name things in it. What has another device lies above the mount or has been mounted in it.
    fn open(&self, folder: &Folder) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = openat(CWD, self.mount, flags, Mode::empty())?;
        self.check(at.as_fd(), ROOT)?;
        for part in folder.path.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            at = openat(&at, OsStr::from_bytes(part), flags, Mode::empty())?;
        }
        self.check(at.as_fd(), folder.ino)?;
        Ok(at)
    }

    fn check(&self, folder: BorrowedFd<'_>, ino: u64) -> Result<()> {
        let found = fstat(folder)?;
        let is_here = (major(found.st_dev), minor(found.st_dev)) == (0, self.device) && found.st_ino == ino;
        if is_here { Ok(()) } else { Err(Errno::STALE) }
    }
}

impl Place {
    fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.name.0)
    }
}

fn expect(folder: BorrowedFd<'_>, name: &OsStr, ino: u64) -> Result<()> {
    let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if found.st_ino == ino { Ok(()) } else { Err(Errno::STALE) }
}

/// Says to the daemon that the next call is the one: the kernel asks it this each time.
fn announce(folder: BorrowedFd<'_>) -> Result<()> {
    fstatfs(folder).map(drop)
}

fn make(folder: BorrowedFd<'_>, name: &OsStr, kind: &NodeKind) -> Result<()> {
    announce(folder)?;
    let mode = Mode::RUSR | Mode::WUSR;
    match kind {
        NodeKind::Dir => mkdirat(folder, name, Mode::RWXU),
        NodeKind::Symlink { target } => symlinkat(OsStr::from_bytes(target), folder, name),
        NodeKind::File => mknodat(folder, name, FileType::RegularFile, mode, 0),
        NodeKind::Fifo => mknodat(folder, name, FileType::Fifo, mode, 0),
        NodeKind::Socket => mknodat(folder, name, FileType::Socket, mode, 0),
        NodeKind::CharDevice { rdev } => mknodat(folder, name, FileType::CharacterDevice, mode, *rdev),
        NodeKind::BlockDevice { rdev } => mknodat(folder, name, FileType::BlockDevice, mode, *rdev),
        NodeKind::Mount { .. } => Err(Errno::NOSYS),
    }
}

fn touch(folder: BorrowedFd<'_>, name: &OsStr, change: Change) -> Result<()> {
    let written = Timestamps { last_access: LEFT, last_modification: TOUCHED };
    let by_name = |times| utimensat(folder, name, times, AtFlags::SYMLINK_NOFOLLOW);
    match change {
        Change::Attributes => by_name(&Timestamps { last_access: TOUCHED, last_modification: TOUCHED }),
        Change::Content => by_name(&written),
        Change::Written => {
            let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            match openat(folder, name, flags, Mode::empty()) {
                Ok(file) => futimens(&file, &written),
                // Not to be written by this user, or served by the kernel itself.
                Err(Errno::ACCESS | Errno::PERM | Errno::TXTBSY) => by_name(&written),
                Err(errno) => Err(errno),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tarn_proto::node::ByteString;

    #[test]
    fn nothing_is_done_where_something_else_is_mounted() {
        let folder = tempfile::tempdir().unwrap();
        let at =
            Place { folder: Folder { path: ByteString(Vec::new()), ino: ROOT }, name: ByteString(b"made".to_vec()) };
        let order = serde_json::to_string(&Order::Make { at, kind: NodeKind::Dir }).unwrap();
        let mut output = Vec::new();
        serve_replay(folder.path(), 5, order.as_bytes(), &mut output).unwrap();
        assert_eq!(serde_json::from_slice::<Said>(&output).unwrap(), Said::Stale);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_order_ends_the_player() {
        assert!(serve_replay(Path::new("/"), 5, b"sing\n".as_slice(), Vec::new()).is_err());
    }
}
