//! Owns pairs of sockets that keep messages apart.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Two ends of a connected socket (SOCK_SEQPACKET); neither lives through an exec.
///
/// # Errors
/// What the system says.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` is room for the two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both are open and nobody else's.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}
