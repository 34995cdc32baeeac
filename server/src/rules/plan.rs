//! Owns which rows an operation will surely need, so that a batch's rows are loaded together.
//!
//! It need not be complete: what is missing a decision asks for.

use super::row::{Key, NodeSlot};
use super::snapshot::Snapshot;
use tarn_proto::ids::NodeId;
use tarn_proto::node::Content;
use tarn_proto::op::{OpKind, Operation, Place};

/// What an operation names.
#[derive(Debug, Default)]
pub(super) struct Named<'a> {
    pub(super) nodes: Vec<NodeId>,
    pub(super) parents: Vec<NodeId>,
    pub(super) places: Vec<&'a Place>,
    pub(super) content: Option<&'a Content>,
}

pub(super) fn named(op: &Operation) -> Named<'_> {
    let (nodes, places, content) = match &op.kind {
        OpKind::Create { node, place, content, .. } => (vec![*node], vec![place], content.as_ref()),
        OpKind::Write { node, place, content, .. } => (vec![*node], vec![place], Some(content)),
        OpKind::SetAttr { node, .. } => (vec![*node], vec![], None),
        OpKind::Link { node, place } | OpKind::Attach { node, place, .. } => (vec![*node], vec![place], None),
        OpKind::Unlink { place, seen } => (vec![seen.node], vec![place], None),
        OpKind::Rename { from, to, seen, displaced, .. } => {
            let nodes = std::iter::once(seen.node).chain(displaced.iter().map(|seen| seen.node));
            (nodes.collect(), vec![from, to], None)
        }
    };
    let parents = places.iter().map(|place| place.parent).collect();
    Named { nodes, parents, places, content }
}

/// The keys that an operation surely needs and that are not loaded yet. What is loaded may show that
/// more are needed, so ask until none are.
pub fn wanted(snapshot: &Snapshot, op: &Operation) -> Vec<Key> {
    let named = named(op);
    let mut keys: Vec<Key> = named.nodes.iter().map(|&node| Key::Node(node)).collect();
    keys.extend(named.parents.iter().map(|&parent| Key::Chain(parent)));
    keys.extend(named.content.map(|content| Key::Version(content.version)));
    for place in &named.places {
        let parent = match snapshot.node(place.parent) {
            Ok(NodeSlot::Alias(alias)) => alias.target,
            _ => place.parent,
        };
        keys.push(Key::Place(Place { parent, name: place.name.clone() }));
    }
    if let OpKind::Unlink { seen, .. } = &op.kind
        && matches!(snapshot.node(seen.node), Ok(NodeSlot::Present(row)) if row.state.kind.is_dir())
    {
        keys.push(Key::Tree(seen.node));
    }
    keys.retain(|key| !snapshot.has(key));
    keys
}
