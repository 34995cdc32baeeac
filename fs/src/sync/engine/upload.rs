//! Owns which contents are sent together, and what becomes of them.

use super::super::event::{Action, Failure, UploadResult};
use super::super::plan::{Plan, Stage};
use super::Engine;
use crate::limits;
use crate::meta::rows::Ticket;
use std::collections::HashMap;
use std::time::Duration;

/// Contents that are being sent together.
#[derive(Debug)]
pub(super) struct Group {
    pub tickets: Vec<Ticket>,
    pub is_large: bool,
    pub begun: Duration,
}

/// After a local failure, or when its freeze point was lost, a content is not read again before this has passed.
const LOCAL_RETRY: Duration = Duration::from_secs(1);

/// One content that waits to be sent.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    ticket: Ticket,
    bytes: u64,
}

impl Engine {
    /// Sends what may go; says when more would, if it is only too early.
    pub(super) fn pump_uploads(&mut self, plan: &Plan, now: Duration, actions: &mut Vec<Action>) -> Option<Duration> {
        let bytes_of: HashMap<Ticket, u64> = self.items.iter().map(|item| (item.ticket, item.content_bytes)).collect();
        let (mut small, mut large, mut resend) = (Vec::new(), Vec::new(), Vec::new());
        for &ticket in &plan.upload {
            let stage = self.stages.entry(ticket).or_insert(Stage::Wanted { since: now, resend: false });
            let bytes = bytes_of.get(&ticket).copied().unwrap_or(0);
            let waiting = Waiting { ticket, bytes };
            match stage {
                Stage::Wanted { resend: true, .. } => resend.push(waiting),
                _ if bytes <= limits::GROUPED_CONTENT_BYTES_MAX => small.push(waiting),
                _ => large.push(waiting),
            }
        }
        for one in resend {
            self.send_group(&[one], true, now, actions);
        }
        let later = self.send_small(&small, now, actions);
        let free = limits::LARGE_UPLOADS_MAX.saturating_sub(self.count_groups(true));
        for one in large.into_iter().take(free) {
            self.send_group(&[one], false, now, actions);
        }
        later
    }

    /// The first group goes at once, however small, as long as the pace lets it: latency. Another one must be worth it.
    fn send_small(&mut self, mut small: &[Waiting], now: Duration, actions: &mut Vec<Action>) -> Option<Duration> {
        while !small.is_empty() {
            let running = self.count_groups(false);
            let (group, rest) = small.split_at(group_end(small));
            let bytes: u64 = group.iter().map(|one| one.bytes).sum();
            let is_worth_it = bytes >= limits::GROUP_BYTES_MIN || group.len() >= limits::GROUP_COUNT_MIN;
            if running >= limits::GROUPS_MAX || (running > 0 && !is_worth_it) {
                return self.send_beside(small, now, actions);
            }
            let is_urgent = group.iter().any(|one| one.ticket <= self.urged);
            let ready_at = self.upload_pace.ready_at();
            if now < ready_at && !is_worth_it && !is_urgent {
                return Some(ready_at);
            }
            self.upload_pace.start(now);
            self.send_group(group, false, now, actions);
            small = rest;
        }
        None
    }

    /// What waits behind groups that take their time: on a slow line a note would wait for photos. Says when they do, if they do not yet.
    fn send_beside(&mut self, small: &[Waiting], now: Duration, actions: &mut Vec<Action>) -> Option<Duration> {
        let begun = self.groups.values().filter(|group| !group.is_large).map(|group| group.begun).max()?;
        let mut notes: Vec<Waiting> =
            small.iter().filter(|one| one.bytes <= limits::BESIDE_CONTENT_BYTES_MAX).copied().collect();
        notes.truncate(group_end(&notes));
        if notes.is_empty() || self.count_groups(false) >= limits::GROUPS_MAX + limits::BESIDE_GROUPS_MAX {
            return None;
        }
        let slow_at = begun + limits::PARK_AFTER;
        if now < slow_at {
            return Some(slow_at);
        }
        self.send_group(&notes, false, now, actions);
        None
    }

    fn count_groups(&self, is_large: bool) -> usize {
        self.groups.values().filter(|group| group.is_large == is_large).count()
    }

    fn send_group(&mut self, group: &[Waiting], resend: bool, now: Duration, actions: &mut Vec<Action>) {
        let tickets: Vec<Ticket> = group.iter().map(|one| one.ticket).collect();
        for ticket in &tickets {
            let since = self.wanted_since(*ticket).unwrap_or(now);
            self.stages.insert(*ticket, Stage::Uploading { since });
        }
        let number = self.next_group;
        self.next_group += 1;
        let is_large = group.iter().any(|one| one.bytes > limits::GROUPED_CONTENT_BYTES_MAX);
        self.groups.insert(number, Group { tickets: tickets.clone(), is_large, begun: now });
        actions.push(Action::Upload { group: number, tickets, resend });
    }

    fn wanted_since(&self, ticket: Ticket) -> Option<Duration> {
        match self.stages.get(&ticket) {
            Some(Stage::Wanted { since, .. } | Stage::Uploading { since } | Stage::Delayed { since, .. }) => {
                Some(*since)
            }
            _ => None,
        }
    }

    pub(super) fn upload_ended(&mut self, group: u64, results: Vec<(Ticket, UploadResult)>, now: Duration) {
        let Some(group) = self.groups.remove(&group) else { return };
        if !group.is_large {
            self.upload_pace.end(now);
        }
        let mut left: std::collections::HashSet<Ticket> = group.tickets.into_iter().collect();
        let mut remote_failure = None;
        for (ticket, result) in results {
            if left.remove(&ticket) {
                remote_failure = self.one_ended(ticket, result, now).or(remote_failure);
            }
        }
        // Of what was not spoken, nothing is known: it is sent again.
        for ticket in left {
            self.wait_again(ticket, now);
        }
        match remote_failure {
            Some(failure) => self.failed(&failure, now),
            None => self.succeeded(),
        }
        self.reading.is_stale |= self.reading.was_full;
    }

    /// Takes one result; returns a failure of the network.
    fn one_ended(&mut self, ticket: Ticket, result: UploadResult, now: Duration) -> Option<Failure> {
        match result {
            UploadResult::Done => {
                self.stages.insert(ticket, Stage::Uploaded);
                None
            }
            UploadResult::Gone => {
                self.forget(ticket);
                self.reading.is_stale = true;
                None
            }
            UploadResult::Changed => {
                self.delay(ticket, false, now);
                None
            }
            UploadResult::Failed(Failure::Local(reason)) => {
                self.unreadable.insert(ticket, (now, reason.clone()));
                self.note(reason, false, now);
                self.delay(ticket, true, now);
                None
            }
            UploadResult::Failed(failure) => {
                self.wait_again(ticket, now);
                Some(failure)
            }
        }
    }

    fn delay(&mut self, ticket: Ticket, is_error: bool, now: Duration) {
        let since = self.wanted_since(ticket).unwrap_or(now);
        self.stages.insert(ticket, Stage::Delayed { until: now + LOCAL_RETRY, is_error, since });
    }

    fn wait_again(&mut self, ticket: Ticket, now: Duration) {
        let since = self.wanted_since(ticket).unwrap_or(now);
        let resend = self.sent.contains_key(&ticket);
        self.stages.insert(ticket, Stage::Wanted { since, resend });
    }

    pub(super) fn forget(&mut self, ticket: Ticket) {
        self.stages.remove(&ticket);
        self.sent.remove(&ticket);
        self.items.retain(|item| item.ticket != ticket);
    }
}

/// How many of these fit into one group; at least one.
fn group_end(waiting: &[Waiting]) -> usize {
    let mut bytes = 0u64;
    let fits = waiting.iter().take_while(|one| {
        bytes += one.bytes;
        bytes <= limits::GROUP_BYTES_MAX
    });
    fits.take(tarn_proto::limits::PUSH_OPS_MAX).count().max(1)
}
