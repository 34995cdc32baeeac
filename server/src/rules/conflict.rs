//! Owns write / write conflicts: the record that holds the content that did not stay, and the
//! sibling that shows it. Never drops either content.

use super::draft::Draft;
use super::place::{alt_place, standing_place};
use super::row::ConflictRow;
use super::write::{come_back, join_vector, same_bytes};
use super::{Done, Halt, Rule};
use tarn_proto::change::ConflictState;
use tarn_proto::ids::{ConflictId, NodeId};
use tarn_proto::node::{FileVersion, NodeState};
use tarn_proto::op::Place;

/// Records that `theirs` did not stay as the content of `node`. With an `alt_name` a sibling shows it;
/// a later conflict of the same device over the same node goes in the same record and sibling.
pub(super) fn open(
    draft: &mut Draft<'_>,
    node: NodeId,
    place: &Place,
    state: &NodeState,
    theirs: FileVersion,
) -> Rule<ConflictId> {
    let with_sibling = own_open_conflict(draft, node, |open| open.state.sibling == Some(sibling_of(open.id)))?;
    if let Some(open) = &with_sibling
        && let Some(sibling) = untouched_sibling(draft, open)?
    {
        set_sibling(draft, sibling, state, &theirs)?;
        return Ok(record(draft, node, open.id, theirs, Some(sibling)));
    }
    if let Some(open) = same_content(draft, node, &theirs)? {
        return join(draft, node, open, &theirs);
    }
    // A record without a sibling takes the newer content; one whose sibling is another's by now stays.
    let bare = own_open_conflict(draft, node, |open| open.state.sibling.is_none())?;
    let id = match bare {
        Some(open) if is_version_of(draft, &open.state.theirs, node)? => open.id,
        _ => new_id(draft),
    };
    if draft.alt_name.is_none() {
        draft.put_version(node, theirs.clone());
        return Ok(record(draft, node, id, theirs, None));
    }
    let alt = alt_place(draft, folder_of(draft, node, place)?)?;
    let sibling = sibling_of(id);
    let shown = NodeState { file: Some(theirs.clone()), ..state.clone() };
    come_back(draft, sibling, shown, theirs.clone(), alt)?;
    Ok(record(draft, node, id, theirs, Some(sibling)))
}

/// A file that comes back finds its name taken by another file: the same as a write to that one; the
/// file itself becomes the sibling.
pub(super) fn against_taken(
    draft: &mut Draft<'_>,
    taken: NodeId,
    (node, state, file): (NodeId, NodeState, FileVersion),
    place: &Place,
) -> Rule {
    draft.snapshot.conflicts(taken).map_err(Halt::Missing)?;
    let id = new_id(draft);
    if draft.alt_name.is_none() {
        draft.put_version(node, file.clone());
        return Ok(Done::Conflicted(record(draft, taken, id, file, None)));
    }
    let alt = alt_place(draft, place.parent)?;
    come_back(draft, node, state, file.clone(), alt)?;
    Ok(Done::Conflicted(record(draft, taken, id, file, Some(node))))
}

/// The node that shows what a record holds, if it was made for that: the sibling of another record is a file of its own.
fn sibling_of(conflict: ConflictId) -> NodeId {
    let mut id = [0; 16];
    blake3::Hasher::new_derive_key("tarn 2026 conflict sibling").update(&conflict.0).finalize_xof().fill(&mut id);
    NodeId(id)
}

/// Whether a recorded version is one of this node, and not of another that found its name taken.
fn is_version_of(draft: &Draft<'_>, file: &FileVersion, node: NodeId) -> Rule<bool> {
    let version = draft.snapshot.version(file.content.version).map_err(Halt::Missing)?;
    Ok(version.is_some_and(|version| version.node == node))
}

/// Records a content beside the one that stays, without a sibling; once for the same bytes.
pub(super) fn record_beside(draft: &mut Draft<'_>, node: NodeId, theirs: FileVersion) -> Rule<()> {
    let open = draft.snapshot.conflicts(node).map_err(Halt::Missing)?;
    if !open.iter().any(|open| same_bytes(&open.state.theirs.content, &theirs.content)) {
        draft.put_version(node, theirs.clone());
        let id = new_id(draft);
        record(draft, node, id, theirs, None);
    }
    Ok(())
}

fn new_id(draft: &Draft<'_>) -> ConflictId {
    ConflictId(draft.derived_id("tarn 2026 conflict record"))
}

/// The newest open conflict that this device has over the node and that fits.
fn own_open_conflict(
    draft: &Draft<'_>,
    node: NodeId,
    fits: impl Fn(&ConflictRow) -> bool,
) -> Rule<Option<ConflictRow>> {
    let open = draft.snapshot.conflicts(node).map_err(Halt::Missing)?;
    let own = open.iter().filter(|open| open.state.device == draft.author.device && fits(open));
    Ok(own.max_by_key(|open| open.seq).cloned())
}

/// An open conflict over the node that holds these bytes already, and shows them if they are to be shown: they came from a
/// device that found the same, or from this one before it was put back to a copy of itself.
fn same_content(draft: &Draft<'_>, node: NodeId, theirs: &FileVersion) -> Rule<Option<ConflictRow>> {
    let all = draft.snapshot.conflicts(node).map_err(Halt::Missing)?;
    for open in all.iter().filter(|open| same_bytes(&open.state.theirs.content, &theirs.content)) {
        let is_shown = untouched_sibling(draft, open)?.is_some();
        if is_shown || (open.state.sibling.is_none() && draft.alt_name.is_none()) {
            return Ok(Some(open.clone()));
        }
    }
    Ok(None)
}

/// One record for both: what it holds has seen what either has.
fn join(draft: &mut Draft<'_>, node: NodeId, open: ConflictRow, theirs: &FileVersion) -> Rule<ConflictId> {
    let mut state = open.state;
    state.theirs.vector = std::mem::take(&mut state.theirs.vector).joined(&theirs.vector);
    match state.sibling {
        Some(sibling) => join_vector(draft, sibling, &theirs.vector)?,
        None => draft.put_version(node, state.theirs.clone()),
    }
    draft.put_conflict(ConflictRow { id: open.id, seq: draft.seq, state });
    Ok(open.id)
}

/// The sibling, if it still shows the record's content: what others wrote to it is not overwritten.
fn untouched_sibling(draft: &Draft<'_>, open: &ConflictRow) -> Rule<Option<NodeId>> {
    let Some(sibling) = open.state.sibling else { return Ok(None) };
    let shown = draft.present(sibling)?.and_then(|row| row.file()).map(|file| file.content.version);
    Ok((shown == Some(open.state.theirs.content.version)).then_some(sibling))
}

fn set_sibling(draft: &mut Draft<'_>, sibling: NodeId, state: &NodeState, theirs: &FileVersion) -> Rule<()> {
    let shown = NodeState { file: Some(theirs.clone()), ..state.clone() };
    draft.put_version(sibling, theirs.clone());
    draft.put_node(sibling, shown, true)
}

/// The folder in which the contended file stands: where the author saw it, if it is still there.
fn folder_of(draft: &Draft<'_>, node: NodeId, place: &Place) -> Rule<NodeId> {
    let seen = standing_place(draft, place)?;
    let links = draft.links(node)?;
    let stands = links.get(&seen).or_else(|| links.first());
    Ok(stands.map_or(draft.snapshot.root(), |place| place.parent))
}

fn record(
    draft: &mut Draft<'_>,
    node: NodeId,
    id: ConflictId,
    theirs: FileVersion,
    sibling: Option<NodeId>,
) -> ConflictId {
    let stayed = draft.present(node).ok().flatten().and_then(|row| row.file()).map(|file| file.content.version);
    let state = ConflictState {
        node,
        device: draft.author.device,
        device_name: draft.author.device_name.clone(),
        time: draft.author.now,
        stayed: stayed.unwrap_or(theirs.content.version),
        theirs,
        sibling,
    };
    draft.put_conflict(ConflictRow { id, seq: draft.seq, state });
    id
}
