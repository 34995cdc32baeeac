//! Unusual mass deletes: what counts, what is held, and what becomes of it.

use super::fixture::*;
use super::happened::Told;
use crate::tree::{DeleteLimits, HeldDeletes};
use std::time::{Duration, Instant};

use tarn_proto::ids::NodeId;
use tarn_proto::node::{AttrChange, Attrs, NodeKind, NodeState, Timestamp};
use tarn_proto::op::OpKind;
use tarn_proto::version::VersionVector;

const LIMITS: DeleteLimits = DeleteLimits { count: 5, percent: 30 };

fn file(n: u8) -> NodeId {
    NodeId([n + 100; 16])
}

/// A device that holds beyond [`LIMITS`], in a space with so many files of another one.
fn device(files: u8) -> Device {
    let mut device = Device::new();
    device.tree.set_delete_limits(Some(LIMITS)).unwrap();
    for n in 0..files {
        let state = remote_file(&[n], VersionVector::default().with(OTHER, u64::from(n) + 1), OTHER);
        device.pull(vec![node_row(file(n), state), entry_row(root(), &format!("f{n}"), Some(file(n)))]);
    }
    device.journal.drain().unwrap();
    device
}

fn remove(device: &Device, files: std::ops::Range<u8>) {
    files.for_each(|n| device.tree.unlink(TOP, &name(&format!("f{n}"))).unwrap());
}

/// Looks at the queue until something is held, or nothing waits any more.
fn judged(device: &Device) -> Option<HeldDeletes> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let items = device.tree.queue(1_000).unwrap();
        let held = device.tree.held_deletes(None).unwrap();
        let waits = |item: &crate::tree::QueueItem| matches!(item.readiness, crate::tree::Readiness::Quiet { .. });
        if held.is_some() || !items.iter().any(waits) {
            return held;
        }
        std::thread::yield_now();
    }
    panic!("no verdict in time");
}

#[test]
fn unusually_many_deletes_are_held_and_the_rest_goes_on() {
    let mut device = device(20);
    remove(&device, 0..12);
    let held = judged(&device).unwrap();
    assert_eq!((held.deletes, held.sample.as_str()), (12, "f0"));
    device.written(TOP, "new", b"x");
    device.folder(TOP, "f3"); // takes a name that the server still has
    let sent = device.push();
    assert!(matches!(sent.as_slice(), [op] if matches!(op.kind, OpKind::Create { .. })), "{sent:?}");
    assert_eq!(device.tree.held_deletes(None).unwrap().unwrap().operations, 13);
    assert_eq!(device.list(TOP).len(), 10);
    let mut device = device.restart();
    assert_eq!(device.tree.held_deletes(None).unwrap().unwrap().operations, 13, "a restart decides nothing");
    assert!(device.push().is_empty());
    assert_eq!(device.tree.confirm_deletes().unwrap(), 13);
    assert_eq!(device.push().len(), 13);
    assert_eq!(device.tree.queue_totals().operations, 0);
}

#[test]
fn deletes_that_are_undone_bring_the_names_back() {
    let mut device = device(20);
    device.write(device.at("/f1"), 0, b"written and then removed");
    remove(&device, 0..12);
    assert!(judged(&device).is_some());
    let told = Told::of(&device);
    assert_eq!(device.tree.undo_deletes().unwrap(), 12);
    let mut back = told.take();
    back.sort();
    let mut names: Vec<String> = (0..12).map(|n| format!("+{}/f{n}", TOP.0)).collect();
    names.sort();
    assert_eq!(back, names, "programs that watch are told");
    assert_eq!(device.list(TOP).len(), 20);
    assert_eq!(device.tree.held_deletes(None).unwrap(), None);
    let sent = device.push();
    assert!(sent.iter().all(|op| matches!(op.kind, OpKind::Write { .. })), "{sent:?}");
    assert_eq!(sent.len(), 1, "what was written comes back with its name");
}

#[test]
fn a_folder_whose_delete_is_undone_has_all_that_was_in_it() {
    let mut device = device(1);
    let folder = NodeId([9; 16]);
    let state = NodeState { kind: NodeKind::Dir, attrs: Attrs { mode: 0o755, ..Attrs::default() }, file: None };
    device.pull(vec![node_row(folder, state), entry_row(root(), "folder", Some(folder))]);
    for n in 50..70 {
        let state = remote_file(&[n], VersionVector::default().with(OTHER, u64::from(n) + 1), OTHER);
        device.pull(vec![node_row(file(n), state), entry_row(folder, &format!("f{n}"), Some(file(n)))]);
    }
    device.journal.drain().unwrap();
    let inside = device.at("/folder");
    (50..70).for_each(|n| device.tree.unlink(inside, &name(&format!("f{n}"))).unwrap());
    device.tree.rmdir(TOP, &name("folder")).unwrap();
    assert_eq!(judged(&device).unwrap().deletes, 21);
    assert!(device.push().is_empty(), "neither the files nor the folder");
    let device = device.restart();
    assert_eq!(device.list(TOP), ["f0"]);
    assert_eq!(device.tree.undo_deletes().unwrap(), 21);
    assert_eq!(device.list(device.at("/folder")).len(), 20);
    let mut device = device.restart();
    assert_eq!(device.list(device.at("/folder")).len(), 20);
    assert!(device.push().is_empty());
}

#[test]
fn few_deletes_and_deletes_of_a_small_share_go() {
    let few = device(10);
    remove(&few, 0..5);
    assert_eq!(judged(&few), None);
    let share = device(100);
    remove(&share, 0..25);
    assert_eq!(judged(&share), None);
}

#[test]
fn what_this_device_made_today_may_go() {
    let mut device = device(1);
    for n in 0..20 {
        device.written(TOP, &format!("own{n}"), b"x");
    }
    device.push();
    for n in 0..20 {
        device.tree.unlink(TOP, &name(&format!("own{n}"))).unwrap();
    }
    assert_eq!(judged(&device), None);
    assert_eq!(device.push().len(), 20);
}

#[test]
fn a_delete_has_not_seen_what_others_wrote_after_it() {
    let mut device = device(1);
    device.tree.set_delete_limits(None).unwrap();
    remove(&device, 0..1);
    let newer = remote_file(b"newer", VersionVector::default().with(OTHER, 9), OTHER);
    device.pull(vec![node_row(file(0), newer)]);
    let sent = device.freeze();
    let OpKind::Unlink { seen, .. } = &sent[0].1.kind else { panic!("{sent:?}") };
    assert_eq!(seen.vector, VersionVector::default().with(OTHER, 1));
}

#[test]
fn what_this_device_made_long_ago_counts_like_what_others_made() {
    let mut device = device(1);
    for n in 50..62 {
        let state = remote_file(&[n], VersionVector::default().with(ME, u64::from(n)), ME);
        let btime = Timestamp { secs: 1_000_000_000, nanos: 0 };
        let state = NodeState { attrs: Attrs { btime, ..state.attrs.clone() }, ..state };
        device.pull(vec![node_row(file(n), state), entry_row(root(), &format!("f{n}"), Some(file(n)))]);
    }
    remove(&device, 50..62);
    assert_eq!(judged(&device).unwrap().deletes, 12);
}

#[test]
fn what_was_queued_before_a_restart_is_judged_after_it_unless_a_person_has_confirmed_it() {
    let device = device(20);
    remove(&device, 0..12);
    let device = device.restart();
    device.tree.set_delete_limits(Some(LIMITS)).unwrap();
    assert_eq!(judged(&device).unwrap().deletes, 12);
    device.tree.confirm_deletes().unwrap();
    let device = device.restart();
    device.tree.set_delete_limits(Some(LIMITS)).unwrap();
    assert_eq!(judged(&device), None);
}

#[test]
fn attributes_that_were_never_sent_go_with_a_delete_though_that_is_undone() {
    let mut device = device(20);
    let change = AttrChange { mode: Some(0o600), ..AttrChange::default() };
    device.tree.set_attrs(device.at("/f1"), &change).unwrap();
    remove(&device, 0..12);
    assert!(judged(&device).is_some());
    device.tree.undo_deletes().unwrap();
    assert_eq!(device.lookup(TOP, "f1").unwrap().attrs.mode, 0o644);
    let state = NodeState { attrs: Attrs { mode: 0o640, ..Attrs::default() }, ..theirs(b"1", 9) };
    device.pull(vec![node_row(file(1), state)]);
    assert_eq!(device.lookup(TOP, "f1").unwrap().attrs.mode, 0o640);
}
