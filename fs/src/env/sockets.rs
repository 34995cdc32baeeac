//! Owns pairs of sockets that keep messages apart.

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::io;
use std::os::fd::OwnedFd;

/// Two ends of a connected socket (SOCK_SEQPACKET); neither lives through an exec.
///
/// # Errors
/// What the system says.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}
