//! Owns what an operation does on the in-memory server. Simpler than the real rules (no aliases, no
//! rescue), and stricter: what a correct client never sends is refused loudly.

use super::state::State;
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::Change;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ConflictId, DeviceId, NodeId};
use tarn_proto::name::Name;
use tarn_proto::node::{Content, FileVersion, NodeKind, NodeState};
use tarn_proto::op::{OpKind, Operation, Place, RenameMode};
use tarn_proto::version::VersionVector;

type Step = Result<(Outcome, Vec<Change>), Outcome>;

/// Applies one operation.
pub(super) fn apply(state: &mut State, device: DeviceId, op: &Operation) -> Answer {
    let (outcome, changes) = match apply_kind(state, device, op) {
        Ok(done) => done,
        Err(outcome) => (outcome, Vec::new()),
    };
    Answer { counter: op.counter, outcome, changes }
}

fn refused(code: ErrorCode, detail: &str) -> Outcome {
    Outcome::Refused { code, detail: detail.into() }
}

fn apply_kind(state: &mut State, device: DeviceId, op: &Operation) -> Step {
    match &op.kind {
        OpKind::Create { node, place, kind, attrs, content } => {
            let new = NodeState { kind: kind.clone(), attrs: attrs.clone(), file: None };
            create(state, device, op, *node, place, new, content.as_ref())
        }
        OpKind::Write { node, base, content, .. } => write(state, device, op, *node, base, content),
        OpKind::SetAttr { node, attrs } => {
            let mut changed = state.node(*node).ok_or(refused(ErrorCode::UnknownNode, "setattr"))?.clone();
            attrs.apply_to(&mut changed.attrs);
            let seq = state.commit();
            Ok((Outcome::Applied, vec![state.set_node(seq, *node, Some(changed))]))
        }
        OpKind::Link { node, place } => {
            state.node(*node).ok_or(refused(ErrorCode::UnknownNode, "link"))?;
            let name = free_name(state, op, place)?;
            let seq = state.commit();
            Ok((Outcome::Applied, vec![state.set_entry(seq, place.parent, &name, Some(*node))]))
        }
        OpKind::Unlink { place, seen } => unlink(state, place, seen.node),
        OpKind::Rename { from, to, seen, mode, .. } => rename(state, op, from, to, seen.node, *mode),
        OpKind::Attach { .. } => Err(refused(ErrorCode::Forbidden, "no sharing here")),
    }
}

/// The wanted name, or the other one, if one of them is free.
fn free_name(state: &State, op: &Operation, place: &Place) -> Result<Name, Outcome> {
    match state.node(place.parent) {
        Some(parent) if parent.kind.is_dir() => {}
        Some(_) => return Err(refused(ErrorCode::NotADirectory, "parent")),
        None => return Err(refused(ErrorCode::UnknownParent, "parent")),
    }
    let names = [Some(&place.name), op.alt_name.as_ref()];
    let free = names.into_iter().flatten().find(|name| state.entry(place.parent, name).is_none());
    free.cloned().ok_or(Outcome::NeedsName)
}

fn check_content(state: &State, content: &Content) -> Result<(), Outcome> {
    let missing = state.lacking(content).map_err(|e| refused(ErrorCode::BadManifest, &e))?;
    if missing.is_empty() { Ok(()) } else { Err(Outcome::RetryLater { code: ErrorCode::MissingChunks, missing }) }
}

fn create(
    state: &mut State,
    device: DeviceId,
    op: &Operation,
    node: NodeId,
    place: &Place,
    mut new: NodeState,
    content: Option<&Content>,
) -> Step {
    if state.nodes.contains_key(&node) {
        return Err(refused(ErrorCode::NodeExists, "create"));
    }
    if content.is_some() != matches!(new.kind, NodeKind::File) {
        return Err(refused(ErrorCode::WrongKind, "a file comes with its content, others without"));
    }
    if let Some(content) = content {
        check_content(state, content)?;
        let vector = VersionVector::default().with(device, op.counter);
        new.file = Some(FileVersion { content: content.clone(), vector, author: device });
    }
    let name = free_name(state, op, place)?;
    let seq = state.commit();
    let changes = vec![state.set_node(seq, node, Some(new)), state.set_entry(seq, place.parent, &name, Some(node))];
    Ok((Outcome::Applied, changes))
}

fn write(
    state: &mut State,
    device: DeviceId,
    op: &Operation,
    node: NodeId,
    base: &VersionVector,
    content: &Content,
) -> Step {
    check_content(state, content)?;
    let mut changed = state.node(node).ok_or(refused(ErrorCode::UnknownNode, "write"))?.clone();
    let present = changed.file.as_ref().ok_or(refused(ErrorCode::WrongKind, "write"))?;
    if !base.has_seen(&present.vector) {
        let mut conflict = [0; 16];
        conflict.copy_from_slice(&content.version.0);
        return Ok((Outcome::Conflicted { conflict: ConflictId(conflict) }, Vec::new()));
    }
    let vector = base.clone().joined(&present.vector).with(device, op.counter);
    changed.file = Some(FileVersion { content: content.clone(), vector, author: device });
    let seq = state.commit();
    Ok((Outcome::Applied, vec![state.set_node(seq, node, Some(changed))]))
}

fn unlink(state: &mut State, place: &Place, seen: NodeId) -> Step {
    match state.entry(place.parent, &place.name) {
        None => return Ok((Outcome::Merged, Vec::new())),
        Some(node) if node != seen => return Ok((Outcome::Merged, Vec::new())),
        Some(_) => {}
    }
    let seq = state.commit();
    let mut changes = vec![state.set_entry(seq, place.parent, &place.name, None)];
    if state.links(seen) == 0 {
        changes.push(state.set_node(seq, seen, None));
    }
    Ok((Outcome::Applied, changes))
}

fn rename(state: &mut State, op: &Operation, from: &Place, to: &Place, node: NodeId, mode: RenameMode) -> Step {
    if state.entry(from.parent, &from.name) != Some(node) {
        return Ok((Outcome::Merged, Vec::new()));
    }
    let displaced = state.entry(to.parent, &to.name);
    let name = match mode {
        RenameMode::NoReplace => free_name(state, op, to)?,
        RenameMode::Replace | RenameMode::Exchange => to.name.clone(),
    };
    let seq = state.commit();
    let back = displaced.filter(|_| mode == RenameMode::Exchange);
    let mut changes =
        vec![state.set_entry(seq, from.parent, &from.name, back), state.set_entry(seq, to.parent, &name, Some(node))];
    if let Some(gone) = displaced.filter(|gone| mode == RenameMode::Replace && state.links(*gone) == 0) {
        changes.push(state.set_node(seq, gone, None));
    }
    Ok((Outcome::Applied, changes))
}
