//! What was written here stays here, whichever way the news of it comes back.

use super::fixture::*;
use crate::meta::rows::{Ino, Ticket};
use tarn_proto::api::{ChildEntry, ChildrenResponse};
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::{ContentId, NodeId};
use tarn_proto::node::{Attrs, Content, NodeKind, NodeState};
use tarn_proto::op::{OpKind, Operation};

const LARGE: usize = 200_000;

#[track_caller]
fn assert_local(device: &Device, ino: Ino, bytes: &[u8], when: &str) {
    let content = device.tree.content(ino).unwrap();
    assert_eq!(content.size_bytes(), bytes.len() as u64, "{when}");
    assert_eq!(content.missing(0..u64::MAX), [], "{when}: not local");
    assert!(device.read(ino) == bytes, "{when}: other bytes");
}

fn node_of(op: &Operation) -> NodeId {
    match op.kind {
        OpKind::Create { node, .. } | OpKind::Write { node, .. } => node,
        _ => panic!("{op:?}"),
    }
}

fn bytes_of(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ salt).collect()
}

#[test]
fn acknowledged_bytes_are_local_after_a_kill() {
    for len in [0, 7, 5_000, 65_536, LARGE] {
        let bytes = bytes_of(len, 1);
        let mut device = Device::new().lagging();
        let ino = device.written(TOP, "f", &bytes);
        device.push();
        let device = device.kill();
        assert_local(&device, ino, &bytes, &format!("{len} bytes"));
        assert!(!device.tree.content(ino).unwrap().is_dirty(), "{len} bytes: clean");
        assert_eq!(device.tree.queue_totals().operations, 0);
    }
}

#[test]
fn an_acknowledged_second_version_is_local_after_a_kill() {
    for len in [5_000, LARGE] {
        let (old, new) = (bytes_of(len, 1), bytes_of(len, 2));
        let mut device = Device::new().lagging();
        let ino = device.written(TOP, "f", &old);
        device.push();
        device.journal.drain().unwrap();
        device.write(ino, 0, &new);
        device.push();
        let device = device.kill();
        assert_local(&device, ino, &new, &format!("{len} bytes"));
        assert!(!device.tree.content(ino).unwrap().is_dirty(), "{len} bytes: clean");
    }
}

#[test]
fn bytes_written_after_the_answer_are_dirty_after_a_kill() {
    for len in [5_000, LARGE] {
        let mut bytes = bytes_of(len, 1);
        let mut device = Device::new().lagging();
        let ino = device.written(TOP, "f", &bytes);
        device.push();
        device.write(ino, 10, b"later");
        bytes[10..15].copy_from_slice(b"later");
        let mut device = device.kill();
        assert_local(&device, ino, &bytes, &format!("{len} bytes"));
        assert!(device.tree.content(ino).unwrap().is_dirty());
        assert_eq!(device.push().len(), 1);
    }
}

/// What may happen between an operation's way to the server and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Kill,
    Pull,
    Answer,
}

fn orders() -> Vec<Vec<Step>> {
    use Step::{Answer, Kill, Pull};
    vec![
        vec![Pull, Answer],
        vec![Answer, Pull],
        vec![Kill, Pull, Answer],
        vec![Kill, Answer, Pull],
        vec![Pull, Kill, Answer],
        vec![Pull, Kill, Answer, Kill, Pull],
        vec![Answer, Kill, Pull],
        vec![Kill, Pull, Kill, Answer, Kill],
    ]
}

#[test]
fn own_bytes_stay_local_in_every_order_of_answer_and_pull() {
    for len in [700, LARGE] {
        for (order, second) in orders().into_iter().flat_map(|order| [(order.clone(), false), (order, true)]) {
            let when = format!("{order:?}, {len} bytes, second version: {second}");
            let mut device = Device::new().lagging();
            let mut bytes = bytes_of(len, 1);
            let ino = device.written(TOP, "f", &bytes);
            if second {
                device.push();
                bytes = bytes_of(len, 2);
                device.write(ino, 0, &bytes);
            }
            let (ticket, op) = device.freeze().remove(0);
            let before = device.seq;
            let answer = device.apply(&op);
            for step in order {
                let answered = |device: &Device| device.tree.cursor().is_some_and(|at| at.seq == device.seq);
                match step {
                    Step::Kill => device = device.kill(),
                    Step::Pull if answered(&device) => {}
                    Step::Pull => device.tree.apply_cut(answer.changes.clone(), cursor(device.seq)).unwrap(),
                    Step::Answer => {
                        let (from, to) = (cursor(before), cursor(device.seq));
                        device.tree.settle(&[(ticket, answer.clone())], from, to).unwrap();
                    }
                }
                assert_local(&device, ino, &bytes, &when);
            }
            device.push();
            assert_local(&device, ino, &bytes, &when);
            assert!(!device.tree.content(ino).unwrap().is_dirty(), "{when}");
        }
    }
}

#[test]
fn a_listing_older_than_an_own_write_does_not_take_its_bytes() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"first");
    let node = node_of(&device.push()[0]);
    let old = device.seq;
    device.write(ino, 0, b"second");
    device.push();
    let state = remote_file(b"first", tarn_proto::version::VersionVector::default().with(ME, 1), ME);
    let child = ChildEntry { name: name("f"), entry_seq: old, node, node_seq: old, state };
    let folder = NodeState { kind: NodeKind::Dir, attrs: Attrs { mode: 0o755, ..Attrs::default() }, file: None };
    let listing =
        ChildrenResponse { seq: old, node: folder, node_seq: 0, children: vec![child], next: None, epoch: None };
    device.listed(root(), listing);
    assert_local(&device, ino, b"second", "after the listing");
    assert_eq!(device.tree.stat(ino).unwrap().size_bytes, 6);
}

#[test]
fn a_cut_that_lags_behind_the_answers_does_not_take_own_bytes() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"first");
    let (ticket, op) = device.freeze().remove(0);
    let first = device.apply(&op);
    let upto = cursor(device.seq);
    device.tree.settle(&[(ticket, first.clone())], cursor(99), cursor(100)).unwrap();
    device.write(ino, 0, b"second");
    let (ticket, op) = device.freeze().remove(0);
    let second = device.apply(&op);
    device.tree.settle(&[(ticket, second)], cursor(99), cursor(100)).unwrap();
    device.tree.apply_cut(first.changes, upto).unwrap();
    assert_local(&device, ino, b"second", "after the cut");
}

#[test]
fn the_same_bytes_from_elsewhere_take_the_place_of_the_local_version() {
    for opens in [false, true] {
        let mut device = Device::new();
        let ino = device.written(TOP, "f", b"same");
        let op = device.push().remove(0);
        if opens {
            device.tree.opened(ino, false).unwrap();
        }
        let vector = tarn_proto::version::VersionVector::default().with(ME, op.counter).with(OTHER, 4);
        device.pull(vec![node_row(node_of(&op), remote_file(b"same", vector.clone(), OTHER))]);
        assert_eq!(device.at("/f"), ino);
        assert_local(&device, ino, b"same", "after the pull");
        let device = device.restart();
        assert_local(&device, ino, b"same", "after a restart");
        assert_eq!(device.tree.content(ino).unwrap().base().unwrap().vector, vector);
    }
}

#[test]
fn what_was_sent_before_a_restart_is_not_sent_again() {
    for len in [700, LARGE] {
        let bytes = bytes_of(len, 1);
        let device = Device::new();
        let ino = device.written(TOP, "f", &bytes);
        device.freeze();
        let mut device = device.kill();
        device.sent_one();
        let item = device.tree.queue(10).unwrap().remove(0);
        assert!(device.tree.content(ino).unwrap().is_dirty(), "nobody knows what was written since");
        device.tree.prepare(item.ticket).unwrap().unwrap();
        assert!(device.tree.settle_unchanged(item.ticket).unwrap());
        assert!(!device.tree.content(ino).unwrap().is_dirty());
        let sent = device.push();
        assert!(matches!(sent[..], [Operation { kind: OpKind::SetAttr { .. }, .. }]), "{sent:?}");
        assert_local(&device, ino, &bytes, "at the end");
    }
}

#[test]
fn what_was_prepared_again_after_the_freeze_was_not_sent() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"sent");
    let (ticket, op) = device.freeze().remove(0);
    device.write(ino, 0, b"late");
    // The server lacked chunks, and sending the content as it is now was broken off.
    device.tree.prepare(ticket).unwrap().unwrap();
    let answer = device.apply(&op);
    device.tree.settle(&[(ticket, answer)], cursor(device.seq - 1), cursor(device.seq)).unwrap();
    assert!(device.tree.content(ino).unwrap().is_dirty());
    device.push();
    assert!(!device.tree.content(ino).unwrap().is_dirty());
    assert_local(&device, ino, b"late", "at the end");
}

#[test]
fn what_was_written_after_the_freeze_point_is_not_unchanged() {
    let device = Device::new();
    let ino = device.written(TOP, "f", b"sent");
    device.freeze();
    let mut device = device.kill();
    device.sent_one();
    let item = device.tree.queue(10).unwrap().remove(0);
    device.tree.prepare(item.ticket).unwrap().unwrap();
    device.write(ino, 0, b"late");
    assert!(!device.tree.settle_unchanged(item.ticket).unwrap());
    assert!(device.tree.content(ino).unwrap().is_dirty());
    device.push();
    assert_local(&device, ino, b"late", "at the end");
    assert!(!device.tree.content(ino).unwrap().is_dirty());
}

#[test]
fn a_write_that_was_looked_at_before_its_first_byte_is_sent_all_the_same() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"sent");
    device.push();
    let cut_short = device.tree.change_content(ino, |content| {
        let item = device.tree.queue(10).unwrap().remove(0);
        assert!(device.tree.prepare(item.ticket).unwrap().is_none(), "nothing but attributes so far");
        content.truncate(2)
    });
    cut_short.unwrap();
    let sent = device.push();
    assert!(sent.iter().any(|op| matches!(op.kind, OpKind::Write { .. })), "{sent:?}");
    assert!(!device.tree.content(ino).unwrap().is_dirty());
    assert_local(&device, ino, b"se", "at the end");
}

#[test]
fn a_version_that_came_while_a_rename_was_queued_is_shown_after_its_answer() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"mine");
    let op = device.push().remove(0);
    device.renamed((TOP, "f"), (TOP, "g"));
    let vector = tarn_proto::version::VersionVector::default().with(ME, op.counter).with(OTHER, 4);
    device.pull(vec![node_row(node_of(&op), remote_file(b"theirs!", vector, OTHER))]);
    assert_local(&device, ino, b"mine", "while the rename is queued");
    device.push();
    let stat = device.lookup(TOP, "g").unwrap();
    assert_eq!((stat.size_bytes, stat.allocated_bytes), (7, 0));
}

#[test]
fn an_answer_that_others_overtook_does_not_bring_back_the_own_version() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"mine");
    let (ticket, op) = device.freeze().remove(0);
    let answer = device.apply(&op);
    let before = cursor(device.seq - 1);
    let vector = tarn_proto::version::VersionVector::default().with(ME, op.counter).with(OTHER, 4);
    device.seq += 1;
    let theirs = Change { seq: device.seq, row: node_row(node_of(&op), remote_file(b"theirs!", vector, OTHER)) };
    let both: Vec<Change> =
        answer.changes.iter().filter(|change| matches!(change.row, Row::Entry { .. })).cloned().collect();
    device.tree.apply_cut([both, vec![theirs]].concat(), cursor(device.seq)).unwrap();
    assert_local(&device, ino, b"mine", "before the answer");
    device.tree.settle(&[(ticket, answer)], before, cursor(device.seq)).unwrap();
    assert_eq!(device.lookup(TOP, "f").unwrap().size_bytes, 7, "the newer version shows");
}

/// A device with two queued writes of one file, of which the first was prepared again after the second.
fn prepared_again() -> (Device, [(Ticket, Content); 2]) {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"sent");
    device.push();
    device.write(ino, 0, b"one");
    let first = device.tree.queue(10).unwrap()[0].ticket;
    device.tree.prepare(first).unwrap().unwrap();
    device.write(ino, 0, b"two");
    let second = device.tree.queue(10).unwrap()[1].ticket;
    device.tree.prepare(second).unwrap().unwrap();
    let older = device.content_of(&device.read(ino));
    device.tree.unprepare(first);
    device.write(ino, 0, b"all");
    device.tree.prepare(first).unwrap().unwrap();
    let newer = device.content_of(&device.read(ino));
    (device, [(first, newer), (second, older)])
}

fn brought(ops: &[(Ticket, Operation)]) -> Vec<ContentId> {
    let content = |op: &Operation| match &op.kind {
        OpKind::Write { content, .. } => content.content_id,
        other => panic!("{other:?} brings no content"),
    };
    ops.iter().map(|(_, op)| content(op)).collect()
}

#[test]
fn a_later_operation_never_brings_older_bytes_than_an_earlier_one() {
    let (device, [(first, newer), (second, older)]) = prepared_again();
    let frozen = device.tree.freeze(vec![(first, Some(newer.clone())), (second, Some(older))]).unwrap();
    assert_eq!(brought(&frozen), [newer.content_id; 2]);
}

#[test]
fn a_content_that_is_sent_anew_takes_later_operations_along() {
    let (device, [(first, newer), (second, older)]) = prepared_again();
    device.tree.freeze(vec![(first, Some(newer.clone())), (second, Some(older))]).unwrap();
    let newest = device.content_of(b"newest");
    device.tree.refreeze_with_content(first, newest.clone()).unwrap();
    let frozen = device.tree.freeze(vec![(first, None), (second, None)]).unwrap();
    assert_eq!(brought(&frozen), [newest.content_id; 2]);
}

#[test]
fn an_answer_that_a_load_overtook_brings_nothing_back() {
    let mut device = Device::new();
    device.written(TOP, "f", b"mine");
    let (ticket, op) = device.freeze().remove(0);
    let answer = device.apply(&op);
    // Others removed it, and everything was pulled anew before the answer came.
    device.seq += 1;
    device.tree.begin_load().unwrap();
    device.tree.finish_load(crate::tree::Loaded::first(cursor(device.seq))).unwrap();
    device.tree.settle(&[(ticket, answer)], cursor(0), cursor(1)).unwrap();
    assert!(device.list(TOP).is_empty());
    assert_eq!(device.tree.row_faults(10).unwrap().1, []);
}
