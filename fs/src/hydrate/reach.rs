//! Owns what is known of the way to the server, and so who is told at once that there is none.
//!
//! While the notice socket stands, whoever wants bytes waits for them until his time is over. Without it nobody knows: requests
//! may come through where it does not. So one tries, and if that fails all are told, and nobody tries again for a while.

use super::error::HydrateError;
use parking_lot::Mutex;
use std::time::Duration;

/// After a failure without the notice socket nobody tries again for so long.
const DOUBT: Duration = Duration::from_secs(5);

/// What is known of the way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The notice socket stands.
    Linked,
    /// It does not, and no request has failed since.
    Doubtful,
    /// There is none.
    Away,
}

#[derive(Debug)]
struct State {
    reach: Reach,
    /// Until then it is as if there were none.
    until: Option<Duration>,
    failure_count: u32,
}

/// The way to the server.
#[derive(Debug)]
pub(super) struct Way(Mutex<State>);

impl Default for Way {
    fn default() -> Self {
        Self(Mutex::new(State { reach: Reach::Linked, until: None, failure_count: 0 }))
    }
}

impl Way {
    pub fn set(&self, reach: Reach) {
        let mut state = self.0.lock();
        state.failure_count = 0;
        if reach != Reach::Doubtful {
            state.until = None;
        }
        state.reach = reach;
    }

    pub fn reach(&self) -> Reach {
        self.0.lock().reach
    }

    /// Refuses who would wait for nothing.
    pub fn check(&self, now: Duration) -> Result<(), HydrateError> {
        let state = self.0.lock();
        let is_away = state.reach == Reach::Away || state.until.is_some_and(|until| now < until);
        if is_away { Err(HydrateError::Offline) } else { Ok(()) }
    }

    /// A request failed, or somebody waited in vain; whether all are to be told.
    pub fn failed(&self, now: Duration) -> bool {
        let mut state = self.0.lock();
        state.failure_count += 1;
        let is_known = state.reach != Reach::Linked;
        if is_known {
            state.until = Some(now + DOUBT);
        }
        is_known
    }

    /// Something came.
    pub fn answered(&self) {
        let mut state = self.0.lock();
        (state.failure_count, state.until) = (0, None);
    }

    /// Failures since something came.
    pub fn failure_count(&self) -> u32 {
        self.0.lock().failure_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_notice_socket_one_failure_is_enough_for_a_while() {
        let (way, now) = (Way::default(), Duration::from_secs(100));
        assert!(!way.failed(now) && way.check(now).is_ok(), "linked: it is tried again");
        way.set(Reach::Doubtful);
        assert!(way.check(now).is_ok(), "somebody must try");
        assert!(way.failed(now) && way.check(now).is_err());
        way.set(Reach::Doubtful);
        assert!(way.check(now).is_err(), "nothing is known that was not");
        assert!(way.check(now + DOUBT).is_ok());
        assert!(way.failed(now + DOUBT));
        way.answered();
        assert!(way.check(now + DOUBT).is_ok(), "requests come through where the socket does not");
        way.set(Reach::Away);
        assert!(way.check(now).is_err());
        way.set(Reach::Linked);
        assert!(way.check(now).is_ok());
    }
}
