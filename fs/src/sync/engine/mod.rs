//! Owns the sync engine: events in, actions out. No I/O, no clock, no task: the same engine runs under
//! the mount and under the simulation. Start at [`Engine::handle`]; what may go when is in `plan`.
//!
//! Two things gate its work. The *link* (see `link`) is the notice socket. The *gate* is the back-off of
//! requests: closed by a failure, opened by its time, a success, or a person who waits. A *hold* stops
//! everything until a person acts; what is queued stays queued.
//!
//! An operation goes through these stages (`plan::Stage`):
//!
//! ```text
//!  with content: Wanted ──▶ Uploading ──▶ Uploaded ─┐
//!                  ▲            │ failed            │
//!                  ├── Delayed ◀┘                   ▼
//!                  │      MissingChunks          Pushing ──▶ Settling ──▶ (gone)
//!                  └──────────────────────────────  │ ▲
//!  without: (untouched) ────────────────────────────┼─┘
//!                   ▲    Skipped, RetryLater        │
//!                   ├───────────────────────────────┤
//!                   └──────── Renaming ◀────────────┘ NeedsName
//! ```

mod pull;
mod push;
mod reading;
#[cfg(test)]
mod tests;
mod upload;
mod view;

use super::backoff::Backoff;
use super::event::{Action, Event, Failure};
use super::link::{LinkEvent, LinkState};
use super::pace::Pace;
use super::plan::{Context, Plan, Stage, plan_batch};
use crate::limits;
use crate::meta::rows::Ticket;
use crate::remote::RemoteError;
use crate::tree::{QueueItem, Readiness};
use pull::PullState;
use reading::Reading;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tarn_proto::error::ErrorCode;
use tarn_proto::limits::PUSH_OPS_MAX;
use upload::Group;

pub use view::{EngineView, Held, LastError, Stuck};

/// The sync engine of one space.
#[derive(Debug)]
pub struct Engine {
    items: Vec<QueueItem>,
    stages: HashMap<Ticket, Stage>,
    /// Operations that have been in a push, by the order of their counters: they may have reached the
    /// server, whatever the queue said when it was read.
    sent: HashMap<Ticket, u64>,
    sent_count: u64,
    /// When and why contents could not be read the last time.
    unreadable: BTreeMap<Ticket, (Duration, String)>,
    reading: Reading,
    groups: HashMap<u64, Group>,
    next_group: u64,
    is_pushing: bool,
    settling_count: usize,
    /// Operations in one push: shrinks when the server refuses a push as a whole.
    batch_max: usize,
    pull: PullState,
    link: LinkState,
    /// Whether the driver has been asked for the socket and has not said yet that it is gone.
    is_link_asked: bool,
    link_retry: Backoff,
    gate: Backoff,
    held: Option<Held>,
    /// The device's counters fell behind: nothing is pushed before it has a new id.
    is_renewing: bool,
    is_renewal_asked: bool,
    urged: Ticket,
    parked_count: usize,
    /// Nothing happened since the last plan that could change it before its time.
    is_planned: bool,
    /// When time alone changes the plan.
    plan_wake: Option<Duration>,
    upload_pace: Pace,
    push_pace: Pace,
    timer: Option<Duration>,
    last_error: Option<LastError>,
}

impl Engine {
    /// An engine that does nothing before `Start`; `seed` spreads the attempts of many devices.
    pub fn new(seed: u64) -> Self {
        Self {
            items: Vec::new(),
            stages: HashMap::new(),
            sent: HashMap::new(),
            sent_count: 0,
            unreadable: BTreeMap::new(),
            reading: Reading::default(),
            groups: HashMap::new(),
            next_group: 0,
            is_pushing: false,
            settling_count: 0,
            batch_max: PUSH_OPS_MAX,
            pull: PullState::default(),
            link: LinkState::Offline,
            is_link_asked: false,
            link_retry: Backoff::new(seed),
            gate: Backoff::new(seed.rotate_left(17)),
            held: None,
            is_renewing: false,
            is_renewal_asked: false,
            urged: Ticket(0),
            parked_count: 0,
            is_planned: false,
            plan_wake: None,
            upload_pace: Pace::default(),
            push_pace: Pace::default(),
            timer: None,
            last_error: None,
        }
    }

    /// Takes one event and says what is to be done now.
    pub fn handle(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        // Under load the queue changes thousands of times a second, and only reading it says how.
        self.is_planned &= matches!(event, Event::QueueChanged);
        self.apply(event, now, &mut actions);
        self.pump(now, &mut actions);
        actions
    }

    fn apply(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::Start => self.start(),
            Event::QueueChanged => {
                self.reading.is_stale = true;
                self.gate.hasten(now, limits::BACKOFF_MAX);
                self.link_retry.hasten(now, limits::BACKOFF_MAX);
            }
            Event::QueueRead { items } => self.queue_read(items, now),
            Event::QueueUnread { reason } => {
                self.reading.is_running = false;
                self.reading.is_stale = true;
                self.failed(&Failure::Local(reason), now);
            }
            Event::UploadEnded { group, results } => self.upload_ended(group, results, now),
            Event::PushAnswered { answers, gone, before, after } => {
                self.push_answered(answers, &gone, before.zip(after), now, actions);
            }
            Event::PushFailed { error } => self.push_failed(&error, now),
            Event::Settled { tickets, result } => self.settled(&tickets, result, now),
            Event::Renamed { ticket, result } => self.renamed(ticket, result, now),
            Event::PutAside { ticket, result } => self.put_aside(ticket, result, now),
            Event::PullWanted => self.pull.is_wanted = true,
            Event::PullEnded { result } => self.pull_ended(result, now),
            Event::Noticed { seq } => self.pull.noticed_seq = self.pull.noticed_seq.max(seq),
            Event::LinkOpened => self.link_opened(),
            Event::LinkLost { error } => self.link_lost(&error, now),
            Event::Revoked => self.hold(Held::SignedOut, actions),
            Event::IdentityRenewed { result } => self.identity_renewed(result, now, actions),
            Event::Tick => self.tick(),
            Event::WaitRequested { upto } => {
                self.urged = self.urged.max(upto);
                self.reading.is_stale = true;
                self.wake();
            }
            Event::NetworkChanged => self.network_changed(),
            Event::Shutdown => self.stop(actions),
        }
        self.close_link_if_held(actions);
    }

    /// Decides what to do next. Everything that is due is asked for here and nowhere else.
    fn pump(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.link == LinkState::Offline || self.held.is_some() {
            return;
        }
        let mut wake = self.pump_link(now, actions);
        if !self.gate.is_open(now) {
            return self.set_timer(earliest(wake, self.gate.until()), actions);
        }
        wake = earliest(wake, self.pump_reading(now, actions));
        if self.is_renewing {
            self.pump_renewal(actions);
        } else {
            wake = earliest(wake, self.pump_pull(now, actions));
            self.pump_plan(now, actions);
            wake = earliest(wake, self.plan_wake);
        }
        self.set_timer(wake, actions);
    }

    fn pump_plan(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let is_due = self.plan_wake.is_some_and(|at| now >= at);
        if self.is_planned && !is_due {
            return;
        }
        let plan = self.plan(now);
        let uploads = self.pump_uploads(&plan, now, actions);
        let pushes = self.pump_push(&plan, now, actions);
        self.plan_wake = earliest(plan.wake, earliest(uploads, pushes));
        self.is_planned = true;
    }

    fn plan(&mut self, now: Duration) -> Plan {
        let context =
            Context { stages: &self.stages, frozen: &self.sent, urged: self.urged, read_at: self.reading.at(), now };
        let plan = plan_batch(&self.items, &context);
        self.parked_count = plan.parked.len();
        plan
    }

    fn set_timer(&mut self, wake: Option<Duration>, actions: &mut Vec<Action>) {
        if let Some(at) = wake
            && self.timer != Some(at)
        {
            self.timer = Some(at);
            actions.push(Action::SetTimer { at });
        }
    }

    fn start(&mut self) {
        self.held = None;
        self.link.apply(LinkEvent::Start);
        self.reading.is_stale = true;
        self.pull.is_wanted = true;
        self.wake();
    }

    fn tick(&mut self) {
        self.timer = None;
        // How quiet an open file has been, and for how long a first half has waited, is known from reading alone.
        let waits = |item: &QueueItem| !matches!(item.readiness, Readiness::Ready | Readiness::InFlight);
        self.reading.is_stale |= self.items.iter().any(waits);
    }

    fn stop(&mut self, actions: &mut Vec<Action>) {
        if self.link.apply(LinkEvent::Stop) {
            actions.push(Action::CloseLink);
        }
    }

    /// Nothing is tried any more until a person acts. What is queued stays.
    fn hold(&mut self, held: Held, actions: &mut Vec<Action>) {
        self.held = Some(held);
        self.stop(actions);
    }

    fn close_link_if_held(&mut self, actions: &mut Vec<Action>) {
        if self.held.is_some() {
            self.stop(actions);
        }
    }

    fn wake(&mut self) {
        self.gate.wake();
        self.link_retry.wake();
    }

    /// What failed before says nothing of the network that there is now.
    fn network_changed(&mut self) {
        self.gate.succeed();
        self.link_retry.succeed();
    }

    fn pump_link(&mut self, now: Duration, actions: &mut Vec<Action>) -> Option<Duration> {
        match self.link {
            LinkState::BackingOff if self.link_retry.is_open(now) => {
                self.link.apply(LinkEvent::Due);
            }
            LinkState::BackingOff => return self.link_retry.until(),
            LinkState::Connecting | LinkState::Online | LinkState::Offline => {}
        }
        if self.link == LinkState::Connecting && !self.is_link_asked {
            self.is_link_asked = true;
            actions.push(Action::OpenLink);
        }
        None
    }

    fn link_opened(&mut self) {
        if self.link.apply(LinkEvent::Opened) {
            self.link_retry.succeed();
            // Notices were missed while the socket was gone.
            self.pull.is_wanted = true;
            self.gate.wake();
        }
    }

    fn link_lost(&mut self, error: &Failure, now: Duration) {
        self.is_link_asked = false;
        let wait_max = self.wait_max();
        if self.link.apply(LinkEvent::Lost) {
            self.link_retry.fail(now, wait_max);
            self.note(error.to_string(), is_passing(error), now);
        }
        self.hold_if_signed_out(error);
    }

    /// A request succeeded: the network is there.
    fn succeeded(&mut self) {
        self.gate.succeed();
        if self.link == LinkState::BackingOff {
            self.link_retry.wake();
        }
    }

    /// A request failed: all wait.
    fn failed(&mut self, error: &Failure, now: Duration) {
        self.note(error.to_string(), is_passing(error), now);
        self.gate.fail(now, self.wait_max());
        self.hold_if_signed_out(error);
    }

    /// While nothing is queued nobody is in a hurry.
    fn wait_max(&self) -> Duration {
        let is_quiet = self.items.is_empty() && !self.reading.is_stale;
        if is_quiet { limits::LINK_BACKOFF_MAX } else { limits::BACKOFF_MAX }
    }

    fn hold_if_signed_out(&mut self, error: &Failure) {
        if let Failure::Remote(RemoteError::Refused { code: ErrorCode::Unauthenticated, .. }) = error {
            self.held = Some(Held::SignedOut);
        }
    }

    fn note(&mut self, reason: String, is_passing: bool, now: Duration) {
        self.last_error = Some(LastError { at: now, reason, is_passing });
    }

    /// Nothing is frozen any more.
    fn start_afresh(&mut self) {
        self.sent.clear();
        self.reading.discard = self.reading.is_running;
    }

    fn identity_renewed(&mut self, result: Result<(), Failure>, now: Duration, actions: &mut Vec<Action>) {
        self.is_renewal_asked = false;
        match result {
            Ok(()) => {
                // The notice socket is the old device's: it would not hear of what that one does.
                actions.push(Action::CloseLink);
                self.is_renewing = false;
                self.gate.succeed();
                self.start_afresh();
                self.pull.is_wanted = true;
                self.reading.is_stale = true;
            }
            Err(error) => {
                self.failed(&error, now);
                if let Failure::Remote(RemoteError::Refused { .. }) = error {
                    self.held.get_or_insert(Held::MustSignInAnew);
                }
            }
        }
    }
}

fn earliest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

fn code_of(error: &Failure) -> Option<ErrorCode> {
    match error {
        Failure::Remote(RemoteError::Refused { code, .. }) => Some(*code),
        Failure::Remote(_) | Failure::Local(_) | Failure::NotYet(_) => None,
    }
}

/// Whether the server is only away or busy, or this device is not ready yet.
fn is_passing(error: &Failure) -> bool {
    match error {
        Failure::Remote(error) => error.is_retryable(),
        Failure::NotYet(_) => true,
        Failure::Local(_) => false,
    }
}
