//! Owns which queued operations may go now: a pure function of the queue, of what is under way, and of
//! the time.
//!
//! Operations go in queue order, with one exception: one whose content is not there yet (its file is
//! still open, or its upload takes longer than [`limits::PARK_AFTER`]) is parked, and later ones
//! overtake it unless they touch what it touches or lies below, or lie below what it touches; what is
//! so held back holds back in turn. In trees that need order nothing is overtaken.
//!
//! What touches a file whose content has a counter already waits until that is settled.
//!
//! Operations that have a counter already (frozen) go first and in order: counters must increase.

use crate::limits;
use crate::meta::rows::{Ino, Ticket};
use crate::tree::{QueueItem, QueueKey, Readiness};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tarn_proto::limits::PUSH_OPS_MAX;

/// How far an operation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its content is to be sent, since then; `resend`: the server lacks chunks of it.
    Wanted {
        /// Since when.
        since: Duration,
        /// Whether it was sent before.
        resend: bool,
    },
    /// Its content is being sent.
    Uploading {
        /// Since when it was wanted.
        since: Duration,
    },
    /// Its content is on the server.
    Uploaded,
    /// Its content could not be read, or changed too much; not to be tried before then.
    Delayed {
        /// Until when.
        until: Duration,
        /// Whether it could not be read.
        is_error: bool,
        /// Since when it was wanted.
        since: Duration,
    },
    /// It needs another name, which is being made.
    Renaming,
    /// The server has no room for it; it is being put aside.
    PuttingAside,
    /// It is in the push that is under way.
    Pushing,
    /// It has its answer, which is being applied.
    Settling,
}

/// What may be done now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Contents to send, in queue order.
    pub upload: Vec<Ticket>,
    /// Operations to push, in order.
    pub push: Vec<Ticket>,
    /// Operations that are overtaken.
    pub parked: Vec<Ticket>,
    /// When time alone changes the plan.
    pub wake: Option<Duration>,
}

impl Plan {
    fn wake_at(&mut self, at: Duration) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// What the plan depends on beside the queue.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// How far operations have come; those without an entry have not been touched.
    pub stages: &'a HashMap<Ticket, Stage>,
    /// Operations that have a counter, and their order by it.
    pub frozen: &'a HashMap<Ticket, u64>,
    /// Files that are still open are sent at once up to this ticket: somebody waits.
    pub urged: Ticket,
    /// The time at which the queue was read: readiness counts from then.
    pub read_at: Duration,
    /// The time.
    pub now: Duration,
}

/// What an operation waits for.
enum Need {
    /// Nothing: it can be pushed.
    Nothing,
    /// Its content must be sent; wanted since then.
    Upload(Duration),
    /// Its content is on its way since then.
    Patience(Duration),
    /// Something that takes its own time, perhaps up to then.
    Other(Option<Duration>),
}

/// Plans what may be done now.
pub fn plan_batch(items: &[QueueItem], context: &Context<'_>) -> Plan {
    let mut plan = Plan::default();
    let held_by_frozen = plan_frozen(items, context, &mut plan);
    let mut order = Order { held: held_by_frozen, blockers: Blockers::default() };
    let mut unanswered = HashSet::new();
    for item in items {
        if is_frozen(item, context) || is_under_way(item, context) {
            unanswered.extend(item.content_of);
            continue;
        }
        // What it says of that content depends on the answer.
        let is_early = item.keys.iter().any(|key| matches!(key, QueueKey::Inode(ino) if unanswered.contains(ino)));
        let need = if is_early { Need::Other(None) } else { need_of(item, context) };
        if matches!(need, Need::Upload(_)) {
            plan.upload.push(item.ticket);
        }
        order.place(item, need, context.now, &mut plan);
    }
    plan
}

/// Takes all frozen operations, in order, up to the first that cannot go; says whether there is one.
fn plan_frozen(items: &[QueueItem], context: &Context<'_>, plan: &mut Plan) -> bool {
    let mut frozen: Vec<&QueueItem> =
        items.iter().filter(|item| is_frozen(item, context) && !is_under_way(item, context)).collect();
    frozen.sort_by_key(|item| context.frozen.get(&item.ticket));
    for item in frozen {
        match need_of(item, context) {
            Need::Nothing if plan.push.len() < PUSH_OPS_MAX => plan.push.push(item.ticket),
            Need::Nothing | Need::Patience(_) | Need::Other(None) => return true,
            Need::Other(Some(at)) => {
                plan.wake_at(at);
                return true;
            }
            Need::Upload(_) => {
                plan.upload.push(item.ticket);
                return true;
            }
        }
    }
    false
}

fn is_frozen(item: &QueueItem, context: &Context<'_>) -> bool {
    context.frozen.contains_key(&item.ticket)
}

fn is_under_way(item: &QueueItem, context: &Context<'_>) -> bool {
    matches!(context.stages.get(&item.ticket), Some(Stage::Pushing | Stage::Settling))
}

fn need_of(item: &QueueItem, context: &Context<'_>) -> Need {
    match context.stages.get(&item.ticket) {
        Some(Stage::Wanted { since, .. }) => Need::Upload(*since),
        Some(Stage::Delayed { until, since, .. }) if context.now >= *until => Need::Upload(*since),
        Some(Stage::Delayed { until, .. }) => Need::Other(Some(*until)),
        Some(Stage::Uploading { since }) => Need::Patience(*since),
        Some(Stage::Uploaded) => Need::Nothing,
        Some(Stage::Renaming | Stage::PuttingAside | Stage::Pushing | Stage::Settling) => Need::Other(None),
        None if is_frozen(item, context) => Need::Nothing,
        None => need_of_untouched(item, context),
    }
}

fn need_of_untouched(item: &QueueItem, context: &Context<'_>) -> Need {
    let ready = if item.content_of.is_some() { Need::Upload(context.now) } else { Need::Nothing };
    match item.readiness {
        Readiness::Ready => ready,
        Readiness::InFlight => Need::Other(None),
        Readiness::Half { .. } if item.ticket <= context.urged => ready,
        Readiness::Quiet { left } | Readiness::Half { left } => {
            // Time alone decides nothing: the next reading does.
            let at = context.read_at + left;
            Need::Other((at > context.now).then_some(at))
        }
        Readiness::Open { .. } if item.ticket <= context.urged => ready,
        Readiness::Open { quiet, age } => {
            let left_quiet = limits::OPEN_QUIET_MIN.saturating_sub(quiet);
            let left_age = limits::OPEN_AGE_MAX.saturating_sub(age);
            let left = left_quiet.min(left_age);
            // It may have been written to since: time alone makes nothing ready, only the next reading does.
            let at = context.read_at + left;
            if left.is_zero() { ready } else { Need::Other((at > context.now).then_some(at)) }
        }
    }
}

/// Keeps the order while the queue is walked.
struct Order {
    /// Whether nothing more may be pushed.
    held: bool,
    blockers: Blockers,
}

impl Order {
    fn place(&mut self, item: &QueueItem, need: Need, now: Duration, plan: &mut Plan) {
        if self.held {
            return note_wake(&need, plan);
        }
        if self.blockers.block(item) {
            return self.blockers.add(item);
        }
        match need {
            Need::Nothing if plan.push.len() < PUSH_OPS_MAX => plan.push.push(item.ticket),
            Need::Nothing => self.held = true,
            Need::Upload(since) | Need::Patience(since) => self.wait(item, since, now, plan),
            Need::Other(at) => {
                at.into_iter().for_each(|at| plan.wake_at(at));
                self.park(item, plan);
            }
        }
    }

    /// The queue waits a moment for a content that is on its way, then goes on without it.
    fn wait(&mut self, item: &QueueItem, since: Duration, now: Duration, plan: &mut Plan) {
        let patience_ends = since + limits::PARK_AFTER;
        if now >= patience_ends {
            self.park(item, plan);
        } else {
            plan.wake_at(patience_ends);
            self.held = true;
        }
    }

    fn park(&mut self, item: &QueueItem, plan: &mut Plan) {
        plan.parked.push(item.ticket);
        self.blockers.add(item);
        self.held = plan.parked.len() >= limits::PARKED_MAX;
    }
}

fn note_wake(need: &Need, plan: &mut Plan) {
    if let Need::Other(Some(at)) = need {
        plan.wake_at(*at);
    }
}

/// What held-back operations touch and lie below.
#[derive(Default)]
struct Blockers {
    keys: HashSet<QueueKey>,
    above: HashSet<Ino>,
    ordered: HashSet<Ino>,
}

impl Blockers {
    fn add(&mut self, item: &QueueItem) {
        self.keys.extend(item.keys.iter().cloned());
        self.above.extend(&item.above);
        self.ordered.extend(item.ordered_tree);
    }

    fn block(&self, item: &QueueItem) -> bool {
        let touches = |key: &QueueKey| match key {
            QueueKey::Inode(ino) => self.keys.contains(key) || self.above.contains(ino),
            QueueKey::Entry(..) => self.keys.contains(key),
        };
        item.ordered_tree.is_some_and(|tree| self.ordered.contains(&tree))
            || item.keys.iter().any(touches)
            || item.above.iter().any(|&ino| self.keys.contains(&QueueKey::Inode(ino)))
    }
}

#[cfg(test)]
mod tests;
