//! Owns how long to wait before trying again: doubling, bounded, with jitter, gone at the first success.

use crate::limits;
use std::time::Duration;

/// The wait before the next attempt.
#[derive(Debug, Clone)]
pub struct Backoff {
    failures: u32,
    until: Option<Duration>,
    noise: u64,
}

impl Backoff {
    /// Open; `seed` makes the jitter of many devices differ.
    pub fn new(seed: u64) -> Self {
        Self { failures: 0, until: None, noise: seed | 1 }
    }

    /// Whether an attempt may be made.
    pub fn is_open(&self, now: Duration) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    /// When the next attempt may be made, if not at once.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }

    /// Attempts that failed since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// An attempt failed: waits between half and all of a doubling time, at most `wait_max`.
    pub fn fail(&mut self, now: Duration, wait_max: Duration) {
        let doubled = limits::BACKOFF_MIN.saturating_mul(1u32 << self.failures.min(16)).min(wait_max);
        self.failures = self.failures.saturating_add(1);
        let half = doubled / 2;
        let jitter = Duration::from_nanos(self.next_noise() % (half.as_nanos() as u64).max(1));
        self.until = Some(now + half + jitter);
    }

    /// An attempt succeeded.
    pub fn succeed(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    /// The next attempt may be made at once; the count stays.
    pub fn wake(&mut self) {
        self.until = None;
    }

    /// There is more reason to try than before: waits no longer than this from now on.
    pub fn hasten(&mut self, now: Duration, wait_max: Duration) {
        self.until = self.until.map(|until| until.min(now + wait_max));
    }

    /// xorshift64: spreads attempts, nothing more.
    fn next_noise(&mut self) -> u64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        self.noise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_differ_between_devices() {
        let (mut a, mut b) = (Backoff::new(1), Backoff::new(999));
        let mut waits = Vec::new();
        for _ in 0..20 {
            a.fail(Duration::ZERO, limits::BACKOFF_MAX);
            b.fail(Duration::ZERO, limits::BACKOFF_MAX);
            waits.push((a.until().unwrap_or_default(), b.until().unwrap_or_default()));
        }
        assert!(waits[0].0 <= limits::BACKOFF_MIN && waits[0].0 >= limits::BACKOFF_MIN / 2);
        assert!(waits.iter().all(|(wait, _)| *wait <= limits::BACKOFF_MAX));
        assert!(waits[19].0 >= limits::BACKOFF_MAX / 2);
        assert!(waits.iter().any(|(one, other)| one != other));
        a.succeed();
        assert!(a.is_open(Duration::ZERO));
    }

    #[test]
    fn who_is_hastened_waits_no_longer_than_that_and_not_longer_than_before() {
        let mut one = Backoff::new(1);
        one.hasten(Duration::ZERO, Duration::ZERO);
        assert_eq!(one.until(), None, "it does not wait at all");
        (0..20).for_each(|_| one.fail(Duration::ZERO, limits::LINK_BACKOFF_MAX));
        one.hasten(Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!(one.until(), Some(Duration::from_secs(3)));
        one.hasten(Duration::from_secs(1), Duration::from_secs(9));
        assert_eq!(one.until(), Some(Duration::from_secs(3)));
    }
}
