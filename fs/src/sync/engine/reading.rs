//! Owns when the queue is read, and what reading it says of operations that are under way.

use super::super::event::Action;
use super::super::link::LinkState;
use super::super::plan::Stage;
use super::Engine;
use crate::limits;
use crate::meta::rows::Ticket;
use crate::tree::QueueItem;
use std::collections::HashSet;
use std::time::Duration;

/// Time between two reads of the queue.
const READ_SPACING: Duration = Duration::from_millis(1);
/// More of it for each operation that is known already.
const READ_SPACING_PER_ITEM: Duration = Duration::from_micros(200);

/// Reading the queue.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub is_running: bool,
    /// The queue changed since it was read.
    pub is_stale: bool,
    /// What is being read is old already: answers were applied meanwhile.
    pub discard: bool,
    /// Whether the last read came back full: there is more behind.
    pub was_full: bool,
    /// Answers were applied since: what waited for them may go.
    pub is_freed: bool,
    /// When it was read last, or is being read since.
    at: Option<Duration>,
}

impl Reading {
    /// When the queue was read last; zero before that.
    pub(super) fn at(&self) -> Duration {
        self.at.unwrap_or_default()
    }
}

impl Engine {
    /// Whether hearing that the queue changed would tell it anything: not while it is going to read the queue anyway.
    /// One that is waiting for the server tries sooner for it.
    pub fn wants_changes(&self, now: Duration) -> bool {
        !self.reading.is_stale || self.link != LinkState::Online || !self.gate.is_open(now)
    }

    /// The queue is read when it changed: at once when it was quiet, or when all that went is settled and other
    /// operations waited for that; else less often the longer it is, for reading costs programs the tree's lock.
    pub(super) fn pump_reading(&mut self, now: Duration, actions: &mut Vec<Action>) -> Option<Duration> {
        if self.reading.is_running || !self.reading.is_stale {
            return None;
        }
        let untouched = self.items.len() - self.stages.len().min(self.items.len());
        let is_busy = self.is_pushing || !self.groups.is_empty();
        if is_busy && untouched >= limits::QUEUE_WINDOW / 2 {
            return None; // there is enough to do; what is under way wakes us
        }
        let is_wanted = self.reading.is_freed && !is_busy && self.settling_count == 0;
        let spacing = READ_SPACING + READ_SPACING_PER_ITEM * self.items.len() as u32;
        let due = self.reading.at.filter(|_| !is_wanted).map(|at| at + spacing);
        if due.is_some_and(|due| now < due) {
            return due;
        }
        self.reading = Reading { is_running: true, at: Some(now), ..Reading::default() };
        actions.push(Action::ReadQueue { max: limits::QUEUE_WINDOW });
        None
    }

    pub(super) fn queue_read(&mut self, items: Vec<QueueItem>, now: Duration) {
        self.reading.is_running = false;
        if self.reading.discard {
            self.reading.discard = false;
            self.reading.is_stale = true;
            return;
        }
        self.reading.at = Some(now);
        self.reading.was_full = items.len() >= limits::QUEUE_WINDOW;
        self.items = items;
        self.remember_frozen();
        self.forget_gone();
        self.rest_if_quiet();
    }

    /// Once nothing is queued, the next change has nothing to be gathered with.
    pub(super) fn rest_if_quiet(&mut self) {
        if self.items.is_empty() && !self.reading.is_stale {
            self.upload_pace.rest();
            self.push_pace.rest();
        }
    }

    /// Takes note of what an earlier run may have sent, in the order of counters.
    fn remember_frozen(&mut self) {
        let known = |item: &&QueueItem| !self.sent.contains_key(&item.ticket);
        let frozen = self.items.iter().filter(known);
        let mut frozen: Vec<(u64, Ticket)> = frozen.filter_map(|item| Some((item.frozen?, item.ticket))).collect();
        frozen.sort_unstable();
        self.remember_sent(frozen.into_iter().map(|(_, ticket)| ticket));
    }

    /// Takes note of operations that get their counters now, in this order.
    pub(super) fn remember_sent(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        for ticket in tickets {
            self.sent.entry(ticket).or_insert(self.sent_count);
            self.sent_count += 1;
        }
    }

    /// Forgets operations that are in the queue no more, unless something is under way for them.
    fn forget_gone(&mut self) {
        let present: HashSet<Ticket> = self.items.iter().map(|item| item.ticket).collect();
        self.stages.retain(|ticket, stage| {
            let is_idle = matches!(stage, Stage::Wanted { .. } | Stage::Delayed { .. } | Stage::Uploaded);
            present.contains(ticket) || !is_idle
        });
        self.sent.retain(|ticket, _| present.contains(ticket) || self.stages.contains_key(ticket));
        self.unreadable.retain(|ticket, _| self.stages.contains_key(ticket));
    }
}
