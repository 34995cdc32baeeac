//! Owns what is asked of a file that others may have open too: whether they do, and whether they changed it.

#![expect(clippy::disallowed_methods, reason = "the outside world enters here")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, SystemTime};

/// Moments of change are as fine as this at worst: a newer one may stand for another change in the same tick.
const TICK: Duration = Duration::from_millis(20);

/// Which signal asks a holder to give a lease back; `libc` has no name for it.
const F_SETSIG: i32 = 10;

/// A moment of change, as the file system writes it: seconds and nanoseconds.
pub type ChangedAt = (i64, u64);

/// Which file it is: its device and its number there.
pub type FileId = (u64, u64);

/// Which file is open.
///
/// # Errors
/// What the file system says.
pub fn file_id(fd: BorrowedFd<'_>) -> io::Result<FileId> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Whether anybody but the holder of this open file has the file open or mapped. `fd` is open for reading and writing, by this
/// process once. The kernel knows it by whether it would grant a lease, which is given back at once.
///
/// # Errors
/// What the file system says; one that has no leases says so.
pub fn is_open_elsewhere(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // Who opens the file in the moment of the lease waits for its end; the signal that asks for that is one that does nothing.
    lease_call(fd, F_SETSIG, libc::SIGURG)?;
    match lease_call(fd, libc::F_SETLEASE, libc::F_WRLCK) {
        Ok(()) => lease_call(fd, libc::F_SETLEASE, libc::F_UNLCK).map(|()| false),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY)) => Ok(true),
        Err(e) => Err(e),
    }
}

fn lease_call(fd: BorrowedFd<'_>, call: i32, value: i32) -> io::Result<()> {
    // SAFETY: these calls take a descriptor, which is open as long as it is borrowed, and an integer.
    let done = unsafe { libc::fcntl(fd.as_raw_fd(), call, value) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// When the file was changed last.
///
/// # Errors
/// What the file system says.
pub fn last_change(fd: BorrowedFd<'_>) -> io::Result<ChangedAt> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_ctime, stat.st_ctime_nsec))
}

/// The same, if a later change is sure to bear another moment.
///
/// # Errors
/// What the file system says.
pub fn settled_change(fd: BorrowedFd<'_>) -> io::Result<Option<ChangedAt>> {
    let changed = last_change(fd)?;
    let at = SystemTime::UNIX_EPOCH + Duration::new(changed.0.max(0).cast_unsigned(), changed.1 as u32);
    let is_past = SystemTime::now().duration_since(at).is_ok_and(|since| since > TICK);
    Ok(is_past.then_some(changed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsFd;
    use std::ptr;

    #[test]
    fn who_has_a_file_open_or_mapped_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 8192]).unwrap();
        let own = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let copy = own.try_clone().unwrap();
        assert!(!is_open_elsewhere(own.as_fd()).unwrap(), "a copy of the descriptor is the same open file");
        let reader = File::open(&path).unwrap();
        assert!(is_open_elsewhere(own.as_fd()).unwrap());
        // SAFETY: a new private map of a file that is long enough; nobody reads it.
        let map =
            unsafe { libc::mmap(ptr::null_mut(), 8192, libc::PROT_READ, libc::MAP_PRIVATE, reader.as_raw_fd(), 0) };
        assert_ne!(map, libc::MAP_FAILED);
        drop(reader);
        assert!(is_open_elsewhere(own.as_fd()).unwrap(), "it is mapped");
        // SAFETY: the map made above, whole.
        assert_eq!(unsafe { libc::munmap(map, 8192) }, 0);
        assert!(!is_open_elsewhere(copy.as_fd()).unwrap());
    }
}
