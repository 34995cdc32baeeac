//! Owns when to pull: one pull at a time, and one more if something was said meanwhile.

use super::super::event::{Action, Failure};
use super::{Engine, code_of};
use crate::limits;
use std::time::Duration;
use tarn_proto::error::ErrorCode;

/// What is known of the journal, and what is under way.
#[derive(Debug, Default)]
pub(super) struct PullState {
    pub is_running: bool,
    /// Something says that there is more: a new connection, a gap between answers.
    pub is_wanted: bool,
    /// The cursor is of no use: from the start.
    pub is_full_wanted: bool,
    /// Such a pull is under way.
    pub is_full_running: bool,
    /// The highest seq that a notice told of since the last pull began: what was said before, it answers.
    pub noticed_seq: u64,
    /// Where the device stands.
    pub have_seq: u64,
    /// When the last pull ended.
    pub ended_at: Option<Duration>,
}

impl PullState {
    /// Whether the cursor is of no use for now: nothing can be pushed with it.
    pub fn is_starting_over(&self) -> bool {
        self.is_full_wanted || self.is_full_running
    }
}

impl Engine {
    /// A lost notice costs no more than [`limits::PULL_EVERY`]. Returns when time alone makes a pull due.
    pub(super) fn pump_pull(&mut self, now: Duration, actions: &mut Vec<Action>) -> Option<Duration> {
        // A notice of a push's own changes comes before its answer is applied: wait for that.
        let is_settled = !self.is_pushing && self.settling_count == 0;
        let is_noticed = is_settled && self.pull.noticed_seq > self.pull.have_seq;
        let due = self.pull.ended_at.map(|at| at + limits::PULL_EVERY);
        let is_due = due.is_some_and(|due| now >= due);
        if self.pull.is_running {
            return None;
        }
        if !(self.pull.is_wanted || self.pull.is_full_wanted || is_noticed || is_due) {
            return due;
        }
        self.pull.is_running = true;
        self.pull.is_wanted = false;
        self.pull.noticed_seq = 0;
        let full = std::mem::take(&mut self.pull.is_full_wanted);
        self.pull.is_full_running = full;
        actions.push(Action::Pull { full });
        None
    }

    pub(super) fn pull_ended(&mut self, result: Result<u64, Failure>, now: Duration) {
        self.pull.is_running = false;
        let was_full = std::mem::take(&mut self.pull.is_full_running);
        self.pull.ended_at = Some(now);
        match result {
            Ok(seq) => {
                self.pull.have_seq = seq;
                self.succeeded();
            }
            Err(error) => {
                self.want_full_if_useless(&error);
                self.pull.is_wanted = true;
                self.pull.is_full_wanted |= was_full;
                self.failed(&error, now);
            }
        }
    }

    /// A cursor that the server does not know any more is replaced by a full pull.
    pub(super) fn want_full_if_useless(&mut self, error: &Failure) {
        if let Some(ErrorCode::EpochChanged | ErrorCode::CursorExpired) = code_of(error) {
            self.pull.is_full_wanted = true;
        }
    }
}
