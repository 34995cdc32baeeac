//! Owns what holds for places: which folder stands for a named parent, how deep it is, which name is free.

use super::draft::Draft;
use super::row::NodeSlot;
use super::{Halt, Rule, refuse, revive};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::limits;
use tarn_proto::op::{Place, Seen};

/// The place with a parent that is a present folder: an alias is followed, a folder that was removed
/// comes back, with those above it.
pub(super) fn live_place(draft: &mut Draft<'_>, place: &Place) -> Rule<Place> {
    let parent = live_dir(draft, place.parent)?;
    Ok(Place { parent, name: place.name.clone() })
}

/// The place where something stands that its author saw at `place`: an alias is followed, and for a removed folder the one
/// that [`live_place`] would find for it. Nothing is brought back.
pub(super) fn standing_place(draft: &Draft<'_>, place: &Place) -> Rule<Place> {
    let parent = revive::stand_in(draft, draft.resolve(place.parent)?)?;
    Ok(Place { parent, name: place.name.clone() })
}

/// The place of a node that its author saw at `place`: beside that, if its author had brought it there under the name that it
/// gives and others had the place; or in the folder that took the name of the one that its author names, which was removed
/// when the node was put in it, wherever that one is by now.
pub(super) fn place_of(draft: &Draft<'_>, place: &Place, seen: &Seen) -> Rule<Place> {
    let named = draft.resolve(place.parent)?;
    let place = standing_place(draft, place)?;
    let node = draft.resolve(seen.node)?;
    let stands = |place: &Place| Ok(draft.entry(place)?.is_some_and(|entry| entry.node == node));
    if stands(&place)? {
        return Ok(place);
    }
    if let Some(name) = &seen.alt_name {
        let beside = Place { parent: place.parent, name: name.clone() };
        if stands(&beside)? {
            return Ok(beside);
        }
    }
    for link in draft.links(node)? {
        let is_meant = draft.entry(&link)?.is_some_and(|entry| entry.meant_for == Some(named));
        if is_meant && (link.name == place.name || Some(&link.name) == seen.alt_name.as_ref()) {
            return Ok(link);
        }
    }
    Ok(place)
}

/// The present folder that stands for `id`.
pub(super) fn live_dir(draft: &mut Draft<'_>, id: NodeId) -> Rule<NodeId> {
    let id = draft.resolve(id)?;
    match draft.node(id)? {
        NodeSlot::Present(row) if row.state.kind.is_dir() => Ok(id),
        NodeSlot::Present(_) => refuse(ErrorCode::NotADirectory, "the parent is no folder"),
        NodeSlot::Gone(gone) if !gone.row.state.kind.is_dir() => {
            refuse(ErrorCode::NotADirectory, "the parent was no folder")
        }
        NodeSlot::Gone(_) => revive::folder(draft, id),
        NodeSlot::Unknown | NodeSlot::Foreign | NodeSlot::Alias(_) => {
            refuse(ErrorCode::UnknownParent, "the parent is unknown")
        }
    }
}

/// The folders from `dir` (included) up to the root (included).
pub(super) fn ancestors(draft: &Draft<'_>, dir: NodeId) -> Rule<Vec<NodeId>> {
    let mut chain = vec![dir];
    let mut at = dir;
    while at != draft.snapshot.root() {
        let links = draft.links(at)?;
        match links.first() {
            Some(place) => at = place.parent,
            None => break,
        }
        chain.push(at);
        if chain.len() > limits::DEPTH_MAX + 1 {
            break;
        }
    }
    Ok(chain)
}

/// Refuses a place that is deeper than the limit.
pub(super) fn check_depth(draft: &Draft<'_>, parent: NodeId) -> Rule<()> {
    if ancestors(draft, parent)?.len() > limits::DEPTH_MAX {
        return refuse(ErrorCode::TooDeep, "the place is deeper than folders may be");
    }
    Ok(())
}

/// The place under the operation's `alt_name` in the same folder.
pub(super) fn alt_place(draft: &Draft<'_>, parent: NodeId) -> Rule<Place> {
    let Some(name) = draft.alt_name else { return Err(Halt::NeedsName) };
    let place = Place { parent, name: name.clone() };
    match draft.entry(&place)? {
        None => Ok(place),
        Some(_) => Err(Halt::NeedsName),
    }
}
