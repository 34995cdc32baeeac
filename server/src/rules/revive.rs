//! Owns how what was removed comes back: a folder because something goes in it, a node because a
//! write or a rename of it wins over its removal.

use super::draft::Draft;
use super::row::{GoneNode, NodeSlot};
use super::{Halt, Rule, refuse};
use std::collections::BTreeMap;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::limits;
use tarn_proto::op::Place;

/// Brings back a removed folder, empty, and those above it, as far as they are remembered. If
/// another folder has taken one's name meanwhile, that one stands for it.
pub(super) fn folder(draft: &mut Draft<'_>, id: NodeId) -> Rule<NodeId> {
    let mut gone = Vec::new();
    let mut at = id;
    let mut live = loop {
        match draft.node(at)? {
            NodeSlot::Present(row) if row.state.kind.is_dir() => break at,
            NodeSlot::Alias(alias) => at = alias.target,
            NodeSlot::Gone(node) => {
                let Some(place) = node.place.clone() else { return forgotten() };
                gone.push((at, place.name, node.row.state.clone()));
                at = place.parent;
            }
            _ => return forgotten(),
        }
        if gone.len() > limits::DEPTH_MAX {
            return forgotten();
        }
    };
    while let Some((id, name, state)) = gone.pop() {
        let place = Place { parent: live, name };
        live = match draft.entry(&place)? {
            None => {
                draft.put_node(id, state, false)?;
                draft.put_entry(place, id);
                id
            }
            Some(taken) => match draft.present(taken.node)? {
                Some(row) if row.state.kind.is_dir() => taken.node,
                _ => return forgotten(),
            },
        };
    }
    Ok(live)
}

fn forgotten<T>() -> Rule<T> {
    refuse(ErrorCode::ParentGone, "the parent is gone and cannot be brought back")
}

/// Brings a removed node back at a free place, a folder with all that went with it.
pub(super) fn node_at(draft: &mut Draft<'_>, id: NodeId, gone: &GoneNode, place: Place) -> Rule<()> {
    draft.put_node(id, gone.row.state.clone(), false)?;
    draft.put_entry(place, id);
    if gone.row.state.kind.is_dir() {
        contents(draft, id, gone.seq)?;
    }
    Ok(())
}

fn contents(draft: &mut Draft<'_>, dir: NodeId, gone_seq: u64) -> Rule<()> {
    let went = draft.snapshot.gone_tree(dir).map_err(Halt::Missing)?;
    let mut by_parent: BTreeMap<NodeId, Vec<(Place, NodeId)>> = BTreeMap::new();
    for (place, node) in went {
        by_parent.entry(place.parent).or_default().push((place, node));
    }
    let mut todo = vec![dir];
    while let Some(parent) = todo.pop() {
        for (place, node) in by_parent.remove(&parent).unwrap_or_default() {
            let state = match draft.node(node)? {
                NodeSlot::Gone(gone) if gone.seq == gone_seq => Some(gone.row.state.clone()),
                // A file with another name stays what it is and gets this name back.
                NodeSlot::Present(row) if !row.state.kind.is_dir() => None,
                _ => continue,
            };
            if let Some(state) = state {
                draft.put_node(node, state, false)?;
            }
            draft.put_entry(place, node);
            todo.push(node);
        }
    }
    Ok(())
}
