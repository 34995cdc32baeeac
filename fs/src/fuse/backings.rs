//! Owns how backing files are given to the kernel and taken back: two calls on the mount's connection. Numbers are kept
//! elsewhere: what fuser does with them ends with this process, and handles do not.

use crate::vfs::ports::Backings;
use fuser::BackingId;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

/// FUSE_DEV_IOC_BACKING_CLOSE, as the kernel's header puts it together: it takes a number of 32 bits.
const BACKING_CLOSE: libc::Ioctl = 0x4004_e502;

/// The kernel's side of lending; made before the mount, attached to it when it stands.
#[derive(Debug, Default)]
pub struct KernelBackings(OnceLock<OwnedFd>);

impl KernelBackings {
    /// The connection; a copy of it.
    pub fn attach(&self, device: OwnedFd) {
        // It is the same one when it is attached again.
        let _ = self.0.set(device);
    }
}

impl Backings for KernelBackings {
    fn open(&self, fd: BorrowedFd<'_>) -> io::Result<u32> {
        BackingId::create_raw(self.0.get().ok_or(io::ErrorKind::NotConnected)?, fd)
    }

    fn close(&self, number: u32) {
        let Some(device) = self.0.get() else { return };
        // SAFETY: the call reads a number, which lives as long as it takes. One that the kernel does not know is refused.
        let closed = unsafe { libc::ioctl(device.as_raw_fd(), BACKING_CLOSE, &raw const number) };
        if closed < 0 {
            tracing::debug!(number, error = %io::Error::last_os_error(), "the kernel had no such file");
        }
    }
}
