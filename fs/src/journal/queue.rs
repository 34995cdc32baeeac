//! Owns what waits to be materialised: one queue, first in, first out.

use crate::log::Lsn;
use crate::meta::RemoteWork;
use crate::meta::rows::{ContentNo, RowChange};
use std::collections::VecDeque;
use tarn_proto::change::Change;
use tokio::sync::oneshot;

/// Something to bring into the database.
#[derive(Debug)]
pub(super) enum Job {
    /// Rows of a unit of work.
    Rows(Vec<RowChange>),
    /// A small content was written or resized.
    Content(ContentNo),
    /// The rows of contents are wanted, though nothing was logged.
    Contents(Vec<ContentNo>),
    /// What came from the server.
    Remote(Box<RemoteWork>),
    /// Rows of a pull, kept aside.
    Stage(Vec<Change>),
    /// Forgets what was kept aside.
    DiscardStaged,
}

/// A job in its place.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) job: Job,
    /// The record that carries it; staging has none.
    pub(super) lsn: Option<Lsn>,
    pub(super) bytes: usize,
    /// Told once it is in the database.
    pub(super) done: Option<oneshot::Sender<()>>,
}

/// The queue, with the sums that go with it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) jobs: VecDeque<Pending>,
    /// Of jobs here and of the batch being written.
    pub(super) bytes: usize,
    /// Jobs ever put in.
    pub(super) put_count: u64,
    /// Jobs ever brought into the database.
    pub(super) done_count: u64,
    /// Somebody waits for everything to be written: do not gather.
    pub(super) hurry_count: usize,
    /// Many rows come, for which somebody waits: gather more of them.
    pub(super) rush_count: usize,
    pub(super) is_closing: bool,
    /// The materialiser's thread is gone for good; only the log still takes anything.
    pub(super) is_dead: bool,
}

impl Queue {
    /// Puts a job in its place.
    pub(super) fn put(&mut self, pending: Pending) {
        self.bytes += pending.bytes;
        self.put_count += 1;
        self.jobs.push_back(pending);
    }

    /// Takes everything: a batch holds all that was logged before it was taken (the sink counts on it).
    pub(super) fn take(&mut self) -> Vec<Pending> {
        std::mem::take(&mut self.jobs).into()
    }

    /// Notes that a batch is in the database.
    pub(super) fn settle(&mut self, batch: &[Pending]) {
        self.bytes -= batch.iter().map(|pending| pending.bytes).sum::<usize>();
        self.done_count += batch.len() as u64;
    }
}
