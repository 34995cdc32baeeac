//! Owns holding back unusual mass deletes: which deletes count, when they are judged, and what becomes of
//! those that are held. A delete is only ever parked here, never lost and never made up.
//!
//! A delete counts if it takes the last name of a node that the server knows and that was not made by this device
//! in the last day. Beyond a tenth of the count, deletes wait until no further one has come for a moment; then all
//! of them are judged together. What is held stays in the queue with its verdict, so it is held after a restart, too;
//! later operations that touch the same nodes or names are held with it.

use super::Tree;
use super::depends::Touched;
use super::error::TreeError;
use super::load::Session;
use super::notify::Invalidation;
use super::reading::Surroundings;
use super::types::{DeleteLimits, HeldDeletes, QueueItem, Readiness};
use super::work::{NameChange, Work};
use crate::meta::rows::{Ino, InodeRow, LocalOp, QueuedOp, RowChange, Ticket, Verdict};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tarn_proto::ids::DeviceId;

type Result<T> = std::result::Result<T, TreeError>;

/// Deletes are judged when none has come for so long, or when the first has waited so long.
const QUIET: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Deletes of so long ago count no more.
const WINDOW: Duration = Duration::from_secs(600);
/// What this device made so recently it may remove.
const OWN_SECS: i64 = 86_400;
/// Operations in one unit of work.
const BATCH: usize = 500;

/// Deletes that count.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    /// Nodes that are no directories.
    files: u64,
    /// All nodes.
    nodes: u64,
}

impl Weight {
    fn add(&mut self, is_dir: bool) {
        self.files += u64::from(!is_dir);
        self.nodes += 1;
    }

    fn plus(self, other: Self) -> Self {
        Self { files: self.files + other.files, nodes: self.nodes + other.nodes }
    }
}

/// Deletes that wait for their verdict, and what is remembered of others.
#[derive(Debug, Default)]
pub(super) struct MassDelete {
    limits: Option<DeleteLimits>,
    /// Deletes that count and have no verdict, and whether they are of directories.
    unjudged: BTreeMap<Ticket, bool>,
    first: Duration,
    last: Duration,
    /// Deletes that were let go, and when.
    recent: VecDeque<(Duration, Weight)>,
    /// What held operations touch; `None` until it is wanted.
    touched: Option<Touched>,
}

impl MassDelete {
    fn note(&mut self, ticket: Ticket, is_dir: bool, now: Duration) {
        if self.unjudged.is_empty() {
            self.first = now;
        }
        self.last = now;
        self.unjudged.insert(ticket, is_dir);
    }

    fn waiting(&self) -> Weight {
        let mut weight = Weight::default();
        self.unjudged.values().for_each(|&is_dir| weight.add(is_dir));
        weight
    }

    fn past(&self) -> Weight {
        self.recent.iter().fold(Weight::default(), |sum, (_, weight)| sum.plus(*weight))
    }

    /// What waits may go.
    fn let_go(&mut self, now: Duration) {
        let weight = self.waiting();
        self.unjudged.clear();
        self.recent.push_back((now, weight));
    }

    /// How long a delete still waits for its verdict.
    pub fn wait(&self, ticket: Ticket, now: Duration) -> Option<Duration> {
        let quiet = (self.last + QUIET).saturating_sub(now);
        let waited = (self.first + WAIT_MAX).saturating_sub(now);
        self.unjudged.contains_key(&ticket).then(|| quiet.min(waited))
    }

    /// Whether what waits must be weighed against the whole space; lets it go if that is not needed.
    fn is_heavy(&mut self, now: Duration) -> bool {
        while self.recent.front().is_some_and(|(at, _)| *at + WINDOW < now) {
            self.recent.pop_front();
        }
        let Some(limits) = self.limits.filter(|_| !self.unjudged.is_empty()) else {
            self.unjudged.clear();
            return false;
        };
        let files = self.waiting().plus(self.past()).files;
        let is_due = now >= self.last + QUIET || now >= self.first + WAIT_MAX;
        if files <= limits.count / 10 || (is_due && files <= limits.count) {
            self.let_go(now);
        }
        is_due && !self.unjudged.is_empty()
    }
}

impl Session<'_> {
    /// Takes note of a delete that was queued.
    pub(super) fn note_delete(&mut self, ticket: Ticket, ino: Ino, device: DeviceId) -> Result<()> {
        if self.state.mass_delete.limits.is_none() || !self.counts(ino, device)? {
            return Ok(());
        }
        let (is_dir, now) = (self.inode(ino)?.is_dir(), self.core.env.clock.monotonic());
        self.state.mass_delete.note(ticket, is_dir, now);
        Ok(())
    }

    /// Whether the delete of a node's last name counts.
    fn counts(&mut self, ino: Ino, device: DeviceId) -> Result<bool> {
        let day_ago = self.core.env.clock.wall().secs - OWN_SECS;
        let inode = self.inode(ino)?;
        let Some(remote) = &inode.remote else { return Ok(false) };
        let is_own = remote.file.as_ref().is_none_or(|file| file.author == device);
        Ok(!(is_own && remote.attrs.btime.secs > day_ago))
    }

    /// Has what was queued by an earlier run judged as well.
    fn note_queued_deletes(&mut self, device: DeviceId) -> Result<()> {
        let ops = self.state.queue.ops.iter();
        let unjudged = ops.filter(|(_, queued)| queued.op.frozen.is_none() && queued.op.verdict == Verdict::Open);
        let unlinks: Vec<(Ticket, Ino)> = unjudged
            .filter_map(|(ticket, queued)| match &queued.op.op {
                LocalOp::Unlink { ino, .. } => Some((*ticket, *ino)),
                _ => None,
            })
            .collect();
        for (ticket, ino) in unlinks {
            match self.links(ino) {
                Ok(links) if links.is_empty() => self.note_delete(ticket, ino, device)?,
                Ok(_) | Err(TreeError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether deletes wait that must be weighed against the whole space now.
    fn is_heavy(&mut self) -> bool {
        let now = self.core.env.clock.monotonic();
        let ops = &self.state.queue.ops;
        let is_open = |ticket: &Ticket| ops.get(ticket).is_some_and(|queued| queued.op.frozen.is_none());
        self.state.mass_delete.unjudged.retain(|ticket, _| is_open(ticket));
        self.state.mass_delete.is_heavy(now)
    }

    /// Gives what waits its verdict: the server knows `total` nodes.
    fn judge(&mut self, total: u64) -> Result<()> {
        let Some(limits) = self.state.mass_delete.limits else { return Ok(()) };
        let (past, waiting) = (self.state.mass_delete.past(), self.state.mass_delete.waiting());
        let removed = past.plus(waiting);
        let share = u64::from(limits.percent) * (total + past.nodes);
        if removed.files <= limits.count || removed.nodes * 100 <= share {
            let now = self.core.env.clock.monotonic();
            self.state.mass_delete.let_go(now);
            return Ok(());
        }
        tracing::warn!(files = waiting.files, "an unusual number of deletes is held until somebody confirms it");
        let tickets: Vec<Ticket> = self.state.mass_delete.unjudged.keys().copied().collect();
        self.set_verdicts(&tickets, Verdict::Held)?;
        self.state.mass_delete.unjudged.clear();
        Ok(())
    }

    pub(super) fn set_verdicts(&mut self, tickets: &[Ticket], verdict: Verdict) -> Result<()> {
        self.state.mass_delete.touched = None;
        for batch in tickets.chunks(BATCH) {
            let mut work = Work::default();
            for ticket in batch {
                if let Some(queued) = self.state.queue.ops.get(ticket) {
                    let op = QueuedOp { verdict, ..queued.op.clone() };
                    work.rows.push(RowChange::Queue(*ticket, Some(Box::new(op))));
                }
            }
            self.commit(work)?;
        }
        Ok(())
    }

    fn held_tickets(&self) -> Vec<Ticket> {
        let ops = self.state.queue.ops.iter();
        ops.filter(|(_, queued)| queued.op.verdict == Verdict::Held).map(|(ticket, _)| *ticket).collect()
    }

    fn touched_by_held(&mut self) -> Result<Touched> {
        if let Some(touched) = self.state.mass_delete.touched.take() {
            return Ok(touched);
        }
        let (mut touched, mut seen) = (Touched::default(), Surroundings::default());
        for ticket in self.held_tickets() {
            let Some(queued) = self.state.queue.ops.get(&ticket) else { continue };
            let op = queued.op.op.clone();
            let (above, ordered) = (self.above(&op, &mut seen)?, self.ordered_tree(&op, &mut seen)?);
            touched.add(op.keys(), above, ordered);
        }
        Ok(touched)
    }

    /// Of a part of the queue in which nothing is held, what may go on; what names the same nodes as something that is
    /// held is held with it.
    pub(super) fn sift(&mut self, items: Vec<QueueItem>) -> Result<Vec<QueueItem>> {
        let mut touched = self.touched_by_held()?;
        let (mut free, mut caught) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            let queued = self.state.queue.ops.get(&item.ticket);
            let is_confirmed = queued.is_some_and(|queued| queued.op.verdict == Verdict::Confirmed);
            let is_free = item.frozen.is_some() || is_confirmed;
            if is_free || !touched.meets(&item.keys, &item.above, item.ordered_tree) {
                free.push(item);
            } else {
                touched.add(item.keys, item.above, item.ordered_tree);
                caught.push(item.ticket);
            }
        }
        if !caught.is_empty() {
            self.set_verdicts(&caught, Verdict::Held)?;
        }
        self.state.mass_delete.touched = Some(touched);
        Ok(free)
    }

    /// How long a delete waits for its verdict.
    pub(super) fn verdict_wait(&self, ticket: Ticket) -> Option<Readiness> {
        let now = self.core.env.clock.monotonic();
        self.state.mass_delete.wait(ticket, now).map(|left| Readiness::Quiet { left })
    }

    fn describe_held(&mut self, tickets: &[Ticket]) -> Result<Option<HeldDeletes>> {
        let (mut deletes, mut sample) = (0, None);
        for ticket in tickets {
            let Some(queued) = self.state.queue.ops.get(ticket) else { continue };
            if let LocalOp::Unlink { parent, name, .. } = &queued.op.op {
                deletes += 1;
                sample = sample.or_else(|| Some((*parent, name.clone())));
            }
        }
        let Some((parent, name)) = sample else { return Ok(None) };
        let folder = self.path(parent).ok().flatten().unwrap_or_default();
        let path = [folder.as_slice(), b"/", name.as_bytes()].concat();
        let sample = String::from_utf8_lossy(path.strip_prefix(b"/").unwrap_or(&path)).into_owned();
        Ok(Some(HeldDeletes { operations: tickets.len() as u64, deletes, sample }))
    }

    /// Takes one held operation back: a delete is undone, anything else may go.
    fn take_back(&mut self, ticket: Ticket, work: &mut Work) -> Result<Option<Ino>> {
        let Some(queued) = self.state.queue.ops.get(&ticket) else { return Ok(None) };
        let queued = queued.op.clone();
        let LocalOp::Unlink { parent, name, ino, .. } = &queued.op else {
            let op = QueuedOp { verdict: Verdict::Confirmed, ..queued };
            work.rows.push(RowChange::Queue(ticket, Some(Box::new(op))));
            return Ok(None);
        };
        work.dequeue(ticket);
        if self.state.overlay.get(*parent, name).is_some_and(|row| row.ticket == ticket) {
            work.entry_row(*parent, name, None);
            self.invalidations.push(Invalidation::Entry { parent: *parent, name: name.clone() });
            self.invalidations.push(Invalidation::Content(*parent));
            self.note_renamed(*parent, name, NameChange { old: None, new: Some(*ino) }, None);
        }
        let is_alone = self.state.queue.of_ino(*ino).all(|(other, _)| other == ticket);
        let inode = self.inode(*ino)?;
        if is_alone && inode.local.is_some() && inode.remote.is_some() {
            let row = InodeRow { local: None, ..inode.row() };
            work.inode(*ino, row);
        }
        Ok(Some(*ino))
    }

    fn undo_held(&mut self) -> Result<u64> {
        let mut tickets = self.held_tickets();
        tickets.reverse();
        self.state.mass_delete.touched = None;
        let mut count = 0;
        for batch in tickets.chunks(BATCH) {
            let (mut work, mut back) = (Work::default(), Vec::new());
            for ticket in batch {
                back.extend(self.take_back(*ticket, &mut work)?);
            }
            self.commit(work)?;
            count += back.len() as u64;
            for ino in back {
                // What was written before it was removed was taken out of the queue with the delete.
                if self.local_content(ino)?.is_some_and(|content| content.is_dirty()) {
                    self.requeue_dirty(ino)?;
                }
                self.release_if_idle(ino);
            }
        }
        Ok(count)
    }
}

impl Tree {
    /// From which size on deletes are held; `None`: never. What is held already stays so.
    ///
    /// # Errors
    /// What the database says.
    pub fn set_delete_limits(&self, limits: Option<DeleteLimits>) -> Result<()> {
        let device = self.identity().device;
        self.look(|session| {
            session.state.mass_delete.limits = limits;
            session.note_queued_deletes(device)
        })
    }

    /// Gives deletes that have waited long enough their verdict.
    pub(super) fn judge_deletes(&self) -> Result<()> {
        if !self.with(|session| session.is_heavy()) {
            return Ok(());
        }
        // The space is counted without the lock: that may take a moment.
        let total = self.core.reader()?.count_nodes()?;
        self.edit(|session| session.judge(total))
    }

    /// What is held; of these operations only, if any are given.
    ///
    /// # Errors
    /// What the database says.
    pub fn held_deletes(&self, of: Option<&BTreeSet<Ticket>>) -> Result<Option<HeldDeletes>> {
        self.look(|session| {
            let mut held = session.held_tickets();
            held.retain(|ticket| of.is_none_or(|of| of.contains(ticket)));
            session.describe_held(&held)
        })
    }

    /// Lets all that is held go to the server; how many operations that is.
    ///
    /// # Errors
    /// What the disk says.
    pub fn confirm_deletes(&self) -> Result<u64> {
        self.edit(|session| {
            let held = session.held_tickets();
            session.set_verdicts(&held, Verdict::Confirmed)?;
            Ok(held.len() as u64)
        })
    }

    /// Takes all held deletes back: the names return. How many there were.
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn undo_deletes(&self) -> Result<u64> {
        self.edit(|session| session.undo_held())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(deletes: &mut MassDelete, count: u64, at: Duration) {
        let first = deletes.unjudged.len() as u64;
        (first..first + count).for_each(|ticket| deletes.note(Ticket(ticket), false, at));
    }

    fn of_twenty() -> MassDelete {
        MassDelete { limits: Some(DeleteLimits { count: 20, percent: 50 }), ..MassDelete::default() }
    }

    #[test]
    fn a_tenth_goes_at_once_and_what_is_no_more_than_the_count_when_no_other_follows() {
        let mut deletes = of_twenty();
        noted(&mut deletes, 2, Duration::ZERO);
        assert!(!deletes.is_heavy(Duration::ZERO) && deletes.unjudged.is_empty());
        noted(&mut deletes, 3, Duration::ZERO);
        assert!(!deletes.is_heavy(Duration::ZERO) && deletes.unjudged.len() == 3);
        assert!(!deletes.is_heavy(QUIET) && deletes.unjudged.is_empty());
    }

    #[test]
    fn what_was_let_go_counts_for_some_time() {
        for (later, is_heavy) in [(WINDOW, true), (WINDOW + 2 * QUIET, false)] {
            let mut deletes = of_twenty();
            noted(&mut deletes, 15, Duration::ZERO);
            assert!(!deletes.is_heavy(QUIET));
            noted(&mut deletes, 10, later - QUIET);
            assert_eq!(deletes.is_heavy(later), is_heavy, "{later:?}");
        }
    }
}
