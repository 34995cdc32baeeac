//! What others do to folders and files in which something waits here to be sent.

use super::fixture::*;
use crate::meta::rows::{Ino, Ticket};
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::node::{AttrChange, Attrs, NodeState};
use tarn_proto::op::{OpKind, Operation};
use tarn_proto::version::VersionVector;

const N: NodeId = NodeId([21; 16]);
const D: NodeId = NodeId([22; 16]);

fn file() -> NodeState {
    remote_file(b"theirs", VersionVector::default().with(OTHER, 1), OTHER)
}

fn longer_file() -> NodeState {
    remote_file(b"longer than theirs", VersionVector::default().with(OTHER, 2), OTHER)
}

/// A device with the folder `/d` of others.
fn with_folder() -> (Device, Ino) {
    let mut device = Device::new();
    device.pull(vec![node_row(D, folder()), entry_row(root(), "d", Some(D))]);
    let dir = device.at("/d");
    (device, dir)
}

fn answer(device: &mut Device, (ticket, op): &(Ticket, Operation), outcome: Outcome, rows: Vec<Row>) {
    let before = cursor(device.seq);
    device.seq += 1;
    let changes = rows.into_iter().map(|row| Change { seq: device.seq, row }).collect();
    let answer = Answer { counter: op.counter, outcome, changes };
    device.tree.settle(&[(*ticket, answer)], before, cursor(device.seq)).unwrap();
}

#[test]
fn a_folder_that_was_kept_and_is_back_with_a_full_pull_is_as_the_server_has_it() {
    let (mut device, dir) = with_folder();
    device.pull(vec![node_row(N, file()), entry_row(D, "f", Some(N))]);
    device.tree.unlink(dir, &name("f")).unwrap();
    let frozen = device.freeze();
    device.pull(vec![gone(N), entry_row(D, "f", None), gone(D), entry_row(root(), "d", None)]);
    assert_eq!(device.at("/d"), dir, "for the removal that waits");
    answer(&mut device, &frozen[0], Outcome::Merged, vec![gone(N)]);
    assert!(device.lookup(TOP, "d").is_err());
    let attrs = Attrs { mode: 0o700, ..folder().attrs };
    device.changed_elsewhere(&[node_row(D, NodeState { attrs, ..folder() }), entry_row(root(), "d", Some(D))]);
    device.pull_all();
    assert_eq!(device.lookup(TOP, "d").unwrap().attrs.mode, 0o700);
}

#[test]
fn a_folder_that_others_move_keeps_its_inode() {
    let (mut device, dir) = with_folder();
    device.pull(vec![entry_row(root(), "d", None), entry_row(root(), "z", Some(D))]);
    assert_eq!(device.at("/z"), dir);
}

#[test]
fn a_folder_renamed_over_a_removed_one_stays_though_the_removal_comes_back_first() {
    let mut device = Device::new();
    device.folder(TOP, "a");
    let dir = device.folder(TOP, "b").ino;
    device.push();
    device.tree.rmdir(TOP, &name("a")).unwrap();
    device.written(dir, "new", b"mine");
    device.renamed((TOP, "b"), (TOP, "a"));
    device.pull(vec![entry_row(root(), "a", None)]);
    let frozen = device.freeze();
    for sent in &frozen[..2] {
        let rows = device.apply(&sent.1).changes.into_iter().map(|change| change.row).collect();
        answer(&mut device, sent, Outcome::Applied, rows);
    }
    assert_eq!(device.list(TOP), ["a"]);
    assert_eq!(device.at("/a"), dir);
}

#[test]
fn what_is_queued_in_a_folder_moves_with_it() {
    let (mut device, dir) = with_folder();
    let ino = device.written(dir, "new", b"mine");
    device.pull(vec![entry_row(root(), "d", None), entry_row(root(), "z", Some(D))]);
    assert_eq!(device.at("/z/new"), ino);
    assert_eq!(device.list(TOP), ["z"]);
}

#[test]
fn a_removed_folder_stays_though_a_later_operation_is_answered_first() {
    let (mut device, dir) = with_folder();
    let ino = device.written(dir, "new", b"mine");
    device.folder(TOP, "elsewhere");
    device.pull(vec![entry_row(root(), "d", None), gone(D)]);
    let frozen = device.freeze();
    let OpKind::Create { node, .. } = frozen[1].1.kind else { panic!("{frozen:?}") };
    let rows = vec![node_row(node, folder()), entry_row(root(), "elsewhere", Some(node))];
    answer(&mut device, &frozen[1], Outcome::Applied, rows);
    assert_eq!(device.list(TOP), ["d", "elsewhere"]);
    assert_eq!(device.at("/d/new"), ino);
}

#[test]
fn a_removed_folder_goes_when_nothing_is_queued_in_it_any_more() {
    let (mut device, dir) = with_folder();
    device.written(dir, "new", b"mine");
    device.pull(vec![entry_row(root(), "d", None), gone(D)]);
    let device = device.restart();
    assert_eq!(device.list(TOP), ["d"]);
    device.tree.unlink(device.at("/d"), &name("new")).unwrap();
    assert_eq!(device.tree.queue_totals().operations, 0);
    assert!(device.list(TOP).is_empty());
}

#[test]
fn a_folder_that_is_back_is_as_the_server_has_it_though_it_is_kept_here_still() {
    for by_full_pull in [false, true] {
        let (mut device, dir) = with_folder();
        device.written(dir, "new", b"mine");
        device.pull(vec![entry_row(root(), "d", None), gone(D)]);
        let back = NodeState { attrs: Attrs { mode: 0o700, ..folder().attrs }, ..folder() };
        device.pull(vec![node_row(D, back.clone()), gone(D)]);
        assert_eq!(device.lookup(TOP, "d").unwrap().attrs.mode, 0o755, "it came and went");
        let rows = vec![node_row(D, back), entry_row(root(), "d", Some(D))];
        if by_full_pull {
            device.changed_elsewhere(&rows);
            device.pull_all();
        } else {
            device.pull(rows);
        }
        assert_eq!(device.lookup(TOP, "d").unwrap().attrs.mode, 0o700, "by a full pull: {by_full_pull}");
    }
}

#[test]
fn attributes_that_were_never_sent_go_with_the_unlink_even_if_others_keep_the_file() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, file()), entry_row(root(), "f", Some(N))]);
    let change = AttrChange { mode: Some(0o600), ..AttrChange::default() };
    device.tree.set_attrs(device.at("/f"), &change).unwrap();
    device.tree.unlink(TOP, &name("f")).unwrap();
    let frozen = device.freeze();
    let rows = vec![node_row(N, file()), entry_row(root(), "f", None), entry_row(root(), "g", Some(N))];
    answer(&mut device, &frozen[0], Outcome::Merged, rows);
    assert_eq!(device.lookup(TOP, "g").unwrap().attrs.mode, 0o644);
}

#[test]
fn bytes_that_were_never_sent_are_sent_if_others_keep_the_removed_file() {
    let mut device = Device::new();
    let node = device.removed_with_late_bytes("f");
    let frozen = device.freeze();
    let [(_, Operation { kind: OpKind::Unlink { .. }, .. })] = &frozen[..] else { panic!("{frozen:?}") };
    let rows = vec![node_row(node, file()), entry_row(root(), "f", None), entry_row(root(), "g", Some(node))];
    answer(&mut device, &frozen[0], Outcome::Merged, rows);
    assert_eq!(device.read(device.at("/g")), b"late");
    assert_eq!(device.tree.queue_totals().operations, 1);
}

#[test]
fn a_removed_file_that_others_bring_back_shows_theirs_beside_open_handles() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"sent");
    let OpKind::Create { node, .. } = device.push()[0].kind else { panic!() };
    device.tree.opened(ino, false).unwrap();
    device.write(ino, 0, b"late");
    device.tree.unlink(TOP, &name("f")).unwrap();
    device.push();
    device.pull(vec![node_row(node, file()), entry_row(root(), "f", Some(node))]);
    assert_eq!(device.tree.stat(ino).unwrap().size_bytes, 4, "an open handle knows what it has");
    let stat = device.lookup(TOP, "f").unwrap();
    assert_eq!((stat.size_bytes, device.tree.content(stat.ino).unwrap().is_dirty()), (6, false));
    assert_eq!(device.read(ino), b"late", "through the old handle");
    device.tree.closed(ino, false).unwrap();
    assert_eq!(device.tree.queue_totals().operations, 0);
}

#[test]
fn a_folder_that_others_move_below_a_new_one_keeps_its_inode_and_what_is_in_it() {
    const P: NodeId = NodeId([23; 16]);
    let (mut device, dir) = with_folder();
    device.pull(vec![node_row(N, file()), entry_row(D, "f", Some(N)), node_row(P, folder())]);
    let ino = device.at("/d/f");
    device.pull(vec![entry_row(root(), "d", None), entry_row(root(), "p", Some(P)), entry_row(P, "d", Some(D))]);
    device.write(ino, 0, b"mine");
    assert_eq!(device.tree.queue(10).unwrap().len(), 1, "it can be sent");
    assert_eq!(device.at("/p/d"), dir);
}

#[test]
fn a_displaced_file_that_others_bring_back_shows_theirs() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"sent");
    device.written(TOP, "other", b"other");
    let OpKind::Create { node, .. } = device.push()[0].kind else { panic!() };
    let change = AttrChange { mode: Some(0o600), ..AttrChange::default() };
    device.tree.set_attrs(ino, &change).unwrap();
    device.renamed((TOP, "other"), (TOP, "f"));
    device.push();
    device.pull(vec![node_row(node, file()), entry_row(root(), "g", Some(node))]);
    assert_eq!(device.lookup(TOP, "g").unwrap().attrs.mode, 0o644);
}

#[test]
fn an_open_file_that_is_removed_keeps_its_attributes() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, file()), entry_row(root(), "f", Some(N))]);
    let ino = device.at("/f");
    device.tree.opened(ino, false).unwrap();
    device.pull(vec![entry_row(root(), "f", None), gone(N)]);
    let stat = device.tree.stat(ino).unwrap();
    assert_eq!((stat.attrs.mode, stat.link_count), (0o644, 0));
}

#[test]
fn an_open_file_that_nobody_has_read_keeps_its_version_whatever_becomes_of_it() {
    const P: NodeId = NodeId([24; 16]);
    type Fate = fn(&mut Device);
    let fates: [(&str, Fate, bool); 6] = [
        ("written elsewhere", |device| device.pull(vec![node_row(N, longer_file())]), true),
        (
            "written elsewhere, as an answer about its attributes tells",
            |device| {
                let change = AttrChange { mode: Some(0o600), ..AttrChange::default() };
                device.tree.set_attrs(device.at("/f"), &change).unwrap();
                let frozen = device.freeze();
                answer(device, &frozen[0], Outcome::Applied, vec![node_row(N, longer_file())]);
            },
            true,
        ),
        ("removed elsewhere", |device| device.pull(vec![entry_row(root(), "f", None), gone(N)]), true),
        ("removed here", |device| device.tree.unlink(TOP, &name("f")).unwrap(), false),
        (
            "replaced here",
            |device| {
                device.written(TOP, "new", b"new");
                device.renamed((TOP, "new"), (TOP, "f"));
            },
            false,
        ),
        (
            "replaced here by what others have",
            |device| {
                device.pull(vec![node_row(P, longer_file()), entry_row(root(), "other", Some(P))]);
                device.renamed((TOP, "other"), (TOP, "f"));
            },
            false,
        ),
    ];
    for (fate, befall, is_elsewhere) in fates {
        let mut device = Device::new();
        device.pull(vec![node_row(N, file()), entry_row(root(), "f", Some(N))]);
        let ino = device.at("/f");
        device.tree.opened(ino, false).unwrap();
        befall(&mut device);
        if !is_elsewhere {
            device.push();
        }
        assert_eq!(device.tree.stat(ino).unwrap().size_bytes, 6, "{fate}");
        let content = device.tree.content(ino).unwrap();
        assert!(content.base().is_some_and(|base| base.content.size == 6), "{fate}: {:?}", content.base());
        device.journal.drain().unwrap();
        assert_eq!(device.tree.row_faults(10).unwrap().1, [], "{fate}");
    }
}

#[test]
fn a_file_that_is_opened_when_it_was_just_removed_elsewhere_shows_what_it_was() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, file()), entry_row(root(), "f", Some(N))]);
    let ino = device.at("/f");
    device.tree.refer(ino).unwrap();
    device.pull(vec![entry_row(root(), "f", None), gone(N)]);
    // The kernel has not been told yet.
    device.tree.opened(ino, false).unwrap();
    assert_eq!(device.tree.stat(ino).unwrap().size_bytes, 6);
    assert!(device.tree.content(ino).unwrap().base().is_some_and(|base| base.content.size == 6));
}

#[test]
fn bytes_that_were_never_sent_are_sent_when_another_name_of_the_removed_file_comes() {
    for by_full_pull in [false, true] {
        let mut device = Device::new();
        let node = device.removed_with_late_bytes("f");
        let frozen = device.freeze();
        // Others have made a link that this device has not heard of.
        answer(&mut device, &frozen[0], Outcome::Applied, vec![entry_row(root(), "f", None)]);
        if by_full_pull {
            device.changed_elsewhere(&[entry_row(root(), "f", None), entry_row(root(), "link", Some(node))]);
            device.pull_all();
        } else {
            device.pull(vec![entry_row(root(), "link", Some(node))]);
        }
        assert_eq!(device.read(device.at("/link")), b"late");
        assert_eq!(device.tree.queue_totals().operations, 1, "by a full pull: {by_full_pull}");
    }
}

#[test]
fn attributes_of_a_file_that_a_later_operation_brings_back_are_what_the_server_has() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, file()), entry_row(root(), "f", Some(N))]);
    let change = AttrChange { mode: Some(0o600), ..AttrChange::default() };
    device.tree.set_attrs(device.at("/f"), &change).unwrap();
    device.renamed((TOP, "f"), (TOP, "g"));
    let frozen = device.freeze();
    // Others had removed it: the change of attributes comes too late, the rename wins.
    answer(&mut device, &frozen[0], Outcome::Merged, vec![gone(N), entry_row(root(), "f", None)]);
    answer(&mut device, &frozen[1], Outcome::Merged, vec![node_row(N, file()), entry_row(root(), "g", Some(N))]);
    assert_eq!(device.lookup(TOP, "g").unwrap().attrs.mode, 0o644);
}

#[test]
fn folders_that_turn_out_to_be_others_are_those_also_when_answered_together() {
    const C: NodeId = NodeId([31; 16]);
    const E: NodeId = NodeId([32; 16]);
    let (mut device, dir) = with_folder();
    device.pull(vec![node_row(N, file()), entry_row(root(), "f", Some(N))]);
    let ino = device.at("/f");
    let c = device.folder(dir, "c").ino;
    device.folder(c, "e");
    device.pull(vec![
        node_row(C, folder()),
        node_row(E, folder()),
        entry_row(D, "c", Some(C)),
        entry_row(C, "e", Some(E)),
        entry_row(root(), "f", None),
        entry_row(C, "main", Some(N)),
    ]);
    // Its folder has an inode by now.
    assert_eq!(device.tree.stat(ino).unwrap().link_count, 1);
    let frozen = device.freeze();
    let made: Vec<NodeId> = frozen.iter().filter_map(|(_, op)| created(op)).collect();
    let rows = [
        [Row::Alias { node: made[0], target: C }, node_row(C, folder()), entry_row(D, "c", Some(C))],
        [Row::Alias { node: made[1], target: E }, node_row(E, folder()), entry_row(C, "e", Some(E))],
    ];
    let answers: Vec<(Ticket, Answer)> = (frozen.iter().zip(rows))
        .map(|((ticket, op), rows)| {
            let changes = rows.into_iter().map(|row| Change { seq: device.seq, row }).collect();
            (*ticket, Answer { counter: op.counter, outcome: Outcome::Merged, changes })
        })
        .collect();
    device.tree.settle(&answers, cursor(device.seq), cursor(device.seq)).unwrap();
    assert_eq!(device.list(device.at("/d/c")), ["e", "main"]);
    device.pull(vec![entry_row(C, "e", None), gone(E)]);
    assert_eq!(device.list(device.at("/d/c")), ["main"]);
}

fn created(op: &Operation) -> Option<NodeId> {
    match op.kind {
        OpKind::Create { node, .. } => Some(node),
        _ => None,
    }
}
