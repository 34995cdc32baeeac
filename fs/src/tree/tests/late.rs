//! Operations that are answered after others have changed what they are about. Seeds of the simulation found these.

use super::fixture::*;
use crate::meta::rows::{Ino, Ticket};
use crate::tree::Readiness;
use crate::tree::RenameRequest;
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::{Change, ConflictState, Row};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ConflictId, NodeId};
use tarn_proto::node::{AttrChange, FileVersion, NodeState, Timestamp};
use tarn_proto::op::{OpKind, Operation, RenameMode, Seen};
use tarn_proto::version::VersionVector;

pub(super) const N: NodeId = NodeId([41; 16]);
const D: NodeId = NodeId([42; 16]);
pub(super) const P: NodeId = NodeId([43; 16]);

pub(super) fn theirs(counter: u64) -> NodeState {
    let vector = VersionVector::default().with(OTHER, counter);
    remote_file(format!("theirs {counter}").as_bytes(), vector, OTHER)
}

/// Answers operations in one go, each with an outcome and rows.
pub(super) fn answer(device: &mut Device, ops: &[(Ticket, Operation)], said: Vec<(Outcome, Vec<Row>)>) {
    let before = cursor(device.seq);
    let answers = ops.iter().zip(said).map(|((ticket, op), (outcome, rows))| {
        device.seq += 1;
        let changes = rows.into_iter().map(|row| Change { seq: device.seq, row }).collect();
        (*ticket, Answer { counter: op.counter, outcome, changes })
    });
    let answers: Vec<(Ticket, Answer)> = answers.collect();
    device.tree.settle(&answers, before, cursor(device.seq)).unwrap();
}

fn rename(device: &Device, from: &str, to: &str) {
    let (name, to_name) = (name(from), name(to));
    let request = RenameRequest { parent: TOP, name, to_parent: TOP, to_name, mode: RenameMode::Replace };
    device.tree.rename(&request).unwrap();
}

/// A device with `/f` of others, saved by rename and removed again.
fn saved_and_removed(news_meanwhile: bool) -> Device {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(1)), entry_row(root(), "f", Some(N))]);
    device.written(TOP, "f.tmp", b"mine");
    rename(&device, "f.tmp", "f");
    if news_meanwhile {
        device.pull(vec![node_row(N, theirs(2))]);
    }
    device.tree.unlink(TOP, &name("f")).unwrap();
    device
}

#[test]
fn who_removes_what_it_saved_has_not_seen_what_others_wrote_meanwhile() {
    for news_meanwhile in [false, true] {
        let device = saved_and_removed(news_meanwhile);
        let frozen = device.freeze();
        let [(_, Operation { kind: OpKind::Unlink { seen: Seen { vector, .. }, .. }, .. })] = &frozen[..] else {
            panic!("{frozen:?}")
        };
        assert_eq!(*vector, VersionVector::default().with(OTHER, 1));
    }
}

#[test]
fn bytes_that_are_sent_after_all_are_based_on_what_was_seen_when_they_were_made() {
    let mut device = saved_and_removed(false);
    let frozen = device.freeze();
    answer(
        &mut device,
        &frozen,
        vec![(Outcome::Merged, vec![node_row(N, theirs(2)), entry_row(root(), "f", Some(N))])],
    );
    let frozen = device.freeze();
    let [(_, Operation { kind: OpKind::Write { base, .. }, .. })] = &frozen[..] else { panic!("{frozen:?}") };
    assert_eq!(*base, VersionVector::default().with(OTHER, 1), "what others wrote since was not seen");
}

#[test]
fn a_folders_removal_says_what_had_been_seen_of_it_then() {
    let mut device = Device::new();
    device.pull(vec![node_row(D, folder()), entry_row(root(), "d", Some(D))]);
    let then = device.seq;
    device.tree.rmdir(TOP, &name("d")).unwrap();
    device.pull(vec![node_row(N, theirs(1)), entry_row(D, "f", Some(N))]);
    let frozen = device.freeze();
    let [(_, Operation { kind: OpKind::Unlink { seen, .. }, .. })] = &frozen[..] else { panic!("{frozen:?}") };
    assert_eq!(seen.seq, Some(then));
}

#[test]
fn what_came_and_went_in_one_push_stays_for_its_open_handles() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"mine");
    device.tree.opened(ino, false).unwrap();
    device.tree.link(ino, TOP, &name("g")).unwrap();
    device.tree.unlink(TOP, &name("g")).unwrap();
    device.tree.unlink(TOP, &name("f")).unwrap();
    let frozen = device.freeze();
    let said = frozen.iter().map(|(_, op)| (Outcome::Applied, device.apply(op).changes)).collect::<Vec<_>>();
    let said = said.into_iter().map(|(outcome, changes)| (outcome, changes.into_iter().map(|c| c.row).collect()));
    let said: Vec<(Outcome, Vec<Row>)> = said.collect();
    assert_eq!(said.len(), 4);
    answer(&mut device, &frozen, said);
    assert_eq!(device.tree.stat(ino).unwrap().size_bytes, 4);
    assert_eq!(device.tree.queue_totals().operations, 0);
}

#[test]
fn bytes_that_were_never_sent_are_sent_when_the_file_turns_up_in_a_folder_not_known_yet() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(1)), entry_row(root(), "f", Some(N))]);
    device.written(TOP, "other", b"other");
    device.push();
    let ino = device.at("/f");
    device.tree.truncate(ino, 0).unwrap();
    device.write(ino, 0, b"mine");
    rename(&device, "other", "f");
    let frozen = device.freeze();
    let [(_, Operation { kind: OpKind::Rename { seen, .. }, .. })] = &frozen[..] else { panic!("{frozen:?}") };
    let rows = vec![entry_row(root(), "other", None), entry_row(root(), "f", Some(seen.node))];
    answer(&mut device, &frozen, vec![(Outcome::Applied, rows)]);
    // Others had moved it.
    device.pull(vec![node_row(P, folder()), entry_row(root(), "p", Some(P)), entry_row(P, "f", Some(N))]);
    assert_eq!(device.tree.queue_totals().operations, 1);
    assert_eq!(device.read(device.at("/p/f")), b"mine");
}

#[test]
fn a_folder_whose_name_another_has_by_an_answer_keeps_what_is_queued_below_it() {
    const E: NodeId = NodeId([44; 16]);
    let mut device = Device::new();
    let places = [("d", root(), D), ("in", D, P), ("e", root(), E)];
    let rows =
        places.into_iter().flat_map(|(at, dir, node)| [node_row(node, folder()), entry_row(dir, at, Some(node))]);
    device.pull(rows.collect());
    device.written(device.at("/d/in"), "f", b"mine");
    rename(&device, "e", "g");
    // Others had moved the first folder away, and then this one to its name: the answer tells of the second move alone.
    let frozen = device.freeze();
    let frozen: Vec<_> = frozen.into_iter().filter(|(_, op)| matches!(op.kind, OpKind::Rename { .. })).collect();
    assert_eq!(frozen.len(), 1);
    let rows = vec![entry_row(root(), "e", None), entry_row(root(), "d", Some(E))];
    answer(&mut device, &frozen, vec![(Outcome::Merged, rows)]);
    assert_eq!(device.tree.queue(9).unwrap().len(), 1);
    device.pull(vec![entry_row(root(), "h", Some(D))]);
    assert_eq!(device.read(device.at("/h/in/f")), b"mine");
    let OpKind::Create { place, .. } = &device.push()[0].kind else { panic!("not created") };
    assert_eq!(place.parent, P);
}

#[test]
fn what_a_kept_folder_hides_was_not_seen_by_who_removes_the_folder_above() {
    const E: NodeId = NodeId([44; 16]);
    let mut device = Device::new();
    device.pull(vec![node_row(D, folder()), entry_row(root(), "d", Some(D))]);
    device.pull(vec![node_row(P, folder()), entry_row(D, "p", Some(P)), node_row(N, theirs(1))]);
    device.pull(vec![entry_row(P, "f", Some(N))]);
    device.tree.truncate(device.at("/d/p/f"), 0).unwrap();
    device.write(device.at("/d/p/f"), 0, b"mine");
    let then = device.seq;
    let removed = [gone(N), entry_row(P, "f", None), gone(P)];
    device.pull([&removed[..], &[node_row(E, folder()), entry_row(D, "p", Some(E))]].concat());
    device.tree.rmdir(device.at("/d"), &name("p")).unwrap();
    device.tree.rmdir(TOP, &name("d")).unwrap();
    let frozen = device.freeze();
    let of_folder = |op: &Operation| match &op.kind {
        OpKind::Unlink { seen, .. } if seen.node == D => seen.seq,
        _ => None,
    };
    let said: Vec<u64> = frozen.iter().filter_map(|(_, op)| of_folder(op)).collect();
    assert_eq!(said, [then], "the other folder of that name never showed");
}

#[test]
fn what_is_refused_twice_is_rescued_once() {
    let mut device = Device::new();
    device.pull(vec![node_row(D, folder()), entry_row(root(), "d", Some(D))]);
    let ino = device.written(device.at("/d"), "f", b"mine");
    let frozen = device.freeze();
    device.write(ino, 0, b"more");
    let refused = || (Outcome::Refused { code: ErrorCode::ParentGone, detail: String::new() }, Vec::new());
    answer(&mut device, &frozen, vec![refused()]);
    let frozen = device.freeze();
    let is_write = |op: &Operation| matches!(op.kind, OpKind::Write { .. });
    let write: Vec<(Ticket, Operation)> = frozen.into_iter().filter(|(_, op)| is_write(op)).collect();
    assert_eq!((write.len(), device.tree.queue_totals().operations), (1, 4), "two folders, the file, and the write");
    answer(&mut device, &write, vec![refused()]);
    assert_eq!(device.tree.queue_totals().operations, 3);
}

#[test]
fn attributes_of_a_folder_that_others_removed_are_theirs_when_it_is_back() {
    for in_one_push in [true, false] {
        let mut device = Device::new();
        device.pull(vec![node_row(D, folder()), entry_row(root(), "d", Some(D))]);
        let dir = device.at("/d");
        device.tree.set_attrs(dir, &AttrChange { mode: Some(0o700), ..AttrChange::default() }).unwrap();
        device.folder(dir, "in");
        let frozen = device.freeze();
        let OpKind::Create { node, .. } = frozen[1].1.kind else { panic!("{frozen:?}") };
        let removed = (Outcome::Merged, vec![gone(D)]);
        let rows = [node_row(D, folder()), entry_row(root(), "d", Some(D)), node_row(node, folder())];
        let back = (Outcome::Applied, [&rows[..], &[entry_row(D, "in", Some(node))]].concat());
        if in_one_push {
            answer(&mut device, &frozen, vec![removed, back]);
        } else {
            answer(&mut device, &frozen[..1], vec![removed]);
            answer(&mut device, &frozen[1..], vec![back]);
        }
        assert_eq!(device.lookup(TOP, "d").unwrap().attrs.mode, 0o755);
    }
}

#[test]
fn what_a_later_answer_of_the_same_push_took_is_not_sent_again() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(1)), entry_row(root(), "f", Some(N)), entry_row(root(), "g", Some(N))]);
    device.written(TOP, "other", b"other");
    device.push();
    rename(&device, "other", "g");
    device.tree.truncate(device.at("/f"), 0).unwrap();
    device.write(device.at("/f"), 0, b"mine");
    let frozen = device.freeze();
    let OpKind::Write { content, base, .. } = &frozen[1].1.kind else { panic!("{frozen:?}") };
    let file = FileVersion { content: content.clone(), vector: base.clone().with(ME, frozen[1].1.counter), author: ME };
    let written = NodeState { file: Some(file), ..theirs(1) };
    let said = vec![
        (Outcome::Applied, device.apply(&frozen[0].1).changes.into_iter().map(|change| change.row).take(2).collect()),
        (Outcome::Applied, vec![node_row(N, written)]),
    ];
    answer(&mut device, &frozen, said);
    assert_eq!(device.tree.queue_totals().operations, 0);
}

#[test]
fn who_removes_a_file_that_others_moved_has_seen_what_its_own_bytes_were_made_of() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(1)), entry_row(root(), "f", Some(N))]);
    device.written(TOP, "f.tmp", b"mine");
    rename(&device, "f.tmp", "f");
    let on_its_way = device.tree.queue(10).unwrap()[0].ticket;
    let _snapshot = device.tree.prepare(on_its_way).unwrap().unwrap();
    device.written(TOP, "f.tmp", b"more");
    rename(&device, "f.tmp", "f");
    device.tree.unlink(TOP, &name("f")).unwrap();
    device.journal.drain().unwrap();
    device.pull(vec![node_row(N, theirs(2)), entry_row(root(), "f", None), entry_row(root(), "g", Some(N))]);
    device.journal.drain().unwrap();
    device.pull(vec![entry_row(root(), "g", None), entry_row(root(), "h", Some(N))]);
    assert_eq!(device.read(device.at("/h")), b"mine");
    device.tree.unlink(TOP, &name("h")).unwrap();
    let frozen = device.freeze();
    let Some((_, Operation { kind: OpKind::Unlink { seen, .. }, .. })) = frozen.last() else { panic!("{frozen:?}") };
    assert_eq!((seen.node, &seen.vector), (N, &VersionVector::default().with(OTHER, 1)));
}

#[test]
fn what_is_written_to_a_file_is_sent_after_one_of_its_names_was_removed_and_to_one_that_stays() {
    for is_renamed_over in [false, true] {
        let mut device = Device::new();
        device.pull(vec![
            node_row(N, theirs(1)),
            entry_row(root(), "a", Some(N)),
            entry_row(root(), "b", Some(N)),
            node_row(P, theirs(2)),
            entry_row(root(), "other", Some(P)),
        ]);
        let file = device.at("/a");
        device.write(file, 0, b"before!!");
        if is_renamed_over {
            rename(&device, "other", "a");
        } else {
            device.tree.unlink(TOP, &name("a")).unwrap();
        }
        device.write(file, 0, b"behind!!");
        device.pull(vec![entry_row(root(), "b", None)]);
        let frozen = device.freeze();
        let [(_, first), (_, Operation { kind: OpKind::Write { node, place, base, .. }, .. })] = &frozen[..] else {
            panic!("{frozen:?}")
        };
        assert!(matches!(first.kind, OpKind::Unlink { .. } | OpKind::Rename { .. }));
        assert_eq!((node, place.name.to_string().as_str(), base), (&N, "b", &VersionVector::default().with(OTHER, 1)));
    }
}

#[test]
fn a_write_that_is_sent_later_lets_go_of_its_name_when_it_is_answered() {
    let mut device = Device::new();
    device.pull(vec![
        node_row(N, theirs(1)),
        entry_row(root(), "a", Some(N)),
        node_row(P, theirs(2)),
        entry_row(root(), "other", Some(P)),
    ]);
    let saved = device.written(TOP, "a.tmp", b"mine");
    rename(&device, "a.tmp", "a");
    device.tree.link(saved, TOP, &name("b")).unwrap();
    rename(&device, "other", "b");
    let their_file = NodeId([44; 16]);
    device.pull(vec![gone(N), node_row(their_file, theirs(3)), entry_row(root(), "a", Some(their_file))]);
    let frozen = device.freeze();
    let said = frozen.iter().map(|_| (Outcome::Merged, Vec::new())).collect();
    answer(&mut device, &frozen, said);
    assert_eq!(device.tree.ino_of(their_file).unwrap(), Some(device.at("/a")));
}

#[test]
fn a_freeze_point_that_was_lost_is_taken_again_before_any_later_one() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"first");
    device.push();
    device.write(ino, 0, b"again");
    let [earlier] = device.tree.queue(10).unwrap().try_into().unwrap();
    device.tree.prepare(earlier.ticket).unwrap().unwrap();
    // This is no part of what is being sent: an operation of its own will bring it.
    device.write(ino, 0, b"later");
    device.tree.unprepare(earlier.ticket);
    let [first, second] = device.tree.queue(10).unwrap().try_into().unwrap();
    assert_eq!((first.ticket, first.readiness), (earlier.ticket, Readiness::Ready));
    assert_eq!(second.readiness, Readiness::InFlight, "it would be frozen before the earlier one and sent after it");
    device.push();
    assert_eq!(device.read(ino), b"later");
    assert!(!device.tree.content(ino).unwrap().is_dirty());
}

#[test]
fn bytes_that_were_saved_over_are_made_of_what_was_seen_then_after_a_crash_too() {
    let mut device = Device::new();
    device.written(TOP, "f", b"published");
    let OpKind::Create { node, .. } = device.push()[0].kind else { panic!("not created") };
    device.written(TOP, "g", b"published, too");
    device.push();
    device.written(TOP, ".f.tmp", b"saved");
    rename(&device, ".f.tmp", "f");
    rename(&device, "g", "f");
    let mut device = device.kill();
    let vector = VersionVector::default().with(ME, 1).with(OTHER, 1);
    device.pull(vec![
        node_row(node, remote_file(b"theirs", vector, OTHER)),
        entry_row(root(), "f", None),
        entry_row(root(), "moved", Some(node)),
    ]);
    let bases = device.push().into_iter().filter_map(|op| match op.kind {
        OpKind::Write { node: written, base, .. } if written == node => Some(base),
        _ => None,
    });
    let bases: Vec<VersionVector> = bases.collect();
    assert_eq!(bases, [VersionVector::default().with(ME, 1)], "they are in conflict with what others wrote");
}

/// A device that has unsent bytes and attributes for `/g`, the one name that is left of a file of others.
fn with_one_name_left() -> (Device, Ino) {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(1)), entry_row(root(), "f", Some(N))]);
    let ino = device.at("/f");
    device.tree.truncate(ino, 0).unwrap();
    device.write(ino, 0, b"mine");
    device.tree.link(ino, TOP, &name("g")).unwrap();
    device.tree.set_attrs(ino, &AttrChange { mode: Some(0o600), ..AttrChange::default() }).unwrap();
    // The bytes go out behind that, by the name that stays.
    device.tree.unlink(TOP, &name("f")).unwrap();
    (device, ino)
}

/// What the server says to all of it: others have written to the file meanwhile, and `sibling` shows what was sent.
pub(super) fn in_conflict(frozen: &[(Ticket, Operation)], sibling: Option<NodeId>) -> Vec<(Outcome, Vec<Row>)> {
    let conflict = ConflictId([9; 16]);
    let record = |op: &Operation| {
        let OpKind::Write { base, content, .. } = &op.kind else { panic!("{op:?}") };
        let mine = FileVersion { content: content.clone(), vector: base.clone().with(ME, op.counter), author: ME };
        let state = ConflictState {
            node: N,
            device: ME,
            device_name: "laptop".to_owned(),
            time: Timestamp::default(),
            theirs: mine.clone(),
            stayed: theirs(2).file.unwrap().content.version,
            sibling,
        };
        let shown = sibling.map(|sibling| node_row(sibling, NodeState { file: Some(mine), ..theirs(2) }));
        let row = Row::Conflict { conflict, state: Some(Box::new(state)) };
        [row].into_iter().chain(shown).collect()
    };
    let said = frozen.iter().map(|(_, op)| match &op.kind {
        OpKind::Link { .. } => (Outcome::Applied, vec![entry_row(root(), "g", Some(N))]),
        OpKind::SetAttr { .. } => (Outcome::Applied, vec![node_row(N, theirs(2))]),
        OpKind::Unlink { .. } => (Outcome::Applied, vec![entry_row(root(), "f", None)]),
        _ => (Outcome::Conflicted { conflict }, record(op)),
    });
    said.collect()
}

#[test]
fn what_lost_a_conflict_keeps_no_attributes_that_an_earlier_answer_settled() {
    for is_written_between in [false, true] {
        let (mut device, ino) = with_one_name_left();
        if is_written_between {
            let items = device.tree.queue(10).unwrap();
            let first = items.iter().filter(|item| item.content_of.is_none()).map(|item| (item.ticket, None)).collect();
            let frozen = device.tree.freeze(first).unwrap();
            answer(&mut device, &frozen, in_conflict(&frozen, None));
            device.write(ino, 0, b"more");
        }
        let frozen = device.freeze();
        answer(&mut device, &frozen, in_conflict(&frozen, None));
        assert_eq!(device.tree.queue_totals().operations, 0);
        let (shown, stayed) = (device.lookup(TOP, "g").unwrap().attrs, theirs(2).attrs);
        assert_eq!((shown.mode, shown.mtime), (stayed.mode, stayed.mtime), "written between: {is_written_between}");
    }
}

#[test]
fn an_open_sibling_keeps_what_it_shows_when_its_device_loses_again() {
    let mut device = Device::new();
    let file = vec![node_row(N, theirs(1)), entry_row(root(), "f", Some(N))];
    device.pull([file, vec![node_row(P, theirs(3)), entry_row(root(), "beside", Some(P))]].concat());
    let sibling = device.at("/beside");
    device.tree.opened(sibling, false).unwrap();
    device.write(device.at("/f"), 0, b"mine, and longer");
    let frozen = device.freeze();
    answer(&mut device, &frozen, in_conflict(&frozen, Some(P)));
    assert_eq!(device.tree.stat(sibling).unwrap().size_bytes, 8, "who has it open");
    assert_eq!(device.lookup(TOP, "beside").unwrap().size_bytes, 16);
    device.journal.drain().unwrap();
    assert_eq!(device.tree.row_faults(10).unwrap().1, []);
}
