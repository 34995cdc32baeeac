//! Tests of the engine with synthetic events: no runtime, no network, no clock.
#![allow(clippy::unwrap_used)]

mod simulated;
mod standing;
mod waits;

use super::super::event::{Standing, UploadResult};
use super::*;
use crate::meta::rows::Ino;
use crate::tree::QueueKey;
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::Cursor;
use tarn_proto::ids::{EpochId, JournalHash};

const MS: Duration = Duration::from_millis(1);

fn file(ticket: u64) -> QueueItem {
    QueueItem {
        ticket: Ticket(ticket),
        content_of: Some(Ino(ticket)),
        content_bytes: 4_096,
        readiness: Readiness::Ready,
        frozen: None,
        keys: vec![QueueKey::Inode(Ino(ticket))],
        above: vec![Ino(1)],
        ordered_tree: None,
    }
}

fn folder(ticket: u64) -> QueueItem {
    QueueItem { content_of: None, content_bytes: 0, ..file(ticket) }
}

fn cursor(seq: u64) -> Cursor {
    Cursor { epoch: EpochId([1; 16]), seq, hash: JournalHash([0; 32]) }
}

fn answer(ticket: u64, outcome: Outcome) -> (Ticket, Answer) {
    (Ticket(ticket), Answer { counter: ticket, outcome, changes: Vec::new() })
}

fn answered(answers: Vec<(Ticket, Answer)>) -> Event {
    Event::PushAnswered { answers, gone: Vec::new(), before: Some(cursor(1)), after: Some(cursor(2)) }
}

fn settled(tickets: &[u64]) -> Event {
    let tickets = tickets.iter().map(|ticket| Ticket(*ticket)).collect();
    Event::Settled { tickets, result: Ok(Standing { seq: 2, gap: false }) }
}

fn unreachable() -> Failure {
    Failure::Remote(RemoteError::Unreachable("x".into()))
}

fn refused(code: ErrorCode) -> Failure {
    Failure::Remote(RemoteError::Refused { code, detail: "x".into() })
}

fn tickets(list: &[u64]) -> Vec<Ticket> {
    list.iter().map(|ticket| Ticket(*ticket)).collect()
}

/// An engine that is online, has pulled, and has read this queue.
fn online(items: Vec<QueueItem>) -> (Engine, Vec<Action>) {
    let mut engine = Engine::new(7);
    engine.handle(Event::Start, Duration::ZERO);
    engine.handle(Event::LinkOpened, Duration::ZERO);
    engine.handle(Event::PullEnded { result: Ok(1) }, Duration::ZERO);
    engine.handle(Event::PullEnded { result: Ok(1) }, Duration::ZERO);
    let actions = engine.handle(Event::QueueRead { items }, Duration::ZERO);
    (engine, actions)
}

fn pushes(actions: &[Action]) -> Vec<Vec<Ticket>> {
    let push = |action: &Action| match action {
        Action::Push { tickets } => Some(tickets.clone()),
        _ => None,
    };
    actions.iter().filter_map(push).collect()
}

#[test]
fn start_connects_pulls_and_reads() {
    let actions = Engine::new(1).handle(Event::Start, Duration::ZERO);
    assert!(actions.contains(&Action::OpenLink));
    assert!(actions.contains(&Action::Pull { full: false }));
    assert!(actions.contains(&Action::ReadQueue { max: limits::QUEUE_WINDOW }));
}

#[test]
fn a_closed_file_is_sent_and_pushed_without_any_wait() {
    let (mut engine, actions) = online(vec![file(1)]);
    assert!(actions.contains(&Action::Upload { group: 0, tickets: tickets(&[1]), resend: false }));
    let sent = Event::UploadEnded { group: 0, results: vec![(Ticket(1), UploadResult::Done)] };
    assert_eq!(pushes(&engine.handle(sent, MS)), [tickets(&[1])]);
}

#[test]
fn changes_are_heard_unless_the_queue_will_be_read_anyway() {
    let (mut engine, _) = online(Vec::new());
    assert!(engine.wants_changes(Duration::ZERO));
    engine.handle(Event::QueueChanged, Duration::ZERO);
    assert!(!engine.wants_changes(Duration::ZERO), "the next reading shows all that changes until then");
    let actions = engine.handle(Event::Tick, 2 * MS);
    assert!(actions.contains(&Action::ReadQueue { max: limits::QUEUE_WINDOW }));
    assert!(engine.wants_changes(2 * MS), "what changes from now on may not be in that reading");
}

#[test]
fn an_engine_that_waits_for_the_server_hears_every_change() {
    let (mut engine, _) = online(vec![folder(1)]);
    engine.handle(Event::QueueChanged, Duration::ZERO);
    assert!(!engine.wants_changes(Duration::ZERO));
    engine.handle(Event::PushFailed { error: unreachable() }, MS);
    assert!(engine.wants_changes(MS), "a change makes it try sooner");
}

#[test]
fn the_next_push_goes_out_while_answers_are_applied() {
    let (mut engine, actions) = online(vec![folder(1)]);
    assert_eq!(pushes(&actions), [tickets(&[1])]);
    engine.handle(Event::QueueChanged, MS);
    engine.handle(Event::Tick, 10 * MS);
    engine.handle(Event::QueueRead { items: vec![folder(1), folder(2)] }, 10 * MS);
    let actions = engine.handle(answered(vec![answer(1, Outcome::Applied)]), 11 * MS);
    assert!(actions.iter().any(|action| matches!(action, Action::Settle { .. })));
    assert_eq!(pushes(&actions), [tickets(&[2])]);
}

#[test]
fn small_contents_gather_while_a_group_is_under_way() {
    let (mut engine, _) = online(vec![file(1)]);
    engine.handle(Event::QueueChanged, 5 * MS);
    let gathered = engine.handle(Event::QueueRead { items: (1..=100).map(file).collect() }, 5 * MS);
    assert!(!gathered.iter().any(|action| matches!(action, Action::Upload { .. })));
    let sent = Event::UploadEnded { group: 0, results: vec![(Ticket(1), UploadResult::Done)] };
    let actions = engine.handle(sent, 6 * MS);
    let expected = (2..=100).map(Ticket).collect();
    assert!(actions.contains(&Action::Upload { group: 1, tickets: expected, resend: false }));
}

#[test]
fn a_note_does_not_wait_for_small_contents_that_take_long() {
    let photos =
        || (2..=100).map(|ticket| QueueItem { content_bytes: limits::GROUPED_CONTENT_BYTES_MAX, ..file(ticket) });
    let (mut engine, actions) = online(photos().collect());
    let uploads = |actions: &[Action]| {
        let group = |action: &Action| match action {
            Action::Upload { tickets, .. } => Some(tickets.clone()),
            _ => None,
        };
        actions.iter().filter_map(group).collect::<Vec<_>>()
    };
    assert_eq!(uploads(&actions).len(), limits::GROUPS_MAX);
    engine.handle(Event::QueueChanged, MS);
    let items: Vec<QueueItem> = photos().chain([file(101), file(102)]).collect();
    assert!(uploads(&engine.handle(Event::QueueRead { items }, 2 * MS)).is_empty());
    let late = limits::PARK_AFTER + MS;
    let actions = engine.handle(Event::Tick, late);
    assert_eq!(uploads(&actions), [tickets(&[101, 102])]);
    let group = limits::GROUPS_MAX as u64;
    let results = vec![(Ticket(101), UploadResult::Done), (Ticket(102), UploadResult::Done)];
    let pushed = engine.handle(Event::UploadEnded { group, results }, late + MS);
    assert_eq!(pushes(&pushed), [tickets(&[101, 102])]);
}

/// A folder is made; the queue is read, pushed and settled, each a millisecond after the other. Says whether its push
/// left as soon as it was known.
fn one_change(engine: &mut Engine, ticket: u64, items: Vec<QueueItem>, now: Duration) -> bool {
    engine.handle(Event::QueueChanged, now);
    engine.handle(Event::Tick, now + MS);
    let at_once = !pushes(&engine.handle(Event::QueueRead { items }, now + MS)).is_empty();
    engine.handle(answered(vec![answer(ticket, Outcome::Applied)]), now + 20 * MS);
    engine.handle(settled(&[ticket]), now + 21 * MS);
    at_once
}

#[test]
fn changes_one_after_another_never_wait_for_company() {
    let (mut engine, _) = online(vec![]);
    for ticket in 1..=50 {
        assert!(one_change(&mut engine, ticket, vec![folder(ticket)], 22 * MS * ticket as u32), "change {ticket}");
    }
}

/// An answer comes when the next change is queued already; says whether that one's push left at once.
fn answered_in_a_stream(engine: &mut Engine, ticket: u64, now: Duration) -> bool {
    engine.handle(Event::QueueRead { items: vec![folder(ticket), folder(ticket + 1)] }, now);
    let actions = engine.handle(answered(vec![answer(ticket, Outcome::Applied)]), now + 10 * MS);
    engine.handle(settled(&[ticket]), now + 10 * MS);
    !pushes(&actions).is_empty()
}

#[test]
fn changes_in_a_stream_gather_unless_somebody_waits() {
    let (mut engine, _) = online(vec![folder(1)]);
    let end_of = |ticket: u64| 10 * MS * ticket as u32;
    let last = (1..=50).find(|&one| !answered_in_a_stream(&mut engine, one, end_of(one - 1))).unwrap();
    let actions = engine.handle(Event::WaitRequested { upto: Ticket(last + 1) }, end_of(last));
    assert_eq!(pushes(&actions), [tickets(&[last + 1])]);
}

#[test]
fn what_waits_for_an_answer_is_looked_at_as_soon_as_that_is_applied() {
    let later = |ticket| QueueItem { readiness: Readiness::InFlight, ..folder(ticket) };
    let (mut engine, _) = online(std::iter::once(folder(1)).chain((2..=2_000).map(later)).collect());
    engine.handle(answered(vec![answer(1, Outcome::Applied)]), MS);
    let actions = engine.handle(settled(&[1]), 2 * MS);
    assert!(actions.contains(&Action::ReadQueue { max: limits::QUEUE_WINDOW }), "{actions:?}");
}

#[test]
fn a_failure_closes_the_gate_until_somebody_waits() {
    let (mut engine, _) = online(vec![folder(1)]);
    let actions = engine.handle(Event::PushFailed { error: unreachable() }, MS);
    assert!(pushes(&actions).is_empty());
    assert!(actions.iter().any(|action| matches!(action, Action::SetTimer { .. })));
    assert_eq!(engine.view(MS).failures, 1);
    let woken = engine.handle(Event::WaitRequested { upto: Ticket(1) }, 2 * MS);
    assert_eq!(pushes(&woken), [tickets(&[1])]);
}

#[test]
fn a_success_reopens_the_notice_socket_at_once() {
    let (mut engine, _) = online(vec![folder(1)]);
    engine.handle(Event::LinkLost { error: unreachable() }, MS);
    assert_eq!(engine.view(MS).link, LinkState::BackingOff);
    let actions = engine.handle(answered(vec![answer(1, Outcome::Applied)]), 2 * MS);
    assert!(actions.contains(&Action::OpenLink));
}

#[test]
fn missing_chunks_are_sent_again_and_the_operation_with_them() {
    let mut item = file(1);
    item.frozen = Some(1);
    let (mut engine, actions) = online(vec![item]);
    assert_eq!(pushes(&actions), [tickets(&[1])]);
    let lacking = Outcome::RetryLater { code: ErrorCode::MissingChunks, missing: Vec::new() };
    let actions = engine.handle(answered(vec![answer(1, lacking)]), MS);
    assert!(actions.contains(&Action::Upload { group: 0, tickets: tickets(&[1]), resend: true }));
    let sent = Event::UploadEnded { group: 0, results: vec![(Ticket(1), UploadResult::Done)] };
    assert_eq!(pushes(&engine.handle(sent, 2 * MS)), [tickets(&[1])]);
}

#[test]
fn a_taken_name_is_replaced_before_the_rest_goes_on() {
    let (mut engine, _) = online(vec![folder(1), folder(2)]);
    let answers = vec![answer(1, Outcome::NeedsName), answer(2, Outcome::Skipped)];
    let actions = engine.handle(answered(answers), MS);
    assert!(actions.contains(&Action::Rename { ticket: Ticket(1) }));
    assert!(pushes(&actions).is_empty());
    let actions = engine.handle(Event::Renamed { ticket: Ticket(1), result: Ok(()) }, 2 * MS);
    assert_eq!(pushes(&actions), [tickets(&[1, 2])]);
}

#[test]
fn a_batch_that_is_not_settled_to_its_end_is_followed_by_a_smaller_one() {
    let (mut engine, actions) = online((1..=200).map(folder).collect());
    assert_eq!(pushes(&actions)[0].len(), 200);
    let outcome = |number: u64| if number == 1 { Outcome::NeedsName } else { Outcome::Skipped };
    engine.handle(answered((1..=200).map(|number| answer(number, outcome(number))).collect()), MS);
    let renamed = Event::Renamed { ticket: Ticket(1), result: Ok(()) };
    assert_eq!(pushes(&engine.handle(renamed, 2 * MS))[0].len(), 16);
    let all_but_one = |number: u64| answer(number, if number < 16 { Outcome::Applied } else { Outcome::Skipped });
    let mut next = engine.handle(answered((1..=16).map(all_but_one).collect()), 3 * MS);
    next.extend(engine.handle(settled(&(1..=15).collect::<Vec<_>>()), 4 * MS));
    assert_eq!(pushes(&next)[0].len(), 30);
}

#[test]
fn a_void_token_stops_everything_and_keeps_the_queue() {
    let (mut engine, _) = online(vec![folder(1)]);
    let actions = engine.handle(Event::PushFailed { error: refused(ErrorCode::Unauthenticated) }, MS);
    assert_eq!(actions, [Action::CloseLink]);
    assert_eq!(engine.view(MS).held, Some(Held::SignedOut));
    assert!(engine.handle(Event::QueueChanged, 2 * MS).is_empty());
    engine.handle(Event::LinkLost { error: unreachable() }, 3 * MS);
    let again = engine.handle(Event::Start, 4 * MS);
    assert!(again.contains(&Action::OpenLink));
    assert_eq!(pushes(&again), [tickets(&[1])]);
}

#[test]
fn a_rolled_back_device_takes_a_new_id_before_it_pushes_again() {
    let (mut engine, _) = online(vec![folder(1)]);
    let actions = engine.handle(Event::PushFailed { error: refused(ErrorCode::DeviceRolledBack) }, MS);
    assert!(actions.contains(&Action::RenewIdentity) && pushes(&actions).is_empty());
    let actions = engine.handle(Event::IdentityRenewed { result: Ok(()) }, 2 * MS);
    assert!(actions.contains(&Action::CloseLink), "the socket is the old device's");
    assert_eq!(pushes(&actions), [tickets(&[1])]);
}

#[test]
fn a_new_epoch_means_a_full_pull_before_the_next_push() {
    let (mut engine, _) = online(vec![folder(1)]);
    let actions = engine.handle(Event::PushFailed { error: refused(ErrorCode::EpochChanged) }, MS);
    assert!(actions.contains(&Action::Pull { full: true }) && pushes(&actions).is_empty());
    let failed = engine.handle(Event::PullEnded { result: Err(unreachable()) }, 2 * MS);
    assert!(pushes(&failed).is_empty());
    let again = engine.handle(Event::NetworkChanged, 3 * MS);
    assert!(again.contains(&Action::Pull { full: true }) && pushes(&again).is_empty());
    let actions = engine.handle(Event::PullEnded { result: Ok(9) }, 4 * MS);
    assert_eq!(pushes(&actions), [tickets(&[1])]);
}

#[test]
fn what_there_is_no_room_for_is_put_aside_before_anything_else_goes() {
    let (mut engine, actions) = online(vec![folder(1), folder(2), folder(3)]);
    assert_eq!(pushes(&actions), [tickets(&[1, 2, 3])]);
    let full = Outcome::RetryLater { code: ErrorCode::QuotaExceeded, missing: Vec::new() };
    let answers = vec![answer(1, Outcome::Applied), answer(2, full), answer(3, Outcome::Skipped)];
    let actions = engine.handle(answered(answers), MS);
    assert!(actions.contains(&Action::PutAside { ticket: Ticket(2) }) && pushes(&actions).is_empty());
    assert!(pushes(&engine.handle(settled(&[1]), 2 * MS)).is_empty());
    let aside = Event::PutAside { ticket: Ticket(2), result: Ok(()) };
    let actions = engine.handle(aside, 500 * MS);
    assert!(pushes(&actions).is_empty(), "the queue is not known: {actions:?}");
    assert!(actions.contains(&Action::ReadQueue { max: limits::QUEUE_WINDOW }), "{actions:?}");
    let actions = engine.handle(Event::QueueRead { items: vec![folder(3)] }, 501 * MS);
    assert_eq!(pushes(&actions), [tickets(&[3])]);
    assert!(engine.gate.is_open(501 * MS), "nothing is wrong with the server");
}

#[test]
fn on_another_network_all_is_tried_at_once_and_failures_count_anew() {
    let (mut engine, _) = online(Vec::new());
    let mut now = MS;
    for _ in 0..12 {
        engine.handle(Event::LinkLost { error: unreachable() }, now);
        now += crate::limits::LINK_BACKOFF_MAX;
        engine.handle(Event::Tick, now);
    }
    engine.handle(Event::LinkLost { error: unreachable() }, now);
    let actions = engine.handle(Event::NetworkChanged, now);
    assert!(actions.contains(&Action::OpenLink), "{actions:?}");
    let actions = engine.handle(Event::LinkLost { error: unreachable() }, now);
    let soon = |action: &Action| matches!(action, Action::SetTimer { at } if *at <= now + crate::limits::BACKOFF_MIN);
    assert!(actions.iter().any(soon), "{actions:?}");
}

#[test]
fn a_burst_of_notices_leads_to_one_pull_and_one_more() {
    let (mut engine, _) = online(Vec::new());
    let pulls = |actions: Vec<Action>| actions.iter().filter(|a| matches!(a, Action::Pull { .. })).count();
    let counts: usize = (2..50).map(|seq| pulls(engine.handle(Event::Noticed { seq }, MS))).sum();
    assert_eq!(counts, 1);
    assert_eq!(
        pulls(engine.handle(Event::PullEnded { result: Ok(10) }, MS)),
        1,
        "noticed while it ran, beyond its cut"
    );
    assert_eq!(pulls(engine.handle(Event::PullEnded { result: Ok(49) }, MS)), 0);
    assert_eq!(pulls(engine.handle(Event::Noticed { seq: 1_000 }, MS)), 1);
    assert_eq!(pulls(engine.handle(Event::PullEnded { result: Ok(49) }, MS)), 0, "what no cut bears out was wrong");
}

#[test]
fn the_notice_of_an_own_change_brings_no_pull() {
    let (mut engine, _) = online(vec![folder(1)]);
    let noticed = engine.handle(Event::Noticed { seq: 2 }, MS);
    engine.handle(answered(vec![answer(1, Outcome::Applied)]), 2 * MS);
    let done = engine.handle(settled(&[1]), 3 * MS);
    assert!(!noticed.iter().chain(&done).any(|action| matches!(action, Action::Pull { .. })));
}

#[test]
fn a_refused_batch_is_halved_until_it_passes() {
    let (mut engine, actions) = online((1..=8).map(folder).collect());
    let mut size = pushes(&actions)[0].len();
    let mut now = MS;
    engine.batch_max = 8;
    while size > 1 {
        engine.handle(Event::PushFailed { error: refused(ErrorCode::BadRequest) }, now);
        now += limits::BACKOFF_MAX;
        let next = pushes(&engine.handle(Event::Tick, now))[0].len();
        assert_eq!(next, size / 2);
        size = next;
    }
}

#[test]
fn answers_that_cannot_be_applied_are_asked_for_again() {
    let (mut engine, _) = online(vec![folder(1)]);
    engine.handle(answered(vec![answer(1, Outcome::Applied)]), MS);
    let failed = Event::Settled { tickets: tickets(&[1]), result: Err("disk full".into()) };
    assert!(pushes(&engine.handle(failed, 2 * MS)).is_empty());
    assert_eq!(pushes(&engine.handle(Event::Tick, Duration::from_secs(1))), [tickets(&[1])]);
}

#[test]
fn after_shutdown_nothing_is_asked_for() {
    let (mut engine, _) = online(vec![folder(1)]);
    assert_eq!(engine.handle(Event::Shutdown, MS), [Action::CloseLink]);
    assert!(engine.handle(Event::QueueChanged, 2 * MS).is_empty());
    assert!(engine.handle(answered(vec![answer(1, Outcome::Skipped)]), 3 * MS).is_empty());
}

#[test]
fn a_lost_notice_delays_the_next_pull_by_a_bounded_time() {
    let mut engine = Engine::new(7);
    engine.handle(Event::Start, Duration::ZERO);
    let actions = engine.handle(Event::PullEnded { result: Ok(1) }, Duration::ZERO);
    assert!(actions.contains(&Action::SetTimer { at: limits::PULL_EVERY }), "{actions:?}");
    let early = engine.handle(Event::Tick, limits::PULL_EVERY - MS);
    assert!(!early.contains(&Action::Pull { full: false }));
    let due = engine.handle(Event::Tick, limits::PULL_EVERY);
    assert!(due.contains(&Action::Pull { full: false }));
}
