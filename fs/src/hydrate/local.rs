//! Owns taking bytes from elsewhere on the local disk before anybody is asked for them.

use super::error::HydrateError;
use super::hydrator::{Hydrator, Priority};
use crate::content::{Copied, Former, LocalContent};
use crate::meta::rows::BaseVersion;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use tarn_proto::limits::FRAME_BYTES;
use tarn_proto::manifest::LocatedChunk;

/// A chunk, and the part of the file for which it is wanted.
pub(super) type Wanted = (LocatedChunk, Range<u64>);

impl Hydrator {
    /// Copies what other contents have, whole chunks; returns what is left to fetch.
    ///
    /// # Errors
    /// The disk's.
    pub(super) async fn take_local(
        &self,
        content: &Arc<LocalContent>,
        base: &BaseVersion,
        wanted: Vec<Wanted>,
        priority: Priority,
    ) -> Result<Vec<Wanted>, HydrateError> {
        if let Some(former) = content.former() {
            self.look_up(content, &former, priority).await;
        }
        if !wanted.iter().any(|(chunk, _)| content.has_source(chunk)) {
            return Ok(wanted);
        }
        let (this, content, base) = (self.clone(), content.clone(), base.clone());
        let left = self.shared.env.blocking(move || this.copy_all(&content, &base, wanted, priority)).await;
        Ok(left.map_err(|_| HydrateError::Unreachable)??)
    }

    /// Notes the chunks of what a content replaces.
    async fn look_up(&self, content: &LocalContent, former: &Former, priority: Priority) {
        let chunks = self.chunks(&former.base.content.manifest, 0..former.base.content.size, priority).await;
        match chunks {
            Ok(chunks) => former.content.note_chunks(&chunks),
            // Tried again with the next read.
            Err(HydrateError::Offline | HydrateError::Unreachable) => return,
            Err(error) => tracing::debug!(%error, "the version before is not looked at"),
        }
        content.forget_former();
    }

    /// [`Self::take_local`] for who may block already.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn copy_all(
        &self,
        content: &LocalContent,
        base: &BaseVersion,
        wanted: Vec<Wanted>,
        priority: Priority,
    ) -> io::Result<Vec<Wanted>> {
        let mut left = Vec::new();
        for (chunk, gap) in wanted {
            let part = gap.start.max(chunk.offset)..gap.end.min(chunk.range().end);
            if self.missing(content, base, part).is_empty() {
                continue; // came with an earlier part of the chunk
            }
            match content.copy_chunk(base.content.version, &chunk, priority == Priority::Guess)? {
                Copied::Done => self.shared.counters.copied(chunk.entry.length),
                Copied::Missing => left.push((chunk, gap)),
                Copied::Full(bytes) => {
                    for (index, frame) in bytes.chunks(FRAME_BYTES).enumerate() {
                        let offset = chunk.offset + (index * FRAME_BYTES) as u64;
                        self.shared.memory.put(content.no(), base.content.version, offset, bytes.slice_ref(frame));
                    }
                }
            }
        }
        Ok(left)
    }
}
