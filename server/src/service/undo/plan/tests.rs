//! What a node was, read from its past.

use super::*;
use crate::rules::{EntryRow, NodeRow};
use tarn_proto::ids::{ContentId, DeviceId, SpaceId};
use tarn_proto::manifest::Manifest;
use tarn_proto::node::{Attrs, Content, FileVersion, NodeKind, NodeState};
use tarn_proto::version::VersionVector;

const NODE: NodeId = NodeId([1; 16]);
const SPACE: SpaceId = SpaceId([2; 16]);
const SOMEBODY: DeviceId = DeviceId([3; 16]);

/// A file since `seq`, with the content that `content_seq` brought.
fn state(seq: u64, seq_to: Option<u64>, content_seq: u64, mode: u32) -> NodeInterval {
    let id = content_seq as u8;
    let content = Content {
        version: VersionId([id; 16]),
        size: 1,
        content_id: ContentId([id; 32]),
        manifest: Manifest::default(),
    };
    let file = Some(FileVersion { content, vector: VersionVector::default(), author: SOMEBODY });
    let state = NodeState { kind: NodeKind::File, attrs: Attrs { mode, ..Attrs::default() }, file };
    let row = NodeRow { seq, device: SOMEBODY, content_seq, content_device: SOMEBODY, state };
    NodeInterval { node: NODE, space: SPACE, seq_to, row }
}

fn name(text: &str, seq: u64, seq_to: Option<u64>) -> EntryInterval {
    EntryInterval { place: place(text), seq_to, row: EntryRow { node: NODE, seq, device: SOMEBODY, meant_for: None } }
}

fn place(text: &str) -> Place {
    Place { parent: NodeId([9; 16]), name: Name::new(text).unwrap() }
}

fn planned(nodes: &[NodeInterval], names: &[EntryInterval], mine: &[u64]) -> Option<Undo> {
    plan(nodes, names, &mine.iter().copied().collect()).map(|plan| plan.undo)
}

fn content(undo: &Undo) -> Option<u8> {
    Some(undo.before.as_ref()?.file.as_ref()?.content.content_id.0[0])
}

#[test]
fn an_overwritten_file_is_what_it_was_before_the_first_of_the_device_s_writes() {
    let nodes = [state(1, Some(5), 1, 0o644), state(5, Some(6), 5, 0o644), state(6, None, 6, 0o600)];
    let undo = planned(&nodes, &[name("a", 1, None)], &[5, 6]).unwrap();
    assert_eq!((content(&undo), undo.is_built_on), (Some(1), false));
    assert_eq!(undo.before.unwrap().attrs.unwrap().mode, 0o644);
    assert!(undo.given.is_empty() && undo.taken.is_empty());
}

#[test]
fn what_others_wrote_over_it_is_built_on_it() {
    let nodes = [state(1, Some(5), 1, 0), state(5, Some(7), 5, 0), state(7, None, 7, 0)];
    let undo = planned(&nodes, &[name("a", 1, None)], &[5]).unwrap();
    assert_eq!((content(&undo), undo.is_built_on), (Some(1), true));
    assert_eq!(undo.before.unwrap().attrs, None, "the present ones are the others'");
}

#[test]
fn attributes_that_others_set_since_stay_though_the_content_goes_back() {
    let nodes = [state(1, Some(5), 1, 0), state(5, Some(7), 5, 0), state(7, None, 5, 0o700)];
    let undo = planned(&nodes, &[name("a", 1, None)], &[5]).unwrap();
    assert_eq!((content(&undo), undo.is_built_on), (Some(1), false));
    assert_eq!(undo.before.unwrap().attrs, None);
}

#[test]
fn what_it_made_goes_and_what_it_made_and_removed_is_nothing() {
    let made = planned(&[state(5, None, 5, 0)], &[name("a", 5, None)], &[5]).unwrap();
    assert_eq!((made.before, made.given), (None, vec![place("a")]));
    assert_eq!(planned(&[state(5, Some(6), 5, 0)], &[name("a", 5, Some(6))], &[5, 6]), None);
    let built = planned(&[state(5, Some(6), 5, 0), state(6, None, 6, 0)], &[name("a", 5, None)], &[5]).unwrap();
    assert!(built.before.is_none() && built.is_built_on);
}

#[test]
fn a_moved_node_goes_back_to_where_it_was_first() {
    let names = [name("a", 1, Some(5)), name("b", 5, Some(6)), name("c", 6, None)];
    let undo = planned(&[state(1, None, 1, 0)], &names, &[5, 6]).unwrap();
    assert_eq!((undo.given, undo.taken), (vec![place("c")], vec![place("a")]));
    let names = [name("a", 1, Some(5)), name("b", 5, Some(7)), name("c", 7, None)];
    let undo = planned(&[state(1, None, 1, 0)], &names, &[5]).unwrap();
    assert!(undo.given.is_empty() && undo.taken.is_empty(), "others moved it since");
}

#[test]
fn a_second_name_that_it_removed_comes_back_beside_the_first() {
    let names = [name("a", 1, None), name("b", 2, Some(5))];
    let undo = planned(&[state(1, None, 1, 0)], &names, &[5]).unwrap();
    assert_eq!((undo.given, undo.taken), (Vec::new(), vec![place("b")]));
}

#[test]
fn what_it_removed_comes_back_and_what_others_removed_does_not() {
    let nodes = [state(1, Some(4), 1, 0), state(4, Some(5), 4, 0)];
    let undo = planned(&nodes, &[name("a", 1, Some(5))], &[4, 5]).unwrap();
    assert_eq!((content(&undo), undo.taken), (Some(1), vec![place("a")]));
    assert_eq!(planned(&nodes, &[name("a", 1, Some(5))], &[4]), None);
}
