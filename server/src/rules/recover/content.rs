//! Owns which contents come back of a lost history, as a file's own or in an open conflict.

use super::marks::mark_of_content;
use super::{Recover, fallback, not_yet, recovered};
use crate::rules::draft::Draft;
use crate::rules::row::{ConflictRow, NodeRow};
use crate::rules::write::{join_vector, same_bytes};
use crate::rules::{Halt, Rule, conflict, refuse, validate};
use tarn_proto::change::ConflictState;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ConflictId, NodeId, VersionId};
use tarn_proto::lost::LostNode;
use tarn_proto::node::{FileVersion, NodeState};

/// Of two contents one of which has seen the other that one stays: the seq of a row says nothing of it, because a device may
/// have been answered a later name of a file before it heard of the last write to it. Else, of two contents of the lost history
/// the later one stays, and of others the present one, beside a record.
pub(super) fn bring_content(
    draft: &mut Draft<'_>,
    asked: &Recover<'_>,
    (node, row): (NodeId, &NodeRow),
    whole: &LostNode,
    state: &NodeState,
) -> Rule<()> {
    let (Some(present), Some(lost)) = (&row.state.file, &state.file) else { return Ok(()) };
    let is_old = node == whole.node && asked.since.covers(row.content_seq);
    let is_later = is_old && whole.seq > recovered(draft, mark_of_content(node))?;
    let (is_newer, is_older) = (lost.vector.has_seen(&present.vector), present.vector.has_seen(&lost.vector));
    let stays = if is_newer == is_older { (is_older || is_old) && !is_later } else { is_older };
    if present == lost || stays {
        return Ok(());
    }
    check_version(draft, node, lost)?;
    if is_later || is_newer {
        draft.put_version(node, lost.clone());
        draft.put_node(node, NodeState { file: Some(lost.clone()), ..row.state.clone() }, true)?;
        return end_seen(draft, node, lost);
    }
    if same_bytes(&present.content, &lost.content) {
        return join_vector(draft, node, &lost.vector);
    }
    let open = draft.snapshot.conflicts(node).map_err(Halt::Missing)?;
    let is_there = |open: &ConflictRow| {
        same_bytes(&open.state.theirs.content, &lost.content) || open.state.theirs.vector.has_seen(&lost.vector)
    };
    if open.iter().any(is_there) {
        return Ok(());
    }
    // All of this is done in one name: the sibling that there is shows what somebody else wrote.
    let is_others = |open: &ConflictRow| {
        open.state.device == draft.author.device && !lost.vector.has_seen(&open.state.theirs.vector)
    };
    if open.iter().any(is_others) {
        return conflict::record_beside(draft, node, lost.clone());
    }
    let place = draft.links(node)?.first().cloned();
    let place = place.unwrap_or_else(|| fallback(draft.snapshot.root(), node));
    match conflict::open(draft, node, &place, &row.state, lost.clone()) {
        Err(Halt::NeedsName) => conflict::record_beside(draft, node, lost.clone()),
        opened => opened.map(drop),
    }
}

/// Conflicts that the lost history had resolved.
fn end_seen(draft: &mut Draft<'_>, node: NodeId, file: &FileVersion) -> Rule<()> {
    let open = draft.snapshot.conflicts(node).map_err(Halt::Missing)?;
    let seen: Vec<ConflictRow> =
        open.iter().filter(|open| file.vector.has_seen(&open.state.theirs.vector)).cloned().collect();
    seen.into_iter().for_each(|open| draft.end_conflict(open));
    Ok(())
}

/// Refuses a version that is malformed, or whose id names another content. A sibling has the version of its conflict.
pub(super) fn check_version(draft: &Draft<'_>, node: NodeId, file: &FileVersion) -> Rule<()> {
    validate::content(&file.content)?;
    validate::vector(&file.vector)?;
    match draft.snapshot.version(file.content.version).map_err(Halt::Missing)? {
        Some(known) if known.node != node && known.content_id != file.content.content_id => {
            refuse(ErrorCode::AlreadyExists, "the version's id is taken")
        }
        _ => Ok(()),
    }
}

pub(super) fn reopen(
    draft: &mut Draft<'_>,
    asked: &Recover<'_>,
    (id, seq): (ConflictId, u64),
    lost: &ConflictState,
) -> Rule<()> {
    let node = draft.resolve(lost.node)?;
    let vector = draft.present(node)?.and_then(|row| Some(row.file()?.vector.clone()));
    // A record outlives its file.
    if vector.is_none() && !asked.is_last {
        return not_yet(asked);
    }
    let open = draft.snapshot.conflicts(node).map_err(Halt::Missing)?;
    let is_old = open.iter().find(|open| open.id == id).is_none_or(|open| asked.since.covers(open.seq));
    if !is_old
        || recovered(draft, NodeId(id.0))? >= seq
        || vector.is_some_and(|seen| seen.has_seen(&lost.theirs.vector))
    {
        return Ok(());
    }
    validate::content(&lost.theirs.content)?;
    validate::vector(&lost.theirs.vector)?;
    if !is_recorded(draft, lost.theirs.content.version)? {
        draft.put_version(node, lost.theirs.clone());
    }
    draft.put_conflict(ConflictRow { id, seq: draft.seq, state: ConflictState { node, ..lost.clone() } });
    Ok(())
}

fn is_recorded(draft: &Draft<'_>, version: VersionId) -> Rule<bool> {
    Ok(draft.snapshot.version(version).map_err(Halt::Missing)?.is_some())
}
