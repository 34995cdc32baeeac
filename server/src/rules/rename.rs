//! Owns what becomes of `rename`: the first to arrive stays, a removed node comes back, nothing is
//! displaced that its author had not seen, and no folder ever gets into itself.

use super::draft::Draft;
use super::place::{alt_place, ancestors, check_depth, live_place, place_of};
use super::row::{GoneNode, NodeSlot};
use super::{Done, Halt, Rule, refuse, revive, unlink};
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
    if rename.mode == RenameMode::Exchange {
        return exchange(draft, rename, node);
    }
    let Some(moving) = moving(draft, rename.seen, rename.from)? else {
        // What was to be replaced goes all the same, unless others wrote to it: who renamed over it wanted it gone.
        displace_beside(draft, rename, None)?;
        return Ok(Done::Merged);
    };
    let to = live_place(draft, rename.to)?;
    if moving.from.as_ref() == Some(&to) {
        return Ok(Done::Merged);
    }
    check_cycle(draft, &moving, to.parent)?;
    check_depth(draft, to.parent)?;
    match draft.entry(&to)?.map(|entry| entry.node) {
        None => {
            displace_beside(draft, rename, moving.from.as_ref())?;
            settle(draft, &moving, to, Done::Applied)
        }
        Some(there) if there == node => Ok(Done::Merged),
        Some(there) => onto(draft, rename, &moving, to, there),
    }
}

/// What moves a node away from a place; `None` if others moved it first, or only other names of it are left: that stays.
fn moving(draft: &Draft<'_>, seen: &Seen, from: &Place) -> Rule<Option<Moving>> {
    let (node, from) = (draft.resolve(seen.node)?, place_of(draft, from, seen)?);
    let stands = draft.entry(&from)?.is_some_and(|entry| entry.node == node);
    match draft.node(node)? {
        NodeSlot::Present(row) if stands => {
            Ok(Some(Moving { node, is_dir: row.state.kind.is_dir(), from: Some(from), gone: None }))
        }
        NodeSlot::Present(_) => Ok(None),
        NodeSlot::Gone(gone) => {
            Ok(Some(Moving { node, is_dir: gone.row.state.kind.is_dir(), from: None, gone: Some(gone.clone()) }))
        }
        _ => refuse(ErrorCode::UnknownNode, "the node is unknown"),
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
        displace_beside(draft, rename, moving.from.as_ref())?;
        return settle_beside(draft, moving, to);
    };
    let there_is_dir = draft.present(there)?.is_some_and(|row| row.state.kind.is_dir());
    if there_is_dir != moving.is_dir {
        return settle_beside(draft, moving, to);
    }
    if there_is_dir && inside(draft, moving.from.as_ref(), there)? {
        // The folder to displace holds what moves: it is not empty, so it stays.
        return settle_beside(draft, moving, to);
    }
    if unlink::remove(draft, &to, &Seen { node: there, ..seen.clone() })? {
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

/// What was to be displaced stands beside the target, under the name that its author had brought for it: it goes from there.
fn displace_beside(draft: &mut Draft<'_>, rename: &Rename<'_>, moving_from: Option<&Place>) -> Rule<()> {
    let Some(seen) = rename.displaced.filter(|_| rename.mode == RenameMode::Replace) else { return Ok(()) };
    if inside(draft, moving_from, draft.resolve(seen.node)?)? {
        return Ok(());
    }
    unlink::unlink(draft, rename.to, seen).map(drop)
}

fn inside(draft: &Draft<'_>, place: Option<&Place>, folder: NodeId) -> Rule<bool> {
    match place {
        Some(from) => Ok(ancestors(draft, from.parent)?.contains(&folder)),
        None => Ok(false),
    }
}

fn settle_beside(draft: &mut Draft<'_>, moving: &Moving, to: Place) -> Rule {
    let alt = alt_place(draft, to.parent)?;
    settle(draft, moving, alt, Done::Merged)?;
    Ok(Done::Merged)
}

/// A half of an exchange; one of a node that nobody knows counts as moved by others, as long as the other one is known: a
/// server that was put back may not have heard of it, nor of its removal.
fn half(draft: &Draft<'_>, seen: &Seen, from: &Place, other: NodeId) -> Rule<Option<Moving>> {
    let is_unknown = |draft: &Draft<'_>, node| Ok(matches!(draft.node(node)?, NodeSlot::Unknown));
    if is_unknown(draft, seen.node)? && !is_unknown(draft, other)? { Ok(None) } else { moving(draft, seen, from) }
}

/// Both entries swap their nodes. Each half is a rename: what was removed comes back, what others moved stays there.
fn exchange(draft: &mut Draft<'_>, rename: &Rename<'_>, node: NodeId) -> Rule {
    let Some(displaced) = rename.displaced else {
        return refuse(ErrorCode::BadRequest, "an exchange names both nodes");
    };
    let other = draft.resolve(displaced.node)?;
    let there = half(draft, rename.seen, rename.from, other)?;
    let back = half(draft, displaced, rename.to, node)?;
    if node == other || (there.is_none() && back.is_none()) {
        return Ok(Done::Merged);
    }
    let both_stand = [&there, &back].iter().all(|half| half.as_ref().is_some_and(|half| half.gone.is_none()));
    for from in [&there, &back].into_iter().flatten().filter_map(|half| half.from.as_ref()) {
        draft.drop_entry(from);
    }
    let [from_there, from_back] = [&there, &back].map(|half| half.as_ref().and_then(|half| half.from.clone()));
    for (half, to, partner, left) in [(there, rename.to, other, from_back), (back, rename.from, node, from_there)] {
        if let Some(half) = half {
            land(draft, &half, to, (partner, left))?;
        }
    }
    Ok(if both_stand { Done::Applied } else { Done::Merged })
}

/// Gives what was lifted from its place another, or one beside it if others took that. The one name beside it is for one
/// of the two: if both would need it, the second takes the place that its partner left, or stays where it was, or removed.
fn land(draft: &mut Draft<'_>, moving: &Moving, to: &Place, (partner, left): (NodeId, Option<Place>)) -> Rule<()> {
    let to = live_place(draft, to)?;
    check_cycle(draft, moving, to.parent)?;
    check_depth(draft, to.parent)?;
    let place = match draft.entry(&to)? {
        None => to,
        Some(_) if moving.gone.is_some() && has_alt_name(draft, partner, to.parent)? => return Ok(()),
        Some(_) => match (alt_place(draft, to.parent), left) {
            (Err(Halt::NeedsName), Some(left)) if draft.entry(&left)?.is_none() => left,
            (Err(Halt::NeedsName), None) if has_alt_name(draft, partner, to.parent)? => own_place(draft, moving)?,
            (alt, _) => alt?,
        },
    };
    match &moving.gone {
        None => draft.put_entry(place, moving.node),
        // A folder that came back because the other half goes in it is where it belongs.
        Some(_) if draft.present(moving.node)?.is_some() => {}
        Some(gone) => revive::node_at(draft, moving.node, gone, place)?,
    }
    Ok(())
}

/// Where something was, for what has nowhere else to go: another name would go to its partner, too. If its partner has that
/// place now, because it is called by the name beside, another name helps.
fn own_place(draft: &Draft<'_>, moving: &Moving) -> Rule<Place> {
    match &moving.from {
        Some(from) if draft.entry(from)?.is_none() => Ok(from.clone()),
        _ => Err(Halt::NeedsName),
    }
}

fn has_alt_name(draft: &Draft<'_>, node: NodeId, parent: NodeId) -> Rule<bool> {
    let Some(name) = draft.alt_name else { return Ok(false) };
    Ok(draft.entry(&Place { parent, name: name.clone() })?.is_some_and(|entry| entry.node == node))
}
