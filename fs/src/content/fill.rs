//! Owns how fetched bytes come in: never over what a program wrote, never without room, never for
//! another version than the one that the content shows.

use super::EXTENT_BYTES;
use super::local::LocalContent;
use super::state::{Body, Home, State, blocks_around};
use crate::limits::SMALL_CONTENT_BYTES_MAX;
use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use tarn_proto::chunk::chunk_id;
use tarn_proto::ids::VersionId;

/// What became of fetched bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// They are here, as far as they were missing.
    Done,
    /// There is no room, and none can be made: serve them from memory.
    Full,
    /// The content shows another version by now.
    Stale,
}

impl LocalContent {
    /// Takes verified bytes of `version` at `offset`. They are present at once, and durably so after the
    /// next [`super::Contents::record_presence`].
    ///
    /// # Errors
    /// The disk's or the database's.
    pub fn fill(&self, version: VersionId, offset: u64, data: &[u8]) -> io::Result<Filled> {
        self.fill_as(version, offset, data, false)
    }

    /// The same for bytes that nobody asked for: what is not read before long goes before anything that was.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn fill_guess(&self, version: VersionId, offset: u64, data: &[u8]) -> io::Result<Filled> {
        self.fill_as(version, offset, data, true)
    }

    pub(super) fn fill_as(&self, version: VersionId, offset: u64, data: &[u8], is_guess: bool) -> io::Result<Filled> {
        let range = offset..offset + data.len() as u64;
        let around = blocks_around(&range);
        let _reserved = if self.is_small_and_dirty() {
            None
        } else {
            let Some(reserved) = self.shared.reserve(around.end - around.start)? else { return Ok(Filled::Full) };
            Some(reserved)
        };
        let mut guard = self.state.write();
        let state = &mut *guard;
        let is_current = state.base.as_ref().is_some_and(|base| base.content.version == version);
        if !is_current || state.is_removed {
            return Ok(Filled::Stale);
        }
        let limit = state.size_bytes.min(state.base_size());
        let gaps = state.present.gaps(range.start..range.end.min(limit).max(range.start));
        if gaps.is_empty() {
            return Ok(Filled::Done);
        }
        let before = state.charge_in(&around);
        let placed = self.place_gaps(state, offset, data, &gaps);
        self.shared.budget.recount(before, state.charge_in(&around));
        placed?;
        self.note_filled(state, &range, is_guess);
        Ok(Filled::Done)
    }

    fn note_filled(&self, state: &State, range: &Range<u64>, is_guess: bool) {
        let extents = if matches!(state.body, Body::File(_)) {
            range.start / EXTENT_BYTES..=(range.end - 1) / EXTENT_BYTES
        } else {
            0..=0
        };
        for extent in extents {
            let piece = (self.no, extent);
            if is_guess {
                let (from, to) = (extent * EXTENT_BYTES, (extent + 1) * EXTENT_BYTES);
                self.shared.recency.guess(piece, range.end.min(to).saturating_sub(range.start.max(from)));
            } else {
                self.shared.recency.touch(piece);
            }
        }
        self.shared.unrecorded.lock().insert(self.no);
    }

    /// Whether what is missing of it takes nothing of the budget: it is uploaded whole, and must be so even without room.
    fn is_small_and_dirty(&self) -> bool {
        let state = self.state.read();
        state.is_dirty && !matches!(state.body, Body::File(_)) && state.size_bytes <= SMALL_CONTENT_BYTES_MAX
    }

    fn place_gaps(&self, state: &mut State, offset: u64, data: &[u8], gaps: &[Range<u64>]) -> io::Result<()> {
        if matches!(state.body, Body::Nothing) {
            if state.size_bytes <= SMALL_CONTENT_BYTES_MAX {
                return self.fill_slab(state, offset, data);
            }
            state.body = Body::File(self.shared.make_backing(self.no, state.size_bytes)?);
        }
        for gap in gaps {
            let piece = &data[(gap.start - offset) as usize..(gap.end - offset) as usize];
            match &mut state.body {
                Body::Memory(bytes) => bytes[gap.start as usize..gap.end as usize].copy_from_slice(piece),
                Body::File(file) => {
                    file.write_at(piece, gap.start)?;
                    state.unsynced.insert(gap.clone());
                }
                // What is in a slot is there as a whole, or is being replaced.
                Body::Slab | Body::Nothing => return self.refill_slab(state, offset, data),
            }
            state.note_fetched(gap.clone());
        }
        Ok(())
    }

    /// Puts a small content into a slot of its own: all of it is written, for the next start takes the slab's end for the end
    /// of its last slot.
    fn fill_slab(&self, state: &mut State, offset: u64, data: &[u8]) -> io::Result<()> {
        let failures = self.shared.slab.failures();
        let slot = self.shared.slab.allocate(state.size_bytes);
        let length = (data.len() as u64).min(state.size_bytes - offset);
        let mut bytes = Cow::Borrowed(&data[..length as usize]);
        if length < state.size_bytes {
            let mut whole = vec![0; state.size_bytes as usize];
            whole[offset as usize..(offset + length) as usize].copy_from_slice(&bytes);
            bytes = Cow::Owned(whole);
        }
        if let Err(e) = self.shared.slab.write(slot, &bytes, 0) {
            // The write's own error is the one to tell.
            let _ = self.shared.slab.free(slot);
            return Err(e);
        }
        state.present.clear();
        state.note_fetched(offset..offset + length);
        let (present, verified) = (state.present.clone(), AtomicBool::new(true));
        state
            .set_home(Home { slot, present, durable: false, failures, verified })
            .map_or(Ok(()), |old| self.shared.slab.free(old))
    }

    /// Completes a small content of which parts are in a slot: in memory, until it is materialised.
    fn refill_slab(&self, state: &mut State, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = vec![0; state.size_bytes as usize];
        self.read_present(state, &mut bytes, 0)?;
        let end = state.size_bytes.min(offset + data.len() as u64);
        for gap in state.present.gaps(offset..end) {
            bytes[gap.start as usize..gap.end as usize]
                .copy_from_slice(&data[(gap.start - offset) as usize..(gap.end - offset) as usize]);
        }
        state.note_fetched(offset..end);
        state.body = Body::Memory(bytes);
        Ok(())
    }

    /// Compares a small content found on the disk with its base's id; what does not match is dropped.
    pub(super) fn verify(&self) -> io::Result<()> {
        let mut state = self.state.write();
        if state.is_unverified() {
            self.verify_locked(&mut state)?;
        }
        Ok(())
    }

    /// The same with the lock held; whether the bytes may be used.
    pub(super) fn verify_locked(&self, state: &mut State) -> io::Result<bool> {
        let mut bytes = vec![0; state.size_bytes as usize];
        self.read_present(state, &mut bytes, 0)?;
        let Some(home) = &state.home else { return Ok(false) };
        let id = state.base.as_ref().and_then(|base| base.content.manifest.entries.first()).map(|entry| entry.id);
        if state.is_dirty || id == Some(chunk_id(&self.shared.key, &bytes)) {
            home.verified.store(true, Ordering::Release);
            return Ok(true);
        }
        self.forget_slot(state);
        Ok(false)
    }

    /// Forgets the bytes of a clean small content that are not its own; whether it had any.
    pub(super) fn forget_slot(&self, state: &mut State) -> bool {
        if state.is_dirty || !matches!(state.body, Body::Slab) {
            return false;
        }
        let before = state.charge();
        // The slot may belong to another content by now: it is not freed.
        state.home = None;
        state.body = Body::Nothing;
        state.present.clear();
        self.shared.budget.recount(before, 0);
        // No row must name it for longer than that.
        self.shared.unrecorded.lock().insert(self.no);
        true
    }
}

impl State {
    /// Moves to a slot; returns the one before, if there was one that no row names.
    pub(super) fn set_home(&mut self, home: Home) -> Option<super::slab::Slot> {
        self.body = Body::Slab;
        self.home.replace(home).filter(|old| !old.durable).map(|old| old.slot)
    }
}
