//! Tests that every wire type comes back from JSON and from the binary form as it went in.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::change::{ConflictState, Row};
use crate::ids::{ContentId, EpochId, JournalHash};
use crate::lost::{Lost, LostNode, RecoverRequest, RecoverResponse, Recovered};
use crate::manifest::{Manifest, ManifestEntry};
use crate::node::{AttrChange, Attrs, ByteString, Content, FileVersion, NodeKind};
use crate::op::{OpKind, Place, RenameMode, Seen};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

const NODE: NodeId = NodeId([0xff; 16]);
const SPACE: SpaceId = SpaceId([2; 16]);
const DEVICE: DeviceId = DeviceId([3; 16]);
const CONFLICT: ConflictId = ConflictId([4; 16]);

fn round_trips<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let json = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value, "{json}");
    assert_eq!(&from_binary::<T>(&to_binary(value)).unwrap(), value, "{json}");
}

/// Round trips all samples and checks that they cover `count` variants. `number` is a match without
/// `_`: a new variant does not compile until it has a number, and fails here until it has a sample.
fn covers<T: Serialize + DeserializeOwned + PartialEq + Debug>(samples: &[T], count: usize, number: fn(&T) -> usize) {
    samples.iter().for_each(round_trips);
    assert_eq!(samples.iter().map(number).collect::<BTreeSet<_>>(), (0..count).collect());
}

fn place() -> Place {
    Place { parent: NODE, name: Name::new(b"caf\xe9 \xff\n".as_slice()).unwrap() }
}

fn vector() -> VersionVector {
    VersionVector::default().with(DEVICE, u64::MAX).with(DeviceId([0; 16]), 1)
}

fn time() -> Timestamp {
    Timestamp { secs: -1, nanos: 999_999_999 }
}

fn seen() -> Seen {
    Seen { node: NODE, vector: vector(), seq: Some(7), alt_name: Some(place().name) }
}

fn cursor() -> Cursor {
    Cursor { epoch: EpochId([5; 16]), seq: 9, hash: JournalHash([6; 32]) }
}

fn content() -> Content {
    let entry = ManifestEntry { id: ChunkId([0xfe; 32]), length: 7, stored: u64::MAX };
    let manifest = Manifest { level: 0, entries: vec![entry] };
    Content { version: VersionId([8; 16]), size: 7, content_id: ContentId([9; 32]), manifest }
}

fn attrs() -> Attrs {
    let xattrs = [("user.a".to_owned(), ByteString(vec![0, 255])), ("user.empty".to_owned(), ByteString(vec![]))];
    Attrs { mode: 0o7777, uid: 1, mtime: time(), flags: 4, xattrs: xattrs.into(), ..Attrs::default() }
}

fn attr_change() -> AttrChange {
    let xattrs = [("user.a".to_owned(), Some(ByteString(vec![1]))), ("user.gone".to_owned(), None)];
    AttrChange { mode: Some(0), ctime: Some(time()), xattrs: xattrs.into(), ..AttrChange::default() }
}

fn file_version() -> FileVersion {
    FileVersion { content: content(), vector: vector(), author: DEVICE }
}

fn node_state() -> NodeState {
    NodeState { kind: NodeKind::File, attrs: attrs(), file: Some(file_version()) }
}

fn conflict_state() -> ConflictState {
    ConflictState {
        node: NODE,
        device: DEVICE,
        device_name: "laptop \u{1f5a5}".to_owned(),
        time: time(),
        theirs: file_version(),
        stayed: VersionId([1; 16]),
        sibling: None,
    }
}

fn kinds() -> Vec<NodeKind> {
    vec![
        NodeKind::File,
        NodeKind::Dir,
        NodeKind::Symlink { target: b"../\xff".to_vec() },
        NodeKind::Fifo,
        NodeKind::Socket,
        NodeKind::CharDevice { rdev: u64::MAX },
        NodeKind::BlockDevice { rdev: 0 },
        NodeKind::Mount { space: SPACE },
    ]
}

fn op_kinds() -> Vec<OpKind> {
    let rename = |mode, displaced| OpKind::Rename { from: place(), to: place(), seen: seen(), displaced, mode };
    let create = |kind, content| OpKind::Create { node: NODE, place: place(), kind, attrs: attrs(), content };
    vec![
        create(NodeKind::Dir, None),
        create(NodeKind::File, Some(content())),
        OpKind::Write { node: NODE, place: place(), base: vector(), content: content(), attrs: attr_change() },
        OpKind::SetAttr { node: NODE, attrs: attr_change() },
        OpKind::Link { node: NODE, place: place() },
        OpKind::Unlink { place: place(), seen: seen() },
        rename(RenameMode::Replace, Some(Seen { seq: None, ..seen() })),
        rename(RenameMode::NoReplace, None),
        rename(
            RenameMode::Exchange,
            Some(Seen { node: NODE, vector: VersionVector::default(), seq: None, alt_name: None }),
        ),
        OpKind::Attach { node: NODE, place: place(), space: SPACE },
    ]
}

fn operations() -> Vec<Operation> {
    let names = [None, Some(place().name)];
    let op = |(counter, kind)| Operation { counter, time: time(), alt_name: names[counter as usize % 2].clone(), kind };
    (1..).zip(op_kinds()).map(op).collect()
}

fn rows() -> Vec<Row> {
    vec![
        Row::Node { node: NODE, state: Some(Arc::new(node_state())) },
        Row::Node { node: NODE, state: None },
        Row::Entry { parent: NODE, name: place().name, node: Some(NODE) },
        Row::Entry { parent: NODE, name: place().name, node: None },
        Row::Alias { node: NODE, target: NODE },
        Row::Conflict { conflict: CONFLICT, state: Some(Box::new(conflict_state())) },
        Row::Conflict { conflict: CONFLICT, state: None },
    ]
}

fn changes() -> Vec<Change> {
    (1..).zip(rows()).map(|(seq, row)| Change { seq, row }).collect()
}

fn outcomes() -> Vec<Outcome> {
    vec![
        Outcome::Applied,
        Outcome::Merged,
        Outcome::Conflicted { conflict: CONFLICT },
        Outcome::Refused { code: ErrorCode::Cycle, detail: "it would contain itself".to_owned() },
        Outcome::RetryLater { code: ErrorCode::MissingChunks, missing: vec![ChunkId([1; 32]); 3] },
        Outcome::NeedsName,
        Outcome::Skipped,
    ]
}

#[test]
fn every_node_kind_round_trips() {
    covers(&kinds(), 8, |kind| match kind {
        NodeKind::File => 0,
        NodeKind::Dir => 1,
        NodeKind::Symlink { .. } => 2,
        NodeKind::Fifo => 3,
        NodeKind::Socket => 4,
        NodeKind::CharDevice { .. } => 5,
        NodeKind::BlockDevice { .. } => 6,
        NodeKind::Mount { .. } => 7,
    });
}

#[test]
fn every_operation_round_trips() {
    covers(&op_kinds(), 9, |kind| match kind {
        OpKind::Create { .. } => 0,
        OpKind::Write { .. } => 1,
        OpKind::SetAttr { .. } => 2,
        OpKind::Link { .. } => 3,
        OpKind::Unlink { .. } => 4,
        OpKind::Rename { mode: RenameMode::Replace, .. } => 5,
        OpKind::Rename { mode: RenameMode::NoReplace, .. } => 6,
        OpKind::Rename { mode: RenameMode::Exchange, .. } => 7,
        OpKind::Attach { .. } => 8,
    });
    round_trips(&PushRequest { cursor: cursor(), answered: 3, ops: operations() });
}

#[test]
fn every_row_round_trips() {
    covers(&rows(), 4, |row| match row {
        Row::Node { .. } => 0,
        Row::Entry { .. } => 1,
        Row::Alias { .. } => 2,
        Row::Conflict { .. } => 3,
    });
    round_trips(&PullResponse { upto: cursor(), changes: changes(), next: Some("p2".to_owned()), usage: None });
}

#[test]
fn every_outcome_round_trips() {
    covers(&outcomes(), 7, |outcome| match outcome {
        Outcome::Applied => 0,
        Outcome::Merged => 1,
        Outcome::Conflicted { .. } => 2,
        Outcome::Refused { .. } => 3,
        Outcome::RetryLater { .. } => 4,
        Outcome::NeedsName => 5,
        Outcome::Skipped => 6,
    });
    let answer = |(counter, outcome)| Answer { counter, outcome, changes: changes() };
    let answers = (1..).zip(outcomes()).map(answer).collect();
    let usage = Usage { bytes_used: 7, bytes_max: Some(9) };
    round_trips(&PushResponse { answers, before: cursor(), after: cursor(), usage: Some(usage) });
}

#[test]
fn only_final_answers_settle_an_operation() {
    let settled: Vec<bool> = outcomes().iter().map(Outcome::is_settled).collect();
    assert_eq!(settled, [true, true, true, true, false, false, false]);
}

#[test]
fn notices_round_trip() {
    covers(&[Notice::Changed { space: SPACE, seq: 7 }, Notice::Revoked], 2, |notice| match notice {
        Notice::Changed { .. } => 0,
        Notice::Revoked => 1,
    });
    round_trips(&NotifyMessage::Receipt(Receipt { space: SPACE, cursor: cursor() }));
}

#[test]
fn accounts_and_devices_round_trip() {
    let login = |device| LoginRequest {
        user: "ana".to_owned(),
        password: "p\u{e4}ss".to_owned(),
        device_name: "laptop".to_owned(),
        device,
    };
    round_trips(&login(None));
    round_trips(&login(Some(DEVICE)));
    round_trips(&LoginResponse { user: UserId([1; 16]), device: DEVICE, token: "t".to_owned(), home: SPACE });
    let device = |last_seen| DeviceInfo {
        device: DEVICE,
        name: "n".to_owned(),
        enrolled: time(),
        last_seen,
        revoked: false,
        current: true,
    };
    round_trips(&DevicesResponse { devices: vec![device(None), device(Some(time()))] });
    let space = |bytes_max| SpaceInfo {
        space: SPACE,
        home: true,
        root: NodeId::root_of(SPACE),
        cursor: cursor(),
        epochs: vec![EpochStart { epoch: EpochId([5; 16]), seq: 9 }],
        bytes_used: 1,
        bytes_max,
    };
    round_trips(&SpacesResponse { spaces: vec![space(None), space(Some(u64::MAX))] });
}

#[test]
fn listings_round_trip() {
    let child = ChildEntry { name: place().name, entry_seq: 1, node: NODE, node_seq: 2, state: node_state() };
    round_trips(&ChildrenResponse {
        seq: 3,
        node: node_state(),
        node_seq: 2,
        children: vec![child],
        next: None,
        epoch: Some(EpochId([1; 16])),
    });
    let summary = ContentSummary { size: 7, content_id: ContentId([9; 32]) };
    let version = VersionInfo {
        version: VersionId([1; 16]),
        content: summary,
        vector: vector(),
        author: DEVICE,
        seq: 4,
        time: time(),
    };
    round_trips(&VersionsResponse { versions: vec![version] });
    let conflict = ConflictInfo { conflict: CONFLICT, space: SPACE, state: conflict_state() };
    round_trips(&ConflictsResponse { conflicts: vec![conflict] });
}

#[test]
fn chunk_calls_round_trip() {
    let since = Timestamp { secs: 5, nanos: 6 };
    round_trips(&UndoRequest { device: DeviceId([3; 16]), since });
    let left = UndoLeft { node: NODE, name: Some(place().name), why: "taken".into() };
    round_trips(&UndoResponse { undone: 1, conflicts: 2, left: vec![left], seq: 4 });
    round_trips(&MissingRequest { ids: vec![ChunkId([1; 32]), ChunkId([0xff; 32])] });
    round_trips(&MissingResponse { missing: vec![] });
    round_trips(&UploadResponse { accepted: 2, stored: 1 });
    let range = ChunkRange { id: ChunkId([1; 32]), first_frame: 0, frame_count: u32::MAX };
    round_trips(&FetchRequest { ranges: vec![range; 2] });
}

#[test]
fn recovery_round_trips() {
    let (node, alt_name) = (NODE, Some(place().name));
    let gone = LostNode { node, seq: 3, state: None, places: vec![], alt_name: None };
    let there =
        LostNode { node, seq: 4, state: Some(Box::new(node_state())), places: vec![place(), place()], alt_name };
    let rows = vec![
        Lost::Node(gone),
        Lost::Node(there),
        Lost::Freed { place: place(), seq: 5 },
        Lost::Alias { node, target: NodeId([1; 16]) },
        Lost::Conflict { conflict: CONFLICT, seq: 6, state: Box::new(conflict_state()) },
    ];
    round_trips(&RecoverRequest { epoch: EpochId([5; 16]), fork: 2, upto: 7, rows });
    let answers = vec![Recovered::Done, Recovered::MissingChunks, Recovered::Refused("no".into())];
    round_trips(&RecoverResponse { answers, seq: u64::MAX });
}

#[test]
fn ids_are_hex_in_json_and_bytes_in_the_binary_form() {
    assert_eq!(serde_json::to_string(&SPACE).unwrap(), format!("\"{}\"", "02".repeat(16)));
    assert_eq!(to_binary(&SPACE).len(), 16 + 2);
    assert!(serde_json::from_str::<SpaceId>("\"0202\"").is_err());
    assert!(serde_json::from_str::<SpaceId>(&format!("\"{}\"", "0g".repeat(16))).is_err());
    assert!(from_binary::<SpaceId>(&to_binary(&DeviceId([1; 16]))[..9]).is_err());
}

#[test]
fn bad_names_are_refused_by_both_encodings() {
    for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 1_025]] {
        let value = ByteString(bad.to_vec());
        assert!(serde_json::from_slice::<Name>(&serde_json::to_vec(&value).unwrap()).is_err(), "{bad:?}");
        assert!(from_binary::<Name>(&to_binary(&value)).is_err(), "{bad:?}");
    }
}

#[test]
fn truncated_messages_are_errors() {
    let bytes = to_binary(&PushRequest { cursor: cursor(), answered: 3, ops: operations() });
    for length in 0..bytes.len() {
        assert!(from_binary::<PushRequest>(&bytes[..length]).is_err(), "{length}");
    }
}
