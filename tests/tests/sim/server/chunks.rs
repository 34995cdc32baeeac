//! Owns the server's chunks.

use super::{SimServer, refused};
use crate::plant::Plant;
use bytes::Bytes;
use tarn::remote::{FetchedFrames, RemoteError, UploadItem};
use tarn_proto::api::ChunkRange;
use tarn_proto::chunk::{ContentKey, Header, decode};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::ChunkId;
use tarn_proto::manifest::resolve;
use tarn_proto::node::Content;

impl SimServer {
    pub fn missing(&self, ids: &[ChunkId]) -> Vec<ChunkId> {
        ids.iter().filter(|id| !self.chunks.contains_key(id)).copied().collect()
    }

    pub fn upload(&mut self, items: Vec<UploadItem>) -> Result<u64, RemoteError> {
        let mut stored = 0;
        for item in items {
            let plain = decode(&ContentKey::Ordinary, item.id, &item.stored)
                .map_err(|error| refused(ErrorCode::BadChunk, &error.to_string()))?;
            self.plains.insert(item.id, plain.into());
            if self.plant == Some(Plant::ChunkNotKept) && item.id.0[0] < 32 {
                continue;
            }
            stored += u64::from(self.chunks.insert(item.id, item.stored).is_none());
        }
        Ok(stored)
    }

    pub fn fetch(&self, ranges: &[ChunkRange]) -> Result<Vec<FetchedFrames>, RemoteError> {
        ranges.iter().map(|range| self.fetch_one(range)).collect()
    }

    fn fetch_one(&self, range: &ChunkRange) -> Result<FetchedFrames, RemoteError> {
        let stored = self.chunks.get(&range.id).ok_or_else(|| refused(ErrorCode::NotFound, "no such chunk"))?;
        let header = Header::parse(stored).map_err(|e| RemoteError::Malformed(e.to_string()))?;
        let frames = header.frames_stored_range(range.first_frame, range.frame_count);
        let frames = frames.ok_or_else(|| refused(ErrorCode::BadRequest, "no such frame"))?;
        Ok(FetchedFrames {
            id: range.id,
            first_frame: range.first_frame,
            frame_count: range.frame_count.min(header.frame_count() - range.first_frame),
            header: stored.slice(..header.header_len()),
            frames: stored.slice(frames),
        })
    }

    /// What a chunk that is there holds.
    pub(super) fn plain(&self, id: ChunkId) -> Option<Bytes> {
        self.plains.get(&id).filter(|_| self.chunks.contains_key(&id)).cloned()
    }

    /// All bytes of a content, if all are there.
    pub fn bytes_of(&self, content: &Content) -> Option<Vec<u8>> {
        let resolved = resolve(&content.manifest, 0..content.size, |id| self.plain(*id)).ok()?;
        let mut bytes = Vec::with_capacity(content.size as usize);
        for chunk in &resolved.chunks {
            bytes.extend_from_slice(&self.plain(chunk.entry.id)?);
        }
        (resolved.missing.is_empty() && bytes.len() as u64 == content.size).then_some(bytes)
    }
}
