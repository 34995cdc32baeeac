//! Owns waiting until what was done is durable on the server, and taking the mount away.

use super::MountService;
use super::looks::held_text;
use crate::control::messages::{Progress, QueueStatus};
use crate::control::{Failure, MountPath, ProgressSink};
use crate::meta::rows::Ticket;
use crate::sync::WaitOutcome;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// An attempt that failed because the server is away is followed by the next one after this.
const RETRY_AFTER: Duration = Duration::from_millis(500);

impl MountService {
    /// Waits for everything that was done before the call.
    pub(super) async fn wait_for(
        &self,
        path: &MountPath,
        timeout: Option<Duration>,
        sink: &ProgressSink,
    ) -> Result<(), Failure> {
        if !path.as_bytes().is_empty() {
            // What it depends on is what was done before: all of it, in the order of the queue.
            self.find(path).await?;
        }
        let Some(last) = self.parts.tree.last_ticket() else { return Ok(()) };
        let waited = async {
            tokio::select! {
                outcome = self.settled(last) => outcome,
                never = self.report(sink) => never,
            }
        };
        match timeout {
            None => waited.await,
            Some(timeout) => tokio::time::timeout(timeout, waited).await.unwrap_or_else(|_| Err(self.late(timeout))),
        }
    }

    /// A server that is away is waited for; what will not pass by itself is told at once.
    async fn settled(&self, last: Ticket) -> Result<(), Failure> {
        loop {
            match self.parts.sync.wait_until_settled(last).await {
                WaitOutcome::Clean => return Ok(()),
                WaitOutcome::Held(held) => return Err(Failure::failed(held_text(held))),
                WaitOutcome::Stuck(reason) => {
                    if !self.is_passing() {
                        return Err(Failure::failed(reason));
                    }
                }
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Whether the only obstacle is that the server does not answer now.
    fn is_passing(&self) -> bool {
        let view = self.parts.sync.status().engine;
        view.delayed_count == 0 && view.held.is_none() && view.last_error.is_none_or(|error| error.is_passing)
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
        if !now {
            self.wait_for(&MountPath::new(std::path::Path::new("")), timeout, sink).await?;
        }
        let ending = std::sync::Arc::clone(&self.parts.ending);
        let taken = spawn_blocking(move || {
            if !now {
                return ending.take_away();
            }
            ending.take_away_now();
            Ok(())
        });
        taken.await.map_err(Failure::failed)??;
        self.parts.ending.gone().await;
        let left = self.parts.sync.status().queue;
        Ok(QueueStatus { operations: left.operations, bytes: left.bytes })
    }
}
