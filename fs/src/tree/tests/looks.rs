//! What the calls that only look say, and what those that change attributes leave.

use super::fixture::*;
use crate::tree::{Invalidation, NewNode, Notifier, OpenError, SyncState, TreeError};
use futures_util::FutureExt;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use tarn_proto::api::Usage;
use tarn_proto::ids::NodeId;
use tarn_proto::node::{AttrChange, ByteString, NodeKind, Timestamp};

#[test]
fn a_new_file_has_its_mode_and_owner_no_flags_and_what_it_inherits() {
    let device = Device::new();
    let stat = device.tree.create(TOP, &name("a"), NewNode { uid: 7, gid: 8, ..new(NodeKind::File) }).unwrap();
    assert_eq!((stat.attrs.mode, stat.attrs.uid, stat.attrs.gid), (0o644, 7, 8));
    assert_eq!((device.tree.flags(stat.ino).unwrap(), device.tree.xattrs(stat.ino).unwrap()), (0, BTreeMap::new()));
    let inherited = BTreeMap::from([("system.posix_acl_access".to_owned(), ByteString(vec![2]))]);
    let stat =
        device.tree.create(TOP, &name("b"), NewNode { xattrs: inherited.clone(), ..new(NodeKind::File) }).unwrap();
    assert_eq!(device.tree.xattrs(stat.ino).unwrap(), inherited);
    let stat = device.lookup(TOP, "a").unwrap();
    assert_eq!(device.tree.node_count(), 3, "with the root");
    device.tree.set_attrs(stat.ino, &AttrChange { flags: Some(0x40), ..Default::default() }).unwrap();
    assert_eq!(device.tree.flags(stat.ino).unwrap(), 0x40);
}

#[test]
fn a_change_of_attributes_is_one_of_the_time_of_change() {
    let device = Device::new();
    let ino = device.file(TOP, "a").ino;
    let long_ago = Some(Timestamp { secs: 5, nanos: 0 });
    let stat = device.tree.set_attrs(ino, &AttrChange { ctime: long_ago, ..Default::default() }).unwrap();
    assert_eq!(Some(stat.attrs.ctime), long_ago);
    let stat = device.tree.set_attrs(ino, &AttrChange { mode: Some(0o600), ..Default::default() }).unwrap();
    assert!(stat.attrs.ctime.secs > 5);
}

#[test]
fn what_lies_where_and_what_has_no_name_any_more() {
    let device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    let inner = device.folder(dir, "e").ino;
    assert_eq!((device.tree.parent_of(inner).unwrap(), device.tree.parent_of(dir).unwrap()), (Some(dir), Some(TOP)));
    let file = device.written(inner, "a", b"x");
    device.tree.opened(file, false).unwrap();
    assert!(!device.tree.is_gone(file).unwrap());
    device.tree.unlink(inner, &name("a")).unwrap();
    assert!(device.tree.is_gone(file).unwrap());
}

#[test]
fn what_is_queued_is_counted_and_what_is_being_sent_is_said_to_be() {
    let device = Device::new();
    let ino = device.written(TOP, "a", b"four");
    device.folder(TOP, "d");
    let totals = device.tree.queue_totals();
    assert_eq!((totals.operations, totals.bytes, totals.local_only), (2, 4, 0));
    assert_eq!(device.tree.sync_state(ino).unwrap(), SyncState::Dirty);
    let ticket = device.tree.first_ticket().unwrap();
    assert!(device.tree.prepare(ticket).unwrap().is_some());
    assert_eq!(device.tree.sync_state(ino).unwrap(), SyncState::Uploading);
}

#[test]
fn what_persons_pinned_is_known_as_roots() {
    let device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    let inner = device.folder(dir, "e").ino;
    device.tree.set_pinned(dir, true).unwrap();
    assert_eq!(device.tree.pinned_roots(), BTreeSet::from([dir]));
    assert!(device.tree.is_pinned(inner).unwrap() && !device.tree.is_pinned(TOP).unwrap());
}

#[test]
fn bytes_are_appended_where_the_file_ends() {
    let device = Device::new();
    let ino = device.written(TOP, "a", b"one");
    assert_eq!((device.tree.append(ino, b"two").unwrap(), device.tree.append(ino, b"!").unwrap()), (3, 6));
    assert_eq!(device.read(ino), b"onetwo!");
}

#[test]
fn only_a_full_disk_is_said_to_be_full() {
    let disk = |kind: ErrorKind| std::io::Error::from(kind);
    for (kind, is_full) in [(ErrorKind::StorageFull, true), (ErrorKind::NotFound, false)] {
        assert_eq!(OpenError::Content(disk(kind)).is_full(), is_full);
        assert_eq!(OpenError::Tree(TreeError::Disk(disk(kind))).is_full(), is_full);
    }
    assert!(!OpenError::HalfRebuilt.is_full());
}

/// What the kernel's side hears: batches, and whether they were announced or given.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<(bool, Vec<Invalidation>)>>);

impl Notifier for Heard {
    fn announce(&self, batch: &[Invalidation]) {
        self.0.lock().unwrap().push((true, batch.to_vec()));
    }

    fn invalidate(&self, batch: Vec<Invalidation>) {
        self.0.lock().unwrap().push((false, batch));
    }
}

#[test]
fn what_the_kernel_must_forget_is_announced_before_it_is_given() {
    let mut device = Device::new();
    assert_eq!(device.list(TOP), [""; 0]);
    let heard = Arc::new(Heard::default());
    device.tree.set_notifier(heard.clone());
    let node = NodeId([40; 16]);
    device.pull(vec![node_row(node, theirs(b"x", 1)), entry_row(root(), "a", Some(node))]);
    device.lookup(TOP, "a").unwrap();
    let heard = heard.0.lock().unwrap();
    assert!(!heard.is_empty());
    for pair in heard.chunks(2) {
        let [(true, announced), (false, given)] = pair else { panic!("{heard:?}") };
        assert!(announced == given && !given.is_empty(), "{heard:?}");
    }
}

#[test]
fn whoever_sends_is_woken_by_what_is_queued_and_by_room_for_what_waits() {
    let device = Device::new();
    let changed = device.tree.changed();
    let is_woken = || changed.notified().now_or_never().is_some();
    is_woken();
    let usage = |bytes_max| Usage { bytes_used: 0, bytes_max: Some(bytes_max) };
    device.tree.note_usage(usage(100));
    assert!(!is_woken(), "nothing waits");
    let ino = device.written(TOP, "large", &[1; 200]);
    assert!(is_woken() && !is_woken());
    device.tree.opened(ino, false).unwrap();
    device.tree.lookup(TOP, &name("large")).unwrap();
    assert!(device.tree.queue(10).unwrap().is_empty());
    assert!(!is_woken(), "nothing was queued");
    device.tree.note_usage(usage(1_000));
    assert!(is_woken());
}
