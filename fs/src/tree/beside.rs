//! Owns what queued operations say of a node that the server has beside the name that they know: that was taken when an
//! earlier operation of this device brought the node there, and it got that one's `alt_name`.
//!
//! An operation that was not sent yet is told when the earlier one is answered; one that goes out before says which name
//! the earlier one brought.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::state::Queued;
use crate::meta::RemoteWork;
use crate::meta::rows::{Ino, LocalOp, RowChange, Ticket};
use tarn_proto::api::Answer;
use tarn_proto::change::Row;
use tarn_proto::name::Name;
use tarn_proto::op::{OpKind, RenameMode, Seen};

type Result<T> = std::result::Result<T, TreeError>;

/// A node in its place.
type Standing<'a> = (Ino, Ino, &'a Name);

impl LocalOp {
    /// What it lifts from its place; in the order of [`OpKind::seen_mut`].
    pub(super) fn lifted(&self) -> impl Iterator<Item = Standing<'_>> {
        let (first, second) = match self {
            Self::Unlink { parent, name, ino, .. } => (Some((*ino, *parent, name)), None),
            Self::Rename { ino, parent, name, to_parent, to_name, displaced, .. } => {
                let displaced = displaced.as_ref().map(|(other, _)| (*other, *to_parent, to_name));
                (Some((*ino, *parent, name)), displaced)
            }
            Self::Create { .. } | Self::Write { .. } | Self::SetAttr { .. } | Self::Link { .. } => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// How many names it takes from a file, and how many it gives it.
    fn takes_and_gives(&self, file: Ino) -> (usize, usize) {
        let taken = self.lifted().filter(|(ino, ..)| *ino == file).count();
        let given = match self {
            Self::Create { ino, .. } | Self::Link { ino, .. } => usize::from(*ino == file),
            Self::Rename { mode: RenameMode::Exchange, .. } => taken,
            Self::Rename { ino, .. } => usize::from(*ino == file),
            Self::Write { .. } | Self::SetAttr { .. } | Self::Unlink { .. } => 0,
        };
        (taken, given)
    }

    /// Whether it brings a node to a place.
    fn brings(&self, standing: Standing<'_>) -> bool {
        match self {
            Self::Create { ino, parent, name } | Self::Link { ino, parent, name } => (*ino, *parent, name) == standing,
            Self::Rename { ino, parent, name, to_parent, to_name, displaced, mode, .. } => {
                let other = displaced.as_ref().filter(|_| *mode == RenameMode::Exchange);
                (*ino, *to_parent, to_name) == standing
                    || other.is_some_and(|(other, _)| (*other, *parent, name) == standing)
            }
            Self::Write { .. } | Self::SetAttr { .. } | Self::Unlink { .. } => false,
        }
    }
}

impl Session<'_> {
    /// Whether a person has removed a file, and what is queued takes all names that it has by what the server has said: a name
    /// that it has for a moment, between two answers say, is none that somebody wants.
    pub(super) fn is_to_go(&mut self, ino: Ino) -> Result<bool> {
        let ops = self.state.queue.of_ino(ino).map(|(_, queued)| queued.op.op.takes_and_gives(ino));
        let ops: Vec<(usize, usize)> = ops.filter(|(taken, given)| taken + given > 0).collect();
        if ops.last().is_none_or(|(taken, given)| taken <= given) {
            return Ok(false);
        }
        let Some(node) = self.inode(ino)?.node else { return Ok(false) };
        let (taken, given) = ops.iter().fold((0, 0), |(taken, given), op| (taken + op.0, given + op.1));
        Ok(self.remote_places(node)?.len() + given <= taken)
    }

    /// Tells an operation that is about to be sent which names its nodes have if the earlier operations that brought them
    /// to their places find those taken.
    pub(super) fn tell_names_beside(
        &mut self,
        ticket: Ticket,
        op: &LocalOp,
        kind: &mut OpKind,
        tree: &Tree,
    ) -> Result<()> {
        for (standing, seen) in op.lifted().zip(kind.seen_mut()) {
            if let Some(name) = self.name_beside(ticket, standing, tree)? {
                seen.alt_name = Some(name);
            }
        }
        Ok(())
    }

    fn name_beside(&mut self, before: Ticket, standing: Standing<'_>, tree: &Tree) -> Result<Option<Name>> {
        let (_, parent, name) = standing;
        let brought = |(ticket, queued): &(Ticket, &Queued)| *ticket < before && queued.op.op.brings(standing);
        let found = self.state.queue.of_place(parent, name).rev().find(brought).map(|(_, queued)| queued.op.clone());
        let Some(mut queued) = found else { return Ok(None) };
        match queued.frozen {
            Some(operation) => Ok(operation.alt_name),
            None => self.alt_name(&mut queued, tree),
        }
    }

    /// Later operations that know a node by a name that was taken learn the one that it got.
    pub(super) fn note_names_beside(&mut self, ticket: Ticket, answer: &Answer, work: &mut RemoteWork) {
        let Some(queued) = self.state.queue.ops.get(&ticket) else { return };
        let Some(given) = queued.op.frozen.as_ref().and_then(|frozen| frozen.alt_name.clone()) else { return };
        let is_given = |row: &Row| matches!(row, Row::Entry { name, node: Some(_), .. } if *name == given);
        if !answer.changes.iter().any(|change| is_given(&change.row)) {
            return;
        }
        for (later, queued) in self.later_than(ticket) {
            if queued.op.frozen.is_some() {
                continue; // it went out with the name
            }
            let mut patched = self.op_after(&work.rows, later).unwrap_or_else(|| queued.op.clone());
            if self.tell_later(ticket, &queued.op.op, patched.op.seen_mut(), &given) {
                work.rows.push(RowChange::Queue(later, Some(Box::new(patched))));
            }
        }
    }

    /// The same for those that were sent with another name and skipped, because the server asked for this one.
    pub(super) fn renamed_beside(&self, ticket: Ticket, given: &Name) -> Vec<RowChange> {
        let mut rows = Vec::new();
        for (later, queued) in self.later_than(ticket) {
            let mut patched = queued.op.clone();
            let Some(frozen) = patched.frozen.as_mut() else { continue };
            if self.tell_later(ticket, &queued.op.op, frozen.kind.seen_mut(), given) {
                rows.push(RowChange::Queue(later, Some(Box::new(patched))));
            }
        }
        rows
    }

    /// Operations after this one that lift something from a place that this one is about.
    fn later_than(&self, ticket: Ticket) -> Vec<(Ticket, Queued)> {
        let Some(queued) = self.state.queue.ops.get(&ticket) else { return Vec::new() };
        let mut later: Vec<Ticket> = Vec::new();
        for (parent, name) in queued.op.op.places() {
            let there = self.state.queue.of_place(parent, name).map(|(ticket, _)| ticket);
            later.extend(there.filter(|other| *other > ticket));
        }
        later.sort_unstable();
        later.dedup();
        let found = later.into_iter().filter_map(|ticket| Some((ticket, self.state.queue.ops.get(&ticket)?.clone())));
        found.collect()
    }

    /// Puts a name into what `op` says of nodes that the operation of this ticket brought; whether there was any.
    fn tell_later<'s>(
        &self,
        ticket: Ticket,
        op: &LocalOp,
        seen: impl Iterator<Item = &'s mut Seen>,
        given: &Name,
    ) -> bool {
        let Some(bringer) = self.state.queue.ops.get(&ticket) else { return false };
        let mut is_told = false;
        for (standing, seen) in op.lifted().zip(seen) {
            if bringer.op.op.brings(standing) {
                seen.alt_name = Some(given.clone());
                is_told = true;
            }
        }
        is_told
    }
}
