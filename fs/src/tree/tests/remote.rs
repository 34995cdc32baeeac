//! What others do, and how it meets what is queued here.

use super::fixture::*;
use super::sweep::Told;
use crate::meta::rows::{Ino, Ticket};
use crate::tree::{Invalidation, TreeError};
use std::sync::Arc;
use tarn_proto::api::{Answer, ChildEntry, ChildrenResponse, Outcome};
use tarn_proto::change::{Change, ConflictState, Row};
use tarn_proto::ids::{ConflictId, NodeId};
use tarn_proto::node::{Attrs, FileVersion, NodeKind, NodeState, Timestamp};
use tarn_proto::op::OpKind;
use tarn_proto::version::VersionVector;

const N: NodeId = NodeId([11; 16]);
const D: NodeId = NodeId([12; 16]);

#[test]
fn a_remote_file_appears_by_name_and_size_without_its_bytes() {
    let mut device = Device::new();
    assert!(matches!(device.lookup(TOP, "f"), Err(TreeError::NotFound)));
    let told = Arc::new(Told::default());
    device.tree.set_notifier(told.clone());
    device.pull(vec![node_row(N, theirs(b"hello", 1)), entry_row(root(), "f", Some(N))]);
    let stat = device.lookup(TOP, "f").unwrap();
    assert_eq!((stat.size_bytes, stat.allocated_bytes), (5, 0));
    assert!(told.0.lock().unwrap().contains(&Invalidation::Entry { parent: TOP, name: name("f") }));
    assert_eq!(device.list(TOP), ["f"]);
}

#[test]
fn the_kernel_is_told_of_a_folders_new_name_after_what_changed_in_it() {
    let mut device = Device::new();
    let rows = [node_row(D, folder_state()), entry_row(root(), "d", Some(D)), node_row(N, theirs(b"1", 1))];
    device.pull([&rows[..], &[entry_row(D, "f", Some(N))]].concat());
    let (dir, ino) = (device.at("/d"), device.at("/d/f"));
    device.tree.opened(ino, false).unwrap();
    let told = Arc::new(Told::default());
    device.tree.set_notifier(told.clone());
    // A program that has found the folder under its new name finds the file in what the kernel has of it: the old one.
    let moved = [entry_row(root(), "d", None), entry_row(root(), "e", Some(D))];
    device.pull([&[node_row(N, theirs(b"2", 2))], &moved[..]].concat());
    assert_ne!(device.at("/e/f"), ino);
    let told = told.0.lock().unwrap();
    let place = |(of, named): (_, &str)| {
        let is_it = |invalidation: &Invalidation| match invalidation {
            Invalidation::Entry { parent, name: told } | Invalidation::Gone { parent, name: told, .. } => {
                (*parent, told) == (of, &name(named))
            }
            _ => false,
        };
        told.iter().position(is_it).unwrap()
    };
    assert!(place((dir, "f")) < place((TOP, "d")).min(place((TOP, "e"))), "{told:?}");
}

#[test]
fn remote_renames_and_removals_show() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(b"1", 1)), entry_row(root(), "a", Some(N))]);
    let ino = device.at("/a");
    device.tree.refer(ino).unwrap();
    device.pull(vec![entry_row(root(), "a", None), entry_row(root(), "b", Some(N))]);
    assert_eq!(device.list(TOP), ["b"]);
    assert_eq!(device.at("/b"), ino);
    device.pull(vec![entry_row(root(), "b", None), tarn_proto::change::Row::Node { node: N, state: None }]);
    assert!(device.list(TOP).is_empty());
}

#[test]
fn a_local_rename_hides_the_remote_name_until_it_is_answered() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(b"1", 1)), entry_row(root(), "a", Some(N))]);
    device.renamed((TOP, "a"), (TOP, "mine"));
    // Meanwhile the other device has renamed it, too, and was first.
    device.pull(vec![entry_row(root(), "a", None), entry_row(root(), "yours", Some(N))]);
    let frozen = device.freeze();
    let changes = vec![Change { seq: device.seq, row: entry_row(root(), "yours", Some(N)) }];
    let answer = Answer { counter: frozen[0].1.counter, outcome: Outcome::Merged, changes };
    device.tree.settle(&[(frozen[0].0, answer)], cursor(device.seq), cursor(device.seq)).unwrap();
    assert_eq!(device.list(TOP), ["yours"], "first to arrive stays, the second adopts it");
}

#[test]
fn a_folder_removed_elsewhere_stays_while_something_is_queued_in_it() {
    let mut device = Device::new();
    device.pull(vec![node_row(D, folder_state()), entry_row(root(), "d", Some(D))]);
    let dir = device.at("/d");
    let ino = device.written(dir, "new", b"keep me");
    device.pull(vec![entry_row(root(), "d", None), tarn_proto::change::Row::Node { node: D, state: None }]);
    assert_eq!(device.list(TOP), ["d"]);
    assert_eq!(device.read(ino), b"keep me");
    assert_eq!(device.at("/d/new"), ino);
}

/// A device that has its own published file `f` open to read; with the vector of another's next version.
fn published_and_opened() -> (Device, Ino, NodeId, VersionVector) {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"old");
    let ops = device.push();
    let tarn_proto::op::OpKind::Create { node, .. } = ops[0].kind else { panic!() };
    device.tree.opened(ino, false).unwrap();
    let vector = VersionVector::default().with(ME, ops[0].counter).with(OTHER, 1);
    (device, ino, node, vector)
}

#[test]
fn an_open_file_keeps_its_version_and_later_opens_see_the_new_one() {
    let (mut device, ino, node, vector) = published_and_opened();
    device.pull(vec![node_row(node, remote_file(b"newer", vector, OTHER))]);
    assert_eq!(device.read(ino), b"old");
    let fresh = device.lookup(TOP, "f").unwrap();
    assert_ne!(fresh.ino, ino);
    assert_eq!(fresh.size_bytes, 5);
    device.tree.closed(ino, false).unwrap();
    assert!(matches!(device.tree.stat(ino), Err(TreeError::NotFound)));
}

#[test]
fn the_new_inode_of_an_open_file_has_all_its_names() {
    let (mut device, ino, node, vector) = published_and_opened();
    device.pull(vec![
        node_row(node, remote_file(b"newer", vector, OTHER)),
        node_row(D, folder()),
        entry_row(root(), "d", Some(D)),
        entry_row(D, "hard link", Some(node)),
    ]);
    let fresh = device.lookup(TOP, "f").unwrap();
    assert_ne!(fresh.ino, ino);
    assert_eq!(fresh.link_count, 2, "one in a folder that nobody has looked into");
}

#[test]
fn a_closed_file_shows_the_new_version_under_its_inode() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"old");
    let ops = device.push();
    let tarn_proto::op::OpKind::Create { node, .. } = ops[0].kind else { panic!() };
    let vector = VersionVector::default().with(ME, ops[0].counter).with(OTHER, 1);
    device.pull(vec![node_row(node, remote_file(b"newer", vector, OTHER))]);
    let stat = device.lookup(TOP, "f").unwrap();
    assert_eq!((stat.ino, stat.size_bytes, stat.allocated_bytes), (ino, 5, 0));
}

#[test]
fn dirty_bytes_stay_when_a_new_version_arrives() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"old");
    let ops = device.push();
    let tarn_proto::op::OpKind::Create { node, .. } = ops[0].kind else { panic!() };
    device.write(ino, 0, b"mine");
    let vector = VersionVector::default().with(ME, ops[0].counter).with(OTHER, 1);
    device.pull(vec![node_row(node, remote_file(b"theirs", vector, OTHER))]);
    assert_eq!(device.read(ino), b"mine");
    let frozen = device.freeze();
    let tarn_proto::op::OpKind::Write { base, .. } = &frozen[0].1.kind else { panic!() };
    assert_eq!(base.get(OTHER), 0, "it says what it was made from, not what came meanwhile");
}

#[test]
fn an_unknown_folder_is_never_shown_empty() {
    let dir = tempfile::tempdir().unwrap();
    drop(dir);
    let mut device = Device::new();
    device.pull(vec![node_row(D, folder_state()), entry_row(root(), "d", Some(D))]);
    assert_eq!(device.list(device.at("/d")), Vec::<String>::new(), "known to be empty");
}

#[test]
fn a_listing_on_demand_beats_older_rows() {
    let mut device = Device::new();
    let child = ChildEntry { name: name("f"), entry_seq: 5, node: N, node_seq: 5, state: theirs(b"x", 1) };
    let listing =
        ChildrenResponse { seq: 9, node: folder_state(), node_seq: 1, children: vec![child], next: None, epoch: None };
    device.listed(root(), listing);
    assert_eq!(device.list(TOP), ["f"]);
    device.seq = 9;
    let empty =
        ChildrenResponse { seq: 12, node: folder_state(), node_seq: 1, children: Vec::new(), next: None, epoch: None };
    device.listed(root(), empty);
    assert!(device.list(TOP).is_empty());
}

#[test]
fn a_conflict_moves_the_bytes_to_the_sibling_and_shows_what_stayed() {
    conflict(false);
}

#[test]
fn a_sibling_that_was_pulled_before_the_answer_has_its_bytes() {
    conflict(true);
}

const SIBLING: NodeId = NodeId([13; 16]);

/// A device whose write to `/f` lost a conflict that it has not heard of: the file, and what the server did and answers.
pub(super) fn losing() -> (Device, Ino, Vec<Change>, (Ticket, Answer)) {
    const CONFLICT: ConflictId = ConflictId([14; 16]);
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"old");
    let OpKind::Create { node, .. } = device.push()[0].kind else { panic!() };
    device.write(ino, 0, b"mine");
    let (ticket, op) = device.freeze().remove(0);
    let OpKind::Write { base, content, .. } = &op.kind else { panic!() };
    let stayed = remote_file(b"theirs", base.clone().with(OTHER, 9), OTHER);
    let mine = FileVersion { content: content.clone(), vector: base.clone().with(ME, op.counter), author: ME };
    let state = ConflictState {
        node,
        device: ME,
        device_name: "laptop".to_owned(),
        time: Timestamp::default(),
        theirs: mine.clone(),
        stayed: stayed.file.as_ref().unwrap().content.version,
        sibling: Some(SIBLING),
    };
    device.seq += 1;
    let sibling = NodeState { kind: NodeKind::File, attrs: Attrs::default(), file: Some(mine) };
    let rows = vec![
        node_row(node, stayed),
        node_row(SIBLING, sibling),
        entry_row(root(), "f (conflict)", Some(SIBLING)),
        Row::Conflict { conflict: CONFLICT, state: Some(Box::new(state)) },
    ];
    let changes: Vec<Change> = rows.into_iter().map(|row| Change { seq: device.seq, row }).collect();
    let outcome = Outcome::Conflicted { conflict: CONFLICT };
    let answer = Answer { counter: op.counter, outcome, changes: changes.clone() };
    (device, ino, changes, (ticket, answer))
}

fn conflict(pulled_before: bool) {
    let (device, ino, changes, answer) = losing();
    if pulled_before {
        device.tree.apply_cut(changes, cursor(device.seq)).unwrap();
        assert_eq!(device.list(TOP), ["f", "f (conflict)"]);
        assert_eq!(device.read(ino), b"mine");
    }
    device.tree.settle(&[answer], cursor(device.seq - 1), cursor(device.seq)).unwrap();
    assert_eq!(device.list(TOP), ["f", "f (conflict)"]);
    assert_eq!(device.read(device.at("/f (conflict)")), b"mine", "without fetching anything");
    let stat = device.lookup(TOP, "f").unwrap();
    assert_eq!((stat.ino, stat.size_bytes, stat.allocated_bytes), (ino, 6, 0));
    assert_eq!(device.tree.queue_totals().operations, 0);
    let device = device.restart();
    assert_eq!(device.read(device.at("/f (conflict)")), b"mine");
}

/// Seed 701586 of the simulation: the answer was lost, and came again when others had written to the sibling.
#[test]
fn a_sibling_that_was_written_to_before_the_answer_shows_what_was_written() {
    let (mut device, _, changes, answer) = losing();
    device.tree.apply_cut(changes, cursor(device.seq)).unwrap();
    let written = remote_file(b"mine, and more", VersionVector::default().with(ME, 2).with(OTHER, 10), OTHER);
    device.pull(vec![node_row(SIBLING, written)]);
    device.tree.settle(&[answer], cursor(device.seq - 2), cursor(device.seq)).unwrap();
    assert_eq!(device.lookup(TOP, "f (conflict)").unwrap().size_bytes, 14);
    assert_eq!(device.tree.queue_totals().operations, 0);
}

#[test]
fn a_name_in_a_folder_that_is_not_loaded_counts_as_a_link() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(b"1", 1)), entry_row(root(), "a", Some(N)), node_row(D, folder_state())]);
    assert_eq!(device.lookup(TOP, "a").unwrap().link_count, 1);
    device.pull(vec![entry_row(root(), "d", Some(D)), entry_row(D, "b", Some(N))]);
    assert_eq!(device.lookup(TOP, "a").unwrap().link_count, 2);
}

#[test]
fn a_new_link_of_the_same_name_in_another_folder_counts() {
    let mut device = Device::new();
    device.pull(vec![
        node_row(N, theirs(b"1", 1)),
        node_row(D, folder_state()),
        entry_row(root(), "d", Some(D)),
        entry_row(D, "f", Some(N)),
    ]);
    let (dir, _) = (device.at("/d"), device.at("/d/f"));
    let mut device = device.lagging();
    device.pull(vec![entry_row(root(), "f", Some(N))]);
    assert_eq!(device.lookup(dir, "f").unwrap().link_count, 2);
}

#[test]
fn links_in_folders_that_were_not_listed_are_counted_once_the_pull_is_complete() {
    let device = Device::unloaded();
    let child = ChildEntry { name: name("f"), entry_seq: 5, node: N, node_seq: 5, state: theirs(b"x", 1) };
    let listing =
        ChildrenResponse { seq: 9, node: folder_state(), node_seq: 1, children: vec![child], next: None, epoch: None };
    device.listed(root(), listing);
    assert_eq!(device.lookup(TOP, "f").unwrap().link_count, 1);
    let rows = vec![
        node_row(N, theirs(b"x", 1)),
        node_row(D, folder_state()),
        entry_row(root(), "f", Some(N)),
        entry_row(root(), "d", Some(D)),
        entry_row(D, "g", Some(N)),
    ];
    let changes = rows.into_iter().map(|row| Change { seq: 5, row }).collect();
    device.tree.begin_load().unwrap();
    device.tree.load_page(changes).unwrap();
    device.tree.finish_load(crate::tree::Loaded::first(cursor(9))).unwrap();
    assert_eq!(device.lookup(TOP, "f").unwrap().link_count, 2);
}

#[test]
fn a_write_that_was_prepared_before_a_conflict_has_not_seen_what_stayed() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"old");
    let ops = device.push();
    let tarn_proto::op::OpKind::Create { node, .. } = ops[0].kind else { panic!() };
    device.write(ino, 0, b"mine");
    let first = device.tree.queue(10).unwrap()[0].ticket;
    device.tree.prepare(first).unwrap().unwrap();
    device.renamed((TOP, "f"), (TOP, "g"));
    device.write(ino, 0, b"more");
    device.tree.unprepare(first);
    let tickets: Vec<_> = device.tree.queue(10).unwrap().iter().map(|item| item.ticket).collect();
    let content = device.content_of(b"more");
    for ticket in [tickets[0], tickets[2]] {
        device.tree.prepare(ticket).unwrap().unwrap();
    }
    let (_, first) = device.tree.freeze(vec![(tickets[0], Some(content.clone()))]).unwrap().remove(0);
    let conflict = tarn_proto::ids::ConflictId([14; 16]);
    let base = VersionVector::default().with(ME, ops[0].counter);
    let file = |vector| tarn_proto::node::FileVersion { content: content.clone(), vector, author: ME };
    let stayed = remote_file(b"theirs", base.clone().with(OTHER, 9), OTHER);
    let state = tarn_proto::change::ConflictState {
        node,
        device: ME,
        device_name: "laptop".to_owned(),
        time: tarn_proto::node::Timestamp::default(),
        theirs: file(base.with(ME, first.counter)),
        stayed: stayed.file.as_ref().unwrap().content.version,
        sibling: None,
    };
    device.seq += 1;
    let rows = [node_row(node, stayed), tarn_proto::change::Row::Conflict { conflict, state: Some(Box::new(state)) }];
    let changes = rows.into_iter().map(|row| Change { seq: device.seq, row }).collect();
    let answer = Answer { counter: first.counter, outcome: Outcome::Conflicted { conflict }, changes };
    device.tree.settle(&[(tickets[0], answer)], cursor(device.seq - 1), cursor(device.seq)).unwrap();
    let frozen = device.tree.freeze(vec![(tickets[1], None), (tickets[2], Some(content))]).unwrap();
    let tarn_proto::op::OpKind::Write { base, .. } = &frozen[1].1.kind else { panic!("{frozen:?}") };
    assert_eq!(base.get(OTHER), 0, "its bytes were made without what stayed");
}

#[test]
fn a_full_pull_gives_up_the_old_bytes_of_files_that_nobody_has_used_since_the_start() {
    let mut device = Device::new();
    device.written(TOP, "f", b"old");
    let ops = device.push();
    let tarn_proto::op::OpKind::Create { node, .. } = ops[0].kind else { panic!() };
    let mut device = device.restart();
    device.seq += 1;
    let rows = [node_row(node, theirs(b"newer", 2)), entry_row(root(), "f", Some(node))];
    let changes = rows.into_iter().map(|row| Change { seq: device.seq, row }).collect();
    device.tree.begin_load().unwrap();
    device.tree.load_page(changes).unwrap();
    device.tree.finish_load(crate::tree::Loaded::first(cursor(device.seq))).unwrap();
    assert_eq!(device.lookup(TOP, "f").unwrap().size_bytes, 5);
}
