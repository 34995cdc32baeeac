//! Owns one content as others see it: its reads and its properties. Changes live in `write`, `fill`,
//! `evict` and `settle`.

use super::EXTENT_BYTES;
use super::slab::Slab;
use super::state::{Body, State};
use super::store::Shared;
use super::synced::Syncs;
use crate::meta::ranges::RangeSet;
use crate::meta::rows::{BaseVersion, ContentNo, ContentRow, Ino};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One content of the local disk. Shared by all who use it.
#[derive(Debug)]
pub struct LocalContent {
    pub(super) no: ContentNo,
    pub(super) shared: Arc<Shared>,
    pub(super) state: RwLock<State>,
    /// One sync at a time.
    pub(super) sync_gate: Mutex<()>,
    pub(super) syncs: Syncs,
    holds: AtomicU32,
    /// Ranges that somebody is bringing or reading right now.
    guarded: Mutex<Vec<Range<u64>>>,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The bytes; fewer than asked only at the end of the file.
    Bytes(Bytes),
    /// These ranges are not here; the rest is.
    Missing(Vec<Range<u64>>),
}

/// How much of a content is local, for `user.tarn.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalState {
    /// Nothing.
    OnlineOnly,
    /// Some.
    Partial,
    /// Everything.
    Hydrated,
    /// It differs from what it was made from.
    Dirty,
}

/// Keeps a content from being evicted while it lives.
#[derive(Debug)]
pub struct Hold(Arc<LocalContent>);

impl Hold {
    /// The content that is held.
    pub fn content(&self) -> &Arc<LocalContent> {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Keeps a range of a content from being evicted while it lives.
#[derive(Debug)]
pub struct Guard {
    content: Arc<LocalContent>,
    range: Range<u64>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut guarded = self.content.guarded.lock();
        if let Some(index) = guarded.iter().position(|range| *range == self.range) {
            guarded.swap_remove(index);
        }
    }
}

impl LocalContent {
    pub(super) fn new(no: ContentNo, shared: Arc<Shared>, state: State) -> Self {
        Self {
            no,
            shared,
            state: RwLock::new(state),
            sync_gate: Mutex::new(()),
            syncs: Syncs::default(),
            holds: AtomicU32::new(0),
            guarded: Mutex::default(),
        }
    }

    /// Its number.
    pub fn no(&self) -> ContentNo {
        self.no
    }

    /// Its inode.
    pub fn ino(&self) -> Ino {
        self.state.read().ino
    }

    /// Says whose it is by now. Its row follows with the next [`super::Contents::record_presence`].
    pub fn set_ino(&self, ino: Ino) {
        let mut state = self.state.write();
        if state.ino == ino || state.is_removed {
            return;
        }
        state.ino = ino;
        if let Some(pinned) = self.shared.pinned.lock().get_mut(&self.no) {
            *pinned = ino;
        }
        self.shared.unrecorded.lock().insert(self.no);
    }

    /// Its size as programs see it.
    pub fn size_bytes(&self) -> u64 {
        self.state.read().size_bytes
    }

    /// The version that it shows or was made from.
    pub fn base(&self) -> Option<BaseVersion> {
        self.state.read().base.clone()
    }

    /// Whether anything differs from its base.
    pub fn is_dirty(&self) -> bool {
        self.state.read().is_dirty
    }

    /// Bytes that differ from its base.
    pub fn dirty_bytes(&self) -> u64 {
        self.state.read().dirty.len_bytes()
    }

    /// Counts changes made by programs.
    pub fn generation(&self) -> u64 {
        self.state.read().generation
    }

    /// Its row as of now. See the module's rule for rows in logged units of work ([`Self::hold`]).
    pub fn row(&self) -> ContentRow {
        self.state.read().row()
    }

    /// How much of it is local.
    pub fn state(&self) -> LocalState {
        let state = self.state.read();
        match () {
            () if state.is_dirty => LocalState::Dirty,
            () if state.present.covers(0..state.size_bytes) => LocalState::Hydrated,
            () if state.present.is_empty() => LocalState::OnlineOnly,
            () => LocalState::Partial,
        }
    }

    /// Whether it has a backing file.
    pub fn has_file(&self) -> bool {
        matches!(self.state.read().body, Body::File(_))
    }

    /// Whether every byte is here.
    pub fn is_complete(&self) -> bool {
        let state = self.state.read();
        state.present.covers(0..state.size_bytes)
    }

    /// Bytes that are here.
    pub fn present_bytes(&self) -> u64 {
        self.state.read().present.len_bytes()
    }

    /// The parts of a range that are not here.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let state = self.state.read();
        state.present.gaps(range.start..range.end.min(state.size_bytes))
    }

    /// Allocated bytes on the disk (of a small content: its slot, or its size while in memory).
    ///
    /// # Errors
    /// The disk's.
    pub fn allocated_bytes(&self) -> io::Result<u64> {
        let state = self.state.read();
        match &state.body {
            Body::Nothing => Ok(0),
            Body::File(file) => file.allocated_bytes(),
            Body::Memory(_) | Body::Slab if state.size_bytes == 0 => Ok(0),
            Body::Memory(_) | Body::Slab => Ok(u64::from(Slab::capacity_for(state.size_bytes))),
        }
    }

    /// The next byte at or after `offset` that is data. Bytes that are not local count as data:
    /// programs that copy by holes (`cp`, `tar`) would write zeros for them. `None`: none up to the end.
    pub fn seek_data(&self, offset: u64) -> Option<u64> {
        (offset < self.size_bytes()).then_some(offset)
    }

    /// The next byte at or after `offset` that is a hole: the end of the file, as in [`Self::seek_data`].
    pub fn seek_hole(&self, offset: u64) -> Option<u64> {
        let size_bytes = self.size_bytes();
        (offset < size_bytes).then_some(size_bytes)
    }

    /// The ranges that are here, for those who show what is local.
    pub fn local_ranges(&self) -> RangeSet {
        self.state.read().present.clone()
    }

    /// Keeps it from being evicted, whole (passthrough, maps, rows under way).
    pub fn hold(self: &Arc<Self>) -> Hold {
        self.holds.fetch_add(1, Ordering::AcqRel);
        Hold(self.clone())
    }

    /// Keeps a range from being evicted: for those who bring it and are about to read it.
    pub fn guard(self: &Arc<Self>, range: Range<u64>) -> Guard {
        self.guarded.lock().push(range.clone());
        Guard { content: self.clone(), range }
    }

    /// Whether somebody guards bytes of a range.
    pub(super) fn is_guarded(&self, window: &Range<u64>) -> bool {
        self.guarded.lock().iter().any(|range| range.start < window.end && window.start < range.end)
    }

    /// Pins or unpins it: what is pinned is never evicted.
    pub fn set_pinned(&self, pinned: bool) {
        let state = self.state.read();
        if pinned && !state.is_removed {
            self.shared.pinned.lock().insert(self.no, state.ino);
        } else {
            self.shared.pinned.lock().remove(&self.no);
            self.shared.enlist(self.no, &state);
        }
    }

    /// Whether somebody holds it.
    pub(super) fn is_held(&self) -> bool {
        self.holds.load(Ordering::Acquire) > 0
    }

    /// Whether it is pinned.
    pub fn is_pinned(&self) -> bool {
        self.shared.pinned.lock().contains_key(&self.no)
    }

    /// Whether a range is here for certain: not if that cannot be said without waiting.
    pub fn surely_has(&self, range: Range<u64>) -> bool {
        self.state.try_read().is_some_and(|state| state.present.covers(range))
    }

    /// Reads up to `len` bytes at `offset`.
    ///
    /// # Errors
    /// The disk's.
    pub fn read(&self, offset: u64, len: usize) -> io::Result<Read> {
        loop {
            let state = self.state.read();
            let end = state.size_bytes.min(offset.saturating_add(len as u64));
            if offset >= end {
                return Ok(Read::Bytes(Bytes::new()));
            }
            if !state.present.covers(offset..end) {
                return Ok(Read::Missing(state.present.gaps(offset..end)));
            }
            if state.is_unverified() {
                drop(state);
                self.verify()?;
                continue;
            }
            let mut buffer = vec![0; (end - offset) as usize];
            self.read_present(&state, &mut buffer, offset)?;
            self.touch(&state, offset..end);
            return Ok(Read::Bytes(buffer.into()));
        }
    }

    /// Reads what is known to be present.
    pub(super) fn read_present(&self, state: &State, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match (&state.body, &state.home) {
            (Body::Memory(bytes), _) => {
                buffer.copy_from_slice(&bytes[offset as usize..offset as usize + buffer.len()]);
                Ok(())
            }
            (Body::Slab, Some(home)) => self.shared.slab.read(home.slot, buffer, offset),
            (Body::File(file), _) => {
                let got = file.read_at(buffer, offset)?;
                let is_whole = got == buffer.len();
                is_whole.then_some(()).ok_or_else(|| damaged("a backing file is shorter than its content"))
            }
            _ => Err(damaged("present bytes are nowhere")),
        }
    }

    /// Says that a range was used just now.
    fn touch(&self, state: &RwLockReadGuard<'_, State>, range: Range<u64>) {
        let is_file = matches!(state.body, Body::File(_));
        let (first, last) = if is_file { (range.start / EXTENT_BYTES, (range.end - 1) / EXTENT_BYTES) } else { (0, 0) };
        if state.is_dirty && !is_file {
            return;
        }
        for extent in first..=last {
            self.shared.recency.touch((self.no, extent));
        }
    }
}

pub(super) fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
