//! Shared maps of files, as programs make them.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

const PAGE_BYTES: usize = 4096;

/// A shared map of the beginning of a file. It outlives the file's descriptor.
#[derive(Debug)]
pub struct Map {
    start: *mut u8,
    length: usize,
}

impl Map {
    /// Maps `length` bytes for reading; for writing too if the file is open for that and `writable` is wanted.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of(file: &File, length: usize, writable: bool) -> io::Result<Self> {
        let access = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        // SAFETY: a new map at a place that the kernel chooses.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self { start: start.cast(), length })
        }
    }

    /// What is there now.
    ///
    /// # Panics
    /// If the kernel has no page for some of it. Without asking first that would be a SIGBUS.
    pub fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        let asked = self.populate(offset, length, libc::MADV_POPULATE_READ);
        asked.unwrap_or_else(|error| panic!("bytes {offset} to {} of a map: {error}", offset + length));
        // SAFETY: within the map, which stands; the file is as long. Bytes are copied one by one, whoever changes them meanwhile.
        (offset..offset + length).map(|at| unsafe { self.start.add(at).read_volatile() }).collect()
    }

    /// Asks for pages.
    fn populate(&self, offset: usize, length: usize, how: i32) -> io::Result<()> {
        assert!(offset + length <= self.length);
        let begin = offset / PAGE_BYTES * PAGE_BYTES;
        // SAFETY: within the map; it changes no byte.
        let asked = unsafe { libc::madvise(self.start.add(begin).cast(), offset + length - begin, how) };
        // A kernel before 5.14 does not know it.
        if asked != 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL) {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Writes, and has the kernel write it to the file.
    ///
    /// # Errors
    /// Those of `msync`; that the disk is gone. Without asking for the pages first that would be a SIGBUS.
    pub fn write(&self, offset: usize, data: &[u8]) -> io::Result<()> {
        self.populate(offset, data.len(), libc::MADV_POPULATE_WRITE)?;
        for (at, byte) in data.iter().enumerate() {
            // SAFETY: within the map, which stands and is writable.
            unsafe { self.start.add(offset + at).write_volatile(*byte) };
        }
        // SAFETY: the whole map.
        let synced = unsafe { libc::msync(self.start.cast(), self.length, libc::MS_SYNC) };
        if synced == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the map made above, whole; nobody else knows it.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}
