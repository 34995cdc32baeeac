//! Owns the hand-over to the journal: what was only in the log gets a place of its own, what was fetched
//! gets a durable row.

use super::local::LocalContent;
use super::slab::Slot;
use super::state::{Body, Home};
use super::store::Contents;
use crate::meta::ranges::RangeSet;
use crate::meta::rows::{ContentNo, ContentPlace, ContentRow};
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What [`Contents::materialise`] made. Its rows are committed after the log was synced (they may hold
/// changes that were logged during the call), then it goes to [`Contents::after_commit`].
#[derive(Debug, Default)]
#[must_use]
pub struct Materialised {
    /// The rows to commit.
    pub rows: Vec<(ContentNo, ContentRow)>,
    /// Slots that no row names once these are committed.
    retired: Vec<Slot>,
}

/// A content that was copied into a slot.
struct Copied {
    content: Arc<LocalContent>,
    generation: u64,
    slot: Slot,
    present: RangeSet,
}

impl Contents {
    /// Gives contents that were written to the log a durable place outside it, and returns their rows. The
    /// journal calls this with its commit locked and every record up to some place of the log in hand;
    /// replay from that place finds rows that may be newer, and ends the same.
    ///
    /// # Errors
    /// The disk's; nothing may be committed then.
    pub fn materialise(&self, touched: &[ContentNo]) -> io::Result<Materialised> {
        let mut done = Materialised { retired: mem::take(&mut *self.shared.retired.lock()), ..Default::default() };
        let (mut copied, failures) = (Vec::new(), self.shared.slab.failures());
        let result = touched
            .iter()
            .filter_map(|&no| self.shared.loaded(no))
            .try_for_each(|content| self.materialise_one(content, &mut done, &mut copied))
            .and_then(|()| if copied.is_empty() { Ok(()) } else { self.shared.slab.sync(failures) });
        if let Err(e) = result {
            self.shared.retired.lock().append(&mut done.retired);
            // Slots that cannot be given back now stay allocated until the next start.
            copied.into_iter().for_each(|copied| drop(self.shared.slab.free(copied.slot)));
            return Err(e);
        }
        for copied in copied {
            done.retired.extend(self.move_in(copied));
        }
        Ok(done)
    }

    fn materialise_one(
        &self,
        content: Arc<LocalContent>,
        done: &mut Materialised,
        copied: &mut Vec<Copied>,
    ) -> io::Result<()> {
        // As last heard of: the log itself is not asked by those whom it waits for.
        let left_behind = self.shared.left_behind.load(Ordering::Acquire);
        let is_logged = {
            let mut state = content.state.write();
            state.forget_logged(left_behind);
            !state.logged.is_empty()
        };
        if is_logged {
            // The log is about to forget these bytes.
            content.sync()?;
        }
        let mut guard = content.state.write();
        let state = &mut *guard;
        if state.is_removed {
            return Ok(());
        }
        if matches!(state.body, Body::File(_)) && !state.has_durable_name {
            // A row in the database is believed, file or no file.
            self.shared.sync_name(content.no)?;
            state.has_durable_name = true;
        }
        match &state.body {
            Body::Memory(bytes) if !bytes.is_empty() => {
                let slot = self.shared.slab.allocate(state.size_bytes);
                self.shared.slab.write(slot, bytes, 0)?;
                let place = ContentPlace::Slab { offset: slot.offset, capacity_bytes: slot.capacity_bytes };
                let present = state.present.clone();
                done.rows.push((content.no, ContentRow { place, present: present.clone(), ..state.row() }));
                let generation = state.generation;
                copied.push(Copied { content: content.clone(), generation, slot, present });
            }
            Body::Memory(_) | Body::Slab | Body::Nothing | Body::File(_) => {
                done.retired.extend(state.home.take_if(|_| !matches!(state.body, Body::Slab)).map(|home| home.slot));
                done.rows.push((content.no, state.row()));
            }
        }
        Ok(())
    }

    /// Lets a content live in its synced slot. Returns the slot that its rows named before.
    fn move_in(&self, copied: Copied) -> Option<Slot> {
        let Copied { content, generation, slot, present } = copied;
        let mut guard = content.state.write();
        let state = &mut *guard;
        // What was fetched while the slot was written is not in it.
        let is_same = state.generation == generation && state.present == present;
        let home = Home { slot, present, durable: true, failures: 0, verified: AtomicBool::new(true) };
        if !matches!(state.body, Body::Memory(_)) {
            // It moved on to a backing file or another version, and logged that: this slot is old already.
            self.shared.retired.lock().push(slot);
            return None;
        }
        let old = state.home.replace(home).map(|old| old.slot);
        if is_same {
            state.body = Body::Slab;
            if !state.is_dirty {
                self.shared.budget.recount(0, state.charge());
                self.shared.enlist(content.no, state);
            }
        }
        old
    }

    /// Frees what the committed rows do not name any more.
    ///
    /// # Errors
    /// The disk's; what was not freed stays allocated until the next start.
    pub fn after_commit(&self, done: Materialised) -> io::Result<()> {
        done.retired.into_iter().try_for_each(|slot| self.shared.slab.free(slot))
    }

    /// Makes what was fetched durable, and records it. Returns how many contents that were. Called in the
    /// background every few seconds; what a crash forgets is fetched again.
    ///
    /// # Errors
    /// The disk's or the database's; it is tried again with the next call.
    pub fn record_presence(&self) -> io::Result<usize> {
        // Whoever comes while another records what he means waits for that one.
        let _one_at_a_time = self.shared.recording.lock();
        let numbers = mem::take(&mut *self.shared.unrecorded.lock());
        if numbers.is_empty() {
            return Ok(0);
        }
        let contents: Vec<_> = numbers.iter().filter_map(|&no| self.shared.loaded(no)).collect();
        self.shared.ask_left_behind();
        let recorded = self
            .sync_fills(&contents)
            .and_then(|()| self.shared.rows()?.record(&numbers.into_iter().collect::<Vec<_>>()));
        // What no row could name yet is named by the next.
        let again = |content: &&Arc<LocalContent>| recorded.is_err() || !content.state.read().shadowed.is_empty();
        let again: Vec<_> = contents.iter().filter(again).map(|content| content.no).collect();
        self.shared.unrecorded.lock().extend(again);
        recorded.map(|()| contents.len())
    }

    fn sync_fills(&self, contents: &[Arc<LocalContent>]) -> io::Result<()> {
        let mut slots = Vec::new();
        for content in contents {
            content.sync_undoubted()?;
            let state = content.state.read();
            slots.extend(state.home.as_ref().filter(|home| !home.durable).map(|home| (content, home.slot)));
        }
        if slots.is_empty() {
            return Ok(());
        }
        let failures = self.shared.slab.failures();
        self.shared.slab.sync(failures)?;
        for (content, slot) in slots {
            // One written before a sync that failed is never named by a row: what it has is fetched again.
            if let Some(home) = &mut content.state.write().home
                && home.slot == slot
                && home.failures == failures
            {
                home.durable = true;
            }
        }
        Ok(())
    }
}
