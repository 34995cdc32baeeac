//! Owns bringing back what a lost history had: the server was put back to an older copy of itself, and a device says what it
//! had acknowledged beyond that. What nobody changed since the copy becomes what it was; what somebody did meets it as the
//! change of a device that had not seen it.
//!
//! Contents are compared by their vectors, always. Names, attributes and removals count only while they are news: a device
//! that knew of as much, or of more, may have brought them already.

mod content;
mod marks;

pub use marks::{marks_of, wanted};

use super::draft::Draft;
use super::place::{ancestors, check_depth, live_place};
use super::row::{EntryRow, GoneNode, NodeRow, NodeSlot};
use super::unlink::remove_entry;
use super::{Author, Decision, Halt, Missing, Rule, Snapshot, create, decided, refuse, validate};
use content::{bring_content, check_version, reopen};
use marks::{mark_of_content, mark_of_place};
use std::collections::{BTreeSet, HashSet};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::lost::{Lost, LostNode};
use tarn_proto::name::Name;
use tarn_proto::node::{FileVersion, NodeState};
use tarn_proto::op::Place;

/// One thing to bring back.
#[derive(Debug, Clone, Copy)]
pub struct Recover<'a> {
    /// What the lost history had.
    pub lost: &'a Lost,
    /// What nobody changed since.
    pub since: &'a Since,
    /// Nodes that are brought back in the same transaction: they may be without a name for a moment.
    pub together: &'a HashSet<NodeId>,
    /// Nothing else will come to its place: it goes where it can.
    pub is_last: bool,
    /// The counter of the change: the server writes in its own name.
    pub counter: u64,
}

/// Tells what came from a lost history, or from before it was lost, from what somebody did since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Since {
    /// Up to which seq the lost history and this one are the same.
    pub fork: u64,
    /// First and last seqs of what was brought back, this time included.
    pub recovered: Vec<(u64, u64)>,
}

impl Since {
    /// Whether a row of this seq is nobody's doing since the copy.
    fn covers(&self, seq: u64) -> bool {
        seq <= self.fork || self.recovered.iter().any(|(first, last)| (*first..=*last).contains(&seq))
    }
}

/// Brings one thing back. What is refused may be possible once others are back.
///
/// # Errors
/// Says which rows must be loaded first; nothing else has happened.
pub fn recover(snapshot: &Snapshot, author: &Author, asked: &Recover<'_>, seq: u64) -> Result<Decision, Missing> {
    let draft = Draft::named(snapshot, author, (asked.counter, alt_name(asked.lost)), seq);
    decided(draft, |draft| match asked.lost {
        Lost::Node(lost) => bring_node(draft, asked, lost),
        Lost::Freed { place, seq } => free(draft, asked, place, *seq),
        Lost::Alias { node, target } => join(draft, asked, *node, *target),
        Lost::Conflict { conflict, seq, state } => reopen(draft, asked, (*conflict, *seq), state),
    })
}

/// Gives a node one that nobody else has if it lost its name to another, or stands where nobody can get: what was to bring it
/// elsewhere did not come.
///
/// # Errors
/// Says which rows must be loaded first; nothing else has happened.
pub fn make_reachable(snapshot: &Snapshot, author: &Author, node: NodeId, seq: u64) -> Result<Decision, Missing> {
    decided(Draft::named(snapshot, author, (seq, None), seq), |draft| {
        let root = snapshot.root();
        if node == root || draft.present(node)?.is_none() {
            return Ok(());
        }
        for place in draft.links(node)? {
            let top = ancestors(draft, place.parent)?.last().copied().unwrap_or(root);
            if top != root {
                draft.drop_entry(&place);
            }
        }
        if draft.links(node)?.is_empty() { stand_beside(draft, root, node) } else { Ok(()) }
    })
}

fn alt_name(lost: &Lost) -> Option<&Name> {
    match lost {
        Lost::Node(lost) => lost.alt_name.as_ref(),
        _ => None,
    }
}

fn bring_node(draft: &mut Draft<'_>, asked: &Recover<'_>, lost: &LostNode) -> Rule<()> {
    let is_news = lost.seq > recovered(draft, lost.node)?;
    let node = draft.resolve(lost.node)?;
    match (draft.node(node)?.clone(), &lost.state) {
        (NodeSlot::Present(row), Some(state)) => {
            bring_content(draft, asked, (node, &row), lost, state)?;
            if is_news && node == lost.node { settle(draft, asked, lost, &row, state) } else { Ok(()) }
        }
        (NodeSlot::Present(row), None) if is_news && node == lost.node => remove(draft, asked, node, &row),
        (NodeSlot::Gone(gone), Some(state)) if is_known_but_for_attrs(asked, &gone, lost, state) => Ok(()),
        (NodeSlot::Gone(gone), Some(state)) => {
            // Removed since by somebody who cannot have seen this content: another device had brought the file without it.
            let unseen = match (&gone.row.state.file, &state.file) {
                (Some(last), Some(file)) => {
                    let is_news = lost.seq > recovered(draft, mark_of_content(node))?;
                    is_news && !asked.since.covers(gone.seq) && !last.vector.has_seen(&file.vector)
                }
                _ => false,
            };
            if is_news || unseen { revive(draft, asked, lost, state, gone.row.file()) } else { Ok(()) }
        }
        (NodeSlot::Unknown, Some(state)) if is_news => {
            if let Some(file) = shown_by(draft, state)? {
                draft.put_alias(node, file);
                return Ok(());
            }
            revive(draft, asked, lost, state, None)
        }
        (NodeSlot::Foreign, Some(_)) => refuse(ErrorCode::NodeExists, "the node's id is taken"),
        _ => Ok(()),
    }
}

/// Whether somebody removed this since, with its name and all that was ever written to it: another device had brought both, and
/// attributes alone bring nothing back.
fn is_known_but_for_attrs(asked: &Recover<'_>, gone: &GoneNode, lost: &LostNode, state: &NodeState) -> bool {
    let has_seen = |file: &FileVersion| gone.row.file().is_some_and(|last| last.vector.has_seen(&file.vector));
    !asked.since.covers(gone.seq)
        && state.file.as_ref().is_none_or(has_seen)
        && lost.places.iter().all(|place| Some(place) == gone.place.as_ref())
}

/// The file that has this version as its own: it lost a conflict in the lost history, and its device, which had not heard of
/// that, sent it again before anybody brought back what it was in conflict with. It needs no sibling then.
fn shown_by(draft: &Draft<'_>, state: &NodeState) -> Rule<Option<NodeId>> {
    let Some(file) = &state.file else { return Ok(None) };
    let known = draft.snapshot.version(file.content.version).map_err(Halt::Missing)?;
    let Some(known) = known.filter(|known| known.content_id == file.content.content_id) else { return Ok(None) };
    let shows = |row: &NodeRow| row.file().is_some_and(|now| now.content.version == file.content.version);
    Ok(draft.present(known.node)?.is_some_and(shows).then_some(known.node))
}

fn recovered(draft: &Draft<'_>, node: NodeId) -> Rule<u64> {
    draft.snapshot.recovered(node).map_err(Halt::Missing)
}

/// Gives a present node the attributes and names that it had, where nobody gave it others since.
fn settle(draft: &mut Draft<'_>, asked: &Recover<'_>, lost: &LostNode, row: &NodeRow, state: &NodeState) -> Rule<()> {
    if asked.since.covers(row.seq)
        && let Some(now) = draft.present(lost.node)?.map(|row| row.state.clone())
    {
        validate::attrs(&state.attrs)?;
        draft.put_node(lost.node, NodeState { attrs: state.attrs.clone(), ..now }, false)?;
    }
    if lost.node == draft.snapshot.root() || !names_are_old(draft, asked, lost.node)? {
        return Ok(());
    }
    give_names(draft, asked, lost)
}

fn names_are_old(draft: &Draft<'_>, asked: &Recover<'_>, node: NodeId) -> Rule<bool> {
    for place in draft.links(node)? {
        if draft.entry(&place)?.is_some_and(|entry| !asked.since.covers(entry.seq)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What was removed goes again, unless somebody did something to it or in it since.
fn remove(draft: &mut Draft<'_>, asked: &Recover<'_>, node: NodeId, row: &NodeRow) -> Rule<()> {
    let is_root = node == draft.snapshot.root();
    if is_root || !asked.since.covers(row.seq) || !names_are_old(draft, asked, node)? {
        return Ok(());
    }
    if row.state.kind.is_dir() && !draft.children(node)?.is_empty() {
        return if asked.is_last { Ok(()) } else { refuse(ErrorCode::Stale, "there is something in it yet") };
    }
    let places = draft.links(node)?;
    if places.is_empty() {
        return draft.drop_node(node, None);
    }
    for place in places {
        remove_entry(draft, &place, node)?;
    }
    Ok(())
}

/// Makes a node that the server does not have, or has no more.
fn revive(
    draft: &mut Draft<'_>,
    asked: &Recover<'_>,
    lost: &LostNode,
    state: &NodeState,
    last: Option<&FileVersion>,
) -> Rule<()> {
    let mut state = state.clone();
    if state.kind.is_file() {
        let is_newer = |file: &FileVersion| last.is_some_and(|last| last.vector.has_seen(&file.vector));
        state.file = state.file.filter(|file| !is_newer(file)).or_else(|| last.cloned());
        if state.file.is_none() {
            return refuse(ErrorCode::MissingChunks, "its bytes are neither here nor there");
        }
    }
    validate::kind(&state.kind, state.file.as_ref().map(|file| &file.content))?;
    validate::attrs(&state.attrs)?;
    if last.is_none() && joins(draft, asked, lost, &state)? {
        return Ok(());
    }
    if let Some(file) = &state.file {
        check_version(draft, lost.node, file)?;
        draft.put_version(lost.node, file.clone());
    }
    draft.put_node(lost.node, state, true)?;
    give_names(draft, asked, lost)
}

/// Two folders of one name are one, and so are two files of the same bytes, unless the lost history had both.
fn joins(draft: &mut Draft<'_>, asked: &Recover<'_>, lost: &LostNode, state: &NodeState) -> Rule<bool> {
    let [place] = lost.places.as_slice() else { return Ok(false) };
    let place = match old_place(draft, asked, place) {
        Err(Halt::Refused(..)) if asked.is_last => return Ok(false),
        place => place?,
    };
    match draft.entry(&place)? {
        Some(taken) if !asked.together.contains(&taken.node) && !yields(draft, asked, lost, &taken)? => {
            create::join(draft, lost.node, taken.node, state)
        }
        _ => Ok(false),
    }
}

/// Has the node stand at all its places and nowhere else; beside one that others took.
fn give_names(draft: &mut Draft<'_>, asked: &Recover<'_>, lost: &LostNode) -> Rule<()> {
    let node = lost.node;
    let is_dir = draft.present(node)?.is_some_and(|row| row.state.kind.is_dir());
    let mut wanted = BTreeSet::new();
    // A folder has one name, whatever it is said to have had.
    let places_max = if is_dir { 1 } else { usize::MAX };
    for place in lost.places.iter().take(places_max) {
        match place_for(draft, asked, (node, is_dir), place) {
            Err(Halt::Refused(..)) if asked.is_last => {}
            place => drop(wanted.insert(place?)),
        }
    }
    if !wanted.is_empty() {
        for place in draft.links(node)?.into_iter().filter(|place| !wanted.contains(place)) {
            draft.drop_entry(&place);
        }
    }
    for place in wanted {
        match draft.entry(&place)? {
            None if recovered(draft, mark_of_place(&place))? >= lost.seq => {}
            None => draft.put_entry(place, node),
            Some(entry) if entry.node == node => {}
            Some(entry) if yields(draft, asked, lost, &entry)? => displace(draft, asked, place, &entry, node)?,
            // The lost history gave it to another later on.
            Some(entry) if asked.since.covers(entry.seq) && recovered(draft, entry.node)? >= lost.seq => {}
            Some(_) => stand_beside(draft, place.parent, node)?,
        }
    }
    if draft.links(node)?.is_empty() { stand_beside(draft, draft.snapshot.root(), node) } else { Ok(()) }
}

/// The place with its folder; one that comes back by itself is waited for.
fn old_place(draft: &mut Draft<'_>, asked: &Recover<'_>, place: &Place) -> Rule<Place> {
    let parent = draft.resolve(place.parent)?;
    if !asked.is_last && asked.together.contains(&parent) && draft.present(parent)?.is_none() {
        return refuse(ErrorCode::UnknownParent, "its folder is not back yet");
    }
    live_place(draft, place)
}

fn place_for(draft: &mut Draft<'_>, asked: &Recover<'_>, (node, is_dir): (NodeId, bool), place: &Place) -> Rule<Place> {
    let place = old_place(draft, asked, place)?;
    if is_dir && ancestors(draft, place.parent)?.contains(&node) {
        return refuse(ErrorCode::Cycle, "the folder that it was in is in it");
    }
    check_depth(draft, place.parent)?;
    Ok(place)
}

/// Whether what stands at a place was gone from there in the lost history, and nobody wrote since to what would go with it.
fn yields(draft: &Draft<'_>, asked: &Recover<'_>, lost: &LostNode, entry: &EntryRow) -> Rule<bool> {
    if !asked.since.covers(entry.seq) || recovered(draft, entry.node)? >= lost.seq {
        return Ok(false);
    }
    let (is_dir, is_written) = draft.present(entry.node)?.map_or((false, false), |row| {
        let is_written = row.file().is_some() && !asked.since.covers(row.content_seq);
        (row.state.kind.is_dir(), is_written)
    });
    let goes = is_written && draft.links(entry.node)?.len() <= 1;
    Ok(asked.together.contains(&entry.node) || (!is_dir && !goes))
}

/// Takes the place of a node that is brought back elsewhere, or goes.
fn displace(draft: &mut Draft<'_>, asked: &Recover<'_>, place: Place, entry: &EntryRow, node: NodeId) -> Rule<()> {
    if !asked.together.contains(&entry.node) && draft.links(entry.node)?.len() <= 1 {
        draft.drop_node(entry.node, Some(&place))?;
    }
    draft.put_entry(place, node);
    Ok(())
}

/// Under the name that was brought for this, or one that nobody else has.
fn stand_beside(draft: &mut Draft<'_>, parent: NodeId, node: NodeId) -> Rule<()> {
    let brought = draft.alt_name.map(|name| Place { parent, name: name.clone() });
    let free = match &brought {
        Some(place) => draft.entry(place)?.is_none(),
        None => false,
    };
    let place = brought.filter(|_| free).unwrap_or_else(|| fallback(parent, node));
    draft.put_entry(place, node);
    Ok(())
}

fn fallback(parent: NodeId, node: NodeId) -> Place {
    let name = Name::new(format!("recovered {node}")).expect("a short name without a slash");
    Place { parent, name }
}

/// Frees a name that the node at it had lost; its last one is the node's own affair.
fn free(draft: &mut Draft<'_>, asked: &Recover<'_>, place: &Place, seq: u64) -> Rule<()> {
    let place = Place { parent: draft.resolve(place.parent)?, name: place.name.clone() };
    let Some(entry) = draft.entry(&place)? else { return Ok(()) };
    let is_old = asked.since.covers(entry.seq) && recovered(draft, entry.node)? < seq;
    if is_old && draft.links(entry.node)?.len() > 1 {
        draft.drop_entry(&place);
    }
    Ok(())
}

fn join(draft: &mut Draft<'_>, asked: &Recover<'_>, node: NodeId, target: NodeId) -> Rule<()> {
    let target = draft.resolve(target)?;
    if *draft.node(node)? != NodeSlot::Unknown {
        return Ok(());
    }
    if draft.present(target)?.is_none() {
        return not_yet(asked);
    }
    draft.put_alias(node, target);
    Ok(())
}

/// What it needs may come back yet.
fn not_yet(asked: &Recover<'_>) -> Rule<()> {
    if asked.is_last { Ok(()) } else { refuse(ErrorCode::Stale, "what it belongs to is not back yet") }
}
