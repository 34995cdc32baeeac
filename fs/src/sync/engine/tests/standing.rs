//! How the engine says that it stands, what it forgets, and how long it waits.

use super::*;
use crate::hydrate::Reach;
use crate::sync::link::LinkState;

#[test]
fn the_server_is_reached_by_the_socket_or_perhaps_by_requests() {
    let mut view = Engine::new(1).view(Duration::ZERO);
    let cases = [
        (LinkState::Online, 5, false, Reach::Linked),
        (LinkState::BackingOff, 0, true, Reach::Doubtful),
        (LinkState::BackingOff, 1, true, Reach::Away),
        (LinkState::BackingOff, 0, false, Reach::Away),
    ];
    for (link, failures, is_gate_open, reach) in cases {
        (view.link, view.failures, view.is_gate_open) = (link, failures, is_gate_open);
        assert_eq!(view.reach(), reach, "{link:?} {failures} {is_gate_open}");
    }
}

#[test]
fn what_cannot_be_read_is_stuck_until_it_leaves_the_queue() {
    let (mut engine, _) = online(vec![file(1)]);
    let failed = UploadResult::Failed(Failure::Local("unreadable".into()));
    engine.handle(Event::UploadEnded { group: 0, results: vec![(Ticket(1), failed)] }, MS);
    let stuck = Stuck { ticket: Ticket(1), at: MS, reason: "unreadable".into() };
    assert_eq!(engine.view(MS).stuck, [stuck]);
    engine.handle(Event::QueueChanged, 2 * MS);
    engine.handle(Event::QueueRead { items: vec![folder(2)] }, 10 * MS);
    assert_eq!(engine.view(10 * MS).stuck, []);
}

#[test]
fn a_content_that_was_gone_and_is_queued_again_is_sent() {
    let (mut engine, _) = online(vec![file(1)]);
    engine.handle(Event::UploadEnded { group: 0, results: vec![(Ticket(1), UploadResult::Gone)] }, MS);
    let actions = engine.handle(Event::QueueRead { items: vec![file(1)] }, 1_000 * MS);
    assert!(actions.contains(&Action::Upload { group: 1, tickets: tickets(&[1]), resend: false }), "{actions:?}");
}

#[test]
fn only_what_passes_by_itself_is_said_to_pass() {
    for (error, is_passing) in [(unreachable(), true), (refused(ErrorCode::Forbidden), false)] {
        let (mut engine, _) = online(vec![folder(1), folder(2)]);
        engine.handle(Event::PushFailed { error }, MS);
        assert_eq!(engine.view(MS).last_error.map(|error| error.is_passing), Some(is_passing));
    }
}

#[test]
fn a_revoked_device_closes_its_socket_and_says_why() {
    let (mut engine, _) = online(vec![folder(1)]);
    assert!(engine.handle(Event::Revoked, MS).contains(&Action::CloseLink));
    assert_eq!(engine.view(MS).held, Some(Held::SignedOut));
}

/// How long it waits in the end before it opens the socket again.
fn longest_wait(items: Vec<QueueItem>) -> Duration {
    let (mut engine, _) = online(items);
    let (mut now, mut wait) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..12 {
        let lost = engine.handle(Event::LinkLost { error: unreachable() }, now);
        let at = |action: &Action| if let Action::SetTimer { at } = action { Some(*at) } else { None };
        let due = lost.iter().find_map(at).unwrap_or(now + limits::LINK_BACKOFF_MAX);
        (wait, now) = (due - now, due);
        assert!(engine.handle(Event::Tick, now).contains(&Action::OpenLink));
    }
    wait
}

#[test]
fn who_has_nothing_to_send_waits_longer_for_the_server() {
    assert!(longest_wait(Vec::new()) > limits::BACKOFF_MAX);
    assert!(longest_wait(vec![folder(1)]) <= limits::BACKOFF_MAX);
}
