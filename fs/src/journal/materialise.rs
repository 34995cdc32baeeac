//! Owns bringing a batch into the database: contents first, then the log is made durable, then one
//! transaction, then the log is freed. After any failure the same batch may be tried again.
//!
//! The log is synced before the transaction because contents may be newer than the batch: the
//! database must never hold what a power cut could take out of the log.

use super::error::JournalError;
use super::fold::Folded;
use super::queue::{Job, Pending};
use super::sink::RecoverySink;
use crate::log::{Log, Lsn};
use crate::meta::rows::RowChange;
use crate::meta::{Marks, Writer};

/// What writes the database.
pub(super) struct Materialiser {
    pub(super) writer: Writer,
    pub(super) sink: Box<dyn RecoverySink>,
    pub(super) applied: Lsn,
}

impl Materialiser {
    /// Brings a batch into the database. `log` is `None` while recovering.
    pub(super) fn apply(&mut self, batch: &[Pending], log: Option<&Log>) -> Result<Lsn, JournalError> {
        let folded = fold(batch);
        let (touched, removed) = folded.contents();
        let described = if touched.is_empty() {
            Vec::new()
        } else {
            self.sink.materialise(&touched).map_err(JournalError::Content)?
        };
        if let Some(log) = log {
            sync_ahead(log);
        }
        let described: Vec<_> =
            described.into_iter().map(|(no, row)| RowChange::Content(no, Some(Box::new(row)))).collect();
        let upto = batch.iter().filter_map(|pending| pending.lsn).next_back().unwrap_or(self.applied);
        self.transact(batch, &folded, &described, upto)?;
        self.applied = upto;
        self.sink.committed(&removed);
        Ok(upto)
    }

    /// The highest numbers ever used.
    pub(super) fn marks(&self) -> Marks {
        self.writer.marks()
    }

    fn transact(
        &mut self,
        batch: &[Pending],
        folded: &Folded<'_>,
        described: &[RowChange],
        upto: Lsn,
    ) -> Result<(), JournalError> {
        let mut unit = self.writer.unit()?;
        for pending in batch {
            match &pending.job {
                Job::Remote(work) => unit.apply_remote(work)?,
                Job::Stage(changes) => unit.stage(changes)?,
                Job::DiscardStaged => unit.discard_staged()?,
                Job::Rows(_) | Job::Content(_) | Job::Contents(_) => {}
            }
        }
        unit.apply_rows(folded.rows())?;
        unit.apply_rows(described)?;
        Ok(unit.commit(upto.0)?)
    }
}

fn fold(batch: &[Pending]) -> Folded<'_> {
    let mut folded = Folded::default();
    for pending in batch {
        match &pending.job {
            Job::Rows(rows) => folded.add(rows),
            Job::Remote(work) => folded.add(&work.rows),
            Job::Content(no) => folded.touch(*no),
            Job::Contents(numbers) => numbers.iter().for_each(|&no| folded.touch(no)),
            Job::Stage(_) | Job::DiscardStaged => {}
        }
    }
    folded
}

/// A log that fails does not keep what was accepted from the database: that is now the safer place.
fn sync_ahead(log: &Log) {
    if let Err(e) = log.sync(log.last()) {
        tracing::warn!(error = %e, "the local log cannot be synced; going on to the database");
    }
}
