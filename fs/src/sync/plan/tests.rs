//! Tests of the plan: order, overtaking, and who holds back whom.
#![allow(clippy::unwrap_used)]

use super::*;
use tarn_proto::name::Name;

const NOW: Duration = Duration::from_secs(100);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A content operation on a file `ino` in folder `above[0]`.
fn file(ticket: u64, ino: u64, above: &[u64]) -> QueueItem {
    QueueItem { content_of: Some(Ino(ino)), content_bytes: 10, ..plain(ticket, ino, above) }
}

/// An operation without content.
fn plain(ticket: u64, ino: u64, above: &[u64]) -> QueueItem {
    let parent = Ino(above.first().copied().unwrap_or(1));
    QueueItem {
        ticket: Ticket(ticket),
        content_of: None,
        content_bytes: 0,
        readiness: Readiness::Ready,
        frozen: None,
        keys: vec![QueueKey::Inode(Ino(ino)), QueueKey::Entry(parent, name(&format!("n{ino}")))],
        above: above.iter().map(|ino| Ino(*ino)).collect(),
        ordered_tree: None,
    }
}

fn open(mut item: QueueItem, quiet_ms: u64) -> QueueItem {
    item.readiness = Readiness::Open { quiet: Duration::from_millis(quiet_ms), age: Duration::from_millis(quiet_ms) };
    item
}

fn plan(items: &[QueueItem], stages: &[(u64, Stage)]) -> Plan {
    plan_urged(items, stages, 0)
}

fn plan_urged(items: &[QueueItem], stages: &[(u64, Stage)], urged: u64) -> Plan {
    let stages = stages.iter().map(|(ticket, stage)| (Ticket(*ticket), *stage)).collect();
    let frozen = items.iter().filter_map(|item| Some((item.ticket, item.frozen?))).collect();
    plan_batch(items, &Context { stages: &stages, frozen: &frozen, urged: Ticket(urged), read_at: NOW, now: NOW })
}

fn tickets(list: &[Ticket]) -> Vec<u64> {
    list.iter().map(|ticket| ticket.0).collect()
}

fn uploading(for_ms: u64) -> Stage {
    Stage::Uploading { since: NOW - Duration::from_millis(for_ms) }
}

#[test]
fn ready_operations_go_in_queue_order_up_to_one_push() {
    let items: Vec<_> = (1..=2_000).map(|n| plain(n, n + 10, &[1])).collect();
    let plan = plan(&items, &[]);
    assert_eq!(tickets(&plan.push), (1..=1_024).collect::<Vec<_>>());
}

#[test]
fn contents_are_sent_ahead_while_the_queue_waits_for_the_first() {
    let items = [file(1, 10, &[1]), plain(2, 11, &[1]), file(3, 12, &[1])];
    let plan = plan(&items, &[(1, uploading(100))]);
    assert_eq!(tickets(&plan.upload), [3]);
    assert!(plan.push.is_empty());
    assert_eq!(plan.wake, Some(NOW - Duration::from_millis(100) + limits::PARK_AFTER));
}

#[test]
fn a_slow_upload_is_overtaken() {
    let items = [file(1, 10, &[1]), plain(2, 11, &[1]), file(3, 12, &[1])];
    let plan = plan(&items, &[(1, uploading(2_000)), (3, Stage::Uploaded)]);
    assert_eq!((tickets(&plan.push), tickets(&plan.parked)), (vec![2, 3], vec![1]));
}

#[test]
fn an_open_file_is_overtaken_at_once_and_sent_when_quiet() {
    let items = [open(file(1, 10, &[1]), 500), plain(2, 11, &[1])];
    let first = plan(&items, &[]);
    assert_eq!((tickets(&first.push), tickets(&first.upload)), (vec![2], vec![]));
    assert_eq!(first.wake, Some(NOW + Duration::from_millis(1_500)));
    let quiet = [open(file(1, 10, &[1]), 2_000)];
    assert_eq!(tickets(&plan(&quiet, &[]).upload), [1]);
    assert_eq!(tickets(&plan_urged(&items, &[], 1).upload), [1]);
}

#[test]
fn what_touches_the_same_node_or_name_does_not_overtake() {
    let mut same_name = plain(3, 12, &[1]);
    same_name.keys = vec![QueueKey::Inode(Ino(12)), QueueKey::Entry(Ino(1), name("n10"))];
    let items = [open(file(1, 10, &[1]), 0), plain(2, 10, &[5, 1]), same_name, plain(4, 13, &[1])];
    assert_eq!(tickets(&plan(&items, &[]).push), [4]);
}

#[test]
fn a_rename_of_a_folder_above_does_not_overtake_and_holds_back_what_is_below() {
    let folder = 20;
    let items = [
        open(file(1, 10, &[21, folder, 1]), 0),
        plain(2, folder, &[1]),
        plain(3, 11, &[22, folder, 1]),
        plain(4, 12, &[30, 1]),
    ];
    assert_eq!(tickets(&plan(&items, &[]).push), [4]);
}

#[test]
fn in_ordered_trees_nothing_is_overtaken() {
    let ordered = |mut item: QueueItem| {
        item.ordered_tree = Some(Ino(20));
        item
    };
    let items = [ordered(open(file(1, 10, &[20, 1]), 0)), ordered(plain(2, 11, &[20, 1])), plain(3, 12, &[1])];
    assert_eq!(tickets(&plan(&items, &[]).push), [3]);
}

#[test]
fn frozen_operations_go_first_and_in_order() {
    let frozen = |mut item: QueueItem, counter| {
        item.frozen = Some(counter);
        item
    };
    let items = [file(1, 10, &[1]), frozen(plain(2, 12, &[1]), 9), frozen(file(3, 11, &[1]), 8), plain(4, 13, &[1])];
    let first = plan(&items, &[(1, uploading(100))]);
    assert_eq!(tickets(&first.push), [3, 2]);
    let lacking = Stage::Wanted { since: NOW, resend: true };
    let second = plan(&items, &[(1, Stage::Uploaded), (3, lacking)]);
    assert_eq!((tickets(&second.push), tickets(&second.upload)), (vec![], vec![3]));
}

#[test]
fn what_follows_a_content_goes_with_it_or_after_its_answer() {
    let mut items = [file(1, 10, &[1]), plain(2, 10, &[1]), plain(3, 11, &[1])];
    let together = plan(&items, &[(1, Stage::Uploaded)]);
    assert_eq!(tickets(&together.push), [1, 2, 3]);
    for stage in [Stage::Pushing, Stage::Settling] {
        let later = plan(&items, &[(1, stage)]);
        assert_eq!((tickets(&later.push), tickets(&later.parked)), (vec![3], vec![2]), "{stage:?}");
    }
    items[0].frozen = Some(1);
    assert_eq!(tickets(&plan(&items, &[]).push), [1, 3]);
}

#[test]
fn a_content_that_waits_for_a_place_is_overtaken_too() {
    let items = [file(1, 10, &[1]), plain(2, 11, &[1])];
    let waiting = Stage::Wanted { since: NOW - limits::PARK_AFTER, resend: false };
    let plan = plan(&items, &[(1, waiting)]);
    assert_eq!((tickets(&plan.push), tickets(&plan.upload)), (vec![2], vec![1]));
}

#[test]
fn a_bounded_number_of_operations_is_overtaken() {
    let mut items: Vec<_> = (1..=2_000).map(|n| open(file(n, n + 10, &[1]), 0)).collect();
    items.push(plain(3_000, 5_000, &[1]));
    let plan = plan(&items, &[]);
    assert_eq!(plan.parked.len(), limits::PARKED_MAX);
    assert!(plan.push.is_empty());
}

#[test]
fn a_first_half_waits_unless_somebody_waits_for_it() {
    let mut half = plain(1, 1, &[]);
    half.readiness = Readiness::Half { left: Duration::from_millis(700) };
    let waiting = plan(&[half.clone(), plain(2, 2, &[])], &[]);
    assert_eq!((tickets(&waiting.push), tickets(&waiting.parked)), (vec![2], vec![1]));
    assert_eq!(waiting.wake, Some(NOW + Duration::from_millis(700)));
    assert_eq!(tickets(&plan_urged(&[half], &[], 1).push), [1]);
}

#[test]
fn frozen_operations_fill_one_push_too() {
    let frozen = |n: u64| QueueItem { frozen: Some(n), ..plain(n, n + 10, &[1]) };
    let items: Vec<_> = (1..=2_000).map(frozen).chain([plain(3_000, 5_000, &[1])]).collect();
    assert_eq!(tickets(&plan(&items, &[]).push), (1..=1_024).collect::<Vec<_>>());
}

#[test]
fn what_is_put_off_is_not_tried_before_its_time() {
    let items = [file(1, 10, &[1])];
    let later = NOW + Duration::from_secs(1);
    let put_off = |until| [(1, Stage::Delayed { until, is_error: true, since: NOW })];
    let waiting = plan(&items, &put_off(later));
    assert_eq!((tickets(&waiting.upload), waiting.wake), (vec![], Some(later)));
    assert_eq!(tickets(&plan(&items, &put_off(NOW)).upload), [1]);
}

#[test]
fn what_waits_behind_a_content_is_looked_at_in_its_own_time() {
    let left = Duration::from_millis(700);
    let mut half = plain(2, 11, &[]);
    half.readiness = Readiness::Half { left };
    let plan = plan(&[file(1, 10, &[1]), half], &[(1, uploading(100))]);
    assert_eq!(plan.wake, Some(NOW + left));
}

#[test]
fn what_is_quiet_by_now_is_looked_at_when_the_queue_is_read_again() {
    let mut quiet = file(1, 10, &[1]);
    quiet.readiness = Readiness::Quiet { left: Duration::ZERO };
    let plan = plan(&[quiet], &[]);
    assert_eq!((tickets(&plan.upload), plan.wake), (vec![], None));
}
