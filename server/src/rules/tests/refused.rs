//! What is refused whatever the state, and leaves nothing half done.

use super::state::*;
use crate::rules::{EntryRow, NodeSlot, check_content, decide};
use std::collections::BTreeMap;
use tarn_proto::api::Outcome;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, DeviceId, NodeId, SpaceId};
use tarn_proto::limits;
use tarn_proto::manifest::{Manifest, ManifestEntry};
use tarn_proto::node::{AttrChange, Attrs, ByteString, Content, NodeKind, Timestamp};
use tarn_proto::op::OpKind;
use tarn_proto::version::VersionVector;

fn refused(s: &mut State, kind: OpKind) -> ErrorCode {
    let decision = s.run(B, kind, Some("alt"));
    assert_eq!(decision.effects, None);
    match decision.outcome {
        Outcome::Refused { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

fn special(s: &mut State, kind: NodeKind, attrs: Attrs) -> OpKind {
    OpKind::Create { node: s.node(), place: top("x"), kind, attrs, content: None }
}

#[test]
fn parents_must_be_known_folders() {
    let mut s = State::new();
    let (f, _) = s.some_file(&top("f"), "one");
    let (x, unknown) = (s.node(), s.node());
    assert_eq!(refused(&mut s, dir(x, &at(unknown, "x"))), ErrorCode::UnknownParent);
    assert_eq!(refused(&mut s, dir(x, &at(f, "x"))), ErrorCode::NotADirectory);
    assert_eq!(refused(&mut s, rename(f, &top("f"), &at(unknown, "f"))), ErrorCode::UnknownParent);
}

#[test]
fn unknown_nodes_are_not_changed() {
    let mut s = State::new();
    let (x, content) = (s.node(), s.content("one"));
    let none = VersionVector::default();
    let set = OpKind::SetAttr { node: x, attrs: AttrChange::default() };
    for kind in [
        write(x, &top("x"), &none, content),
        set,
        OpKind::Link { node: x, place: top("x") },
        rename(x, &top("x"), &top("y")),
    ] {
        assert_eq!(refused(&mut s, kind), ErrorCode::UnknownNode);
    }
}

#[test]
fn ids_are_never_taken_twice() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "one");
    assert_eq!(refused(&mut s, dir(f, &top("g"))), ErrorCode::NodeExists);
    let two = s.content("two");
    s.applied(A, write(f, &top("f"), &base, two.clone()));
    let present = s.vector_of(f);
    let other = Content { version: two.version, ..s.content("three") };
    assert_eq!(refused(&mut s, write(f, &top("f"), &present, other)), ErrorCode::AlreadyExists);
    let three = s.content("three");
    assert_eq!(refused(&mut s, file(f, &top("g"), three.clone())), ErrorCode::NodeExists);
    s.applied(A, unlink(&top("f"), f, &present));
    assert_eq!(refused(&mut s, file(f, &top("g"), three)), ErrorCode::NodeExists);
}

#[test]
fn the_root_stays_where_it_is() {
    let mut s = State::new();
    assert_eq!(refused(&mut s, rename(ROOT, &top("x"), &top("y"))), ErrorCode::WrongKind);
    assert_eq!(refused(&mut s, OpKind::Link { node: ROOT, place: top("x") }), ErrorCode::WrongKind);
    s.merged(B, unlink(&top("x"), ROOT, &VersionVector::default()), None);
}

#[test]
fn operations_fit_the_kind_of_their_node() {
    let mut s = State::new();
    let d = s.some_dir("d");
    let content = s.content("one");
    let none = VersionVector::default();
    assert_eq!(refused(&mut s, write(d, &top("d"), &none, content.clone())), ErrorCode::WrongKind);
    assert_eq!(refused(&mut s, OpKind::Link { node: d, place: top("x") }), ErrorCode::WrongKind);
    s.applied(A, unlink(&top("d"), d, &none));
    assert_eq!(refused(&mut s, write(d, &top("d"), &none, content.clone())), ErrorCode::WrongKind);
    let x = s.node();
    let with_content = OpKind::Create {
        node: x,
        place: top("x"),
        kind: NodeKind::Dir,
        attrs: Attrs::default(),
        content: Some(content),
    };
    assert_eq!(refused(&mut s, with_content), ErrorCode::WrongKind);
    let empty = special(&mut s, NodeKind::File, Attrs::default());
    assert_eq!(refused(&mut s, empty), ErrorCode::WrongKind);
}

#[test]
fn spaces_cannot_be_attached() {
    let mut s = State::new();
    let mount = special(&mut s, NodeKind::Mount { space: SpaceId([5; 16]) }, Attrs::default());
    assert_eq!(refused(&mut s, mount), ErrorCode::Forbidden);
    let attach = OpKind::Attach { node: s.node(), place: top("x"), space: SpaceId([5; 16]) };
    assert_eq!(refused(&mut s, attach), ErrorCode::Forbidden);
}

#[test]
fn attributes_have_limits() {
    let mut s = State::new();
    let d = s.some_dir("d");
    let big = BTreeMap::from([("user.x".to_owned(), ByteString(vec![0; limits::XATTRS_BYTES_MAX]))]);
    let unnamed = BTreeMap::from([(String::new(), ByteString::default())]);
    let bad = [
        Attrs { mode: 0o10_0000, ..Attrs::default() },
        Attrs { mtime: Timestamp { secs: 0, nanos: 1_000_000_000 }, ..Attrs::default() },
        Attrs { xattrs: big, ..Attrs::default() },
        Attrs { xattrs: unnamed, ..Attrs::default() },
    ];
    for attrs in bad {
        let change = AttrChange {
            mode: Some(attrs.mode),
            mtime: Some(attrs.mtime),
            xattrs: attrs.xattrs.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect(),
            ..AttrChange::default()
        };
        assert_eq!(refused(&mut s, OpKind::SetAttr { node: d, attrs: change }), ErrorCode::BadAttributes);
        let create = special(&mut s, NodeKind::Fifo, attrs);
        assert_eq!(refused(&mut s, create), ErrorCode::BadAttributes);
    }
    for target in [vec![], vec![b'a'; limits::SYMLINK_BYTES_MAX + 1], vec![b'a', 0]] {
        let create = special(&mut s, NodeKind::Symlink { target }, Attrs::default());
        assert_eq!(refused(&mut s, create), ErrorCode::BadAttributes);
    }
}

#[test]
fn an_attribute_without_a_possible_name_is_not_removed_either() {
    let mut s = State::new();
    let d = s.some_dir("d");
    for bad in ["".to_owned(), "a\0".to_owned(), "a".repeat(256)] {
        let attrs = AttrChange { xattrs: BTreeMap::from([(bad, None)]), ..AttrChange::default() };
        assert_eq!(refused(&mut s, OpKind::SetAttr { node: d, attrs }), ErrorCode::BadAttributes);
    }
}

#[test]
fn what_is_as_large_as_it_may_be_is_not_refused() {
    let mut s = State::new();
    let last = Timestamp { secs: 0, nanos: 999_999_999 };
    let value = ByteString(vec![0; limits::XATTRS_BYTES_MAX - 255]);
    let xattrs = BTreeMap::from([("a".repeat(255), value)]);
    let attrs = Attrs { mode: 0o7777, mtime: last, xattrs, ..Attrs::default() };
    let target = vec![b'a'; limits::SYMLINK_BYTES_MAX];
    let link = special(&mut s, NodeKind::Symlink { target }, attrs);
    s.applied(B, link);
}

#[test]
fn a_vector_has_room_for_so_many_devices() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "one");
    let with =
        |count: usize| (1..count as u128).fold(base.clone(), |all, n| all.with(DeviceId((n << 64).to_be_bytes()), 1));
    let (two, three) = (s.content("two"), s.content("three"));
    let most = with(limits::VECTOR_DEVICES_MAX);
    s.applied(A, write(f, &top("f"), &most, two));
    let more = with(limits::VECTOR_DEVICES_MAX + 1);
    assert_eq!(refused(&mut s, write(f, &top("f"), &more, three)), ErrorCode::BadRequest);
}

#[test]
fn a_file_is_too_large_whatever_its_manifest_says() {
    let mut s = State::new();
    let why = |size: u64, s: &mut State| check_content(&Content { size, ..s.content("") }).unwrap_err();
    assert!(why(limits::FILE_BYTES_MAX + 1, &mut s).contains("larger"));
    assert!(why(limits::FILE_BYTES_MAX, &mut s).contains("manifest"));
}

/// The root, and folders in it up to so many in all.
fn chain(s: &mut State, count: usize) -> NodeId {
    let row = s.row(ROOT).unwrap().clone();
    (1..count).fold(ROOT, |parent, _| {
        let node = s.node();
        let entry = EntryRow { node, seq: 0, device: row.device, meant_for: None };
        s.snapshot.load_node(node, NodeSlot::Present(row.clone()), [(at(parent, "d"), entry)]);
        node
    })
}

#[test]
fn no_place_is_deeper_than_the_limit() {
    for (count, is_too_deep) in [(limits::DEPTH_MAX, false), (limits::DEPTH_MAX + 1, true)] {
        let mut s = State::new();
        let (deepest, x) = (chain(&mut s, count), s.node());
        let op = s.op(A, dir(x, &at(deepest, "x")), None);
        let outcome = decide(&s.snapshot, &s.server(), &op, 1).unwrap().outcome;
        assert_eq!(matches!(outcome, Outcome::Refused { code: ErrorCode::TooDeep, .. }), is_too_deep, "{outcome:?}");
    }
}

#[test]
fn manifests_add_up() {
    let mut s = State::new();
    let entry = ManifestEntry { id: ChunkId([1; 32]), length: 3, stored: 3 };
    for (size, manifest) in [
        (4, Manifest { level: 0, entries: vec![entry] }),
        (1, Manifest::default()),
        (limits::FILE_BYTES_MAX + 1, Manifest::default()),
        (3, Manifest { level: 200, entries: vec![entry] }),
    ] {
        let content = Content { size, manifest, ..s.content("one") };
        let node = s.node();
        assert_eq!(refused(&mut s, file(node, &top("f"), content)), ErrorCode::BadManifest);
    }
}

#[test]
fn a_parent_that_cannot_be_brought_back_says_so() {
    let mut s = State::new();
    let d = s.some_dir("d");
    let inner = s.node();
    s.applied(A, dir(inner, &at(d, "inner")));
    s.applied(A, unlink(&top("d"), d, &VersionVector::default()));
    // A file has the folder's name by now.
    s.some_file(&top("d"), "one");
    let x: NodeId = s.node();
    assert_eq!(refused(&mut s, dir(x, &at(inner, "x"))), ErrorCode::ParentGone);
}
