//! Owns which queued operations a path depends on: those about it or below it, and those that must be settled
//! before them. Decides nothing; start at [`Tree::tickets_of`].

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::reading::Surroundings;
use super::types::QueueKey;
use crate::meta::rows::{Ino, LocalOp, Ticket};
use std::collections::{BTreeSet, HashMap, HashSet};

type Result<T> = std::result::Result<T, TreeError>;

/// What some operations touch and lie below: of two operations of which one touches what the other touches or
/// lies below, the earlier one goes first.
#[derive(Debug, Default)]
pub(super) struct Touched {
    keys: HashSet<QueueKey>,
    above: HashSet<Ino>,
    ordered: HashSet<Ino>,
}

impl Touched {
    /// Adds an operation.
    pub fn add(&mut self, keys: Vec<QueueKey>, above: Vec<Ino>, ordered: Option<Ino>) {
        self.keys.extend(keys);
        self.above.extend(above);
        self.ordered.extend(ordered);
    }

    /// Whether an operation must keep its order with one of these.
    pub fn meets(&self, keys: &[QueueKey], above: &[Ino], ordered: Option<Ino>) -> bool {
        let touches = |key: &QueueKey| match key {
            QueueKey::Inode(ino) => self.keys.contains(key) || self.above.contains(ino),
            QueueKey::Entry(..) => self.keys.contains(key),
        };
        ordered.is_some_and(|tree| self.ordered.contains(&tree))
            || keys.iter().any(touches)
            || above.iter().any(|&ino| self.keys.contains(&QueueKey::Inode(ino)))
    }
}

impl Session<'_> {
    fn tickets_of(&mut self, target: Ino) -> Result<BTreeSet<Ticket>> {
        let queued = self.state.queue.to_send().rev();
        let ops: Vec<(Ticket, LocalOp)> = queued.map(|(ticket, queued)| (ticket, queued.op.op.clone())).collect();
        let (mut inside, mut needed, mut tickets) = (HashMap::new(), Touched::default(), BTreeSet::new());
        let mut seen = Surroundings::default();
        for (ticket, op) in ops {
            let (keys, above) = (op.keys(), self.above(&op, &mut seen)?);
            let ordered = self.ordered_tree(&op, &mut seen)?;
            if self.is_about(&op, target, &mut inside)? || needed.meets(&keys, &above, ordered) {
                needed.add(keys, above, ordered);
                tickets.insert(ticket);
            }
        }
        Ok(tickets)
    }

    /// Whether an operation is about an inode, or about what is below it.
    fn is_about(&mut self, op: &LocalOp, target: Ino, inside: &mut HashMap<Ino, bool>) -> Result<bool> {
        if op.inodes().any(|ino| ino == target) {
            return Ok(true);
        }
        let mut dirs: Vec<Ino> = op.places().map(|(parent, _)| parent).collect();
        for ino in op.inodes() {
            match self.links(ino) {
                Ok(links) => dirs.extend(links.into_iter().map(|(parent, _)| parent)),
                Err(TreeError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        for dir in dirs {
            let known = inside.get(&dir).copied();
            let is_inside = known.map_or_else(|| self.is_below(dir, target), Ok)?;
            inside.insert(dir, is_inside);
            if is_inside {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Tree {
    /// The queued operations that a file or folder depends on: about it, below it, and what goes before those.
    ///
    /// # Errors
    /// `NotFound` for an inode that is gone; what the database says.
    pub fn tickets_of(&self, ino: Ino) -> Result<BTreeSet<Ticket>> {
        self.look(|session| session.tickets_of(ino))
    }

    /// Whether any of these operations is still queued.
    pub fn is_any_queued(&self, tickets: &BTreeSet<Ticket>) -> bool {
        self.with(|session| tickets.iter().any(|ticket| session.state.queue.ops.contains_key(ticket)))
    }
}
