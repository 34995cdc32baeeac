//! What `tarn wait PATH` waits for.

use super::fixture::*;
use crate::meta::rows::Ino;
use tarn_proto::node::AttrChange;
use tarn_proto::op::RenameMode;

/// The queued operations that a path depends on, by their places in the queue.
fn depends(device: &Device, ino: Ino) -> Vec<usize> {
    let all: Vec<_> = device.tree.queue(100).unwrap().iter().map(|item| item.ticket).collect();
    let tickets = device.tree.tickets_of(ino).unwrap();
    tickets.iter().map(|ticket| all.iter().position(|other| other == ticket).unwrap()).collect()
}

#[test]
fn a_path_depends_on_itself_its_folders_and_what_is_below() {
    let device = Device::new();
    let outer = device.folder(TOP, "outer").ino; // 0
    device.written(TOP, "elsewhere", b"x"); // 1
    let inner = device.folder(outer, "inner").ino; // 2
    let file = device.written(inner, "file", b"x"); // 3
    device.written(outer, "beside", b"x"); // 4
    assert_eq!(depends(&device, file), [0, 2, 3]);
    assert_eq!(depends(&device, inner), [0, 2, 3]);
    assert_eq!(depends(&device, outer), [0, 2, 3, 4]);
}

#[test]
fn a_folder_depends_on_what_was_removed_from_it() {
    let mut device = Device::new();
    let dir = device.folder(TOP, "dir").ino;
    let sub = device.folder(dir, "sub").ino;
    device.written(sub, "file", b"x");
    let other = device.written(TOP, "other", b"x");
    device.push();
    device.tree.unlink(sub, &name("file")).unwrap();
    device.tree.unlink(TOP, &name("other")).unwrap();
    device.tree.rmdir(dir, &name("sub")).unwrap();
    assert_eq!(depends(&device, dir), [0, 2]);
    assert!(depends(&device, device.written(TOP, "new", b"x")).ends_with(&[3]));
    let _ = other;
}

#[test]
fn a_moved_file_depends_on_what_made_room_for_it() {
    let mut device = Device::new();
    let (a, b) = (device.written(TOP, "a", b"a"), device.written(TOP, "b", b"b"));
    device.push();
    let rename = |from, to| device.rename((TOP, from), (TOP, to), RenameMode::NoReplace).unwrap();
    rename("b", "c");
    rename("a", "b");
    device.tree.set_attrs(b, &AttrChange { mode: Some(0o600), ..AttrChange::default() }).unwrap();
    assert_eq!(depends(&device, a), [0, 1]);
    assert_eq!(depends(&device, b), [0, 2]);
}
