//! Owns the state that rules see: rows loaded from the store, or all rows there are.
//!
//! It follows the batch: after each decision [`Snapshot::apply`] makes the next one see its effects.

use super::draft::Effects;
use super::row::{ConflictRow, EntryRow, Key, NodeRow, NodeSlot, VersionRow};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tarn_proto::ids::{DeviceId, NodeId, SpaceId, VersionId};
use tarn_proto::name::Name;
use tarn_proto::op::Place;

/// The present rows of one space, as far as they are loaded.
#[derive(Debug, Clone)]
pub struct Snapshot {
    space: SpaceId,
    complete: bool,
    pub(super) nodes: HashMap<NodeId, NodeSlot>,
    pub(super) places: HashMap<Place, Option<EntryRow>>,
    pub(super) links: HashMap<NodeId, BTreeSet<Place>>,
    pub(super) children: HashMap<NodeId, BTreeMap<Name, EntryRow>>,
    pub(super) gone_trees: HashMap<NodeId, Vec<(Place, NodeId)>>,
    pub(super) versions: HashMap<VersionId, Option<VersionRow>>,
    pub(super) conflicts: HashMap<NodeId, Vec<ConflictRow>>,
    recovered: HashMap<NodeId, u64>,
    /// Whether a device was removed.
    devices: HashMap<DeviceId, bool>,
}

impl Snapshot {
    /// A snapshot with nothing loaded.
    pub fn empty(space: SpaceId) -> Self {
        Self {
            space,
            complete: false,
            nodes: HashMap::new(),
            places: HashMap::new(),
            links: HashMap::new(),
            children: HashMap::new(),
            gone_trees: HashMap::new(),
            versions: HashMap::new(),
            conflicts: HashMap::new(),
            recovered: HashMap::new(),
            devices: HashMap::new(),
        }
    }

    /// The whole state of a space that holds only its root: what is not in it does not exist.
    pub fn complete(space: SpaceId, root: NodeRow) -> Self {
        let mut snapshot = Self { complete: true, ..Self::empty(space) };
        snapshot.nodes.insert(NodeId::root_of(space), NodeSlot::Present(root));
        snapshot
    }

    /// The space.
    pub fn space(&self) -> SpaceId {
        self.space
    }

    /// The root directory.
    pub fn root(&self) -> NodeId {
        NodeId::root_of(self.space)
    }

    /// What is known of a node.
    pub(super) fn node(&self, id: NodeId) -> Result<&NodeSlot, Key> {
        match self.nodes.get(&id) {
            Some(slot) => Ok(slot),
            None if self.complete => Ok(&NodeSlot::Unknown),
            None => Err(Key::Node(id)),
        }
    }

    /// The entry at a place.
    pub(super) fn entry(&self, place: &Place) -> Result<Option<&EntryRow>, Key> {
        match self.places.get(place) {
            Some(entry) => Ok(entry.as_ref()),
            None if self.complete => Ok(None),
            None => match self.children.get(&place.parent) {
                Some(children) => Ok(children.get(&place.name)),
                None => Err(Key::Place(place.clone())),
            },
        }
    }

    /// The entries that name a loaded node.
    pub(super) fn links(&self, id: NodeId) -> Result<BTreeSet<Place>, Key> {
        self.node(id)?;
        Ok(self.links.get(&id).cloned().unwrap_or_default())
    }

    /// A folder's entries.
    pub(super) fn children(&self, dir: NodeId) -> Result<BTreeMap<Name, EntryRow>, Key> {
        match self.children.get(&dir) {
            Some(children) => Ok(children.clone()),
            None if self.complete => Ok(BTreeMap::new()),
            None => Err(Key::Tree(dir)),
        }
    }

    /// What went with a folder that is gone.
    pub(super) fn gone_tree(&self, dir: NodeId) -> Result<Vec<(Place, NodeId)>, Key> {
        match self.gone_trees.get(&dir) {
            Some(entries) => Ok(entries.clone()),
            None if self.complete => Ok(Vec::new()),
            None => Err(Key::GoneTree(dir)),
        }
    }

    /// Which node a version belongs to.
    pub(super) fn version(&self, id: VersionId) -> Result<Option<VersionRow>, Key> {
        match self.versions.get(&id) {
            Some(version) => Ok(*version),
            None if self.complete => Ok(None),
            None => Err(Key::Version(id)),
        }
    }

    /// A node's open conflicts.
    pub(super) fn conflicts(&self, node: NodeId) -> Result<&[ConflictRow], Key> {
        match self.conflicts.get(&node) {
            Some(conflicts) => Ok(conflicts),
            None if self.complete => Ok(&[]),
            None => Err(Key::Conflicts(node)),
        }
    }

    /// Up to which seq of a lost history a node's state was brought back; 0 if it was not.
    pub(super) fn recovered(&self, id: NodeId) -> Result<u64, Key> {
        match self.recovered.get(&id) {
            Some(upto) => Ok(*upto),
            None if self.complete => Ok(0),
            None => Err(Key::Recovered(id)),
        }
    }

    /// Those of these devices that were removed.
    pub(super) fn removed(&self, devices: &[DeviceId]) -> Result<Vec<DeviceId>, Key> {
        let is_known = |device: &DeviceId| self.complete || self.devices.contains_key(device);
        if !devices.iter().all(is_known) {
            return Err(Key::Devices(devices.to_vec()));
        }
        Ok(devices.iter().copied().filter(|device| self.devices.get(device) == Some(&true)).collect())
    }

    /// Adds what is known of a node, with the entries that name it. What is loaded already stays: it
    /// may hold changes of the batch that the store does not have yet.
    pub fn load_node(&mut self, id: NodeId, slot: NodeSlot, links: impl IntoIterator<Item = (Place, EntryRow)>) {
        if self.nodes.contains_key(&id) {
            return;
        }
        self.nodes.insert(id, slot);
        let known = self.links.entry(id).or_default();
        for (place, entry) in links {
            self.places.entry(place.clone()).or_insert(Some(entry));
            known.insert(place);
        }
    }

    /// Adds what stands at a place.
    pub fn load_place(&mut self, place: Place, entry: Option<EntryRow>) {
        self.places.entry(place).or_insert(entry);
    }

    /// Adds a folder's whole listing as the store has it.
    pub fn load_children(&mut self, dir: NodeId, listing: impl IntoIterator<Item = (Name, EntryRow)>) {
        if self.children.contains_key(&dir) {
            return;
        }
        let mut children: BTreeMap<Name, EntryRow> = listing.into_iter().collect();
        for (place, entry) in self.places.iter().filter(|(place, _)| place.parent == dir) {
            match entry {
                Some(entry) => children.insert(place.name.clone(), *entry),
                None => children.remove(&place.name),
            };
        }
        self.children.insert(dir, children);
    }

    /// Adds what went with a folder that is gone.
    pub fn load_gone_tree(&mut self, dir: NodeId, entries: Vec<(Place, NodeId)>) {
        self.gone_trees.entry(dir).or_insert(entries);
    }

    /// Adds which node a version belongs to.
    pub fn load_version(&mut self, id: VersionId, version: Option<VersionRow>) {
        self.versions.entry(id).or_insert(version);
    }

    /// Adds a node's open conflicts.
    pub fn load_conflicts(&mut self, node: NodeId, conflicts: Vec<ConflictRow>) {
        self.conflicts.entry(node).or_insert(conflicts);
    }

    /// Says up to which seq of a lost history a node's state was brought back.
    pub fn set_recovered(&mut self, id: NodeId, upto: u64) {
        let known = self.recovered.entry(id).or_default();
        *known = upto.max(*known);
    }

    /// Says whether a device was removed.
    pub fn load_device(&mut self, device: DeviceId, is_removed: bool) {
        self.devices.insert(device, is_removed);
    }

    /// Whether a loaded node is a present folder.
    pub fn is_present_dir(&self, id: NodeId) -> bool {
        matches!(self.nodes.get(&id), Some(NodeSlot::Present(row)) if row.state.kind.is_dir())
    }

    /// When a loaded node went, if it is gone.
    pub fn gone_seq(&self, id: NodeId) -> Option<u64> {
        match self.nodes.get(&id) {
            Some(NodeSlot::Gone(gone)) => Some(gone.seq),
            _ => None,
        }
    }

    /// Whether a key needs no loading.
    pub fn has(&self, key: &Key) -> bool {
        match key {
            Key::Node(id) => self.node(*id).is_ok(),
            Key::Chain(id) => self.has_chain(*id),
            Key::Place(place) => self.entry(place).is_ok(),
            Key::Tree(dir) => self.children(*dir).is_ok(),
            Key::GoneTree(dir) => self.gone_tree(*dir).is_ok(),
            Key::Version(id) => self.version(*id).is_ok(),
            Key::Conflicts(id) => self.conflicts(*id).is_ok(),
            Key::Recovered(id) => self.recovered(*id).is_ok(),
            Key::Devices(devices) => self.removed(devices).is_ok(),
        }
    }

    fn has_chain(&self, from: NodeId) -> bool {
        let mut id = from;
        for _ in 0..=tarn_proto::limits::DEPTH_MAX {
            if id == self.root() {
                return self.nodes.contains_key(&id) || self.complete;
            }
            match self.node(id) {
                Ok(NodeSlot::Alias(alias)) => id = alias.target,
                Ok(_) => match self.links.get(&id).and_then(|links| links.first()) {
                    Some(place) => id = place.parent,
                    None => return true,
                },
                Err(_) => return false,
            }
        }
        true
    }

    /// Makes later decisions see the effects of one.
    pub fn apply(&mut self, effects: &Effects) {
        for change in &effects.nodes {
            self.apply_node(change.id, &change.slot);
        }
        for change in &effects.entries {
            self.apply_entry(&change.place, change.after);
        }
        self.note_gone(effects);
        for (id, alias) in &effects.aliases {
            self.nodes.insert(*id, NodeSlot::Alias(*alias));
        }
        for change in &effects.conflicts {
            let open = self.conflicts.entry(change.row.state.node).or_default();
            open.retain(|old| old.id != change.row.id);
            if !change.is_resolved {
                open.push(change.row.clone());
            }
        }
        for change in &effects.versions {
            let row = VersionRow { node: change.node, content_id: change.file.content.content_id };
            self.versions.insert(change.file.content.version, Some(row));
        }
    }

    fn apply_node(&mut self, id: NodeId, slot: &NodeSlot) {
        match self.nodes.insert(id, slot.clone()) {
            Some(NodeSlot::Present(_)) => {}
            // It was not there, so nothing stands in it.
            Some(NodeSlot::Gone(_)) => drop(self.children.insert(id, BTreeMap::new())),
            _ => {
                self.children.insert(id, BTreeMap::new());
                self.conflicts.entry(id).or_default();
            }
        }
    }

    /// Notes what went together: the store does not have it before the batch is written.
    fn note_gone(&mut self, effects: &Effects) {
        let gone_now = |slot: Option<&NodeSlot>| matches!(slot, Some(NodeSlot::Gone(gone)) if gone.seq == effects.seq);
        for change in &effects.nodes {
            if gone_now(Some(&change.slot)) {
                self.gone_trees.insert(change.id, Vec::new());
            }
        }
        for change in effects.entries.iter().filter(|change| change.after.is_none()) {
            let Some(before) = change.before else { continue };
            let mut above = change.place.parent;
            while gone_now(self.nodes.get(&above)) {
                self.gone_trees.entry(above).or_default().push((change.place.clone(), before.node));
                match self.nodes.get(&above) {
                    Some(NodeSlot::Gone(gone)) => match &gone.place {
                        Some(place) => above = place.parent,
                        None => break,
                    },
                    _ => break,
                }
            }
        }
    }

    fn apply_entry(&mut self, place: &Place, entry: Option<EntryRow>) {
        let before = self.entry(place).ok().flatten().copied();
        if let Some(before) = before
            && let Some(links) = self.links.get_mut(&before.node)
        {
            links.remove(place);
        }
        if let Some(entry) = entry {
            self.links.entry(entry.node).or_default().insert(place.clone());
        }
        if self.complete || self.children.contains_key(&place.parent) {
            let children = self.children.entry(place.parent).or_default();
            match entry {
                Some(entry) => children.insert(place.name.clone(), entry),
                None => children.remove(&place.name),
            };
        }
        self.places.insert(place.clone(), entry);
    }

    /// All present nodes that are loaded.
    pub fn present_nodes(&self) -> impl Iterator<Item = (NodeId, &NodeRow)> {
        self.nodes.iter().filter_map(|(&id, slot)| match slot {
            NodeSlot::Present(row) => Some((id, row)),
            _ => None,
        })
    }

    /// All present entries that are loaded.
    pub fn present_entries(&self) -> impl Iterator<Item = (&Place, EntryRow)> {
        self.places.iter().filter_map(|(place, entry)| entry.map(|entry| (place, entry)))
    }

    /// All open conflicts that are loaded.
    pub fn open_conflicts(&self) -> impl Iterator<Item = &ConflictRow> {
        self.conflicts.values().flatten()
    }
}
