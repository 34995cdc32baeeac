//! A file that can be lent, of which the test says whether it is mapped.

use crate::tree::TreeError;
use crate::vfs::ports::LentFile;
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
