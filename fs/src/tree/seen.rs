//! Owns what queued operations say had been seen of what they lift from its place: that is said when they are queued, and
//! grows by what this device brings before them. What others made, and a program opened here since, does not count.

use super::load::Session;
use crate::meta::rows::{Ino, LocalOp, QueuedOp, RowChange, Ticket};
use tarn_proto::op::Seen;
use tarn_proto::version::VersionVector;

impl LocalOp {
    /// What it says had been seen of what it lifts from its place; in the order of [`LocalOp::lifted`].
    pub(super) fn seen_mut(&mut self) -> impl Iterator<Item = &mut Seen> {
        let (first, second) = match self {
            Self::Unlink { seen, .. } => (Some(seen), None),
            Self::Rename { seen, displaced, .. } => (Some(seen), displaced.as_mut().map(|(_, seen)| seen)),
            Self::Create { .. } | Self::Write { .. } | Self::SetAttr { .. } | Self::Link { .. } => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Whoever did this had seen so much of a file as well; whether it says anything of that.
    fn add_seen(&mut self, file: Ino, vector: &VersionVector) -> bool {
        let is_of: Vec<bool> = self.lifted().map(|(ino, ..)| ino == file).collect();
        let is_said = is_of.contains(&true);
        for (seen, _) in self.seen_mut().zip(is_of).filter(|(_, is_of)| *is_of) {
            seen.vector = std::mem::take(&mut seen.vector).joined(vector);
        }
        is_said
    }
}

impl Session<'_> {
    /// The server has a file's bytes of this device, as this version: whoever removed or replaced the file here after that
    /// was queued had seen them.
    pub(super) fn note_seen_later(&self, ino: Ino, brought: Ticket, vector: &VersionVector, rows: &mut Vec<RowChange>) {
        for (later, _) in self.state.queue.of_ino(ino).filter(|(ticket, _)| *ticket > brought) {
            if let Some(mut queued) = self.op_after(rows, later)
                && queued.op.add_seen(ino, vector)
            {
                rows.push(RowChange::Queue(later, Some(Box::new(queued))));
            }
        }
    }

    /// A queued operation as a unit of work leaves it so far; `None`: it is not queued any more.
    pub(super) fn op_after(&self, rows: &[RowChange], ticket: Ticket) -> Option<QueuedOp> {
        let staged = rows.iter().rev().find_map(|change| match change {
            RowChange::Queue(other, op) if *other == ticket => Some(op.as_deref().cloned()),
            _ => None,
        });
        staged.unwrap_or_else(|| self.state.queue.ops.get(&ticket).map(|queued| queued.op.clone()))
    }
}
