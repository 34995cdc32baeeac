//! What the removal of a folder says had been seen of it.

use super::fixture::*;
use crate::meta::rows::Ino;
use tarn_proto::ids::NodeId;
use tarn_proto::op::OpKind;

pub(super) const N: NodeId = NodeId([41; 16]);
pub(super) const D: NodeId = NodeId([42; 16]);
const OTHERS: NodeId = NodeId([43; 16]);
const INNER: NodeId = NodeId([44; 16]);

/// A device with the file `/d/f` of others, and what it knows of the journal.
pub(super) fn with_file() -> (Device, u64) {
    let mut device = Device::new();
    let file = vec![node_row(N, theirs(b"first", 1)), entry_row(D, "f", Some(N))];
    device.pull_known([vec![node_row(D, folder()), entry_row(root(), "d", Some(D))], file].concat());
    let known = device.seq;
    (device, known)
}

/// Removes `/d` with what is in it; up to which seq that says it had been seen.
pub(super) fn remove_folder(device: &Device) -> Option<u64> {
    let dir = device.at("/d");
    device.list(dir).iter().for_each(|file| device.tree.unlink(dir, &name(file)).unwrap());
    device.tree.rmdir(TOP, &name("d")).unwrap();
    let (_, removal) = device.freeze().pop().unwrap();
    match removal.kind {
        OpKind::Unlink { seen, .. } if seen.node == D => seen.seq,
        other => panic!("{other:?}"),
    }
}

fn restarted(device: Device, is_restarted: bool) -> Device {
    if is_restarted { device.restart() } else { device }
}

#[test]
fn it_has_not_seen_what_unsent_bytes_hid() {
    for is_restarted in [false, true] {
        let (mut device, known) = with_file();
        device.write(device.at("/d/f"), 0, b"mine");
        device.pull(vec![node_row(N, theirs(b"second", 2))]);
        assert_eq!(remove_folder(&restarted(device, is_restarted)), Some(known), "restarted: {is_restarted}");
    }
}

#[test]
fn it_has_not_seen_what_a_queued_removal_hid() {
    for is_restarted in [false, true] {
        let (mut device, known) = with_file();
        device.tree.unlink(device.at("/d"), &name("f")).unwrap();
        device.pull(vec![node_row(N, theirs(b"second", 2))]);
        assert_eq!(remove_folder(&restarted(device, is_restarted)), Some(known), "restarted: {is_restarted}");
    }
}

#[test]
fn it_has_not_seen_what_others_put_under_a_name_that_waits_to_be_freed() {
    for is_restarted in [false, true] {
        let (mut device, known) = with_file();
        let dir = device.at("/d");
        device.renamed((dir, "f"), (dir, "g"));
        device.tree.unlink(dir, &name("g")).unwrap();
        device.pull(vec![node_row(OTHERS, theirs(b"another", 2)), entry_row(D, "g", Some(OTHERS))]);
        assert_eq!(remove_folder(&restarted(device, is_restarted)), Some(known), "restarted: {is_restarted}");
    }
}

/// Seed 815536 of the simulation.
#[test]
fn it_has_not_seen_what_others_put_in_a_folder_that_waits_to_be_removed() {
    for is_restarted in [false, true] {
        let (mut device, _) = with_file();
        device.pull_known(vec![node_row(INNER, folder()), entry_row(D, "inner", Some(INNER))]);
        let known = device.seq;
        device.tree.rmdir(device.at("/d"), &name("inner")).unwrap();
        device.pull(vec![node_row(OTHERS, theirs(b"another", 2)), entry_row(INNER, "g", Some(OTHERS))]);
        assert_eq!(remove_folder(&restarted(device, is_restarted)), Some(known), "restarted: {is_restarted}");
    }
}

#[test]
fn it_has_seen_what_was_removed_with_a_folder_before_the_server_said_that_it_was_made() {
    let (mut device, _) = with_file();
    let inner = device.folder(device.at("/d"), "inner").ino;
    device.push();
    device.written(inner, "g", b"mine");
    let made = device.freeze();
    device.tree.unlink(inner, &name("g")).unwrap();
    device.tree.rmdir(device.at("/d"), &name("inner")).unwrap();
    let answers: Vec<_> = made.iter().map(|(ticket, op)| (*ticket, device.apply(op))).collect();
    device.tree.settle(&answers, cursor(device.seq - 1), cursor(device.seq)).unwrap();
    assert_eq!(remove_folder(&device), Some(device.seq));
}

#[test]
fn it_has_not_seen_what_was_hidden_before_the_file_was_saved_anew() {
    let saves: [fn(&Device, Ino); 3] = [
        |device, dir| {
            device.written(dir, "f.tmp", b"saved");
            device.renamed((dir, "f.tmp"), (dir, "f"));
        },
        |device, dir| {
            device.tree.unlink(dir, &name("f")).unwrap();
            device.written(dir, "f", b"saved");
        },
        |device, dir| {
            device.renamed((dir, "f"), (dir, "f~"));
            device.written(dir, "f", b"saved");
        },
    ];
    for save in saves {
        for is_restarted in [false, true] {
            let (mut device, known) = with_file();
            device.write(device.at("/d/f"), 0, b"mine");
            device.pull(vec![node_row(N, theirs(b"second", 2))]);
            save(&device, device.at("/d"));
            assert_eq!(remove_folder(&restarted(device, is_restarted)), Some(known), "restarted: {is_restarted}");
        }
    }
}

#[test]
fn it_has_not_seen_what_a_full_pull_brought_beneath() {
    let (mut device, known) = with_file();
    device.write(device.at("/d/f"), 0, b"mine");
    device.changed_elsewhere(&[node_row(N, theirs(b"second", 2))]);
    device.pull_all();
    assert_eq!(remove_folder(&device), Some(known));
}

#[test]
fn it_has_seen_everything_if_nothing_is_hidden() {
    for is_restarted in [false, true] {
        let (mut device, _) = with_file();
        device.pull(vec![node_row(N, theirs(b"second", 2))]);
        device.written(device.at("/d"), "mine", b"mine");
        device.tree.unlink(device.at("/d"), &name("f")).unwrap();
        let known = device.seq;
        assert_eq!(remove_folder(&restarted(device, is_restarted)), Some(known), "restarted: {is_restarted}");
    }
}

/// Where the bytes go that were written to `/d/f` before that was removed or replaced here. `is_hidden`: others have given the file
/// another name, where this device shows something else; `is_prepared`: they are on their way.
fn sent_to(is_hidden: bool, is_replaced: bool, is_prepared: bool) -> Vec<String> {
    let (mut device, _) = with_file();
    let dir = device.at("/d");
    device.written(TOP, "unsent", b"in the way");
    if is_hidden {
        device.pull(vec![entry_row(root(), "unsent", Some(N))]);
    }
    device.write(device.at("/d/f"), 0, b"mine!");
    if is_prepared {
        let item = device.tree.queue(10).unwrap().pop().unwrap();
        device.tree.prepare(item.ticket).unwrap().unwrap();
    }
    if is_replaced {
        device.told(vec![node_row(OTHERS, theirs(b"other", 3)), entry_row(D, "g", Some(OTHERS))]);
        device.renamed((dir, "g"), (dir, "f"));
    } else {
        device.tree.unlink(dir, &name("f")).unwrap();
    }
    let written = device.freeze().into_iter().filter_map(|(_, op)| match op.kind {
        OpKind::Write { node: N, place, .. } => Some(place.name.to_string()),
        _ => None,
    });
    written.collect()
}

/// Seed 837167 of the simulation.
#[test]
fn unsent_bytes_go_to_the_name_of_their_file_that_something_else_hides_here() {
    let sent = [
        sent_to(false, false, false),
        sent_to(true, false, false),
        sent_to(true, true, false),
        sent_to(true, false, true),
    ];
    assert_eq!(sent, [vec![], vec!["unsent".to_owned()], vec!["unsent".to_owned()], vec!["f".to_owned()]]);
}
