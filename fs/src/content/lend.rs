//! Owns lending: the kernel serves a complete, clean backing file by itself (passthrough). This store sees neither the reads nor
//! what is written through shared maps then.
//!
//! What is lent is held, and a map may outlive the handle by which it was made, even this process: whether anybody has a backing
//! file open or mapped only the file itself tells, so nothing is punched before it was asked. Before somebody may map it
//! writable the log says durably that it is open for writing: recovery then takes all of it for written here.

use super::EXTENT_BYTES;
use super::local::{Hold, LocalContent};
use super::seams::ContentError;
use super::state::{Body, State};
use crate::env::{ChangedAt, FileId, file_id, is_open_elsewhere, last_change, settled_change};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// This part of the budget may be lent, as it cannot be evicted meanwhile.
const LENT_SHARE: u64 = 2;

/// A complete backing file that the kernel may serve by itself. It is not evicted while this lives.
#[derive(Debug)]
pub struct Lent {
    hold: Hold,
    fd: OwnedFd,
    bytes: u64,
}

/// How programs may write a lent file unseen.
#[derive(Debug)]
pub(super) struct Exposed {
    count: u32,
    /// When it was changed last before; `None`: nothing can be concluded from that.
    changed_at: Option<ChangedAt>,
}

impl LocalContent {
    /// Lends the backing file of a complete, clean content; `None` for any other, and where too much is lent.
    ///
    /// # Errors
    /// The system's.
    pub fn lend(self: &Arc<Self>) -> io::Result<Option<Lent>> {
        if !self.shared.lends {
            return Ok(None);
        }
        let hold = self.hold();
        let Some((fd, bytes)) = self.lent_fd()? else { return Ok(None) };
        let share = self.shared.budget.limit_bytes() / LENT_SHARE;
        let add = |lent: u64| lent.checked_add(bytes).filter(|lent| *lent <= share);
        if self.shared.lent_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_err() {
            return Ok(None);
        }
        let lent = Lent { hold, fd, bytes };
        lent.touch();
        Ok(Some(lent))
    }

    /// Takes up what an earlier daemon has lent: the kernel has had this very file all the while, so it was complete when it was
    /// lent and nobody emptied any of it. `None` if it is another file. Where programs may write it through maps, all of it
    /// counts as written here. To be called before anything else is done with this content.
    ///
    /// # Errors
    /// The system's or the log's.
    pub fn lend_again(self: &Arc<Self>, which: FileId, is_exposed: bool) -> io::Result<Option<Lent>> {
        let hold = self.hold();
        let mut state = self.state.write();
        let Body::File(file) = &state.body else { return Ok(None) };
        let Some(fd) = file.as_fd().map(|fd| fd.try_clone_to_owned()).transpose()? else { return Ok(None) };
        if state.is_removed || file_id(fd.as_fd())? != which {
            return Ok(None);
        }
        let before = state.charge();
        // Rows name what was fetched when it is durable, a moment later.
        for gap in state.present.gaps(0..state.size_bytes) {
            state.present.insert(gap.clone());
            state.unsynced.insert(gap.clone());
            if state.open_for_writing {
                state.dirty.insert(gap);
            }
        }
        self.shared.budget.recount(before, state.charge());
        self.shared.enlist(self.no, &state);
        let bytes = state.size_bytes;
        drop(state);
        self.shared.lent_bytes.fetch_add(bytes, Ordering::AcqRel);
        let lent = Lent { hold, fd, bytes };
        if is_exposed {
            lent.expose_since(|_| Ok(None)).map_err(io::Error::other)?;
        }
        Ok(Some(lent))
    }

    fn lent_fd(&self) -> io::Result<Option<(OwnedFd, u64)>> {
        let is_logged = |state: &State| !state.logged.is_empty();
        if is_logged(&self.state.read()) {
            let left_behind = self.shared.ask_left_behind();
            self.state.write().forget_logged(left_behind);
        }
        let state = self.state.read();
        let Body::File(file) = &state.body else { return Ok(None) };
        // What replay may write again it would write over what programs wrote unseen.
        let is_whole = !state.is_dirty && !state.is_removed && state.present.covers(0..state.size_bytes);
        // At rest the file may have another length until the log was replayed.
        if !is_whole || is_logged(&state) || file.len_bytes()? != state.size_bytes {
            return Ok(None);
        }
        let fd = file.as_fd().map(|fd| fd.try_clone_to_owned()).transpose()?;
        Ok(fd.map(|fd| (fd, state.size_bytes)))
    }

    /// Whether somebody holds it, or has its backing file open or mapped.
    pub(super) fn is_in_use(&self, state: &State) -> bool {
        self.is_held()
            || self.shared.lends && matches!(&state.body, Body::File(file) if file.as_fd().is_some_and(is_busy))
    }
}

fn is_busy(fd: BorrowedFd<'_>) -> bool {
    is_open_elsewhere(fd).unwrap_or(true)
}

impl Lent {
    /// The descriptor for the kernel.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether anybody has the file open or mapped still.
    pub fn is_in_use(&self) -> bool {
        is_busy(self.fd())
    }

    /// Says that programs may write it through shared maps from now on: durably, before the first may.
    ///
    /// # Errors
    /// The log's; nothing was changed then.
    pub fn expose(&self) -> Result<(), ContentError> {
        // What is marked as here is not logged when it is written beside: replay would write it over what maps wrote.
        self.hold.content().settle()?;
        self.expose_since(settled_change)
    }

    fn expose_since(
        &self,
        changed_at: impl FnOnce(BorrowedFd<'_>) -> io::Result<Option<ChangedAt>>,
    ) -> Result<(), ContentError> {
        let content = self.hold.content();
        content.shared.log()?.admit()?;
        let mut state = content.state.write();
        if let Some(exposed) = &mut state.exposed {
            exposed.count += 1;
            return Ok(());
        }
        let changed_at = changed_at(self.fd())?;
        // What was said before may not be durable.
        let was_open = std::mem::replace(&mut state.open_for_writing, false);
        content.mark_open(&mut state, true).inspect_err(|_| state.open_for_writing = was_open)?;
        state.exposed = Some(Exposed { count: 1, changed_at });
        Ok(())
    }

    /// Whether it may have been changed since it was exposed. Ask when it is in use no more.
    pub fn is_changed(&self) -> bool {
        let state = self.hold.content().state.read();
        let Some(exposed) = &state.exposed else { return false };
        !last_change(self.fd()).is_ok_and(|now| exposed.changed_at == Some(now))
    }

    /// Takes [`Self::expose`] back: what was written unseen is known by now.
    ///
    /// # Errors
    /// The disk's or the log's; recovery takes the file for written then.
    pub fn conceal(&self) -> io::Result<()> {
        let content = self.hold.content();
        let mut state = content.state.write();
        let Some(exposed) = &mut state.exposed else { return Ok(()) };
        exposed.count -= 1;
        if exposed.count > 0 {
            return Ok(());
        }
        state.exposed = None;
        let is_clean = !state.is_dirty;
        drop(state);
        if is_clean {
            content.settle()?;
            let mut state = content.state.write();
            state.noted_upto = content.shared.log()?.note(content.no, &state.row())?;
        }
        Ok(())
    }

    /// All of it was used just now.
    fn touch(&self) {
        let content = self.hold.content();
        for extent in 0..self.bytes.div_ceil(EXTENT_BYTES) {
            content.shared.recency.touch((content.no, extent));
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.touch();
        self.hold.content().shared.lent_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
