//! Owns taking back what a device did to one node: it becomes what it was, at the place where it was. Nothing that
//! others built on it is overwritten, and each content stays in the history of its file.

use super::draft::Draft;
use super::place::{ancestors, check_depth, live_place};
use super::row::{GoneNode, NodeRow, NodeSlot};
use super::unlink::remove_entry;
use super::write::same_bytes;
use super::{Author, Decision, Halt, Missing, Rule, Snapshot, conflict, decided, refuse};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{NodeId, VersionId};
use tarn_proto::node::{Attrs, Content, FileVersion, NodeState};
use tarn_proto::op::Place;

/// What is to be taken back of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Undo {
    /// Which.
    pub node: NodeId,
    /// What it was; `None`: the device made it.
    pub before: Option<Before>,
    /// Whether others have written it since the device did.
    pub is_built_on: bool,
    /// Present names that the device gave it.
    pub given: Vec<Place>,
    /// Names that the device took from it.
    pub taken: Vec<Place>,
    /// Whether names are put back too; without, only what it holds.
    pub moves: bool,
    /// The id of a version that is made.
    pub version: VersionId,
    /// The counter in its vector: the server writes in its own name.
    pub counter: u64,
}

/// What a node was before the device changed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Before {
    /// Its attributes, if the present ones are the device's.
    pub attrs: Option<Attrs>,
    /// Its content, if the present one is the device's, or made of that.
    pub file: Option<FileVersion>,
}

/// Takes back what a device did to one node.
///
/// # Errors
/// Says which rows must be loaded first; nothing else has happened.
pub fn undo(snapshot: &Snapshot, author: &Author, asked: &Undo, seq: u64) -> Result<Decision, Missing> {
    let draft = Draft::named(snapshot, author, (asked.counter, None), seq);
    decided(draft, |draft| settle(draft, asked))
}

fn settle(draft: &mut Draft<'_>, asked: &Undo) -> Rule<()> {
    match (draft.node(asked.node)?.clone(), &asked.before) {
        (NodeSlot::Present(row), None) => unmake(draft, asked, &row),
        (NodeSlot::Present(row), Some(before)) => {
            if asked.moves {
                move_back(draft, asked, row.state.kind.is_dir())?;
            }
            restore(draft, asked, before, &row)
        }
        (NodeSlot::Gone(gone), Some(before)) => bring_back(draft, asked, before, &gone),
        _ => Ok(()),
    }
}

/// What the device made goes, unless others have something in it.
fn unmake(draft: &mut Draft<'_>, asked: &Undo, row: &NodeRow) -> Rule<()> {
    if asked.is_built_on {
        return refuse(ErrorCode::Stale, "others have written it since");
    }
    if row.state.kind.is_dir() && !draft.children(asked.node)?.is_empty() {
        return refuse(ErrorCode::Stale, "there is something else in it");
    }
    for place in &asked.given {
        if draft.entry(place)?.is_some_and(|entry| entry.node == asked.node) {
            remove_entry(draft, place, asked.node)?;
        }
    }
    Ok(())
}

/// Puts names back that were taken, then takes away those that were given.
fn move_back(draft: &mut Draft<'_>, asked: &Undo, is_dir: bool) -> Rule<()> {
    let mut stands = false;
    for place in &asked.taken {
        if stands && is_dir {
            break;
        }
        let place = live_place(draft, place)?;
        match draft.entry(&place)? {
            None => {
                if is_dir && ancestors(draft, place.parent)?.contains(&asked.node) {
                    return refuse(ErrorCode::Cycle, "the folder that it was in is in it now");
                }
                check_depth(draft, place.parent)?;
                draft.put_entry(place, asked.node);
                stands = true;
            }
            Some(entry) if entry.node == asked.node => stands = true,
            Some(_) => {}
        }
    }
    if !asked.taken.is_empty() && !stands {
        return Err(Halt::NeedsName);
    }
    for place in &asked.given {
        let is_own = draft.entry(place)?.is_some_and(|entry| entry.node == asked.node);
        if is_own && draft.links(asked.node)?.len() > 1 {
            draft.drop_entry(place);
        }
    }
    Ok(())
}

/// Makes attributes and content what they were; what others have written since stays, beside a record.
fn restore(draft: &mut Draft<'_>, asked: &Undo, before: &Before, row: &NodeRow) -> Rule<()> {
    let now = draft.author.now;
    let mut state = row.state.clone();
    if let Some(attrs) = &before.attrs {
        state.attrs = Attrs { ctime: now, ..attrs.clone() };
    }
    let changed = match (&before.file, &row.state.file) {
        (Some(old), Some(present)) if !same_bytes(&old.content, &present.content) => Some((old, present)),
        _ => None,
    };
    let Some((old, present)) = changed else { return draft.put_node(asked.node, state, false) };
    if asked.is_built_on {
        let theirs = made(draft, asked, old, old);
        conflict::record_beside(draft, asked.node, theirs)?;
        return draft.put_node(asked.node, state, false);
    }
    put_content(draft, asked, state, old, present)
}

fn put_content(
    draft: &mut Draft<'_>,
    asked: &Undo,
    mut state: NodeState,
    old: &FileVersion,
    present: &FileVersion,
) -> Rule<()> {
    let mut file = made(draft, asked, old, present);
    file.vector = draft.vector(file.vector)?;
    state.file = Some(file.clone());
    draft.put_version(asked.node, file);
    draft.put_node(asked.node, state, true)
}

/// A version with an old content that has seen the present one.
fn made(draft: &Draft<'_>, asked: &Undo, old: &FileVersion, present: &FileVersion) -> FileVersion {
    let content = Content { version: asked.version, ..old.content.clone() };
    let vector = present.vector.clone().joined(&old.vector).with(draft.author.device, draft.counter);
    FileVersion { content, vector, author: draft.author.shown_as }
}

/// What the device removed comes back under the names that it had.
fn bring_back(draft: &mut Draft<'_>, asked: &Undo, before: &Before, gone: &GoneNode) -> Rule<()> {
    let is_dir = gone.row.state.kind.is_dir();
    let last = gone.place.iter().filter(|_| asked.taken.is_empty());
    let mut places = Vec::new();
    for place in asked.taken.iter().chain(last) {
        let place = live_place(draft, place)?;
        let is_wanted = !is_dir || places.is_empty();
        if is_wanted && draft.entry(&place)?.is_none() {
            check_depth(draft, place.parent)?;
            places.push(place);
        }
    }
    // A folder may have come back because something in it did.
    if places.is_empty() {
        return if draft.present(asked.node)?.is_some() { Ok(()) } else { Err(Halt::NeedsName) };
    }
    let mut state = gone.row.state.clone();
    if let Some(attrs) = &before.attrs {
        state.attrs = attrs.clone();
    }
    match (&before.file, &gone.row.state.file) {
        (Some(old), Some(last)) if !same_bytes(&old.content, &last.content) => {
            put_content(draft, asked, state, old, last)?;
        }
        _ => draft.put_node(asked.node, state, false)?,
    }
    places.into_iter().for_each(|place| draft.put_entry(place, asked.node));
    Ok(())
}
