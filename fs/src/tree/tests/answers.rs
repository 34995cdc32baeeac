//! What an answer means for what is here: bytes are clean, a conflict's sibling's, or still to be sent; attributes go; a folder is
//! known, or another one.

use super::faults;
use super::fixture::*;
use super::growing::head;
use super::late::{N, P, answer, in_conflict, theirs};
use crate::content::Read;
use crate::env::CrashDisk;
use crate::meta::rows::Ino;
use crate::tree::{Invalidation, Loaded, TreeError};
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::{Change, Row};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ConflictId, NodeId};
use tarn_proto::node::{AttrChange, Attrs, NodeKind, NodeState, Timestamp};
use tarn_proto::op::{OpKind, Operation};

const Q: NodeId = NodeId([44; 16]);

/// A device with `/f` of others, written to.
fn written_over() -> (Device, Ino) {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(1)), entry_row(root(), "f", Some(N))]);
    let ino = device.at("/f");
    device.write(ino, 0, b"mine, and longer");
    (device, ino)
}

#[test]
fn bytes_are_not_taken_for_sent_by_an_answer_that_tells_of_others_bytes() {
    let (mut device, ino) = written_over();
    let frozen = device.freeze();
    answer(&mut device, &frozen, vec![(Outcome::Applied, vec![node_row(N, theirs(2))])]);
    assert!(device.tree.content(ino).unwrap().is_dirty());
    assert_eq!(device.read(ino), b"mine, and longer");
}

#[test]
fn what_lost_a_conflict_goes_to_the_sibling_of_that_conflict() {
    let (mut device, _) = written_over();
    device.pull(vec![entry_row(root(), "other", Some(Q)), entry_row(root(), "beside", Some(P))]);
    let frozen = device.freeze();
    let rows = |sibling| in_conflict(&frozen, Some(sibling)).remove(0).1;
    let other = rows(Q).into_iter().map(|row| match row {
        Row::Conflict { state, .. } => Row::Conflict { conflict: ConflictId([8; 16]), state },
        row => row,
    });
    let said: Vec<Row> = other.chain(rows(P)).collect();
    answer(&mut device, &frozen, vec![(Outcome::Conflicted { conflict: ConflictId([9; 16]) }, said)]);
    assert_eq!(device.read(device.at("/beside")), b"mine, and longer");
    assert!(!device.tree.content(device.at("/other")).unwrap().is_complete());
}

#[test]
fn who_has_a_file_open_that_loses_a_conflict_goes_on_with_what_was_written() {
    let (mut device, ino) = written_over();
    device.tree.opened(ino, false).unwrap();
    let frozen = device.freeze();
    answer(&mut device, &frozen, in_conflict(&frozen, Some(P)));
    assert_eq!(device.read(ino), b"mine, and longer");
    assert_eq!(device.lookup(TOP, "f").unwrap().size_bytes, 8);
}

#[test]
fn bytes_that_are_on_their_way_once_more_stay_when_the_first_try_loses_a_conflict() {
    let (mut device, ino) = written_over();
    let first = device.tree.first_ticket().unwrap();
    device.tree.prepare(first).unwrap().unwrap();
    device.write(ino, 0, b"more");
    device.tree.unprepare(first);
    let second = device.tree.last_ticket().unwrap();
    assert_ne!(first, second);
    let content = device.content_of(&device.read(ino));
    for ticket in [first, second] {
        device.tree.prepare(ticket).unwrap().unwrap();
    }
    let sent = device.tree.freeze(vec![(first, Some(content.clone()))]).unwrap();
    answer(&mut device, &sent, in_conflict(&sent, Some(P)));
    assert_eq!(device.read(ino), b"more, and longer");
    let sent = device.tree.freeze(vec![(second, Some(content))]).unwrap();
    let OpKind::Write { base, .. } = &sent[0].1.kind else { panic!("{sent:?}") };
    assert_eq!(base, &theirs(1).file.unwrap().vector.with(ME, sent[0].1.counter - 1));
}

#[test]
fn what_the_server_has_is_on_the_disk_or_not_taken_for_local_after_a_power_cut() {
    let disk = CrashDisk::new();
    let tree = faults::open(&disk).unwrap().tree;
    tree.begin_load().unwrap();
    tree.finish_load(Loaded::first(cursor(0))).unwrap();
    let (bytes, ino) = (vec![7; 100_000], tree.create(TOP, &name("f"), new(NodeKind::File)).unwrap().ino);
    tree.opened(ino, true).unwrap();
    tree.write(ino, 0, &bytes).unwrap();
    tree.closed(ino, true).unwrap();
    let ticket = tree.last_ticket().unwrap();
    tree.prepare(ticket).unwrap().unwrap();
    let (_, op) = tree.freeze(vec![(ticket, Some(content(&bytes)))]).unwrap().remove(0);
    let changes = applied_rows(&op).into_iter().map(|row| Change { seq: 1, row }).collect();
    let answer = Answer { counter: op.counter, outcome: Outcome::Applied, changes };
    tree.settle(&[(ticket, answer)], cursor(0), cursor(1)).unwrap();
    tree.sync_log().unwrap();
    let mut is_kept = false;
    let every_other = || {
        is_kept = !is_kept;
        is_kept
    };
    let life = faults::open(&disk.power_cut(every_other)).unwrap();
    let content = life.tree.content(life.tree.resolve(b"/f").unwrap()).unwrap();
    match content.read(0, bytes.len()).unwrap() {
        Read::Bytes(found) => assert!(found == bytes),
        Read::Missing(_) => {}
    }
}

#[test]
fn attributes_that_were_never_sent_go_with_the_removal_whose_answer_says_nothing_of_the_file() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(1)), entry_row(root(), "f", Some(N))]);
    device.tree.set_attrs(device.at("/f"), &AttrChange { mode: Some(0o600), ..AttrChange::default() }).unwrap();
    device.tree.unlink(TOP, &name("f")).unwrap();
    device.pull(vec![entry_row(root(), "link", Some(N))]);
    let frozen = device.freeze();
    answer(&mut device, &frozen, vec![(Outcome::Applied, vec![entry_row(root(), "f", None)])]);
    assert_eq!(device.lookup(TOP, "link").unwrap().attrs.mode, 0o644);
}

#[test]
fn a_file_that_somebody_still_writes_to_has_the_times_that_others_set_once_its_own_were_sent() {
    let mut device = Device::new();
    let ino = device.file(TOP, "f").ino;
    device.tree.opened(ino, true).unwrap();
    device.tree.write(ino, 0, b"mine").unwrap();
    let ticket = device.tree.last_ticket().unwrap();
    device.tree.prepare(ticket).unwrap().unwrap();
    let content = device.content_of(b"mine");
    let sent = device.tree.freeze(vec![(ticket, Some(content))]).unwrap();
    let rows = applied_rows(&sent[0].1);
    let Row::Node { node, state: Some(state) } = rows[0].clone() else { panic!("{rows:?}") };
    answer(&mut device, &sent, vec![(Outcome::Applied, rows)]);
    let attrs = Attrs { mtime: Timestamp { secs: 5, nanos: 0 }, ..state.attrs.clone() };
    device.pull(vec![node_row(node, NodeState { attrs, ..(*state).clone() })]);
    assert_eq!(device.tree.stat(ino).unwrap().attrs.mtime.secs, 5);
}

#[test]
fn a_folder_that_was_merged_with_what_others_have_is_not_known_before_it_is_listed() {
    let mut device = Device::unloaded();
    device.listed(root(), head(0));
    device.folder(TOP, "d");
    let frozen = device.freeze();
    let rows = applied_rows(&frozen[0].1);
    answer(&mut device, &frozen, vec![(Outcome::Merged, rows)]);
    let device = device.restart();
    assert!(matches!(device.lookup(device.at("/d"), "f"), Err(TreeError::Unlisted(_))));
}

#[test]
fn what_was_made_in_a_folder_is_in_the_one_that_it_turns_out_to_be_though_programs_know_that_one() {
    let mut device = Device::new();
    device.pull(vec![node_row(P, folder()), entry_row(root(), "elsewhere", Some(P))]);
    let theirs = device.at("/elsewhere");
    let ours = device.folder(TOP, "d").ino;
    let ino = device.written(ours, "f", b"mine");
    device.pull(vec![entry_row(root(), "elsewhere", None), entry_row(root(), "d", Some(P))]);
    let ticket = device.tree.first_ticket().unwrap();
    let frozen = device.tree.freeze(vec![(ticket, None)]).unwrap();
    let OpKind::Create { node, .. } = frozen[0].1.kind else { panic!("{frozen:?}") };
    let rows = vec![Row::Alias { node, target: P }, node_row(P, folder()), entry_row(root(), "d", Some(P))];
    answer(&mut device, &frozen, vec![(Outcome::Merged, rows)]);
    assert_eq!(device.at("/d"), theirs);
    assert_eq!(device.list(theirs), ["f"]);
    assert_eq!(device.at("/d/f"), ino);
    let frozen = device.freeze();
    let [(_, Operation { kind: OpKind::Create { place, .. }, .. })] = &frozen[..] else { panic!("{frozen:?}") };
    assert_eq!((place.parent, &place.name), (P, &name("f")));
}

#[test]
fn a_name_of_a_file_that_is_gone_is_not_asked_for_elsewhere() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(1)), entry_row(root(), "f", Some(N))]);
    device.tree.link(device.at("/f"), TOP, &name("g")).unwrap();
    let frozen = device.freeze();
    device.pull(vec![entry_row(root(), "f", None), gone(N)]);
    let outcome = Outcome::Refused { code: ErrorCode::UnknownNode, detail: String::new() };
    answer(&mut device, &frozen, vec![(outcome, Vec::new())]);
    assert_eq!(device.list(TOP), [""; 0]);
}

#[test]
fn a_folder_that_turns_out_to_be_others_has_their_attributes_and_the_kernel_hears_of_what_is_in_it() {
    let mut device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    let told = device.watched();
    let frozen = device.freeze();
    let OpKind::Create { node, .. } = frozen[0].1.kind else { panic!("{frozen:?}") };
    let others = NodeState { attrs: Attrs { mode: 0o700, ..folder().attrs }, ..folder() };
    let mut rows = vec![Row::Alias { node, target: P }, node_row(P, others), entry_row(root(), "d", Some(P))];
    rows.extend([node_row(N, theirs(1)), entry_row(P, "x", Some(N))]);
    answer(&mut device, &frozen, vec![(Outcome::Merged, rows)]);
    assert_eq!(device.lookup(TOP, "d").unwrap().attrs.mode, 0o700);
    assert!(told.has(&Invalidation::Entry { parent: dir, name: name("x") }));
    assert_eq!((device.at("/d"), device.list(dir)), (dir, vec!["x".to_owned()]));
}

#[test]
fn bytes_that_were_never_sent_are_sent_when_others_had_moved_the_removed_file_before_the_answer() {
    let mut device = Device::new();
    let node = device.removed_with_late_bytes("f");
    device.pull(vec![entry_row(root(), "f", None), entry_row(root(), "g", Some(node))]);
    let frozen = device.freeze();
    answer(&mut device, &frozen, vec![(Outcome::Merged, Vec::new())]);
    assert_eq!(device.read(device.at("/g")), b"late");
    assert_eq!(device.tree.queue_totals().operations, 1);
}

#[test]
fn bytes_are_sent_by_the_name_that_stays_if_the_file_went_with_the_one_that_was_removed() {
    for is_gone in [false, true] {
        let mut device = Device::new();
        let ino = device.written(TOP, "f", b"first");
        device.tree.link(ino, TOP, &name("g")).unwrap();
        let OpKind::Create { node, .. } = device.push()[0].kind else { panic!() };
        device.write(ino, 0, b"later");
        let written = device.freeze();
        device.tree.unlink(TOP, &name("f")).unwrap();
        let rows = applied_rows(&written[0].1);
        answer(&mut device, &written, vec![(Outcome::Applied, rows)]);
        let ticket = device.tree.first_ticket().unwrap();
        let removal = device.tree.freeze(vec![(ticket, None)]).unwrap();
        let mut rows = vec![entry_row(root(), "f", None)];
        if is_gone {
            rows.extend([entry_row(root(), "g", None), gone(node)]);
        }
        answer(&mut device, &removal, vec![(Outcome::Applied, rows)]);
        let rest = device.push();
        let brings = |op: &Operation| matches!(op.kind, OpKind::Write { .. });
        assert_eq!(rest.iter().map(brings).collect::<Vec<_>>(), [is_gone], "{rest:?}");
    }
}

#[test]
fn attributes_go_by_what_the_answer_says_of_their_own_node() {
    let state = |mode| NodeState { attrs: Attrs { mode, ..theirs(1).attrs }, ..theirs(1) };
    let mut device = Device::new();
    device.pull(vec![node_row(N, state(0o644)), entry_row(root(), "f", Some(N))]);
    device.tree.set_attrs(device.at("/f"), &AttrChange { mode: Some(0o600), ..AttrChange::default() }).unwrap();
    let frozen = device.freeze();
    answer(&mut device, &frozen, vec![(Outcome::Applied, vec![node_row(N, state(0o640)), gone(Q)])]);
    assert_eq!(device.lookup(TOP, "f").unwrap().attrs.mode, 0o640);
    device.written(TOP, "g", b"mine");
    let frozen = device.freeze();
    let OpKind::Create { node, .. } = frozen[0].1.kind else { panic!("{frozen:?}") };
    let rows = vec![node_row(node, state(0o640)), entry_row(root(), "g", Some(node))];
    answer(&mut device, &frozen, vec![(Outcome::Merged, rows)]);
    assert_eq!(device.lookup(TOP, "g").unwrap().attrs.mode, 0o640);
}
