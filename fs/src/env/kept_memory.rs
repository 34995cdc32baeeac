//! Owns memory that outlives the process which writes it: a file that has no name and lies on no disk, of which another
//! process keeps a copy of the descriptor.

use rustix::fs::{MemfdFlags, fstat, memfd_create};
use rustix::io::{Errno, pread, pwrite};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Memory that is kept. What was written is there for the next process when the call returned.
#[derive(Debug)]
pub struct KeptMemory(OwnedFd);

impl KeptMemory {
    /// Empty memory.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(name: &str) -> io::Result<Self> {
        Ok(Self(memfd_create(name, MemfdFlags::CLOEXEC)?))
    }

    /// What an earlier process wrote.
    pub fn kept(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The descriptor that another process keeps.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// All of it.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(fstat(&self.0)?.st_size).unwrap_or(0)];
        let mut at = 0;
        while at < bytes.len() {
            match pread(&self.0, &mut bytes[at..], at as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => at += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bytes)
    }

    /// Writes at a place; it grows to hold that.
    ///
    /// # Errors
    /// What the system says: there is no memory.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        loop {
            match pwrite(&self.0, bytes, offset) {
                Ok(count) if count == bytes.len() => return Ok(()),
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
