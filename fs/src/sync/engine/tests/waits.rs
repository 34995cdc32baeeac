//! What waits for something else, and what is not asked for twice.

use super::*;

const READ: Action = Action::ReadQueue { max: limits::QUEUE_WINDOW };
const SECOND: Duration = Duration::from_secs(1);

fn uploads(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Upload { .. })).count()
}

#[test]
fn the_notice_socket_is_asked_for_once() {
    let mut engine = Engine::new(1);
    assert!(engine.handle(Event::Start, Duration::ZERO).contains(&Action::OpenLink));
    assert!(!engine.handle(Event::PullEnded { result: Ok(1) }, MS).contains(&Action::OpenLink));
}

#[test]
fn a_queue_that_is_being_read_is_read_again_after_that() {
    let (mut engine, _) = online(Vec::new());
    assert!(engine.handle(Event::QueueChanged, 10 * MS).contains(&READ));
    assert!(!engine.handle(Event::QueueChanged, 20 * MS).contains(&READ));
    engine.handle(Event::QueueRead { items: Vec::new() }, 21 * MS);
    assert!(engine.handle(Event::Tick, 30 * MS).contains(&READ));
}

#[test]
fn what_was_read_before_something_was_put_aside_is_not_believed() {
    let (mut engine, _) = online(vec![folder(1), folder(2), folder(3)]);
    assert!(engine.handle(Event::QueueChanged, 5 * MS).contains(&READ));
    let full = Outcome::RetryLater { code: ErrorCode::QuotaExceeded, missing: Vec::new() };
    engine.handle(answered(vec![answer(1, full), answer(2, Outcome::Skipped), answer(3, Outcome::Skipped)]), 6 * MS);
    engine.handle(Event::PutAside { ticket: Ticket(1), result: Ok(()) }, 7 * MS);
    let frozen = |ticket: u64| QueueItem { frozen: Some(ticket), ..folder(ticket) };
    let actions = engine.handle(Event::QueueRead { items: vec![frozen(1), frozen(2), frozen(3)] }, 9 * MS);
    assert_eq!((pushes(&actions), actions.contains(&READ)), (Vec::new(), true));
}

/// A device that has to take a new id while a group is being sent and answers are being applied.
fn rolled_back() -> Engine {
    let (mut engine, actions) = online(vec![folder(1), file(2)]);
    assert_eq!((pushes(&actions), uploads(&actions)), (vec![tickets(&[1])], 1));
    engine.handle(answered(vec![answer(1, Outcome::Applied)]), MS);
    let actions = engine.handle(Event::PushFailed { error: refused(ErrorCode::DeviceRolledBack) }, 2 * MS);
    assert!(!actions.contains(&Action::RenewIdentity));
    engine
}

#[test]
fn a_new_id_is_asked_for_once_and_when_nothing_of_the_old_one_is_under_way() {
    let sent = || Event::UploadEnded { group: 0, results: vec![(Ticket(2), UploadResult::Done)] };
    for [first, last] in [[sent(), settled(&[1])], [settled(&[1]), sent()]] {
        let mut engine = rolled_back();
        assert!(!engine.handle(first.clone(), 3 * MS).contains(&Action::RenewIdentity), "after {first:?}");
        assert!(engine.handle(last, 4 * MS).contains(&Action::RenewIdentity));
        assert!(!engine.handle(Event::Tick, 5 * MS).contains(&Action::RenewIdentity));
    }
}

#[test]
fn answers_that_leave_a_gap_are_followed_by_a_pull() {
    for gap in [false, true] {
        let (mut engine, _) = online(vec![folder(1)]);
        engine.handle(answered(vec![answer(1, Outcome::Applied)]), MS);
        let settled = Event::Settled { tickets: tickets(&[1]), result: Ok(Standing { seq: 2, gap }) };
        assert_eq!(engine.handle(settled, 2 * MS).contains(&Action::Pull { full: false }), gap);
    }
}

#[test]
fn an_open_file_is_looked_at_again_when_it_may_have_become_quiet() {
    let (mut engine, _) = online(Vec::new());
    engine.handle(Event::QueueChanged, 10 * SECOND);
    let open = QueueItem { readiness: Readiness::Open { quiet: Duration::ZERO, age: Duration::ZERO }, ..file(5) };
    let actions = engine.handle(Event::QueueRead { items: vec![open] }, 10 * SECOND);
    assert_eq!(uploads(&actions), 0);
    assert!(actions.contains(&Action::SetTimer { at: 10 * SECOND + limits::OPEN_QUIET_MIN }), "{actions:?}");
}

#[test]
fn what_was_sent_is_not_sent_again_because_the_queue_is_read() {
    let (mut engine, _) = online(vec![folder(1), file(5)]);
    let sent = Event::UploadEnded { group: 0, results: vec![(Ticket(5), UploadResult::Done)] };
    assert_eq!(pushes(&engine.handle(sent, MS)), Vec::<Vec<Ticket>>::new(), "a push is under way");
    engine.handle(Event::QueueChanged, 5 * MS);
    let actions = engine.handle(Event::QueueRead { items: vec![folder(1), file(5)] }, 6 * MS);
    assert_eq!(uploads(&actions), 0);
    let actions = engine.handle(answered(vec![answer(1, Outcome::Applied)]), 7 * MS);
    assert_eq!(pushes(&actions), [tickets(&[5])]);
}

#[test]
fn a_file_that_changes_while_it_is_sent_does_not_hold_up_the_others_anew() {
    let (mut engine, _) = online(vec![file(5)]);
    let changed = Event::UploadEnded { group: 0, results: vec![(Ticket(5), UploadResult::Changed)] };
    let just_before = limits::PARK_AFTER - MS;
    engine.handle(changed, just_before);
    let again = just_before + SECOND;
    assert_eq!(uploads(&engine.handle(Event::Tick, again)), 1);
    engine.handle(Event::QueueChanged, again + 10 * MS);
    let actions = engine.handle(Event::QueueRead { items: vec![file(5), folder(6)] }, again + 11 * MS);
    assert_eq!(pushes(&actions), [tickets(&[6])]);
}
