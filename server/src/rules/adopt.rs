//! Owns which present rows an author is told beside those that changed: for every place and node
//! that its operation names, so that it converges without asking.

use super::draft::{Draft, Effects};
use super::place::standing_place;
use super::plan::named;
use super::row::{Key, NodeSlot};
use super::{Halt, Rule};
use std::collections::BTreeSet;
use std::sync::Arc;
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::{ConflictId, NodeId};
use tarn_proto::name::Name;
use tarn_proto::op::{Operation, Place};

/// Adds the present rows to the changed ones.
pub(super) fn adopt(draft: &Draft<'_>, op: &Operation, changes: &mut Vec<Change>) -> Result<(), Key> {
    missing(collect(draft, op, changes))
}

/// Adds what its author would not hear of otherwise: that nothing is left at a place in a folder that was removed, where
/// another folder has taken its name and what was meant happened in that.
pub(super) fn left_places(draft: &Draft<'_>, op: &Operation, changes: &mut Vec<Change>) -> Result<(), Key> {
    missing(collect_left(draft, op, changes))
}

fn missing(told: Rule<()>) -> Result<(), Key> {
    match told {
        Err(Halt::Missing(key)) => Err(key),
        _ => Ok(()),
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum RowKey {
    Node(NodeId),
    Entry(NodeId, Name),
    Alias(NodeId),
    Conflict(ConflictId),
}

fn key_of(row: &Row) -> RowKey {
    match row {
        Row::Node { node, .. } => RowKey::Node(*node),
        Row::Entry { parent, name, .. } => RowKey::Entry(*parent, name.clone()),
        Row::Alias { node, .. } => RowKey::Alias(*node),
        Row::Conflict { conflict, .. } => RowKey::Conflict(*conflict),
    }
}

fn collect(draft: &Draft<'_>, op: &Operation, changes: &mut Vec<Change>) -> Rule<()> {
    let mut rows = Vec::new();
    let named = named(op);
    for place in &named.places {
        let place = standing_place(draft, place)?;
        let entry = draft.entry(&place)?;
        let seq = entry.map_or_else(|| head(draft), |entry| entry.seq);
        if let Some(entry) = entry {
            node(draft, entry.node, false, &mut rows)?;
        }
        let row = Row::Entry { parent: place.parent, name: place.name, node: entry.map(|entry| entry.node) };
        rows.push(Change { seq, row });
    }
    for id in named.parents {
        node(draft, id, false, &mut rows)?;
    }
    for id in named.nodes {
        node(draft, id, true, &mut rows)?;
    }
    let mut known: BTreeSet<RowKey> = changes.iter().map(|change| key_of(&change.row)).collect();
    changes.extend(rows.into_iter().filter(|change| known.insert(key_of(&change.row))));
    Ok(())
}

fn collect_left(draft: &Draft<'_>, op: &Operation, changes: &mut Vec<Change>) -> Rule<()> {
    for place in named(op).places {
        let parent = draft.resolve(place.parent)?;
        if standing_place(draft, place)?.parent == parent {
            continue;
        }
        let left = Place { parent, name: place.name.clone() };
        if draft.entry(&left)?.is_none() {
            changes.push(Change { seq: head(draft), row: Row::Entry { parent, name: left.name, node: None } });
        }
    }
    Ok(())
}

/// The journal's number up to which "nothing is there" holds.
fn head(draft: &Draft<'_>) -> u64 {
    draft.effects().as_ref().map_or(draft.seq.saturating_sub(1), |effects: &Effects| effects.seq)
}

fn node(draft: &Draft<'_>, id: NodeId, with_entries: bool, rows: &mut Vec<Change>) -> Rule<()> {
    let id = match draft.node(id)? {
        NodeSlot::Alias(alias) => {
            rows.push(Change { seq: alias.seq, row: Row::Alias { node: id, target: alias.target } });
            alias.target
        }
        _ => id,
    };
    match draft.node(id)? {
        NodeSlot::Present(row) => {
            let state = Some(Arc::new(row.state.clone()));
            rows.push(Change { seq: row.seq, row: Row::Node { node: id, state } });
        }
        NodeSlot::Gone(gone) => rows.push(Change { seq: gone.seq, row: Row::Node { node: id, state: None } }),
        NodeSlot::Unknown | NodeSlot::Foreign | NodeSlot::Alias(_) => {}
    }
    if with_entries {
        for place in draft.links(id)? {
            let Some(entry) = draft.entry(&place)? else { continue };
            let row = Row::Entry { parent: place.parent, name: place.name, node: Some(entry.node) };
            rows.push(Change { seq: entry.seq, row });
        }
    }
    Ok(())
}
