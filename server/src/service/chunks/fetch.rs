//! Owns fetches: many ranges of chunks as one framed stream, without unpacking anything.

use super::Chunks;
use super::cache::Located;
use super::plan::{self, Part, Read};
use crate::packs::PackError;
use crate::service::{Failure, Identity};
use crate::store::chunks::{self, ChunkRow, ORDINARY};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use std::collections::HashMap;
use tarn_proto::api::ChunkRange;
use tarn_proto::chunk::Header;
use tarn_proto::chunk::header::frames_in;
use tarn_proto::chunk::wire::{FetchHead, FetchStatus};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, UserId};
use tarn_proto::limits::{FETCH_BYTES_MAX, FETCH_RANGES_MAX, FRAME_BYTES};

/// Reads of packs that run ahead of the socket.
const READS_AHEAD: usize = 4;

impl Chunks {
    /// Plans a fetch, and answers the stream of its body. What the user's spaces do not reach is
    /// answered as unknown, what cannot be read as damaged; a store that stops answering ends the stream.
    ///
    /// # Errors
    /// Too much at once, a frame that the chunk does not have, or the database fails.
    pub async fn fetch(
        &self,
        who: Identity,
        ranges: Vec<ChunkRange>,
    ) -> Result<impl Stream<Item = Result<Bytes, Failure>> + Send + use<>, Failure> {
        if ranges.len() > FETCH_RANGES_MAX {
            return Err(Failure::refused(ErrorCode::TooLarge, format!("at most {FETCH_RANGES_MAX} ranges")));
        }
        metrics::counter!("tarn_fetches_total").increment(1);
        let ids: Vec<ChunkId> = ranges.iter().map(|range| range.id).collect();
        let located = self.locate(who.user, &ids).await?;
        check_bounds(&ranges, &located)?;
        let parts = self.parts(ranges, located).await?;
        let this = self.clone();
        let reads = plan::group(parts).into_iter().map(move |read| {
            let this = this.clone();
            async move { this.serve(read).await }
        });
        let items = stream::iter(reads).buffered(READS_AHEAD);
        Ok(items.map_ok(|pieces| stream::iter(pieces.into_iter().map(Ok))).try_flatten())
    }

    /// One chunk's whole stored form.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if the user's spaces do not reach it.
    pub async fn stored(&self, who: Identity, id: ChunkId) -> Result<Bytes, Failure> {
        let located = self.locate(who.user, &[id]).await?.remove(&id);
        let row = located.ok_or_else(|| Failure::not_found("chunk"))?.row;
        let bytes = self.0.packs.read(row.pack, row.offset..row.offset + u64::from(row.stored_bytes)).await?;
        metrics::counter!("tarn_chunks_served_total").increment(1);
        metrics::counter!("tarn_chunk_bytes_served_total").increment(bytes.len() as u64);
        Ok(bytes)
    }

    /// The places of those of these chunks that a user reaches.
    pub(super) async fn locate(&self, user: UserId, ids: &[ChunkId]) -> Result<HashMap<ChunkId, Located>, Failure> {
        let mut found = HashMap::with_capacity(ids.len());
        let mut unknown = Vec::new();
        for &id in ids {
            match self.0.cache.get(user, id) {
                Some(located) => drop(found.insert(id, located)),
                None => unknown.push(id),
            }
        }
        if !unknown.is_empty() {
            unknown.sort_unstable();
            unknown.dedup();
            let rows = chunks::find_reached(&mut *self.0.db.reader().await?, user, ORDINARY, &unknown).await?;
            for (id, row) in rows {
                let located = Located { row, header: None };
                self.0.cache.put(user, located.clone());
                found.insert(id, located);
            }
        }
        Ok(found)
    }

    async fn parts(&self, ranges: Vec<ChunkRange>, located: HashMap<ChunkId, Located>) -> Result<Vec<Part>, Failure> {
        let parts = ranges.into_iter().map(|range| {
            let located = located.get(&range.id).cloned();
            async move {
                match located {
                    None => Ok(Part::Word(range.id, FetchStatus::Unknown)),
                    Some(located) if is_whole(&range, &located.row) => Ok(Part::Whole(located.row)),
                    Some(located) => self.frames(range, located).await,
                }
            }
        });
        stream::iter(parts).buffered(READS_AHEAD).try_collect().await
    }

    async fn frames(&self, range: ChunkRange, located: Located) -> Result<Part, Failure> {
        let row = located.row;
        let header = match located.header {
            Some(header) => header,
            None => match self.0.packs.read(row.pack, row.offset..row.offset + u64::from(row.header_bytes)).await {
                Ok(header) => header,
                Err(error @ PackError::Damaged { .. }) => return Ok(damaged(&row, &error.to_string())),
                Err(error) => return Err(error.into()),
            },
        };
        let parsed = match Header::parse(&header) {
            Ok(parsed) if parsed.total_stored_len() == row.stored_bytes as usize => parsed,
            _ => return Ok(damaged(&row, "its header is malformed")),
        };
        self.0.cache.put_header(row, header.clone());
        let stored = parsed.frames_stored_range(range.first_frame, range.frame_count);
        let Some(stored) = stored else { return Ok(damaged(&row, "its header has too few frames")) };
        let count = range.frame_count.min(parsed.frame_count() - range.first_frame);
        let range_bytes = stored.start as u64..stored.end as u64;
        Ok(Part::Frames { row, header, first: range.first_frame, count, range: range_bytes })
    }

    /// Does one read and makes the answer's bytes. If the read is damaged, each part is tried alone.
    async fn serve(&self, read: Read) -> Result<Vec<Bytes>, Failure> {
        let Some((pack, range)) = read.from else {
            return Ok(read.parts.iter().flat_map(|part| emit(part, 0, &Bytes::new())).collect());
        };
        match self.0.packs.read(pack, range.clone()).await {
            Ok(bytes) => {
                metrics::counter!("tarn_chunks_served_total").increment(read.parts.len() as u64);
                metrics::counter!("tarn_chunk_bytes_served_total").increment(bytes.len() as u64);
                Ok(read.parts.iter().flat_map(|part| emit(part, range.start, &bytes)).collect())
            }
            Err(PackError::Damaged { .. }) if read.parts.len() > 1 => {
                let mut pieces = Vec::new();
                for part in read.parts {
                    let alone = Read { from: part.wants(), parts: vec![part] };
                    pieces.extend(Box::pin(self.serve(alone)).await?);
                }
                Ok(pieces)
            }
            Err(error @ PackError::Damaged { .. }) => {
                let words = read.parts.iter().map(|part| spoil(part, &error.to_string()));
                Ok(words.flat_map(|word| emit(&word, 0, &Bytes::new())).collect())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn is_whole(range: &ChunkRange, row: &ChunkRow) -> bool {
    range.first_frame == 0 && range.frame_count >= frames_in(row.plain_bytes)
}

/// Refuses what asks for too much, or for frames that are not there.
fn check_bounds(ranges: &[ChunkRange], located: &HashMap<ChunkId, Located>) -> Result<(), Failure> {
    let mut bytes = 0;
    for range in ranges {
        let Some(located) = located.get(&range.id) else { continue };
        let frames = frames_in(located.row.plain_bytes);
        if range.frame_count == 0 || range.first_frame >= frames {
            let detail =
                format!("chunk {} has {frames} frames, not {} from {}", range.id, range.frame_count, range.first_frame);
            return Err(Failure::refused(ErrorCode::BadRequest, detail));
        }
        bytes += u64::from(range.frame_count.min(frames - range.first_frame)) * FRAME_BYTES as u64;
    }
    if bytes > FETCH_BYTES_MAX + (ranges.len() * FRAME_BYTES) as u64 {
        return Err(Failure::refused(ErrorCode::TooLarge, format!("at most {FETCH_BYTES_MAX} bytes in one fetch")));
    }
    Ok(())
}

fn damaged(row: &ChunkRow, why: &str) -> Part {
    metrics::counter!("tarn_chunks_damaged_total").increment(1);
    tracing::error!(chunk = %row.id, pack = %row.pack, offset = row.offset, why, "a chunk is damaged");
    Part::Word(row.id, FetchStatus::Damaged)
}

fn spoil(part: &Part, why: &str) -> Part {
    match part {
        Part::Word(..) => part.clone(),
        Part::Whole(row) | Part::Frames { row, .. } => damaged(row, why),
    }
}

/// The answer to one part; `bytes` start at `base` in the pack.
fn emit(part: &Part, base: u64, bytes: &Bytes) -> Vec<Bytes> {
    match part {
        Part::Word(id, status) => vec![Bytes::copy_from_slice(&FetchHead::without_bytes(*id, *status).to_bytes())],
        Part::Whole(row) => {
            let start = (row.offset - base) as usize;
            let stored = bytes.slice(start..start + row.stored_bytes as usize);
            match Header::parse(&stored) {
                Ok(header) if header.total_stored_len() == stored.len() => {
                    vec![head(row, 0, header.frame_count(), row.stored_bytes - row.header_bytes), stored]
                }
                _ => emit(&damaged(row, "its header is malformed"), base, bytes),
            }
        }
        Part::Frames { row, header, first, count, range } => {
            let start = (row.offset + range.start - base) as usize;
            let frames = bytes.slice(start..start + (range.end - range.start) as usize);
            vec![head(row, *first, *count, frames.len() as u32), header.clone(), frames]
        }
    }
}

fn head(row: &ChunkRow, first_frame: u32, frame_count: u32, frames_len: u32) -> Bytes {
    let (id, status, header_len) = (row.id, FetchStatus::Ok, row.header_bytes);
    let head = FetchHead { id, status, first_frame, frame_count, header_len, frames_len };
    Bytes::copy_from_slice(&head.to_bytes())
}
