//! Owns what becomes of `write`: applied, joined, brought back, or a conflict.

use super::draft::Draft;
use super::place::{alt_place, check_depth, live_place};
use super::row::{GoneNode, NodeRow, NodeSlot};
use super::{Done, Halt, Rule, conflict, refuse, validate};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::node::{AttrChange, Content, FileVersion, NodeState};
use tarn_proto::op::Place;
use tarn_proto::version::VersionVector;

/// The parts of a `write`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write<'a> {
    pub(super) node: NodeId,
    pub(super) place: &'a Place,
    pub(super) base: &'a VersionVector,
    pub(super) content: &'a Content,
    pub(super) attrs: &'a AttrChange,
}

/// Brings a new content of a file.
pub(super) fn write(draft: &mut Draft<'_>, write: &Write<'_>) -> Rule {
    validate::content(write.content)?;
    validate::vector(write.base)?;
    validate::attr_change(write.attrs)?;
    let node = draft.resolve(write.node)?;
    match draft.node(node)?.clone() {
        NodeSlot::Present(row) => match &row.state.file {
            Some(file) => to_present(draft, write, (node, &row), file),
            None => refuse(ErrorCode::WrongKind, "only a regular file has a content"),
        },
        NodeSlot::Gone(gone) if gone.row.state.kind.is_file() => to_gone(draft, write, node, &gone),
        NodeSlot::Gone(_) => refuse(ErrorCode::WrongKind, "only a regular file has a content"),
        _ => refuse(ErrorCode::UnknownNode, "the file is unknown"),
    }
}

/// Whether two contents are the same bytes.
pub(super) fn same_bytes(a: &Content, b: &Content) -> bool {
    a.content_id == b.content_id && a.size == b.size
}

/// What a device has seen of a content if it says `seen`: its own operations it always has.
pub(super) fn seen_by_author(draft: &Draft<'_>, seen: &VersionVector, present: &VersionVector) -> VersionVector {
    let device = draft.author.device;
    seen.clone().with(device, present.get(device))
}

/// Whether a version was brought before: by the same operation in a history that the server lost, and by whoever brought that
/// back. It was this node's, or is its sibling's in an open conflict, or the last content has seen it, because somebody
/// resolved that conflict. What became of it since counts.
pub(super) fn is_known(draft: &Draft<'_>, (node, last): (NodeId, &NodeRow), content: &Content) -> Rule<bool> {
    let Some(known) = draft.snapshot.version(content.version).map_err(Halt::Missing)? else { return Ok(false) };
    let is_seen = last.file().is_some_and(|file| file.vector.get(draft.author.device) >= draft.counter);
    let open = draft.snapshot.conflicts(node).map_err(Halt::Missing)?;
    let is_own = known.node == node || is_seen || open.iter().any(|open| open.state.sibling == Some(known.node));
    Ok(is_own && known.content_id == content.content_id)
}

/// Refuses a version id that names another content already.
pub(super) fn check_version_is_new(draft: &Draft<'_>, content: &Content) -> Rule<()> {
    match draft.snapshot.version(content.version).map_err(Halt::Missing)? {
        None => Ok(()),
        Some(_) => refuse(ErrorCode::AlreadyExists, "the version's id is taken"),
    }
}

/// Makes a present content have seen what `other` has.
pub(super) fn join_vector(draft: &mut Draft<'_>, node: NodeId, other: &VersionVector) -> Rule<()> {
    let Some(mut state) = draft.present(node)?.map(|row| row.state.clone()) else { return Ok(()) };
    if let Some(file) = &mut state.file
        && !file.vector.has_seen(other)
    {
        file.vector = std::mem::take(&mut file.vector).joined(other);
        draft.put_version(node, file.clone());
        draft.put_node(node, state, false)?;
    }
    Ok(())
}

fn brought(draft: &Draft<'_>, write: &Write<'_>, seen: VersionVector) -> FileVersion {
    let vector = seen.with(draft.author.device, draft.counter);
    FileVersion { content: write.content.clone(), vector, author: draft.author.shown_as }
}

fn changed(state: &NodeState, write: &Write<'_>) -> Rule<NodeState> {
    let mut state = state.clone();
    write.attrs.apply_to(&mut state.attrs);
    validate::attrs(&state.attrs)?;
    Ok(state)
}

fn to_present(
    draft: &mut Draft<'_>,
    write: &Write<'_>,
    (node, row): (NodeId, &NodeRow),
    present: &FileVersion,
) -> Rule {
    let seen = seen_by_author(draft, write.base, &present.vector);
    let mut state = changed(&row.state, write)?;
    let same_version = present.content.version == write.content.version;
    if same_bytes(&present.content, write.content) && (same_version || !seen.has_seen(&present.vector)) {
        draft.put_node(node, state, false)?;
        let brought = brought(draft, write, seen);
        join_vector(draft, node, &brought.vector)?;
        return Ok(Done::Merged);
    }
    if is_known(draft, (node, row), write.content)? {
        return Ok(Done::Merged);
    }
    check_version_is_new(draft, write.content)?;
    let has_seen = seen.has_seen(&present.vector);
    let file = brought(draft, write, seen.clone());
    if !has_seen {
        return conflict::open(draft, node, write.place, &state, file).map(Done::Conflicted);
    }
    let file = FileVersion { vector: draft.vector(seen)?, ..file };
    state.file = Some(file.clone());
    draft.put_version(node, file);
    draft.put_node(node, state, true)?;
    Ok(Done::Applied)
}

/// The write wins over the removal: the file comes back where its author saw it. Who removed it had seen what was brought before.
fn to_gone(draft: &mut Draft<'_>, write: &Write<'_>, node: NodeId, gone: &GoneNode) -> Rule {
    if is_known(draft, (node, &gone.row), write.content)? {
        return Ok(Done::Merged);
    }
    check_version_is_new(draft, write.content)?;
    let mut state = changed(&gone.row.state, write)?;
    let file = brought(draft, write, write.base.clone());
    state.file = Some(file.clone());
    let place = live_place(draft, write.place)?;
    check_depth(draft, place.parent)?;
    let Some(taken) = draft.entry(&place)? else {
        come_back(draft, node, state, file, place)?;
        return Ok(Done::Merged);
    };
    let there = draft.present(taken.node)?.and_then(|row| row.state.file.clone());
    match there {
        Some(there) if same_bytes(&there.content, write.content) => {
            join_vector(draft, taken.node, &file.vector)?;
            Ok(Done::Merged)
        }
        Some(_) => conflict::against_taken(draft, taken.node, (node, state, file), &place),
        None => {
            let alt = alt_place(draft, place.parent)?;
            come_back(draft, node, state, file, alt)?;
            Ok(Done::Merged)
        }
    }
}

/// Makes a removed file present again with the content that was written.
pub(super) fn come_back(
    draft: &mut Draft<'_>,
    node: NodeId,
    state: NodeState,
    file: FileVersion,
    place: Place,
) -> Rule<()> {
    draft.put_version(node, file);
    draft.put_node(node, state, true)?;
    draft.put_entry(place, node);
    Ok(())
}
