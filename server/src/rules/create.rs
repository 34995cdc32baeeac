//! Owns what becomes of `create`.

use super::draft::Draft;
use super::place::{alt_place, check_depth, live_place};
use super::row::{NodeRow, NodeSlot};
use super::{Done, Rule, refuse, validate, write};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::node::{Attrs, Content, FileVersion, NodeKind, NodeState};
use tarn_proto::op::Place;
use tarn_proto::version::VersionVector;

/// Makes a node and its first entry, or joins it with what was made there at the same time.
pub(super) fn create(
    draft: &mut Draft<'_>,
    node: NodeId,
    place: &Place,
    kind: &NodeKind,
    attrs: &Attrs,
    content: Option<&Content>,
) -> Rule {
    validate::kind(kind, content)?;
    validate::attrs(attrs)?;
    content.map_or(Ok(()), validate::content)?;
    let file = content.map(|content| first_version(draft, content));
    let state = NodeState { kind: kind.clone(), attrs: attrs.clone(), file };
    match draft.node(node)?.clone() {
        NodeSlot::Unknown => {}
        NodeSlot::Present(row) if same_node(&row.state, &state) => return Ok(Done::Merged),
        NodeSlot::Present(row) if is_known(draft, (node, &row), content)? => return Ok(Done::Merged),
        NodeSlot::Gone(gone) if is_known(draft, (node, &gone.row), content)? => return Ok(Done::Merged),
        NodeSlot::Alias(_) => return Ok(Done::Merged),
        _ => return refuse(ErrorCode::NodeExists, "the node's id is taken"),
    }
    let place = live_place(draft, place)?;
    check_depth(draft, place.parent)?;
    let Some(taken) = draft.entry(&place)? else {
        return make(draft, node, place, state).map(|()| Done::Applied);
    };
    if join(draft, node, taken.node, &state)? {
        return Ok(Done::Merged);
    }
    let alt = alt_place(draft, place.parent)?;
    make(draft, node, alt, state).map(|()| Done::Merged)
}

fn first_version(draft: &Draft<'_>, content: &Content) -> FileVersion {
    let vector = VersionVector::default().with(draft.author.device, draft.counter);
    FileVersion { content: content.clone(), vector, author: draft.author.shown_as }
}

/// Whether the node is there already with the same content: a device says again, under another
/// operation id, what another one has said for it.
fn same_node(present: &NodeState, wanted: &NodeState) -> bool {
    let content = |state: &NodeState| state.file.as_ref().map(|file| file.content.content_id);
    present.kind == wanted.kind && content(present) == content(wanted)
}

/// Whether the file was made before, with this content, and somebody wrote to it or removed it since.
fn is_known(draft: &Draft<'_>, last: (NodeId, &NodeRow), content: Option<&Content>) -> Rule<bool> {
    content.map_or(Ok(false), |content| write::is_known(draft, last, content))
}

fn make(draft: &mut Draft<'_>, node: NodeId, place: Place, state: NodeState) -> Rule<()> {
    if let Some(file) = &state.file {
        write::check_version_is_new(draft, &file.content)?;
        draft.put_version(node, file.clone());
    }
    draft.put_node(node, state, true)?;
    draft.put_entry(place, node);
    Ok(())
}

/// Two folders of one name are one folder, two files with the same bytes one file: the second
/// becomes an alias of the first.
pub(super) fn join(draft: &mut Draft<'_>, node: NodeId, taken: NodeId, state: &NodeState) -> Rule<bool> {
    let Some(present) = draft.present(taken)?.map(|row| row.state.clone()) else { return Ok(false) };
    let folders = present.kind.is_dir() && state.kind.is_dir();
    let same_bytes = match (&present.file, &state.file) {
        (Some(there), Some(here)) => write::same_bytes(&there.content, &here.content),
        _ => false,
    };
    if let (true, Some(here)) = (same_bytes, &state.file) {
        write::join_vector(draft, taken, &here.vector)?;
    }
    if folders || same_bytes {
        draft.put_alias(node, taken);
    }
    Ok(folders || same_bytes)
}
