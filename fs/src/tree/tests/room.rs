//! What there is no room for on the server waits, and nothing else does.

use super::fixture::*;
use crate::meta::rows::Ticket;
use crate::tree::{LocalNames, NoRoom};
use tarn_proto::api::Usage;

fn usage(bytes_used: u64, bytes_max: u64) -> Usage {
    Usage { bytes_used, bytes_max: Some(bytes_max) }
}

fn queued(device: &Device) -> Vec<Ticket> {
    device.tree.queue(100).unwrap().into_iter().map(|item| item.ticket).collect()
}

fn waiting(device: &Device) -> Option<(u64, u64)> {
    device.tree.waiting_for_room(None).map(|NoRoom { operations, bytes, .. }| (operations, bytes))
}

#[test]
fn what_does_not_fit_waits_with_what_touches_it_and_the_rest_goes() {
    let device = Device::new();
    device.tree.note_usage(usage(0, 100));
    let dir = device.folder(TOP, "d").ino;
    device.written(dir, "large", &[1; 200]);
    device.written(dir, "small", &[2; 60]);
    device.written(dir, "next", &[3; 60]);
    device.folder(TOP, "e");
    assert_eq!(queued(&device).len(), 3, "the large one waits, and the one that does not fit beside the small one");
    assert_eq!(waiting(&device), Some((2, 260)));
    let sample = device.tree.waiting_for_room(None).map(|no_room| no_room.sample);
    assert_eq!(sample.as_deref(), Some("d/large"));
    let folder = device.tree.first_ticket().unwrap();
    assert_eq!(device.tree.waiting_for_room(Some(&[folder].into())), None, "it does not wait");
    device.tree.note_usage(usage(0, 200));
    assert!(queued(&device).contains(&Ticket(2)), "what just fits goes");
    device.tree.note_usage(usage(0, 1_000));
    assert_eq!(queued(&device).len() as u64, device.tree.queue_totals().operations);
    assert_eq!(waiting(&device), None);
}

#[test]
fn what_stays_on_the_device_takes_no_room_on_the_server() {
    let device = Device::new();
    device.tree.note_usage(usage(0, 100));
    device.tree.keep_here(LocalNames::matching(["*.swp"]).unwrap()).unwrap();
    device.written(TOP, "notes.swp", &[1; 200]);
    device.written(TOP, "notes", &[2; 60]);
    assert_eq!((queued(&device).len(), waiting(&device)), (1, None));
    assert_eq!(device.tree.quota_left(), Some((100, 40)));
}

#[test]
fn a_file_that_waits_goes_when_it_has_become_small_enough_or_is_gone() {
    let device = Device::new();
    device.tree.note_usage(usage(50, 100));
    let ino = device.written(TOP, "a", &[1; 200]);
    device.written(TOP, "b", &[1; 300]);
    assert_eq!((queued(&device).len(), waiting(&device)), (0, Some((2, 500))));
    device.tree.truncate(ino, 40).unwrap();
    device.tree.unlink(TOP, &name("b")).unwrap();
    assert_eq!((queued(&device).len(), waiting(&device)), (1, None));
}

#[test]
fn what_the_server_has_no_room_for_is_put_aside_with_new_counters_for_what_was_behind_it() {
    let mut device = Device::new();
    device.tree.note_usage(usage(0, 1_000));
    device.written(TOP, "large", &[1; 200]);
    device.folder(TOP, "d");
    let frozen = device.freeze();
    let (refused, first) = (frozen[0].0, frozen[0].1.counter);
    // Others have filled the space since.
    device.tree.note_usage(usage(900, 1_000));
    device.tree.put_aside(refused).unwrap();
    let pushed = device.push();
    assert_eq!(pushed.len(), 1, "the folder");
    assert!(pushed[0].counter > first + 1, "a counter that a push had is not used again");
    assert_eq!(waiting(&device), Some((1, 200)));
    let device = device.restart();
    assert!(queued(&device).is_empty(), "the numbers are known after a restart, too");
    device.tree.note_usage(usage(700, 1_000));
    assert_eq!(queued(&device), [refused]);
}

#[test]
fn what_was_refused_is_not_sent_again_before_there_is_more_room_whatever_the_numbers_say() {
    let device = Device::new();
    device.tree.note_usage(usage(0, 1_000));
    device.written(TOP, "a", &[1; 200]);
    let refused = device.freeze()[0].0;
    device.tree.put_aside(refused).unwrap();
    assert_eq!((queued(&device).len(), waiting(&device)), (0, Some((1, 200))));
    device.tree.note_usage(usage(0, 1_001));
    assert_eq!(queued(&device), [refused]);
}

/// The server also counts what a conflict makes of it, of which this device does not know yet. Seed 709589 of the simulation.
#[test]
fn what_was_refused_waits_also_if_it_does_not_seem_to_grow() {
    let mut device = Device::new();
    device.tree.note_usage(usage(0, 1_000));
    let ino = device.written(TOP, "a", &[1; 200]);
    device.push();
    device.write(ino, 0, &[2; 200]);
    let refused = device.freeze()[0].0;
    device.tree.put_aside(refused).unwrap();
    assert_eq!((queued(&device).len(), waiting(&device)), (0, Some((1, 0))));
    device.tree.note_usage(usage(0, 1_001));
    assert_eq!(queued(&device), [refused]);
}

#[test]
fn the_quota_is_told_less_what_is_queued_also_after_a_restart() {
    let mut device = Device::new();
    assert_eq!(device.tree.quota_left(), None);
    device.tree.note_usage(usage(100, 1_000));
    device.written(TOP, "a", &[1; 300]);
    assert_eq!(device.tree.quota_left(), Some((1_000, 600)));
    device.push();
    device.tree.note_usage(usage(400, 1_000));
    assert_eq!(device.tree.quota_left(), Some((1_000, 600)));
    let device = device.restart();
    assert_eq!(device.tree.quota_left().map(|(total, _)| total), Some(1_000));
    device.tree.note_usage(Usage { bytes_used: 400, bytes_max: None });
    assert_eq!(device.tree.quota_left(), None);
}
