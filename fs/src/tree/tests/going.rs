//! Files that go: by a person here, by others, and by halves.

use super::fixture::*;
use crate::meta::rows::Ino;
use crate::tree::Readiness;
use tarn_proto::ids::NodeId;
use tarn_proto::node::AttrChange;
use tarn_proto::op::{OpKind, Operation};

const N: NodeId = NodeId([46; 16]);

/// Whether anything that waits brings bytes.
fn brings(device: &Device) -> bool {
    device.tree.queue(10).unwrap().iter().any(|item| item.content_of.is_some())
}

#[test]
fn bytes_of_a_file_that_is_to_go_wait_unless_others_give_it_a_name_that_nothing_takes() {
    type Way = fn(&Device, Ino);
    let ways: [(&str, Way); 4] = [
        ("removed", |device, _| device.tree.unlink(TOP, &name("f")).unwrap()),
        ("removed, and its mode set by who has it open", |device, ino| {
            device.tree.opened(ino, false).unwrap();
            device.tree.unlink(TOP, &name("f")).unwrap();
            drop(device.tree.set_attrs(ino, &AttrChange { mode: Some(0o600), ..AttrChange::default() }).unwrap());
        }),
        ("moved, then removed", |device, _| {
            device.renamed((TOP, "f"), (TOP, "g"));
            device.tree.unlink(TOP, &name("g")).unwrap();
        }),
        ("linked, then both removed", |device, ino| {
            device.tree.link(ino, TOP, &name("g")).unwrap();
            ["f", "g"].iter().for_each(|text| device.tree.unlink(TOP, &name(text)).unwrap());
        }),
    ];
    for (way, act) in ways {
        for is_moved in [true, false] {
            let mut device = Device::new();
            let ino = device.written(TOP, "f", b"sent");
            let OpKind::Create { node, .. } = device.push()[0].kind else { panic!("not created") };
            device.write(ino, 0, b"late");
            act(&device, ino);
            assert!(!brings(&device), "{way}");
            let moved = is_moved.then(|| entry_row(root(), "f", None));
            device.pull([entry_row(root(), "h", Some(node))].into_iter().chain(moved).collect());
            assert_eq!(brings(&device), !is_moved, "{way}, moved by others: {is_moved}");
        }
    }
}

#[test]
fn bytes_that_wait_to_be_sent_bring_back_what_others_removed() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(b"theirs", 1)), entry_row(root(), "f", Some(N))]);
    device.write(device.at("/f"), 0, b"longer than theirs");
    device.pull(vec![entry_row(root(), "f", None), gone(N)]);
    let sent = device.freeze();
    let [(_, Operation { kind: OpKind::Write { node, .. }, .. })] = sent[..] else { panic!("{sent:?}") };
    assert_eq!(node, N);
}

#[test]
fn a_file_of_which_half_a_move_was_told_is_the_same_when_the_other_half_comes() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(b"theirs", 1)), entry_row(root(), "f", Some(N))]);
    let ino = device.lookup(TOP, "f").unwrap().ino;
    device.journal.drain().unwrap();
    device.tree.refer(ino).unwrap();
    device.pull(vec![entry_row(root(), "f", None)]);
    device.tree.forget(ino, 1);
    device.pull(vec![entry_row(root(), "g", Some(N))]);
    assert_eq!(device.at("/g"), ino);
}

#[test]
fn what_comes_back_while_the_database_lags_behind_its_removal_is_another_inode() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(b"old", 1)), entry_row(root(), "f", Some(N))]);
    let old = device.at("/f");
    let mut device = device.lagging();
    assert_eq!(device.at("/f"), old);
    device.pull(vec![entry_row(root(), "f", None), gone(N)]);
    assert!(device.tree.is_gone(old).unwrap());
    device.pull(vec![node_row(N, theirs(b"newer", 2)), entry_row(root(), "f", Some(N))]);
    let stat = device.lookup(TOP, "f").unwrap();
    assert!(stat.ino != old && stat.size_bytes == 5, "{stat:?}");
}

#[test]
fn what_was_written_unseen_through_a_map_is_sent() {
    let mut device = Device::new();
    let ino = device.written(TOP, "large", &[7; 100_000]);
    device.push();
    let told = device.watched();
    device.tree.note_mapped_write(ino).unwrap();
    assert!(device.tree.content(ino).unwrap().is_dirty());
    assert!(matches!(device.tree.queue(10).unwrap()[..], [ref item] if item.readiness == Readiness::Ready));
    assert!(told.has(&crate::tree::Invalidation::Content(ino)), "the kernel's own pages are older");
}

#[test]
fn files_take_turns_at_being_appended_to_whatever_their_number() {
    let device = Device::new();
    device.tree.with(|session| session.state.counters.ino = 10_000);
    let ino = device.written(TOP, "log", b"one");
    assert_eq!(device.tree.append(ino, b" two").unwrap(), 3);
}
