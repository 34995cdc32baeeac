//! Owns what becomes of `link`.

use super::draft::Draft;
use super::place::{alt_place, check_depth, live_place};
use super::row::{GoneNode, NodeSlot};
use super::{Done, Rule, refuse, revive};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::op::Place;

/// Adds an entry for a node that is no folder; a removed node comes back with it.
pub(super) fn link(draft: &mut Draft<'_>, node: NodeId, place: &Place) -> Rule {
    let node = draft.resolve(node)?;
    let gone: Option<GoneNode> = match draft.node(node)? {
        NodeSlot::Present(row) if row.state.kind.is_dir() => return no_folder(),
        NodeSlot::Gone(gone) if gone.row.state.kind.is_dir() => return no_folder(),
        NodeSlot::Present(_) => None,
        NodeSlot::Gone(gone) => Some((**gone).clone()),
        _ => return refuse(ErrorCode::UnknownNode, "the node is unknown"),
    };
    let place = live_place(draft, place)?;
    check_depth(draft, place.parent)?;
    let (place, done) = match draft.entry(&place)? {
        None => (place, Done::Applied),
        Some(taken) if taken.node == node => return Ok(Done::Merged),
        Some(_) => (alt_place(draft, place.parent)?, Done::Merged),
    };
    match gone {
        None => draft.put_entry(place, node),
        Some(gone) => {
            revive::node_at(draft, node, &gone, place)?;
            return Ok(Done::Merged);
        }
    }
    Ok(done)
}

fn no_folder() -> Rule {
    refuse(ErrorCode::WrongKind, "a folder has one name")
}
