//! Owns pushing and what follows from answers: what is settled, what is tried again, and how.

use super::super::event::{Action, Failure, Standing};
use super::super::plan::{Plan, Stage};
use super::{Engine, code_of};
use crate::limits;
use crate::meta::rows::Ticket;
use crate::tree::Readiness;
use std::collections::HashSet;
use std::time::Duration;
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::Cursor;
use tarn_proto::error::ErrorCode;
use tarn_proto::limits::PUSH_OPS_MAX;

/// Answers that may be waiting to be applied while the next push is under way.
const SETTLING_MAX: usize = 1;

/// What is pushed at least behind a batch of which not all was settled.
const BATCH_AFTER_CUT_MIN: usize = 16;

impl Engine {
    /// Pushes what may go; says when it would, if it is only too early.
    pub(super) fn pump_push(&mut self, plan: &Plan, now: Duration, actions: &mut Vec<Action>) -> Option<Duration> {
        if self.is_pushing || self.settling_count > SETTLING_MAX || self.pull.is_starting_over() || plan.push.is_empty()
        {
            return None;
        }
        let is_worth_it = plan.push.len() >= limits::GROUP_COUNT_MIN || plan.push.iter().any(|&one| one <= self.urged);
        let ready_at = self.push_pace.ready_at();
        if now < ready_at && !is_worth_it {
            return Some(ready_at);
        }
        self.push_pace.start(now);
        let tickets: Vec<Ticket> = plan.push.iter().take(self.batch_max).copied().collect();
        self.stages.extend(tickets.iter().map(|ticket| (*ticket, Stage::Pushing)));
        self.remember_sent(tickets.iter().copied());
        self.is_pushing = true;
        actions.push(Action::Push { tickets });
        None
    }

    pub(super) fn push_answered(
        &mut self,
        answers: Vec<(Ticket, Answer)>,
        gone: &[Ticket],
        cursors: Option<(Cursor, Cursor)>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        self.is_pushing = false;
        self.push_pace.end(now);
        self.batch_max = self.next_batch_max(&answers);
        self.succeeded();
        gone.iter().for_each(|ticket| self.forget(*ticket));
        self.reading.is_stale |= !gone.is_empty();
        let mut settled = Vec::new();
        for (ticket, answer) in answers {
            if answer.outcome.is_settled() {
                self.stages.insert(ticket, Stage::Settling);
                settled.push((ticket, answer));
            } else {
                self.not_settled(ticket, answer.outcome, now, actions);
            }
        }
        self.release_unanswered();
        if let Some((before, after)) = cursors
            && !settled.is_empty()
        {
            self.settling_count += 1;
            actions.push(Action::Settle { answers: settled, before, after });
        }
    }

    /// The server looks at a batch up to what it does not settle, but reads all of it. Where many versions of files lose
    /// conflicts, what goes next is as much as came through, twice over.
    fn next_batch_max(&self, answers: &[(Ticket, Answer)]) -> usize {
        let settled = answers.iter().filter(|(_, answer)| answer.outcome.is_settled()).count();
        let is_cut = settled < answers.len();
        let doubled = if is_cut { (settled * 2).max(BATCH_AFTER_CUT_MIN) } else { self.batch_max * 2 };
        doubled.min(PUSH_OPS_MAX)
    }

    fn not_settled(&mut self, ticket: Ticket, outcome: Outcome, now: Duration, actions: &mut Vec<Action>) {
        match outcome {
            Outcome::RetryLater { code: ErrorCode::MissingChunks, .. } => {
                self.stages.insert(ticket, Stage::Wanted { since: now, resend: true });
            }
            Outcome::RetryLater { code: ErrorCode::QuotaExceeded, .. } => {
                self.stages.insert(ticket, Stage::PuttingAside);
                actions.push(Action::PutAside { ticket });
            }
            Outcome::RetryLater { code, .. } => {
                self.stages.remove(&ticket);
                let wait_max = if code.is_retryable() { limits::BACKOFF_MAX } else { limits::LINK_BACKOFF_MAX };
                self.gate.fail(now, wait_max);
                self.note(format!("the server says to try again later: {code:?}"), code.is_retryable(), now);
            }
            Outcome::NeedsName => {
                self.stages.insert(ticket, Stage::Renaming);
                actions.push(Action::Rename { ticket });
            }
            // An earlier one of the batch is not settled; this one goes with it again.
            Outcome::Skipped => drop(self.stages.remove(&ticket)),
            // `is_settled` says that these do not come here.
            Outcome::Applied | Outcome::Merged | Outcome::Conflicted { .. } | Outcome::Refused { .. } => {}
        }
    }

    /// What was to be pushed and got no answer (the batch was cut to fit) goes with the next one.
    fn release_unanswered(&mut self) {
        self.stages.retain(|_, stage| *stage != Stage::Pushing);
    }

    pub(super) fn push_failed(&mut self, error: &Failure, now: Duration) {
        self.is_pushing = false;
        self.release_unanswered();
        self.want_full_if_useless(error);
        match code_of(error) {
            Some(ErrorCode::DeviceRolledBack) => self.renew(error, now),
            Some(ErrorCode::EpochChanged | ErrorCode::CursorExpired) => self.note(error.to_string(), true, now),
            // Refused as a whole: perhaps for one operation. Smaller batches find it and let the others through.
            Some(_) => {
                self.batch_max = (self.batch_max / 2).max(1);
                self.failed(error, now);
            }
            None => self.failed(error, now),
        }
    }

    fn renew(&mut self, error: &Failure, now: Duration) {
        self.note(error.to_string(), true, now);
        self.is_renewing = true;
        self.is_renewal_asked = false;
    }

    pub(super) fn settled(&mut self, tickets: &[Ticket], result: Result<Standing, String>, now: Duration) {
        self.settling_count = self.settling_count.saturating_sub(1);
        let done: HashSet<Ticket> = tickets.iter().copied().collect();
        self.stages.retain(|ticket, _| !done.contains(ticket));
        // A read that is under way may still show what is settled now.
        self.reading.discard = self.reading.is_running;
        match result {
            Ok(standing) => {
                self.items.retain(|item| !done.contains(&item.ticket));
                self.sent.retain(|ticket, _| !done.contains(ticket));
                self.pull.have_seq = self.pull.have_seq.max(standing.seq);
                self.pull.is_wanted |= standing.gap;
                self.reading.is_freed = self.items.iter().any(|item| item.readiness == Readiness::InFlight);
                self.reading.is_stale |= self.reading.was_full || self.reading.is_freed;
                self.rest_if_quiet();
            }
            // The server keeps the answers until it hears that they were applied: ask again.
            Err(reason) => self.failed(&Failure::Local(reason), now),
        }
    }

    pub(super) fn renamed(&mut self, ticket: Ticket, result: Result<(), String>, now: Duration) {
        self.stages.remove(&ticket);
        if let Err(reason) = result {
            self.failed(&Failure::Local(reason), now);
        }
    }

    /// What was behind it in the push goes on without it, under new counters.
    pub(super) fn put_aside(&mut self, ticket: Ticket, result: Result<(), String>, now: Duration) {
        self.stages.remove(&ticket);
        match result {
            Ok(()) => {
                self.start_afresh();
                self.items.clear();
                self.reading.is_stale = true;
            }
            Err(reason) => self.failed(&Failure::Local(reason), now),
        }
    }

    /// Asks for a new identity once nothing of the old one is under way.
    pub(super) fn pump_renewal(&mut self, actions: &mut Vec<Action>) {
        let is_quiet = self.settling_count == 0 && self.groups.is_empty();
        if self.is_renewing && !self.is_renewal_asked && is_quiet {
            self.is_renewal_asked = true;
            actions.push(Action::RenewIdentity);
        }
    }
}
