//! Owns how the rest of the client talks to the sync engine: status, waiting, waking, ending.

use super::driver::{Parts, Started, start};
use super::engine::EngineView;
use super::event::Event;
use super::lister::Lister;
use super::status::{SyncStatus, WaitOutcome};
use crate::meta::rows::Ticket;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Failures of the network in a row after which waiting ends: one may be a stale connection.
const FAILURES_MAX: u32 = 2;

/// A running sync engine. Dropping it without [`shutdown`](Self::shutdown) ends it as well, later.
pub struct SyncHandle {
    shared: Arc<super::driver::Shared>,
    events: mpsc::UnboundedSender<Event>,
    view: watch::Receiver<EngineView>,
    task: JoinHandle<()>,
}

impl fmt::Debug for SyncHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncHandle").field("view", &*self.view.borrow()).finish_non_exhaustive()
    }
}

impl Drop for SyncHandle {
    fn drop(&mut self) {
        self.tell(Event::Shutdown);
    }
}

impl SyncHandle {
    /// Starts syncing. Must be called inside a tokio runtime.
    pub fn start(parts: Parts) -> Self {
        let Started { shared, events, view, task } = start(parts);
        Self { shared, events, view, task }
    }

    /// Lists folders on demand.
    pub fn lister(&self) -> Lister {
        self.shared.lister.clone()
    }

    /// How syncing stands.
    pub fn status(&self) -> SyncStatus {
        let now = self.shared.env.clock.monotonic();
        let engine = self.view.borrow().clone();
        let (transferred, rate) = self.shared.meter.measure(now);
        let last_error_age = engine.last_error.as_ref().map(|error| now.saturating_sub(error.at));
        let (queue, cursor) = (self.shared.tree.totals(), self.shared.tree.cursor());
        SyncStatus { engine, queue, cursor, transferred, rate, last_error_age }
    }

    /// Changes of the engine's state, for those who watch.
    pub fn watch(&self) -> watch::Receiver<EngineView> {
        self.view.clone()
    }

    /// The machine's network changed: try at once.
    pub fn network_changed(&self) {
        self.tell(Event::NetworkChanged);
    }

    /// Begins again after a hold: the person has signed in.
    pub fn resume(&self) {
        self.tell(Event::Start);
    }

    /// Waits until everything that was queued before the call is durable on the server, files that are
    /// still open included. Says at once when that cannot be now. Dropping the future is safe.
    pub async fn wait_until_clean(&self) -> WaitOutcome {
        match self.shared.tree.last_ticket() {
            Some(last) => self.wait_until_settled(last).await,
            None => WaitOutcome::Clean,
        }
    }

    /// The same for everything up to a ticket.
    pub async fn wait_until_settled(&self, upto: Ticket) -> WaitOutcome {
        let mut view = self.view.clone();
        let started = self.shared.env.clock.monotonic();
        view.mark_unchanged();
        self.tell(Event::WaitRequested { upto });
        loop {
            if self.is_settled(upto) {
                return WaitOutcome::Clean;
            }
            if view.changed().await.is_err() {
                return WaitOutcome::Stuck("syncing has ended".into());
            }
            let obstacle = obstacle(&view.borrow_and_update(), started);
            if let Some(outcome) = obstacle {
                // Held or stuck over something later than what is waited for is none of our business.
                return if self.is_settled(upto) { WaitOutcome::Clean } else { outcome };
            }
        }
    }

    fn is_settled(&self, upto: Ticket) -> bool {
        self.shared.tree.first_ticket().is_none_or(|first| first > upto)
    }

    /// Ends all tasks. What is queued stays queued; what was being sent is sent again next time.
    pub async fn shutdown(mut self) {
        self.tell(Event::Shutdown);
        // An error says that it ended by itself, in a panic: it has ended.
        let _ = (&mut self.task).await;
    }

    fn tell(&self, event: Event) {
        // An engine that has ended wants to know nothing.
        let _ = self.events.send(event);
    }
}

/// What stands in the way, as far as is known since `started`.
fn obstacle(view: &EngineView, started: Duration) -> Option<WaitOutcome> {
    if let Some(held) = view.held {
        return Some(WaitOutcome::Held(held));
    }
    let error = view.last_error.as_ref().filter(|error| error.at >= started)?;
    let is_stuck = view.delayed_count > 0 || (!view.is_gate_open && view.failures >= FAILURES_MAX);
    is_stuck.then(|| WaitOutcome::Stuck(error.reason.clone()))
}
