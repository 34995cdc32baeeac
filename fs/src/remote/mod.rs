//! Owns the seam to the server: the trait [`Remote`] and its implementations. Decides nothing, retries nothing.

mod address;
mod answer;
mod client;
pub mod conformance;
mod counters;
pub mod faulty;
mod http;
mod line;
mod login;
pub mod memory;
mod notify;
mod rates;
mod urgency;

pub use address::{AddressError, ServerAddress};
pub use counters::{TransferCounters, Transferred};
pub use http::HttpRemote;
pub use login::Account;
pub use rates::{RATE_MIN_BYTES, Rate, Rates};
pub use urgency::Urgency;

use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use tarn_proto::api::{
    ChildrenResponse, ChunkRange, MissingResponse, Notice, PullResponse, PushRequest, PushResponse, Receipt,
    SpacesResponse, UploadResponse,
};
use tarn_proto::change::Cursor;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, NodeId, SpaceId};
use tarn_proto::lost::{RecoverRequest, RecoverResponse};
use tokio::sync::mpsc;

/// Why a call failed; says what to do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RemoteError {
    /// Nothing was answered: no network, server down, timed out, cut off. Try again later.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The server says to try again later.
    #[error("the server is busy: {0}")]
    Busy(String),
    /// The server refused for good; the code says why.
    #[error("the server refused ({code:?}): {detail}")]
    Refused {
        /// Stable code.
        code: ErrorCode,
        /// For people.
        detail: String,
    },
    /// The answer makes no sense: a lying or broken server. Report; do not use it.
    #[error("the server's answer cannot be used: {0}")]
    Malformed(String),
}

impl RemoteError {
    /// Whether the same call may succeed later without anything else being done.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy(_))
    }
}

/// Frames of one chunk as the server sent them, not verified yet.
#[derive(Debug, Clone)]
pub struct FetchedFrames {
    /// Which chunk.
    pub id: ChunkId,
    /// First frame in `frames`.
    pub first_frame: u32,
    /// How many frames.
    pub frame_count: u32,
    /// The chunk's header bytes.
    pub header: Bytes,
    /// The stored frames, one after another.
    pub frames: Bytes,
}

/// One item of an upload.
#[derive(Debug, Clone)]
pub struct UploadItem {
    /// Its id.
    pub id: ChunkId,
    /// Whether it is a manifest node.
    pub manifest_node: bool,
    /// Stored form.
    pub stored: Bytes,
}

/// What arrives over the notice socket.
#[derive(Debug, Clone)]
pub enum NoticeEvent {
    /// The socket stands.
    Connected,
    /// A notice.
    Notice(Notice),
    /// The socket is gone; a new one is tried by the one who listens.
    Disconnected(String),
}

/// Sends receipts over the notice socket it came from; dropping it closes the socket.
pub type ReceiptSender = mpsc::UnboundedSender<Receipt>;

/// The server, as one signed-in device sees it. All calls are cancel-safe and idempotent.
#[async_trait]
pub trait Remote: Send + Sync + Debug {
    /// Spaces of this user with their cursors.
    async fn spaces(&self) -> Result<SpacesResponse, RemoteError>;
    /// Pushes operations.
    async fn push(&self, space: SpaceId, request: &PushRequest) -> Result<PushResponse, RemoteError>;
    /// Brings back what a history had that the server lost.
    async fn recover(&self, space: SpaceId, request: &RecoverRequest) -> Result<RecoverResponse, RemoteError>;
    /// One page of what changed since `cursor`; `page` from the page before.
    async fn pull(&self, space: SpaceId, cursor: &Cursor, page: Option<&str>) -> Result<PullResponse, RemoteError>;
    /// One page of a folder; `after` from the page before.
    async fn children(
        &self,
        space: SpaceId,
        node: NodeId,
        after: Option<&str>,
    ) -> Result<ChildrenResponse, RemoteError>;
    /// Which of these chunks must be sent.
    async fn missing(&self, space: SpaceId, ids: &[ChunkId]) -> Result<MissingResponse, RemoteError>;
    /// Sends chunks as one pack; they are durable when this returns.
    async fn upload(&self, space: SpaceId, items: Vec<UploadItem>) -> Result<UploadResponse, RemoteError>;
    /// Fetches frames; each item is sent to `sink` as it arrives, in the order asked. An item that
    /// the server does not have ends the call with `Refused(NotFound)`.
    async fn fetch(
        &self,
        space: SpaceId,
        ranges: &[ChunkRange],
        sink: mpsc::Sender<FetchedFrames>,
    ) -> Result<(), RemoteError>;
    /// The same for what a program may wait for, or begin to: from then on it goes before other fetches where the rate is
    /// limited.
    async fn fetch_as(
        &self,
        space: SpaceId,
        ranges: &[ChunkRange],
        sink: mpsc::Sender<FetchedFrames>,
        urgency: &Urgency,
    ) -> Result<(), RemoteError> {
        let _ = urgency;
        self.fetch(space, ranges, sink).await
    }
    /// How much one fetch should ask for, where the rate is limited: what is on its way cannot be overtaken.
    fn fetch_bytes_max(&self) -> Option<u64> {
        None
    }
    /// Opens the notice socket; events arrive in `events` until it is gone.
    async fn notify(&self, events: mpsc::Sender<NoticeEvent>) -> Result<ReceiptSender, RemoteError>;
}
