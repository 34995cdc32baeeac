//! Owns what a daemon and its supervisor say to each other, over a socket that is the daemon's standard input: first the
//! supervisor says which life of the mount begins, with what an earlier daemon left; when the mount answers, the daemon
//! gives what the next one needs. Each is one message, its descriptors with it.

use super::service_manager::Manager;
use crate::fuse::Agreed;
use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::process::{Pid, getppid};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const MESSAGE_BYTES_MAX: usize = 4096;
const FDS_MAX: usize = 3;

/// What a mount needs to go on without the daemon that serves it.
#[derive(Debug)]
pub struct Heritage {
    /// The connection to the kernel.
    pub device: OwnedFd,
    /// The lock of the state: it must not be free between two daemons.
    pub lock: OwnedFd,
    /// The record of what is open; `None` if the daemon that mounted was of a version that had none.
    pub table: Option<OwnedFd>,
    /// What was agreed with the kernel.
    pub agreed: Agreed,
}

impl Heritage {
    /// Whether the mount is gone from the kernel: the connection says so.
    pub fn is_gone(&self) -> bool {
        let mut asked = [PollFd::new(&self.device, PollFlags::empty())];
        let answered = poll(&mut asked, Some(&Timespec::default()));
        answered.is_ok_and(|count| count > 0) && asked[0].revents().contains(PollFlags::ERR)
    }

    /// The same, with descriptors of its own.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_clone(&self) -> io::Result<Self> {
        let table = self.table.as_ref().map(OwnedFd::try_clone).transpose()?;
        Ok(Self { device: self.device.try_clone()?, lock: self.lock.try_clone()?, table, agreed: self.agreed })
    }
}

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    /// The daemon is the so-many-th after the one that mounted.
    pub life: u32,
    /// What there is to hand on, if anything.
    pub heritage: Option<Heritage>,
    /// The program that is installed could not go on with the mount: the daemon is of the one before.
    pub fell_back: bool,
}

#[derive(Serialize, Deserialize)]
struct Head {
    life: u32,
    #[serde(default)]
    fell_back: bool,
    agreed: Option<Agreed>,
}

/// Who starts the next daemon.
#[derive(Debug)]
pub(super) enum Keeper {
    /// A supervisor, as long as it is the parent.
    Supervisor { socket: OwnedFd, pid: Option<Pid> },
    /// The system's service manager.
    Manager(Manager),
}

/// The daemon's end.
#[derive(Debug)]
pub struct Bond {
    /// The so-many-th daemon of this mount.
    pub life: u32,
    /// What the last daemon left.
    pub heritage: Option<Heritage>,
    /// The program that is installed could not go on with the mount.
    pub fell_back: bool,
    pub(super) keeper: Keeper,
}

impl Bond {
    /// Takes the socket from standard input, and hears what the supervisor says.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` without a supervisor.
    pub fn take() -> io::Result<Self> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        let Message { life, heritage, fell_back } = receive(socket.as_fd())?;
        Ok(Self { life, heritage, fell_back, keeper: Keeper::Supervisor { socket, pid: getppid() } })
    }

    /// The process that starts the next daemon, as long as it lives.
    pub fn supervisor(&self) -> Option<u32> {
        match &self.keeper {
            Keeper::Manager(manager) => manager.pid(),
            Keeper::Supervisor { pid, .. } => {
                let pid = pid.filter(|pid| getppid() == Some(*pid))?;
                Some(pid.as_raw_nonzero().get().unsigned_abs())
            }
        }
    }

    /// Says that the mount answers, and gives what the next daemon needs. A supervisor that is gone is no reason to end: the
    /// mount lives as long as this daemon then.
    pub fn mounted(&self, heritage: Option<Heritage>) {
        let told = match &self.keeper {
            Keeper::Manager(manager) => manager.mounted(self.life, heritage.as_ref()),
            Keeper::Supervisor { socket, .. } => {
                send(socket.as_fd(), &Message { life: self.life, heritage, fell_back: self.fell_back })
            }
        };
        if let Err(error) = told {
            tracing::warn!(%error, "the supervisor is gone: the mount will not survive a crash");
        }
    }

    /// Says that the mount is gone, to who does not see it by this process's end.
    pub fn ended(&self) {
        if let Keeper::Manager(manager) = &self.keeper
            && let Err(error) = manager.ended()
        {
            tracing::warn!(%error, "the service manager does not hear that the mount is gone");
        }
    }
}

/// Sends a message with its descriptors.
pub(super) fn send(socket: BorrowedFd<'_>, message: &Message) -> io::Result<()> {
    let heritage = message.heritage.as_ref();
    let (life, fell_back) = (message.life, message.fell_back);
    let head = Head { life, fell_back, agreed: heritage.map(|heritage| heritage.agreed) };
    let text = serde_json::to_vec(&head)?;
    let mut fds: Vec<BorrowedFd<'_>> =
        heritage.map_or_else(Vec::new, |heritage| vec![heritage.device.as_fd(), heritage.lock.as_fd()]);
    fds.extend(heritage.and_then(|heritage| heritage.table.as_ref()).map(OwnedFd::as_fd));
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(socket, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a message with its descriptors.
///
/// # Errors
/// `UnexpectedEof` if nobody is at the other end, `InvalidData` for what is no message.
pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<Message> {
    let mut text = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let count = recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let mut fds = fds.next().into_iter().flatten();
    let Head { life, fell_back, agreed } = serde_json::from_slice(&text[..count])?;
    let heritage = match (agreed, fds.next(), fds.next()) {
        (None, ..) => None,
        (Some(agreed), Some(device), Some(lock)) => Some(Heritage { device, lock, table: fds.next(), agreed }),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors are missing")),
    };
    Ok(Message { life, heritage, fell_back })
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
        let table = tempfile::tempfile().unwrap();
        let table = Some(table.into());
        let heritage =
            Heritage { device: device.try_clone().unwrap().into(), lock: lock.into(), table, agreed: agreed() };
        send(ours.as_fd(), &Message { life: 3, heritage: Some(heritage), fell_back: true }).unwrap();
        let message = receive(theirs.as_fd()).unwrap();
        assert!(message.fell_back);
        let heritage = message.heritage.unwrap();
        assert_eq!((message.life, heritage.agreed, heritage.table.is_some()), (3, agreed(), true));
        device.write_all(b"here").unwrap();
        device.rewind().unwrap();
        let mut text = String::new();
        File::from(heritage.device).read_to_string(&mut text).unwrap();
        assert_eq!(text, "here");
    }

    #[test]
    fn a_message_without_descriptors_and_the_end_are_told_apart() {
        let (ours, theirs) = message_pair().unwrap();
        send(ours.as_fd(), &Message { life: 0, heritage: None, fell_back: false }).unwrap();
        assert!(receive(theirs.as_fd()).unwrap().heritage.is_none());
        drop(ours);
        assert_eq!(receive(theirs.as_fd()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
