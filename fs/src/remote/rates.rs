//! Owns the limits of how fast content goes up and comes down, which may change at any time. Whoever moves bytes asks before each
//! piece and says how long it was; what is waited for by a program goes first.

use super::Urgency;
use crate::env::{Clock, RealClock};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Less would not let a piece through before the other side gives up.
pub const RATE_MIN_BYTES: u64 = 16 << 10;
/// A pause earns this much at most.
const BURST: Duration = Duration::from_millis(250);

/// Limits of both directions; by default there are none.
#[derive(Debug, Default)]
pub struct Rates {
    /// Of what is sent.
    pub up: Rate,
    /// Of what is fetched.
    pub down: Rate,
}

/// A limit of one direction.
#[derive(Debug)]
pub struct Rate {
    clock: Arc<dyn Clock>,
    bucket: Mutex<Bucket>,
    changed: Notify,
    urgent_waiting: AtomicUsize,
}

/// When the next piece may go, if pieces may.
#[derive(Debug, Default)]
struct Bucket {
    bytes_per_s: Option<u64>,
    free_at: Duration,
}

impl Bucket {
    /// How long until the next piece may go.
    fn wait(&self, now: Duration) -> Duration {
        if self.bytes_per_s.is_some() { self.free_at.saturating_sub(now) } else { Duration::ZERO }
    }

    /// A piece has gone.
    fn spend(&mut self, now: Duration, bytes: u64) {
        let Some(bytes_per_s) = self.bytes_per_s else { return };
        let cost = Duration::from_nanos((u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_s)) as u64);
        self.free_at = self.free_at.max(now.saturating_sub(BURST)) + cost;
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self::by(Arc::new(RealClock::new()))
    }
}

/// Counts one that waits and is urgent.
struct Waiting<'a>(&'a Rate);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.urgent_waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

impl Rate {
    fn by(clock: Arc<dyn Clock>) -> Self {
        Self { clock, bucket: Mutex::default(), changed: Notify::new(), urgent_waiting: AtomicUsize::new(0) }
    }

    /// Sets the limit, for what is under way too; `None`: there is none.
    pub fn set(&self, bytes_per_s: Option<u64>) {
        let mut bucket = self.bucket.lock();
        *bucket = Bucket { bytes_per_s: bytes_per_s.map(|rate| rate.max(RATE_MIN_BYTES)), free_at: Duration::ZERO };
        drop(bucket);
        self.changed.notify_waiters();
    }

    /// The limit.
    pub fn bytes_per_s(&self) -> Option<u64> {
        self.bucket.lock().bytes_per_s
    }

    /// Waits until a piece may go. Cancel-safe.
    pub async fn ready(&self, urgency: &Urgency) {
        let mut waiting = None;
        loop {
            let changed = self.changed.notified();
            if waiting.is_none() && urgency.is_high() {
                self.urgent_waiting.fetch_add(1, Ordering::AcqRel);
                waiting = Some(Waiting(self));
            }
            let is_urgent = waiting.is_some();
            let wait = self.bucket.lock().wait(self.clock.monotonic());
            let gives_way =
                !is_urgent && self.bytes_per_s().is_some() && self.urgent_waiting.load(Ordering::Acquire) > 0;
            if wait.is_zero() && !gives_way {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(wait), if !wait.is_zero() => {}
                () = changed => {}
                () = urgency.raised(), if !is_urgent => {}
            }
        }
    }

    /// Says that a piece has gone.
    pub fn spend(&self, bytes: usize) {
        self.bucket.lock().spend(self.clock.monotonic(), bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures_util::FutureExt;
    use tarn_proto::node::Timestamp;

    #[derive(Debug, Default)]
    struct Hands(Mutex<Duration>);

    impl Clock for Hands {
        fn wall(&self) -> Timestamp {
            Timestamp::default()
        }

        fn monotonic(&self) -> Duration {
            *self.0.lock()
        }
    }

    fn rate(bytes_per_s: u64) -> (Rate, Arc<Hands>) {
        let hands = Arc::new(Hands(Mutex::new(Duration::from_secs(100))));
        let rate = Rate::by(hands.clone());
        rate.set(Some(bytes_per_s));
        (rate, hands)
    }

    fn is_ready(rate: &Rate) -> bool {
        rate.ready(&Urgency::default()).now_or_never().is_some()
    }

    #[test]
    fn no_more_goes_in_a_time_than_the_limit_lets_and_a_short_burst() {
        let (rate, hands) = rate(1 << 20);
        let mut sent = 0u64;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        for _ in 0..1000 {
            if is_ready(&rate) {
                rate.spend(64 << 10);
                sent += 64 << 10;
            }
            *hands.0.lock() += Duration::from_millis(10);
        }
        let (least, most) = (9u64 << 20, 11u64 << 20);
        assert!((least..=most).contains(&sent), "{sent} bytes in 10 s");
    }

    #[test]
    fn who_is_waited_for_goes_first() {
        let (rate, hands) = rate(1 << 20);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        rate.spend(1 << 20);
        let (first, second) = (Urgency::default(), Urgency::default());
        first.raise();
        let mut urgent = Box::pin(rate.ready(&first));
        let mut ahead = Box::pin(rate.ready(&second));
        assert!(urgent.as_mut().now_or_never().is_none() && ahead.as_mut().now_or_never().is_none());
        *hands.0.lock() += Duration::from_secs(1);
        assert!(!is_ready(&rate) && ahead.as_mut().now_or_never().is_none(), "one that is urgent waits");
        second.raise();
        assert!(ahead.now_or_never().is_some(), "somebody began to wait for it");
        assert!(!is_ready(&rate), "the first one waits still");
        drop(urgent);
        assert!(is_ready(&rate));
    }

    #[tokio::test]
    async fn a_limit_that_is_taken_away_holds_nobody_any_longer() {
        let ((rate, _), nobody) = (rate(RATE_MIN_BYTES), Urgency::default());
        rate.spend(1 << 30);
        let (mut waits, rate) = (Box::pin(rate.ready(&nobody)), &rate);
        assert!(waits.as_mut().now_or_never().is_none());
        rate.set(None);
        waits.await;
        assert_eq!(rate.bytes_per_s(), None);
    }

    #[test]
    fn nothing_is_limited_by_itself() {
        let rates = Rates::default();
        rates.down.spend(1 << 40);
        assert!(is_ready(&rates.down) && rates.up.bytes_per_s().is_none());
    }
}
