//! What the removal of a folder says had been seen of it, where what was hidden came after another removal.

use super::fixture::*;
use super::hidden::{D, N, remove_folder, with_file};
use tarn_proto::ids::NodeId;

const G: NodeId = NodeId([45; 16]);

/// A device with the file `/d/f`, where a person has removed another folder before; what it knows of the journal then.
fn after_a_removal() -> (Device, u64) {
    let (mut device, _) = with_file();
    device.folder(TOP, "e");
    device.push();
    device.tree.rmdir(TOP, &name("e")).unwrap();
    device.push();
    let known = device.seq;
    (device, known)
}

#[test]
fn it_has_not_seen_what_unsent_bytes_hid() {
    let (mut device, known) = after_a_removal();
    device.write(device.at("/d/f"), 0, b"mine");
    device.pull(vec![node_row(N, theirs(b"second", 2))]);
    assert_eq!(remove_folder(&device), Some(known));
}

#[test]
fn it_has_not_seen_what_bytes_hid_that_another_file_was_saved_over() {
    let (mut device, known) = after_a_removal();
    let dir = device.at("/d");
    device.write(device.at("/d/f"), 0, b"mine");
    device.pull(vec![node_row(N, theirs(b"second", 2))]);
    device.written(dir, "saved", b"more of mine");
    device.renamed((dir, "saved"), (dir, "f"));
    assert_eq!(remove_folder(&device), Some(known));
}

#[test]
fn it_has_seen_what_this_device_sent_of_a_file_that_it_went_on_writing_to() {
    let (mut device, _) = with_file();
    let ino = device.at("/d/f");
    device.write(ino, 0, b"second");
    let (ticket, op) = device.freeze().remove(0);
    device.write(ino, 0, b"third");
    let answer = device.apply(&op);
    let known = device.seq;
    device.tree.settle(&[(ticket, answer)], cursor(known - 1), cursor(known)).unwrap();
    assert_eq!(remove_folder(&device), Some(known));
}

#[test]
fn after_a_restart_it_has_seen_all_but_what_came_for_a_file_that_another_was_moved_over() {
    for is_written_elsewhere in [false, true] {
        let (mut device, _) = with_file();
        device.pull_known(vec![node_row(G, theirs(b"other", 5)), entry_row(D, "g", Some(G))]);
        let (dir, known) = (device.at("/d"), device.seq);
        device.renamed((dir, "g"), (dir, "f"));
        if is_written_elsewhere {
            device.pull(vec![node_row(N, theirs(b"second", 2))]);
        }
        assert_eq!(remove_folder(&device.restart()), Some(known), "written elsewhere: {is_written_elsewhere}");
    }
}
