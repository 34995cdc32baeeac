//! Owns room on the server: how full the space is as far as known, and which queued operations wait for room. What waits stays
//! in the queue as it is, and so does what must keep its order with it; everything else goes on.
//!
//! Only the numbers are recorded: what fits is found out anew whenever the queue is read.

use super::Tree;
use super::depends::Touched;
use super::error::TreeError;
use super::load::Session;
use super::types::{NoRoom, QueueItem};
use super::work::Work;
use crate::meta::rows::{Ino, QueuedOp, RowChange, Ticket};
use std::collections::{BTreeMap, BTreeSet};
use tarn_proto::api::{Usage, from_binary, to_binary};
use tarn_proto::node::ByteString;

type Result<T> = std::result::Result<T, TreeError>;

/// The key of the numbers in the database.
pub(super) const USAGE: &str = "usage";

/// What is known of room.
#[derive(Debug, Default)]
pub(super) struct Room {
    usage: Option<Usage>,
    is_saved: bool,
    /// Operations that the server had no room for.
    refused: BTreeMap<Ticket, Refusal>,
    /// Those that waited when the queue was read last.
    waiting: BTreeSet<Ticket>,
}

/// What was known when the server had no room for an operation.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    bytes_free: u64,
    /// By how much the content seemed to grow. That may be nothing: the server also counts what becomes of it in a conflict.
    bytes: u64,
}

impl Room {
    /// As an earlier run recorded it.
    pub fn known(recorded: Option<Vec<u8>>) -> Self {
        let usage = recorded.and_then(|bytes| from_binary(&bytes).ok());
        Self { usage, is_saved: true, ..Self::default() }
    }

    /// What is to be recorded with the next unit of work of the server's.
    pub fn unsaved(&mut self) -> Option<(String, Option<ByteString>)> {
        let usage = self.usage.filter(|_| !self.is_saved)?;
        self.is_saved = true;
        Some((USAGE.to_owned(), Some(ByteString(to_binary(&usage)))))
    }

    /// Takes the server's word; whether what waits may fit now.
    fn note(&mut self, usage: Usage) -> bool {
        let is_news = self.usage != Some(usage);
        self.is_saved &= !is_news;
        self.usage = Some(usage);
        is_news && !self.waiting.is_empty()
    }

    fn bytes_free(&self) -> Option<u64> {
        self.usage.and_then(|usage| usage.bytes_free())
    }

    /// Whether the server refused it with as much room as there is now, when it was no larger.
    fn is_refused(&self, ticket: Ticket, bytes: u64) -> bool {
        let still = |then: &Refusal| {
            bytes >= then.bytes && self.bytes_free().is_some_and(|bytes_free| bytes_free <= then.bytes_free)
        };
        self.refused.get(&ticket).is_some_and(still)
    }
}

/// How far the room goes along the queue.
#[derive(Debug, Default)]
pub(super) struct Filling {
    bytes_free: Option<u64>,
    touched: Touched,
    waiting: BTreeSet<Ticket>,
}

impl Session<'_> {
    fn begin_filling(&self) -> Filling {
        Filling { bytes_free: self.state.room.bytes_free(), ..Filling::default() }
    }

    /// Of the next part of the queue, what there is room for.
    pub(super) fn fit(&mut self, items: Vec<QueueItem>, filling: &mut Filling) -> Vec<QueueItem> {
        if filling.bytes_free.is_none() {
            return items;
        }
        let mut fitting = Vec::with_capacity(items.len());
        for item in items {
            let bytes = item.content_of.map_or(0, |ino| self.grows_by(ino));
            let fits = item.frozen.is_some() || self.has_room(&item, bytes, filling);
            if fits {
                filling.bytes_free = filling.bytes_free.map(|bytes_free| bytes_free.saturating_sub(bytes));
                fitting.push(item);
            } else {
                filling.waiting.insert(item.ticket);
                filling.touched.add(item.keys, item.above, item.ordered_tree);
            }
        }
        fitting
    }

    fn has_room(&self, item: &QueueItem, bytes: u64, filling: &Filling) -> bool {
        let is_refused = self.state.room.is_refused(item.ticket, bytes);
        let is_too_large = filling.bytes_free.is_some_and(|bytes_free| bytes > bytes_free);
        !is_refused && !is_too_large && !filling.touched.meets(&item.keys, &item.above, item.ordered_tree)
    }

    fn end_filling(&mut self, filling: Filling) {
        let (room, ops) = (&mut self.state.room, &self.state.queue.ops);
        if filling.waiting.len() > room.waiting.len() {
            tracing::warn!(
                operations = filling.waiting.len(),
                "the quota is used up: changes wait until there is room"
            );
        }
        room.waiting = filling.waiting;
        room.refused.retain(|ticket, _| ops.contains_key(ticket));
    }

    /// How many bytes more a file's content has than what the server has of it.
    fn grows_by(&self, ino: Ino) -> u64 {
        let Some(inode) = self.state.inodes.get(&ino) else { return 0 };
        let here = inode.content.as_ref().map_or(0, |content| content.size_bytes());
        let there = inode.remote.as_ref().and_then(|remote| remote.file.as_ref()).map_or(0, |file| file.content.size);
        here.saturating_sub(there)
    }

    /// What is to be sent takes so much room, as far as it is in memory.
    fn queued_growth(&self) -> u64 {
        let inos: BTreeSet<Ino> =
            self.state.queue.to_send().filter_map(|(_, queued)| queued.op.op.content_of()).collect();
        inos.into_iter().map(|ino| self.grows_by(ino)).sum()
    }

    /// Takes back the final form of an operation and of all that got theirs after it.
    fn thaw_from(&mut self, ticket: Ticket) -> Result<()> {
        let counter = |op: &QueuedOp| op.frozen.as_ref().map(|operation| operation.counter);
        let Some(first) = self.state.queue.ops.get(&ticket).and_then(|queued| counter(&queued.op)) else {
            return Ok(());
        };
        let later = self.state.queue.ops.iter().filter(|(_, queued)| counter(&queued.op) >= Some(first));
        let thawed = later.map(|(ticket, queued)| {
            let op = QueuedOp { frozen: None, ..queued.op.clone() };
            RowChange::Queue(*ticket, Some(Box::new(op)))
        });
        let work = Work { rows: thawed.collect(), ..Work::default() };
        self.commit(work).map(drop)
    }

    fn describe_waiting(&mut self, of: Option<&BTreeSet<Ticket>>) -> Option<NoRoom> {
        let tickets: Vec<Ticket> = self.state.room.waiting.iter().copied().collect();
        let wanted = |ticket: &Ticket| of.is_none_or(|of| of.contains(ticket));
        let tickets: Vec<Ticket> =
            tickets.into_iter().filter(|ticket| wanted(ticket) && self.state.queue.ops.contains_key(ticket)).collect();
        if tickets.is_empty() {
            return None;
        }
        let content_of = |ticket: &Ticket| self.state.queue.ops.get(ticket)?.op.op.content_of();
        let inos: Vec<Ino> = tickets.iter().filter_map(content_of).collect();
        let bytes = inos.iter().map(|&ino| self.grows_by(ino)).sum();
        let sample = inos.first().and_then(|&ino| self.path(ino).ok().flatten()).unwrap_or_default();
        let sample = String::from_utf8_lossy(sample.strip_prefix(b"/").unwrap_or(&sample)).into_owned();
        Some(NoRoom { operations: tickets.len() as u64, bytes, sample })
    }
}

impl Tree {
    /// Begins to walk the queue along the room that there is.
    pub(super) fn begin_filling(&self) -> Filling {
        self.with(|session| session.begin_filling())
    }

    /// Takes note of what waits.
    pub(super) fn end_filling(&self, filling: Filling) {
        self.with(|session| session.end_filling(filling));
    }

    /// Takes the server's word on how full the space is.
    pub fn note_usage(&self, usage: Usage) {
        if self.with(|session| session.state.room.note(usage)) {
            self.changed().notify_one();
        }
    }

    /// How full the space is, as far as known.
    pub fn usage(&self) -> Option<Usage> {
        self.with(|session| session.state.room.usage)
    }

    /// The quota, and what is left of it once everything queued is on the server; `None` if there is no quota, as far as known.
    pub fn quota_left(&self) -> Option<(u64, u64)> {
        self.with(|session| {
            let usage = session.state.room.usage?;
            let (total, free) = (usage.bytes_max?, usage.bytes_free()?);
            Some((total, free.saturating_sub(session.queued_growth())))
        })
    }

    /// The server has no room for an operation, and did not look at those behind it: none of them has happened. It waits for
    /// room, they go on without it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn put_aside(&self, ticket: Ticket) -> Result<()> {
        self.edit(|session| {
            session.thaw_from(ticket)?;
            let content_of = session.state.queue.ops.get(&ticket).and_then(|queued| queued.op.op.content_of());
            let bytes = content_of.map_or(0, |ino| session.grows_by(ino));
            let bytes_free = session.state.room.bytes_free().unwrap_or(0);
            session.state.room.refused.insert(ticket, Refusal { bytes_free, bytes });
            session.unprepare(ticket);
            Ok(())
        })
    }

    /// What waits for room on the server; of these operations only, if any are given.
    pub fn waiting_for_room(&self, of: Option<&BTreeSet<Ticket>>) -> Option<NoRoom> {
        self.with(|session| session.describe_waiting(of))
    }
}
