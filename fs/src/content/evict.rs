//! Owns how room is made: which clean bytes go, and in which order of steps.
//!
//! First the bytes count as absent in memory, then the rows that say so are durable, then the blocks are
//! punched. A crash in between leaves blocks that nobody claims, never a claim without blocks.

use super::budget::{Piece, Reservation};
use super::local::LocalContent;
use super::seams::ContentError;
use super::slab::Slot;
use super::state::{Body, FAR, State, blocks_around};
use super::store::{Contents, Shared};
use super::{BLOCK_BYTES, EXTENT_BYTES};
use crate::limits;
use crate::meta::rows::ContentNo;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tarn_proto::ids::VersionId;

/// At most this much beyond what is needed is evicted at once: every batch costs a durable commit.
const SLACK_BYTES_MAX: u64 = 16 << 20;
/// The disk's free space is looked at again after this many written bytes.
const HEADROOM_BYTES: u64 = 16 << 20;

/// What one content loses in a batch.
#[derive(Debug, Default)]
struct Dropped {
    ranges: Vec<Range<u64>>,
    slot: Option<Slot>,
    /// Share of the budget that is given back once the blocks are free.
    charge_bytes: u64,
}

type Batch = BTreeMap<ContentNo, (Arc<LocalContent>, Dropped)>;

impl Shared {
    /// Reserves room, evicting if need be.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64) -> io::Result<Option<Reservation>> {
        if !self.has_headroom(bytes)? && self.free_up(bytes + self.floor_bytes)? < bytes + self.floor_bytes {
            return Ok(None);
        }
        loop {
            if let Some(reservation) = self.budget.try_reserve(bytes) {
                return Ok(Some(reservation));
            }
            if !self.budget.is_known() || bytes > self.budget.limit_bytes() || self.make_room(bytes)? == 0 {
                return Ok(self.budget.try_reserve(bytes));
            }
        }
    }

    /// Lets a program write, as long as the disk has space above the floor or clean content to drop.
    pub(super) fn admit_dirty(self: &Arc<Self>, bytes: u64) -> Result<(), ContentError> {
        if bytes == 0 || self.has_headroom(bytes)? {
            return Ok(());
        }
        let wanted = bytes + self.floor_bytes;
        if self.free_up(wanted)? >= wanted { Ok(()) } else { Err(ContentError::NoSpace) }
    }

    fn has_headroom(&self, bytes: u64) -> io::Result<bool> {
        let bytes = bytes.cast_signed();
        if self.headroom_bytes.fetch_sub(bytes, Ordering::Relaxed) >= bytes {
            return Ok(true);
        }
        let above = self.disk.free_bytes(self.layout.dir())?.saturating_sub(self.floor_bytes).cast_signed();
        self.headroom_bytes.store((above / 2).min(HEADROOM_BYTES.cast_signed()) - bytes, Ordering::Relaxed);
        Ok(above >= bytes)
    }

    /// Evicts until the disk has this much free space, or nothing is left. Returns the free space.
    fn free_up(self: &Arc<Self>, wanted_bytes: u64) -> io::Result<u64> {
        loop {
            let free = self.disk.free_bytes(self.layout.dir())?;
            if free >= wanted_bytes || self.evict_oldest(wanted_bytes - free)? == 0 {
                return Ok(free);
            }
        }
    }

    /// Evicts so that `bytes` fit the budget, and a little more. Returns what became free.
    pub(super) fn make_room(self: &Arc<Self>, bytes: u64) -> io::Result<u64> {
        let excess = self.budget.excess(bytes);
        if excess == 0 {
            return Ok(1);
        }
        self.evict_oldest(excess + (self.budget.limit_bytes() / 64).min(SLACK_BYTES_MAX))
    }

    /// Evicts what was not used for longest. Returns what became free.
    fn evict_oldest(self: &Arc<Self>, wanted_bytes: u64) -> io::Result<u64> {
        if !self.budget.is_known() {
            return Ok(0); // nor is known what is pinned
        }
        let _one_at_a_time = self.evicting.lock();
        let mut batch = Batch::new();
        let mut kept: Vec<Piece> = Vec::new();
        let mut freed = 0;
        let guessed_max = self.budget.limit_bytes() / limits::GUESSED_SHARE;
        while freed < wanted_bytes
            && let Some(piece) = self.recency.pop_oldest(guessed_max)
        {
            // Unpinning lists it again. Here already: what is pinned need not be loaded to be left alone.
            if self.pinned.lock().contains_key(&piece.0) {
                continue;
            }
            // One that is gone by now has nothing to free.
            let Ok(content) = self.get(piece.0) else { continue };
            match content.drop_piece(piece.1, &mut batch) {
                Some(bytes) => freed += bytes,
                None => kept.push(piece),
            }
        }
        kept.into_iter().rev().for_each(|piece| self.recency.add_oldest(piece));
        self.finish(batch)
    }

    /// Records and frees what a batch dropped.
    fn finish(&self, mut batch: Batch) -> io::Result<u64> {
        batch.retain(|_, (_, dropped)| dropped.slot.is_some() || !dropped.ranges.is_empty());
        if batch.is_empty() {
            return Ok(0);
        }
        let numbers: Vec<_> = batch.keys().copied().collect();
        if let Err(e) = self.rows()?.record(&numbers) {
            batch.into_values().for_each(|(content, dropped)| content.take_back(dropped));
            return Err(e);
        }
        let mut freed = 0;
        for (content, dropped) in batch.into_values() {
            freed += dropped.charge_bytes;
            content.free_dropped(dropped)?;
        }
        Ok(freed)
    }
}

impl LocalContent {
    /// Forgets one piece. Returns the bytes that will become free; `None` if it is held or guarded.
    fn drop_piece(self: &Arc<Self>, extent: u64, batch: &mut Batch) -> Option<u64> {
        let mut guard = self.state.write();
        let state = &mut *guard;
        if self.is_pinned() {
            // Unpinning lists it again.
            return Some(0);
        }
        let window = match state.body {
            Body::File(_) => extent * EXTENT_BYTES..(extent + 1) * EXTENT_BYTES,
            _ => 0..FAR,
        };
        if self.is_guarded(&window) || self.is_in_use(state) {
            return None;
        }
        let dropped = &mut batch.entry(self.no).or_insert_with(|| (self.clone(), Dropped::default())).1;
        let before = dropped.charge_bytes;
        state.drop_clean(&window, dropped);
        Some(dropped.charge_bytes - before)
    }

    /// Undoes what could not be recorded.
    fn take_back(&self, dropped: Dropped) {
        let mut state = self.state.write();
        for range in dropped.ranges {
            let range = range.start..range.end.min(state.size_bytes);
            state.present.insert(range);
        }
        if let (Some(slot), Body::Nothing) = (dropped.slot, &state.body) {
            let present = state.present.clone();
            let verified = std::sync::atomic::AtomicBool::new(false);
            state.set_home(super::state::Home { slot, present, durable: true, failures: 0, verified });
        }
        self.shared.enlist(self.no, &state);
    }

    /// Frees the blocks in which nothing is present any more.
    fn free_dropped(&self, dropped: Dropped) -> io::Result<()> {
        let state = self.state.write();
        if let Some(slot) = dropped.slot {
            self.shared.slab.free(slot)?;
        }
        if let Body::File(file) = &state.body {
            for range in &dropped.ranges {
                for hole in state.free_blocks(range) {
                    file.punch_hole(hole.start, hole.end - hole.start)?;
                }
            }
        }
        self.shared.budget.recount(dropped.charge_bytes, 0);
        Ok(())
    }
}

impl State {
    /// Forgets the clean bytes of a window.
    fn drop_clean(&mut self, window: &Range<u64>, dropped: &mut Dropped) {
        let blocks = blocks_around(window);
        let before = self.charge_in(&blocks);
        match &self.body {
            Body::File(_) => {
                let clean: Vec<_> =
                    self.present.within(window.clone()).into_iter().flat_map(|part| self.dirty.gaps(part)).collect();
                for range in clean {
                    for set in [&mut self.present, &mut self.unsynced, &mut self.syncing, &mut self.marked] {
                        set.remove(range.clone());
                    }
                    dropped.ranges.push(range);
                }
            }
            Body::Slab if !self.is_dirty => {
                dropped.ranges.extend(self.present.iter());
                dropped.slot = self.home.take().map(|home| home.slot);
                self.present.clear();
                self.body = Body::Nothing;
            }
            _ => return,
        }
        dropped.charge_bytes += before - self.charge_in(&blocks);
    }

    /// The whole blocks around a range in which nothing is present.
    fn free_blocks(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut holes = self.present.gaps(blocks_around(range));
        holes.iter_mut().for_each(|hole| {
            hole.start = hole.start.next_multiple_of(BLOCK_BYTES);
            hole.end = hole.end / BLOCK_BYTES * BLOCK_BYTES;
        });
        holes.retain(|hole| hole.start < hole.end);
        holes
    }
}

impl Contents {
    /// Drops all clean bytes of a content. Returns how many bytes of blocks became free; 0 if it is held or pinned, or some of
    /// it is just being brought for a reader.
    ///
    /// # Errors
    /// The disk's or the database's; fails on an unknown content.
    pub fn evict(&self, no: ContentNo) -> Result<u64, ContentError> {
        let content = self.shared.get(no)?;
        let _one_at_a_time = self.shared.evicting.lock();
        if content.is_pinned() || content.is_guarded(&(0..FAR)) {
            return Ok(0);
        }
        Ok(self.shared.drop_outside(&content, &[])?)
    }

    /// Drops clean bytes of `version` that are not what they should be, pinned or not: the next read brings them again.
    /// Of a small content all of it goes. Whether they are gone; not if it is held, or shows another version by now.
    ///
    /// # Errors
    /// The disk's or the database's; fails on an unknown content.
    pub fn drop_damaged(&self, no: ContentNo, version: VersionId, ranges: &[Range<u64>]) -> Result<bool, ContentError> {
        let content = self.shared.get(no)?;
        let _one_at_a_time = self.shared.evicting.lock();
        let mut batch = Batch::new();
        {
            let mut state = content.state.write();
            let is_current = state.base.as_ref().is_some_and(|base| base.content.version == version);
            if content.is_in_use(&state) || state.is_removed || !is_current {
                return Ok(false);
            }
            if !matches!(state.body, Body::File(_)) {
                return Ok(content.forget_slot(&mut state));
            }
            let dropped = &mut batch.entry(no).or_insert_with(|| (content.clone(), Dropped::default())).1;
            ranges.iter().for_each(|range| state.drop_clean(range, dropped));
        }
        self.shared.finish(batch)?;
        let state = content.state.read();
        Ok(!ranges.iter().any(|range| state.present.covers(range.clone())))
    }

    /// Drops all clean bytes of all contents that are neither held nor pinned.
    ///
    /// # Errors
    /// The disk's or the database's.
    pub fn evict_all(&self) -> io::Result<u64> {
        self.shared.evict_oldest(u64::MAX)
    }

    /// Brings clean content below the budget. Returns what became free.
    ///
    /// # Errors
    /// The disk's or the database's.
    pub fn trim(&self) -> io::Result<u64> {
        if self.shared.budget.excess(0) == 0 { Ok(0) } else { self.shared.make_room(0) }
    }

    /// Makes room for dirty bytes that are about to become clean ([`LocalContent::acknowledged`]).
    ///
    /// # Errors
    /// The disk's or the database's.
    pub fn make_room(&self, bytes: u64) -> io::Result<()> {
        self.shared.make_room(bytes).map(drop)
    }
}

impl Shared {
    /// Drops the clean bytes of one content but for `kept`, pinned or not; nothing if it is held. The gate of
    /// evictions is locked.
    pub(super) fn drop_outside(&self, content: &Arc<LocalContent>, kept: &[Range<u64>]) -> io::Result<u64> {
        let mut batch = Batch::new();
        let mut at = 0;
        let mut windows: Vec<_> = Vec::new();
        for keep in kept {
            windows.push(at..keep.start);
            at = keep.end;
        }
        windows.push(at..FAR);
        {
            let mut state = content.state.write();
            let is_small = !matches!(state.body, Body::File(_));
            if content.is_in_use(&state) {
                return Ok(0);
            }
            let dropped = &mut batch.entry(content.no).or_insert_with(|| (content.clone(), Dropped::default())).1;
            for window in windows.iter().filter(|window| !is_small || **window == (0..FAR)) {
                state.drop_clean(window, dropped);
            }
        }
        self.finish(batch)
    }
}
