//! Owns what a device knows of a space's histories: where each began, and what the server lost of the one that the device
//! followed when it was put back to an older copy of itself.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::names::conflict_name;
use super::work::Work;
use crate::content::LocalContent;
use crate::meta::rows::RowChange;
use crate::meta::{MetaError, RemoteWork};
use std::sync::Arc;
use tarn_proto::api::{from_binary, to_binary};
use tarn_proto::change::Cursor;
use tarn_proto::ids::{EpochId, NodeId, VersionId};
use tarn_proto::lost::{EpochStart, Lost};
use tarn_proto::node::ByteString;

type Result<T> = std::result::Result<T, TreeError>;

/// Under which key the database has them.
const EPOCHS: &str = "epochs";
/// Under which key the database has the history of the first listing, until the first full pull is complete.
const LISTED: &str = "listed";

/// How a full pull ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Where the device stands.
    pub upto: Cursor,
    /// The space's histories, oldest first.
    pub epochs: Vec<EpochStart>,
    /// Up to which seq they are those that the device followed so far, if it came from another one.
    pub fork: Option<u64>,
}

impl Loaded {
    /// A pull that led to `upto` in the only history there is.
    pub fn first(upto: Cursor) -> Self {
        Self { upto, epochs: vec![EpochStart { epoch: upto.epoch, seq: 0 }], fork: None }
    }
}

type Kept = (String, Option<ByteString>);

/// Histories as they are kept.
fn kept(epochs: &[EpochStart]) -> Kept {
    (EPOCHS.to_owned(), Some(ByteString(to_binary(&epochs))))
}

/// Histories as they are kept when a full pull is complete: nothing of what listings brought is left then.
pub(super) fn kept_of_all(epochs: &[EpochStart]) -> Vec<Kept> {
    vec![kept(epochs), (LISTED.to_owned(), None)]
}

impl Session<'_> {
    /// What a queued removal of a folder had seen, and what is hidden since when, is told by seqs of a history that is gone: of
    /// that only what both have in common says anything.
    pub(super) fn forget_lost_seqs(&mut self, fork: u64) -> Result<()> {
        self.state.hidden.values_mut().for_each(|seq| *seq = fork.min(*seq));
        self.state.overlay.hide_from(fork);
        let work = Work { rows: self.queue_without_lost_seqs(fork), ..Work::default() };
        if work.rows.is_empty() { Ok(()) } else { self.commit(work).map(drop) }
    }

    /// The queue's rows that this changes.
    pub(super) fn queue_without_lost_seqs(&self, fork: u64) -> Vec<RowChange> {
        let mut rows = Vec::new();
        for (ticket, known) in &self.state.queue.ops {
            let mut queued = known.op.clone();
            let frozen = queued.frozen.iter_mut().flat_map(|operation| operation.kind.seen_mut());
            for seen in queued.op.seen_mut().chain(frozen) {
                seen.seq = seen.seq.map(|seq| seq.min(fork));
            }
            if queued != known.op {
                rows.push(RowChange::Queue(*ticket, Some(Box::new(queued))));
            }
        }
        rows
    }
}

fn malformed(error: rmp_serde::decode::Error) -> MetaError {
    MetaError::Malformed { table: "kv", detail: error.to_string() }
}

impl Tree {
    /// The histories that this device followed, oldest first; empty before it asks for the first time, and if its first full pull
    /// was made by a version that knew nothing of them.
    ///
    /// # Errors
    /// What the database says.
    pub fn epochs(&self) -> Result<Vec<EpochStart>> {
        let Some(bytes) = self.core.reader()?.kv(EPOCHS)? else { return Ok(Vec::new()) };
        Ok(from_binary(&bytes).map_err(malformed)?)
    }

    /// Notes the histories that answers are of which come before the first full pull is complete.
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn note_epochs(&self, epochs: &[EpochStart]) -> Result<()> {
        let work = RemoteWork { kv: vec![kept(epochs)], ..RemoteWork::default() };
        self.core.journal.submit_remote(work)?;
        Ok(self.core.journal.drain()?)
    }

    /// Takes note of the history that a listing is of; false if that is one which this device knows to be lost. Before the first
    /// full pull nothing else may say by which history's seqs the listed rows are known.
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn note_listed(&self, epoch: EpochId) -> Result<bool> {
        let cursor = self.cursor();
        if cursor.is_some_and(|cursor| cursor.epoch == epoch) {
            return Ok(true);
        }
        let epochs = self.epochs()?;
        let is_last = epochs.last().is_some_and(|last| last.epoch == epoch);
        if !is_last && epochs.iter().any(|known| known.epoch == epoch) {
            return Ok(false);
        }
        if cursor.is_none() && self.listed_epoch()?.is_none() {
            let kv = vec![(LISTED.to_owned(), Some(ByteString(to_binary(&epoch))))];
            self.core.journal.submit_remote(RemoteWork { kv, ..RemoteWork::default() })?;
            self.core.journal.drain()?;
        }
        Ok(true)
    }

    /// The history of the first listing, until the first full pull is complete.
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn listed_epoch(&self) -> Result<Option<EpochId>> {
        Ok(self.core.reader()?.kv(LISTED)?.map(|bytes| from_binary(&bytes).map_err(malformed)).transpose()?)
    }

    /// What is known of the server beyond `fork`, with the seqs, oldest first.
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn lost_since(&self, fork: u64) -> Result<Vec<(u64, Lost)>> {
        self.core.journal.drain()?;
        let mut lost = self.core.reader()?.lost_since(fork)?;
        let (device, now) = (self.identity().device_name, self.core.env.clock.wall());
        for (_, lost) in &mut lost {
            if let Lost::Node(lost) = lost {
                lost.alt_name = lost.places.first().map(|place| conflict_name(&place.name, &device, now, 0));
            }
        }
        Ok(lost)
    }

    /// The bytes of a version, if all of them are here and nobody wrote to them.
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn whole_content(&self, node: NodeId, version: VersionId) -> Result<Option<Arc<LocalContent>>> {
        self.edit(|session| {
            let Some(ino) = session.known_ino(node)? else { return Ok(None) };
            let content = session.local_content(ino)?;
            Ok(content.filter(|content| {
                let is_it = content.base().is_some_and(|base| base.content.version == version);
                is_it && content.is_complete() && !content.is_dirty()
            }))
        })
    }
}
