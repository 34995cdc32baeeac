//! Owns the way back: from rows and replayed log records to contents.
//!
//! Replay may start before the rows' state and must end the same as what was there.

use super::local::{LocalContent, damaged};
use super::slab::Slot;
use super::state::{Body, FAR, Home, State};
use super::store::{Contents, Shared};
use super::write::zero_in;
use crate::env::OpenMode;
use crate::limits::SMALL_CONTENT_BYTES_MAX;
use crate::meta::ranges::RangeSet;
use crate::meta::rows::{BaseVersion, ContentNo, ContentPlace, ContentRow};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tarn_proto::chunk::chunk_id;

impl Shared {
    pub(super) fn load(self: &Arc<Self>, no: ContentNo, row: ContentRow) -> io::Result<Arc<LocalContent>> {
        if let Some(content) = self.loaded(no) {
            return Ok(content);
        }
        let state = self.state_of(no, row, None)?;
        Ok(self.insert(no, state))
    }

    /// The state that a row speaks of; `found_bytes` is how long its file was before replay changed it.
    fn state_of(&self, no: ContentNo, row: ContentRow, found_bytes: Option<u64>) -> io::Result<State> {
        let mut state = State::absent(row.ino, row.size_bytes, row.base.clone());
        state.found_bytes = found_bytes;
        state.is_dirty = row.is_dirty;
        match row.place {
            ContentPlace::None if row.size_bytes <= SMALL_CONTENT_BYTES_MAX && row.is_dirty => {
                state.body = Body::Memory(vec![0; row.size_bytes as usize]);
                state.take_ranges(row.present, row.dirty);
            }
            ContentPlace::None => {}
            ContentPlace::Slab { offset, capacity_bytes } => {
                let slot = Slot { offset, capacity_bytes };
                self.slab.learn(slot);
                state.take_ranges(row.present, row.dirty);
                let (present, verified) = (state.present.clone(), AtomicBool::new(false));
                state.set_home(Home { slot, present, durable: true, failures: 0, verified });
            }
            ContentPlace::File => self.load_file(no, row, &mut state)?,
        }
        Ok(state)
    }

    fn load_file(&self, no: ContentNo, row: ContentRow, state: &mut State) -> io::Result<()> {
        let file = match self.disk.open(&self.layout.backing_path(no), OpenMode::Existing) {
            // Clean bytes can be fetched again.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !row.is_dirty => return Ok(()),
            // Logged before its name was synced, when it was made, or when what had been fetched to it was about to be written
            // to: nothing was said of any bytes yet.
            Err(e) if e.kind() == io::ErrorKind::NotFound && row.says_no_bytes_of_open() => {
                self.make_backing(no, row.size_bytes)?
            }
            other => other?,
        };
        let found_bytes = state.found_bytes.map_or_else(|| file.len_bytes(), Ok)?;
        state.found_bytes = Some(found_bytes);
        let was_open = row.open_for_writing;
        // A daemon that was killed may not have come to sync the folder of a file that it had just made.
        (state.is_named, state.has_durable_name) = (!was_open, !was_open);
        state.take_ranges(row.present, row.dirty);
        if was_open {
            state.open_for_writing = true;
            state.note_marked();
            let base_end = state.base_size().min(state.size_bytes);
            state.size_bytes = found_bytes;
            state.present.insert(base_end..state.size_bytes);
            state.present.remove(state.size_bytes..FAR);
            state.dirty = state.present.clone();
            state.unsynced = state.present.clone();
            state.is_dirty = true;
        }
        // At rest the file may have another length: replay has not come to its last row yet. The next
        // write puts that right.
        state.body = Body::File(file);
        Ok(())
    }
}

impl State {
    /// Takes the state of an older row of which nothing was here, before the backing file was made that it has now: later
    /// records are replayed to that.
    fn go_back_to(&mut self, row: ContentRow) {
        (self.ino, self.base, self.is_dirty) = (row.ino, row.base, row.is_dirty);
        (self.size_bytes, self.open_for_writing) = (row.size_bytes, row.open_for_writing);
        for set in [&mut self.present, &mut self.dirty, &mut self.unsynced, &mut self.syncing, &mut self.doubtful] {
            set.clear();
        }
    }

    /// Whether a small content has exactly the bytes of a clean row's version, wherever they are.
    fn holds_all(&self, row: &ContentRow, shared: &Shared) -> io::Result<bool> {
        let size = row.size_bytes;
        let (Some(base), true) = (&row.base, self.size_bytes == size && size <= SMALL_CONTENT_BYTES_MAX) else {
            return Ok(false);
        };
        let mut bytes = vec![0; size as usize];
        match (&self.body, &self.home) {
            _ if !self.present.covers(0..size) => return Ok(false),
            (Body::Memory(own), _) => bytes.copy_from_slice(&own[..size as usize]),
            (Body::Slab, Some(home)) => shared.slab.read(home.slot, &mut bytes, 0)?,
            _ => return Ok(false),
        }
        let entries = &base.content.manifest.entries;
        Ok(entries.first().map(|entry| entry.id) == (size > 0).then(|| chunk_id(&shared.key, &bytes)))
    }

    /// Takes ranges from a row; nothing lies beyond the end, and what is dirty is there.
    fn take_ranges(&mut self, present: RangeSet, dirty: RangeSet) {
        (self.present, self.dirty) = (present, dirty);
        for set in [&mut self.present, &mut self.dirty] {
            set.remove(self.size_bytes..FAR);
        }
        for range in self.dirty.iter() {
            self.present.insert(range);
        }
    }
}

impl Contents {
    /// Replays [`super::SmallLog::write`]. Records of contents that have no row any more are passed over.
    ///
    /// # Errors
    /// The disk's, or a record that cannot be.
    pub fn replay_write(&self, no: ContentNo, offset: u64, data: &[u8]) -> io::Result<()> {
        let Some(content) = self.replayed(no)? else { return Ok(()) };
        content.replay(|content, state| {
            let range = offset..offset + data.len() as u64;
            state.note_logged(range.clone(), 0);
            if let Body::File(file) = &state.body {
                file.write_at(data, offset)?;
            } else {
                content.memory_for(state, range.end)?[offset as usize..range.end as usize].copy_from_slice(data);
            }
            let old_size = state.size_bytes;
            state.size_bytes = old_size.max(range.end);
            state.note_written(offset.min(old_size)..range.end);
            Ok(())
        })
    }

    /// Replays [`super::SmallLog::resize`].
    ///
    /// # Errors
    /// The disk's, or a record that cannot be.
    pub fn replay_resize(&self, no: ContentNo, size_bytes: u64) -> io::Result<()> {
        let Some(content) = self.replayed(no)? else { return Ok(()) };
        content.replay(|content, state| {
            if let Body::File(file) = &state.body {
                // Bytes that were written later without being logged are in the file already; what was
                // logged before and is gone now must not stay.
                let gone = state.logged.within(size_bytes..FAR);
                gone.into_iter().try_for_each(|range| zero_in(file.as_ref(), range))?;
            } else {
                let old = content.memory_for(state, size_bytes.min(SMALL_CONTENT_BYTES_MAX + 1))?;
                old.resize(size_bytes as usize, 0);
            }
            state.note_resized(size_bytes);
            Ok(())
        })
    }

    /// Replays a row that was logged, in a unit of work or by [`super::SmallLog::mark_open`].
    ///
    /// # Errors
    /// The disk's.
    pub fn replay_row(&self, no: ContentNo, row: ContentRow) -> io::Result<()> {
        let Some(content) = self.replayed(no)? else { return self.shared.load(no, row).map(drop) };
        content.replay(|_, state| {
            // Of one whose bytes were borrowed nothing is here, and what changed since is told by later records.
            let has_nothing = row.place == ContentPlace::None && row.present.is_empty() && row.dirty.is_empty();
            let is_borrowed = has_nothing && row.base.as_ref().is_some_and(BaseVersion::is_borrowed);
            let is_file = matches!(state.body, Body::File(_));
            if is_file && row.place != ContentPlace::File {
                // Its backing file is newer; but what was borrowed, and how much, is told by this row alone.
                if is_borrowed {
                    state.go_back_to(row);
                }
                return Ok(());
            }
            let is_here = !is_borrowed && !matches!(state.body, Body::Nothing);
            if row.is_dirty && row.place != ContentPlace::File && is_here {
                // The bytes are here: from a newer slot, or replayed. The row knows what they mean; what
                // the slot's own row calls dirty may be newer than this one.
                (state.ino, state.base) = (row.ino, row.base.clone());
                state.is_dirty = true;
                row.dirty.iter().for_each(|range| state.dirty.insert(range));
                state.dirty.remove(state.size_bytes..FAR);
                state.present = state.dirty.iter().fold(std::mem::take(&mut state.present), |mut all, range| {
                    all.insert(range);
                    all
                });
                return Ok(());
            }
            if !row.is_dirty && state.holds_all(&row, &self.shared)? {
                // What came to rest before it was materialised: no row names its bytes, but replay brought them.
                (state.ino, state.base, state.is_dirty) = (row.ino, row.base, false);
                state.dirty.clear();
                return Ok(());
            }
            let logged = std::mem::take(&mut state.logged);
            *state = self.shared.state_of(no, row, state.found_bytes)?;
            state.logged = logged;
            Ok(())
        })
    }

    /// Ends replay: the sizes of files that were open for writing are those of their files.
    ///
    /// # Errors
    /// The disk's.
    pub fn replayed_all(&self) -> io::Result<()> {
        for content in self.shared.all_loaded() {
            content.replay(|_, state| {
                let Body::File(file) = &state.body else { return Ok(()) };
                if !state.logged.is_empty() {
                    // Replay has written these bytes anew, and the log is about to forget them.
                    file.sync_data()?;
                }
                let Some(length) = state.found_bytes.take() else { return Ok(()) };
                if !state.open_for_writing {
                    return file.set_len(state.size_bytes);
                }
                // Every change was made to the file before it was logged: its length is the newest there is.
                file.set_len(length)?;
                let old_size = state.size_bytes;
                if length != old_size {
                    state.note_resized(length);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn replayed(&self, no: ContentNo) -> io::Result<Option<Arc<LocalContent>>> {
        if let Some(content) = self.shared.loaded(no) {
            return Ok(Some(content));
        }
        self.shared.rows()?.load(no)?.map(|row| self.shared.load(no, row)).transpose()
    }
}

impl LocalContent {
    fn replay(&self, apply: impl FnOnce(&Self, &mut State) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state.write();
        let before = state.charge();
        let result = apply(self, &mut state);
        self.shared.budget.recount(before, state.charge());
        result
    }

    /// The bytes of a small content, in memory, at least up to `end`.
    fn memory_for<'a>(&self, state: &'a mut State, end: u64) -> io::Result<&'a mut Vec<u8>> {
        if end > SMALL_CONTENT_BYTES_MAX {
            return Err(damaged("a logged write is too large for a small content"));
        }
        match state.body {
            Body::Nothing => state.body = Body::Memory(vec![0; state.size_bytes.min(SMALL_CONTENT_BYTES_MAX) as usize]),
            _ => self.become_memory(state)?,
        }
        match &mut state.body {
            Body::Memory(bytes) => {
                let length = bytes.len().max(end as usize);
                bytes.resize(length, 0);
                Ok(bytes)
            }
            _ => Err(damaged("a small content is not in memory")),
        }
    }
}
