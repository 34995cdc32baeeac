//! Owns which calls of the mount wait for the network, and that none does while the machine sleeps: a program in a call of
//! a daemon that is frozen cannot be frozen itself, and the machine would not fall asleep.

use crate::env::Env;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What was turned out has replied after so long.
const REPLY_WAIT: Duration = Duration::from_millis(500);

/// Who may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Whoever must.
    Open,
    /// Those who wait already.
    Closing,
    /// Nobody.
    Closed,
}

/// The calls that wait for the network.
#[derive(Debug)]
pub struct Waits {
    door: watch::Sender<Door>,
    count: watch::Sender<usize>,
}

impl Default for Waits {
    fn default() -> Self {
        Self { door: watch::Sender::new(Door::Open), count: watch::Sender::new(0) }
    }
}

/// One call that waits, until it has replied.
#[derive(Debug)]
pub(super) struct Waiting {
    waits: Arc<Waits>,
    door: watch::Receiver<Door>,
}

impl Waits {
    /// A call begins to wait; `None`: it may not.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Waiting> {
        let door = self.door.subscribe();
        if *door.borrow() != Door::Open {
            return None;
        }
        self.count.send_modify(|count| *count += 1);
        Some(Waiting { waits: Arc::clone(self), door })
    }

    /// Nobody begins to wait any more, and who waits has so long until it fails. Returns when nobody waits.
    pub async fn close(&self, env: &Env, grace: Duration) {
        self.door.send_replace(Door::Closing);
        // Whether they made it is all the same.
        let _ = env.timeout(grace, self.is_empty()).await;
        self.door.send_replace(Door::Closed);
        if env.timeout(REPLY_WAIT, self.is_empty()).await.is_err() {
            tracing::warn!("calls of the mount do not end; the machine may not fall asleep");
        }
    }

    /// Calls may wait again.
    pub fn open(&self) {
        self.door.send_replace(Door::Open);
    }

    async fn is_empty(&self) {
        let mut count = self.count.subscribe();
        // The sender is here.
        let _ = count.wait_for(|count| *count == 0).await;
    }
}

impl Waiting {
    /// Returns when it must fail.
    pub async fn turned_out(&mut self) {
        // The sender is here.
        let _ = self.door.wait_for(|door| *door == Door::Closed).await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waits.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    const LONG: Duration = Duration::from_secs(600);

    /// Whether it is done already.
    async fn is_done(work: &mut std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn whoever_waits_may_finish_and_nobody_else_begins() {
        let (waits, env) = (Arc::new(Waits::default()), Env::real());
        let first = waits.enter().unwrap();
        let mut closing = pin!(waits.close(&env, LONG));
        assert!(!is_done(&mut closing).await, "one waits");
        assert!(waits.enter().is_none());
        drop(first);
        closing.await;
        assert!(waits.enter().is_none());
        waits.open();
        assert!(waits.enter().is_some());
    }

    #[tokio::test]
    async fn after_its_grace_a_call_is_turned_out_and_waited_for_until_it_has_replied() {
        let (waits, env) = (Arc::new(Waits::default()), Env::real());
        let mut call = waits.enter().unwrap();
        let replied = tokio::spawn(async move {
            call.turned_out().await;
            drop(call);
        });
        waits.close(&env, Duration::ZERO).await;
        assert_eq!(*waits.count.borrow(), 0);
        replied.await.unwrap();
    }
}
