//! Owns the engine's ports on the real tree, its contents and the hydrator. Decides nothing.

use super::event::Failure;
use super::ports::{ChunkSource, PlanStep, PlannedChunk, SourceError, SyncTree, UploadPlan, UploadSource};
use crate::content::{LocalContent, Snapshot, SnapshotError};
use crate::hydrate::{HydrateError, Hydrator, Priority};
use crate::meta::rows::Ticket;
use crate::remote::RemoteError;
use crate::tree::{Listing, Loaded, Prepared, QueueItem, QueueTotals, Tree, TreeError};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use tarn_proto::api::{Answer, ChildEntry, ChildrenResponse, Usage};
use tarn_proto::change::{Change, Cursor};
use tarn_proto::chunk::{ContentKey, encode};
use tarn_proto::ids::{DeviceId, EpochId, NodeId, VersionId};
use tarn_proto::lost::{EpochStart, Lost};
use tarn_proto::manifest::{LocatedChunk, build, resolve};
use tarn_proto::node::Content;
use tarn_proto::op::Operation;
use tokio::sync::Notify;

/// zstd's level for chunks: new bytes must not wait for the processor.
const ENCODE_LEVEL: i32 = 1;

/// The tree as the engine sees it.
#[derive(Debug)]
pub struct TreeBridge {
    tree: Arc<Tree>,
    hydrator: Hydrator,
    key: ContentKey,
}

impl TreeBridge {
    /// Joins a tree with the hydrator that brings what re-cutting an edited file needs.
    pub fn new(tree: Arc<Tree>, hydrator: Hydrator, key: ContentKey) -> Arc<Self> {
        Arc::new(Self { tree, hydrator, key })
    }
}

impl SyncTree for TreeBridge {
    fn cursor(&self) -> Option<Cursor> {
        self.tree.cursor()
    }

    fn queue(&self, max: usize) -> Result<Vec<QueueItem>, TreeError> {
        self.tree.queue(max)
    }

    fn totals(&self) -> QueueTotals {
        self.tree.queue_totals()
    }

    fn last_ticket(&self) -> Option<Ticket> {
        self.tree.last_ticket()
    }

    fn first_ticket(&self) -> Option<Ticket> {
        self.tree.first_ticket()
    }

    fn is_any_queued(&self, tickets: &BTreeSet<Ticket>) -> bool {
        self.tree.is_any_queued(tickets)
    }

    fn changed(&self) -> Arc<Notify> {
        self.tree.changed()
    }

    fn prepare(&self, ticket: Ticket) -> Result<Option<Arc<dyn UploadSource>>, TreeError> {
        let Some(Prepared { content, snapshot, .. }) = self.tree.prepare(ticket)? else { return Ok(None) };
        let (hydrator, key) = (self.hydrator.clone(), self.key.clone());
        Ok(Some(Arc::new(FrozenContent { content, snapshot, hydrator, key, base: OnceLock::new() })))
    }

    fn unprepare(&self, ticket: Ticket) {
        self.tree.unprepare(ticket);
    }

    fn settle_unchanged(&self, ticket: Ticket) -> Result<bool, TreeError> {
        self.tree.settle_unchanged(ticket)
    }

    fn freeze(&self, batch: Vec<(Ticket, Option<Content>)>) -> Result<Vec<(Ticket, Operation)>, TreeError> {
        self.tree.freeze(batch)
    }

    fn refreeze_with_other_name(&self, ticket: Ticket) -> Result<(), TreeError> {
        self.tree.refreeze_with_other_name(ticket)
    }

    fn refreeze_with_content(&self, ticket: Ticket, content: Content) -> Result<(), TreeError> {
        self.tree.refreeze_with_content(ticket, content)
    }

    fn settle(&self, answers: Vec<(Ticket, Answer)>, before: Cursor, after: Cursor) -> Result<(), TreeError> {
        self.tree.settle(&answers, before, after)
    }

    fn note_usage(&self, usage: Usage) {
        self.tree.note_usage(usage);
    }

    fn put_aside(&self, ticket: Ticket) -> Result<(), TreeError> {
        self.tree.put_aside(ticket)
    }

    fn apply_cut(&self, changes: Vec<Change>, upto: Cursor) -> Result<(), TreeError> {
        self.tree.apply_cut(changes, upto)
    }

    fn begin_load(&self) -> Result<(), TreeError> {
        self.tree.begin_load()
    }

    fn load_page(&self, changes: Vec<Change>) -> Result<(), TreeError> {
        self.tree.load_page(changes)
    }

    fn finish_load(&self, loaded: Loaded) -> Result<(), TreeError> {
        self.tree.finish_load(loaded)
    }

    fn is_load_unseen(&self) -> bool {
        self.tree.is_load_unseen()
    }

    fn show_loaded(&self) -> Result<(), TreeError> {
        self.tree.show_loaded()
    }

    fn epochs(&self) -> Result<Vec<EpochStart>, TreeError> {
        self.tree.epochs()
    }

    fn note_epochs(&self, epochs: &[EpochStart]) -> Result<(), TreeError> {
        self.tree.note_epochs(epochs)
    }

    fn note_listed(&self, epoch: EpochId) -> Result<bool, TreeError> {
        self.tree.note_listed(epoch)
    }

    fn listed_epoch(&self) -> Result<Option<EpochId>, TreeError> {
        self.tree.listed_epoch()
    }

    fn lost_since(&self, fork: u64) -> Result<Vec<(u64, Lost)>, TreeError> {
        self.tree.lost_since(fork)
    }

    fn whole_content(&self, node: NodeId, version: VersionId) -> Result<Option<Arc<dyn UploadSource>>, TreeError> {
        let Some(content) = self.tree.whole_content(node, version)? else { return Ok(None) };
        let (snapshot, hydrator, key) = (content.snapshot()?, self.hydrator.clone(), self.key.clone());
        // Cut anew from the bytes: what is known of their chunks was the server's to keep.
        let base = OnceLock::from(Vec::new());
        Ok(Some(Arc::new(FrozenContent { content, snapshot, hydrator, key, base })))
    }

    fn begin_listing(&self, node: NodeId, seq: u64) -> Result<Listing, TreeError> {
        self.tree.begin_listing(node, seq)
    }

    fn list_children(&self, listing: Listing, children: Vec<ChildEntry>) -> Result<Listing, TreeError> {
        self.tree.list_children(listing, children)
    }

    fn end_listing(&self, listing: Listing, head: ChildrenResponse) -> Result<(), TreeError> {
        self.tree.end_listing(listing, head)
    }

    fn answered(&self) -> u64 {
        self.tree.answered()
    }

    fn device_rolled_back(&self, device: DeviceId) -> Result<(), TreeError> {
        self.tree.device_rolled_back(device)
    }
}

/// A content at its freeze point.
#[derive(Debug)]
struct FrozenContent {
    content: Arc<LocalContent>,
    snapshot: Snapshot,
    hydrator: Hydrator,
    key: ContentKey,
    /// All chunks of the version that it was made from.
    base: OnceLock<Vec<LocatedChunk>>,
}

impl FrozenContent {
    /// The base's chunks, if they are known without asking anybody.
    fn base_chunks(&self) -> Option<&[LocatedChunk]> {
        if self.base.get().is_none() {
            let chunks = match self.snapshot.base() {
                None => Vec::new(),
                Some(base) => {
                    let nothing = |_: &_| None::<Bytes>;
                    let resolved = resolve(&base.content.manifest, 0..base.content.size, nothing).ok()?;
                    resolved.missing.is_empty().then_some(resolved.chunks)?
                }
            };
            // Another thread may have found the same.
            let _ = self.base.set(chunks);
        }
        self.base.get().map(Vec::as_slice)
    }

    fn plan_from(
        &self,
        base: &[LocatedChunk],
        found: &mut dyn FnMut(PlannedChunk),
    ) -> Result<UploadPlan, SnapshotError> {
        let planned =
            |chunk: &LocatedChunk| PlannedChunk { id: chunk.entry.id, source: ChunkSource::Range(chunk.range()) };
        let plan = self.snapshot.plan_upload(&self.key, base, &mut |chunk| found(planned(chunk)))?;
        let damaged = |e: tarn_proto::manifest::ManifestError| std::io::Error::other(e.to_string());
        let built = build(plan.entries).map_err(damaged)?;
        let mut chunks: Vec<PlannedChunk> = plan.fresh.iter().map(planned).collect();
        let mut seen = HashSet::new();
        let nodes = built.nodes.into_iter().filter(|node| seen.insert(node.id));
        chunks.extend(nodes.map(|node| PlannedChunk { id: node.id, source: ChunkSource::Node(node.bytes.into()) }));
        let (size_bytes, content_id) = (plan.size_bytes, plan.content_id);
        // Another file's version is none of this one, though the bytes are the same.
        let base = self.snapshot.base().filter(|base| !base.is_borrowed()).map(|base| &base.content);
        let is_base = base.is_some_and(|base| (base.size, base.content_id) == (size_bytes, content_id));
        Ok(UploadPlan { size_bytes, content_id, manifest: built.manifest, chunks, is_base })
    }
}

#[async_trait]
impl UploadSource for FrozenContent {
    fn plan(&self, found: &mut dyn FnMut(PlannedChunk)) -> Result<PlanStep, SourceError> {
        let Some(base) = self.base_chunks() else { return Ok(PlanStep::Needs(Vec::new())) };
        match self.plan_from(base, found) {
            Ok(plan) => Ok(PlanStep::Ready(plan)),
            Err(SnapshotError::Missing(ranges)) => Ok(PlanStep::Needs(ranges)),
            Err(error) => Err(source_error(error)),
        }
    }

    fn encode(&self, chunk: &PlannedChunk) -> Result<Bytes, SourceError> {
        let (plain, key) = match &chunk.source {
            ChunkSource::Range(range) => (self.snapshot.read_at(range.clone()).map_err(source_error)?, &self.key),
            // Nodes are never sealed.
            ChunkSource::Node(bytes) => (bytes.clone(), &ContentKey::Ordinary),
        };
        encode(key, &plain, ENCODE_LEVEL).map(Bytes::from).map_err(|e| SourceError::Local(e.to_string()))
    }

    async fn fetch(&self, ranges: Vec<Range<u64>>) -> Result<(), Failure> {
        if self.base.get().is_none() {
            let chunks = self.hydrator.all_chunks(self.snapshot.base()).await.map_err(failure)?;
            // Another task may have found the same.
            let _ = self.base.set(chunks);
        }
        // Until what an earlier run left is counted, and while everything is pinned, fetched bytes are in memory alone.
        let needed = self.hydrator.need_on_disk(&self.content, &ranges, Priority::Demand).await;
        let no_room = || Failure::NotYet("the cache has no room yet for what a changed file needs to be sent".into());
        if needed.map_err(failure)? { Ok(()) } else { Err(no_room()) }
    }
}

fn source_error(error: SnapshotError) -> SourceError {
    match error {
        // What was there when it was cut is not any more: cutting again has it fetched.
        SnapshotError::Stale | SnapshotError::Missing(_) => SourceError::Changed,
        SnapshotError::Io(_) => SourceError::Local(error.to_string()),
    }
}

fn failure(error: HydrateError) -> Failure {
    match error {
        HydrateError::Offline | HydrateError::Unreachable => {
            Failure::Remote(RemoteError::Unreachable(error.to_string()))
        }
        HydrateError::Refused { code, detail } => Failure::Remote(RemoteError::Refused { code, detail }),
        HydrateError::Damaged { .. } | HydrateError::Manifest(_) => {
            Failure::Remote(RemoteError::Malformed(error.to_string()))
        }
        HydrateError::NoVersion | HydrateError::Local(_) => Failure::NotYet(format!("local state: {error}")),
    }
}
