//! What the removal of a folder says had been seen of it, where what was hidden came after another removal.

use super::fixture::*;
use super::hidden::{N, remove_folder, with_file};

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
