//! Owns the plaintext of whole files, for browsers and curl. The only path that unpacks to serve.

use super::Chunks;
use crate::packs::PackError;
use crate::service::{Failure, Identity};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use std::collections::HashMap;
use std::ops::Range;
use std::pin::Pin;
use tarn_proto::chunk::{self, ContentKey};
use tarn_proto::ids::ChunkId;
use tarn_proto::manifest::{LocatedChunk, Manifest, resolve};

/// Plaintext as it is unpacked.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, Failure>> + Send>>;

/// Chunks that are read and unpacked ahead of the socket.
const CHUNKS_AHEAD: usize = 2;

impl Chunks {
    /// The bytes of a range of a content, in order. The manifest is one that a push was allowed to bring.
    ///
    /// # Errors
    /// The manifest cannot be read. What is found damaged later ends the stream.
    pub async fn content(&self, who: Identity, manifest: &Manifest, range: Range<u64>) -> Result<ByteStream, Failure> {
        let chunks = self.resolve(who, manifest, range.clone()).await?;
        let this = self.clone();
        let pieces = chunks.into_iter().map(move |located| {
            let (this, wanted) = (this.clone(), clip(&located, &range));
            async move { this.plain(who, located.entry.id).await.map(|plain| plain.slice(wanted)) }
        });
        Ok(Box::pin(stream::iter(pieces).buffered(CHUNKS_AHEAD)))
    }

    async fn resolve(
        &self,
        who: Identity,
        manifest: &Manifest,
        range: Range<u64>,
    ) -> Result<Vec<LocatedChunk>, Failure> {
        let mut nodes: HashMap<ChunkId, Bytes> = HashMap::new();
        loop {
            let resolved = resolve(manifest, range.clone(), |id| nodes.get(id).cloned())
                .map_err(|error| Failure::Internal(format!("a stored manifest: {error}")))?;
            if resolved.missing.is_empty() {
                return Ok(resolved.chunks);
            }
            for id in resolved.missing {
                nodes.insert(id, self.plain(who, id).await?);
            }
        }
    }

    async fn plain(&self, who: Identity, id: ChunkId) -> Result<Bytes, Failure> {
        let stored = self.stored(who, id).await?;
        let plain = tokio::task::spawn_blocking(move || chunk::decode(&ContentKey::Ordinary, id, &stored)).await;
        match plain {
            Ok(Ok(plain)) => Ok(plain.into()),
            Ok(Err(error)) => Err(Failure::Internal(format!("chunk {id} is damaged: {error}"))),
            Err(error) => Err(PackError::Unavailable(error.to_string()).into()),
        }
    }
}

/// The part of a chunk that lies in a range of the file.
fn clip(located: &LocatedChunk, range: &Range<u64>) -> Range<usize> {
    let start = range.start.saturating_sub(located.offset);
    let end = range.end.saturating_sub(located.offset).min(located.entry.length);
    start.min(end) as usize..end as usize
}
