//! Owns the state of one content: which bytes are there, which of them differ from the base, where
//! they are. Pure bookkeeping; reads and writes nothing.

use super::BLOCK_BYTES;
use super::lend::Exposed;
use super::slab::Slot;
use super::snapshot::Freeze;
use super::sources::Former;
use crate::env::DiskFile;
use crate::meta::ranges::RangeSet;
use crate::meta::rows::{BaseVersion, ContentPlace, ContentRow, Ino};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Beyond the end of any file.
pub(super) const FAR: u64 = u64::MAX / 2;

/// Where the present bytes are.
#[derive(Debug)]
pub(super) enum Body {
    /// Nothing is present.
    Nothing,
    /// A small content in memory; what is dirty is in the log as well.
    Memory(Vec<u8>),
    /// A small content in its home slot.
    Slab,
    /// A sparse backing file, as long as the content.
    File(Arc<dyn DiskFile>),
}

/// The slot that rows name, as far as they may.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) slot: Slot,
    /// What was there when the slot was written.
    pub(super) present: RangeSet,
    /// Whether the slot was synced.
    pub(super) durable: bool,
    /// Syncs of the slab that had failed before it was written.
    pub(super) failures: u64,
    /// Whether its bytes were compared with the base's id since they were found on the disk.
    pub(super) verified: AtomicBool,
}

/// Changes since a snapshot was taken.
#[derive(Debug)]
pub(super) struct Since {
    pub(super) generation: u64,
    /// The size then.
    pub(super) size_bytes: u64,
    pub(super) written: RangeSet,
    pub(super) resized: bool,
}

/// The changing part of a content.
#[derive(Debug)]
pub(super) struct State {
    pub(super) ino: Ino,
    pub(super) size_bytes: u64,
    pub(super) base: Option<BaseVersion>,
    pub(super) body: Body,
    pub(super) home: Option<Home>,
    /// What is there. Contains `dirty`.
    pub(super) present: RangeSet,
    pub(super) dirty: RangeSet,
    pub(super) is_dirty: bool,
    /// Present bytes of the backing file that were not synced yet, and those being synced right now.
    pub(super) unsynced: RangeSet,
    pub(super) syncing: RangeSet,
    /// Dirty bytes that a sync which failed should have written. The kernel counts them as written and may let go of
    /// them, so no later sync makes them durable: only writing them again does, or the server's having them.
    pub(super) doubtful: RangeSet,
    /// Failed syncs of the backing file that are accounted for.
    pub(super) failures_seen: u64,
    /// What recovery would count as there by the rows that it has; other writes to a file with a base are logged.
    pub(super) marked: RangeSet,
    /// Bytes that recovery may take from the log. Replay may start before the state that a row speaks of, so
    /// whatever is written over them is logged as well, until their records are left behind.
    pub(super) logged: RangeSet,
    /// Clean bytes that came over logged ones. Replay would write what was logged over them, so no row names them before those
    /// records are left behind.
    pub(super) shadowed: RangeSet,
    /// The place of the last of these records.
    pub(super) logged_upto: u64,
    /// The place of the last record that a change made and that may not have reached the kernel yet.
    pub(super) unflushed: Option<u64>,
    /// The place in the log of the last row that says more than the database may say yet.
    pub(super) noted_upto: u64,
    /// How long the backing file must be for recovery to go on beyond an unsynced record, and that record's place.
    pub(super) asked: Option<(u64, u64)>,
    pub(super) open_for_writing: bool,
    /// Programs may write the backing file through maps.
    pub(super) exposed: Option<Exposed>,
    /// While replaying: how long the backing file was when it was found.
    pub(super) found_bytes: Option<u64>,
    /// Whether the backing file's name was synced after its bytes.
    pub(super) is_named: bool,
    /// Whether the backing file's name was synced.
    pub(super) has_durable_name: bool,
    /// Counts changes.
    pub(super) generation: u64,
    /// As of which count the backing file was last synced whole.
    pub(super) synced_at: Option<u64>,
    pub(super) freezes: Vec<Weak<Freeze>>,
    pub(super) since: Vec<Since>,
    pub(super) is_removed: bool,
    /// What it replaces, until that one's chunks were looked up.
    pub(super) former: Option<Former>,
}

/// Number of bytes in the blocks that clean ranges touch.
pub(super) fn clean_blocks_bytes(present: &RangeSet, dirty: &RangeSet, window: &Range<u64>) -> u64 {
    let (mut bytes, mut counted_to) = (0, 0);
    for part in present.within(window.clone()) {
        for clean in dirty.gaps(part) {
            let start = align_down(clean.start).max(counted_to);
            let end = clean.end.next_multiple_of(BLOCK_BYTES);
            bytes += end.saturating_sub(start);
            counted_to = counted_to.max(end);
        }
    }
    bytes
}

/// The start of the block that holds this byte.
pub(super) fn align_down(offset: u64) -> u64 {
    offset / BLOCK_BYTES * BLOCK_BYTES
}

/// The whole blocks that hold a range.
pub(super) fn blocks_around(range: &Range<u64>) -> Range<u64> {
    align_down(range.start)..range.end.next_multiple_of(BLOCK_BYTES)
}

/// Share of the budget that a row of a content stands for.
pub(super) fn row_charge_bytes(row: &ContentRow) -> u64 {
    match row.place {
        ContentPlace::None => 0,
        ContentPlace::Slab { .. } if row.is_dirty => 0,
        ContentPlace::Slab { capacity_bytes, .. } => u64::from(capacity_bytes),
        ContentPlace::File => clean_blocks_bytes(&row.present, &row.dirty, &(0..FAR)),
    }
}

impl State {
    /// A content of which nothing is there.
    pub(super) fn absent(ino: Ino, size_bytes: u64, base: Option<BaseVersion>) -> Self {
        Self {
            ino,
            size_bytes,
            base,
            body: Body::Nothing,
            home: None,
            present: RangeSet::new(),
            dirty: RangeSet::new(),
            is_dirty: false,
            unsynced: RangeSet::new(),
            syncing: RangeSet::new(),
            doubtful: RangeSet::new(),
            failures_seen: 0,
            marked: RangeSet::new(),
            logged: RangeSet::new(),
            shadowed: RangeSet::new(),
            logged_upto: 0,
            unflushed: None,
            noted_upto: 0,
            asked: None,
            open_for_writing: false,
            exposed: None,
            found_bytes: None,
            is_named: false,
            has_durable_name: false,
            generation: 0,
            synced_at: None,
            freezes: Vec::new(),
            since: Vec::new(),
            is_removed: false,
            former: None,
        }
    }

    /// Share of the budget in a window of whole blocks.
    pub(super) fn charge_in(&self, window: &Range<u64>) -> u64 {
        match (&self.body, &self.home) {
            (Body::File(_), _) => clean_blocks_bytes(&self.present, &self.dirty, window),
            (Body::Slab, Some(home)) if !self.is_dirty => u64::from(home.slot.capacity_bytes),
            _ => 0,
        }
    }

    /// Share of the budget.
    pub(super) fn charge(&self) -> u64 {
        self.charge_in(&(0..FAR))
    }

    /// Bytes that the base still stands for.
    pub(super) fn base_size(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.content.size)
    }

    /// What recovery may count as there if it finds a row made now.
    pub(super) fn durable_present(&self) -> RangeSet {
        let mut durable = match (&self.body, &self.home) {
            (Body::Nothing, _) => return RangeSet::new(),
            (Body::Memory(_), _) if !self.is_dirty => RangeSet::new(),
            (Body::Memory(_), None) => RangeSet::new(),
            (Body::Memory(_) | Body::Slab, Some(home)) if home.durable => home.present.clone(),
            (Body::Memory(_) | Body::Slab, _) => RangeSet::new(),
            (Body::File(_), _) => self.present.clone(),
        };
        if matches!(self.body, Body::File(_)) {
            let uncertain = [&self.unsynced, &self.syncing, &self.shadowed].into_iter();
            uncertain.flat_map(RangeSet::iter).for_each(|range| durable.remove(range));
        }
        durable.remove(self.size_bytes..FAR);
        if !matches!(self.body, Body::Slab) || self.is_dirty {
            self.dirty.iter().for_each(|range| durable.insert(range));
        }
        durable
    }

    /// The row as of now.
    pub(super) fn row(&self) -> ContentRow {
        let place = match (&self.body, &self.home) {
            (Body::File(_), _) => ContentPlace::File,
            // Its slot may have older bytes, and a clean row is believed.
            (Body::Memory(_), _) if !self.is_dirty => ContentPlace::None,
            (Body::Memory(_) | Body::Slab, Some(home)) if home.durable => {
                ContentPlace::Slab { offset: home.slot.offset, capacity_bytes: home.slot.capacity_bytes }
            }
            _ => ContentPlace::None,
        };
        ContentRow {
            ino: self.ino,
            size_bytes: self.size_bytes,
            place,
            base: self.base.clone(),
            present: self.durable_present(),
            dirty: self.dirty.clone(),
            is_dirty: self.is_dirty,
            open_for_writing: self.open_for_writing,
        }
    }

    /// Whether nothing newer than its row would be lost by forgetting this state.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.open_for_writing
            && !self.is_dirty
            && self.former.is_none()
            && self.logged.is_empty()
            && self.unsynced.is_empty()
            && self.syncing.is_empty()
            && !matches!(self.body, Body::Memory(_))
            && self.home.as_ref().is_none_or(|home| home.durable)
            && self.freezes.iter().all(|freeze| freeze.strong_count() == 0)
    }

    /// Whether the disk has the backing file as it is. Of what maps write unseen nobody knows.
    pub(super) fn is_synced(&self) -> bool {
        self.synced_at == Some(self.generation)
            && self.is_named
            && self.exposed.is_none()
            && [&self.unsynced, &self.syncing].iter().all(|set| set.is_empty())
    }

    /// Notes that `range` was changed by a program and is there now.
    pub(super) fn note_written(&mut self, range: Range<u64>) {
        self.present.insert(range.clone());
        self.dirty.insert(range.clone());
        self.shadowed.remove(range.clone());
        if matches!(self.body, Body::File(_)) {
            self.unsynced.insert(range.clone());
        }
        for since in &mut self.since {
            since.written.insert(range.clone());
        }
        self.is_dirty = true;
        self.generation += 1;
    }

    /// Notes a new size; bytes between the old and the new one are zeros that are there.
    pub(super) fn note_resized(&mut self, size_bytes: u64) {
        let old = std::mem::replace(&mut self.size_bytes, size_bytes);
        for since in &mut self.since {
            since.resized = true;
        }
        self.is_dirty = true;
        self.generation += 1;
        if size_bytes > old {
            return self.note_written(old..size_bytes);
        }
        let Self { present, dirty, unsynced, syncing, doubtful, shadowed, .. } = self;
        for set in [present, dirty, unsynced, syncing, doubtful, shadowed] {
            set.remove(size_bytes..FAR);
        }
    }

    /// Notes that a range was logged: replay may find it.
    pub(super) fn note_logged(&mut self, range: Range<u64>, place: u64) {
        self.logged.insert(range);
        self.logged_upto = self.logged_upto.max(place);
        self.unflushed = self.unflushed.max(Some(place));
    }

    /// Notes that fetched bytes are there now.
    pub(super) fn note_fetched(&mut self, range: Range<u64>) {
        self.logged.within(range.clone()).into_iter().for_each(|part| self.shadowed.insert(part));
        self.present.insert(range);
    }

    /// Notes that an unsynced record asks for this length of the backing file.
    pub(super) fn ask(&mut self, bytes: u64, place: u64) {
        let most = self.asked.map_or(0, |(bytes, _)| bytes);
        self.asked = Some((bytes.max(most), place));
    }

    /// Forgets what recovery would not find in the log any more, if that is all of it.
    pub(super) fn forget_logged(&mut self, left_behind: u64) {
        if left_behind >= self.logged_upto {
            self.logged.clear();
            self.shadowed.clear();
        }
    }

    /// Whether a write to this range of a backing file must be in the log to survive kill -9.
    pub(super) fn must_log(&self, range: &Range<u64>) -> bool {
        !self.marked.covers(range.clone()) || self.logged.intersects(range.clone())
    }

    /// Notes what recovery would count as there, given a row made now.
    pub(super) fn note_marked(&mut self) {
        self.marked = self.durable_present();
        self.marked.insert(self.base_size().min(self.size_bytes)..FAR);
    }

    /// Whether a whole small content in the slab may be used, or must be compared with its id first.
    pub(super) fn is_unverified(&self) -> bool {
        matches!(self.body, Body::Slab) && self.home.as_ref().is_some_and(|home| !home.verified.load(Ordering::Acquire))
    }
}
