//! Owns remote rows that have been applied in memory and are on their way into the database: reads look
//! here first. A row never overwrites one of a higher seq.

use crate::log::Lsn as Position;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::NodeState;

/// A remote row with its seq.
#[derive(Debug, Clone)]
pub(super) struct Versioned<T> {
    pub seq: u64,
    pub value: T,
    position: Position,
}

/// Remote rows not yet in the database.
#[derive(Debug, Default)]
pub(super) struct PendingRemote {
    nodes: HashMap<NodeId, Versioned<Option<Arc<NodeState>>>>,
    entries: HashMap<NodeId, BTreeMap<Name, Versioned<Option<NodeId>>>>,
    /// In order; nearly always one.
    places: HashMap<NodeId, Vec<(NodeId, Name)>>,
    order: VecDeque<(Position, Key)>,
}

#[derive(Debug)]
enum Key {
    Node(NodeId),
    Entry(NodeId, Name),
}

impl PendingRemote {
    /// Adds rows that the job at `position` brings to the database.
    pub fn add(&mut self, changes: &[Change], position: Position) {
        for change in changes {
            match &change.row {
                Row::Node { node, state } => self.add_node(*node, change.seq, state.as_ref(), position),
                Row::Entry { parent, name, node } => self.add_entry(*parent, name, change.seq, *node, position),
                Row::Alias { .. } | Row::Conflict { .. } => {}
            }
        }
    }

    fn add_node(&mut self, node: NodeId, seq: u64, state: Option<&Arc<NodeState>>, position: Position) {
        if self.nodes.get(&node).is_some_and(|old| old.seq > seq) {
            return;
        }
        self.nodes.insert(node, Versioned { seq, value: state.cloned(), position });
        self.order.push_back((position, Key::Node(node)));
    }

    fn add_entry(&mut self, parent: NodeId, name: &Name, seq: u64, node: Option<NodeId>, position: Position) {
        let names = self.entries.entry(parent).or_default();
        if names.get(name).is_some_and(|old| old.seq > seq) {
            return;
        }
        let old = names.insert(name.clone(), Versioned { seq, value: node, position });
        self.move_place(old.and_then(|old| old.value), node, parent, name);
        self.order.push_back((position, Key::Entry(parent, name.clone())));
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// A node's row, if it is pending.
    pub fn node(&self, node: NodeId) -> Option<&Versioned<Option<Arc<NodeState>>>> {
        self.nodes.get(&node)
    }

    /// An entry's row, if it is pending.
    pub fn entry(&self, parent: NodeId, name: &Name) -> Option<&Versioned<Option<NodeId>>> {
        self.entries.get(&parent)?.get(name)
    }

    /// Pending entries of a folder.
    pub fn entries_of(&self, parent: NodeId) -> impl Iterator<Item = (&Name, &Versioned<Option<NodeId>>)> + '_ {
        self.entries.get(&parent).into_iter().flatten()
    }

    /// Pending entries that name a node.
    pub fn places_of(&self, node: NodeId) -> impl Iterator<Item = &(NodeId, Name)> + '_ {
        self.places.get(&node).into_iter().flatten()
    }

    fn move_place(&mut self, old: Option<NodeId>, new: Option<NodeId>, parent: NodeId, name: &Name) {
        if let Some(old) = old
            && let Some(places) = self.places.get_mut(&old)
        {
            places.retain(|(other, known)| (*other, known) != (parent, name));
            if places.is_empty() {
                self.places.remove(&old);
            }
        }
        let Some(new) = new else { return };
        let place = (parent, name.clone());
        match self.places.entry(new) {
            Entry::Vacant(places) => drop(places.insert(vec![place])),
            Entry::Occupied(mut places) => {
                let places = places.get_mut();
                if let Err(at) = places.binary_search(&place) {
                    places.insert(at, place);
                }
            }
        }
    }

    /// Forgets what has come into the database.
    pub fn materialised(&mut self, up_to: Position) {
        while self.order.front().is_some_and(|(position, _)| *position <= up_to) {
            match self.order.pop_front() {
                Some((_, Key::Node(node))) => {
                    if self.nodes.get(&node).is_some_and(|row| row.position <= up_to) {
                        self.nodes.remove(&node);
                    }
                }
                Some((_, Key::Entry(parent, name))) => self.forget_entry(parent, &name, up_to),
                None => return,
            }
        }
    }

    fn forget_entry(&mut self, parent: NodeId, name: &Name, up_to: Position) {
        let Some(names) = self.entries.get_mut(&parent) else { return };
        let done = names.get(name).is_some_and(|row| row.position <= up_to);
        let old = if done { names.remove(name) } else { None };
        if names.is_empty() {
            self.entries.remove(&parent);
        }
        self.move_place(old.and_then(|old| old.value), None, parent, name);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NODE: NodeId = NodeId([1; 16]);
    const FOLDER: NodeId = NodeId([2; 16]);

    #[test]
    fn a_row_overwrites_those_of_its_own_seq_and_of_lower_ones() {
        let name = Name::new("f").unwrap();
        let mut pending = PendingRemote::default();
        let mut shown = |at: u64, seq, node| {
            let row = Row::Entry { parent: FOLDER, name: name.clone(), node };
            pending.add(&[Change { seq, row }], Position(at));
            pending.entry(FOLDER, &name).unwrap().value
        };
        assert_eq!(shown(1, 5, Some(NODE)), Some(NODE));
        assert_eq!(shown(2, 4, None), Some(NODE), "it is older");
        assert_eq!(shown(3, 5, None), None);
        assert_eq!(shown(4, 6, Some(NODE)), Some(NODE));
    }
}
