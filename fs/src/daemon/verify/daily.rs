//! Owns when a verification runs by itself: once a day, the light form, a while after the start.

use super::{Saved, Verifier};
use crate::control::ProgressSink;
use crate::meta::rows::ROOT;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A mount that begins has better things to do.
const START_WAIT: Duration = Duration::from_secs(120);
/// How often it is looked whether a day has passed: clocks jump, and laptops sleep.
const LOOK_EVERY: Duration = Duration::from_secs(600);
const DAY_SECS: i64 = 24 * 3600;

/// Starts it; it ends with the verifier.
pub(in crate::daemon) fn start(verifier: &Arc<Verifier>) {
    tokio::spawn(keep(Arc::downgrade(verifier)));
}

async fn keep(verifier: Weak<Verifier>) {
    let mut wait = START_WAIT;
    loop {
        tokio::time::sleep(wait).await;
        let Some(verifier) = verifier.upgrade() else { return };
        let last = verifier.last.lock().clone();
        if is_due(last.as_ref(), verifier.env.clock.wall().secs)
            && let Err(failure) = verifier.verify(ROOT, true, &ProgressSink::new().0).await
        {
            tracing::info!(error = failure.message, "the daily verification is tried again later");
        }
        wait = LOOK_EVERY;
    }
}

/// Whether the last one, of whatever form, is a day ago; a time to come is a clock's mistake.
fn is_due(last: Option<&Saved>, now_secs: i64) -> bool {
    last.is_none_or(|last| !(0..DAY_SECS).contains(&now_secs.saturating_sub(last.at_secs)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::control::findings::VerifyReport;
    use crate::env::Env;
    use tarn_proto::node::Timestamp;

    #[test]
    fn it_is_due_a_day_after_the_last_one_that_is_known() {
        let at = |secs| Saved::of(&VerifyReport::default(), Timestamp { secs, nanos: 0 });
        assert!(is_due(None, 5));
        assert!(!is_due(Some(&at(1000)), 1000) && !is_due(Some(&at(1000)), 999 + DAY_SECS));
        assert!(is_due(Some(&at(1000)), 1000 + DAY_SECS));
        assert!(is_due(Some(&at(1000)), 999), "a clock was put back");
    }

    #[test]
    fn the_last_result_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (env, file) = (Env::real(), dir.path().join("verified.json"));
        assert_eq!(Saved::load(&env, &file), None);
        let report = VerifyReport { light: true, difference_count: 3, ..VerifyReport::default() };
        let saved = Saved::of(&report, Timestamp { secs: 1_795_213_545, nanos: 0 });
        saved.save(&env, &file).unwrap();
        assert_eq!(Saved::load(&env, &file), Some(saved.clone()));
        assert_eq!((saved.result.time.as_str(), saved.result.differences), ("2026-11-20T22:25:45Z", 3));
    }
}
