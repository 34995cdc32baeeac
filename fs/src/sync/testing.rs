//! A tree that is only a queue and rows, for tests of the driver; stricter than the real one.
#![allow(clippy::unwrap_used)]

use super::Parts;
use super::event::Failure;
use super::ports::{ChunkSource, Identity, PlanStep, PlannedChunk, SourceError, SyncTree, UploadPlan, UploadSource};
use crate::env::Env;
use crate::meta::rows::{Ino, Ticket};
use crate::remote::{Remote, RemoteError};
use crate::tree::{Listing, Loaded, QueueItem, QueueKey, QueueTotals, Readiness, TreeError};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use tarn_proto::api::{Answer, ChildEntry, ChildrenResponse, Outcome, Usage};
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::chunk::{ContentKey, chunk_id, content_id, cut, encode};
use tarn_proto::ids::{DeviceId, EpochId, NodeId, SpaceId, VersionId};
use tarn_proto::lost::{EpochStart, Lost};
use tarn_proto::manifest::{ManifestEntry, build};
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, Content, NodeKind, NodeState, Timestamp};
use tarn_proto::op::{OpKind, Operation, Place};
use tokio::sync::Notify;

pub(super) const SPACE: SpaceId = SpaceId([5; 16]);

/// A row's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Node(NodeId),
    Entry(NodeId, Name),
}

#[derive(Debug)]
struct FakeOp {
    kind: OpKind,
    bytes: Option<Bytes>,
    is_open: bool,
    alt_name: Option<Name>,
    frozen: Option<Operation>,
}

#[derive(Debug, Default)]
struct State {
    cursor: Option<Cursor>,
    queue: BTreeMap<Ticket, FakeOp>,
    last: u64,
    counter: u64,
    answered: u64,
    rows: BTreeMap<Key, Change>,
    loading: Option<BTreeMap<Key, Change>>,
    settled: Vec<(Ticket, Outcome)>,
    listed: Vec<ChildrenResponse>,
    listing: Vec<ChildEntry>,
    device: Option<DeviceId>,
    settles_to_fail: u32,
    renames: u32,
    epochs: Vec<EpochStart>,
    lost: Vec<(u64, Lost)>,
    unseen: Option<Cursor>,
}

/// The tree.
#[derive(Debug, Default)]
pub(super) struct FakeTree {
    state: Mutex<State>,
    changed: Arc<Notify>,
    /// Until its other end is gone no page of a load is kept.
    pub page_gate: Mutex<Option<Receiver<()>>>,
    /// Contents that are whole here, by their versions.
    pub contents: Mutex<BTreeMap<VersionId, Bytes>>,
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl FakeTree {
    pub fn create(&self, text: &str, bytes: Option<Bytes>, is_open: bool) -> Ticket {
        let mut state = self.state.lock();
        state.last += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
        let kind = if bytes.is_some() { NodeKind::File } else { NodeKind::Dir };
        let place = Place { parent: NodeId::root_of(SPACE), name: name(text) };
        let kind = OpKind::Create { node: NodeId(id), place, kind, attrs: Attrs::default(), content: None };
        let ticket = Ticket(state.last);
        let alt_name = Some(name(&format!("{text} (1)")));
        state.queue.insert(ticket, FakeOp { kind, bytes, is_open, alt_name, frozen: None });
        drop(state);
        self.changed.notify_one();
        ticket
    }

    pub fn close(&self, ticket: Ticket) {
        self.state.lock().queue.get_mut(&ticket).unwrap().is_open = false;
        self.changed.notify_one();
    }

    pub fn settled(&self) -> Vec<(Ticket, Outcome)> {
        self.state.lock().settled.clone()
    }

    pub fn fail_settles(&self, count: u32) {
        self.state.lock().settles_to_fail = count;
    }

    /// A full pull has brought this, and it is not shown yet.
    pub fn leave_unseen(&self, upto: Cursor) {
        self.state.lock().unseen = Some(upto);
    }

    /// It followed these histories up to a cursor, and has this of the last one.
    pub fn follow(&self, cursor: Option<Cursor>, epochs: &[EpochStart], lost: Vec<(u64, Lost)>) {
        let mut state = self.state.lock();
        (state.cursor, state.epochs, state.lost) = (cursor, epochs.to_vec(), lost);
    }

    pub fn renames(&self) -> u32 {
        self.state.lock().renames
    }

    pub fn listed(&self) -> Vec<ChildrenResponse> {
        self.state.lock().listed.clone()
    }

    pub fn device(&self) -> Option<DeviceId> {
        self.state.lock().device
    }

    /// Forgets that counters were used, as a restored backup does.
    pub fn roll_back(&self) {
        let mut state = self.state.lock();
        state.counter = 0;
        state.answered = 0;
    }

    /// The rows, ordered, as the server would list them.
    pub fn rows(&self) -> Vec<Change> {
        self.state.lock().rows.values().cloned().collect()
    }
}

fn put(rows: &mut BTreeMap<Key, Change>, change: Change) {
    let key = match &change.row {
        Row::Node { node, .. } => Key::Node(*node),
        Row::Entry { parent, name, .. } => Key::Entry(*parent, name.clone()),
        other => panic!("unexpected {other:?}"),
    };
    if rows.get(&key).is_none_or(|old| old.seq <= change.seq) {
        rows.insert(key, change);
    }
}

fn item(ticket: Ticket, op: &FakeOp) -> QueueItem {
    QueueItem {
        ticket,
        content_of: op.bytes.as_ref().map(|_| Ino(100 + ticket.0)),
        content_bytes: op.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
        readiness: match op.is_open {
            true => Readiness::Open { quiet: Duration::ZERO, age: Duration::ZERO },
            false => Readiness::Ready,
        },
        frozen: op.frozen.as_ref().map(|frozen| frozen.counter),
        keys: vec![QueueKey::Inode(Ino(100 + ticket.0))],
        above: vec![Ino(1)],
        ordered_tree: None,
    }
}

impl SyncTree for FakeTree {
    fn cursor(&self) -> Option<Cursor> {
        self.state.lock().cursor
    }

    fn queue(&self, max: usize) -> Result<Vec<QueueItem>, TreeError> {
        Ok(self.state.lock().queue.iter().take(max).map(|(ticket, op)| item(*ticket, op)).collect())
    }

    fn totals(&self) -> QueueTotals {
        QueueTotals { operations: self.state.lock().queue.len() as u64, ..QueueTotals::default() }
    }

    fn last_ticket(&self) -> Option<Ticket> {
        self.state.lock().queue.last_key_value().map(|(ticket, _)| *ticket)
    }

    fn first_ticket(&self) -> Option<Ticket> {
        self.state.lock().queue.first_key_value().map(|(ticket, _)| *ticket)
    }

    fn is_any_queued(&self, tickets: &BTreeSet<Ticket>) -> bool {
        let state = self.state.lock();
        tickets.iter().any(|ticket| state.queue.contains_key(ticket))
    }

    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    fn prepare(&self, ticket: Ticket) -> Result<Option<Arc<dyn UploadSource>>, TreeError> {
        let state = self.state.lock();
        let bytes = state.queue.get(&ticket).and_then(|op| op.bytes.clone());
        Ok(bytes.map(|bytes| Arc::new(FakeSource(bytes)) as Arc<dyn UploadSource>))
    }

    fn unprepare(&self, _ticket: Ticket) {}

    fn settle_unchanged(&self, _ticket: Ticket) -> Result<bool, TreeError> {
        Ok(false)
    }

    fn freeze(&self, batch: Vec<(Ticket, Option<Content>)>) -> Result<Vec<(Ticket, Operation)>, TreeError> {
        let mut state = self.state.lock();
        let mut frozen = Vec::new();
        for (ticket, new) in batch {
            let counter = state.counter + 1;
            let Some(op) = state.queue.get_mut(&ticket) else { continue };
            if op.frozen.is_none() {
                assert_eq!(new.is_some(), op.bytes.is_some(), "a content op comes with its content");
                let mut kind = op.kind.clone();
                if let OpKind::Create { content, .. } = &mut kind {
                    *content = new;
                }
                let time = Timestamp::default();
                op.frozen = Some(Operation { counter, time, alt_name: op.alt_name.clone(), kind });
                frozen.push((ticket, op.frozen.clone().unwrap()));
                state.counter = counter;
            } else {
                frozen.push((ticket, op.frozen.clone().unwrap()));
            }
        }
        Ok(frozen)
    }

    fn refreeze_with_other_name(&self, ticket: Ticket) -> Result<(), TreeError> {
        let mut state = self.state.lock();
        state.renames += 1;
        let other = name(&format!("other {}", state.renames));
        state.queue.get_mut(&ticket).and_then(|op| op.frozen.as_mut()).ok_or(TreeError::NotFound)?.alt_name =
            Some(other);
        Ok(())
    }

    fn refreeze_with_content(&self, ticket: Ticket, new: Content) -> Result<(), TreeError> {
        let mut state = self.state.lock();
        let frozen = state.queue.get_mut(&ticket).and_then(|op| op.frozen.as_mut()).ok_or(TreeError::NotFound)?;
        if let OpKind::Create { content, .. } = &mut frozen.kind {
            *content = Some(new);
        }
        Ok(())
    }

    fn settle(&self, answers: Vec<(Ticket, Answer)>, before: Cursor, after: Cursor) -> Result<(), TreeError> {
        let mut state = self.state.lock();
        if state.settles_to_fail > 0 {
            state.settles_to_fail -= 1;
            return Err(TreeError::Database("planned".into()));
        }
        for (ticket, answer) in answers {
            let op = state.queue.remove(&ticket).expect("settled once");
            assert_eq!(op.frozen.unwrap().counter, answer.counter);
            answer.changes.into_iter().for_each(|change| put(&mut state.rows, change));
            state.settled.push((ticket, answer.outcome));
        }
        let lowest = state.queue.values().filter_map(|op| op.frozen.as_ref()).map(|op| op.counter).min();
        state.answered = lowest.map_or(state.counter, |lowest| lowest - 1);
        if state.cursor == Some(before) {
            state.cursor = Some(after);
        }
        Ok(())
    }

    fn note_usage(&self, _: Usage) {}

    fn put_aside(&self, _: Ticket) -> Result<(), TreeError> {
        Ok(())
    }

    fn apply_cut(&self, changes: Vec<Change>, upto: Cursor) -> Result<(), TreeError> {
        let mut state = self.state.lock();
        changes.into_iter().for_each(|change| put(&mut state.rows, change));
        state.cursor = Some(upto);
        Ok(())
    }

    fn begin_load(&self) -> Result<(), TreeError> {
        self.state.lock().loading = Some(BTreeMap::new());
        Ok(())
    }

    fn load_page(&self, changes: Vec<Change>) -> Result<(), TreeError> {
        if let Some(gate) = self.page_gate.lock().take() {
            gate.recv().unwrap_err();
        }
        let mut state = self.state.lock();
        let rows = state.loading.as_mut().expect("a load was begun");
        changes.into_iter().for_each(|change| put(rows, change));
        Ok(())
    }

    fn epochs(&self) -> Result<Vec<EpochStart>, TreeError> {
        Ok(self.state.lock().epochs.clone())
    }

    fn note_epochs(&self, epochs: &[EpochStart]) -> Result<(), TreeError> {
        self.state.lock().epochs = epochs.to_vec();
        Ok(())
    }

    fn note_listed(&self, _epoch: EpochId) -> Result<bool, TreeError> {
        Ok(true)
    }

    fn listed_epoch(&self) -> Result<Option<EpochId>, TreeError> {
        Ok(None)
    }

    fn lost_since(&self, fork: u64) -> Result<Vec<(u64, Lost)>, TreeError> {
        Ok(self.state.lock().lost.iter().filter(|(seq, _)| *seq > fork).cloned().collect())
    }

    fn whole_content(&self, _node: NodeId, version: VersionId) -> Result<Option<Arc<dyn UploadSource>>, TreeError> {
        let content = self.contents.lock().get(&version).cloned();
        Ok(content.map(|bytes| Arc::new(FakeSource(bytes)) as Arc<dyn UploadSource>))
    }

    fn finish_load(&self, loaded: Loaded) -> Result<(), TreeError> {
        let upto = loaded.upto;
        let mut state = self.state.lock();
        let rows = state.loading.take().expect("a load was begun");
        let newer = std::mem::take(&mut state.rows).into_values().filter(|change| change.seq > upto.seq);
        state.rows = rows;
        let newer: Vec<Change> = newer.collect();
        newer.into_iter().for_each(|change| put(&mut state.rows, change));
        state.cursor = Some(upto);
        state.epochs = loaded.epochs;
        Ok(())
    }

    fn is_load_unseen(&self) -> bool {
        self.state.lock().unseen.is_some()
    }

    fn show_loaded(&self) -> Result<(), TreeError> {
        let mut state = self.state.lock();
        state.cursor = state.unseen.take().or(state.cursor);
        Ok(())
    }

    fn begin_listing(&self, node: NodeId, seq: u64) -> Result<Listing, TreeError> {
        self.state.lock().listing.clear();
        Ok(Listing::new(node, seq))
    }

    fn list_children(&self, listing: Listing, children: Vec<ChildEntry>) -> Result<Listing, TreeError> {
        self.state.lock().listing.extend(children);
        Ok(listing)
    }

    fn end_listing(&self, _: Listing, head: ChildrenResponse) -> Result<(), TreeError> {
        let mut state = self.state.lock();
        let children = std::mem::take(&mut state.listing);
        state.listed.push(ChildrenResponse { children, ..head });
        Ok(())
    }

    fn answered(&self) -> u64 {
        self.state.lock().answered
    }

    fn device_rolled_back(&self, device: DeviceId) -> Result<(), TreeError> {
        let mut state = self.state.lock();
        state.device = Some(device);
        state.queue.values_mut().for_each(|op| op.frozen = None);
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct FakeSource(pub Bytes);

#[async_trait]
impl UploadSource for FakeSource {
    fn plan(&self, _: &mut dyn FnMut(PlannedChunk)) -> Result<PlanStep, SourceError> {
        let key = ContentKey::Ordinary;
        let (mut chunks, mut entries, mut at) = (Vec::new(), Vec::new(), 0);
        for length in cut(&key, &self.0) {
            let plain = &self.0[at..at + length];
            let id = chunk_id(&key, plain);
            let range = at as u64..(at + length) as u64;
            entries.push(ManifestEntry { id, length: length as u64, stored: length as u64 });
            if !chunks.iter().any(|chunk: &PlannedChunk| chunk.id == id) {
                chunks.push(PlannedChunk { id, source: ChunkSource::Range(range) });
            }
            at += length;
        }
        let built = build(entries).unwrap();
        let nodes = built.nodes.into_iter();
        chunks.extend(nodes.map(|node| PlannedChunk { id: node.id, source: ChunkSource::Node(node.bytes.into()) }));
        let content_id = content_id(&key, &self.0);
        let size_bytes = self.0.len() as u64;
        Ok(PlanStep::Ready(UploadPlan { size_bytes, content_id, manifest: built.manifest, chunks, is_base: false }))
    }

    fn encode(&self, chunk: &PlannedChunk) -> Result<Bytes, SourceError> {
        let plain = match &chunk.source {
            ChunkSource::Range(range) => self.0.slice(range.start as usize..range.end as usize),
            ChunkSource::Node(bytes) => bytes.clone(),
        };
        Ok(encode(&ContentKey::Ordinary, &plain, 1).unwrap().into())
    }

    async fn fetch(&self, _ranges: Vec<Range<u64>>) -> Result<(), Failure> {
        unreachable!("a fake content is whole")
    }
}

/// Gives out one new id.
#[derive(Debug)]
pub(super) struct FakeIdentity(pub DeviceId);

#[async_trait]
impl Identity for FakeIdentity {
    async fn renew(&self) -> Result<DeviceId, RemoteError> {
        Ok(self.0)
    }
}

/// An engine between a tree and a server.
pub(super) fn parts(tree: Arc<dyn SyncTree>, remote: Arc<dyn Remote>) -> Parts {
    let identity = Arc::new(FakeIdentity(DeviceId([2; 16])));
    Parts { env: Env::real(), space: SPACE, tree, remote, identity, counters: Arc::default() }
}

/// Whether a row shows something.
pub(super) fn is_present(change: &Change) -> bool {
    !matches!(&change.row, Row::Node { state: None, .. } | Row::Entry { node: None, .. })
}

/// A present node's state, if the row is one.
pub(super) fn node_of(change: &Change) -> Option<&NodeState> {
    if let Row::Node { state, .. } = &change.row { state.as_deref() } else { None }
}
