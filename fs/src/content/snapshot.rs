//! Owns snapshots: a content as it was at one moment, readable while programs go on writing.
//!
//! A small content's snapshot has its own bytes. A larger one shares the backing file: whoever is about to
//! change bytes that the snapshot may still want sets the old ones aside first, up to a bound.

use super::local::LocalContent;
use super::seams::SnapshotError;
use super::state::{Body, Since, State};
use crate::meta::ranges::RangeSet;
use crate::meta::rows::BaseVersion;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Bytes set aside for one snapshot before it is given up.
const ASIDE_BYTES_MAX: usize = 64 << 20;
/// Snapshots whose changes since are remembered for [`LocalContent::acknowledged`].
const SINCE_MAX: usize = 4;

/// What a snapshot of a backing file shares with its content.
#[derive(Debug)]
pub(super) struct Freeze {
    size_bytes: u64,
    aside: Mutex<Aside>,
}

#[derive(Debug)]
struct Aside {
    /// Bytes that the snapshot may still be asked for.
    wanted: RangeSet,
    /// Old bytes, by where they start.
    pieces: BTreeMap<u64, Vec<u8>>,
    /// What `pieces` cover.
    covered: RangeSet,
    bytes: usize,
    is_stale: bool,
}

/// A content at one moment.
#[derive(Debug)]
pub struct Snapshot {
    content: Arc<LocalContent>,
    generation: u64,
    size_bytes: u64,
    base: Option<BaseVersion>,
    dirty: Vec<Range<u64>>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Own { bytes: Bytes, present: RangeSet },
    Shared(Arc<Freeze>),
}

impl LocalContent {
    /// Freezes the content as it is now.
    ///
    /// # Errors
    /// The disk's.
    pub fn snapshot(self: &Arc<Self>) -> io::Result<Snapshot> {
        let mut guard = self.state.write();
        let state = &mut *guard;
        let source = match &state.body {
            Body::File(_) => Source::Shared(Self::freeze(state)),
            Body::Nothing if state.size_bytes > 0 => Source::Shared(Self::freeze(state)),
            _ => {
                let is_there = !state.is_unverified() || self.verify_locked(state)?;
                let mut bytes = vec![0; state.size_bytes as usize];
                if is_there && !bytes.is_empty() {
                    self.read_present(state, &mut bytes, 0)?;
                }
                Source::Own { bytes: bytes.into(), present: state.present.clone() }
            }
        };
        let (generation, size_bytes) = (state.generation, state.size_bytes);
        state.since.push(Since { generation, size_bytes, written: RangeSet::new(), resized: false });
        if state.since.len() > SINCE_MAX {
            state.since.remove(0);
        }
        Ok(Snapshot {
            content: self.clone(),
            generation: state.generation,
            size_bytes: state.size_bytes,
            base: state.base.clone(),
            dirty: state.dirty.iter().collect(),
            source,
        })
    }

    fn freeze(state: &mut State) -> Arc<Freeze> {
        let wanted = RangeSet::of(0..state.size_bytes);
        let aside = Aside { wanted, pieces: BTreeMap::new(), covered: RangeSet::new(), bytes: 0, is_stale: false };
        let freeze = Arc::new(Freeze { size_bytes: state.size_bytes, aside: Mutex::new(aside) });
        state.freezes.retain(|freeze| freeze.strong_count() > 0);
        state.freezes.push(Arc::downgrade(&freeze));
        freeze
    }

    /// Saves what snapshots want of a range that is about to change.
    pub(super) fn set_aside(&self, state: &mut State, range: Range<u64>) -> io::Result<()> {
        if state.freezes.is_empty() {
            return Ok(());
        }
        state.freezes.retain(|freeze| freeze.strong_count() > 0);
        for freeze in state.freezes.iter().filter_map(std::sync::Weak::upgrade) {
            let mut aside = freeze.aside.lock();
            let range = range.start..range.end.min(freeze.size_bytes);
            for wanted in aside.wanted.within(range) {
                for part in aside.covered.gaps(wanted) {
                    self.set_part_aside(state, &mut aside, part)?;
                }
            }
        }
        Ok(())
    }

    fn set_part_aside(&self, state: &State, aside: &mut Aside, part: Range<u64>) -> io::Result<()> {
        let length = (part.end - part.start) as usize;
        if aside.is_stale || !state.present.covers(part.clone()) || aside.bytes + length > ASIDE_BYTES_MAX {
            // Old bytes that are not here would have to be fetched: the snapshot is given up instead.
            aside.is_stale = true;
            aside.pieces.clear();
            return Ok(());
        }
        let mut bytes = vec![0; length];
        self.read_present(state, &mut bytes, part.start)?;
        aside.bytes += length;
        aside.covered.insert(part.clone());
        aside.pieces.insert(part.start, bytes);
        Ok(())
    }

    /// Gives up every snapshot of the backing file.
    pub(super) fn spoil_snapshots(state: &mut State) {
        for freeze in state.freezes.drain(..).filter_map(|freeze| freeze.upgrade()) {
            freeze.aside.lock().is_stale = true;
        }
    }
}

impl Snapshot {
    /// The content.
    pub fn content(&self) -> &Arc<LocalContent> {
        &self.content
    }

    /// The count of changes that are in it; for [`LocalContent::acknowledged`].
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The size then.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The base then.
    pub fn base(&self) -> Option<&BaseVersion> {
        self.base.as_ref()
    }

    /// What differed from the base then: ordered and apart. Bytes beyond the base's size are not all in it.
    pub fn dirty(&self) -> &[Range<u64>] {
        &self.dirty
    }

    /// Says that only these ranges will be read from now on: no others are set aside.
    pub fn narrow(&self, wanted: RangeSet) {
        if let Source::Shared(freeze) = &self.source {
            freeze.aside.lock().wanted = wanted;
        }
    }

    /// Reads exactly these bytes as they were.
    ///
    /// # Errors
    /// `Missing` if some are not local, `Stale` if they are gone.
    pub fn read_at(&self, range: Range<u64>) -> Result<Bytes, SnapshotError> {
        if range.end > self.size_bytes || range.start > range.end {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match &self.source {
            Source::Own { bytes, present } if present.covers(range.clone()) => {
                Ok(bytes.slice(range.start as usize..range.end as usize))
            }
            Source::Own { present, .. } => self.read_filled(present, range),
            Source::Shared(freeze) => self.read_shared(freeze, range),
        }
    }

    /// Reads a small content that was not all here when it was frozen.
    fn read_filled(&self, present: &RangeSet, range: Range<u64>) -> Result<Bytes, SnapshotError> {
        let content = &self.content;
        if content.generation() != self.generation {
            return Err(SnapshotError::Stale);
        }
        let missing = content.missing(range.clone());
        if !missing.is_empty() {
            return Err(SnapshotError::Missing(missing));
        }
        let read = content.read(range.start, (range.end - range.start) as usize)?;
        match read {
            super::Read::Bytes(bytes) if content.generation() == self.generation => Ok(bytes),
            super::Read::Bytes(_) => Err(SnapshotError::Stale),
            super::Read::Missing(_) => Err(SnapshotError::Missing(present.gaps(range))),
        }
    }

    fn read_shared(&self, freeze: &Freeze, range: Range<u64>) -> Result<Bytes, SnapshotError> {
        let state = self.content.state.read();
        let aside = freeze.aside.lock();
        if aside.is_stale {
            return Err(SnapshotError::Stale);
        }
        let mut missing = Vec::new();
        for part in aside.covered.gaps(range.clone()) {
            missing.extend(state.present.gaps(part));
        }
        if !missing.is_empty() {
            return Err(SnapshotError::Missing(missing));
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        for part in aside.covered.gaps(range.clone()) {
            let slice = &mut bytes[(part.start - range.start) as usize..(part.end - range.start) as usize];
            self.content.read_present(&state, slice, part.start)?;
        }
        for part in aside.covered.within(range.clone()) {
            aside.copy(&part, &mut bytes[(part.start - range.start) as usize..(part.end - range.start) as usize]);
        }
        Ok(bytes.into())
    }
}

impl Aside {
    /// Copies covered bytes out of the pieces that hold them.
    fn copy(&self, part: &Range<u64>, out: &mut [u8]) {
        let first = self.pieces.range(..=part.start).next_back().map_or(part.start, |(&start, _)| start);
        for (&start, piece) in self.pieces.range(first..part.end) {
            let from = start.max(part.start);
            let to = (start + piece.len() as u64).min(part.end);
            if from < to {
                out[(from - part.start) as usize..(to - part.start) as usize]
                    .copy_from_slice(&piece[(from - start) as usize..(to - start) as usize]);
            }
        }
    }
}
