//! Owns the slab: one sparse file that holds all small contents, in slots of whole blocks.
//!
//! A slot is written once. A new state of a content takes a new slot, and the old one is freed when no
//! durable row names it any more. Freed blocks are punched. Until the rows of an earlier run were
//! handed over, slots are only appended.

use super::BLOCK_BYTES;
use super::synced::Syncs;
use crate::env::DiskFile;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// A run of blocks in the slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// First byte.
    pub offset: u64,
    /// Bytes; whole blocks.
    pub capacity_bytes: u32,
}

impl Slot {
    fn end(self) -> u64 {
        self.offset + u64::from(self.capacity_bytes)
    }
}

/// The slab file and its free map.
#[derive(Debug)]
pub(super) struct Slab {
    file: Arc<dyn DiskFile>,
    syncs: Syncs,
    map: Mutex<Map>,
}

#[derive(Debug, Default)]
struct Map {
    free: FreeRuns,
    end: u64,
    /// While an earlier run's rows come in: what they and this run use.
    learning: Option<Learning>,
}

#[derive(Debug, Default)]
struct Learning {
    used: BTreeMap<u64, u64>,
    freed: Vec<Slot>,
    /// From here on everything was appended by this run.
    appended_from: u64,
}

/// Free runs, found by place (to join neighbours) and by length (to fit).
#[derive(Debug, Default)]
struct FreeRuns {
    by_offset: BTreeMap<u64, u64>,
    by_length: BTreeSet<(u64, u64)>,
}

impl FreeRuns {
    fn take(&mut self, offset: u64, length: u64) {
        self.by_offset.remove(&offset);
        self.by_length.remove(&(length, offset));
    }

    fn put(&mut self, mut offset: u64, mut length: u64) {
        if let Some((&before, &len)) = self.by_offset.range(..offset).next_back()
            && before + len == offset
        {
            self.take(before, len);
            (offset, length) = (before, length + len);
        }
        if let Some(&len) = self.by_offset.get(&(offset + length)) {
            self.take(offset + length, len);
            length += len;
        }
        self.by_offset.insert(offset, length);
        self.by_length.insert((length, offset));
    }

    /// The shortest run that fits.
    fn fit(&mut self, length: u64) -> Option<u64> {
        let &(len, offset) = self.by_length.range((length, 0)..).next()?;
        self.take(offset, len);
        if len > length {
            self.put(offset + length, len - length);
        }
        Some(offset)
    }
}

impl Slab {
    /// Takes the slab file over; slots of an earlier run are learned later.
    pub(super) fn new(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let end = file.len_bytes()?.next_multiple_of(BLOCK_BYTES);
        let learning = (end > 0).then(|| Learning { appended_from: end, ..Learning::default() });
        let map = Mutex::new(Map { free: FreeRuns::default(), end, learning });
        Ok(Self { file, syncs: Syncs::default(), map })
    }

    /// Bytes of the slot for a content of this size.
    pub(super) fn capacity_for(size_bytes: u64) -> u32 {
        size_bytes.max(1).next_multiple_of(BLOCK_BYTES) as u32
    }

    /// Takes a free slot.
    pub(super) fn allocate(&self, size_bytes: u64) -> Slot {
        let capacity_bytes = Self::capacity_for(size_bytes);
        let length = u64::from(capacity_bytes);
        let mut map = self.map.lock();
        let offset = map.free.fit(length).unwrap_or_else(|| {
            let end = map.end;
            map.end += length;
            end
        });
        Slot { offset, capacity_bytes }
    }

    /// Says that a row of an earlier run names this slot.
    pub(super) fn learn(&self, slot: Slot) {
        if let Some(learning) = &mut self.map.lock().learning {
            learning.used.insert(slot.offset, slot.end());
        }
    }

    /// Ends learning. Frees what nothing names.
    pub(super) fn learned(&self) -> io::Result<()> {
        let mut map = self.map.lock();
        let Some(learning) = map.learning.take() else { return Ok(()) };
        let appended_from = learning.appended_from;
        let mut gaps = Vec::new();
        let mut at = 0;
        for (&start, &end) in &learning.used {
            if at < start.min(appended_from) {
                gaps.push((at, start.min(appended_from) - at));
            }
            at = at.max(end);
        }
        if at < appended_from {
            gaps.push((at, appended_from - at));
        }
        for slot in learning.freed {
            gaps.push((slot.offset, u64::from(slot.capacity_bytes)));
        }
        for (offset, length) in gaps {
            self.file.punch_hole(offset, length)?;
            map.free.put(offset, length);
        }
        Ok(())
    }

    /// Gives a slot back: punches it, then lets others have it.
    pub(super) fn free(&self, slot: Slot) -> io::Result<()> {
        let length = u64::from(slot.capacity_bytes);
        let mut map = self.map.lock();
        if let Some(learning) = &mut map.learning {
            learning.used.insert(slot.offset, slot.end());
            learning.freed.push(slot);
            return self.file.punch_hole(slot.offset, length);
        }
        drop(map);
        self.file.punch_hole(slot.offset, length)?;
        self.map.lock().free.put(slot.offset, length);
        Ok(())
    }

    pub(super) fn read(&self, slot: Slot, buf: &mut [u8], at: u64) -> io::Result<()> {
        let inside = u64::from(slot.capacity_bytes).saturating_sub(at).min(buf.len() as u64) as usize;
        let got = self.file.read_at(&mut buf[..inside], slot.offset + at)?;
        // What lies behind the file's end was never written, what lies behind the slot is another's.
        buf[got..].fill(0);
        Ok(())
    }

    pub(super) fn write(&self, slot: Slot, data: &[u8], at: u64) -> io::Result<()> {
        debug_assert!(at + data.len() as u64 <= u64::from(slot.capacity_bytes), "a write stays in its slot");
        self.file.write_at(data, slot.offset + at)
    }

    /// Syncs that failed so far; asked before a slot is written.
    pub(super) fn failures(&self) -> u64 {
        self.syncs.failures()
    }

    /// Makes slots durable that were written since so many syncs had failed.
    pub(super) fn sync(&self, seen: u64) -> io::Result<()> {
        self.syncs.sync(self.file.as_ref(), seen)
    }

    pub(super) fn allocated_bytes(&self) -> io::Result<u64> {
        self.file.allocated_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::FreeRuns;

    #[test]
    fn freed_neighbours_join_and_fit_again() {
        let mut runs = FreeRuns::default();
        runs.put(0, 4096);
        runs.put(8192, 4096);
        assert_eq!(runs.fit(8192), None);
        runs.put(4096, 4096);
        assert_eq!(runs.fit(8192), Some(0));
        assert_eq!(runs.fit(4096), Some(8192));
        assert_eq!(runs.fit(4096), None);
    }

    #[test]
    fn the_shortest_run_that_fits_is_taken() {
        let mut runs = FreeRuns::default();
        runs.put(0, 65536);
        runs.put(131_072, 8192);
        assert_eq!(runs.fit(4096), Some(131_072));
        assert_eq!(runs.fit(4096), Some(135_168));
        assert_eq!(runs.fit(4096), Some(0));
    }
}
