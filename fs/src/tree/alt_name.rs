//! Owns which name an operation offers for its node if the one that it wants is taken: the first that is free, as far as is
//! known here. The server has the last word. Where it asked for another name once, that is looked up for each operation that
//! wants the same place: many versions of one file may have lost a conflict, and each try is a round trip.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::names::{conflict_name, is_tool_owned};
use super::work::Work;
use crate::meta::rows::{Ino, LocalOp, QueuedOp, RowChange, Ticket};
use tarn_proto::name::Name;
use tarn_proto::op::Place;

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    /// The name to take if the wanted one is taken; none for a write in a tree that belongs to a tool. Where names are known
    /// to be taken, the operation's tries move on.
    pub(super) fn alt_name(&mut self, queued: &mut QueuedOp, tree: &Tree) -> Result<Option<Name>> {
        if let LocalOp::Write { parent, .. } = &queued.op
            && self.lies_in_tool_tree(*parent)?
        {
            return Ok(None);
        }
        let Some(wanted) = self.wanted_place(queued)? else { return Ok(None) };
        let device = tree.identity().device_name;
        let numbered = |tries: u32| conflict_name(&wanted.name, &device, queued.time, tries);
        if self.state.contended.contains(&wanted) {
            let is_taken = |tries| Ok(self.remote_entry(wanted.parent, &numbered(tries))?.is_some());
            queued.name_tries = first_free(queued.name_tries, is_taken)?;
        }
        Ok(Some(conflict_name(&wanted.name, &device, queued.time, queued.name_tries)))
    }

    /// The place that an operation wants. A write goes beside the name by which it is sent: the one that it was written by may
    /// be another file's by then.
    fn wanted_place(&mut self, queued: &QueuedOp) -> Result<Option<Place>> {
        if let Some(operation) = &queued.frozen {
            return Ok(operation.kind.brings_to().cloned());
        }
        let (parent, name) = match &queued.op {
            LocalOp::Create { parent, name, .. } | LocalOp::Link { parent, name, .. } => (*parent, name.clone()),
            LocalOp::Write { ino, parent, name, .. } => self.name_that_stays(*ino, (*parent, name))?,
            LocalOp::Rename { to_parent, to_name, .. } => (*to_parent, to_name.clone()),
            LocalOp::SetAttr { .. } | LocalOp::Unlink { .. } => return Ok(None),
        };
        match self.place(parent, &name) {
            Err(TreeError::NotFound) => Ok(None),
            found => found.map(Some),
        }
    }

    fn lies_in_tool_tree(&mut self, dir: Ino) -> Result<bool> {
        let path = self.path(dir)?.unwrap_or_default();
        let names: Vec<Name> = path.split(|&c| c == b'/').filter_map(|part| Name::new(part).ok()).collect();
        Ok(is_tool_owned(&names))
    }

    /// Gives a frozen operation a name with a higher number than `tries`; answers that.
    fn rename_beside(&mut self, ticket: Ticket, tries: u32, tree: &Tree) -> Result<u32> {
        let mut queued = self.state.queue.ops.get(&ticket).ok_or(TreeError::NotFound)?.op.clone();
        queued.name_tries = queued.name_tries.max(tries).saturating_add(1);
        let alt_name = self.alt_name(&mut queued, tree)?;
        let mut rows = alt_name.as_ref().map(|name| self.renamed_beside(ticket, name)).unwrap_or_default();
        queued.frozen.as_mut().ok_or(TreeError::NotFound)?.alt_name = alt_name;
        let tries = queued.name_tries;
        rows.push(RowChange::Queue(ticket, Some(Box::new(queued))));
        self.commit(Work { rows, ..Work::default() })?;
        Ok(tries)
    }

    /// What was sent behind an operation that the server did not settle, and wants the same place.
    fn wanting_too(&self, ticket: Ticket, wanted: &Place) -> Vec<Ticket> {
        let wants = |queued: &QueuedOp| queued.frozen.as_ref().and_then(|sent| sent.kind.brings_to()) == Some(wanted);
        let behind = self.state.queue.ops.range(ticket..).skip(1);
        behind.filter(|(_, queued)| wants(&queued.op)).map(|(ticket, _)| *ticket).collect()
    }
}

impl Tree {
    /// Gives an operation another alternative name, after the server said `NeedsName`, and those behind it that want the same
    /// place one each.
    ///
    /// # Errors
    /// `NotFound` if it is gone; what the disk says.
    pub fn refreeze_with_other_name(&self, ticket: Ticket) -> Result<()> {
        self.edit(|session| {
            let queued = session.state.queue.ops.get(&ticket).ok_or(TreeError::NotFound)?.op.clone();
            let wanted = session.wanted_place(&queued)?.ok_or(TreeError::NotFound)?;
            session.state.contended.insert(wanted.clone());
            let mut tries = session.rename_beside(ticket, queued.name_tries, self)?;
            for behind in session.wanting_too(ticket, &wanted) {
                tries = session.rename_beside(behind, tries, self)?;
            }
            Ok(())
        })?;
        self.sync_log()
    }
}

/// The first number from `first` on that is free, if those that are taken follow each other; else one of the free ones.
fn first_free(first: u32, mut is_taken: impl FnMut(u32) -> Result<bool>) -> Result<u32> {
    let (mut taken, mut free, mut step) = (first, first, 1);
    while free < u32::MAX && is_taken(free)? {
        taken = free;
        free = free.saturating_add(step);
        step = step.saturating_mul(2);
    }
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        if is_taken(middle)? { taken = middle } else { free = middle }
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::first_free;

    #[test]
    fn the_first_free_number_is_found_in_few_looks() {
        for (first, taken) in [(0, 0), (0, 1), (0, 2), (1, 40), (7, 40), (40, 40), (41, 40), (0, 1_000_000)] {
            let mut looks = 0;
            let found = first_free(first, |number| {
                looks += 1;
                Ok(number < taken)
            });
            assert_eq!((found.unwrap(), looks < 50), (first.max(taken), true), "{first} {taken}: {looks}");
        }
    }
}
