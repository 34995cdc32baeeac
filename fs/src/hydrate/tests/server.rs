//! Owns a server in memory that answers fetches only, from chunks in their true stored form.

use crate::meta::rows::BaseVersion;
use crate::remote::{FetchedFrames, NoticeEvent, ReceiptSender, Remote, RemoteError, UploadItem};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use tarn_proto::api::{
    ChildrenResponse, ChunkRange, MissingResponse, PullResponse, PushRequest, PushResponse, SpacesResponse,
    UploadResponse,
};
use tarn_proto::change::Cursor;
use tarn_proto::chunk::{ContentKey, Header, chunk_id, cut, encode};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, NodeId, SpaceId, VersionId};
use tarn_proto::limits::FRAME_BYTES;
use tarn_proto::lost::{RecoverRequest, RecoverResponse};
use tarn_proto::manifest::{Manifest, ManifestEntry, build, content_id, encode_node, node_id};
use tarn_proto::node::Content;
use tarn_proto::version::VersionVector;
use tokio::sync::{mpsc, watch};

/// What goes wrong next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mischief {
    #[default]
    None,
    /// So many items come with a bit flipped.
    DamageNext(u32),
    /// Every item holds another chunk under the asked id.
    SwapChunks,
    /// So many calls are not answered.
    Unreachable(u32),
}

#[derive(Debug)]
pub struct Server {
    chunks: Mutex<BTreeMap<ChunkId, Bytes>>,
    mischief: Mutex<Mischief>,
    held: watch::Sender<bool>,
    versions: Mutex<u128>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            chunks: Mutex::default(),
            mischief: Mutex::default(),
            held: watch::Sender::new(false),
            versions: Mutex::new(0),
        }
    }
}

/// Incompressible bytes, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

impl Server {
    fn put(&self, key: &ContentKey, plain: &[u8]) -> ManifestEntry {
        let id = chunk_id(key, plain);
        let stored = encode(key, plain, 1).unwrap();
        let entry = ManifestEntry { id, length: plain.len() as u64, stored: stored.len() as u64 };
        self.chunks.lock().insert(id, stored.into());
        entry
    }

    fn chunks_of(&self, bytes: &[u8]) -> Vec<ManifestEntry> {
        let mut rest = bytes;
        let lengths = cut(&ContentKey::Ordinary, bytes);
        let store = |length| {
            let (chunk, after) = rest.split_at(length);
            rest = after;
            self.put(&ContentKey::Ordinary, chunk)
        };
        lengths.into_iter().map(store).collect()
    }

    fn version(&self, size: usize, chunks: &[ManifestEntry], manifest: Manifest) -> BaseVersion {
        let mut versions = self.versions.lock();
        *versions += 1;
        let version = VersionId(versions.to_be_bytes());
        let content_id = content_id(&ContentKey::Ordinary, chunks);
        let content = Content { version, size: size as u64, content_id, manifest };
        BaseVersion { content, vector: VersionVector::default() }
    }

    /// Takes a file.
    pub fn store(&self, bytes: &[u8]) -> BaseVersion {
        let chunks = self.chunks_of(bytes);
        let built = build(chunks.clone()).unwrap();
        for node in &built.nodes {
            self.put(&ContentKey::Ordinary, &node.bytes);
        }
        self.version(bytes.len(), &chunks, built.manifest)
    }

    /// Takes a file whose manifest is a tree although it is short: one node for each chunk.
    pub fn store_as_tree(&self, bytes: &[u8]) -> BaseVersion {
        let chunks = self.chunks_of(bytes);
        let nodes = chunks.iter().map(|chunk| {
            let node = encode_node(0, std::slice::from_ref(chunk)).unwrap();
            self.put(&ContentKey::Ordinary, &node);
            ManifestEntry { id: node_id(&node), ..*chunk }
        });
        let manifest = Manifest { level: 1, entries: nodes.collect() };
        self.version(bytes.len(), &chunks, manifest)
    }

    /// Forgets the chunks of a file.
    pub fn lose(&self, bytes: &[u8]) {
        let mut chunks = self.chunks.lock();
        chunks.remove(&chunk_id(&ContentKey::Ordinary, bytes)).unwrap();
    }

    pub fn misbehave(&self, mischief: Mischief) {
        *self.mischief.lock() = mischief;
    }

    /// Keeps calls waiting.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    fn item(&self, range: &ChunkRange) -> Option<FetchedFrames> {
        let chunks = self.chunks.lock();
        let mut mischief = self.mischief.lock();
        let stored = match *mischief {
            Mischief::SwapChunks => chunks.iter().find(|(id, _)| **id != range.id).map(|(_, stored)| stored)?,
            _ => chunks.get(&range.id)?,
        };
        let header = Header::parse(stored).unwrap();
        assert!(range.frame_count > 0 && range.first_frame + range.frame_count <= header.frame_count());
        let place = header.frames_stored_range(range.first_frame, range.frame_count).unwrap();
        let mut frames = stored[place].to_vec();
        if let Mischief::DamageNext(count) = &mut *mischief
            && *count > 0
        {
            *count -= 1;
            let middle = frames.len() / 2;
            frames[middle] ^= 1;
        }
        Some(FetchedFrames {
            id: range.id,
            first_frame: range.first_frame,
            frame_count: range.frame_count,
            header: stored.slice(..header.header_len()),
            frames: frames.into(),
        })
    }
}

fn refused() -> RemoteError {
    RemoteError::Refused { code: ErrorCode::NotFound, detail: "not here".to_owned() }
}

#[async_trait]
impl Remote for Server {
    async fn fetch(
        &self,
        _space: SpaceId,
        ranges: &[ChunkRange],
        sink: mpsc::Sender<FetchedFrames>,
    ) -> Result<(), RemoteError> {
        if let Mischief::Unreachable(count) = &mut *self.mischief.lock()
            && *count > 0
        {
            *count -= 1;
            return Err(RemoteError::Unreachable("cut off".to_owned()));
        }
        let asked_bytes = ranges.iter().map(|range| range.frame_count as usize * FRAME_BYTES).sum::<usize>();
        assert!(asked_bytes as u64 <= tarn_proto::limits::FETCH_BYTES_MAX, "one call asks for too much");
        self.held.subscribe().wait_for(|held| !held).await.unwrap();
        for range in ranges {
            let item = self.item(range).ok_or_else(refused)?;
            if sink.send(item).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn spaces(&self) -> Result<SpacesResponse, RemoteError> {
        Err(refused())
    }

    async fn push(&self, _: SpaceId, _: &PushRequest) -> Result<PushResponse, RemoteError> {
        Err(refused())
    }

    async fn recover(&self, _: SpaceId, _: &RecoverRequest) -> Result<RecoverResponse, RemoteError> {
        Err(refused())
    }

    async fn pull(&self, _: SpaceId, _: &Cursor, _: Option<&str>) -> Result<PullResponse, RemoteError> {
        Err(refused())
    }

    async fn children(&self, _: SpaceId, _: NodeId, _: Option<&str>) -> Result<ChildrenResponse, RemoteError> {
        Err(refused())
    }

    async fn missing(&self, _: SpaceId, _: &[ChunkId]) -> Result<MissingResponse, RemoteError> {
        Err(refused())
    }

    async fn upload(&self, _: SpaceId, _: Vec<UploadItem>) -> Result<UploadResponse, RemoteError> {
        Err(refused())
    }

    async fn notify(&self, _: mpsc::Sender<NoticeEvent>) -> Result<ReceiptSender, RemoteError> {
        Err(refused())
    }
}
