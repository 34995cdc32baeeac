//! Owns how the engine shows itself to the rest of the client.

use super::super::link::LinkState;
use super::super::plan::Stage;
use super::Engine;
use crate::hydrate::Reach;
use crate::meta::rows::Ticket;
use std::time::Duration;

/// Why the engine does nothing until a person acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The device's token is void.
    SignedOut,
    /// The device's state was restored from a backup, and it must be enrolled anew by signing in.
    MustSignInAnew,
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// When.
    pub at: Duration,
    /// What.
    pub reason: String,
    /// Whether it passes by itself: the server is away or busy.
    pub is_passing: bool,
}

/// An operation whose content could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Which.
    pub ticket: Ticket,
    /// When that was found.
    pub at: Duration,
    /// Why.
    pub reason: String,
}

/// How the engine stands, for status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineView {
    /// The notice socket.
    pub link: LinkState,
    /// Whether requests may be made.
    pub is_gate_open: bool,
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// What holds everything.
    pub held: Option<Held>,
    /// The last thing that went wrong since the start.
    pub last_error: Option<LastError>,
    /// Operations that are overtaken.
    pub parked_count: usize,
    /// Contents that could not be read and are tried again.
    pub stuck: Vec<Stuck>,
    /// Contents being sent.
    pub uploading_count: usize,
    /// Whether a push is under way.
    pub is_pushing: bool,
    /// Whether a pull is under way.
    pub is_pulling: bool,
}

impl EngineView {
    /// What is known of the way to the server.
    pub fn reach(&self) -> Reach {
        match () {
            () if self.link == LinkState::Online => Reach::Linked,
            // Requests do not need the notice socket: one that succeeds says as much.
            () if self.failures == 0 && self.is_gate_open => Reach::Doubtful,
            () => Reach::Away,
        }
    }
}

impl Engine {
    /// How the engine stands.
    pub fn view(&self, now: Duration) -> EngineView {
        EngineView {
            link: self.link,
            is_gate_open: self.gate.is_open(now),
            failures: self.gate.failures(),
            held: self.held,
            last_error: self.last_error.clone(),
            parked_count: self.parked_count,
            stuck: self.stuck(),
            uploading_count: self.groups.values().map(|group| group.tickets.len()).sum(),
            is_pushing: self.is_pushing,
            is_pulling: self.pull.is_running,
        }
    }

    fn stuck(&self) -> Vec<Stuck> {
        let is_stuck = |ticket: &Ticket| matches!(self.stages.get(ticket), Some(Stage::Delayed { is_error: true, .. }));
        let unreadable = self.unreadable.iter().filter(|(ticket, _)| is_stuck(ticket));
        unreadable.map(|(&ticket, (at, reason))| Stuck { ticket, at: *at, reason: reason.clone() }).collect()
    }
}
