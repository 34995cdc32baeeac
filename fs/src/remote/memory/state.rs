//! Owns the rows of the in-memory server: one space, its journal, its chunks, its devices.

use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tarn_proto::api::Answer;
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::chunk::{ContentKey, decode};
use tarn_proto::ids::{ChunkId, DeviceId, EpochId, JournalHash, NodeId, SpaceId};
use tarn_proto::lost::EpochStart;
use tarn_proto::manifest::{Lookup, survey};
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, Content, NodeKind, NodeState};
use tarn_proto::op::Operation;

/// What the server remembers of a device.
#[derive(Debug, Default)]
pub(super) struct DeviceState {
    pub highest: u64,
    /// First answers that the device may still ask for, with what they answered.
    pub answers: BTreeMap<u64, (Operation, Answer)>,
    pub is_revoked: bool,
}

/// Everything the server knows.
#[derive(Debug)]
pub(super) struct State {
    pub space: SpaceId,
    pub epoch: EpochId,
    pub epochs: Vec<EpochStart>,
    /// The journal's hash at each seq, from 0.
    pub hashes: Vec<JournalHash>,
    pub nodes: BTreeMap<NodeId, (u64, Option<NodeState>)>,
    pub entries: BTreeMap<(NodeId, Name), (u64, Option<NodeId>)>,
    pub chunks: HashMap<ChunkId, Bytes>,
    pub devices: HashMap<DeviceId, DeviceState>,
    /// Pages not asked for yet, by token.
    pub pages: HashMap<String, (Cursor, Vec<Change>)>,
    pub next_page: u64,
}

impl State {
    pub fn new(space: SpaceId) -> Self {
        let root = NodeState { kind: NodeKind::Dir, attrs: Attrs { mode: 0o755, ..Attrs::default() }, file: None };
        Self {
            space,
            epoch: EpochId([1; 16]),
            epochs: vec![EpochStart { epoch: EpochId([1; 16]), seq: 0 }],
            hashes: vec![JournalHash([0; 32])],
            nodes: BTreeMap::from([(NodeId::root_of(space), (0, Some(root)))]),
            entries: BTreeMap::new(),
            chunks: HashMap::new(),
            devices: HashMap::new(),
            pages: HashMap::new(),
            next_page: 0,
        }
    }

    pub fn seq(&self) -> u64 {
        self.hashes.len() as u64 - 1
    }

    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.seq(), hash: self.hashes[self.hashes.len() - 1] }
    }

    /// Whether a device can have this cursor.
    pub fn knows(&self, cursor: &Cursor) -> bool {
        let hash = usize::try_from(cursor.seq).ok().and_then(|seq| self.hashes.get(seq));
        cursor.epoch == self.epoch && hash == Some(&cursor.hash)
    }

    pub fn node(&self, node: NodeId) -> Option<&NodeState> {
        self.nodes.get(&node).and_then(|(_, state)| state.as_ref())
    }

    pub fn entry(&self, parent: NodeId, name: &Name) -> Option<NodeId> {
        self.entries.get(&(parent, name.clone())).and_then(|(_, node)| *node)
    }

    pub fn links(&self, node: NodeId) -> usize {
        self.entries.values().filter(|(_, target)| *target == Some(node)).count()
    }

    /// The journal's next seq.
    pub fn commit(&mut self) -> u64 {
        let seq = self.hashes.len() as u64;
        let last = self.hashes[self.hashes.len() - 1];
        let hash = blake3::Hasher::new().update(&last.0).update(&seq.to_le_bytes()).finalize();
        self.hashes.push(JournalHash(*hash.as_bytes()));
        seq
    }

    pub fn set_node(&mut self, seq: u64, node: NodeId, state: Option<NodeState>) -> Change {
        self.nodes.insert(node, (seq, state.clone()));
        Change { seq, row: Row::Node { node, state: state.map(Arc::new) } }
    }

    pub fn set_entry(&mut self, seq: u64, parent: NodeId, name: &Name, node: Option<NodeId>) -> Change {
        self.entries.insert((parent, name.clone()), (seq, node));
        Change { seq, row: Row::Entry { parent, name: name.clone(), node } }
    }

    /// Rows that became so after a seq.
    pub fn changes_since(&self, seq: u64) -> Vec<Change> {
        let nodes = self.nodes.iter().map(|(node, (at, state))| {
            let row = Row::Node { node: *node, state: state.clone().map(Arc::new) };
            Change { seq: *at, row }
        });
        let entries = self.entries.iter().map(|((parent, name), (at, node))| {
            let row = Row::Entry { parent: *parent, name: name.clone(), node: *node };
            Change { seq: *at, row }
        });
        let is_gone = |row: &Row| matches!(row, Row::Node { state: None, .. } | Row::Entry { node: None, .. });
        let is_wanted = |change: &Change| match seq {
            // Whoever starts afresh is not told of what is gone.
            0 => !is_gone(&change.row),
            seq => change.seq > seq,
        };
        // Children before parents: what a client must be able to take.
        entries.chain(nodes).filter(is_wanted).collect()
    }

    /// Chunks of a content that were never sent.
    pub fn lacking(&self, content: &Content) -> Result<Vec<ChunkId>, String> {
        let survey = survey(&content.manifest, content.size, |id| match self.plain(*id) {
            Some(plain) => Lookup::Bytes(plain),
            None => Lookup::Missing,
        })
        .map_err(|e| e.to_string())?;
        let chunks = survey.chunks.keys().filter(|id| !self.chunks.contains_key(id));
        Ok(survey.missing.keys().chain(chunks).copied().collect())
    }

    /// A chunk's plaintext.
    pub fn plain(&self, id: ChunkId) -> Option<Vec<u8>> {
        self.chunks.get(&id).and_then(|stored| decode(&ContentKey::Ordinary, id, stored).ok())
    }
}
