//! Owns waiting until what was done is durable on the server, and taking the mount away.

use super::MountService;
use super::looks::{held_deletes_text, held_text, no_room_text, queue_status};
use crate::control::messages::{Progress, QueueStatus};
use crate::control::{Failure, MountPath, ProgressSink};
use crate::meta::rows::{Ino, ROOT};
use crate::sync::{Goal, WaitOutcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// An attempt that failed because the server is away is followed by the next one after this.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long a command that needs the server waits for what it builds on.
const SENT_WAIT: Duration = Duration::from_secs(30);

impl MountService {
    /// Waits for everything that was done before the call.
    pub(super) async fn wait_for(
        &self,
        path: &MountPath,
        timeout: Option<Duration>,
        sink: &ProgressSink,
    ) -> Result<(), Failure> {
        let waited = async {
            let goal = self.goal(path).await?;
            tokio::select! {
                outcome = self.reached(&goal) => outcome,
                never = self.report(sink) => never,
            }
        };
        match timeout {
            None => waited.await,
            Some(timeout) => tokio::time::timeout(timeout, waited).await.unwrap_or_else(|_| Err(self.late(timeout))),
        }
    }

    /// Everything for the mount; for a file or folder what it depends on.
    async fn goal(&self, path: &MountPath) -> Result<Goal, Failure> {
        let ino = self.find(path).await?;
        if ino == ROOT {
            return Ok(Goal::all(self.parts.tree.last_ticket()));
        }
        self.goal_of(&self.shown(path), ino).await
    }

    async fn goal_of(&self, what: &str, ino: Ino) -> Result<Goal, Failure> {
        let tickets = self.parts.on_tree(what, move |tree| tree.tickets_of(ino)).await?;
        Ok(Goal::These(tickets))
    }

    /// Returns when what was done to a file is on the server; not for long if that is away.
    pub(super) async fn sent(&self, ino: Ino) -> Result<(), Failure> {
        let goal = self.goal_of("conflicts", ino).await?;
        tokio::time::timeout(SENT_WAIT, self.reached(&goal)).await.unwrap_or_else(|_| Err(self.late(SENT_WAIT)))
    }

    async fn reached(&self, goal: &Goal) -> Result<(), Failure> {
        tokio::select! {
            outcome = self.settled(goal) => outcome,
            held = self.held(goal) => Err(held),
        }
    }

    /// Returns once something that is waited for is held until a person decides.
    async fn held(&self, goal: &Goal) -> Failure {
        loop {
            let (parts, of) = (Arc::clone(&self.parts), goal.tickets().cloned());
            let looked = spawn_blocking(move || {
                let of = of.as_ref();
                (parts.tree.held_deletes(of), parts.tree.waiting_for_room(of))
            });
            match looked.await {
                Ok((Ok(Some(held)), _)) => return Failure::failed(held_deletes_text(&held)),
                Ok((_, Some(no_room))) => return Failure::failed(no_room_text(&no_room)),
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A server that is away is waited for; what will not pass by itself is told at once.
    async fn settled(&self, goal: &Goal) -> Result<(), Failure> {
        loop {
            match self.parts.sync.wait_until(goal).await {
                WaitOutcome::Clean => return Ok(()),
                WaitOutcome::Held(held) => return Err(Failure::failed(held_text(held))),
                WaitOutcome::Stuck(reason) => return Err(Failure::failed(reason)),
                WaitOutcome::Away(_) => tokio::time::sleep(RETRY_AFTER).await,
            }
        }
    }

    /// Says how far it has come, for ever.
    async fn report<T>(&self, sink: &ProgressSink) -> T {
        let (mut most, mut most_bytes) = (0, 0);
        loop {
            let status = self.parts.sync.status();
            let queue = status.queue;
            (most, most_bytes) = (queue.operations.max(most), queue.bytes.max(most_bytes));
            let is_away = !status.engine.is_gate_open;
            sink.set(Progress {
                items: most - queue.operations,
                items_total: most,
                bytes: most_bytes - queue.bytes,
                bytes_total: most_bytes,
                waiting_for: status.engine.last_error.filter(|_| is_away).map(|error| error.reason),
            });
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn late(&self, timeout: Duration) -> Failure {
        let status = self.parts.sync.status();
        let queued = status.queue.operations;
        let why = status.engine.last_error.map(|error| format!(" ({})", error.reason)).unwrap_or_default();
        let seconds = timeout.as_secs_f64();
        Failure::timed_out(format_args!("not finished in {seconds} s: {queued} operations are still queued{why}"))
    }

    /// Waits for what is dirty unless `now`, and takes the mount away.
    pub(super) async fn take_away(
        &self,
        now: bool,
        timeout: Option<Duration>,
        sink: &ProgressSink,
    ) -> Result<QueueStatus, Failure> {
        let whole = MountPath::new(std::path::Path::new(""));
        let waited = if now { Ok(()) } else { self.wait_for(&whole, timeout, sink).await };
        // Whoever looks at the mount keeps it in use.
        let _pause = self.verifier.pause().await;
        let ending = Arc::clone(&self.parts.ending);
        if let Err(failure) = waited {
            return Err(spawn_blocking(move || ending.busy_too(failure)).await.map_err(Failure::failed)?);
        }
        let taken = spawn_blocking(move || {
            if !now {
                return ending.take_away();
            }
            ending.take_away_now();
            Ok(())
        });
        taken.await.map_err(Failure::failed)??;
        self.parts.ending.gone().await;
        Ok(queue_status(self.parts.sync.status().queue))
    }
}
