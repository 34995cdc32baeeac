//! Owns the calls of a signed-in device over HTTP. Decides nothing, retries nothing.

use super::client::HttpClient;
use super::{
    FetchedFrames, NoticeEvent, Rates, ReceiptSender, Remote, RemoteError, ServerAddress, TransferCounters, UploadItem,
    Urgency,
};
use super::{answer, notify};
use crate::limits;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use tarn_proto::api::{
    ChildrenResponse, ChunkRange, FetchRequest, MissingRequest, MissingResponse, PullResponse, PushRequest,
    PushResponse, ReceiptsResponse, ResolveRequest, ResolveResponse, SpacesResponse, UploadResponse, VersionsResponse,
};
use tarn_proto::change::Cursor;
use tarn_proto::chunk::wire::{ChunkKind, FetchDecoder, FetchItem, FetchStatus, upload_head};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, ConflictId, NodeId, SpaceId, VersionId};
use tarn_proto::lost::{RecoverRequest, RecoverResponse};
use tokio::sync::mpsc;

/// The server over HTTP, as one signed-in device sees it.
#[derive(Debug, Clone)]
pub struct HttpRemote {
    client: HttpClient,
}

impl HttpRemote {
    /// Talks to the server at `address` with a device's token. Connects when first used.
    ///
    /// # Errors
    /// Fails when TLS cannot be set up (no certificates on this machine).
    pub fn new(address: ServerAddress, token: &str) -> Result<Self, RemoteError> {
        Ok(Self { client: HttpClient::new(address, Some(token))? })
    }

    /// Goes on as the device that this token belongs to, sockets that stand excepted.
    pub fn set_token(&self, token: &str) {
        self.client.set_token(token);
    }

    /// Resolves a conflict, or hears how it was resolved before.
    ///
    /// # Errors
    /// As the server says: `Stale` if the file or its sibling was written since, `AlreadyExists` if a name is wanted.
    pub async fn resolve(
        &self,
        conflict: ConflictId,
        request: &ResolveRequest,
    ) -> Result<ResolveResponse, RemoteError> {
        self.client.post(&format!("conflicts/{conflict}/resolve"), request, limits::ANSWER_BYTES_MAX).await
    }

    /// A file's history, newest first.
    ///
    /// # Errors
    /// As the server says.
    pub async fn versions(&self, node: NodeId) -> Result<VersionsResponse, RemoteError> {
        self.client.get(&format!("files/{node}/versions"), &[], limits::ROWS_ANSWER_BYTES_MAX).await
    }

    /// Which devices have a file's present version.
    ///
    /// # Errors
    /// As the server says.
    pub async fn receipts(&self, node: NodeId) -> Result<ReceiptsResponse, RemoteError> {
        self.client.get(&format!("files/{node}/receipts"), &[], limits::ANSWER_BYTES_MAX).await
    }

    /// The bytes of one version of a file, at most `bytes_max` of them.
    ///
    /// # Errors
    /// As the server says; there are more.
    pub async fn content(&self, node: NodeId, version: VersionId, bytes_max: usize) -> Result<Vec<u8>, RemoteError> {
        let version = version.to_string();
        self.client.get_bytes(&format!("files/{node}/content"), &[("version", &version)], bytes_max).await
    }

    /// Ends everything that is on its way and begins nothing new until [`Self::go_on`].
    pub fn rest(&self) {
        self.client.cut();
    }

    /// Calls may be made again; over new connections.
    pub fn go_on(&self) {
        self.client.mend();
    }

    /// The limits of how fast content goes up and comes down.
    pub fn rates(&self) -> Arc<Rates> {
        Arc::clone(&self.client.rates)
    }

    async fn fetch_by(
        &self,
        space: SpaceId,
        ranges: &[ChunkRange],
        sink: mpsc::Sender<FetchedFrames>,
        urgency: &Urgency,
    ) -> Result<(), RemoteError> {
        let request = FetchRequest { ranges: ranges.to_vec() };
        let mut body = self.client.post_for_stream(&format!("spaces/{space}/chunks/fetch"), &request).await?;
        let (mut items, down) = (FetchItems::new(ranges), &self.client.rates.down);
        loop {
            down.ready(urgency).await;
            let Some(piece) = body.next().await? else { return items.finish() };
            down.spend(piece.len());
            items.push(&piece);
            while let Some(frames) = items.next()? {
                self.client.counters.add_frames_received(frames.frame_count);
                if sink.send(frames).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// What went over the network.
    pub fn counters(&self) -> Arc<TransferCounters> {
        Arc::clone(&self.client.counters)
    }
}

#[async_trait]
impl Remote for HttpRemote {
    async fn spaces(&self) -> Result<SpacesResponse, RemoteError> {
        self.client.get("spaces", &[], limits::ANSWER_BYTES_MAX).await
    }

    async fn push(&self, space: SpaceId, request: &PushRequest) -> Result<PushResponse, RemoteError> {
        let path = format!("spaces/{space}/push");
        let response: PushResponse = self.client.post(&path, request, limits::ROWS_ANSWER_BYTES_MAX).await?;
        let asked = request.ops.iter().map(|op| op.counter);
        if asked.eq(response.answers.iter().map(|answer| answer.counter)) {
            return Ok(response);
        }
        Err(RemoteError::Malformed("the answers are not those of the operations".into()))
    }

    async fn recover(&self, space: SpaceId, request: &RecoverRequest) -> Result<RecoverResponse, RemoteError> {
        let path = format!("spaces/{space}/recover");
        let response: RecoverResponse = self.client.post(&path, request, limits::ROWS_ANSWER_BYTES_MAX).await?;
        if response.answers.len() == request.rows.len() {
            return Ok(response);
        }
        Err(RemoteError::Malformed("the answers are not those of the rows".into()))
    }

    async fn pull(&self, space: SpaceId, cursor: &Cursor, page: Option<&str>) -> Result<PullResponse, RemoteError> {
        let (epoch, seq, hash) = (cursor.epoch.to_string(), cursor.seq.to_string(), cursor.hash.to_string());
        let mut query = vec![("epoch", epoch.as_str()), ("seq", &seq), ("hash", &hash)];
        query.extend(page.map(|page| ("page", page)));
        self.client.get(&format!("spaces/{space}/pull"), &query, limits::ROWS_ANSWER_BYTES_MAX).await
    }

    async fn children(
        &self,
        space: SpaceId,
        node: NodeId,
        after: Option<&str>,
    ) -> Result<ChildrenResponse, RemoteError> {
        let query: Vec<_> = after.map(|after| ("after", after)).into_iter().collect();
        let path = format!("spaces/{space}/nodes/{node}/children");
        self.client.get(&path, &query, limits::ROWS_ANSWER_BYTES_MAX).await
    }

    async fn missing(&self, space: SpaceId, ids: &[ChunkId]) -> Result<MissingResponse, RemoteError> {
        let request = MissingRequest { ids: ids.to_vec() };
        self.client.post(&format!("spaces/{space}/chunks/missing"), &request, limits::ANSWER_BYTES_MAX).await
    }

    async fn upload(&self, space: SpaceId, items: Vec<UploadItem>) -> Result<UploadResponse, RemoteError> {
        let count = items.len();
        let pieces = items.into_iter().flat_map(pieces_of).collect();
        let response = self.client.post_chunks(&format!("spaces/{space}/chunks"), pieces).await?;
        self.client.counters.add_chunks_sent(count);
        Ok(response)
    }

    async fn fetch(
        &self,
        space: SpaceId,
        ranges: &[ChunkRange],
        sink: mpsc::Sender<FetchedFrames>,
    ) -> Result<(), RemoteError> {
        self.fetch_by(space, ranges, sink, &Urgency::default()).await
    }

    async fn fetch_as(
        &self,
        space: SpaceId,
        ranges: &[ChunkRange],
        sink: mpsc::Sender<FetchedFrames>,
        urgency: &Urgency,
    ) -> Result<(), RemoteError> {
        self.fetch_by(space, ranges, sink, urgency).await
    }

    fn fetch_bytes_max(&self) -> Option<u64> {
        self.client.rates.down.bytes_per_s()
    }

    async fn notify(&self, events: mpsc::Sender<NoticeEvent>) -> Result<ReceiptSender, RemoteError> {
        notify::open(&self.client, events).await
    }
}

fn pieces_of(item: UploadItem) -> [Bytes; 2] {
    let kind = if item.manifest_node { ChunkKind::Manifest } else { ChunkKind::Data };
    let head = upload_head(kind, item.id, item.stored.len() as u32);
    [Bytes::copy_from_slice(&head), item.stored]
}

/// Reads the answer to a fetch and holds it against what was asked.
struct FetchItems<'a> {
    decoder: FetchDecoder,
    expected: std::slice::Iter<'a, ChunkRange>,
}

impl<'a> FetchItems<'a> {
    fn new(ranges: &'a [ChunkRange]) -> Self {
        Self { decoder: FetchDecoder::new(), expected: ranges.iter() }
    }

    fn push(&mut self, piece: &[u8]) {
        self.decoder.push(piece);
    }

    fn next(&mut self) -> Result<Option<FetchedFrames>, RemoteError> {
        let item = self.decoder.next_item().map_err(|e| RemoteError::Malformed(e.to_string()))?;
        let Some(item) = item else { return Ok(None) };
        let range = self.expected.next().filter(|range| range.id == item.id);
        let range = range.ok_or_else(|| RemoteError::Malformed("an item that was not asked for".into()))?;
        frames_of(item, range).map(Some)
    }

    fn finish(&mut self) -> Result<(), RemoteError> {
        self.decoder.finish().map_err(|e| RemoteError::Unreachable(e.to_string()))?;
        if self.expected.next().is_some() {
            return Err(RemoteError::Unreachable("the answer ended early".into()));
        }
        Ok(())
    }
}

fn frames_of(item: FetchItem, range: &ChunkRange) -> Result<FetchedFrames, RemoteError> {
    match item.status {
        FetchStatus::Unknown => Err(refused_item(range, ErrorCode::NotFound, "unknown")),
        FetchStatus::Damaged => Err(refused_item(range, ErrorCode::BadChunk, "damaged on the server")),
        FetchStatus::Ok if item.first_frame == range.first_frame && item.frame_count <= range.frame_count => {
            let FetchItem { id, first_frame, frame_count, header, frames, .. } = item;
            Ok(FetchedFrames { id, first_frame, frame_count, header, frames })
        }
        FetchStatus::Ok => Err(RemoteError::Malformed("other frames than asked for".into())),
    }
}

fn refused_item(range: &ChunkRange, code: ErrorCode, what: &str) -> RemoteError {
    RemoteError::Refused { code, detail: format!("chunk {} is {what}", range.id) }
}

/// The socket's own errors, in the same words.
pub(super) fn socket_error(error: tokio_tungstenite::tungstenite::Error) -> RemoteError {
    use tokio_tungstenite::tungstenite::Error;
    let Error::Http(response) = error else { return RemoteError::Unreachable(error.to_string()) };
    let media = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let head = answer::Head { status: response.status().as_u16(), media, is_zstd: false };
    answer::error_of(&head, response.body().as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests;
