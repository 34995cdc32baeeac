//! A whole space in memory, devices that change it, and what must always hold of it.

use crate::rules::{Author, ConflictRow, Decision, NodeRow, Resolve, Snapshot, Undo, decide, resolve, undo};
use std::collections::{BTreeMap, BTreeSet};
use tarn_proto::api::{Keep, Outcome};
use tarn_proto::change::Row;
use tarn_proto::ids::{ContentId, DeviceId, NodeId, SpaceId, VersionId};
use tarn_proto::manifest::Manifest;
use tarn_proto::name::Name;
use tarn_proto::node::{AttrChange, Attrs, Content, NodeKind, NodeState, Timestamp};
use tarn_proto::op::{OpKind, Operation, Place, RenameMode, Seen};
use tarn_proto::version::VersionVector;

pub const SPACE: SpaceId = SpaceId([1; 16]);
pub const ROOT: NodeId = NodeId([1; 16]);
pub const A: u8 = 1;
pub const B: u8 = 2;
pub const C: u8 = 3;

/// The state, the journal's seq, and the counters of the devices.
pub struct State {
    pub snapshot: Snapshot,
    pub seq: u64,
    pub counters: BTreeMap<u8, u64>,
    /// What each device has seen of the journal; the head unless a test says otherwise.
    pub cursors: BTreeMap<u8, u64>,
    /// All versions that were ever recorded.
    pub versions: BTreeSet<VersionId>,
    made: u64,
}

pub fn device(n: u8) -> DeviceId {
    DeviceId([n; 16])
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn at(parent: NodeId, text: &str) -> Place {
    Place { parent, name: name(text) }
}

pub fn top(text: &str) -> Place {
    at(ROOT, text)
}

pub fn vector(parts: &[(u8, u64)]) -> VersionVector {
    parts.iter().fold(VersionVector::default(), |vector, &(n, counter)| vector.with(device(n), counter))
}

pub fn dir(node: NodeId, place: &Place) -> OpKind {
    OpKind::Create { node, place: place.clone(), kind: NodeKind::Dir, attrs: Attrs::default(), content: None }
}

pub fn file(node: NodeId, place: &Place, content: Content) -> OpKind {
    let attrs = Attrs::default();
    OpKind::Create { node, place: place.clone(), kind: NodeKind::File, attrs, content: Some(content) }
}

pub fn write(node: NodeId, place: &Place, base: &VersionVector, content: Content) -> OpKind {
    OpKind::Write { node, place: place.clone(), base: base.clone(), content, attrs: AttrChange::default() }
}

pub fn seen(node: NodeId, vector: &VersionVector) -> Seen {
    Seen { node, vector: vector.clone(), seq: None, alt_name: None }
}

pub fn unlink(place: &Place, node: NodeId, vector: &VersionVector) -> OpKind {
    OpKind::Unlink { place: place.clone(), seen: seen(node, vector) }
}

pub fn rename(node: NodeId, from: &Place, to: &Place) -> OpKind {
    rename_over(node, from, to, None)
}

pub fn rename_over(node: NodeId, from: &Place, to: &Place, displaced: Option<Seen>) -> OpKind {
    let mode = if displaced.is_some() { RenameMode::Replace } else { RenameMode::NoReplace };
    let seen = seen(node, &VersionVector::default());
    OpKind::Rename { from: from.clone(), to: to.clone(), seen, displaced, mode }
}

impl State {
    pub fn new() -> Self {
        let state = NodeState { kind: NodeKind::Dir, attrs: Attrs::default(), file: None };
        let nobody = DeviceId([0; 16]);
        Self::with_root(NodeRow { seq: 0, device: nobody, content_seq: 0, content_device: nobody, state })
    }

    pub fn with_root(root: NodeRow) -> Self {
        Self {
            snapshot: Snapshot::complete(SPACE, root),
            seq: 0,
            counters: BTreeMap::new(),
            cursors: BTreeMap::new(),
            versions: BTreeSet::new(),
            made: 0,
        }
    }

    fn fresh(&mut self) -> [u8; 16] {
        self.made += 1;
        let mut id = [0xf0; 16];
        id[..8].copy_from_slice(&self.made.to_be_bytes());
        id
    }

    pub fn node(&mut self) -> NodeId {
        NodeId(self.fresh())
    }

    pub fn content(&mut self, text: &str) -> Content {
        let content_id = ContentId(*blake3::hash(text.as_bytes()).as_bytes());
        Content { version: VersionId(self.fresh()), size: 0, content_id, manifest: Manifest::default() }
    }

    pub fn op(&mut self, by: u8, kind: OpKind, alt: Option<&str>) -> Operation {
        let counter = self.counters.entry(by).or_default();
        *counter += 1;
        Operation { counter: *counter, time: Timestamp::default(), alt_name: alt.map(name), kind }
    }

    /// Decides and applies, and checks what must hold of every decision and state.
    pub fn run(&mut self, by: u8, kind: OpKind, alt: Option<&str>) -> Decision {
        let op = self.op(by, kind, alt);
        self.run_op(by, &op)
    }

    pub fn run_op(&mut self, by: u8, op: &Operation) -> Decision {
        let author = Author {
            space: SPACE,
            device: device(by),
            shown_as: device(by),
            device_name: format!("device {by}"),
            cursor_seq: self.cursors.get(&by).copied().unwrap_or(self.seq),
            now: Timestamp::default(),
        };
        let decision = decide(&self.snapshot, &author, op, self.seq + 1).unwrap();
        self.follow(&decision);
        decision
    }

    fn follow(&mut self, decision: &Decision) {
        self.take(decision);
        self.assert_sound();
    }

    /// Applies a decision that may be one of several.
    pub fn take(&mut self, decision: &Decision) {
        if let Some(effects) = &decision.effects {
            assert!(decision.outcome.is_settled());
            assert!(!matches!(decision.outcome, Outcome::Refused { .. }));
            self.seq = effects.seq;
            self.snapshot.apply(effects);
            self.versions.extend(effects.versions.iter().map(|change| change.file.content.version));
        }
        assert!(decision.changes.iter().all(|change| change.seq <= self.seq));
    }

    /// The same state, as a backup has it.
    pub fn copied(&self) -> Self {
        Self {
            snapshot: self.snapshot.clone(),
            seq: self.seq,
            counters: self.counters.clone(),
            cursors: BTreeMap::new(),
            versions: self.versions.clone(),
            made: self.made,
        }
    }

    /// Devices never make an id twice, whatever becomes of the server.
    pub fn go_on_with_ids_of(&mut self, other: &Self) {
        self.made = self.made.max(other.made);
    }

    /// Resolves a conflict, having seen `seen`, and checks what must hold of every state.
    pub fn resolve(&mut self, open: &ConflictRow, keep: Keep, seen: &VersionVector, alt: Option<&str>) -> Decision {
        self.resolve_seen(open, keep, [seen; 2], alt)
    }

    /// The same, having seen not the same of the file and of its sibling.
    pub fn resolve_seen(
        &mut self,
        open: &ConflictRow,
        keep: Keep,
        [seen_file, seen_sibling]: [&VersionVector; 2],
        alt: Option<&str>,
    ) -> Decision {
        let author = self.server();
        let asked = Resolve {
            conflict: open.id,
            node: open.state.node,
            keep,
            seen_file: seen_file.clone(),
            seen_sibling: seen_sibling.clone(),
            alt_name: alt.map(name),
            content: None,
            version: VersionId(self.fresh()),
            counter: self.seq + 1,
        };
        let decision = resolve(&self.snapshot, &author, &asked, self.seq + 1).unwrap();
        self.follow(&decision);
        decision
    }

    /// Takes back what a device did to a node.
    pub fn undo(&mut self, asked: &Undo) -> Decision {
        let (author, seq) = (self.server(), self.seq + 1);
        let asked = Undo { version: VersionId(self.fresh()), counter: seq, ..asked.clone() };
        let decision = undo(&self.snapshot, &author, &asked, seq).unwrap();
        self.follow(&decision);
        decision
    }

    /// The server in its own name, asked by C.
    pub fn server(&self) -> Author {
        Author {
            space: SPACE,
            device: DeviceId(SPACE.0),
            shown_as: device(C),
            device_name: "device 3".to_owned(),
            cursor_seq: self.seq,
            now: Timestamp::default(),
        }
    }

    /// What a device has seen that has seen everything.
    pub fn all_seen(&self) -> VersionVector {
        let vectors = self.snapshot.present_nodes().filter_map(|(_, row)| row.file()).map(|file| &file.vector);
        vectors.fold(VersionVector::default(), |all, vector| all.joined(vector))
    }

    pub fn applied(&mut self, by: u8, kind: OpKind) -> Decision {
        let decision = self.run(by, kind, None);
        assert_eq!(decision.outcome, Outcome::Applied);
        decision
    }

    pub fn merged(&mut self, by: u8, kind: OpKind, alt: Option<&str>) -> Decision {
        let decision = self.run(by, kind, alt);
        assert_eq!(decision.outcome, Outcome::Merged);
        decision
    }

    /// A folder or file that device A has made in the root.
    pub fn some_dir(&mut self, text: &str) -> NodeId {
        let node = self.node();
        self.applied(A, dir(node, &top(text)));
        node
    }

    /// A file that device A has made, and its vector.
    pub fn some_file(&mut self, place: &Place, text: &str) -> (NodeId, VersionVector) {
        let (node, content) = (self.node(), self.content(text));
        self.applied(A, file(node, place, content));
        (node, vector(&[(A, self.counters[&A])]))
    }

    /// The paths of all entries and what stands there.
    pub fn paths(&self) -> BTreeMap<String, NodeId> {
        let mut paths = BTreeMap::new();
        let mut todo = vec![(String::new(), ROOT)];
        while let Some((path, parent)) = todo.pop() {
            for (place, entry) in self.snapshot.present_entries().filter(|(place, _)| place.parent == parent) {
                let path = format!("{path}/{}", place.name);
                paths.insert(path.clone(), entry.node);
                todo.push((path, entry.node));
            }
        }
        paths
    }

    pub fn names(&self) -> Vec<String> {
        self.paths().into_keys().collect()
    }

    pub fn row(&self, node: NodeId) -> Option<&NodeRow> {
        self.snapshot.present_nodes().find(|(id, _)| *id == node).map(|(_, row)| row)
    }

    pub fn vector_of(&self, node: NodeId) -> VersionVector {
        self.row(node).and_then(NodeRow::file).map(|file| file.vector.clone()).unwrap_or_default()
    }

    pub fn content_of(&self, node: NodeId) -> ContentId {
        self.row(node).unwrap().file().unwrap().content.content_id
    }

    pub fn assert_sound(&self) {
        let nodes: BTreeMap<NodeId, &NodeRow> = self.snapshot.present_nodes().collect();
        let mut named: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (place, entry) in self.snapshot.present_entries() {
            assert!(nodes.contains_key(&entry.node), "{place:?} names what is not there");
            assert!(nodes.get(&place.parent).is_some_and(|row| row.state.kind.is_dir()), "{place:?} is in no folder");
            *named.entry(entry.node).or_default() += 1;
        }
        let reached: BTreeSet<NodeId> = self.paths().into_values().chain([ROOT]).collect();
        for (id, row) in &nodes {
            assert!(reached.contains(id), "{id} cannot be reached");
            assert_eq!(row.state.kind.is_file(), row.state.file.is_some());
            assert!(!row.state.kind.is_dir() || named.get(id).copied().unwrap_or(0) == usize::from(*id != ROOT));
            if let Some(file) = row.file() {
                assert!(self.versions.contains(&file.content.version));
            }
        }
    }
}

/// The rows of a decision that say that something is gone or free.
pub fn absent(decision: &Decision) -> usize {
    let gone = |row: &Row| matches!(row, Row::Node { state: None, .. } | Row::Entry { node: None, .. });
    decision.changes.iter().filter(|change| gone(&change.row)).count()
}
