//! Saves in two halves: the file that people see keeps its node, whatever the calls were.

use super::fixture::*;
use crate::limits::SECOND_HALF_WAIT;
use crate::meta::rows::Ino;
use crate::tree::Readiness;
use tarn_proto::ids::NodeId;
use tarn_proto::node::AttrChange;
use tarn_proto::op::{OpKind, Operation, RenameMode};
use tarn_proto::version::VersionVector;

/// A device on which these files are published, each with its own name as its bytes; and their nodes.
fn published(names: &[&str]) -> (Device, Vec<NodeId>) {
    let mut device = Device::new();
    for name in names {
        device.written(TOP, name, name.as_bytes());
    }
    let nodes = device.push().iter().map(node_of).collect();
    (device, nodes)
}

fn node_of(op: &Operation) -> NodeId {
    match &op.kind {
        OpKind::Create { node, .. } | OpKind::Write { node, .. } => *node,
        OpKind::Rename { seen, .. } => seen.node,
        _ => panic!("{op:?}"),
    }
}

fn told(ops: &[Operation]) -> Vec<(&'static str, NodeId)> {
    let kind = |op: &Operation| match op.kind {
        OpKind::Create { .. } => "create",
        OpKind::Write { .. } => "write",
        OpKind::Rename { .. } => "rename",
        _ => "other",
    };
    ops.iter().map(|op| (kind(op), node_of(op))).collect()
}

#[track_caller]
fn assert_holds(device: &Device, path: &str, ino: Ino, bytes: &[u8]) {
    assert_eq!((device.at(path), device.read(ino)), (ino, bytes.to_vec()), "{path}");
}

#[test]
fn a_file_that_takes_the_name_of_one_that_was_renamed_is_its_next_version() {
    for by_rename in [false, true] {
        let (mut device, nodes) = published(&["text"]);
        let old = device.at("/text");
        let early = if by_rename { Some(device.written(TOP, "fresh", b"two")) } else { None };
        device.renamed((TOP, "text"), (TOP, "text~"));
        let new = early.unwrap_or_else(|| device.written(TOP, "text", b"two"));
        if by_rename {
            device.renamed((TOP, "fresh"), (TOP, "text"));
        }
        assert_holds(&device, "/text", new, b"two");
        assert_holds(&device, "/text~", old, b"text");
        let ops = device.push();
        let [("write", node), ("create", backup)] = told(&ops)[..] else { panic!("{ops:?}") };
        assert!(node == nodes[0] && backup != node, "the node stays where people see it");
        let OpKind::Write { base, .. } = &ops[0].kind else { panic!("{ops:?}") };
        assert!(!base.is_empty(), "the new version has seen the old one");
        let device = device.restart();
        assert_eq!(device.list(TOP), ["text", "text~"]);
        assert_holds(&device, "/text", new, b"two");
        assert_holds(&device, "/text~", old, b"text");
        assert_eq!(device.tree.queue_totals().operations, 0);
    }
}

#[test]
fn both_halves_survive_a_kill_before_either_is_sent() {
    let (device, nodes) = published(&["text"]);
    device.renamed((TOP, "text"), (TOP, "text~"));
    device.written(TOP, "text", b"two");
    let mut device = device.kill();
    let ops = device.push();
    let [("write", node), ("create", _)] = told(&ops)[..] else { panic!("{ops:?}") };
    assert_eq!(node, nodes[0]);
    assert_eq!(
        (device.read(device.at("/text")), device.read(device.at("/text~"))),
        (b"two".to_vec(), b"text".to_vec())
    );
}

#[test]
fn what_is_renamed_over_the_last_backup_is_the_backups_next_version() {
    let (mut device, nodes) = published(&["text", "text~"]);
    device.renamed((TOP, "text"), (TOP, "text~"));
    device.written(TOP, "text", b"two");
    let mut ops = told(&device.push());
    ops.sort_by_key(|(_, node)| *node != nodes[0]);
    assert_eq!(ops, [("write", nodes[0]), ("write", nodes[1])]);
    assert_eq!(
        (device.read(device.at("/text")), device.read(device.at("/text~"))),
        (b"two".to_vec(), b"text".to_vec())
    );
    assert_eq!(device.list(TOP), ["text", "text~"]);
}

/// The bytes of the backup were made from another file's versions, which say nothing of what is removed.
#[test]
fn the_last_backup_is_removed_as_it_was_seen() {
    let (mut device, nodes) = published(&["text", "text~"]);
    device.pull(vec![node_row(nodes[1], theirs(b"written to", 5))]);
    device.renamed((TOP, "text"), (TOP, "text~"));
    device.written(TOP, "text", b"two");
    device.tree.unlink(TOP, &name("text~")).unwrap();
    let ops = device.push();
    let unlinked = ops.iter().find_map(|op| match &op.kind {
        OpKind::Unlink { seen, .. } => Some(seen.clone()),
        _ => None,
    });
    let seen = unlinked.unwrap();
    assert_eq!((seen.node, seen.vector), (nodes[1], VersionVector::default().with(OTHER, 5)));
}

#[test]
fn a_backup_that_goes_again_was_never_there_for_others() {
    let (mut device, nodes) = published(&["text"]);
    device.renamed((TOP, "text"), (TOP, "text~"));
    device.written(TOP, "text", b"two");
    device.tree.unlink(TOP, &name("text~")).unwrap();
    assert_eq!(told(&device.push()), [("write", nodes[0])]);
    assert_eq!(device.list(TOP), ["text"]);
}

#[test]
fn two_saves_before_the_first_is_sent_are_one_version() {
    let (mut device, nodes) = published(&["text"]);
    for bytes in [b"two", b"new"] {
        device.renamed((TOP, "text"), (TOP, "text~"));
        device.written(TOP, "text", bytes);
    }
    let ops = device.push();
    let [("write", node), ("create", _)] = told(&ops)[..] else { panic!("{ops:?}") };
    assert_eq!(node, nodes[0]);
    assert_eq!((device.read(device.at("/text")), device.read(device.at("/text~"))), (b"new".to_vec(), b"two".to_vec()));
}

#[test]
fn a_file_with_a_second_name_and_one_whose_rename_was_sent_keep_their_nodes() {
    let (mut device, nodes) = published(&["sent"]);
    device.renamed((TOP, "sent"), (TOP, "sent~"));
    device.freeze();
    device.written(TOP, "sent", b"two");
    let ops = device.push();
    let [("rename", node), ("create", fresh)] = told(&ops)[..] else { panic!("{ops:?}") };
    assert!(node == nodes[0] && fresh != node);

    let (mut device, nodes) = published(&["text"]);
    device.tree.link(device.at("/text"), TOP, &name("other")).unwrap();
    device.push();
    device.renamed((TOP, "text"), (TOP, "text~"));
    device.written(TOP, "text", b"two");
    let ops = device.push();
    let [("rename", node), ("create", _)] = told(&ops)[..] else { panic!("{ops:?}") };
    assert_eq!(node, nodes[0]);
}

#[test]
fn a_pin_stays_with_the_file_that_people_see() {
    for steps in [["text", "text~"], ["fresh", "text"]] {
        let (device, _) = published(&["text"]);
        device.tree.set_pinned(device.at("/text"), true).unwrap();
        device.written(TOP, "fresh", b"two");
        device.renamed((TOP, steps[0]), (TOP, steps[1]));
        if steps[0] == "text" {
            device.written(TOP, "text", b"two");
            assert!(!device.tree.is_pinned(device.at("/text~")).unwrap());
        }
        assert!(device.tree.is_pinned(device.at("/text")).unwrap(), "{steps:?}");
    }
}

/// The readiness of the last operation.
fn last(device: &Device) -> Readiness {
    device.tree.queue(100).unwrap().last().unwrap().readiness
}

#[test]
fn a_first_half_waits_for_the_second_and_nothing_else_does() {
    let (device, _) = published(&["text", "gone", "moved", "taken"]);
    device.renamed((TOP, "text"), (TOP, "text~"));
    assert!(matches!(last(&device), Readiness::Half { .. }), "a file renamed away");
    device.tree.unlink(TOP, &name("gone")).unwrap();
    assert!(matches!(last(&device), Readiness::Half { .. }), "a file removed");
    for temporary in [".moved.Fb2PSY", "moved.new", "sed55f5h8", "x.tmp"] {
        device.written(TOP, temporary, b"two");
        assert!(matches!(last(&device), Readiness::Half { .. }), "{temporary}");
    }
    device.written(TOP, "plain", b"two");
    assert_eq!(last(&device), Readiness::Ready);
    device.folder(TOP, "moved.d");
    assert_eq!(last(&device), Readiness::Ready);
    device.renamed((TOP, "moved.d"), (TOP, "d"));
    assert_eq!(last(&device), Readiness::Ready);
    device.rename((TOP, "taken"), (TOP, "moved"), RenameMode::Exchange).unwrap();
    assert_eq!(last(&device), Readiness::Ready);
}

#[test]
fn a_new_file_waits_for_the_second_half_as_long_as_it_is_written() {
    let (device, _) = published(&["moved"]);
    let left = || match last(&device) {
        Readiness::Half { left } => left,
        other => panic!("{other:?}"),
    };
    let ino = device.file(TOP, "moved.new").ino;
    device.tree.opened(ino, true).unwrap();
    assert!(left() > 2 * SECOND_HALF_WAIT);
    device.tree.closed(ino, true).unwrap();
    assert!(left() < 2 * SECOND_HALF_WAIT);
}

#[test]
fn a_file_of_which_something_is_on_its_way_leaves_its_node_to_no_other() {
    let (device, nodes) = published(&["text"]);
    let change = AttrChange { mode: Some(0o600), ..AttrChange::default() };
    device.tree.set_attrs(device.at("/text"), &change).unwrap();
    device.freeze();
    device.renamed((TOP, "text"), (TOP, "text~"));
    device.written(TOP, "text", b"two");
    let ops: Vec<Operation> = device.freeze().into_iter().map(|(_, op)| op).collect();
    let told = told(&ops[1..]);
    assert_eq!((told[0], told[1].0), (("rename", nodes[0]), "create"));
}
