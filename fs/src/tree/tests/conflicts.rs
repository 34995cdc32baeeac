//! What a device says of a conflict that it hears of, whether or not anybody has looked at the files.

use super::fixture::*;
use tarn_proto::change::{ConflictState, Row};
use tarn_proto::ids::{ConflictId, NodeId};
use tarn_proto::node::{FileVersion, Timestamp};
use tarn_proto::version::VersionVector;

const FILE: NodeId = NodeId([40; 16]);
const SIBLING: NodeId = NodeId([41; 16]);

fn vector(counter: u64) -> VersionVector {
    VersionVector::default().with(OTHER, counter)
}

fn record(sibling: Option<NodeId>) -> ConflictState {
    ConflictState {
        node: FILE,
        device: OTHER,
        device_name: "laptop".to_owned(),
        time: Timestamp { secs: 1_795_000_000, nanos: 0 },
        theirs: FileVersion { content: content(b"theirs"), vector: vector(2), author: OTHER },
        stayed: content(b"stayed").version,
        sibling,
    }
}

/// A device that has pulled a contended file, and nobody has looked at it.
fn device(sibling: Option<NodeId>) -> Device {
    let mut device = Device::new();
    let mut rows = vec![
        node_row(FILE, remote_file(b"stayed", vector(5), OTHER)),
        entry_row(root(), "plan.txt", Some(FILE)),
        Row::Conflict { conflict: ConflictId([9; 16]), state: Some(Box::new(record(sibling))) },
    ];
    if let Some(sibling) = sibling {
        rows.push(node_row(sibling, remote_file(b"theirs", VersionVector::default().with(ME, 3), OTHER)));
        rows.push(entry_row(root(), "plan (other).txt", Some(sibling)));
    }
    device.pull(rows);
    device.restart()
}

#[test]
fn files_that_nobody_looked_at_have_paths_and_vectors() {
    let device = device(Some(SIBLING));
    let path = |node| device.tree.place_of(node).unwrap().map(|(_, path)| path);
    assert_eq!(path(SIBLING).as_deref(), Some(b"/plan (other).txt".as_slice()));
    assert_eq!(path(FILE).as_deref(), Some(b"/plan.txt".as_slice()));
    assert_eq!(path(NodeId([77; 16])), None);
    let file = device.tree.file_of_conflict(&record(Some(SIBLING))).unwrap();
    assert_eq!(file, Some((b"/plan.txt".to_vec(), Some(content(b"stayed").version))));
    let seen = device.tree.seen_of_conflict(&record(Some(SIBLING))).unwrap();
    assert_eq!((seen.file, seen.sibling), (vector(5), vector(2).with(ME, 3)));
}

#[test]
fn a_write_on_top_of_what_was_seen_claims_no_more_than_that() {
    let mut device = device(None);
    device.write(device.at("/plan.txt"), 0, b"STAYED");
    device.pull(vec![node_row(FILE, remote_file(b"newer", vector(8), OTHER))]);
    assert_eq!(device.tree.seen_of_conflict(&record(None)).unwrap().file, vector(5));
}

#[test]
fn a_version_without_a_file_gets_names_beside_the_other() {
    let device = device(None);
    let name = |tries| device.tree.name_beside(&record(None), tries).unwrap().unwrap().to_string();
    assert_eq!(name(0), "plan (conflict from laptop 2026-11-18).txt");
    assert_eq!(name(1), "plan (conflict from laptop 2026-11-18 2).txt");
}

#[test]
fn a_resolved_conflict_is_forgotten() {
    let mut device = device(None);
    let open = |device: &Device| {
        device.journal.drain().unwrap();
        device.journal.readers().get().unwrap().conflicts().unwrap().len()
    };
    assert_eq!(open(&device), 1);
    device.pull(vec![Row::Conflict { conflict: ConflictId([9; 16]), state: None }]);
    assert_eq!(open(&device), 0);
}

#[test]
fn each_word_of_a_conflict_is_news() {
    let mut device = device(None);
    let before = device.tree.conflict_news();
    device.pull(vec![Row::Conflict { conflict: ConflictId([9; 16]), state: None }]);
    assert_eq!((before, device.tree.conflict_news()), (0, 1));
}
