//! Owns the tasks that do what the engine asks, and the handle by which the rest of the client talks to
//! it. Decides nothing: every decision is the engine's. Every task answers with one event, even when it
//! panics; ending the driver ends all of them.

use super::apply::{Applier, Job};
use super::engine::{Engine, EngineView};
use super::event::{Action, Event, Failure, Standing, UploadResult};
use super::lister::Lister;
use super::notices::Link;
use super::ports::{Identity, SyncTree};
use super::pull::Puller;
use super::push::Pusher;
use super::recover::Recoverer;
use super::status::RateMeter;
use super::upload::Uploader;
use crate::env::Env;
use crate::meta::rows::Ticket;
use crate::remote::{Remote, RemoteError, TransferCounters};
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::api::Answer;
use tarn_proto::change::Cursor;
use tarn_proto::ids::SpaceId;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// What the driver is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The outside world.
    pub env: Env,
    /// Which space.
    pub space: SpaceId,
    /// The tree and its queue.
    pub tree: Arc<dyn SyncTree>,
    /// The server.
    pub remote: Arc<dyn Remote>,
    /// Who this device is.
    pub identity: Arc<dyn Identity>,
    /// What went over the network.
    pub counters: Arc<TransferCounters>,
}

/// What tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub env: Env,
    pub tree: Arc<dyn SyncTree>,
    pub identity: Arc<dyn Identity>,
    pub meter: RateMeter,
    pub lister: Lister,
    uploader: Arc<Uploader>,
    puller: Puller,
    pusher: Pusher,
    applier: Applier,
    link: Link,
}

/// The running driver, seen from inside.
struct Driver {
    shared: Arc<Shared>,
    engine: Engine,
    events: mpsc::UnboundedSender<Event>,
    view: watch::Sender<EngineView>,
    timer: Option<Duration>,
    /// Changes of the queue are not looked at before.
    deaf_until: Duration,
    tasks: JoinSet<()>,
    applying: JoinHandle<()>,
}

/// Changes of the queue that come closer together than this are one.
const CHANGES_GATHER: Duration = Duration::from_millis(1);

/// What [`super::SyncHandle`] is made of.
pub(super) struct Started {
    pub shared: Arc<Shared>,
    pub events: mpsc::UnboundedSender<Event>,
    pub view: watch::Receiver<EngineView>,
    pub task: JoinHandle<()>,
}

/// Starts syncing. Must be called inside a tokio runtime.
pub(super) fn start(parts: Parts) -> Started {
    let Parts { env, space, tree, remote, identity, counters } = parts;
    let (events, inbox) = mpsc::unbounded_channel();
    let (applier, applying) = Applier::start(&env, Arc::clone(&tree));
    let uploader = Arc::new(Uploader::new(env.clone(), space, Arc::clone(&tree), Arc::clone(&remote)));
    let lister = Lister::new(env.clone(), space, Arc::clone(&tree), Arc::clone(&remote));
    let puller = puller(&lister, (&tree, &remote), &uploader, &applier, (&env, space));
    let seed = u64::from_le_bytes(env.rng.id()[..8].try_into().expect("8 of 16 bytes"));
    let engine = Engine::new(seed);
    let (view, watched) = watch::channel(engine.view(env.clock.monotonic()));
    let shared = Arc::new(Shared {
        uploader,
        lister,
        pusher: Pusher::new(env.clone(), space, Arc::clone(&tree), Arc::clone(&remote)),
        link: Link::new(space, Arc::clone(&remote), events.clone()),
        meter: RateMeter::new(counters),
        env,
        tree,
        identity,
        puller,
        applier,
    });
    let driver = Driver {
        shared: Arc::clone(&shared),
        engine,
        events: events.clone(),
        view,
        timer: None,
        deaf_until: Duration::ZERO,
        tasks: JoinSet::new(),
        applying,
    };
    let task = tokio::spawn(driver.run(inbox));
    let _ = events.send(Event::Start);
    Started { shared, events, view: watched, task }
}

fn puller(
    lister: &Lister,
    (tree, remote): (&Arc<dyn SyncTree>, &Arc<dyn Remote>),
    uploader: &Arc<Uploader>,
    applier: &Applier,
    (env, space): (&Env, SpaceId),
) -> Puller {
    let recoverer = Recoverer {
        env: env.clone(),
        space,
        tree: Arc::clone(tree),
        remote: Arc::clone(remote),
        uploader: Arc::clone(uploader),
    };
    let (tree, remote) = (Arc::clone(tree), Arc::clone(remote));
    Puller { env: env.clone(), space, tree, remote, lister: lister.clone(), applier: applier.clone(), recoverer }
}

/// Answers with an event, whatever happens: with the fallback if it is dropped.
struct Reply {
    events: mpsc::UnboundedSender<Event>,
    fallback: Option<Event>,
}

impl Reply {
    fn send(mut self, event: Event) {
        self.fallback = None;
        // The driver may have ended: then nobody wants to know.
        let _ = self.events.send(event);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(event) = self.fallback.take() {
            let _ = self.events.send(event);
        }
    }
}

fn broken() -> Failure {
    Failure::Local("a task was broken off".into())
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Event>) {
        let changed = self.shared.tree.changed();
        loop {
            let event = self.next(&mut inbox, &changed).await;
            let is_last = matches!(event, Event::Shutdown);
            self.timer = self.timer.filter(|_| !matches!(event, Event::Tick));
            let now = self.shared.env.clock.monotonic();
            if matches!(event, Event::QueueChanged) {
                self.deaf_until = now + CHANGES_GATHER;
            }
            self.shared.meter.sample(now);
            for action in self.engine.handle(event, now) {
                self.act(action);
            }
            self.view.send_replace(self.engine.view(now));
            while self.tasks.try_join_next().is_some() {}
            if is_last {
                break;
            }
        }
        self.tasks.shutdown().await;
        // What is being applied is applied to its end.
        let _ = self.shared.applier.run(Job::Nothing).await;
        self.applying.abort();
    }

    /// The next thing that happens. Cancel-safe: nothing is lost when another comes first.
    async fn next(&self, inbox: &mut mpsc::UnboundedReceiver<Event>, changed: &Notify) -> Event {
        let now = self.shared.env.clock.monotonic();
        let left = self.timer.map_or(Duration::MAX, |at| at.saturating_sub(now));
        let deaf = self.deaf_until.saturating_sub(now);
        let changes = async {
            if !self.engine.wants_changes(now) {
                // Whoever changes the queue wakes nobody then; what it said is heard after the next reading began.
                return std::future::pending().await;
            }
            if !deaf.is_zero() {
                self.shared.env.sleep(deaf).await;
            }
            changed.notified().await;
        };
        tokio::select! {
            biased;
            event = inbox.recv() => event.unwrap_or(Event::Shutdown),
            () = changes => Event::QueueChanged,
            () = self.shared.env.sleep(left) => Event::Tick,
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::ReadQueue { max } => self.read_queue(max),
            Action::Upload { group, tickets, resend } => self.upload(group, tickets, resend),
            Action::Push { tickets } => self.push(tickets),
            Action::Settle { answers, before, after } => self.settle(answers, before, after),
            Action::Rename { ticket } => self.rename(ticket),
            Action::PutAside { ticket } => self.put_aside(ticket),
            Action::Pull { full } => self.pull(full),
            Action::OpenLink => self.open_link(),
            Action::CloseLink => self.shared.link.close(),
            Action::RenewIdentity => self.renew(),
            Action::SetTimer { at } => self.timer = Some(at),
        }
    }

    /// Runs a task that answers with one event.
    fn spawn<F>(&mut self, fallback: Event, work: impl FnOnce(Arc<Shared>) -> F)
    where
        F: Future<Output = Event> + Send + 'static,
    {
        let reply = Reply { events: self.events.clone(), fallback: Some(fallback) };
        let work = work(Arc::clone(&self.shared));
        self.tasks.spawn(async move { reply.send(work.await) });
    }

    fn read_queue(&mut self, max: usize) {
        let fallback = Event::QueueUnread { reason: broken().to_string() };
        self.spawn(fallback, move |shared| async move {
            let tree = Arc::clone(&shared.tree);
            match shared.env.blocking(move || tree.queue(max)).await {
                Ok(Ok(items)) => {
                    shared.uploader.forget_before(items.first().map(|item| item.ticket));
                    Event::QueueRead { items }
                }
                Ok(Err(error)) => Event::QueueUnread { reason: error.to_string() },
                Err(error) => Event::QueueUnread { reason: error.to_string() },
            }
        });
    }

    fn upload(&mut self, group: u64, tickets: Vec<Ticket>, resend: bool) {
        let failed = |ticket: &Ticket| (*ticket, UploadResult::Failed(broken()));
        let fallback = Event::UploadEnded { group, results: tickets.iter().map(failed).collect() };
        self.spawn(fallback, move |shared| async move {
            Event::UploadEnded { group, results: shared.uploader.upload(tickets, resend).await }
        });
    }

    fn push(&mut self, tickets: Vec<Ticket>) {
        self.spawn(Event::PushFailed { error: broken() }, move |shared| async move {
            let batch = tickets.into_iter().map(|ticket| (ticket, shared.uploader.content_of(ticket))).collect();
            match shared.pusher.push(&shared.puller, batch).await {
                Ok(pushed) => {
                    shared.uploader.forget(&pushed.gone);
                    let (before, after) = pushed.cursors.unzip();
                    Event::PushAnswered { answers: pushed.answers, gone: pushed.gone, before, after }
                }
                Err(error) => Event::PushFailed { error },
            }
        });
    }

    fn settle(&mut self, answers: Vec<(Ticket, Answer)>, before: Cursor, after: Cursor) {
        let tickets: Vec<Ticket> = answers.iter().map(|(ticket, _)| *ticket).collect();
        let fallback = Event::Settled { tickets: tickets.clone(), result: Err(broken().to_string()) };
        // Handed in here and not in the task: the order of settling is the order of pushing.
        let applied = self.shared.applier.run(Job::Settle { answers, before, after });
        self.spawn(fallback, move |shared| async move {
            let result = applied.await.map(|()| shared.standing(&after));
            if result.is_ok() {
                shared.uploader.forget(&tickets);
                shared.link.receive_up_to(shared.tree.cursor());
            }
            Event::Settled { tickets, result }
        });
    }

    fn rename(&mut self, ticket: Ticket) {
        let fallback = Event::Renamed { ticket, result: Err(broken().to_string()) };
        self.spawn(fallback, move |shared| async move {
            let tree = Arc::clone(&shared.tree);
            let result = shared.env.blocking(move || tree.refreeze_with_other_name(ticket)).await;
            let result = result.map_err(|e| e.to_string()).and_then(|done| done.map_err(|e| e.to_string()));
            Event::Renamed { ticket, result }
        });
    }

    fn put_aside(&mut self, ticket: Ticket) {
        let fallback = Event::PutAside { ticket, result: Err(broken().to_string()) };
        self.spawn(fallback, move |shared| async move {
            let tree = Arc::clone(&shared.tree);
            let result = shared.env.blocking(move || tree.put_aside(ticket)).await;
            let result = result.map_err(|e| e.to_string()).and_then(|done| done.map_err(|e| e.to_string()));
            shared.uploader.forget(&[ticket]);
            Event::PutAside { ticket, result }
        });
    }

    fn pull(&mut self, full: bool) {
        self.spawn(Event::PullEnded { result: Err(broken()) }, move |shared| async move {
            let result = shared.puller.pull(full).await;
            if result.is_ok() {
                shared.pusher.forget_origin();
                shared.link.receive_up_to(shared.tree.cursor());
                // With the whole tree came all that folders lacked.
                shared.lister.look_again();
            }
            Event::PullEnded { result }
        });
    }

    fn open_link(&mut self) {
        self.spawn(Event::LinkLost { error: broken() }, move |shared| async move { shared.link.serve().await });
    }

    fn renew(&mut self) {
        let fallback = Event::IdentityRenewed { result: Err(broken()) };
        self.spawn(fallback, move |shared| async move { Event::IdentityRenewed { result: shared.renew().await } });
    }
}

impl Shared {
    /// Where the device stands after answers that led to `after`.
    fn standing(&self, after: &Cursor) -> Standing {
        match self.tree.cursor() {
            // The full pull is under way and brings everything.
            None => Standing { seq: after.seq, gap: false },
            Some(cursor) => {
                let is_there = cursor.epoch == after.epoch && cursor.seq >= after.seq;
                Standing { seq: cursor.seq, gap: !is_there }
            }
        }
    }

    async fn renew(&self) -> Result<(), Failure> {
        let device = self.identity.renew().await.map_err(Failure::Remote)?;
        let tree = Arc::clone(&self.tree);
        let done = self.env.blocking(move || tree.device_rolled_back(device)).await;
        let done = done.map_err(|e| Failure::Local(e.to_string()))?;
        done.map_err(|e| Failure::Local(e.to_string()))
    }
}

/// The error of something that ended without saying why.
pub(super) fn ended() -> Failure {
    Failure::Remote(RemoteError::Unreachable("the notice socket ended".into()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{FakeTree, SPACE, parts};
    use super::*;
    use crate::remote::memory::MemoryServer;
    use tarn_proto::ids::{DeviceId, EpochId, JournalHash};

    #[test]
    fn a_task_answers_once_and_also_when_it_is_broken_off() {
        let (events, mut heard) = mpsc::unbounded_channel();
        let reply = || Reply { events: events.clone(), fallback: Some(Event::PullEnded { result: Err(broken()) }) };
        drop(reply());
        assert!(matches!(heard.try_recv(), Ok(Event::PullEnded { result: Err(_) })));
        reply().send(Event::Tick);
        assert!(matches!(heard.try_recv(), Ok(Event::Tick)));
        assert!(heard.try_recv().is_err());
    }

    #[tokio::test]
    async fn answers_leave_a_gap_unless_the_device_stands_where_they_led() {
        let at = |epoch, seq| Cursor { epoch: EpochId([epoch; 16]), seq, hash: JournalHash([0; 32]) };
        let tree = Arc::new(FakeTree::default());
        let remote = Arc::new(MemoryServer::new(SPACE).device(DeviceId([1; 16])));
        let shared = start(parts(tree.clone(), remote)).shared;
        assert_eq!(shared.standing(&at(1, 4)), Standing { seq: 4, gap: false }, "a full pull is under way");
        tree.follow(Some(at(1, 5)), &[], Vec::new());
        for (after, gap) in [(at(1, 4), false), (at(1, 5), false), (at(1, 6), true), (at(2, 5), true)] {
            assert_eq!(shared.standing(&after), Standing { seq: 5, gap }, "{after:?}");
        }
    }
}
