//! Owns making the workers ready before they are given the kernel's first request: each has the memory by then into which
//! requests are copied.
//!
//! The kernel copies a request page by page into the buffer of the worker that reads it. Where a page is not there yet, or
//! may not be written to since a fork, it has to be made; a process that is being killed gets none, and the kernel then
//! ends the request with EIO, which the program is told. Where all are there, the copy succeeds, and the next daemon is
//! asked again. fuser makes each buffer in the worker's thread and touches nothing of it. So the workers begin on a socket,
//! where each gets one message: it makes its buffer whole, and waits until the real descriptor has taken the socket's place.

use super::init::WRITE_BYTES_MAX;
use super::takeover::{put_in_place, send};
use crate::env::message_pair;
use fuser::Request;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The inode of the message that is the kernel's in no mount.
const NO_NODE: u64 = u64::MAX;
const FORGET_OPCODE: u32 = 2;
const FORGET_BYTES: u32 = 48;
/// Workers that are not ready by then never will be.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// glibc has so many bytes before an allocation.
const CHUNK_HEADER_BYTES: usize = 16;
/// What fuser's buffers are larger than.
const MAPPED_BYTES_MIN: i32 = 16 << 20;

/// Has the buffers of sessions to come be mappings of their own, shared with no other allocation, where the allocator is
/// glibc (tests). Otherwise it does what it would do anyway once the first of them was freed. The program's own allocator
/// begins an allocation of that size with a page and shares none of it.
pub(super) fn map_buffers_alone() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets two numbers of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * MAPPED_BYTES_MIN);
    }
}

/// Where the workers wait for each other.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready_count: usize,
    is_open: bool,
}

impl Gate {
    /// Whether this is the message to a worker; if so, makes that ready and waits for the others.
    pub(super) fn holds(&self, request: &Request, node: u64) -> bool {
        if node != NO_NODE {
            return false;
        }
        make_whole(request);
        let mut state = self.state.lock();
        state.ready_count += 1;
        self.changed.notify_all();
        while !state.is_open {
            self.changed.wait(&mut state);
        }
        true
    }

    /// Has workers that read from `socket`'s other end made ready, and puts `device` in the place of that end. On any
    /// error they go on waiting for requests that never come.
    ///
    /// # Errors
    /// What the system says; `TimedOut`.
    pub(super) fn open_to(
        &self,
        (socket, place): (BorrowedFd<'_>, BorrowedFd<'_>),
        device: BorrowedFd<'_>,
        workers: usize,
    ) -> io::Result<()> {
        (0..workers).try_for_each(|_| send(socket, &message()))?;
        let put = self.await_all(workers).and_then(|()| put_in_place(device, place));
        self.state.lock().is_open = true;
        self.changed.notify_all();
        put
    }

    fn await_all(&self, workers: usize) -> io::Result<()> {
        let mut state = self.state.lock();
        let wait = self.changed.wait_while_for(&mut state, |state| state.ready_count < workers, READY_WITHIN);
        if wait.timed_out() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

/// Puts a socket in the place of a session's descriptor: the descriptor, and the socket's other end.
///
/// # Errors
/// What the system says.
pub(super) fn put_aside(place: BorrowedFd<'_>) -> io::Result<(OwnedFd, OwnedFd)> {
    let device = place.try_clone_to_owned()?;
    let (ours, theirs) = message_pair()?;
    put_in_place(theirs.as_fd(), place)?;
    Ok((device, ours))
}

/// FORGET, to which there is no answer.
fn message() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FORGET_BYTES as usize);
    bytes.extend_from_slice(&FORGET_BYTES.to_ne_bytes());
    bytes.extend_from_slice(&FORGET_OPCODE.to_ne_bytes());
    bytes.extend_from_slice(&0u64.to_ne_bytes());
    bytes.extend_from_slice(&NO_NODE.to_ne_bytes());
    bytes.resize(FORGET_BYTES as usize, 0);
    bytes
}

/// Has the memory made that the largest request takes in the buffer that begins with this one. What cannot be had is not
/// missed before a kill at a bad moment.
fn make_whole(request: &Request) {
    let (address, page) = (std::ptr::from_ref(request) as usize, rustix::param::page_size());
    let (begin, end) = (address / page * page, address + WRITE_BYTES_MAX as usize + 2 * page);
    // Nothing else is in the first page of a buffer that begins with it, or with it and glibc's header of a mapping.
    let alone = if [begin, begin + CHUNK_HEADER_BYTES].contains(&address) { begin } else { begin + page };
    let (alone_length, length) = ((end - alone) / page * page, (end - begin) / page * page);
    let (alone, begin) = (alone as *mut libc::c_void, begin as *mut libc::c_void);
    // SAFETY: none changes a byte; where nothing is mapped they fail. A child of this process lacks what is in the buffer
    // alone, and runs another program before it could want it.
    unsafe {
        // A fork would take the right to write from all pages, until each is written to.
        libc::madvise(alone, alone_length, libc::MADV_DONTFORK);
        libc::madvise(begin, length, libc::MADV_POPULATE_WRITE);
        libc::mlock(begin, length);
    }
}
