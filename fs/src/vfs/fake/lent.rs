//! A file that can be lent, of which the test says whether it is mapped, and a kernel that takes it.

use crate::tree::TreeError;
use crate::vfs::ports::{Backings, LentFile};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A lent file; all copies are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeLent {
    pub is_mapped: Arc<AtomicBool>,
    pub exposed: Arc<AtomicU32>,
    pub concealed: Arc<AtomicU32>,
}

impl LentFile for FakeLent {
    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: standard input is open all the while, and nothing is done with it.
        unsafe { BorrowedFd::borrow_raw(0) }
    }

    fn is_in_use(&self) -> bool {
        self.is_mapped.load(Ordering::Acquire)
    }

    fn expose(&self) -> Result<(), TreeError> {
        self.exposed.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn conceal(&self) {
        self.concealed.fetch_add(1, Ordering::AcqRel);
    }
}

/// Numbers what it is given as the kernel does.
#[derive(Debug, Default)]
pub(crate) struct FakeKernel {
    pub refuses: AtomicBool,
    last: AtomicU32,
    /// What it was given and not asked to forget.
    pub given: Mutex<BTreeSet<u32>>,
}

impl Backings for FakeKernel {
    fn open(&self, _: BorrowedFd<'_>) -> io::Result<u32> {
        if self.refuses.load(Ordering::Acquire) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let number = self.last.fetch_add(1, Ordering::AcqRel) + 1;
        self.given.lock().insert(number);
        Ok(number)
    }

    fn close(&self, number: u32) {
        self.given.lock().remove(&number);
    }
}
