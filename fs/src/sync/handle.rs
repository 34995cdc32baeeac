//! Owns how the rest of the client talks to the sync engine: status, waiting, waking, ending.

use super::driver::{Parts, Started, start};
use super::engine::EngineView;
use super::event::Event;
use super::goal::Goal;
use super::lister::Lister;
use super::status::{SyncStatus, WaitOutcome};
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

    /// Looks for what is new on the server.
    pub fn pull(&self) {
        self.tell(Event::PullWanted);
    }

    /// Begins again after a hold: the person has signed in.
    pub fn resume(&self) {
        self.tell(Event::Start);
    }

    /// Waits until everything that was queued before the call is durable on the server, files that are
    /// still open included. Says at once when that cannot be now. Dropping the future is safe.
    pub async fn wait_until_clean(&self) -> WaitOutcome {
        self.wait_until(&Goal::all(self.shared.tree.last_ticket())).await
    }

    /// The same for what is named.
    pub async fn wait_until(&self, goal: &Goal) -> WaitOutcome {
        let Some(upto) = goal.last() else { return WaitOutcome::Clean };
        let mut view = self.view.clone();
        let started = self.shared.env.clock.monotonic();
        view.mark_unchanged();
        self.tell(Event::WaitRequested { upto });
        loop {
            if self.is_reached(goal) {
                return WaitOutcome::Clean;
            }
            if view.changed().await.is_err() {
                return WaitOutcome::Stuck("syncing has ended".into());
            }
            let obstacle = obstacle(&view.borrow_and_update(), started, goal);
            if let Some(outcome) = obstacle {
                // Held or stuck over something later than what is waited for is none of our business.
                return if self.is_reached(goal) { WaitOutcome::Clean } else { outcome };
            }
        }
    }

    fn is_reached(&self, goal: &Goal) -> bool {
        match goal {
            Goal::Upto(upto) => self.shared.tree.first_ticket().is_none_or(|first| first > *upto),
            Goal::These(tickets) => !self.shared.tree.is_any_queued(tickets),
        }
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
fn obstacle(view: &EngineView, started: Duration, goal: &Goal) -> Option<WaitOutcome> {
    if let Some(held) = view.held {
        return Some(WaitOutcome::Held(held));
    }
    let stuck = view.stuck.iter().find(|stuck| stuck.at >= started && goal.covers(stuck.ticket));
    if let Some(stuck) = stuck {
        return Some(WaitOutcome::Stuck(stuck.reason.clone()));
    }
    if view.is_gate_open || view.failures < FAILURES_MAX {
        return None;
    }
    let error = view.last_error.as_ref().filter(|error| error.at >= started)?;
    let reason = error.reason.clone();
    Some(if error.is_passing { WaitOutcome::Away(reason) } else { WaitOutcome::Stuck(reason) })
}

#[cfg(test)]
mod tests {
    use super::super::engine::{Engine, LastError, Stuck};
    use super::super::testing::{FakeTree, SPACE, parts};
    use super::*;
    use crate::meta::rows::Ticket;
    use crate::remote::memory::MemoryServer;
    use tarn_proto::ids::DeviceId;

    fn running() -> Started {
        let remote = Arc::new(MemoryServer::new(SPACE).device(DeviceId([1; 16])));
        start(parts(Arc::new(FakeTree::default()), remote))
    }

    #[tokio::test]
    async fn what_the_handle_is_told_the_engine_hears_and_its_end_as_well() {
        let Started { shared, view, task, .. } = running();
        let (events, mut heard) = mpsc::unbounded_channel();
        let handle = SyncHandle { shared, events, view, task };
        handle.network_changed();
        handle.pull();
        handle.resume();
        drop(handle);
        let mut next = || heard.try_recv().expect("it was told");
        assert!(matches!(next(), Event::NetworkChanged));
        assert!(matches!(next(), Event::PullWanted));
        assert!(matches!(next(), Event::Start));
        assert!(matches!(next(), Event::Shutdown));
    }

    #[tokio::test]
    async fn after_shutdown_nothing_runs_any_more() {
        let Started { shared, events, view, task } = running();
        let handle = SyncHandle { shared, events, view, task };
        let view = handle.watch();
        assert!(view.has_changed().is_ok());
        handle.shutdown().await;
        assert!(view.has_changed().is_err());
    }

    #[test]
    fn only_what_is_waited_for_can_be_in_the_way() {
        let mut view = Engine::new(1).view(Duration::ZERO);
        view.stuck = vec![Stuck { ticket: Ticket(3), at: Duration::from_secs(2), reason: "unreadable".into() }];
        let found = |goal: &Goal, started: u64| obstacle(&view, Duration::from_secs(started), goal);
        let stuck = Some(WaitOutcome::Stuck("unreadable".into()));
        assert_eq!(found(&Goal::Upto(Ticket(5)), 1), stuck);
        assert_eq!(found(&Goal::Upto(Ticket(2)), 1), None);
        assert_eq!(found(&Goal::These([Ticket(3)].into()), 1), stuck);
        assert_eq!(found(&Goal::These([Ticket(2), Ticket(4)].into()), 1), None);
        assert_eq!(found(&Goal::Upto(Ticket(5)), 3), None, "it may have passed since");
    }

    #[test]
    fn one_failure_of_the_network_is_in_nobody_s_way_and_an_old_one_is_not_either() {
        let mut view = Engine::new(1).view(Duration::ZERO);
        let found =
            |view: &EngineView, started: u64| obstacle(view, Duration::from_secs(started), &Goal::Upto(Ticket(5)));
        let error = LastError { at: Duration::from_secs(2), reason: "away".into(), is_passing: true };
        (view.is_gate_open, view.failures, view.last_error) = (false, FAILURES_MAX - 1, Some(error));
        assert_eq!(found(&view, 1), None);
        view.failures = FAILURES_MAX;
        assert_eq!(found(&view, 1), Some(WaitOutcome::Away("away".into())));
        assert_eq!(found(&view, 3), None, "nothing has failed since");
        view.failures += 1;
        assert_eq!(found(&view, 1), Some(WaitOutcome::Away("away".into())));
        view.is_gate_open = true;
        assert_eq!(found(&view, 1), None, "it may be tried now");
    }
}
