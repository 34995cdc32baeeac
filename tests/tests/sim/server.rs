//! Owns the server of a simulation: the production rules and the production chain of the journal over rows in memory.
//! It does what `service::push` and `service::pull` do, and checks on the way what must always hold of a journal.

mod backups;
mod chunks;
mod cursors;
mod quota;
mod resolving;
mod spoilt;

use super::plant::Plant;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tarn::remote::RemoteError;
use tarn_proto::api::{
    Answer, ChildEntry, ChildrenResponse, Outcome, PullResponse, PushRequest, PushResponse, to_binary,
};
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, DeviceId, EpochId, JournalHash, NodeId, SpaceId, VersionId};
use tarn_proto::lost::EpochStart;
use tarn_proto::manifest::{Lookup, survey};
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, Content, FileVersion, NodeKind, NodeState, Timestamp};
use tarn_proto::op::{OpKind, Operation};
use tarn_server::rules::{self, Author, Decision, Effects, NodeRow, Snapshot};
use tarn_server::store::batch::Batch;

pub const SPACE: SpaceId = SpaceId([0x5A; 16]);
/// Rows in a page: few, so that pages are always met.
const PAGE_ROWS: usize = 6;

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Alias(NodeId),
    Node(NodeId),
    Entry(NodeId, Name),
    Conflict([u8; 16]),
}

type Digest = [u8; 32];

/// An older copy of the server.
#[derive(Debug, Clone)]
pub struct Backup {
    snapshot: Snapshot,
    rows: BTreeMap<Key, Change>,
    versions: BTreeMap<VersionId, (NodeId, FileVersion)>,
    chunks: HashMap<ChunkId, Bytes>,
    hashes: Vec<JournalHash>,
    marks: BTreeMap<DeviceId, Marks>,
}

/// What is remembered of a device.
#[derive(Debug, Clone, Default)]
struct Marks {
    highest: u64,
    answered: u64,
    answers: BTreeMap<u64, (Digest, Answer)>,
}

/// The server.
#[derive(Debug)]
pub struct SimServer {
    pub snapshot: Snapshot,
    pub rows: BTreeMap<Key, Change>,
    pub versions: BTreeMap<VersionId, (NodeId, FileVersion)>,
    pub chunks: HashMap<ChunkId, Bytes>,
    /// What the chunks that ever came hold.
    plains: HashMap<ChunkId, Bytes>,
    epoch: EpochId,
    epochs: Vec<EpochStart>,
    /// First and last seqs of what was brought back in this epoch.
    recovered: Vec<(u64, u64)>,
    touched: BTreeSet<NodeId>,
    hashes: Vec<JournalHash>,
    /// What went before is not known any more.
    oldest_seq: u64,
    marks: BTreeMap<DeviceId, Marks>,
    names: BTreeMap<DeviceId, String>,
    pages: BTreeMap<String, (Cursor, Vec<Change>)>,
    next_page: u64,
    plant: Option<Plant>,
    /// Bytes that present contents may have together.
    bytes_max: Option<u64>,
    /// Of a thousand contents so many are refused.
    pub refusals: u64,
    pub refused: spoilt::Refused,
    /// Nobody is told that anything has changed.
    pub is_mute: bool,
    /// Folders that others stand for, whatever becomes of that.
    aliased: BTreeSet<NodeId>,
    /// What came of two versions of a file.
    pub settled: resolving::Settled,
    /// What was found wrong on the way.
    pub faults: Vec<String>,
    /// How every operation ended, for the table of what was met.
    pub outcomes: BTreeMap<&'static str, u64>,
}

/// The n-th epoch's id. The server writes in its name, as a device that none of the machines is.
fn epoch_id(number: usize) -> EpochId {
    EpochId([0xE0 + number as u8; 16])
}

fn refused(code: ErrorCode, detail: &str) -> RemoteError {
    RemoteError::Refused { code, detail: detail.into() }
}

fn digest(op: &Operation) -> Digest {
    let mut kind = op.kind.clone();
    kind.seen_mut().for_each(|seen| (seen.alt_name, seen.seq) = (None, None));
    *blake3::hash(&to_binary(&(op.counter, &kind))).as_bytes()
}

fn content_of(op: &Operation) -> Option<&Content> {
    match &op.kind {
        OpKind::Create { content, .. } => content.as_ref(),
        OpKind::Write { content, .. } => Some(content),
        _ => None,
    }
}

impl SimServer {
    pub fn new(plant: Option<Plant>) -> Self {
        let nobody = DeviceId([0; 16]);
        let attrs = Attrs { mode: 0o755, ..Attrs::default() };
        let state = NodeState { kind: NodeKind::Dir, attrs, file: None };
        let root = NodeRow { seq: 0, device: nobody, content_seq: 0, content_device: nobody, state };
        Self {
            snapshot: Snapshot::complete(SPACE, root),
            rows: BTreeMap::new(),
            versions: BTreeMap::new(),
            chunks: HashMap::new(),
            plains: HashMap::new(),
            epoch: epoch_id(1),
            epochs: vec![EpochStart { epoch: epoch_id(1), seq: 0 }],
            recovered: Vec::new(),
            touched: BTreeSet::new(),
            hashes: vec![JournalHash([0; 32])],
            oldest_seq: 0,
            marks: BTreeMap::new(),
            names: BTreeMap::new(),
            pages: BTreeMap::new(),
            next_page: 0,
            plant,
            bytes_max: None,
            refusals: 0,
            refused: spoilt::Refused::default(),
            is_mute: false,
            aliased: BTreeSet::new(),
            settled: resolving::Settled::default(),
            faults: Vec::new(),
            outcomes: BTreeMap::new(),
        }
    }

    pub fn enrol(&mut self, device: DeviceId, name: &str) {
        self.names.insert(device, name.to_owned());
    }

    pub fn seq(&self) -> u64 {
        self.hashes.len() as u64 - 1
    }

    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.seq(), hash: self.hashes[self.hashes.len() - 1] }
    }

    pub fn push(
        &mut self,
        device: DeviceId,
        request: &PushRequest,
        now: Timestamp,
    ) -> Result<PushResponse, RemoteError> {
        check_request(device, request)?;
        self.check_cursor(&request.cursor)?;
        let before = self.cursor();
        let highest = self.marks.entry(device).or_default().highest;
        let fresh = request.ops.partition_point(|op| op.counter <= highest);
        let mut answers = self.replay(device, &request.ops[..fresh])?;
        let author = Author {
            space: SPACE,
            device,
            shown_as: device,
            device_name: self.names.get(&device).cloned().unwrap_or_default(),
            cursor_seq: request.cursor.seq,
            now,
        };
        for op in &request.ops[fresh..] {
            let is_held = answers.last().is_some_and(|last: &Answer| !last.outcome.is_settled());
            let outcome =
                if is_held { Some(Outcome::Skipped) } else { self.lacking(op).or_else(|| self.refusal(device, op)) };
            let answer = match outcome {
                Some(outcome) => Answer { counter: op.counter, outcome, changes: Vec::new() },
                None => self.decide(&author, op)?,
            };
            self.note_outcome(device, op, &answer.outcome);
            if answer.outcome.is_settled() {
                let marks = self.marks.entry(device).or_default();
                marks.highest = op.counter;
                marks.answers.insert(op.counter, (digest(op), answer.clone()));
            }
            answers.push(answer);
        }
        let marks = self.marks.entry(device).or_default();
        marks.answered = request.answered.min(marks.highest).max(marks.answered);
        let answered = marks.answered;
        // That bug has the more room the longer answers are kept.
        let keeps_all = self.plant == Some(Plant::AnswerOfAnother);
        marks.answers.retain(|counter, _| keeps_all || *counter > answered);
        Ok(PushResponse { answers, before, after: self.cursor(), usage: Some(self.usage()) })
    }

    fn replay(&self, device: DeviceId, ops: &[Operation]) -> Result<Vec<Answer>, RemoteError> {
        let known = self.marks.get(&device);
        let first = |op: &Operation| match known.and_then(|marks| marks.answers.get(&op.counter)) {
            Some((first, answer)) if *first == digest(op) || self.plant == Some(Plant::AnswerOfAnother) => {
                Ok(answer.clone())
            }
            Some(_) => Err(refused(ErrorCode::DeviceRolledBack, "this counter was used for another operation")),
            None => Err(refused(ErrorCode::DeviceRolledBack, "this counter was used before")),
        };
        ops.iter().map(first).collect()
    }

    /// The answer to an operation whose content is not all there.
    fn lacking(&self, op: &Operation) -> Option<Outcome> {
        if self.plant == Some(Plant::ChunkNotKept) {
            return None;
        }
        let content = content_of(op)?;
        let lookup = |id: &ChunkId| self.plain(*id).map_or(Lookup::Missing, Lookup::Bytes);
        match survey(&content.manifest, content.size, lookup) {
            Err(error) => Some(Outcome::Refused { code: ErrorCode::BadManifest, detail: error.to_string() }),
            Ok(survey) => {
                let chunks = survey.chunks.keys().filter(|id| !self.chunks.contains_key(id));
                let missing: Vec<ChunkId> = survey.missing.keys().chain(chunks).copied().collect();
                (!missing.is_empty()).then_some(Outcome::RetryLater { code: ErrorCode::MissingChunks, missing })
            }
        }
    }

    fn decide(&mut self, author: &Author, op: &Operation) -> Result<Answer, RemoteError> {
        let seq = self.seq() + 1;
        let decided = |author: &Author| {
            let decision = rules::decide(&self.snapshot, author, &self.spoilt(op), seq);
            decision.map_err(|missing| RemoteError::Busy(format!("rows are missing: {missing:?}")))
        };
        let mut decision = decided(author)?;
        if self.plant == Some(Plant::SiblingPerSave) && matches!(decision.outcome, Outcome::Conflicted { .. }) {
            decision = decided(&spoilt::unknown(author, seq))?;
        }
        if let Some(answer) = self.no_room(op, &decision) {
            *self.outcomes.entry("no room").or_default() += 1;
            return Ok(answer);
        }
        let Decision { outcome, mut changes, mut effects } = decision;
        match (self.plant, &mut effects) {
            (Some(Plant::VectorOverwritten), effects) => {
                spoilt::overwrite_vectors(author.device, op.counter, &mut changes, effects.as_mut());
            }
            (Some(Plant::AliasForgotten), Some(effects)) => effects.aliases.clear(),
            _ => {}
        }
        *self.outcomes.entry(outcome_name(&outcome)).or_default() += 1;
        self.note_aliases(op, &outcome, &changes);
        if let Some(effects) = effects {
            self.apply(&effects, seq);
        }
        Ok(Answer { counter: op.counter, outcome, changes })
    }

    fn apply(&mut self, effects: &Effects, seq: u64) {
        if effects.seq != seq {
            self.faults.push(format!("seq {} follows {}", effects.seq, seq - 1));
        }
        self.snapshot.apply(effects);
        for change in effects.changes() {
            self.rows.insert(key_of(&change.row), change);
        }
        for change in &effects.versions {
            self.versions.insert(change.file.content.version, (change.node, change.file.clone()));
            self.settled.ever.entry(change.node).or_default().insert(change.file.content.version);
        }
        let mut batch = Batch::new(SPACE, self.cursor(), 0);
        batch.add(effects.clone());
        self.hashes.push(batch.cursor().hash);
    }

    pub fn pull(&mut self, cursor: &Cursor, page: Option<&str>) -> Result<PullResponse, RemoteError> {
        self.check_cursor(cursor)?;
        let (upto, changes) = match page {
            Some(page) => {
                let kept = self.pages.get(page).cloned();
                kept.ok_or_else(|| refused(ErrorCode::BadRequest, "the page token is of another pull"))?
            }
            None => (self.cursor(), self.changes_since(cursor.seq)),
        };
        Ok(self.page_of(upto, changes))
    }

    fn page_of(&mut self, upto: Cursor, mut changes: Vec<Change>) -> PullResponse {
        let mut rest = changes.split_off(changes.len().min(PAGE_ROWS));
        if self.plant == Some(Plant::CursorBeforePages) {
            rest.clear();
        }
        let next = (!rest.is_empty()).then(|| {
            self.next_page += 1;
            let token = self.next_page.to_string();
            self.pages.insert(token.clone(), (upto, rest));
            token
        });
        PullResponse { upto, changes, next, usage: Some(self.usage()) }
    }

    fn changes_since(&self, seq: u64) -> Vec<Change> {
        let newer = self.rows.values().filter(|change| change.seq > seq);
        let (gone, present): (Vec<&Change>, Vec<&Change>) = newer.partition(|change| is_gone(&change.row));
        // A device that starts afresh has nothing that could be gone.
        let gone = gone.into_iter().filter(|_| seq > 0 && self.plant != Some(Plant::TombstoneSkipped));
        present.into_iter().chain(gone).cloned().collect()
    }

    pub fn children(&self, node: NodeId, after: Option<&str>) -> Result<ChildrenResponse, RemoteError> {
        let not_found = || refused(ErrorCode::NotFound, "no such folder");
        let (node_seq, folder) = self.state_of(node).ok_or_else(not_found)?;
        let skip: usize = after.map_or(Ok(0), str::parse).map_err(|_| refused(ErrorCode::BadRequest, "page"))?;
        let all = self.entries_of(node).filter_map(|(name, seq, child)| {
            let (node_seq, state) = self.state_of(child)?;
            Some(ChildEntry { name: name.clone(), entry_seq: seq, node: child, node_seq, state })
        });
        let all: Vec<ChildEntry> = all.collect();
        let next = (all.len() > skip + PAGE_ROWS).then(|| (skip + PAGE_ROWS).to_string());
        let children = all.into_iter().skip(skip).take(PAGE_ROWS).collect();
        let epoch = Some(self.epoch);
        Ok(ChildrenResponse { seq: self.seq(), node: folder, node_seq, children, next, epoch })
    }

    fn state_of(&self, node: NodeId) -> Option<(u64, NodeState)> {
        match self.rows.get(&Key::Node(node)) {
            Some(Change { seq, row: Row::Node { state: Some(state), .. } }) => Some((*seq, (**state).clone())),
            Some(_) => None,
            None if node == NodeId::root_of(SPACE) => {
                let attrs = Attrs { mode: 0o755, ..Attrs::default() };
                Some((0, NodeState { kind: NodeKind::Dir, attrs, file: None }))
            }
            None => None,
        }
    }

    /// A present node.
    pub fn node(&self, node: NodeId) -> Option<NodeState> {
        self.state_of(node).map(|(_, state)| state)
    }

    /// The present entries of a folder, by name.
    pub fn entries_of(&self, parent: NodeId) -> impl Iterator<Item = (&Name, u64, NodeId)> {
        let first = Name::new(vec![1u8]).expect("a name of one byte");
        let all = self.rows.range(Key::Entry(parent, first)..);
        let here = all.map_while(move |(key, change)| match key {
            Key::Entry(of, name) if *of == parent => Some((name, change)),
            _ => None,
        });
        here.filter_map(|(name, change)| match &change.row {
            Row::Entry { node: Some(node), .. } => Some((name, change.seq, *node)),
            _ => None,
        })
    }

    /// How many names a node has that came by `seq`.
    pub fn names_of(&self, node: NodeId, seq: u64) -> usize {
        let named = |row: &Row| matches!(row, Row::Entry { node: Some(of), .. } if *of == node);
        self.rows.values().filter(|change| change.seq <= seq && named(&change.row)).count()
    }

    /// What is wrong with the tree: orphans, cycles, folders with two names, contents that are not there.
    pub fn unsound(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        let (root, mut reached) = (NodeId::root_of(SPACE), BTreeSet::new());
        let (mut todo, mut dirs) = (vec![root], BTreeSet::from([root]));
        while let Some(parent) = todo.pop() {
            for (name, _, node) in self.entries_of(parent) {
                let Some(state) = self.node(node) else {
                    faults.push(format!("{name} names {node}, which is not there"));
                    continue;
                };
                reached.insert(node);
                if state.kind.is_dir() && !dirs.insert(node) {
                    faults.push(format!("folder {node} has a second name {name}"));
                } else if state.kind.is_dir() {
                    todo.push(node);
                }
                if state.file.as_ref().is_some_and(|file| self.bytes_of(&file.content).is_none()) {
                    faults.push(format!("bytes of {name} are missing"));
                }
            }
        }
        let nodes = self.rows.iter().filter_map(|(key, change)| match (key, &change.row) {
            (Key::Node(node), Row::Node { state: Some(_), .. }) => Some(*node),
            _ => None,
        });
        faults.extend(
            nodes.filter(|node| *node != root && !reached.contains(node)).map(|node| format!("{node} is an orphan")),
        );
        faults
    }
}

fn check_request(device: DeviceId, request: &PushRequest) -> Result<(), RemoteError> {
    if !request.ops.is_sorted_by(|a, b| a.counter < b.counter) || request.ops.first().is_some_and(|op| op.counter == 0)
    {
        return Err(refused(ErrorCode::BadCounter, "the counters of a push increase from 1"));
    }
    let is_ahead = |op: &Operation| matches!(&op.kind, OpKind::Write { base, .. } if base.get(device) >= op.counter);
    if request.ops.iter().any(is_ahead) {
        return Err(refused(ErrorCode::DeviceRolledBack, "a vector names an operation that is still to come"));
    }
    Ok(())
}

fn is_gone(row: &Row) -> bool {
    matches!(row, Row::Node { state: None, .. } | Row::Entry { node: None, .. } | Row::Conflict { state: None, .. })
}

fn key_of(row: &Row) -> Key {
    match row {
        Row::Alias { node, .. } => Key::Alias(*node),
        Row::Node { node, .. } => Key::Node(*node),
        Row::Entry { parent, name, .. } => Key::Entry(*parent, name.clone()),
        Row::Conflict { conflict, .. } => Key::Conflict(conflict.0),
    }
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::Merged => "merged",
        Outcome::Conflicted { .. } => "conflicted",
        Outcome::Refused { .. } => "refused",
        Outcome::RetryLater { .. } => "retry later",
        Outcome::NeedsName => "needs name",
        Outcome::Skipped => "skipped",
    }
}
