//! Owns the pace of small requests. A change that comes when nothing else waits goes at once; under a stream of them
//! each request waits until it is worth its own cost, or programs would share the processor with us for nothing.

use std::time::Duration;

/// Requests that may go one after another before the pace counts.
const BURST: u32 = 3;
/// Requests take this part of the time at most: one in so many.
const SHARE: u32 = 4;
/// Least and greatest time between the starts of two requests.
const INTERVAL_MIN: Duration = Duration::from_millis(8);
const INTERVAL_MAX: Duration = Duration::from_millis(150);

/// When the next small request may start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    interval: Duration,
    started: Duration,
    /// When the next one would start if all kept the interval.
    due: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { interval: INTERVAL_MIN, started: Duration::ZERO, due: Duration::ZERO }
    }
}

impl Pace {
    /// The time before which none should start; in the past when one may.
    pub fn ready_at(&self) -> Duration {
        self.due.saturating_sub(self.interval * BURST)
    }

    /// One starts. Those that were worth their cost may start sooner, and nothing waits longer for that.
    pub fn start(&mut self, now: Duration) {
        self.started = now;
        let latest = now + self.interval * (BURST + 1);
        self.due = (self.due.max(now) + self.interval).min(latest);
    }

    /// Nothing waits any more: what comes next is no part of a stream.
    pub fn rest(&mut self) {
        self.due = Duration::ZERO;
    }

    /// The last one that started has ended: how long it took decides about the next.
    pub fn end(&mut self, now: Duration) {
        let took = now.saturating_sub(self.started);
        self.interval = (took * SHARE).clamp(INTERVAL_MIN, INTERVAL_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// How many requests of this length start in a second, if there is always a reason for one.
    fn starts_in_a_second(took: Duration) -> usize {
        let (mut pace, mut now, mut count) = (Pace::default(), Duration::ZERO, 0);
        while now < Duration::from_secs(1) {
            pace.start(now);
            pace.end(now + took);
            now = (now + took).max(pace.ready_at());
            count += 1;
        }
        count
    }

    #[test]
    fn the_first_ones_after_a_quiet_time_go_at_once() {
        let mut pace = Pace::default();
        for index in 0..BURST {
            let now = Duration::from_secs(9) + 2 * MS * index;
            assert!(pace.ready_at() <= now, "request {index}");
            pace.start(now);
            pace.end(now + MS);
        }
    }

    #[test]
    fn a_stream_of_small_requests_leaves_most_of_the_time_to_others() {
        assert!(starts_in_a_second(10 * MS) <= 1000 / (10 * SHARE as usize) + BURST as usize + 1);
        assert!(starts_in_a_second(MS) <= 1000 / 8 + BURST as usize + 1);
    }

    #[test]
    fn many_that_were_worth_it_delay_the_next_by_one_interval_at_most() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.start(Duration::from_secs(9));
            pace.end(Duration::from_secs(9) + 200 * MS);
        }
        assert!(pace.ready_at() <= Duration::from_secs(9) + INTERVAL_MAX);
        pace.rest();
        assert_eq!(pace.ready_at(), Duration::ZERO);
    }

    #[test]
    fn a_slow_line_is_not_made_slower() {
        assert!(starts_in_a_second(200 * MS) >= 5);
    }
}
