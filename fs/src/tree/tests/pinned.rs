//! A pin is the file's: it stays with what the name shows.

use super::fixture::*;
use tarn_proto::op::OpKind;
use tarn_proto::version::VersionVector;

#[test]
fn a_version_that_comes_while_a_pinned_file_is_open_is_pinned() {
    let mut device = Device::new();
    let ino = device.written(TOP, "a", b"one");
    let sent = device.push().remove(0);
    let OpKind::Create { node, .. } = sent.kind else { panic!("{sent:?}") };
    device.tree.set_pinned(ino, true).unwrap();
    device.tree.opened(ino, false).unwrap();
    let seen = VersionVector::default().with(ME, sent.counter).with(OTHER, 1);
    device.pull(vec![node_row(node, remote_file(b"two", seen, OTHER))]);
    let fresh = device.lookup(TOP, "a").unwrap().ino;
    assert_ne!(fresh, ino, "whoever reads goes on reading");
    assert_eq!(device.read(ino), b"one");
    assert!(device.tree.is_pinned(fresh).unwrap());
    assert_eq!(device.tree.ino_of(node).unwrap(), Some(fresh));
}

#[test]
fn a_pin_outlives_the_daemon_and_changes_of_the_file() {
    let device = Device::new();
    device.tree.set_pinned(device.written(TOP, "a", b"one"), true).unwrap();
    let device = device.restart();
    let ino = device.at("/a");
    assert!(device.tree.is_pinned(ino).unwrap());
    device.write(ino, 0, b"two");
    let device = device.restart();
    assert!(device.tree.is_pinned(device.at("/a")).unwrap());
}
