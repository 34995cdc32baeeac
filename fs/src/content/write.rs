//! Owns what programs do to a content: write, truncate, punch, allocate.
//!
//! A small content is logged, then changed in memory. A larger one is written to its backing file, after
//! a durable mark; what recovery would otherwise take for absent is logged as well.

use super::local::{LocalContent, damaged};
use super::seams::ContentError;
use super::state::{Body, FAR, State, blocks_around};
use crate::env::DiskFile;
use crate::limits::SMALL_CONTENT_BYTES_MAX;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use tarn_proto::limits::FILE_BYTES_MAX;

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteEffect {
    /// The size now.
    pub size_bytes: u64,
    /// Whether the content was clean before.
    pub became_dirty: bool,
    /// Whether its row must say something new: it became dirty, or moved to a backing file.
    pub place_changed: bool,
}

/// Zeros are logged in pieces of this length.
const ZERO_PIECE_BYTES: u64 = 1 << 20;

impl LocalContent {
    /// Writes bytes. They survive kill -9 when this returns.
    ///
    /// # Errors
    /// Fails when the disk does, when it is full, or beyond the largest file.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<WriteEffect, ContentError> {
        let end = end_of(offset, data.len() as u64)?;
        let resulting = |state: &State| if data.is_empty() { state.size_bytes } else { state.size_bytes.max(end) };
        self.change(data.len() as u64, resulting, |content, state| {
            if data.is_empty() {
                return Ok(());
            }
            content.set_aside(state, offset..end)?;
            match &state.body {
                Body::File(file) => content.write_file(&file.clone(), state, offset, data)?,
                _ => content.write_memory(state, offset, data)?,
            }
            let old_size = state.size_bytes;
            if end > old_size {
                state.size_bytes = end;
                state.since.iter_mut().for_each(|since| since.resized = true);
            }
            // Between an old end and a write beyond it are zeros, and they are there.
            state.note_written(offset.min(old_size)..end);
            Ok(())
        })
    }

    /// Sets the size; what comes into being reads as zeros.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn truncate(&self, size_bytes: u64) -> Result<WriteEffect, ContentError> {
        end_of(size_bytes, 0)?;
        self.change(
            0,
            |_| size_bytes,
            |content, state| {
                if size_bytes < state.size_bytes {
                    content.set_aside(state, size_bytes..state.size_bytes)?;
                }
                match &state.body {
                    Body::File(file) => content.resize_file(&file.clone(), state, size_bytes)?,
                    _ => content.resize_memory(state, size_bytes)?,
                }
                state.note_resized(size_bytes);
                Ok(())
            },
        )
    }

    /// Makes a range read as zeros and frees its blocks; the size stays.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn punch(&self, range: Range<u64>) -> Result<WriteEffect, ContentError> {
        self.change(
            0,
            |state| state.size_bytes,
            |content, state| {
                let range = range.start..range.end.min(state.size_bytes);
                if range.is_empty() {
                    return Ok(());
                }
                content.set_aside(state, range.clone())?;
                match &state.body {
                    Body::File(file) => content.zero_file(&file.clone(), state, range.clone())?,
                    _ => content.write_memory(state, range.start, &vec![0; (range.end - range.start) as usize])?,
                }
                state.note_written(range);
                Ok(())
            },
        )
    }

    /// Makes a range read as zeros; the file grows to hold it unless `keep_size`.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn zero(&self, range: Range<u64>, keep_size: bool) -> Result<WriteEffect, ContentError> {
        let effect = self.punch(range.clone())?;
        if keep_size || range.end <= effect.size_bytes {
            return Ok(effect);
        }
        let grown = self.truncate(range.end)?;
        Ok(WriteEffect { became_dirty: effect.became_dirty || grown.became_dirty, ..grown })
    }

    /// Allocates space for a range, which keeps its bytes; the file grows to hold it unless `keep_size`.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn allocate(&self, range: Range<u64>, keep_size: bool) -> Result<WriteEffect, ContentError> {
        let end = end_of(range.start, range.end.saturating_sub(range.start))?;
        let size_bytes = self.size_bytes();
        let effect = self.truncate_or_not(if keep_size { size_bytes } else { size_bytes.max(end) })?;
        self.shared.admit_dirty(end - range.start)?;
        let mut state = self.state.write();
        state.synced_at = None;
        if let Body::File(file) = &state.body {
            // What is not here stays unallocated: hydration will reserve and write it.
            for part in state.dirty.within(range) {
                file.allocate(part.start, part.end - part.start, true)?;
            }
        }
        Ok(effect)
    }

    /// Says that programs may have changed any byte unseen, through a shared writable map.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn note_mapped_write(&self) -> Result<WriteEffect, ContentError> {
        self.change(
            0,
            |state| state.size_bytes,
            |_, state| {
                let size_bytes = state.size_bytes;
                for part in state.present.within(0..size_bytes) {
                    state.note_written(part);
                }
                Ok(())
            },
        )
    }

    fn truncate_or_not(&self, size_bytes: u64) -> Result<WriteEffect, ContentError> {
        if self.size_bytes() != size_bytes {
            return self.truncate(size_bytes);
        }
        Ok(WriteEffect { size_bytes, became_dirty: false, place_changed: false })
    }

    /// The frame of every change: room, the right body, the count. `resulting` is the size afterwards.
    fn change(
        &self,
        grows_by: u64,
        resulting: impl FnOnce(&State) -> u64,
        apply: impl FnOnce(&Self, &mut State) -> Result<(), ContentError>,
    ) -> Result<WriteEffect, ContentError> {
        self.shared.admit_dirty(grows_by)?;
        self.shared.log()?.admit()?;
        let mut guard = self.state.write();
        let state = &mut *guard;
        state.found_bytes = None;
        let (was_dirty, before) = (state.is_dirty, state.charge());
        let was_file = matches!(state.body, Body::File(_));
        let size_bytes = resulting(state);
        let result = self.prepare(state, size_bytes).and_then(|()| apply(self, state));
        let result = result.and_then(|()| self.flush_log(state));
        self.shared.budget.recount(before, state.charge());
        let is_file = matches!(state.body, Body::File(_));
        result.map(|()| WriteEffect {
            size_bytes: state.size_bytes,
            became_dirty: state.is_dirty && !was_dirty,
            place_changed: is_file != was_file,
        })
    }

    /// What the change at hand logged survives kill -9 from here on. If not, it is there in memory all the same: its record
    /// has its place, and may become durable with later ones.
    fn flush_log(&self, state: &mut State) -> Result<(), ContentError> {
        Ok(state.unflushed.take().map_or(Ok(()), |place| self.shared.log()?.flush(place))?)
    }

    /// Brings the content into the form in which a change to this size can be made.
    fn prepare(&self, state: &mut State, size_bytes: u64) -> Result<(), ContentError> {
        if state.is_removed {
            return Err(ContentError::Unknown(self.no));
        }
        match state.body {
            // An older row says something of the base's bytes: that must be taken back first.
            Body::File(_) => self.mark_open(state, state.base.is_some()),
            _ if size_bytes > SMALL_CONTENT_BYTES_MAX => self.become_file(state),
            _ => Ok(self.become_memory(state)?),
        }
    }

    /// Takes a small content to memory. One that only becomes small by the change at hand stays absent.
    pub(super) fn become_memory(&self, state: &mut State) -> io::Result<()> {
        match state.body {
            Body::Memory(_) | Body::File(_) => {}
            Body::Nothing if state.size_bytes > SMALL_CONTENT_BYTES_MAX => {}
            Body::Nothing => state.body = Body::Memory(vec![0; state.size_bytes as usize]),
            Body::Slab => {
                let mut bytes = vec![0; state.size_bytes as usize];
                if !state.is_unverified() || self.verify_locked(state)? {
                    self.read_present(state, &mut bytes, 0)?;
                }
                state.body = Body::Memory(bytes);
            }
        }
        Ok(())
    }

    /// Gives the content a backing file with the bytes that it has, and marks it as open for writing.
    fn become_file(&self, state: &mut State) -> Result<(), ContentError> {
        if let Body::Slab = state.body {
            self.become_memory(state)?;
        }
        let bytes = match &mut state.body {
            Body::Memory(bytes) => std::mem::take(bytes),
            _ => Vec::new(),
        };
        let keep = |state: &mut State, bytes: Vec<u8>, e: io::Error| {
            if !bytes.is_empty() {
                state.body = Body::Memory(bytes);
            }
            Err(e.into())
        };
        // The file's end must not move before its bytes are written: `backing_has` goes by it.
        let length = if bytes.is_empty() { state.size_bytes } else { 0 };
        let file = match self.make_file(length, &bytes) {
            Ok(file) => file,
            Err(e) => return keep(state, bytes, e),
        };
        let old_home = state.home.take();
        let old_body = std::mem::replace(&mut state.body, Body::File(file));
        state.unsynced.clear();
        state.synced_at = None;
        (state.is_named, state.has_durable_name) = (state.size_bytes > 0, state.size_bytes > 0);
        state.open_for_writing = false;
        if let Err(e) = self.mark_open(state, false) {
            state.home = old_home;
            state.body = if bytes.is_empty() { old_body } else { Body::Memory(bytes) };
            state.unsynced.clear();
            return Err(e);
        }
        self.shared.retired.lock().extend(old_home.map(|home| home.slot));
        self.shared.enlist(self.no, state);
        Ok(())
    }

    /// A backing file with these bytes, on the disk: the mark asks for them, and an fsync of any other file must not depend
    /// on this one. Of an empty file nothing is asked.
    fn make_file(&self, length: u64, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.shared.make_backing(self.no, length)?;
        file.write_at(bytes, 0)?;
        if length > 0 || !bytes.is_empty() {
            file.sync_data()?;
            self.shared.sync_name(self.no)?;
        }
        Ok(file)
    }

    /// Marks a backing file before the first write since it was at rest.
    pub(super) fn mark_open(&self, state: &mut State, durable: bool) -> Result<(), ContentError> {
        if state.open_for_writing {
            return Ok(());
        }
        if let Body::File(file) = &state.body
            && file.len_bytes()? != state.size_bytes
        {
            // From now on the file's length is the content's size, also to recovery.
            file.set_len(state.size_bytes)?;
        }
        state.open_for_writing = true;
        let mut row = state.row();
        row.is_dirty = true;
        match self.shared.log()?.mark_open(self.no, &row, durable) {
            Ok(place) if !durable => {
                state.ask(row.size_bytes, place);
                state.unflushed = state.unflushed.max(Some(place));
            }
            Ok(_) => {}
            Err(e) => {
                state.open_for_writing = false;
                return Err(e.into());
            }
        }
        state.note_marked();
        Ok(())
    }

    fn write_memory(&self, state: &mut State, offset: u64, data: &[u8]) -> Result<(), ContentError> {
        if !matches!(state.body, Body::Memory(_)) {
            return Err(damaged("a small content is not in memory").into());
        }
        let place = self.shared.log()?.write(self.no, offset, data)?;
        state.note_logged(offset..offset + data.len() as u64, place);
        let Body::Memory(bytes) = &mut state.body else { return Ok(()) };
        let (start, end) = (offset as usize, offset as usize + data.len());
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(data);
        Ok(())
    }

    fn resize_memory(&self, state: &mut State, size_bytes: u64) -> Result<(), ContentError> {
        state.unflushed = Some(self.shared.log()?.resize(self.no, size_bytes)?);
        match &mut state.body {
            Body::Memory(bytes) => bytes.resize(size_bytes as usize, 0),
            body => *body = Body::Memory(vec![0; size_bytes as usize]),
        }
        Ok(())
    }

    fn write_file(
        &self,
        file: &Arc<dyn DiskFile>,
        state: &mut State,
        offset: u64,
        data: &[u8],
    ) -> Result<(), ContentError> {
        let range = offset..offset + data.len() as u64;
        let log = self.shared.log()?;
        if state.must_log(&range) {
            state.forget_logged(self.shared.ask_left_behind());
        }
        if state.must_log(&range) {
            let place = log.write(self.no, offset, data)?;
            state.note_logged(range.clone(), place);
        }
        // If the write fails half way, what was there is no longer the base's.
        for part in state.present.within(range.clone()) {
            state.note_written(part);
        }
        if let Err(e) = file.write_at(data, offset) {
            if range.end > state.size_bytes {
                // The write's own error is the one to tell.
                let _ = file.set_len(state.size_bytes);
            }
            return Err(e.into());
        }
        state.doubtful.remove(range);
        Ok(())
    }

    fn resize_file(&self, file: &Arc<dyn DiskFile>, state: &mut State, size_bytes: u64) -> Result<(), ContentError> {
        let is_shorter = size_bytes < state.size_bytes;
        if !is_shorter && !state.is_named {
            // `backing_has` goes by the file's end, which must not overtake the bytes before it.
            self.sync_locked(file.as_ref(), state)?;
        }
        self.ask_less(file.as_ref(), state, size_bytes)?;
        file.set_len(size_bytes)?;
        if state.base.is_none() && state.logged.is_empty() {
            return Ok(());
        }
        // Recovery takes everything behind the smallest logged size for written here, so the old bytes
        // must be gone from the disk before the log says so.
        let must_sync = is_shorter && state.base.is_some();
        let logged = if must_sync { self.sync_locked(file.as_ref(), state) } else { Ok(()) }
            .and_then(|()| self.shared.log()?.resize(self.no, size_bytes));
        match &logged {
            Ok(place) => {
                state.unflushed = Some(*place);
                state.marked.insert(size_bytes..FAR);
            }
            Err(_) => state.note_resized(size_bytes),
        }
        Ok(logged.map(drop)?)
    }

    /// Before a backing file gets shorter: recovery, which goes by its length where it was not synced when it was marked,
    /// must not take it for one that did not reach the disk, and all that came after for something that never happened.
    pub(super) fn ask_less(&self, file: &dyn DiskFile, state: &mut State, size_bytes: u64) -> io::Result<()> {
        let is_asked = |(asked, place): (u64, u64)| size_bytes < asked && place > self.shared.ask_left_behind();
        if state.asked.is_some_and(is_asked) {
            self.sync_locked(file, state)?;
            self.shared.sync_name(self.no)?;
            state.asked = Some((size_bytes, self.shared.log()?.ask_less(self.no, size_bytes)?));
        }
        Ok(())
    }

    fn zero_file(&self, file: &Arc<dyn DiskFile>, state: &mut State, range: Range<u64>) -> Result<(), ContentError> {
        for part in state.logged.within(range.clone()) {
            self.log_zeros(state, part)?;
        }
        for part in state.present.within(range.clone()) {
            state.note_written(part);
        }
        zero_in(file.as_ref(), range.clone())?;
        state.doubtful.remove(range.clone());
        if !state.marked.covers(range.clone()) {
            // Too many zeros to log: once they are on the disk, a new row says that they are there.
            self.sync_locked(file.as_ref(), state)?;
            state.note_written(range.clone());
            state.unsynced.remove(range);
            self.shared.log()?.mark_open(self.no, &state.row(), true)?;
            let beyond = state.marked.clone();
            state.note_marked();
            beyond.iter().for_each(|range| state.marked.insert(range));
        }
        Ok(())
    }

    fn log_zeros(&self, state: &mut State, range: Range<u64>) -> io::Result<()> {
        let zeros = vec![0; (range.end - range.start).min(ZERO_PIECE_BYTES) as usize];
        let mut at = range.start;
        while at < range.end {
            let length = (range.end - at).min(ZERO_PIECE_BYTES);
            let place = self.shared.log()?.write(self.no, at, &zeros[..length as usize])?;
            state.note_logged(at..at + length, place);
            at += length;
        }
        Ok(())
    }
}

/// Makes a range of a backing file zeros: whole blocks by a hole, the edges by writing.
pub(super) fn zero_in(file: &dyn DiskFile, range: Range<u64>) -> io::Result<()> {
    let around = blocks_around(&range);
    let head_end =
        if around.start < range.start { range.end.min(around.start + super::BLOCK_BYTES) } else { range.start };
    file.write_at(&vec![0; (head_end - range.start) as usize], range.start)?;
    let tail = range.end / super::BLOCK_BYTES * super::BLOCK_BYTES;
    if tail > head_end {
        file.punch_hole(head_end, tail - head_end)?;
    }
    let tail = tail.max(head_end);
    file.write_at(&vec![0; (range.end - tail) as usize], tail)
}

fn end_of(offset: u64, length: u64) -> Result<u64, ContentError> {
    offset.checked_add(length).filter(|&end| end <= FILE_BYTES_MAX).ok_or(ContentError::TooLarge)
}
