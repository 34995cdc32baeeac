//! Owns whether a program waits for what a fetch brings. One may begin to while the fetch is under way.

use tokio::sync::watch;

/// How urgent a call is; clones are of the same call.
#[derive(Debug, Clone)]
pub struct Urgency(watch::Sender<bool>);

impl Default for Urgency {
    /// Nobody waits yet.
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Urgency {
    /// Somebody waits from now on.
    pub fn raise(&self) {
        self.0.send_if_modified(|is_high| !std::mem::replace(is_high, true));
    }

    /// Whether somebody waits.
    pub fn is_high(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until somebody does. Cancel-safe.
    pub async fn raised(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|is_high| *is_high).await;
    }
}
