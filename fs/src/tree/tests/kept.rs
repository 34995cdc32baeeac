//! What is known of the server over a restart, and what goes along with the queue.

use super::fixture::*;
use tarn_proto::api::Usage;
use tarn_proto::ids::EpochId;
use tarn_proto::lost::EpochStart;
use tarn_proto::op::OpKind;

#[test]
fn what_the_server_said_of_its_room_and_of_its_histories_is_known_after_a_restart() {
    let mut device = Device::new();
    let usage = Usage { bytes_used: 7, bytes_max: Some(100) };
    device.tree.note_usage(usage);
    device.pull(Vec::new());
    let epochs = [EpochStart { epoch: EpochId([1; 16]), seq: 0 }, EpochStart { epoch: EpochId([2; 16]), seq: 5 }];
    device.tree.note_epochs(&epochs).unwrap();
    let device = device.restart();
    assert_eq!(device.tree.usage(), Some(usage));
    assert_eq!(device.tree.epochs().unwrap(), epochs);
    assert_eq!(device.tree.cursor(), Some(cursor(device.seq)));
}

#[test]
fn a_full_pull_leaves_the_histories_that_it_came_with() {
    let device = Device::new();
    let cursor = cursor(0);
    assert_eq!(device.tree.epochs().unwrap(), [EpochStart { epoch: cursor.epoch, seq: 0 }]);
    assert_eq!(device.restart().tree.cursor(), Some(cursor));
}

#[test]
fn a_write_brings_the_times_that_programs_see() {
    let mut device = Device::new();
    let ino = device.written(TOP, "a", b"one");
    device.push();
    device.write(ino, 0, b"two");
    let seen = device.tree.stat(ino).unwrap().attrs;
    let sent = device.freeze();
    let OpKind::Write { attrs, .. } = &sent[0].1.kind else { panic!("{sent:?}") };
    assert_eq!((attrs.mtime, attrs.ctime), (Some(seen.mtime), Some(seen.ctime)));
}

#[test]
fn what_is_queued_below_a_folder_that_holds_git_keeps_its_order() {
    let device = Device::new();
    let tree = device.folder(TOP, "source").ino;
    let inner = device.folder(tree, "inner").ino;
    device.folder(tree, ".git");
    let (file, other) = (device.written(inner, "a", b"x"), device.written(TOP, "b", b"y"));
    let items = device.tree.queue(100).unwrap();
    let ordered = |ino| items.iter().find(|item| item.content_of == Some(ino)).unwrap().ordered_tree;
    assert_eq!((ordered(file), ordered(other)), (Some(tree), None));
    assert_eq!(device.tree.queue(2).unwrap().len(), 2, "no more than was asked for");
}
