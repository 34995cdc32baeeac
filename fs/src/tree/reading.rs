//! Owns reading the queue as the sync engine sees it: what may go, what each operation touches, and what lies
//! above that. A long queue is read in steps, so that programs never wait for all of it.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::state::Queued;
use super::types::{QueueItem, Readiness};
use crate::meta::rows::{Ino, LocalOp, ROOT, Ticket};
use std::collections::HashMap;
use std::ops::Bound;
use std::time::Duration;
use tarn_proto::name::Name;

type Result<T> = std::result::Result<T, TreeError>;

/// What many operations of one reading of the queue share.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// Directories with all above them.
    chains: HashMap<Ino, Vec<Ino>>,
    /// The tree that needs order around a directory, if there is one.
    ordered: HashMap<Ino, Option<Ino>>,
}

/// What reading keeps of an operation.
#[derive(Debug)]
struct Front {
    ticket: Ticket,
    op: LocalOp,
    frozen: Option<u64>,
    since: Duration,
}

/// Operations read under one lock: programs wait no longer than that takes.
const READ_AT_ONCE: usize = 128;

impl Session<'_> {
    fn item(&mut self, front: &Front, seen: &mut Surroundings) -> Result<QueueItem> {
        let (ticket, op) = (front.ticket, &front.op);
        let content_of = match op.content_of() {
            Some(ino) if self.inode(ino)?.kind().is_some_and(tarn_proto::node::NodeKind::is_file) => Some(ino),
            _ => None,
        };
        let content = content_of.map(|ino| self.local_content(ino)).transpose()?.flatten();
        Ok(QueueItem {
            ticket,
            content_of,
            content_bytes: content.map_or(0, |content| content.size_bytes()),
            readiness: self.readiness(front, content_of)?,
            frozen: front.frozen,
            keys: op.keys(),
            above: self.above(op, seen)?,
            ordered_tree: self.ordered_tree(op, seen)?,
        })
    }

    /// Some of the queue behind `after`, without what is held or stays here; and the last that was looked at, unless it is the end.
    fn queue_after(&mut self, after: Option<Ticket>, max: usize) -> Result<(Vec<QueueItem>, Option<Ticket>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.state.queue.ops.range((from, Bound::Unbounded));
        let front = |(&ticket, queued): (&Ticket, &Queued)| Front {
            ticket,
            op: queued.op.op.clone(),
            frozen: queued.op.frozen.as_ref().map(|operation| operation.counter),
            since: queued.since,
        };
        let open = rest.filter(|(_, queued)| queued.op.verdict.may_go());
        let front: Vec<Front> = open.take(max).map(front).collect();
        let last = front.last().map(|front| front.ticket).filter(|_| front.len() == max);
        let mut seen = Surroundings::default();
        let items = front.iter().map(|front| self.item(front, &mut seen)).collect::<Result<_>>()?;
        Ok((self.sift(items)?, last))
    }

    fn readiness(&mut self, front: &Front, content_of: Option<Ino>) -> Result<Readiness> {
        if front.frozen.is_some() {
            return Ok(Readiness::Ready);
        }
        if let Some(quiet) = self.verdict_wait(front.ticket) {
            return Ok(quiet);
        }
        if let Some(half) = self.half_wait(&front.op, front.since)? {
            return Ok(half);
        }
        let touches_content = |op: &LocalOp| op.content_of().is_some();
        for ino in front.op.inodes() {
            let mut earlier = self.state.queue.of_ino(ino).take_while(|(other, _)| *other < front.ticket);
            // What brings content goes after all that brought some: an earlier one whose freeze point was lost takes a later one,
            // and would otherwise be replaced by what was frozen before. What brings none goes in the same push, or after.
            let comes_first = |other: &Queued| other.op.frozen.is_some() || touches_content(&front.op);
            if earlier.any(|(_, other)| comes_first(other) && touches_content(&other.op.op)) {
                return Ok(Readiness::InFlight);
            }
        }
        let now = self.core.env.clock.monotonic();
        let Some(ino) = content_of else { return Ok(Readiness::Ready) };
        let inode = self.inode(ino)?;
        if inode.writers == 0 {
            return Ok(Readiness::Ready);
        }
        Ok(Readiness::Open { quiet: now.saturating_sub(inode.last_write), age: now.saturating_sub(front.since) })
    }

    /// The directories above what an operation touches, up to the root.
    pub(super) fn above(&mut self, op: &LocalOp, seen: &mut Surroundings) -> Result<Vec<Ino>> {
        let mut above = Vec::new();
        for (parent, _) in op.places() {
            for dir in self.chain(parent, seen)? {
                if !above.contains(&dir) {
                    above.push(dir);
                }
            }
        }
        Ok(above)
    }

    /// A directory and those above it, up to the root.
    fn chain(&mut self, dir: Ino, seen: &mut Surroundings) -> Result<Vec<Ino>> {
        if let Some(chain) = seen.chains.get(&dir) {
            return Ok(chain.clone());
        }
        let mut chain = Vec::new();
        let mut at = Some(dir);
        while let Some(here) = at.filter(|here| !chain.contains(here)) {
            at = match self.parent(here) {
                // Others removed it, and nothing shows it: what is queued below brings it back.
                Err(TreeError::NotFound) => break,
                parent => parent?.filter(|_| here != ROOT),
            };
            chain.push(here);
        }
        seen.chains.insert(dir, chain.clone());
        Ok(chain)
    }

    /// The nearest folder above an operation that holds `.git`: inside, nothing overtakes.
    pub(super) fn ordered_tree(&mut self, op: &LocalOp, seen: &mut Surroundings) -> Result<Option<Ino>> {
        let Some((dir, _)) = op.places().next() else { return Ok(None) };
        if let Some(known) = seen.ordered.get(&dir) {
            return Ok(*known);
        }
        let git = Name::new(b".git".as_slice()).map_err(|_| TreeError::Invalid)?;
        let mut found = None;
        for at in self.chain(dir, seen)? {
            if self.shown(at, &git)?.is_some() {
                found = Some(at);
                break;
            }
        }
        seen.ordered.insert(dir, found);
        Ok(found)
    }
}

impl Tree {
    /// The front of the queue, in order, without what is held or waits for room on the server.
    ///
    /// # Errors
    /// What the database says.
    pub fn queue(&self, max: usize) -> Result<Vec<QueueItem>> {
        self.judge_deletes()?;
        let (mut items, mut after, mut filling) = (Vec::new(), None, self.begin_filling());
        while items.len() < max {
            let step = READ_AT_ONCE.min(max - items.len());
            let (more, last) = self.look(|session| {
                let (more, last) = session.queue_after(after, step)?;
                Ok((session.fit(more, &mut filling), last))
            })?;
            items.extend(more);
            if last.is_none() {
                break;
            }
            after = last;
        }
        self.end_filling(filling);
        Ok(items)
    }
}
