//! Owns the brake on guessing passwords: failures per account and per address, in memory.

use crate::limits;
use lru::LruCache;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Instant;

/// Addresses may fail more often: many people can share one.
const PER_ADDRESS: u32 = 5 * limits::LOGIN_FAILURES_MAX;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    User(String),
    Address(IpAddr),
}

/// Recent failures of logins.
#[derive(Debug)]
pub struct Attempts(Mutex<LruCache<Key, (u32, Instant)>>);

impl Default for Attempts {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(NonZeroUsize::new(limits::LOGIN_KEYS_MAX).unwrap_or(NonZeroUsize::MIN))))
    }
}

impl Attempts {
    /// Whether one more attempt may be made.
    pub fn allows(&self, user: &str, address: IpAddr, now: Instant) -> bool {
        let mut failures = self.0.lock();
        let mut below = |key: &Key, most: u32| match failures.get(key) {
            Some((count, last)) => *count < most || now.duration_since(*last) > limits::LOGIN_WINDOW,
            None => true,
        };
        below(&Key::User(user.to_owned()), limits::LOGIN_FAILURES_MAX) && below(&Key::Address(address), PER_ADDRESS)
    }

    /// Counts a failure.
    pub fn failed(&self, user: &str, address: IpAddr, now: Instant) {
        let mut failures = self.0.lock();
        for key in [Key::User(user.to_owned()), Key::Address(address)] {
            let (count, last) = failures.get_or_insert_mut(key, || (0, now));
            if now.duration_since(*last) > limits::LOGIN_WINDOW {
                *count = 0;
            }
            *count = count.saturating_add(1);
            *last = now;
        }
    }

    /// Forgets an account's failures after it signed in.
    pub fn succeeded(&self, user: &str) {
        self.0.lock().pop(&Key::User(user.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;

    #[test]
    fn ten_failures_stop_an_account_for_a_minute_and_not_the_others() {
        let (attempts, now, address) = (Attempts::default(), Env::real().instant(), IpAddr::from([127, 0, 0, 1]));
        for _ in 0..limits::LOGIN_FAILURES_MAX {
            assert!(attempts.allows("anna", address, now));
            attempts.failed("anna", address, now);
        }
        assert!(!attempts.allows("anna", address, now));
        assert!(attempts.allows("bert", address, now));
        assert!(attempts.allows("anna", address, now + limits::LOGIN_WINDOW * 2));
    }
}
