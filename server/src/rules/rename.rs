//! Owns what becomes of `rename`: the first to arrive stays, a removed node comes back, nothing is
//! displaced that its author had not seen, and no folder ever gets into itself.

use super::draft::Draft;
use super::place::{alt_place, ancestors, check_depth, live_place};
use super::row::{GoneNode, NodeSlot};
use super::{Done, Rule, refuse, revive, unlink};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::op::{Place, RenameMode, Seen};

/// The parts of a `rename`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rename<'a> {
    pub(super) from: &'a Place,
    pub(super) to: &'a Place,
    pub(super) seen: &'a Seen,
    pub(super) displaced: Option<&'a Seen>,
    pub(super) mode: RenameMode,
}

/// What moves, and from where; `from` is `None` for a node that comes back.
struct Moving {
    node: NodeId,
    is_dir: bool,
    from: Option<Place>,
    gone: Option<Box<GoneNode>>,
}

/// Moves an entry.
pub(super) fn rename(draft: &mut Draft<'_>, rename: &Rename<'_>) -> Rule {
    let node = draft.resolve(rename.seen.node)?;
    if node == draft.snapshot.root() {
        return refuse(ErrorCode::WrongKind, "the root stays where it is");
    }
    let from = draft.resolve_place(rename.from)?;
    let stands = draft.entry(&from)?.is_some_and(|entry| entry.node == node);
    let moving = match draft.node(node)? {
        NodeSlot::Present(row) if stands => {
            Moving { node, is_dir: row.state.kind.is_dir(), from: Some(from), gone: None }
        }
        // Another rename came first, or the entry went and others are left: that stays.
        NodeSlot::Present(_) => return Ok(Done::Merged),
        NodeSlot::Gone(gone) => {
            Moving { node, is_dir: gone.row.state.kind.is_dir(), from: None, gone: Some(gone.clone()) }
        }
        _ => return refuse(ErrorCode::UnknownNode, "the node is unknown"),
    };
    if rename.mode == RenameMode::Exchange {
        return exchange(draft, rename, &moving);
    }
    let to = live_place(draft, rename.to)?;
    if moving.from.as_ref() == Some(&to) {
        return Ok(Done::Merged);
    }
    check_cycle(draft, &moving, to.parent)?;
    check_depth(draft, to.parent)?;
    match draft.entry(&to)?.map(|entry| entry.node) {
        None => settle(draft, &moving, to, Done::Applied),
        Some(there) if there == node => Ok(Done::Merged),
        Some(there) => onto(draft, rename, &moving, to, there),
    }
}

/// A removed node comes back at its target, which is never quite what was asked.
fn settle(draft: &mut Draft<'_>, moving: &Moving, to: Place, done: Done) -> Rule {
    if let Some(from) = &moving.from {
        draft.drop_entry(from);
    }
    match &moving.gone {
        None => draft.put_entry(to, moving.node),
        Some(gone) => {
            revive::node_at(draft, moving.node, gone, to)?;
            return Ok(Done::Merged);
        }
    }
    Ok(done)
}

fn check_cycle(draft: &Draft<'_>, moving: &Moving, parent: NodeId) -> Rule<()> {
    if moving.is_dir && ancestors(draft, parent)?.contains(&moving.node) {
        return refuse(ErrorCode::Cycle, "a folder cannot go in itself");
    }
    Ok(())
}

/// The target has a node.
fn onto(draft: &mut Draft<'_>, rename: &Rename<'_>, moving: &Moving, to: Place, there: NodeId) -> Rule {
    let expected = match rename.displaced {
        Some(seen) if rename.mode == RenameMode::Replace && draft.resolve(seen.node)? == there => Some(seen),
        _ => None,
    };
    let Some(seen) = expected else {
        return settle_beside(draft, moving, to);
    };
    let there_is_dir = draft.present(there)?.is_some_and(|row| row.state.kind.is_dir());
    if there_is_dir != moving.is_dir {
        return settle_beside(draft, moving, to);
    }
    if there_is_dir && inside(draft, moving, there)? {
        // The folder to displace holds what moves: it is not empty, so it stays.
        return settle_beside(draft, moving, to);
    }
    if unlink::remove(draft, &to, &Seen { node: there, vector: seen.vector.clone() })? {
        return settle(draft, moving, to, Done::Applied);
    }
    if there_is_dir {
        return settle_beside(draft, moving, to);
    }
    // It was written meanwhile: it lives on under the other name.
    let alt = alt_place(draft, to.parent)?;
    draft.put_entry(alt, there);
    settle(draft, moving, to, Done::Merged)?;
    Ok(Done::Merged)
}

fn inside(draft: &Draft<'_>, moving: &Moving, folder: NodeId) -> Rule<bool> {
    match &moving.from {
        Some(from) => Ok(ancestors(draft, from.parent)?.contains(&folder)),
        None => Ok(false),
    }
}

fn settle_beside(draft: &mut Draft<'_>, moving: &Moving, to: Place) -> Rule {
    let alt = alt_place(draft, to.parent)?;
    settle(draft, moving, alt, Done::Merged)?;
    Ok(Done::Merged)
}

/// Both entries swap their nodes, if both are as the author saw them.
fn exchange(draft: &mut Draft<'_>, rename: &Rename<'_>, moving: &Moving) -> Rule {
    let Some(displaced) = rename.displaced else {
        return refuse(ErrorCode::BadRequest, "an exchange names both nodes");
    };
    let other = draft.resolve(displaced.node)?;
    let to = draft.resolve_place(rename.to)?;
    let Some(from) = &moving.from else { return Ok(Done::Merged) };
    let Some(there) = draft.entry(&to)?.filter(|entry| entry.node == other) else { return Ok(Done::Merged) };
    if there.node == moving.node || *from == to {
        return Ok(Done::Merged);
    }
    let there_is_dir = draft.present(other)?.is_some_and(|row| row.state.kind.is_dir());
    check_cycle(draft, moving, to.parent)?;
    check_cycle(draft, &Moving { node: other, is_dir: there_is_dir, from: None, gone: None }, from.parent)?;
    draft.put_entry(from.clone(), other);
    draft.put_entry(to, moving.node);
    Ok(Done::Applied)
}
