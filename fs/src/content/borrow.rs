//! Owns a content that takes over a range of another's version: its chunks are named, and nothing is moved.
//!
//! What is borrowed is read, fetched, verified and uploaded as an edit of the version that it comes from would be: all
//! of it stays. The vector of such a base is empty ([`BaseVersion::is_borrowed`]): it is no version of this file.

use super::local::LocalContent;
use super::state::Body;
use crate::limits::SMALL_CONTENT_BYTES_MAX;
use crate::meta::rows::BaseVersion;
use std::io;
use std::mem;
use std::ops::Range;
use tarn_proto::version::VersionVector;

impl LocalContent {
    /// What another content may borrow of a range of this one, from the same offset on: the version, and how far. `None` if
    /// programs changed any byte of this one, or if all of the range is here and is better copied.
    pub fn lends(&self, range: &Range<u64>) -> Option<(BaseVersion, u64)> {
        let state = self.state.read();
        let end = range.end.min(state.size_bytes).min(state.base_size());
        let is_lent = state.dirty.is_empty() && range.start < end && !state.present.covers(range.start..end);
        let base = state.base.as_ref().filter(|_| is_lent)?;
        Some((BaseVersion { content: base.content.clone(), vector: VersionVector::default() }, end))
    }

    /// Goes on with a version's bytes up to `end`: from the start if it is empty, else where it stopped to borrow from the
    /// same version. Whether it did. Logged when this returns, like a write; the caller has let the log make room.
    ///
    /// # Errors
    /// The log's; nothing has changed then.
    pub fn borrow(&self, from: &BaseVersion, range: &Range<u64>) -> io::Result<bool> {
        let mut guard = self.state.write();
        let state = &mut *guard;
        let goes_on = state.base.as_ref() == Some(from) && matches!(state.body, Body::Nothing);
        let is_fit = state.size_bytes == range.start && state.dirty.is_empty() && (range.start == 0 || goes_on);
        if !is_fit || state.is_removed || matches!(state.body, Body::File(_)) {
            return Ok(false);
        }
        let is_small = range.end <= SMALL_CONTENT_BYTES_MAX;
        let body = if is_small { Body::Memory(vec![0; range.end as usize]) } else { Body::Nothing };
        let before = (mem::replace(&mut state.body, body), state.base.replace(from.clone()), state.home.take());
        let (size_bytes, was_dirty) = (mem::replace(&mut state.size_bytes, range.end), state.is_dirty);
        state.is_dirty = true;
        state.present.clear();
        match self.shared.log().and_then(|log| log.note(self.no, &state.row())) {
            Ok(place) => state.noted_upto = place,
            Err(e) => {
                (state.body, state.base, state.home) = before;
                (state.size_bytes, state.is_dirty) = (size_bytes, was_dirty);
                return Err(e);
            }
        }
        self.shared.retired.lock().extend(before.2.map(|home| home.slot));
        state.generation += 1;
        state.since.iter_mut().for_each(|since| since.resized = true);
        Ok(true)
    }

    /// These bytes are another file's from now on: what they were made from is no version of that one. Logged when this
    /// returns.
    ///
    /// # Errors
    /// The log's; nothing has changed then.
    pub fn leave_file(&self) -> io::Result<()> {
        let mut state = self.state.write();
        let Some(own) = state.base.clone().filter(|base| !base.is_borrowed()) else { return Ok(()) };
        state.base = Some(BaseVersion { content: own.content.clone(), vector: VersionVector::default() });
        match self.shared.log().and_then(|log| log.note(self.no, &state.row())) {
            Ok(place) => state.noted_upto = place,
            Err(e) => {
                state.base = Some(own);
                return Err(e);
            }
        }
        Ok(())
    }
}
