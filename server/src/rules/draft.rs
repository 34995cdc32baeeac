//! Owns one operation's changes while it is decided: laid over the snapshot, dropped or finished.

use super::row::{AliasRow, ConflictRow, EntryRow, GoneNode, NodeRow, NodeSlot};
use super::snapshot::Snapshot;
use super::{Author, Halt, Rule};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::{ConflictId, DeviceId, NodeId, VersionId};
use tarn_proto::name::Name;
use tarn_proto::node::{FileVersion, NodeState};
use tarn_proto::op::{Operation, Place};
use tarn_proto::version::VersionVector;

/// What an operation changes; rows as they stand afterwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Effects {
    /// The journal's number for it.
    pub seq: u64,
    /// Whose operation.
    pub device: DeviceId,
    /// Which operation.
    pub counter: u64,
    /// Nodes.
    pub nodes: Vec<NodeChange>,
    /// Entries.
    pub entries: Vec<EntryChange>,
    /// New aliases.
    pub aliases: Vec<(NodeId, AliasRow)>,
    /// Conflicts.
    pub conflicts: Vec<ConflictChange>,
    /// Versions that are new, or whose vector has grown.
    pub versions: Vec<VersionChange>,
    /// Growth of the bytes of all present contents.
    pub bytes_grown: i64,
}

/// A node that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeChange {
    /// Which.
    pub id: NodeId,
    /// Whether a present row is superseded.
    pub was_present: bool,
    /// Its new row: present or gone.
    pub slot: NodeSlot,
}

/// An entry that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryChange {
    /// Where.
    pub place: Place,
    /// What stood there.
    pub before: Option<EntryRow>,
    /// What stands there now.
    pub after: Option<EntryRow>,
}

/// A conflict that is opened, changes or ends.
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictChange {
    /// Whether an open record is superseded.
    pub was_open: bool,
    /// Whether it is resolved, and has no row from now on.
    pub is_resolved: bool,
    /// The record now.
    pub row: ConflictRow,
}

/// A version that is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionChange {
    /// Whose content.
    pub node: NodeId,
    /// The content and what it has seen.
    pub file: FileVersion,
}

impl Effects {
    /// Nodes that change, or that get or lose a name.
    pub fn touched(&self) -> impl Iterator<Item = NodeId> {
        let named = |change: &EntryChange| [change.before, change.after].into_iter().flatten().map(|entry| entry.node);
        self.nodes.iter().map(|change| change.id).chain(self.entries.iter().flat_map(named))
    }

    /// The rows as the wire has them.
    pub fn changes(&self) -> Vec<Change> {
        let nodes = self.nodes.iter().map(|change| {
            let state = match &change.slot {
                NodeSlot::Present(row) => Some(Arc::new(row.state.clone())),
                _ => None,
            };
            Row::Node { node: change.id, state }
        });
        let entries = self.entries.iter().map(|change| Row::Entry {
            parent: change.place.parent,
            name: change.place.name.clone(),
            node: change.after.map(|entry| entry.node),
        });
        let aliases = self.aliases.iter().map(|(node, alias)| Row::Alias { node: *node, target: alias.target });
        let conflicts = self.conflicts.iter().map(|change| {
            let state = (!change.is_resolved).then(|| Box::new(change.row.state.clone()));
            Row::Conflict { conflict: change.row.id, state }
        });
        aliases.chain(nodes).chain(entries).chain(conflicts).map(|row| Change { seq: self.seq, row }).collect()
    }
}

/// The snapshot with one operation's changes laid over it.
pub(super) struct Draft<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) author: &'a Author,
    pub(super) counter: u64,
    pub(super) alt_name: Option<&'a Name>,
    pub(super) seq: u64,
    nodes: BTreeMap<NodeId, NodeSlot>,
    entries: BTreeMap<Place, Option<EntryRow>>,
    stand_ins: BTreeMap<NodeId, NodeId>,
    aliases: Vec<(NodeId, AliasRow)>,
    conflicts: BTreeMap<ConflictId, ConflictRow>,
    resolved: BTreeSet<ConflictId>,
    versions: BTreeMap<VersionId, VersionChange>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, author: &'a Author, op: &'a Operation, seq: u64) -> Self {
        Self::named(snapshot, author, (op.counter, op.alt_name.as_ref()), seq)
    }

    /// The same for what is no operation: with a counter and a name of its own.
    pub(super) fn named(
        snapshot: &'a Snapshot,
        author: &'a Author,
        (counter, alt_name): (u64, Option<&'a Name>),
        seq: u64,
    ) -> Self {
        Self {
            snapshot,
            author,
            counter,
            alt_name,
            seq,
            nodes: BTreeMap::new(),
            entries: BTreeMap::new(),
            stand_ins: BTreeMap::new(),
            aliases: Vec::new(),
            conflicts: BTreeMap::new(),
            resolved: BTreeSet::new(),
            versions: BTreeMap::new(),
        }
    }

    /// What is known of a node; aliases are not followed.
    pub(super) fn node(&self, id: NodeId) -> Rule<&NodeSlot> {
        match self.nodes.get(&id) {
            Some(slot) => Ok(slot),
            None => self.snapshot.node(id).map_err(Halt::Missing),
        }
    }

    /// The node that an id stands for.
    pub(super) fn resolve(&self, id: NodeId) -> Rule<NodeId> {
        match self.node(id)? {
            NodeSlot::Alias(alias) => Ok(alias.target),
            _ => Ok(id),
        }
    }

    /// A present node's row.
    pub(super) fn present(&self, id: NodeId) -> Rule<Option<&NodeRow>> {
        match self.node(id)? {
            NodeSlot::Present(row) => Ok(Some(row)),
            _ => Ok(None),
        }
    }

    /// What stands at a place (of a resolved parent).
    pub(super) fn entry(&self, place: &Place) -> Rule<Option<EntryRow>> {
        match self.entries.get(place) {
            Some(entry) => Ok(*entry),
            None => self.snapshot.entry(place).map(|entry| entry.copied()).map_err(Halt::Missing),
        }
    }

    /// All entries that name a node.
    pub(super) fn links(&self, id: NodeId) -> Rule<BTreeSet<Place>> {
        let mut links = match self.snapshot.links(id) {
            Ok(links) => links,
            // Made by this very operation.
            Err(_) if self.nodes.contains_key(&id) => BTreeSet::new(),
            Err(key) => return Err(Halt::Missing(key)),
        };
        for (place, entry) in &self.entries {
            match entry {
                Some(entry) if entry.node == id => links.insert(place.clone()),
                _ => links.remove(place),
            };
        }
        Ok(links)
    }

    /// All entries of a folder.
    pub(super) fn children(&self, dir: NodeId) -> Rule<BTreeMap<Name, EntryRow>> {
        let mut children = self.snapshot.children(dir).map_err(Halt::Missing)?;
        for (place, entry) in self.entries.iter().filter(|(place, _)| place.parent == dir) {
            match entry {
                Some(entry) => children.insert(place.name.clone(), *entry),
                None => children.remove(&place.name),
            };
        }
        Ok(children)
    }

    /// What a content that stays has seen: `seen`, this operation, and nothing any more of devices that were removed.
    ///
    /// Their components are not missed. Who has seen this content has its author's component, which nobody has who has not; and who
    /// is still at one of the older contents has not, whatever it knows of removed devices.
    pub(super) fn vector(&self, seen: VersionVector) -> Rule<VersionVector> {
        let mut others: Vec<DeviceId> = seen.iter().map(|(device, _)| device).collect();
        others.retain(|device| *device != self.author.device);
        let removed = match others.is_empty() {
            true => Vec::new(),
            false => self.snapshot.removed(&others).map_err(Halt::Missing)?,
        };
        let kept = removed.into_iter().fold(seen, VersionVector::without);
        Ok(kept.with(self.author.device, self.counter))
    }

    /// Sets a node's state; what is so already stays the row that it is. With `content_new` the
    /// content counts as brought by this operation.
    pub(super) fn put_node(&mut self, id: NodeId, state: NodeState, content_new: bool) -> Rule<()> {
        let stored = self.snapshot.node(id).ok();
        if matches!(stored, Some(NodeSlot::Present(row)) if row.state == state) {
            self.nodes.remove(&id);
            return Ok(());
        }
        let (content_seq, content_device) = match self.nodes.get(&id).or(stored) {
            Some(NodeSlot::Present(row)) if !content_new => (row.content_seq, row.content_device),
            _ => (self.seq, self.author.device),
        };
        let row = NodeRow { seq: self.seq, device: self.author.device, content_seq, content_device, state };
        self.nodes.insert(id, NodeSlot::Present(row));
        Ok(())
    }

    /// Removes a node whose last entry, at `place`, goes.
    pub(super) fn drop_node(&mut self, id: NodeId, place: Option<&Place>) -> Rule<()> {
        if let NodeSlot::Present(row) = self.node(id)? {
            let gone = GoneNode { row: row.clone(), seq: self.seq, place: place.cloned() };
            self.nodes.insert(id, NodeSlot::Gone(Box::new(gone)));
        }
        Ok(())
    }

    /// Makes a place name a node; what is so already stays the row that it is.
    pub(super) fn put_entry(&mut self, place: Place, node: NodeId) {
        if matches!(self.snapshot.entry(&place), Ok(Some(entry)) if entry.node == node) {
            self.entries.remove(&place);
            return;
        }
        let meant_for = self.stand_ins.get(&place.parent).copied();
        self.entries.insert(place, Some(EntryRow { node, seq: self.seq, device: self.author.device, meant_for }));
    }

    /// A present folder stands for a removed one: what is put in it is meant for that.
    pub(super) fn stands_for(&mut self, present: NodeId, removed: NodeId) {
        self.stand_ins.insert(present, removed);
    }

    /// Frees a place.
    pub(super) fn drop_entry(&mut self, place: &Place) {
        self.entries.insert(place.clone(), None);
    }

    /// Makes a node id stand for another for ever.
    pub(super) fn put_alias(&mut self, node: NodeId, target: NodeId) {
        self.aliases.push((node, AliasRow { target, seq: self.seq }));
    }

    /// Records a version, or its grown vector.
    pub(super) fn put_version(&mut self, node: NodeId, file: FileVersion) {
        self.versions.insert(file.content.version, VersionChange { node, file });
    }

    /// Opens or changes a conflict.
    pub(super) fn put_conflict(&mut self, row: ConflictRow) {
        self.conflicts.insert(row.id, row);
    }

    /// Ends a conflict.
    pub(super) fn end_conflict(&mut self, row: ConflictRow) {
        self.resolved.insert(row.id);
        self.conflicts.insert(row.id, row);
    }

    /// An id that only this operation makes: retried, it makes the same.
    pub(super) fn derived_id(&self, purpose: &str) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        hasher.update(self.author.space.as_bytes());
        hasher.update(self.author.device.as_bytes());
        hasher.update(&self.counter.to_be_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        id
    }

    /// The finished changes; `None` if every row is as it was.
    pub(super) fn effects(&self) -> Option<Effects> {
        let mut effects = Effects {
            seq: self.seq,
            device: self.author.device,
            counter: self.counter,
            nodes: Vec::new(),
            entries: Vec::new(),
            aliases: self.aliases.clone(),
            conflicts: self.conflicts.values().map(|row| self.conflict_change(row)).collect(),
            versions: self.versions.values().cloned().collect(),
            bytes_grown: 0,
        };
        for (&id, slot) in &self.nodes {
            self.node_effect(id, slot, &mut effects);
        }
        for (place, &after) in &self.entries {
            let before = self.snapshot.entry(place).ok().flatten().copied();
            if before.map(|entry| entry.node) != after.map(|entry| entry.node) {
                effects.entries.push(EntryChange { place: place.clone(), before, after });
            }
        }
        let unchanged = effects.nodes.is_empty()
            && effects.entries.is_empty()
            && effects.aliases.is_empty()
            && effects.conflicts.is_empty();
        (!unchanged).then_some(effects)
    }

    fn node_effect(&self, id: NodeId, slot: &NodeSlot, effects: &mut Effects) {
        let before = match self.snapshot.node(id) {
            Ok(NodeSlot::Present(row)) => Some(row),
            _ => None,
        };
        let after = match slot {
            NodeSlot::Present(row) => Some(row),
            _ => None,
        };
        if before.map(|row| &row.state) == after.map(|row| &row.state) {
            return;
        }
        let size = |row: Option<&NodeRow>| row.and_then(NodeRow::file).map_or(0, |file| file.content.size as i64);
        effects.bytes_grown += size(after) - size(before);
        effects.nodes.push(NodeChange { id, was_present: before.is_some(), slot: slot.clone() });
    }

    fn conflict_change(&self, row: &ConflictRow) -> ConflictChange {
        let known = self.snapshot.conflicts(row.state.node).unwrap_or_default();
        let was_open = known.iter().any(|open| open.id == row.id);
        ConflictChange { was_open, is_resolved: self.resolved.contains(&row.id), row: row.clone() }
    }
}
