//! Owns the connection's state machine.
//!
//! ```text
//!            Start             Opened
//!  Offline ─────────▶ Connecting ─────────▶ Online
//!     ▲                 ▲     │                │
//!     │ Stop            │     │ Lost           │ Lost
//!     │ (from all)  Due │     ▼                │
//!     └──────────────── BackingOff ◀───────────┘
//! ```
//!
//! `Due` is the timer's end, a person who waits, or a request that succeeded. Requests do not need the
//! notice socket: where it cannot be opened, changes of others just arrive later.

/// Where the notice socket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// Nothing is tried.
    Offline,
    /// The socket is being opened.
    Connecting,
    /// The socket stands.
    Online,
    /// The next attempt waits for its time.
    BackingOff,
}

/// What happens to the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkEvent {
    /// Work begins.
    Start,
    /// The socket was opened.
    Opened,
    /// The socket could not be opened, or is gone.
    Lost,
    /// It is time to try again.
    Due,
    /// Work ends: shutdown, or signed out.
    Stop,
}

/// All transitions there are; what is not in the table changes nothing.
pub const TRANSITIONS: [(LinkState, LinkEvent, LinkState); 8] = [
    (LinkState::Offline, LinkEvent::Start, LinkState::Connecting),
    (LinkState::Connecting, LinkEvent::Opened, LinkState::Online),
    (LinkState::Connecting, LinkEvent::Lost, LinkState::BackingOff),
    (LinkState::Online, LinkEvent::Lost, LinkState::BackingOff),
    (LinkState::BackingOff, LinkEvent::Due, LinkState::Connecting),
    (LinkState::Connecting, LinkEvent::Stop, LinkState::Offline),
    (LinkState::Online, LinkEvent::Stop, LinkState::Offline),
    (LinkState::BackingOff, LinkEvent::Stop, LinkState::Offline),
];

impl LinkState {
    /// Where an event leads, if anywhere.
    pub fn after(self, event: LinkEvent) -> Option<Self> {
        TRANSITIONS.iter().find(|(from, on, _)| *from == self && *on == event).map(|(_, _, to)| *to)
    }

    /// Moves; says whether anything changed.
    pub fn apply(&mut self, event: LinkEvent) -> bool {
        let next = self.after(event);
        *self = next.unwrap_or(*self);
        next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_can_be_left_and_stopped() {
        use LinkState::{BackingOff, Connecting, Offline, Online};
        for state in [Connecting, Online, BackingOff] {
            assert_eq!(state.after(LinkEvent::Stop), Some(Offline));
        }
        for state in [Offline, Connecting, Online, BackingOff] {
            assert!(TRANSITIONS.iter().any(|(from, _, to)| *from == state && *to != state));
        }
    }

    #[test]
    fn the_table_has_one_answer_for_each_question() {
        for (index, (from, event, _)) in TRANSITIONS.iter().enumerate() {
            assert!(!TRANSITIONS[..index].iter().any(|(f, e, _)| f == from && e == event));
        }
    }

    #[test]
    fn a_late_word_of_a_stopped_link_changes_nothing() {
        let mut link = LinkState::Offline;
        assert!(!link.apply(LinkEvent::Opened));
        assert!(!link.apply(LinkEvent::Lost));
        assert_eq!(link, LinkState::Offline);
    }
}
