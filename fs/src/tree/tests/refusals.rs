//! What calls refuse, and what they leave in the queue where they do not.

use super::fixture::*;
use crate::tree::{APPEND_ONLY, IMMUTABLE, TreeError};
use tarn_proto::node::{AttrChange, NodeKind, Timestamp};
use tarn_proto::op::{OpKind, RenameMode};
use tarn_proto::version::VersionVector;

fn protect(device: &Device, ino: crate::meta::rows::Ino, flags: u32) {
    device.tree.set_attrs(ino, &AttrChange { flags: Some(flags), ..Default::default() }).unwrap();
}

#[test]
fn protected_folders_and_files_keep_their_names() {
    let device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    device.file(dir, "a");
    let refused = |result: Result<(), TreeError>| assert!(matches!(result, Err(TreeError::NotPermitted)), "{result:?}");
    for (flags, may_add) in [(IMMUTABLE, false), (APPEND_ONLY, true)] {
        protect(&device, dir, flags);
        let added = device.tree.create(dir, &name(&format!("b {flags}")), new(NodeKind::File)).map(drop);
        if may_add {
            added.unwrap()
        } else {
            refused(added)
        }
        refused(device.tree.unlink(dir, &name("a")));
    }
    let file = device.file(TOP, "f").ino;
    protect(&device, file, APPEND_ONLY);
    refused(device.tree.unlink(TOP, &name("f")));
    refused(device.tree.link(file, TOP, &name("g")).map(drop));
}

#[test]
fn nothing_is_made_in_a_folder_that_is_gone_or_is_none() {
    let device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    device.tree.refer(dir).unwrap();
    device.tree.rmdir(TOP, &name("d")).unwrap();
    let made = device.tree.create(dir, &name("a"), new(NodeKind::File));
    assert!(matches!(made, Err(TreeError::NotFound)), "{made:?}");
    let file = device.file(TOP, "f").ino;
    let made = device.tree.create(file, &name("a"), new(NodeKind::File));
    assert!(matches!(made, Err(TreeError::NotADirectory)), "{made:?}");
}

#[test]
fn an_exchange_needs_two_names_of_which_neither_is_above_the_other() {
    let device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    device.folder(dir, "a");
    let missing = device.rename((TOP, "d"), (TOP, "e"), RenameMode::Exchange);
    assert!(matches!(missing, Err(TreeError::NotFound)), "{missing:?}");
    for (from, to) in [((dir, "a"), (TOP, "d")), ((TOP, "d"), (dir, "a"))] {
        let looped = device.rename(from, to, RenameMode::Exchange);
        assert!(matches!(looped, Err(TreeError::Invalid)), "{looped:?}");
    }
}

#[test]
fn a_file_that_is_being_sent_is_renamed_behind_that() {
    let device = Device::new();
    device.written(TOP, "a", b"x");
    assert!(device.tree.prepare(device.tree.first_ticket().unwrap()).unwrap().is_some());
    device.renamed((TOP, "a"), (TOP, "b"));
    let sent: Vec<OpKind> = device.freeze().into_iter().map(|(_, op)| op.kind).collect();
    assert!(matches!(&sent[..], [OpKind::Create { .. }, OpKind::Rename { .. }]), "{sent:?}");
}

#[test]
fn a_folder_that_came_and_went_here_leaves_nothing_unless_something_passed_through_it() {
    let mut device = Device::new();
    device.folder(TOP, "d");
    device.tree.rmdir(TOP, &name("d")).unwrap();
    assert_eq!(device.tree.queue_totals().operations, 0);
    device.written(TOP, "a", b"x");
    device.push();
    let dir = device.folder(TOP, "d").ino;
    device.renamed((TOP, "a"), (dir, "a"));
    device.renamed((dir, "a"), (TOP, "b"));
    device.tree.rmdir(TOP, &name("d")).unwrap();
    let kinds: Vec<OpKind> = device.push().into_iter().map(|op| op.kind).collect();
    assert!(matches!(kinds[0], OpKind::Create { kind: NodeKind::Dir, .. }), "{kinds:?}");
}

#[test]
fn what_was_removed_here_stays_so_when_what_took_its_name_is_removed_as_well() {
    let mut device = Device::new();
    device.written(TOP, "a", b"x");
    device.push();
    device.tree.unlink(TOP, &name("a")).unwrap();
    device.folder(TOP, "a");
    device.tree.rmdir(TOP, &name("a")).unwrap();
    assert!(matches!(device.lookup(TOP, "a"), Err(TreeError::NotFound)));
    assert_eq!(device.list(TOP), [""; 0]);
}

#[test]
fn bytes_that_are_on_their_way_by_a_name_that_goes_are_sent_by_another_one_too() {
    let mut device = Device::new();
    let ino = device.written(TOP, "a", b"one");
    device.tree.link(ino, TOP, &name("b")).unwrap();
    device.push();
    device.write(ino, 0, b"two");
    device.freeze();
    device.tree.unlink(TOP, &name("a")).unwrap();
    assert_eq!(device.tree.queue_totals().operations, 3, "the write, the removal, and the write by the other name");
}

#[test]
fn a_write_behind_a_creation_in_one_batch_is_made_from_that() {
    let device = Device::new();
    let ino = device.written(TOP, "a", b"one");
    let create = device.tree.first_ticket().unwrap();
    assert!(device.tree.prepare(create).unwrap().is_some());
    device.write(ino, 0, b"two");
    let write = device.tree.last_ticket().unwrap();
    assert!(device.tree.prepare(write).unwrap().is_some());
    let batch = vec![(create, Some(content(b"one"))), (write, Some(content(b"two")))];
    let [(_, first), (_, second)] = &device.tree.freeze(batch).unwrap()[..] else { panic!("two were frozen") };
    let OpKind::Write { base, .. } = &second.kind else { panic!("{second:?}") };
    assert_eq!(*base, VersionVector::default().with(ME, first.counter));
}

#[test]
fn a_new_folder_has_the_time_that_a_person_gave_it() {
    let device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    let mtime = Timestamp { secs: 5, nanos: 0 };
    device.tree.set_attrs(dir, &AttrChange { mtime: Some(mtime), ..Default::default() }).unwrap();
    let frozen = device.freeze();
    let OpKind::Create { attrs, .. } = &frozen[0].1.kind else { panic!("{frozen:?}") };
    assert_eq!(attrs.mtime, mtime);
}

#[test]
fn what_was_removed_gets_no_other_name_though_somebody_has_it_open() {
    let mut device = Device::new();
    let ino = device.written(TOP, "a", b"one");
    device.push();
    device.tree.opened(ino, false).unwrap();
    device.tree.unlink(TOP, &name("a")).unwrap();
    assert!(matches!(device.tree.link(ino, TOP, &name("b")), Err(TreeError::NotFound)));
}
