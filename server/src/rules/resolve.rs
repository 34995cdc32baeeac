//! Owns resolving a conflict: what was chosen becomes the file, the sibling goes, the record ends. Nothing goes that
//! whoever resolves has not seen, and each content stays in the history of its file.

use super::draft::Draft;
use super::place::{alt_place, live_place};
use super::row::{ConflictRow, NodeSlot};
use super::unlink::remove_entry;
use super::write::come_back;
use super::{Author, Decision, Halt, Missing, Rule, Snapshot, decided, refuse, validate};
use tarn_proto::api::Keep;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ConflictId, NodeId, VersionId};
use tarn_proto::name::Name;
use tarn_proto::node::{Content, FileVersion, NodeState};
use tarn_proto::op::Place;
use tarn_proto::version::VersionVector;

/// What was chosen.
#[derive(Debug, Clone)]
pub struct Resolve {
    /// Which conflict.
    pub conflict: ConflictId,
    /// The file that it is about.
    pub node: NodeId,
    /// What is kept.
    pub keep: Keep,
    /// What the chooser had seen of the file. Counters are a device's: who has seen a later write to the one may not have seen an
    /// earlier one to the other.
    pub seen_file: VersionVector,
    /// What the chooser had seen of its sibling.
    pub seen_sibling: VersionVector,
    /// The name of a file that is made.
    pub alt_name: Option<Name>,
    /// What was made of both.
    pub content: Option<Content>,
    /// The id of a version that is made.
    pub version: VersionId,
    /// The counter in its vector: the server writes in its own name.
    pub counter: u64,
}

/// Resolves an open conflict.
///
/// # Errors
/// Says which rows must be loaded first; nothing else has happened.
pub fn resolve(snapshot: &Snapshot, author: &Author, asked: &Resolve, seq: u64) -> Result<Decision, Missing> {
    let draft = Draft::named(snapshot, author, (asked.counter, asked.alt_name.as_ref()), seq);
    decided(draft, |draft| settle(draft, asked))
}

fn settle(draft: &mut Draft<'_>, asked: &Resolve) -> Rule<()> {
    let open = draft.snapshot.conflicts(asked.node).map_err(Halt::Missing)?;
    let Some(open) = open.iter().find(|open| open.id == asked.conflict).cloned() else {
        return refuse(ErrorCode::NotFound, "there is no such conflict any more");
    };
    let sibling = present_file(draft, open.state.sibling, &asked.seen_sibling)?;
    match present_file(draft, Some(asked.node), &asked.seen_file)? {
        Some((node, state, file)) => settle_present(draft, asked, &open, (node, state, file), sibling)?,
        // The file went since: what is left of the two stays.
        None if sibling.is_none() && matches!(asked.keep, Keep::Theirs | Keep::Both) => {
            bring_back(draft, asked, &open)?;
        }
        None => {}
    }
    draft.end_conflict(open);
    Ok(())
}

type PresentFile = (NodeId, NodeState, FileVersion);

/// A file that is there, if the chooser has seen what is in it.
fn present_file(draft: &Draft<'_>, node: Option<NodeId>, seen: &VersionVector) -> Rule<Option<PresentFile>> {
    let Some(node) = node else { return Ok(None) };
    let Some(row) = draft.present(node)? else { return Ok(None) };
    let Some(file) = row.file() else { return Ok(None) };
    if !seen.has_seen(&file.vector) {
        return refuse(ErrorCode::Stale, "the file or its sibling was written since; look at both again");
    }
    Ok(Some((node, row.state.clone(), file.clone())))
}

fn settle_present(
    draft: &mut Draft<'_>,
    asked: &Resolve,
    open: &ConflictRow,
    (node, state, stayed): PresentFile,
    sibling: Option<PresentFile>,
) -> Rule<()> {
    let theirs = sibling.as_ref().map_or(&open.state.theirs, |(_, _, file)| file).clone();
    match asked.keep {
        Keep::Stayed => {}
        Keep::Merged => {
            if let Some(content) = &asked.content {
                validate::content(content)?;
                let vector = stayed.vector.joined(&theirs.vector).joined(&open.state.theirs.vector);
                let vector = draft.vector(vector)?;
                put_content(draft, node, made(draft, asked, state, content.clone(), vector))?;
            }
        }
        Keep::Theirs => {
            let vector = stayed.vector.joined(&theirs.vector).joined(&open.state.theirs.vector);
            let vector = draft.vector(vector)?;
            put_content(draft, node, made(draft, asked, state, theirs.content, vector))?;
        }
        Keep::Both if sibling.is_some() => return Ok(()),
        Keep::Both => return show_beside(draft, asked, (node, state), theirs),
    }
    match sibling {
        Some((sibling, ..)) => drop_sibling(draft, sibling),
        None => Ok(()),
    }
}

fn put_content(draft: &mut Draft<'_>, node: NodeId, (state, file): (NodeState, FileVersion)) -> Rule<()> {
    draft.put_version(node, file);
    draft.put_node(node, state, true)
}

/// A version that the server makes of a content, and the file's state with it.
fn made(
    draft: &Draft<'_>,
    asked: &Resolve,
    mut state: NodeState,
    content: Content,
    seen: VersionVector,
) -> (NodeState, FileVersion) {
    let content = Content { version: asked.version, ..content };
    let vector = seen.with(draft.author.device, draft.counter);
    let file = FileVersion { content, vector, author: draft.author.shown_as };
    (state.attrs.mtime, state.attrs.ctime) = (draft.author.now, draft.author.now);
    state.file = Some(file.clone());
    (state, file)
}

/// The sibling goes, unless somebody gave it a second name.
fn drop_sibling(draft: &mut Draft<'_>, sibling: NodeId) -> Rule<()> {
    let links = draft.links(sibling)?;
    match links.first() {
        Some(place) if links.len() == 1 => remove_entry(draft, place, sibling),
        _ => Ok(()),
    }
}

/// A record without a sibling gets one.
fn show_beside(
    draft: &mut Draft<'_>,
    asked: &Resolve,
    (node, state): (NodeId, NodeState),
    theirs: FileVersion,
) -> Rule<()> {
    let folder = draft.links(node)?.first().map_or(draft.snapshot.root(), |place| place.parent);
    let alt = alt_place(draft, folder)?;
    let (state, file) = made(draft, asked, state, theirs.content, theirs.vector);
    let sibling = NodeId(draft.derived_id("tarn 2026 conflict sibling"));
    come_back(draft, sibling, state, file, alt)
}

/// Neither file is there any more: the content that did not stay comes back where the file was.
fn bring_back(draft: &mut Draft<'_>, asked: &Resolve, open: &ConflictRow) -> Rule<()> {
    let NodeSlot::Gone(gone) = draft.node(asked.node)?.clone() else {
        return refuse(ErrorCode::UnknownNode, "the file is unknown");
    };
    let Some(was) = &gone.place else { return refuse(ErrorCode::UnknownNode, "nobody knows where the file was") };
    let was: Place = live_place(draft, was)?;
    let place = if draft.entry(&was)?.is_none() { was } else { alt_place(draft, was.parent)? };
    let seen = gone.row.file().map(|file| file.vector.clone()).unwrap_or_default();
    let seen = seen.joined(&open.state.theirs.vector);
    let (state, file) = made(draft, asked, gone.row.state.clone(), open.state.theirs.content.clone(), seen);
    come_back(draft, asked.node, state, file, place)
}
