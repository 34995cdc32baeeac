//! Owns the removal of mounts: those whose daemon is gone, and those to be left though programs use them.

use rustix::mount::{UnmountFlags, unmount};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Removes what a dead daemon left on `mountpoint`. Returns whether there was anything.
///
/// # Errors
/// If it is there and cannot be removed.
pub fn clear_dead(mountpoint: &Path) -> io::Result<bool> {
    match std::fs::metadata(mountpoint) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => detach(mountpoint).map(|()| true),
        _ => Ok(false),
    }
}

/// Takes a mount out of the tree at once; programs that use it keep it until they let go.
pub(super) fn detach(mountpoint: &Path) -> io::Result<()> {
    match unmount(mountpoint, UnmountFlags::DETACH) {
        Err(rustix::io::Errno::PERM) => fusermount(mountpoint, &["-u", "-z"]),
        outcome => Ok(outcome?),
    }
}

/// Removes a mount that nobody uses; `ResourceBusy` otherwise.
pub(super) fn remove(mountpoint: &Path) -> io::Result<()> {
    match unmount(mountpoint, UnmountFlags::empty()) {
        Err(rustix::io::Errno::PERM) => fusermount(mountpoint, &["-u"]),
        outcome => Ok(outcome?),
    }
}

/// What an ordinary user's mount needs.
fn fusermount(mountpoint: &Path, options: &[&str]) -> io::Result<()> {
    let output = Command::new("fusermount3").args(options).arg("--").arg(mountpoint).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false if text.contains("busy") => Err(io::ErrorKind::ResourceBusy.into()),
        false => Err(io::Error::other(text.trim().to_string())),
    }
}
