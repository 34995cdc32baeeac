//! Names that are given again: what takes one is the next version of what had it, or a new file.

use super::fixture::*;
use crate::meta::rows::Ino;
use crate::tree::{Readiness, TreeError};
use std::collections::BTreeMap;
use tarn_proto::ids::NodeId;
use tarn_proto::limits::XATTRS_BYTES_MAX;
use tarn_proto::node::{AttrChange, ByteString};
use tarn_proto::op::{OpKind, Operation};

/// A device on which `text` and `text~` are published, and these are further names of them.
fn published(links: &[(&str, &str)]) -> Device {
    let mut device = Device::new();
    for text in ["text", "text~"] {
        device.written(TOP, text, text.as_bytes());
    }
    for (of, link) in links {
        device.tree.link(device.lookup(TOP, of).unwrap().ino, TOP, &name(link)).unwrap();
    }
    device.push();
    device
}

fn is_create(op: &Operation) -> bool {
    matches!(op.kind, OpKind::Create { .. })
}

fn is_gone(device: &Device, ino: Ino) -> bool {
    matches!(device.tree.stat(ino), Err(TreeError::NotFound))
}

#[test]
fn a_file_that_takes_a_name_whose_removal_is_on_its_way_is_a_new_one() {
    let mut device = published(&[]);
    device.tree.unlink(TOP, &name("text")).unwrap();
    let removal = device.freeze();
    device.written(TOP, "text", b"new");
    assert!(device.push().iter().any(is_create));
    assert_eq!(removal.len(), 1);
    assert_eq!(device.read(device.at("/text")), b"new");
}

#[test]
fn a_file_that_takes_the_name_of_a_removed_or_moved_folder_is_a_new_one() {
    let mut device = Device::new();
    device.folder(TOP, "removed");
    device.folder(TOP, "moved");
    device.push();
    device.tree.rmdir(TOP, &name("removed")).unwrap();
    device.renamed((TOP, "moved"), (TOP, "elsewhere"));
    assert_eq!(device.tree.queue(10).unwrap().last().unwrap().readiness, Readiness::Ready, "no half of a save");
    for text in ["removed", "moved"] {
        device.written(TOP, text, b"file");
    }
    assert_eq!(device.push().iter().filter(|op| is_create(op)).count(), 2);
}

#[test]
fn what_was_replaced_by_its_next_version_is_gone_with_its_last_handle() {
    let device = published(&[]);
    let (text, backup) = (device.at("/text"), device.at("/text~"));
    device.tree.unlink(TOP, &name("text")).unwrap();
    device.written(TOP, "text", b"two");
    assert!(is_gone(&device, text));
    device.renamed((TOP, "text"), (TOP, "text~"));
    device.written(TOP, "text", b"three");
    assert!(is_gone(&device, backup));
    let device = device.restart();
    assert_eq!(
        (device.read(device.at("/text")), device.read(device.at("/text~"))),
        (b"three".to_vec(), b"two".to_vec())
    );
}

#[test]
fn what_is_saved_over_one_of_two_names_leaves_the_other_as_it_was() {
    let mut device = published(&[("text", "also")]);
    device.written(TOP, "text.tmp", b"two");
    device.renamed((TOP, "text.tmp"), (TOP, "text"));
    for _ in 0..2 {
        assert_eq!(
            (device.read(device.at("/text")), device.read(device.at("/also"))),
            (b"two".to_vec(), b"text".to_vec())
        );
        device.push();
    }
}

#[test]
fn a_backup_with_another_name_leaves_its_node_to_no_other() {
    let mut device = published(&[("text~", "also")]);
    device.renamed((TOP, "text"), (TOP, "text~"));
    device.written(TOP, "text", b"two");
    for _ in 0..2 {
        let read = |path| String::from_utf8(device.read(device.at(path))).unwrap();
        assert_eq!(["/text", "/text~", "/also"].map(read), ["two", "text", "text~"]);
        device.push();
    }
}

#[test]
fn a_pin_stays_with_the_name_of_a_file_that_another_is_moved_to() {
    let device = published(&[]);
    device.tree.set_pinned(device.at("/text"), true).unwrap();
    device.renamed((TOP, "text"), (TOP, "text~"));
    device.written(TOP, "new", b"two");
    device.renamed((TOP, "new"), (TOP, "text"));
    assert!(device.tree.is_pinned(device.at("/text")).unwrap());
    assert!(!device.tree.is_pinned(device.at("/text~")).unwrap());
}

#[test]
fn of_two_operations_of_one_file_each_brings_its_own_bytes() {
    let device = Device::new();
    let ino = device.written(TOP, "f", b"one");
    let first = device.tree.first_ticket().unwrap();
    device.tree.prepare(first).unwrap().unwrap();
    device.write(ino, 0, b"two");
    let second = device.tree.last_ticket().unwrap();
    device.tree.prepare(second).unwrap().unwrap();
    let brought = |frozen: Vec<(_, Operation)>| -> Vec<_> {
        let contents = frozen.into_iter().map(|(_, op)| match op.kind {
            OpKind::Create { content: Some(content), .. } | OpKind::Write { content, .. } => content.content_id,
            other => panic!("{other:?}"),
        });
        contents.collect()
    };
    let [one, two, three] = [b"one".as_slice(), b"two", b"three"].map(content);
    let batch = || vec![(first, Some(one.clone())), (second, Some(two.clone()))];
    assert_eq!(brought(device.tree.freeze(batch()).unwrap()), [one.content_id, two.content_id]);
    device.tree.refreeze_with_content(second, three.clone()).unwrap();
    assert_eq!(brought(device.tree.freeze(batch()).unwrap()), [one.content_id, three.content_id]);
}

#[test]
fn a_rename_has_seen_what_goes_out_with_it() {
    let device = published(&[]);
    device.write(device.at("/text"), 0, b"TEXT");
    device.renamed((TOP, "text"), (TOP, "other"));
    let sent = device.freeze();
    let [(_, write), (_, Operation { kind: OpKind::Rename { seen, .. }, .. })] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(seen.vector.get(ME), write.counter);
}

#[test]
fn the_next_version_of_a_file_has_the_attributes_of_what_took_its_name_and_no_others() {
    let device = published(&[]);
    let old = AttrChange { xattrs: BTreeMap::from([xattr("user.old", Some(1))]), ..AttrChange::default() };
    device.tree.set_attrs(device.at("/text"), &old).unwrap();
    let mut device = device;
    device.push();
    let fresh = device.written(TOP, "text.tmp", b"two");
    let new = AttrChange { mode: Some(0o600), xattrs: BTreeMap::from([xattr("user.new", Some(2))]), ..old };
    device.tree.set_attrs(fresh, &new).unwrap();
    device.renamed((TOP, "text.tmp"), (TOP, "text"));
    let sent = device.push();
    let [Operation { kind: OpKind::Write { attrs, .. }, .. }] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(attrs.mode, Some(0o600));
    assert_eq!(attrs.xattrs, BTreeMap::from([xattr("user.new", Some(2)), xattr("user.old", None)]));
}

fn xattr(name: &str, value: Option<u8>) -> (String, Option<ByteString>) {
    (name.to_owned(), value.map(|value| ByteString(vec![value])))
}

#[test]
fn extended_attributes_have_room_for_so_many_bytes_names_included() {
    let device = Device::new();
    let ino = device.file(TOP, "f").ino;
    let set = |bytes: usize| {
        let xattrs = BTreeMap::from([("user.a".to_owned(), Some(ByteString(vec![0; bytes])))]);
        device.tree.set_attrs(ino, &AttrChange { xattrs, ..AttrChange::default() })
    };
    let room = XATTRS_BYTES_MAX - "user.a".len();
    assert!(set(room).is_ok());
    assert!(matches!(set(room + 1), Err(TreeError::TooLarge)));
}

#[test]
fn times_of_what_was_written_are_the_same_after_a_restart() {
    for is_sent in [false, true] {
        let mut device = Device::new();
        let ino = device.file(TOP, "f").ino;
        if is_sent {
            device.push();
        }
        device.write(ino, 0, b"one");
        let mtime = device.tree.stat(ino).unwrap().attrs.mtime;
        assert_eq!(device.restart().lookup(TOP, "f").unwrap().attrs.mtime, mtime, "sent before: {is_sent}");
    }
}

#[test]
fn a_version_beside_another_gets_a_name_but_not_where_names_belong_to_a_tool() {
    let mut device = Device::new();
    for folder in [".git", "plain"] {
        let dir = device.folder(TOP, folder).ino;
        let ino = device.written(dir, "f", b"one");
        device.push();
        device.write(ino, 0, b"two");
        let sent = device.freeze();
        assert_eq!(sent[0].1.alt_name.is_some(), folder == "plain", "{sent:?}");
        device.push();
    }
}

#[test]
fn what_was_made_before_a_restart_has_its_name_whatever_is_done_to_it_first() {
    let device = Device::new();
    let ino = device.written(TOP, "f", b"one");
    let device = device.restart();
    device.tree.set_attrs(ino, &AttrChange { mode: Some(0o600), ..AttrChange::default() }).unwrap();
    assert_eq!(device.tree.stat(ino).unwrap().link_count, 1);
}

/// Local rows of nodes go when what they wait for is answered, so that must be queued.
#[track_caller]
pub(super) fn assert_waiting(device: &Device) {
    let rows: Vec<(NodeId, u64)> = device.tree.with(|session| {
        let state = &session.state;
        let waits = |inode: &super::super::state::Inode| Some((inode.node?, inode.local.as_ref()?.ticket));
        let waiting = state.inodes.values().filter_map(|inode| waits(inode));
        waiting
            .filter(|(_, ticket)| !state.queue.ops.contains_key(ticket))
            .map(|(node, ticket)| (node, ticket.0))
            .collect()
    });
    assert_eq!(rows, []);
}

#[test]
fn what_is_local_waits_for_an_operation_that_is_queued() {
    let device = published(&[("text~", "also")]);
    assert_waiting(&device);
    device.written(TOP, "never sent", b"new");
    device.renamed((TOP, "never sent"), (TOP, "moved"));
    assert_waiting(&device);
    device.renamed((TOP, "moved"), (TOP, "text"));
    assert_waiting(&device);
    device.write(device.at("/also"), 0, b"more");
    device.tree.unlink(TOP, &name("text~")).unwrap();
    assert_waiting(&device);
    device.tree.fsync(TOP).unwrap();
    assert_waiting(&device);
    let device = published(&[]);
    device.renamed((TOP, "text"), (TOP, "text.old"));
    device.written(TOP, "new", b"new");
    device.renamed((TOP, "new"), (TOP, "text"));
    assert_waiting(&device);
    device.tree.set_attrs(device.at("/text~"), &Default::default()).unwrap();
    device.tree.unlink(TOP, &name("text~")).unwrap();
    assert_waiting(&device);
}
