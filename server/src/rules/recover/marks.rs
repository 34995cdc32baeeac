//! Owns by what it is remembered how much of a lost history was brought back.

use crate::rules::Key;
use tarn_proto::ids::NodeId;
use tarn_proto::lost::{Lost, LostNode};
use tarn_proto::op::Place;

/// By what it is remembered how much of the lost history was brought back for what a row is about. A content has a mark of
/// its own: a device may bring the names of a file whose bytes it does not have.
pub fn marks_of(lost: &Lost) -> Vec<NodeId> {
    match lost {
        Lost::Node(LostNode { node, state: Some(state), .. }) if state.file.is_some() => {
            vec![*node, mark_of_content(*node)]
        }
        Lost::Node(LostNode { node, .. }) | Lost::Alias { node, .. } => vec![*node],
        Lost::Conflict { conflict, .. } => vec![NodeId(conflict.0)],
        Lost::Freed { place, .. } => vec![mark_of_place(place)],
    }
}

pub(super) fn mark_of_content(node: NodeId) -> NodeId {
    derived("tarn 2026 recovered content", &[node.as_bytes()])
}

pub(super) fn mark_of_place(place: &Place) -> NodeId {
    derived("tarn 2026 recovered place", &[place.parent.as_bytes(), place.name.as_bytes()])
}

fn derived(purpose: &str, of: &[&[u8]]) -> NodeId {
    let (mut hasher, mut id) = (blake3::Hasher::new_derive_key(purpose), [0; 16]);
    for part in of {
        hasher.update(part);
    }
    hasher.finalize_xof().fill(&mut id);
    NodeId(id)
}

/// The keys that it surely needs, so that many are loaded together.
pub fn wanted(lost: &Lost) -> Vec<Key> {
    match lost {
        Lost::Node(lost) => {
            let names = lost.places.iter().flat_map(|place| {
                [Key::Chain(place.parent), Key::Place(place.clone()), Key::Recovered(mark_of_place(place))]
            });
            let file = lost.state.as_ref().and_then(|state| state.file.as_ref());
            let version = file.map(|file| Key::Version(file.content.version));
            let marks = [lost.node, mark_of_content(lost.node)].map(Key::Recovered);
            names.chain(version).chain([Key::Node(lost.node)]).chain(marks).collect()
        }
        Lost::Freed { place, .. } => vec![Key::Node(place.parent), Key::Place(place.clone())],
        Lost::Alias { node, target } => vec![Key::Node(*node), Key::Node(*target)],
        Lost::Conflict { conflict, state, .. } => {
            vec![Key::Node(state.node), Key::Conflicts(state.node), Key::Recovered(NodeId(conflict.0))]
        }
    }
}
