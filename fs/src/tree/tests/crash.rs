//! What is there after the daemon ended.

use super::fixture::*;
use crate::tree::TreeError;

#[test]
fn everything_is_there_after_a_restart() {
    let device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    let small = device.written(dir, "small", b"hello");
    let large_bytes: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let large = device.written(dir, "large", &large_bytes);
    let queued = device.tree.queue_totals().operations;
    let device = device.restart();
    assert_eq!(device.list(TOP), ["d"]);
    assert_eq!(device.at("/d/small"), small, "inode numbers stay");
    assert_eq!(device.at("/d/large"), large);
    assert_eq!(device.read(small), b"hello");
    assert_eq!(device.read(large), large_bytes);
    assert_eq!(device.tree.queue_totals().operations, queued);
}

#[test]
fn a_frozen_operation_comes_back_as_it_was_sent() {
    let device = Device::new();
    device.written(TOP, "a", b"1");
    let sent = device.freeze();
    let mut device = device.restart();
    assert_eq!(device.freeze(), sent);
    device.push();
    assert_eq!(device.tree.queue_totals().operations, 0);
    let device = device.restart();
    assert_eq!(device.list(TOP), ["a"]);
    assert_eq!(device.read(device.at("/a")), b"1");
}

#[test]
fn writes_after_a_freeze_are_sent_after_a_restart() {
    let device = Device::new();
    let ino = device.written(TOP, "a", b"1");
    device.freeze();
    device.write(ino, 1, b"2");
    let mut device = device.restart();
    let ops = device.push();
    assert!(ops.len() >= 2);
    assert_eq!(device.tree.queue_totals().operations, 0);
    assert_eq!(device.read(device.at("/a")), b"12");
    assert!(!device.tree.content(device.at("/a")).unwrap().is_dirty());
}

#[test]
fn an_orphan_of_an_earlier_run_is_gone() {
    let mut device = Device::new();
    let ino = device.written(TOP, "a", b"1");
    device.push();
    device.tree.opened(ino, false).unwrap();
    device.tree.unlink(TOP, &name("a")).unwrap();
    device.push();
    let device = device.restart();
    assert!(matches!(device.tree.stat(ino), Err(TreeError::NotFound)));
    assert!(device.list(TOP).is_empty());
}
