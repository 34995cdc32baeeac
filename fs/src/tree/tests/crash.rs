//! What is there after the daemon ended.

use super::fixture::*;
use crate::tree::TreeError;
use crate::tree::load::Session;

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
fn what_follows_after_a_file_was_shortened_is_there_after_a_kill() {
    for size in [0, 10, 50_000] {
        let device = Device::new();
        let ino = device.written(TOP, "f", &[1; 60_000]);
        // It gets a file of its own, of which the log says what it must be to count.
        device.write(ino, 60_000, &[2; 10_000]);
        device.tree.truncate(ino, size).unwrap();
        device.written(TOP, "g", b"later");
        let device = device.kill();
        assert!(device.read(device.at("/f")) == vec![1; size as usize], "{size}");
        assert_eq!(device.read(device.at("/g")), b"later");
    }
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
fn writes_after_a_freeze_are_sent_after_a_restart_whoever_looked_at_the_file_before_the_answer() {
    let device = Device::new();
    let ino = device.written(TOP, "a", b"1");
    device.freeze();
    device.write(ino, 0, b"2");
    let mut device = device.restart();
    let next = device.tree.last_ticket().unwrap();
    let prepared = device.tree.prepare(next).unwrap();
    device.sent_one();
    drop(prepared);
    device.tree.unprepare(next);
    device.push();
    assert_eq!(device.read(device.at("/a")), b"2");
    assert_eq!(device.tree.content(ino).unwrap().base().unwrap().content, device.content_of(b"2"));
}

#[test]
fn an_answer_is_told_to_be_applied_only_when_a_power_cut_cannot_take_that_back() {
    let mut device = Device::new();
    device.written(TOP, "a", b"1");
    device.sent_one();
    assert_eq!(device.tree.answered(), 0, "nothing was synced since the answer came");
    device.written(TOP, "b", b"2");
    device.freeze();
    assert_eq!(device.tree.answered(), 1);
    let device = device.restart();
    assert_eq!(device.tree.answered(), 1);
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

/// Paths of all backing files.
fn backing_files(device: &Device) -> Vec<std::path::PathBuf> {
    let list = |dir: std::path::PathBuf| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    list(device.dir.path().join("contents")).flat_map(list).collect()
}

#[test]
fn files_that_no_row_speaks_of_are_swept_after_a_start_and_others_stay() {
    let bytes: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let mut device = Device::new();
    let gone = device.written(TOP, "gone", &bytes);
    device.push();
    let orphan = backing_files(&device).remove(0);
    device.tree.unlink(TOP, &name("gone")).unwrap();
    device.push();
    device.tree.forget(gone, 1);
    device.journal.drain().unwrap();
    assert!(backing_files(&device).is_empty(), "a removed file has no bytes here");
    let kept = device.written(TOP, "kept", &bytes);
    let sent = device.written(TOP, "sent", &bytes);
    device.push();
    device.write(kept, 7, b"dirty");
    std::fs::create_dir_all(device.dir.path().join(orphan.parent().unwrap())).unwrap();
    std::fs::write(&orphan, &bytes).unwrap();
    assert_eq!(backing_files(&device).len(), 3);

    let device = device.kill();
    assert_eq!(backing_files(&device).len(), 2);
    assert_eq!(&device.read(kept)[7..12], b"dirty");
    assert!(device.read(sent) == bytes);
}

#[test]
fn what_was_fetched_and_not_recorded_leaves_no_blocks_after_a_kill() {
    let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
    let mut device = Device::new();
    let node = tarn_proto::ids::NodeId([33; 16]);
    let vector = tarn_proto::version::VersionVector::default().with(OTHER, 1);
    device.pull(vec![node_row(node, remote_file(&bytes, vector, OTHER)), entry_row(root(), "f", Some(node))]);
    let content = device.tree.content(device.at("/f")).unwrap();
    let version = content.base().unwrap().content.version;
    assert_eq!(content.fill(version, 0, &bytes).unwrap(), crate::content::Filled::Done);
    assert_eq!(backing_files(&device).len(), 1);
    drop(content);
    let device = device.kill();
    assert_eq!(backing_files(&device), Vec::<std::path::PathBuf>::new());
    assert_eq!(device.tree.stat(device.at("/f")).unwrap().allocated_bytes, 0);
}

#[test]
fn pins_hear_of_what_comes_below_them() {
    let mut device = Device::new();
    let dir = device.folder(TOP, "pinned").ino;
    let other = device.folder(TOP, "other").ino;
    device.written(other, "not", b"1");
    assert!(device.tree.take_fresh_pinned().is_empty());
    device.tree.set_pinned(dir, true).unwrap();
    assert_eq!(device.tree.take_fresh_pinned(), [dir].into());
    let made = device.written(dir, "made", b"2");
    device.written(other, "neither", b"3");
    assert_eq!(device.tree.take_fresh_pinned(), [made].into());
    let op = device
        .push()
        .into_iter()
        .find(|op| matches!(&op.kind, tarn_proto::op::OpKind::Create { place, .. } if place.name == name("made")));
    let tarn_proto::op::OpKind::Create { node, .. } = op.unwrap().kind else { panic!() };
    device.tree.take_fresh_pinned();
    let vector = tarn_proto::version::VersionVector::default().with(ME, 99).with(OTHER, 1);
    device.pull(vec![node_row(node, remote_file(b"changed elsewhere", vector, OTHER))]);
    assert_eq!(device.tree.take_fresh_pinned(), [made].into());
    let device = device.restart();
    assert_eq!(
        device.tree.take_fresh_pinned(),
        [device.at("/pinned")].into(),
        "after a restart all of it is looked at"
    );
}

#[test]
fn an_unlinked_file_that_programs_have_open_lives_on_under_the_next_daemon() {
    let device = Device::new();
    let file = device.written(TOP, "f", b"bytes");
    device.tree.opened(file, true).unwrap();
    device.tree.unlink(TOP, &name("f")).unwrap();
    let device = device.taken_over();
    assert_eq!(device.read(file), b"bytes");
    assert_eq!(device.tree.stat(file).unwrap().link_count, 0);
    device.tree.opened(file, false).unwrap();
    device.tree.closed(file, false).unwrap();
    assert_eq!(device.read(file), b"bytes", "another handle may be open");
    device.tree.forget(file, 17);
    assert!(matches!(device.tree.stat(file), Err(TreeError::NotFound)));
}

#[test]
fn what_the_kernel_knows_from_an_earlier_daemon_stays_in_memory_until_it_forgets() {
    let device = Device::new();
    let file = device.written(TOP, "f", b"bytes");
    let device = device.taken_over();
    device.tree.stat(file).unwrap();
    let is_held = |device: &Device| {
        let refs = |session: &mut Session<'_>| session.state.inodes.get(&file).map(|inode| inode.kernel_refs);
        device.tree.with(refs).is_some_and(|refs| refs > 0)
    };
    assert!(is_held(&device));
    device.tree.refer(file).unwrap();
    device.tree.forget(file, 5);
    assert!(!is_held(&device));
}
