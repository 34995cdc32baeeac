//! Owns what a daemon and its supervisor say to each other, over a socket that is the daemon's standard input: first the
//! supervisor says which life of the mount begins, with what an earlier daemon left; when the mount answers, the daemon
//! gives what the next one needs. Each is one message, its descriptors with it.

use crate::fuse::Agreed;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

const MESSAGE_BYTES_MAX: usize = 4096;
const FDS_MAX: usize = 2;

/// What a mount needs to go on without the daemon that serves it.
#[derive(Debug)]
pub struct Heritage {
    /// The connection to the kernel.
    pub device: OwnedFd,
    /// The lock of the state: it must not be free between two daemons.
    pub lock: OwnedFd,
    /// What was agreed with the kernel.
    pub agreed: Agreed,
}

impl Heritage {
    /// The same, with descriptors of its own.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { device: self.device.try_clone()?, lock: self.lock.try_clone()?, agreed: self.agreed })
    }
}

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    /// The daemon is the so-many-th after the one that mounted.
    pub life: u32,
    /// What there is to hand on, if anything.
    pub heritage: Option<Heritage>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    life: u32,
    agreed: Option<Agreed>,
}

/// The daemon's end.
#[derive(Debug)]
pub struct Bond {
    socket: OwnedFd,
    /// The so-many-th daemon of this mount.
    pub life: u32,
    /// What the last daemon left.
    pub heritage: Option<Heritage>,
}

impl Bond {
    /// Takes the socket from standard input, and hears what the supervisor says.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` without a supervisor.
    pub fn take() -> io::Result<Self> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        // SAFETY: both are open, and nobody owns standard input.
        if unsafe { libc::dup2(null.as_raw_fd(), libc::STDIN_FILENO) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let Message { life, heritage } = receive(socket.as_fd())?;
        Ok(Self { socket, life, heritage })
    }

    /// Says that the mount answers, and gives what the next daemon needs. A supervisor that is gone is no reason to end: the
    /// mount lives as long as this daemon then.
    pub fn mounted(&self, heritage: Option<Heritage>) {
        if let Err(error) = send(self.socket.as_fd(), &Message { life: self.life, heritage }) {
            tracing::warn!(%error, "the supervisor is gone: the mount will not survive a crash");
        }
    }
}

/// Room for the descriptors that come with a message, aligned as the system wants it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Sends a message with its descriptors.
pub(super) fn send(socket: BorrowedFd<'_>, message: &Message) -> io::Result<()> {
    let heritage = message.heritage.as_ref();
    let head = Head { life: message.life, agreed: heritage.map(|heritage| heritage.agreed) };
    let mut text = serde_json::to_vec(&head)?;
    let fds: Vec<RawFd> =
        heritage.map_or_else(Vec::new, |heritage| vec![heritage.device.as_raw_fd(), heritage.lock.as_raw_fd()]);
    let mut part = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
    let mut control = Control([0; 64]);
    let mut header = header(&mut part);
    if !fds.is_empty() {
        header.msg_control = control.0.as_mut_ptr().cast();
        let bytes = (fds.len() * size_of::<RawFd>()) as u32;
        // SAFETY: the header's control room holds one message with this many descriptors (24 bytes).
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(bytes) as _;
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(bytes) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr().cast(), libc::CMSG_DATA(first), bytes as usize);
        }
    }
    // SAFETY: the header points at what lives here.
    match unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) } {
        ..0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Receives a message with its descriptors.
///
/// # Errors
/// `UnexpectedEof` if nobody is at the other end, `InvalidData` for what is no message.
pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<Message> {
    let mut text = vec![0; MESSAGE_BYTES_MAX];
    let mut part = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
    let mut control = Control([0; 64]);
    let mut header = header(&mut part);
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: the header points at what lives here.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the header is as the system left it.
    let mut fds = unsafe { descriptors(&header) }.into_iter();
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let Head { life, agreed } = serde_json::from_slice(&text[..count])?;
    let heritage = match (agreed, fds.next(), fds.next()) {
        (None, ..) => None,
        (Some(agreed), Some(device), Some(lock)) => Some(Heritage { device, lock, agreed }),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors are missing")),
    };
    Ok(Message { life, heritage })
}

fn header(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all zeros is a header of nothing.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header
}

/// Takes the descriptors that came with a message.
///
/// # Safety
/// `header` is as `recvmsg` left it, and what it points at lives.
unsafe fn descriptors(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut taken = Vec::new();
    // SAFETY: the macros walk what the system wrote; each descriptor is this process's, and nobody else's.
    unsafe {
        let first = libc::CMSG_FIRSTHDR(header);
        if !first.is_null() && (*first).cmsg_level == libc::SOL_SOCKET && (*first).cmsg_type == libc::SCM_RIGHTS {
            let bytes = ((*first).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            for index in 0..(bytes / size_of::<RawFd>()).min(FDS_MAX) {
                let fd = libc::CMSG_DATA(first).cast::<RawFd>().add(index).read_unaligned();
                taken.push(OwnedFd::from_raw_fd(fd));
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::env::message_pair;
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    fn agreed() -> Agreed {
        serde_json::from_str(r#"{"minor":45,"offered":8,"taken":0}"#).unwrap()
    }

    #[test]
    fn descriptors_arrive_as_the_same_open_files() {
        let (ours, theirs) = message_pair().unwrap();
        let (mut device, lock) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let heritage = Heritage { device: device.try_clone().unwrap().into(), lock: lock.into(), agreed: agreed() };
        send(ours.as_fd(), &Message { life: 3, heritage: Some(heritage) }).unwrap();
        let message = receive(theirs.as_fd()).unwrap();
        let heritage = message.heritage.unwrap();
        assert_eq!((message.life, heritage.agreed), (3, agreed()));
        device.write_all(b"here").unwrap();
        device.rewind().unwrap();
        let mut text = String::new();
        File::from(heritage.device).read_to_string(&mut text).unwrap();
        assert_eq!(text, "here");
    }

    #[test]
    fn a_message_without_descriptors_and_the_end_are_told_apart() {
        let (ours, theirs) = message_pair().unwrap();
        send(ours.as_fd(), &Message { life: 0, heritage: None }).unwrap();
        assert!(receive(theirs.as_fd()).unwrap().heritage.is_none());
        drop(ours);
        assert_eq!(receive(theirs.as_fd()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
