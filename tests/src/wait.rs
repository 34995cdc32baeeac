//! Waits for conditions. A test never sleeps for a time that it hopes is long enough.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(10);

/// Looks at a condition until it holds.
///
/// # Panics
/// If it does not hold by the deadline.
#[track_caller]
pub fn eventually(deadline: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    assert!(within(deadline, &mut holds), "not within {deadline:?}: {what}");
}

/// Whether a condition comes to hold by the deadline. It is looked at once at least.
pub fn within(deadline: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() >= deadline {
            return false;
        }
        thread::sleep(STEP);
    }
    true
}

/// What a call returned, and how long it took.
pub fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    (call(), started.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_holds_ends_at_the_deadline() {
        let (held, took) = timed(|| within(Duration::from_millis(30), || false));
        assert!(!held && took >= Duration::from_millis(30));
    }

    #[test]
    fn a_condition_is_looked_at_once_without_any_time() {
        assert!(within(Duration::ZERO, || true));
    }
}
