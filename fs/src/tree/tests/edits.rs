//! What programs do, and what the server is asked to do about it.

use super::fixture::*;
use crate::tree::{NewNode, TreeError};
use tarn_proto::ids::{DeviceId, NodeId};
use tarn_proto::node::{AttrChange, NodeKind};
use tarn_proto::op::{OpKind, Operation, RenameMode};
use tarn_proto::version::VersionVector;

fn kinds(ops: &[Operation]) -> Vec<&'static str> {
    let kind = |op: &Operation| match op.kind {
        OpKind::Create { .. } => "create",
        OpKind::Write { .. } => "write",
        OpKind::SetAttr { .. } => "setattr",
        OpKind::Link { .. } => "link",
        OpKind::Unlink { .. } => "unlink",
        OpKind::Rename { .. } => "rename",
        OpKind::Attach { .. } => "attach",
    };
    ops.iter().map(kind).collect()
}

#[test]
fn a_file_that_is_made_open_is_not_sent_before_its_first_bytes() {
    let mut device = Device::new();
    let made = device.tree.create(TOP, &name("a.txt"), NewNode { open: Some(true), ..new(NodeKind::File) }).unwrap();
    assert!(device.push().is_empty());
    device.tree.write(made.ino, 0, b"hello").unwrap();
    assert!(device.push().is_empty());
    device.tree.closed(made.ino, true).unwrap();
    let ops = device.push();
    let [Operation { kind: OpKind::Create { content: Some(content), .. }, .. }] = ops.as_slice() else { panic!() };
    assert_eq!(content.size, 5);
}

#[test]
fn a_new_file_is_one_operation_with_its_bytes_and_attributes() {
    let mut device = Device::new();
    let ino = device.written(TOP, "a.txt", b"hello");
    device.tree.set_attrs(ino, &AttrChange { mode: Some(0o600), ..AttrChange::default() }).unwrap();
    let ops = device.push();
    assert_eq!(kinds(&ops), ["create"]);
    let OpKind::Create { attrs, content, .. } = &ops[0].kind else { panic!() };
    assert_eq!(attrs.mode, 0o600);
    assert_eq!(content.as_ref().unwrap().size, 5);
    assert_eq!(device.tree.queue_totals().operations, 0);
    let stat = device.lookup(TOP, "a.txt").unwrap();
    assert_eq!((stat.ino, stat.size_bytes, stat.attrs.mode), (ino, 5, 0o600));
    assert_eq!(device.read(ino), b"hello");
}

#[test]
fn a_file_that_goes_before_it_was_sent_leaves_no_trace() {
    let mut device = Device::new();
    device.written(TOP, "tmp", b"x");
    device.tree.unlink(TOP, &name("tmp")).unwrap();
    assert!(device.push().is_empty());
    assert!(device.list(TOP).is_empty());
}

#[test]
fn a_temporary_file_renamed_over_a_published_one_is_its_next_version() {
    let mut device = Device::new();
    let old = device.written(TOP, "doc", b"one");
    let created = device.push();
    let OpKind::Create { node, .. } = created[0].kind else { panic!() };
    let fresh = device.written(TOP, "doc.tmp", b"two");
    device.rename((TOP, "doc.tmp"), (TOP, "doc"), RenameMode::Replace).unwrap();
    assert_eq!(device.lookup(TOP, "doc").unwrap().ino, fresh);
    assert!(matches!(device.tree.stat(old), Err(TreeError::NotFound)));
    let ops = device.push();
    assert_eq!(kinds(&ops), ["write"]);
    let OpKind::Write { node: written, base, .. } = &ops[0].kind else { panic!() };
    assert_eq!(*written, node, "the node that people see keeps its history");
    assert_eq!(base.get(ME), created[0].counter);
    assert_eq!(device.list(TOP), ["doc"]);
    assert_eq!(device.read(device.at("/doc")), b"two");
}

#[test]
fn a_published_file_moved_over_another_is_a_rename() {
    let mut device = Device::new();
    device.written(TOP, "draft", b"new");
    device.written(TOP, "report", b"old");
    device.push();
    device.rename((TOP, "draft"), (TOP, "report"), RenameMode::Replace).unwrap();
    let ops = device.push();
    assert_eq!(kinds(&ops), ["rename"]);
    assert_eq!(device.list(TOP), ["report"]);
    assert_eq!(device.read(device.at("/report")), b"new");
}

#[test]
fn unlink_then_create_of_a_name_is_a_new_version() {
    let mut device = Device::new();
    device.written(TOP, "log", b"one");
    let created = device.push();
    let OpKind::Create { node, .. } = created[0].kind else { panic!() };
    device.tree.unlink(TOP, &name("log")).unwrap();
    device.written(TOP, "log", b"two");
    let ops = device.push();
    assert_eq!(kinds(&ops), ["write"]);
    let OpKind::Write { node: written, .. } = ops[0].kind else { panic!() };
    assert_eq!(written, node);
    assert_eq!(device.read(device.at("/log")), b"two");
}

#[test]
fn later_writes_meet_the_server_as_an_operation_of_their_own() {
    let mut device = Device::new();
    let ino = device.written(TOP, "a", b"one");
    let frozen = device.freeze();
    device.write(ino, 3, b" two");
    assert_eq!(device.read(ino), b"one two");
    assert!(
        device.freeze().iter().all(|(ticket, _)| frozen.iter().any(|(t, _)| t == ticket)),
        "the second waits for the answer to the first"
    );
    let ops = device.push();
    assert_eq!(kinds(&ops), ["create", "write"]);
    let OpKind::Write { content, .. } = &ops[1].kind else { panic!() };
    assert_eq!(content.size, 7);
    assert_eq!(device.read(ino), b"one two");
}

#[test]
fn renames_follow_posix() {
    let device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    let inner = device.folder(dir, "inner").ino;
    device.written(TOP, "f", b"1");
    let refused = |result: Result<(), TreeError>| format!("{}", result.unwrap_err());
    assert_eq!(refused(device.rename((TOP, "d"), (inner, "x"), RenameMode::Replace)), "invalid argument");
    assert_eq!(refused(device.rename((TOP, "d"), (TOP, "f"), RenameMode::Replace)), "not a directory");
    assert_eq!(refused(device.rename((TOP, "f"), (TOP, "d"), RenameMode::Replace)), "is a directory");
    assert_eq!(refused(device.rename((TOP, "f"), (TOP, "d"), RenameMode::NoReplace)), "file exists");
    device.folder(TOP, "e");
    assert_eq!(refused(device.rename((TOP, "e"), (TOP, "d"), RenameMode::Replace)), "directory not empty");
    assert_eq!(refused(device.rename((dir, "inner"), (TOP, "d"), RenameMode::Replace)), "directory not empty");
    assert_eq!(refused(device.tree.rmdir(TOP, &name("d"))), "directory not empty");
    assert_eq!(refused(device.tree.unlink(TOP, &name("d"))), "is a directory");
    assert_eq!(refused(device.tree.rmdir(TOP, &name("f"))), "not a directory");
    device.rename((TOP, "f"), (TOP, "d"), RenameMode::Exchange).unwrap();
    assert!(matches!(device.lookup(TOP, "f").unwrap().kind, NodeKind::Dir));
    assert!(matches!(device.lookup(TOP, "d").unwrap().kind, NodeKind::File));
}

#[test]
fn hard_links_share_a_node_and_survive_each_other() {
    let mut device = Device::new();
    let ino = device.written(TOP, "a", b"x");
    assert_eq!(device.tree.link(ino, TOP, &name("b")).unwrap().link_count, 2);
    device.push();
    device.tree.unlink(TOP, &name("a")).unwrap();
    assert_eq!(device.tree.stat(ino).unwrap().link_count, 1);
    assert_eq!(device.read(device.at("/b")), b"x");
}

#[test]
fn an_unlinked_file_lives_as_long_as_its_handle() {
    let device = Device::new();
    let ino = device.written(TOP, "a", b"x");
    device.tree.opened(ino, true).unwrap();
    device.tree.unlink(TOP, &name("a")).unwrap();
    device.tree.write(ino, 1, b"y").unwrap();
    assert_eq!(device.read(ino), b"xy");
    assert_eq!(device.tree.stat(ino).unwrap().link_count, 0);
    device.tree.closed(ino, true).unwrap();
    assert!(matches!(device.tree.stat(ino), Err(TreeError::NotFound)));
    assert_eq!(device.tree.queue_totals().operations, 0);
}

#[test]
fn a_folder_and_what_is_in_it_go_out_in_order() {
    let mut device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    device.written(dir, "f", b"1");
    device.tree.unlink(dir, &name("f")).unwrap();
    device.written(dir, "g", b"2");
    let ops = device.push();
    assert_eq!(kinds(&ops), ["create", "create"]);
    let counters: Vec<u64> = ops.iter().map(|op| op.counter).collect();
    assert!(counters.is_sorted());
}

#[test]
fn a_directory_counts_the_directories_in_it() {
    let device = Device::new();
    let top = device.folder(TOP, "top").ino;
    let links = || device.tree.stat(top).unwrap().link_count;
    let (a, _, file) = (device.folder(top, "a").ino, device.folder(top, "b").ino, device.file(top, "file").ino);
    assert_eq!(links(), 4);
    device.rename((top, "a"), (top, "b"), RenameMode::Replace).unwrap();
    assert_eq!(links(), 3);
    device.rename((top, "b"), (top, "file"), RenameMode::Exchange).unwrap();
    assert_eq!((links(), device.lookup(top, "file").unwrap().ino, device.at("/top/b")), (3, a, file));
    device.rename((top, "file"), (TOP, "away"), RenameMode::Replace).unwrap();
    assert_eq!(links(), 2);
    device.rename((TOP, "away"), (top, "back"), RenameMode::Replace).unwrap();
    assert_eq!(links(), 3);
    device.tree.rmdir(top, &name("back")).unwrap();
    assert_eq!(links(), 2);
}

/// A device that became an older copy of itself, from before it sent `/f`, and that has heard of that now.
fn with_file_of_a_past_self() -> (Device, NodeId) {
    let mut device = Device::new();
    device.written(TOP, "f", b"mine");
    let (_, op) = device.freeze().remove(0);
    let OpKind::Create { node, .. } = op.kind else { panic!("{op:?}") };
    device.tree.device_rolled_back(DeviceId([9; 16])).unwrap();
    let sent = remote_file(b"mine, and more", VersionVector::default().with(ME, 1), ME);
    device.pull(vec![node_row(node, sent), entry_row(root(), "f", Some(node))]);
    (device, node)
}

#[test]
fn what_a_past_self_sent_is_removed_moved_and_replaced_on_the_server_as_well() {
    let (device, node) = with_file_of_a_past_self();
    device.tree.unlink(TOP, &name("f")).unwrap();
    assert_eq!(device.list(TOP), [""; 0]);
    let frozen = device.freeze();
    let [(_, Operation { kind: OpKind::Unlink { seen, .. }, .. })] = &frozen[..] else { panic!("{frozen:?}") };
    assert_eq!(
        (seen.node, &seen.vector),
        (node, &VersionVector::default()),
        "the past self's bytes have not been seen"
    );

    let (device, node) = with_file_of_a_past_self();
    device.renamed((TOP, "f"), (TOP, "g"));
    let moves = |op: &Operation| matches!(&op.kind, OpKind::Rename { seen, .. } if seen.node == node);
    assert!(device.freeze().iter().any(|(_, op)| moves(op)));

    let (device, node) = with_file_of_a_past_self();
    device.written(TOP, "new", b"new");
    device.renamed((TOP, "new"), (TOP, "f"));
    assert_eq!(device.list(TOP), ["f"]);
    let replaces =
        |op: &Operation| matches!(&op.kind, OpKind::Rename { displaced: Some(seen), .. } if seen.node == node);
    assert!(device.freeze().iter().any(|(_, op)| replaces(op)));
}
