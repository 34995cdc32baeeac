//! Owns the materialiser's thread: when it writes, and what it does when it cannot.

use super::JournalOptions;
use super::error::{Health, JournalError};
use super::materialise::Materialiser;
use super::queue::{Pending, Queue};
use crate::env::Env;
use crate::limits;
use crate::log::{Log, Lsn};
use crate::meta::Readers;
use parking_lot::{Condvar, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Pending bytes that end the gathering early.
const GATHER_BYTES_MAX: usize = 16 << 20;

/// What callers and the thread share.
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) options: JournalOptions,
    pub(super) log: Log,
    pub(super) readers: Readers,
    pub(super) queue: Mutex<Queue>,
    /// Something for the materialiser: a job, hurry, closing.
    pub(super) wake: Condvar,
    /// Something for those who wait: a batch is done, or failed.
    pub(super) progress: Condvar,
    pub(super) materialiser: Mutex<Materialiser>,
    pub(super) materialised: watch::Sender<Lsn>,
    pub(super) health: watch::Sender<Health>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("materialised", &*self.materialised.borrow()).finish_non_exhaustive()
    }
}

impl Shared {
    /// A panic below (a sink's) must not bring a later batch into the database without this one: nothing
    /// more is written until the journal is opened again.
    pub(super) fn run_guarded(&self) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run())).is_err() {
            let detail = "the materialiser panicked; the log keeps what it did not write".to_owned();
            tracing::error!("{detail}");
            let mut queue = self.queue.lock();
            self.health.send_replace(Health::Failing { tries: u32::MAX, detail, is_full: false });
            queue.is_dead = true;
            self.progress.notify_all();
        }
    }

    /// The materialiser's thread. At the end it writes what is pending, unless it cannot: the log has it.
    fn run(&self) {
        loop {
            if !self.wait_for_work() {
                return;
            }
            if self.materialise_one().is_err() && !self.back_off() {
                return;
            }
        }
    }

    /// Waits for something to write, and a little longer for more; false at the end.
    fn wait_for_work(&self) -> bool {
        let mut queue = self.queue.lock();
        while queue.jobs.is_empty() && !queue.is_closing {
            self.wake.wait(&mut queue);
        }
        let began = self.env.clock.monotonic();
        while queue.hurry_count == 0 && !queue.is_closing && queue.bytes < self.gather_bytes_max(&queue) {
            let gather = if queue.rush_count > 0 { self.options.rush_gather } else { self.options.gather };
            let left = (began + gather).saturating_sub(self.env.clock.monotonic());
            if left.is_zero() || self.wake.wait_for(&mut queue, left).timed_out() {
                break;
            }
        }
        !queue.jobs.is_empty()
    }

    pub(super) fn gather_bytes_max(&self, queue: &Queue) -> usize {
        let pending_max = self.options.pending_bytes_max;
        if queue.rush_count > 0 { pending_max / 4 * 3 } else { GATHER_BYTES_MAX.min(pending_max / 2) }
    }

    /// Waits before the next try; false if there is none because the journal closes.
    fn back_off(&self) -> bool {
        let tries = if let Health::Failing { tries, .. } = &*self.health.borrow() { *tries } else { 0 };
        let wait = limits::BACKOFF_MIN.saturating_mul(1 << tries.min(8)).min(limits::BACKOFF_MAX);
        let deadline = self.env.clock.monotonic() + wait;
        let mut queue = self.queue.lock();
        while !queue.is_closing {
            let left: Duration = deadline.saturating_sub(self.env.clock.monotonic());
            if left.is_zero() || self.wake.wait_for(&mut queue, left).timed_out() {
                break;
            }
        }
        !queue.is_closing
    }

    pub(super) fn materialise_one(&self) -> Result<bool, JournalError> {
        let mut materialiser = self.materialiser.lock();
        let batch = self.queue.lock().take();
        if batch.is_empty() {
            return Ok(false);
        }
        match materialiser.apply(&batch, Some(&self.log)) {
            Ok(upto) => {
                self.settle(batch, upto);
                Ok(true)
            }
            Err(e) => {
                self.put_back(batch, &e);
                Err(e)
            }
        }
    }

    fn settle(&self, batch: Vec<Pending>, upto: Lsn) {
        if let Err(e) = self.log.truncate_before(upto.next()) {
            tracing::warn!(error = %e, "a segment of the local log could not be freed");
        }
        // Whoever waits for the batch finds it well.
        self.health.send_if_modified(|health| std::mem::replace(health, Health::Good) != Health::Good);
        self.materialised.send_if_modified(|old| std::mem::replace(old, upto) != upto);
        self.queue.lock().settle(&batch);
        self.progress.notify_all();
        for done in batch.into_iter().filter_map(|pending| pending.done) {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
    }

    fn put_back(&self, batch: Vec<Pending>, error: &JournalError) {
        let mut queue = self.queue.lock();
        for pending in batch.into_iter().rev() {
            queue.jobs.push_front(pending);
        }
        self.health.send_modify(|health| {
            let tries = if let Health::Failing { tries, .. } = health { tries.saturating_add(1) } else { 1 };
            *health = Health::Failing { tries, detail: error.to_string(), is_full: error.is_full() };
        });
        tracing::warn!(%error, "the local database cannot be written; trying again");
        drop(queue);
        self.progress.notify_all();
    }

    pub(super) fn stalled(&self) -> Result<(), JournalError> {
        match &*self.health.borrow() {
            Health::Good => Ok(()),
            Health::Failing { detail, is_full, .. } => {
                Err(JournalError::Stalled { detail: detail.clone(), is_full: *is_full })
            }
        }
    }
}
