//! Owns how a mount goes on with the next daemon: the same descriptor, what was agreed with the kernel when the mount was
//! made, and what the kernel must be told first.
//!
//! fuser begins every session by reading INIT, which the kernel sends once. So the next daemon's session begins on a socket
//! where an INIT stands that offers what was agreed; then the real descriptor takes the socket's place (`ready`). The kernel sends
//! again what the last daemon had read and not answered, and looks up all names anew: what that daemon still wanted to
//! tell it of changes is not known any more. For the same reason it is told to ask anew for all attributes, and drops the
//! pages of a file when it is first opened. This process drops no pages itself: it would wait for a read that is under way,
//! and could not end, were it killed then, before the next one has answered that.

use super::filesystem::Mounted;
use super::init;
use crate::env::message_pair;
use fuser::{Config, INodeNo, InitFlags, KernelConfig};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread::Builder;

/// The kernel's protocol knows how to look up all names anew since this minor version (Linux 6.16).
const MINOR_MIN: u32 = 44;
const MAJOR: u32 = 7;
/// Kinds of notices to the kernel that fuser does not have.
const NOTIFY_RESEND: i32 = 7;
const NOTIFY_INC_EPOCH: i32 = 8;
const INIT_OPCODE: u32 = 26;
const IN_HEADER_BYTES: u32 = 40;
const INIT_IN_BYTES: u32 = 64;
/// Set in the number of a request that is sent again.
const UNIQUE_RESEND: u64 = 1 << 63;
/// What fuser asks for as read-ahead; the kernel has its answer since the mount.
const READAHEAD_BYTES: u32 = 128 << 10;

/// What was agreed with the kernel when the mount was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// The minor version of its protocol.
    minor: u32,
    /// What it can do.
    offered: u64,
    /// What of it this program asked for.
    taken: u64,
}

/// A mount that has no daemon.
#[derive(Debug)]
pub struct Inherited {
    /// The connection to the kernel.
    pub device: OwnedFd,
    /// What was agreed.
    pub agreed: Agreed,
    /// Inode numbers up to this one were given out before.
    pub inode_max: u64,
}

impl Agreed {
    /// What was just agreed, of a configuration that asks for `taken`.
    pub(super) fn new(config: &KernelConfig, taken: InitFlags) -> Self {
        let offered = config.capabilities() | InitFlags::FUSE_INIT_EXT;
        Self { minor: config.kernel_abi().1, offered: offered.bits(), taken: taken.bits() }
    }

    /// Whether this kernel can hand the mount to a next daemon.
    pub fn can_be_inherited(self) -> bool {
        self.minor >= MINOR_MIN && self.offered & InitFlags::FUSE_HAS_RESEND.bits() != 0
    }

    /// The INIT for the next daemon: it can ask for no more than was agreed.
    fn init_request(self) -> Vec<u8> {
        let optional = init::optional().bits();
        let offers = self.offered & !(optional & !self.taken);
        let unique = 1u64.to_ne_bytes();
        let mut bytes = Vec::new();
        let mut push = |number: u32| bytes.extend_from_slice(&number.to_ne_bytes());
        push(IN_HEADER_BYTES + INIT_IN_BYTES);
        push(INIT_OPCODE);
        bytes.extend_from_slice(&unique);
        bytes.resize(IN_HEADER_BYTES as usize, 0);
        let mut push = |number: u32| bytes.extend_from_slice(&number.to_ne_bytes());
        [MAJOR, self.minor, READAHEAD_BYTES, offers as u32, (offers >> 32) as u32].into_iter().for_each(&mut push);
        bytes.resize((IN_HEADER_BYTES + INIT_IN_BYTES) as usize, 0);
        bytes
    }
}

/// Whether a request was sent before, to a daemon that ended without answering it; and its number then.
pub(super) fn number(unique: u64) -> (bool, u64) {
    (unique & UNIQUE_RESEND != 0, unique & !UNIQUE_RESEND)
}

/// Begins a session for a mount that stands, on a socket whose other end comes with it: the mount's own descriptor has yet
/// to take its place.
///
/// # Errors
/// What the system says; `InvalidData` if this program would agree on something else than the one that mounted.
pub(super) fn take_over(
    mounted: Mounted,
    inherited: &Inherited,
    config: &Config,
) -> io::Result<(fuser::Session<Mounted>, OwnedFd)> {
    let agreed = mounted.agreed();
    let (ours, theirs) = message_pair()?;
    send(ours.as_fd(), &inherited.agreed.init_request())?;
    let session = fuser::Session::from_fd(mounted, theirs, config.acl, config.clone())?;
    if agreed.get().is_none_or(|agreed| agreed.taken != inherited.agreed.taken) {
        let why =
            "this version of tarn works otherwise with the kernel than the one that mounted: unmount, then mount again";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    // Before anybody reads from it: what the next daemon has read would be sent once more, too.
    notify(inherited.device.as_fd(), NOTIFY_INC_EPOCH)?;
    notify(inherited.device.as_fd(), NOTIFY_RESEND)?;
    Ok((session, ours))
}

/// Has the kernel ask anew for the attributes of all inodes that it may know.
pub(super) fn renew(kernel: fuser::Notifier, inode_max: u64) -> io::Result<()> {
    let run = move || {
        for number in 1..=inode_max {
            // Most are unknown to it, and a mount that is ending refuses everything.
            let _ = kernel.inval_inode(INodeNo(number), -1, 0);
        }
    };
    Builder::new().name("fuse-renew".into()).spawn(run).map(drop)
}

pub(super) fn send(to: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    match rustix::io::write(to, bytes)? {
        count if count == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// The number of `place` is `device`'s from now on.
pub(super) fn put_in_place(device: BorrowedFd<'_>, place: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both are open; who owns `place` goes on owning its number.
    if unsafe { libc::dup3(device.as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A notice without any content: its length, its kind, and no request.
fn notify(device: BorrowedFd<'_>, kind: i32) -> io::Result<()> {
    let mut header = Vec::with_capacity(16);
    header.extend_from_slice(&16u32.to_ne_bytes());
    header.extend_from_slice(&kind.to_ne_bytes());
    header.extend_from_slice(&0u64.to_ne_bytes());
    send(device, &header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(request: &[u8], offset: usize) -> u32 {
        u32::from_ne_bytes(request[offset..offset + 4].try_into().unwrap())
    }

    fn agreed(taken: InitFlags) -> Agreed {
        let offered = InitFlags::all().bits() | 1 << 60;
        Agreed { minor: 45, offered, taken: taken.bits() }
    }

    #[test]
    fn the_next_daemon_is_offered_what_was_agreed_and_no_more() {
        let taken = InitFlags::FUSE_PARALLEL_DIROPS | InitFlags::FUSE_HANDLE_KILLPRIV_V2;
        let request = agreed(taken).init_request();
        assert_eq!((request.len(), field(&request, 0), field(&request, 4)), (104, 104, 26));
        assert_eq!((field(&request, 40), field(&request, 44)), (7, 45));
        let offers = u64::from(field(&request, 52)) | u64::from(field(&request, 56)) << 32;
        let offers = InitFlags::from_bits_retain(offers);
        assert!(offers.contains(taken | InitFlags::FUSE_INIT_EXT | InitFlags::FUSE_BIG_WRITES));
        assert!(!offers.intersects(InitFlags::FUSE_POSIX_ACL | InitFlags::FUSE_PASSTHROUGH));
        assert!(!offers.intersects(InitFlags::FUSE_EXPLICIT_INVAL_DATA));
    }

    #[test]
    fn an_older_kernel_cannot_hand_a_mount_on() {
        let new = agreed(InitFlags::empty());
        assert!(new.can_be_inherited());
        assert!(!Agreed { minor: 43, ..new }.can_be_inherited());
        assert!(!Agreed { offered: new.offered & !InitFlags::FUSE_HAS_RESEND.bits(), ..new }.can_be_inherited());
    }

    #[test]
    fn requests_that_were_sent_before_are_known_by_their_number() {
        assert_eq!(number(8 | 1 << 63), (true, 8));
        assert_eq!(number(8), (false, 8));
    }
}
