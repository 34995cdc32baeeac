//! Owns what each node was before a device changed it, read from all that it ever was. Pure.

use crate::rules::{Before, Undo};
use crate::store::entries::EntryInterval;
use crate::store::nodes::NodeInterval;
use std::collections::{HashMap, HashSet};
use tarn_proto::ids::{NodeId, VersionId};
use tarn_proto::name::Name;
use tarn_proto::op::Place;

/// What is to be done about one node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub undo: Undo,
    order: (Step, u64),
}

/// What was made goes first and frees names, what moved goes back, what was removed comes back last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Unmake,
    MoveBack,
    BringBack,
}

impl Plan {
    /// One of the node's names, for people.
    pub fn name(&self) -> Option<Name> {
        self.undo.taken.first().or(self.undo.given.first()).map(|place| place.name.clone())
    }
}

/// Plans for all nodes that these changes touched, in order.
pub(super) fn plans(nodes: Vec<NodeInterval>, names: Vec<EntryInterval>, mine: &HashSet<u64>) -> Vec<Plan> {
    let mut pasts: HashMap<NodeId, (Vec<NodeInterval>, Vec<EntryInterval>)> = HashMap::new();
    for node in nodes {
        pasts.entry(node.node).or_default().0.push(node);
    }
    for name in names {
        if let Some(past) = pasts.get_mut(&name.row.node) {
            past.1.push(name);
        }
    }
    let mut plans: Vec<Plan> = pasts
        .into_values()
        .filter_map(|(mut nodes, mut names)| {
            nodes.sort_by_key(|node| node.row.seq);
            names.sort_by_key(|name| name.row.seq);
            plan(&nodes, &names, mine)
        })
        .collect();
    plans.sort_by_key(|plan| (plan.order, plan.undo.node));
    plans
}

/// What is to be done about a node, given its states and names, oldest first.
fn plan(nodes: &[NodeInterval], names: &[EntryInterval], mine: &HashSet<u64>) -> Option<Plan> {
    let (first, last) = (nodes.first()?, nodes.last()?);
    let is_made = mine.contains(&first.row.seq);
    let order = match last.seq_to {
        // Others removed it, or nobody ever had it but the device.
        Some(gone) if is_made || !mine.contains(&gone) => return None,
        // What was removed last comes back first: a folder before what was in it.
        Some(gone) => (Step::BringBack, u64::MAX - gone),
        // What was made last goes first: what is in a folder before the folder.
        None if is_made => (Step::Unmake, u64::MAX - first.row.seq),
        None => (Step::MoveBack, last.row.seq),
    };
    let (content, is_built_on) = content_before(nodes, mine);
    let by_others = |node: &&NodeInterval| !mine.contains(&node.row.seq);
    let is_last_mine = mine.contains(&last.row.seq);
    let attrs = if is_last_mine { nodes.iter().rev().find(by_others) } else { None };
    let before = Before {
        attrs: attrs.map(|node| node.row.state.attrs.clone()),
        file: content.and_then(|node| node.row.file().cloned()),
    };
    let (given, taken) = places(names, last.seq_to.is_some(), mine);
    let undo = Undo {
        node: last.node,
        before: (!is_made).then_some(before),
        is_built_on,
        given,
        taken,
        moves: true,
        // Given when it is done.
        version: VersionId([0; 16]),
        counter: 0,
    };
    Some(Plan { undo, order })
}

/// The state that holds the content from before the device's, if the last content is the device's or came after it; and
/// whether others made the last one of the device's.
fn content_before<'a>(nodes: &'a [NodeInterval], mine: &HashSet<u64>) -> (Option<&'a NodeInterval>, bool) {
    let is_mine = |node: &NodeInterval| mine.contains(&node.row.content_seq);
    let Some(last) = nodes.last() else { return (None, false) };
    if is_mine(last) {
        return (nodes.iter().rev().find(|node| !is_mine(node)), false);
    }
    match nodes.iter().position(is_mine) {
        Some(at) => (nodes[..at].last(), true),
        None => (None, false),
    }
}

/// Present names that the device gave, and names from before that it took.
fn places(names: &[EntryInterval], is_gone: bool, mine: &HashSet<u64>) -> (Vec<Place>, Vec<Place>) {
    let present: Vec<&EntryInterval> = names.iter().filter(|name| name.seq_to.is_none()).collect();
    let given: Vec<Place> =
        present.iter().filter(|name| mine.contains(&name.row.seq)).map(|name| name.place.clone()).collect();
    let mut taken = Vec::new();
    for name in names {
        let Some(ended) = name.seq_to.filter(|seq| mine.contains(seq)) else { continue };
        let stands = present.iter().any(|other| other.place == name.place) || taken.contains(&name.place);
        // A name that others gave since is where they want it; one that stood beside is another name.
        let is_other_name = present.iter().any(|other| other.row.seq < ended);
        if !mine.contains(&name.row.seq) && !stands && (is_gone || !given.is_empty() || is_other_name) {
            taken.push(name.place.clone());
        }
    }
    (given, taken)
}

#[cfg(test)]
mod tests;
