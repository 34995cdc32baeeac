//! Owns simulated time. Whenever nothing can run any more, the clock goes to the next moment at which something will;
//! everything runs on one thread, so one seed gives one order of events.

use super::dice::Dice;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tarn::env::{Clock, Tasks};
use tarn_proto::node::Timestamp;

/// Nobody waits longer.
const FAR: Duration = Duration::from_secs(1 << 32);

#[derive(Debug, Default)]
struct Clockwork {
    now: Duration,
    next: u64,
    timers: BTreeMap<(Duration, u64), Waker>,
}

/// The clock of one simulated world.
#[derive(Debug, Clone, Default)]
pub struct Time(Arc<Mutex<Clockwork>>);

impl Time {
    pub fn now(&self) -> Duration {
        self.0.lock().now
    }

    /// Ends when so much time has passed.
    pub fn sleep(&self, time: Duration) -> Sleep {
        let mut clockwork = self.0.lock();
        let at = clockwork.now.saturating_add(time).min(FAR);
        clockwork.next += 1;
        Sleep { time: self.clone(), key: (at, clockwork.next) }
    }

    /// Nothing can run: goes on to the next moment.
    fn advance(&self) {
        let mut woken = Vec::new();
        {
            let mut clockwork = self.0.lock();
            let Some((&(at, _), _)) = clockwork.timers.first_key_value() else { return };
            clockwork.now = clockwork.now.max(at);
            let later = clockwork.timers.split_off(&(at, u64::MAX));
            woken.extend(std::mem::replace(&mut clockwork.timers, later).into_values());
        }
        woken.into_iter().for_each(Waker::wake);
    }

    /// Runs a world to its end.
    pub fn run<T>(&self, world: impl Future<Output = T>) -> T {
        let time = self.clone();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.on_thread_park(move || time.advance()).build().expect("a runtime without drivers");
        runtime.block_on(world)
    }
}

/// See [`Time::sleep`].
#[derive(Debug)]
pub struct Sleep {
    time: Time,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut clockwork = self.time.0.lock();
        if clockwork.now >= self.key.0 {
            return Poll::Ready(());
        }
        clockwork.timers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.time.0.lock().timers.remove(&self.key);
    }
}

/// The clock of one machine: its time of day is wrong by `skew`.
#[derive(Debug)]
pub struct MachineClock {
    pub time: Time,
    pub skew_secs: i64,
}

/// 2026-01-01, when all simulations begin.
const EPOCH_SECS: i64 = 1_767_225_600;

impl Clock for MachineClock {
    fn wall(&self) -> Timestamp {
        let now = self.time.now();
        Timestamp { secs: EPOCH_SECS + self.skew_secs + now.as_secs() as i64, nanos: now.subsec_nanos() }
    }

    fn monotonic(&self) -> Duration {
        self.time.now()
    }
}

/// Blocking work runs here and now, after a moment: other things come between.
#[derive(Debug)]
pub struct SimTasks {
    pub time: Time,
    pub dice: Mutex<Dice>,
}

impl Tasks for SimTasks {
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.time.sleep(time))
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let wait = Duration::from_micros(self.dice.lock().below(3_000));
        let sleep = self.time.sleep(wait);
        Box::pin(async move {
            sleep.await;
            work();
        })
    }
}
