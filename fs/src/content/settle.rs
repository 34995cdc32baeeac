//! Owns how a content comes to rest: synced, acknowledged by the server, or moved to another version.

use super::local::LocalContent;
use super::seams::ContentError;
use super::state::{Body, FAR, Since, State};
use super::store::Contents;
use super::synced;
use crate::env::DiskFile;
use crate::meta::rows::{BaseVersion, ContentNo, ContentRow};
use std::io;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

/// What is left after the server has acknowledged a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// Nothing was written since: the content is clean.
    Clean,
    /// There is more to push. Also when it is not known any more what was written since (the
    /// snapshot was taken before a restart): the next push finds out.
    Dirty,
}

/// Attempts to catch a quiet moment between two writes before writers are kept out.
const QUIET_TRIES: usize = 3;

impl LocalContent {
    /// Makes written bytes durable. Of a small content they are in the log: that must be synced as well,
    /// and for a file that was opened for writing since it was synced.
    ///
    /// # Errors
    /// The disk's, also one that an earlier call was told, until the bytes that it concerns are written again, or are on
    /// the server. Clean bytes that were not durable yet then count as lost.
    pub fn sync(&self) -> io::Result<()> {
        self.sync_undoubted()?;
        if self.state.read().doubtful.is_empty() { Ok(()) } else { Err(synced::lost()) }
    }

    /// The same, without a word of bytes that an earlier sync should have written and did not.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync_undoubted(&self) -> io::Result<()> {
        let _one_at_a_time = self.sync_gate.lock();
        let (file, is_named, seen, generation) = {
            let mut state = self.state.write();
            let Body::File(file) = &state.body else { return Ok(()) };
            if state.is_synced() {
                // The kernel asks after each write that was to be durable when it returned, and was.
                return Ok(());
            }
            let file = file.clone();
            state.syncing = mem::take(&mut state.unsynced);
            (file, state.is_named, state.failures_seen, state.generation)
        };
        let synced = self.syncs.sync(file.as_ref(), seen);
        {
            let mut state = self.state.write();
            if synced.is_err() {
                self.lose_unsynced(&mut state);
            }
            state.syncing.clear();
            state.synced_at = synced.is_ok().then_some(generation);
        }
        synced?;
        if !is_named {
            self.shared.sync_name(self.no)?;
            let mut state = self.state.write();
            (state.is_named, state.has_durable_name) = (true, true);
        }
        Ok(())
    }

    /// Makes durable what was written to the backing file, with the state locked.
    pub(super) fn sync_locked(&self, file: &dyn DiskFile, state: &mut State) -> io::Result<()> {
        let synced = self.syncs.sync(file, state.failures_seen);
        if synced.is_err() {
            self.lose_unsynced(state);
        }
        synced
    }

    /// A sync failed: of all that was written before, nobody knows what the disk has.
    fn lose_unsynced(&self, state: &mut State) {
        let before = state.charge();
        state.failures_seen = self.syncs.failures();
        state.synced_at = None;
        for range in mem::take(&mut state.unsynced).iter().chain(mem::take(&mut state.syncing).iter()) {
            for clean in state.dirty.gaps(range.clone()) {
                state.present.remove(clean);
            }
            state.dirty.within(range).into_iter().for_each(|dirty| state.doubtful.insert(dirty));
        }
        self.shared.budget.recount(before, state.charge());
    }

    /// Brings the backing file to rest: synced, size and dirty ranges known. The row that it returns is to
    /// be logged or committed; the next write marks the file again. Called after the last close.
    ///
    /// # Errors
    /// The disk's.
    pub fn settle(&self) -> io::Result<ContentRow> {
        for _ in 0..QUIET_TRIES {
            if self.is_settled(&self.state.read()) {
                break;
            }
            self.sync()?;
        }
        let mut state = self.state.write();
        if let Body::File(file) = &state.body
            && !self.is_settled(&state)
        {
            let file = file.clone();
            self.sync_locked(file.as_ref(), &mut state)?;
            state.unsynced.clear();
            if !state.doubtful.is_empty() {
                return Err(synced::lost());
            }
        }
        state.open_for_writing &= state.exposed.is_some();
        Ok(state.row())
    }

    fn is_settled(&self, state: &State) -> bool {
        !matches!(state.body, Body::File(_))
            || (state.is_named && [&state.unsynced, &state.syncing, &state.doubtful].iter().all(|set| set.is_empty()))
    }

    /// The server has what the snapshot of this generation was: what was not written since is clean now,
    /// of the new base; the rest stays dirty against it. After a restart nobody knows which snapshot that was, nor what was
    /// written since. [`Contents::make_room`] for
    /// [`Self::dirty_bytes`] comes first, for clean bytes count against the budget. Logs the row, in its place
    /// between what was written before and after.
    ///
    /// # Errors
    /// The disk's or the log's; it can be called again.
    pub fn acknowledged(&self, generation: Option<u64>, new_base: BaseVersion) -> io::Result<Acknowledged> {
        self.sync_undoubted()?;
        let mut guard = self.state.write();
        let state = &mut *guard;
        let before = state.charge();
        // A version of another size is not what that snapshot was: nobody knows what was written since it.
        let is_its = |since: &Since| Some(since.generation) == generation && since.size_bytes == new_base.content.size;
        let since = state.since.iter().position(is_its);
        self.shared.sources.note(self.no, &new_base);
        state.base = Some(new_base);
        if let Some(index) = since {
            let since = state.since.drain(..=index).next_back();
            let size_bytes = state.size_bytes;
            state.is_dirty = since.as_ref().is_some_and(|since| since.resized || !since.written.is_empty());
            state.dirty = since.map(|since| since.written).unwrap_or_default();
            state.dirty.remove(size_bytes..FAR);
        }
        state.drop_doubtful_clean();
        if !state.is_dirty && self.is_settled(state) {
            // The next write marks it again.
            state.open_for_writing = state.exposed.is_some();
        }
        state.restrict_marked();
        self.shared.budget.recount(before, state.charge());
        self.shared.enlist(self.no, state);
        state.noted_upto = self.shared.log()?.note(self.no, &state.row())?;
        Ok(if state.is_dirty { Acknowledged::Dirty } else { Acknowledged::Clean })
    }

    /// Makes a clean content one of another version that has the same bytes; whether it is one now.
    ///
    /// # Errors
    /// The log's; it shows the old version still.
    pub fn rebind(&self, base: &BaseVersion) -> io::Result<bool> {
        let mut state = self.state.write();
        let has_same = |own: &BaseVersion| {
            own.content.content_id == base.content.content_id && own.content.size == base.content.size
        };
        if state.is_dirty || state.is_removed || !state.base.as_ref().is_some_and(has_same) {
            return Ok(false);
        }
        let before = state.base.replace(base.clone());
        match self.shared.log().and_then(|log| log.note(self.no, &state.row())) {
            Ok(place) => state.noted_upto = place,
            Err(e) => {
                state.base = before;
                return Err(e);
            }
        }
        Ok(true)
    }
}

impl State {
    /// Limits what recovery counts as there to what both the rows before and a row made now say.
    fn restrict_marked(&mut self) {
        if !self.open_for_writing {
            return;
        }
        let before = mem::take(&mut self.marked);
        self.note_marked();
        for gap in before.gaps(0..FAR) {
            self.marked.remove(gap);
        }
    }

    /// What the disk may not have and the server has is fetched again.
    fn drop_doubtful_clean(&mut self) {
        for range in mem::take(&mut self.doubtful).iter() {
            self.dirty.gaps(range.clone()).into_iter().for_each(|clean| self.present.remove(clean));
            self.dirty.within(range).into_iter().for_each(|dirty| self.doubtful.insert(dirty));
        }
    }

    fn is_only(&self, kept: &[Range<u64>]) -> bool {
        let mut outside = self.present.clone();
        kept.iter().for_each(|range| outside.remove(range.clone()));
        outside.is_empty()
    }
}

impl Contents {
    /// Moves a clean content to another version: what lies in `kept` is the same in both
    /// ([`super::unchanged_ranges`]), the rest is dropped. The new row is to be committed with the cut.
    ///
    /// # Errors
    /// `Dirty` if it is dirty, or held; else the disk's or the database's. The content then shows the
    /// old version still.
    pub fn rebase(&self, no: ContentNo, new_base: BaseVersion, kept: &[Range<u64>]) -> Result<(), ContentError> {
        let content = self.shared.get(no)?;
        let _one_at_a_time = self.shared.evicting.lock();
        if content.state.read().open_for_writing {
            content.settle()?;
        }
        let is_small = !matches!(content.state.read().body, Body::File(_));
        let whole = 0..new_base.content.size;
        let keeps_all = kept.len() == 1 && kept[0] == whole && content.size_bytes() == whole.end;
        let kept = if is_small && !keeps_all { &[] } else { kept };
        if content.is_dirty() {
            return Err(ContentError::Dirty);
        }
        self.shared.drop_outside(&content, kept)?;
        self.switch(&content, new_base, kept)
    }

    fn switch(
        &self,
        content: &Arc<LocalContent>,
        new_base: BaseVersion,
        kept: &[Range<u64>],
    ) -> Result<(), ContentError> {
        let mut guard = content.state.write();
        let state = &mut *guard;
        let keeps_size = new_base.content.size == state.size_bytes;
        if matches!(state.body, Body::Memory(_)) && !state.is_dirty && !(keeps_size && state.is_only(kept)) {
            // Clean, but not materialised yet: no row names its bytes but those of an older slot.
            self.shared.retired.lock().extend(state.home.take().map(|home| home.slot));
            state.body = Body::Nothing;
            state.present.clear();
        }
        if state.is_dirty || content.is_in_use(state) || !state.is_only(kept) {
            return Err(ContentError::Dirty);
        }
        if let Body::File(file) = &state.body {
            let file = file.clone();
            content.ask_less(file.as_ref(), state, new_base.content.size)?;
            file.set_len(new_base.content.size)?;
        }
        LocalContent::spoil_snapshots(state);
        state.since.clear();
        state.size_bytes = new_base.content.size;
        state.base = Some(new_base);
        state.generation += 1;
        Ok(())
    }
}
