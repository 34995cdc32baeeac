//! Owns what people and programs are told about syncing, and how fast it goes.

use super::engine::EngineView;
use crate::remote::{TransferCounters, Transferred};
use crate::tree::QueueTotals;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::change::Cursor;

/// How syncing stands.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncStatus {
    /// The engine.
    pub engine: EngineView,
    /// What is queued.
    pub queue: QueueTotals,
    /// Where this device stands; `None` while the first full pull is under way.
    pub cursor: Option<Cursor>,
    /// What went over the network since the start.
    pub transferred: Transferred,
    /// How fast, over the last seconds.
    pub rate: Rate,
    /// How long ago the last error was, if there was one.
    pub last_error_age: Option<Duration>,
}

/// Bytes a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Sent.
    pub sent_bytes_per_sec: u64,
    /// Received.
    pub received_bytes_per_sec: u64,
}

/// How waiting ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitOutcome {
    /// Everything is durable on the server.
    Clean,
    /// Nothing goes on until a person acts.
    Held(super::engine::Held),
    /// It does not pass by itself: no quota, a file that cannot be read. It stays queued.
    Stuck(String),
    /// The server is away or busy. It stays queued.
    Away(String),
}

/// Samples that are kept, and the least time between them.
const SAMPLES_MAX: usize = 6;
const SAMPLE_SPACING: Duration = Duration::from_secs(1);

/// Measures rates from counters.
#[derive(Debug)]
pub(super) struct RateMeter {
    counters: Arc<TransferCounters>,
    samples: Mutex<VecDeque<(Duration, Transferred)>>,
}

impl RateMeter {
    pub fn new(counters: Arc<TransferCounters>) -> Self {
        Self { counters, samples: Mutex::default() }
    }

    /// Takes a sample if the last one is old enough.
    pub fn sample(&self, now: Duration) {
        let mut samples = self.samples.lock();
        if samples.back().is_some_and(|(at, _)| now < *at + SAMPLE_SPACING) {
            return;
        }
        samples.push_back((now, self.counters.get()));
        if samples.len() > SAMPLES_MAX {
            samples.pop_front();
        }
    }

    /// What went over the network, and the rate since the oldest sample that is not old.
    pub fn measure(&self, now: Duration) -> (Transferred, Rate) {
        self.sample(now);
        let total = self.counters.get();
        let samples = self.samples.lock();
        let window = SAMPLE_SPACING * SAMPLES_MAX as u32;
        let is_recent = |(at, _): &&(Duration, Transferred)| now <= *at + window;
        let base = samples.iter().find(is_recent).or(samples.back());
        let rate = base.map_or_else(Rate::default, |(at, then)| rate_between(then, &total, now.saturating_sub(*at)));
        (total, rate)
    }
}

fn rate_between(then: &Transferred, now: &Transferred, passed: Duration) -> Rate {
    let millis = (passed.as_millis() as u64).max(1);
    let per_sec = |then: u64, now: u64| now.saturating_sub(then).saturating_mul(1_000) / millis;
    Rate {
        sent_bytes_per_sec: per_sec(then.bytes_sent, now.bytes_sent),
        received_bytes_per_sec: per_sec(then.bytes_received, now.bytes_received),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds() {
        let counters = Arc::new(TransferCounters::default());
        let meter = RateMeter::new(Arc::clone(&counters));
        meter.sample(Duration::ZERO);
        counters.add_sent(4_000);
        let (total, rate) = meter.measure(Duration::from_secs(2));
        assert_eq!((total.bytes_sent, rate.sent_bytes_per_sec, rate.received_bytes_per_sec), (4_000, 2_000, 0));
        for second in 3..30 {
            meter.sample(Duration::from_secs(second));
        }
        assert_eq!(meter.measure(Duration::from_secs(30)).1, Rate::default());
    }
}
