//! Owns transfer rates: how fast bytes came and went lately. Takes the time from its caller.

use super::CounterValues;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// How far back a rate looks.
const WINDOW: Duration = Duration::from_secs(5);

/// Bytes per second, lately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Fetched.
    pub fetched_bytes_per_s: u64,
    /// Sent.
    pub sent_bytes_per_s: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    fetched_bytes: u64,
    sent_bytes: u64,
}

/// Makes rates from counts that are shown to it from time to time.
#[derive(Debug, Default)]
pub struct RateMeter {
    samples: Mutex<VecDeque<Sample>>,
}

impl RateMeter {
    /// Notes the counts at a moment of the monotonic clock.
    pub fn sample(&self, at: Duration, values: CounterValues) {
        let mut samples = self.samples.lock();
        samples.push_back(Sample { at, fetched_bytes: values.bytes_fetched, sent_bytes: values.bytes_sent });
        while samples.len() > 2 && samples[1].at + WINDOW <= at {
            samples.pop_front();
        }
    }

    /// The rates over the last seconds; zero before the second sample.
    pub fn rates(&self) -> Rates {
        let samples = self.samples.lock();
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return Rates::default() };
        let millis = last.at.saturating_sub(first.at).as_millis() as u64;
        let per_s = |bytes: u64| (bytes * 1000).checked_div(millis).unwrap_or(0);
        Rates {
            fetched_bytes_per_s: per_s(last.fetched_bytes - first.fetched_bytes),
            sent_bytes_per_s: per_s(last.sent_bytes - first.sent_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_forgets_what_was_long_ago() {
        let meter = RateMeter::default();
        assert_eq!(meter.rates(), Rates::default());
        for second in 0..20u64 {
            let bytes_sent = 1000 * second.min(10);
            meter.sample(Duration::from_secs(second), CounterValues { bytes_sent, ..Default::default() });
            let expected = if second == 0 { 0 } else { 1000 };
            if second <= 10 {
                assert_eq!(meter.rates().sent_bytes_per_s, expected, "second {second}");
            }
        }
        assert_eq!(meter.rates(), Rates::default());
    }
}
