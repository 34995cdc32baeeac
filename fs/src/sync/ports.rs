//! Owns what the sync engine needs from the rest of the client: the tree with its queue, contents as
//! they are to be sent, and a new identity when the old one was restored from a backup.

use super::event::Failure;
use crate::meta::rows::Ticket;
use crate::remote::RemoteError;
use crate::tree::{Listing, Loaded, QueueItem, QueueTotals, TreeError};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use tarn_proto::api::{Answer, ChildEntry, ChildrenResponse, Usage};
use tarn_proto::change::{Change, Cursor};
use tarn_proto::ids::{ChunkId, ContentId, DeviceId, EpochId, NodeId, VersionId};
use tarn_proto::lost::{EpochStart, Lost};
use tarn_proto::manifest::Manifest;
use tarn_proto::node::Content;
use tarn_proto::op::Operation;
use tokio::sync::Notify;

/// The tree as the engine sees it. Calls may block on the local disk, never on the network; the driver
/// makes them on blocking threads.
pub trait SyncTree: Send + Sync + Debug {
    /// Where this device stands; `None` until the first full pull is complete.
    fn cursor(&self) -> Option<Cursor>;
    /// Up to `max` operations from the front of the queue, in order.
    ///
    /// # Errors
    /// What the local state says; so for all calls below.
    fn queue(&self, max: usize) -> Result<Vec<QueueItem>, TreeError>;
    /// What is queued, in numbers.
    fn totals(&self) -> QueueTotals;
    /// The last operation in the queue.
    fn last_ticket(&self) -> Option<Ticket>;
    /// The first operation in the queue.
    fn first_ticket(&self) -> Option<Ticket>;
    /// Whether any of these operations is still queued.
    fn is_any_queued(&self, tickets: &BTreeSet<Ticket>) -> bool;
    /// Poked (`notify_one`) whenever the queue changes or an operation in it becomes ready.
    fn changed(&self) -> Arc<Notify>;
    /// Freezes the content that an operation brings. `None`: the operation is gone, or brings none.
    fn prepare(&self, ticket: Ticket) -> Result<Option<Arc<dyn UploadSource>>, TreeError>;
    /// Gives up a freeze point: later writes count into the operation again.
    fn unprepare(&self, ticket: Ticket);
    /// The bytes at the freeze point are those of the base version: makes the operation one that brings none, unless
    /// it was frozen or its file was written to since. Whether it brings none now.
    fn settle_unchanged(&self, ticket: Ticket) -> Result<bool, TreeError>;
    /// Gives operations their counters, in this order, and their final wire form, durable on return.
    /// Those that have one come back unchanged; those that are gone do not come back.
    fn freeze(&self, batch: Vec<(Ticket, Option<Content>)>) -> Result<Vec<(Ticket, Operation)>, TreeError>;
    /// Gives a frozen operation another `alt_name`.
    fn refreeze_with_other_name(&self, ticket: Ticket) -> Result<(), TreeError>;
    /// Gives a frozen operation, of which the server said that chunks are missing, the content as it is
    /// now; its counter stays.
    fn refreeze_with_content(&self, ticket: Ticket, content: Content) -> Result<(), TreeError>;
    /// Applies final answers in one unit of work, and moves the cursor if it stood at `before`.
    fn settle(&self, answers: Vec<(Ticket, Answer)>, before: Cursor, after: Cursor) -> Result<(), TreeError>;
    /// Applies what changed up to a cut, with the cursor, in one unit of work.
    fn apply_cut(&self, changes: Vec<Change>, upto: Cursor) -> Result<(), TreeError>;
    /// Starts a full pull; one that was not finished is forgotten.
    fn begin_load(&self) -> Result<(), TreeError>;
    /// Takes one page of a full pull.
    fn load_page(&self, changes: Vec<Change>) -> Result<(), TreeError>;
    /// Ends a full pull: what it brought is the remote state now. Dirty work stays.
    fn finish_load(&self, loaded: Loaded) -> Result<(), TreeError>;
    /// Whether something is left of that: the database was not able to take it then.
    fn is_load_unseen(&self) -> bool;
    /// Does what is left.
    fn show_loaded(&self) -> Result<(), TreeError>;
    /// The histories that this device followed, oldest first; empty if it does not know.
    fn epochs(&self) -> Result<Vec<EpochStart>, TreeError>;
    /// Notes the histories that answers are of which come before the first full pull is complete.
    fn note_epochs(&self, epochs: &[EpochStart]) -> Result<(), TreeError>;
    /// Takes note of the history that a listing is of; false if it is a lost one, of which nothing must be taken in any more.
    fn note_listed(&self, epoch: EpochId) -> Result<bool, TreeError>;
    /// The history of the first listing, until the first full pull is complete.
    fn listed_epoch(&self) -> Result<Option<EpochId>, TreeError>;
    /// What is known of the server beyond a seq, with the seqs, oldest first.
    fn lost_since(&self, fork: u64) -> Result<Vec<(u64, Lost)>, TreeError>;
    /// The bytes of a version, if all of them are here: to be sent whole.
    fn whole_content(&self, node: NodeId, version: VersionId) -> Result<Option<Arc<dyn UploadSource>>, TreeError>;
    /// Begins to take a folder as the server lists it as of `seq`.
    fn begin_listing(&self, node: NodeId, seq: u64) -> Result<Listing, TreeError>;
    /// Takes a page of it.
    fn list_children(&self, listing: Listing, children: Vec<ChildEntry>) -> Result<Listing, TreeError>;
    /// All pages are here: the folder is listed, and is itself as the first page said (without its children).
    fn end_listing(&self, listing: Listing, head: ChildrenResponse) -> Result<(), TreeError>;
    /// All answers up to this counter have been applied durably: none of a lower counter is outstanding.
    fn answered(&self) -> u64;
    /// How full the space is, as the server says.
    fn note_usage(&self, usage: Usage);
    /// The server has no room for an operation; it and those that got their counters after it have not happened. It waits
    /// for room, and all of them get new counters.
    fn put_aside(&self, ticket: Ticket) -> Result<(), TreeError>;
    /// Goes on as another device: nothing is frozen any more, dirty work stays.
    fn device_rolled_back(&self, device: DeviceId) -> Result<(), TreeError>;
}

/// A chunk of a content that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChunk {
    /// Its id.
    pub id: ChunkId,
    /// Where its plaintext is; for manifest nodes the plaintext itself.
    pub source: ChunkSource,
}

/// Where the plaintext of a planned chunk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkSource {
    /// A range of the frozen content.
    Range(Range<u64>),
    /// A manifest node.
    Node(Bytes),
}

impl PlannedChunk {
    /// Bytes of plaintext; about the most that its stored form has.
    pub fn plain_bytes(&self) -> u64 {
        match &self.source {
            ChunkSource::Range(range) => range.end - range.start,
            ChunkSource::Node(bytes) => bytes.len() as u64,
        }
    }
}

/// How a frozen content becomes chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPlan {
    /// Plaintext size in bytes.
    pub size_bytes: u64,
    /// Hash of the whole plaintext.
    pub content_id: ContentId,
    /// Where the bytes will be.
    pub manifest: Manifest,
    /// Chunks and manifest nodes that the base version does not have, once each.
    pub chunks: Vec<PlannedChunk>,
    /// Whether these are the bytes of the base version.
    pub is_base: bool,
}

/// What planning came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanStep {
    /// The plan.
    Ready(UploadPlan),
    /// These ranges of the base version must be there first: [`UploadSource::fetch`] them, plan again.
    Needs(Vec<Range<u64>>),
}

/// Why a frozen content cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// The freeze point was lost to later writes: prepare again.
    #[error("the file changed too much while it was being sent")]
    Changed,
    /// The local disk or database failed.
    #[error("{0}")]
    Local(String),
}

/// A content frozen at one moment, as it is to be sent. Dropping it ends the freeze.
#[async_trait]
pub trait UploadSource: Send + Sync + Debug {
    /// Cuts and hashes. Blocks on disk and processor. `found` may hear of chunks before all are known, so that they
    /// can be sent meanwhile, and of one chunk more than once.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn plan(&self, found: &mut dyn FnMut(PlannedChunk)) -> Result<PlanStep, SourceError>;
    /// The stored form of a planned chunk. Blocks on disk and processor.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn encode(&self, chunk: &PlannedChunk) -> Result<Bytes, SourceError>;
    /// Fetches ranges of the base version.
    ///
    /// # Errors
    /// What the network says, or that there is no room yet.
    async fn fetch(&self, ranges: Vec<Range<u64>>) -> Result<(), Failure>;
}

/// Who this device is to the server.
#[async_trait]
pub trait Identity: Send + Sync + Debug {
    /// Enrols this machine anew, because its counters fell behind.
    ///
    /// # Errors
    /// What the network says; `Refused` if only the person can sign in again.
    async fn renew(&self) -> Result<DeviceId, RemoteError>;
}
