//! Owns what a daemon does before the machine sleeps and after: programs that wait for the network get a little time, then an
//! error; nothing goes over the network; what is logged is synced; then the machine may sleep. Awake, it goes on at once.
//!
//! Must never keep the machine from sleeping longer than the system allows, nor rest longer than the machine does.

use super::parts::Parts;
use super::verify::{Pause, Verifier};
use crate::env::{Env, Logind, SleepDelay, SleepSign, SleepTeller};
use crate::fuse::Waits;
use crate::remote::HttpRemote;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::future::pending;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// When logind is looked for again, and when it is asked again to wait.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// However long the system would wait: calls that wait for the network get this at most.
const GRACE_MAX: Duration = Duration::from_secs(5);
/// A machine that has run for so long without a word of waking does not sleep.
const ASLEEP_MAX: Duration = Duration::from_secs(60);

/// What rests while the machine sleeps.
#[async_trait]
trait House: Send + Sync {
    /// Comes to rest, in less than the system waits.
    async fn rest(&self, delay_max: Duration);
    /// Goes on.
    fn rise(&self);
}

/// The parts of a daemon that rest.
pub(super) struct Sleepers {
    pub env: Env,
    pub parts: Weak<Parts>,
    pub waits: Arc<Waits>,
    pub remote: Arc<HttpRemote>,
    pub verifier: Arc<Verifier>,
    pub pause: Mutex<Option<Pause>>,
}

#[async_trait]
impl House for Sleepers {
    async fn rest(&self, delay_max: Duration) {
        tracing::debug!("the machine falls asleep");
        self.waits.close(&self.env, GRACE_MAX.min(delay_max / 2)).await;
        self.remote.rest();
        self.quieten(delay_max / 8).await;
        let parts = self.parts.clone();
        let syncing = self.env.blocking(move || parts.upgrade().map(|parts| parts.tree.sync_log()));
        match self.env.timeout(delay_max / 4, syncing).await {
            Ok(Ok(Some(Err(error)))) => tracing::warn!(%error, "the log is not synced before sleep"),
            Ok(_) => {}
            Err(_) => tracing::warn!("the log is not synced before sleep: the local disk is slow"),
        }
    }

    fn rise(&self) {
        tracing::debug!("the machine is awake");
        self.remote.go_on();
        self.waits.open();
        drop(self.pause.lock().take());
        if let Some(parts) = self.parts.upgrade() {
            parts.notifier.rise();
            parts.sync.network_changed();
        }
    }
}

impl Sleepers {
    /// Leaves no process of the daemon's own in a call of the mount: frozen after the daemon, it would be waited for.
    async fn quieten(&self, patience: Duration) {
        match self.env.timeout(patience, self.verifier.pause()).await {
            Ok(pause) => *self.pause.lock() = Some(pause),
            Err(_) => tracing::warn!("a verification does not end before sleep"),
        }
        let parts = self.parts.clone();
        let resting = self.env.blocking(move || parts.upgrade().map(|parts| parts.notifier.rest(patience)));
        if let Err(error) = resting.await {
            tracing::warn!(%error, "the kernel may not have heard of all changes before sleep");
        }
    }
}

/// Starts it; it ends with the daemon.
pub(super) fn start(house: Sleepers) {
    tokio::spawn(async move {
        let env = house.env.clone();
        let mut is_known = false;
        while house.parts.strong_count() > 0 {
            match Logind::connect().await {
                Ok(mut logind) => follow(&env, &mut logind, &house).await,
                Err(error) if !is_known => tracing::debug!(%error, "nobody tells when this machine sleeps"),
                Err(_) => {}
            }
            is_known = true;
            env.sleep(LOOK_AGAIN).await;
        }
    });
}

/// Rests and rises as told, until nobody tells any more; then it has risen.
async fn follow(env: &Env, teller: &mut dyn SleepTeller, house: &dyn House) {
    while let Some(delay) = until_sleep(env, teller).await {
        house.rest(teller.delay_max()).await;
        drop(delay);
        let is_told = env.timeout(ASLEEP_MAX, until_awake(teller)).await.unwrap_or(true);
        house.rise();
        if !is_told {
            return;
        }
    }
}

/// Waits until the machine falls asleep, with the system told to wait for it, if it agrees; `None`: nobody tells.
async fn until_sleep(env: &Env, teller: &mut dyn SleepTeller) -> Option<Option<SleepDelay>> {
    loop {
        let delay = teller.delay().await;
        if let Err(error) = &delay {
            tracing::debug!(%error, "the machine does not wait for this mount before it sleeps");
        }
        let delay = delay.ok();
        let again = async { if delay.is_some() { pending().await } else { env.sleep(LOOK_AGAIN).await } };
        tokio::select! {
            biased;
            sleeps = until(teller, SleepSign::FallsAsleep) => return sleeps.then_some(delay),
            () = again => {}
        }
    }
}

async fn until_awake(teller: &mut dyn SleepTeller) -> bool {
    until(teller, SleepSign::Wakes).await
}

/// Waits for a sign; whether it came.
async fn until(teller: &mut dyn SleepTeller, sign: SleepSign) -> bool {
    while let Some(said) = teller.next().await {
        if said == sign {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
