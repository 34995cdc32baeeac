//! Owns how what was removed comes back: a folder because something goes in it, a node because a
//! write or a rename of it wins over its removal.

use super::draft::Draft;
use super::place::ancestors;
use super::row::{EntryRow, GoneNode, NodeSlot};
use super::{Halt, Rule, refuse};
use std::collections::{BTreeMap, BTreeSet};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::limits;
use tarn_proto::name::Name;
use tarn_proto::node::NodeState;
use tarn_proto::op::Place;

/// Brings back a removed folder, empty, and those above it, as far as they are remembered. If
/// another folder has taken one's name meanwhile, that one stands for it.
pub(super) fn folder(draft: &mut Draft<'_>, id: NodeId) -> Rule<NodeId> {
    let Some((mut live, mut gone)) = lineage(draft, id)? else { return forgotten() };
    while let Some((id, name, state)) = gone.pop() {
        let place = Place { parent: live, name };
        live = match draft.entry(&place)? {
            None => {
                draft.put_node(id, state, false)?;
                draft.put_entry(place, id);
                id
            }
            Some(taken) if is_folder(draft, taken.node)? => {
                draft.stands_for(taken.node, id);
                taken.node
            }
            Some(_) => return forgotten(),
        };
    }
    Ok(live)
}

/// The present folder that [`folder`] would find for a removed one without bringing anything back: those of the same
/// names stand for it and for those above it. The folder itself if there are none.
pub(super) fn stand_in(draft: &Draft<'_>, id: NodeId) -> Rule<NodeId> {
    let Some((mut live, mut gone)) = lineage(draft, id)? else { return Ok(id) };
    while let Some((_, name, _)) = gone.pop() {
        match draft.entry(&Place { parent: live, name })? {
            Some(taken) if is_folder(draft, taken.node)? => live = taken.node,
            _ => return Ok(id),
        }
    }
    Ok(live)
}

fn is_folder(draft: &Draft<'_>, id: NodeId) -> Rule<bool> {
    Ok(draft.present(id)?.is_some_and(|row| row.state.kind.is_dir()))
}

/// Removed folders, each with the name and state that it had, the topmost last.
type Removed = Vec<(NodeId, Name, NodeState)>;

/// The present folder above a removed one, and all that is removed between them; `None` if that is not remembered.
fn lineage(draft: &Draft<'_>, id: NodeId) -> Rule<Option<(NodeId, Removed)>> {
    let mut gone = Removed::new();
    let mut at = id;
    while gone.len() <= limits::DEPTH_MAX {
        match draft.node(at)? {
            NodeSlot::Present(row) if row.state.kind.is_dir() => return Ok(Some((at, gone))),
            NodeSlot::Alias(alias) => at = alias.target,
            NodeSlot::Gone(node) => {
                let Some(place) = node.place.clone() else { return Ok(None) };
                gone.push((at, place.name, node.row.state.clone()));
                at = place.parent;
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

fn forgotten<T>() -> Rule<T> {
    refuse(ErrorCode::ParentGone, "the parent is gone and cannot be brought back")
}

/// Brings a removed node back at a free place, a folder with all that went with it, and with what its author has put in it
/// since: that has the names for which the author had made room there.
pub(super) fn node_at(draft: &mut Draft<'_>, id: NodeId, gone: &GoneNode, place: Place) -> Rule<()> {
    let is_dir = gone.row.state.kind.is_dir();
    let brought = if is_dir { brought_since(draft, id, &place)? } else { Vec::new() };
    draft.put_node(id, gone.row.state.clone(), false)?;
    draft.put_entry(place, id);
    let mut taken = BTreeSet::new();
    for (from, node) in brought {
        taken.insert(from.name.clone());
        draft.put_entry(Place { parent: id, name: from.name.clone() }, node);
        draft.drop_entry(&from);
    }
    if is_dir {
        contents(draft, id, gone.seq, &taken)?;
    }
    Ok(())
}

/// What the author has put in a removed folder: it stands in the one that took its name. A folder in which the removed one
/// comes back stays where it is.
fn brought_since(draft: &Draft<'_>, id: NodeId, back: &Place) -> Rule<Vec<(Place, NodeId)>> {
    let standing = stand_in(draft, id)?;
    if standing == id {
        return Ok(Vec::new());
    }
    let above = ancestors(draft, back.parent)?;
    let is_brought = |entry: &EntryRow| entry.meant_for == Some(id) && entry.device == draft.author.device;
    let children = draft.children(standing)?.into_iter();
    let brought = children.filter(|(_, entry)| is_brought(entry) && !above.contains(&entry.node));
    Ok(brought.map(|(name, entry)| (Place { parent: standing, name }, entry.node)).collect())
}

fn contents(draft: &mut Draft<'_>, dir: NodeId, gone_seq: u64, taken: &BTreeSet<Name>) -> Rule<()> {
    let went = draft.snapshot.gone_tree(dir).map_err(Halt::Missing)?;
    let mut by_parent: BTreeMap<NodeId, Vec<(Place, NodeId)>> = BTreeMap::new();
    for (place, node) in went {
        by_parent.entry(place.parent).or_default().push((place, node));
    }
    let mut todo = vec![dir];
    while let Some(parent) = todo.pop() {
        for (place, node) in by_parent.remove(&parent).unwrap_or_default() {
            if parent == dir && taken.contains(&place.name) {
                continue;
            }
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
