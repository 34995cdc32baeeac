//! Owns uploads: a framed body becomes one pack and its index rows, durable together before the answer.
//!
//! Nothing of a body is kept unless all of it is well: every chunk is decoded and hashed first. Of one that was cut
//! off, the chunks of contents that had arrived whole are kept, so that they need not be sent again. The pack is durable before the rows that name it; a crash between leaves a pack that nobody names.
//! A pack is itself a well-formed upload body of the chunks that were new.

use super::arriving::Arrival;
use super::cache::Located;
use super::putlog::{self, Put};
use super::{Chunks, LEASE_MS};
use crate::packs::PackId;
use crate::service::{Failure, Identity};
use crate::store::chunks::{self, ChunkRow, Judgement, NodeSpan, ORDINARY};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tarn_proto::api::UploadResponse;
use tarn_proto::chunk::wire::{ChunkKind, UPLOAD_HEAD_BYTES, UploadDecoder, UploadItem, WireError, upload_head};
use tarn_proto::chunk::{self, ContentKey, Header};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::ChunkId;
use tarn_proto::manifest::{ManifestNode, decode_node};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Stored bytes that are worth a blocking thread of their own.
const BATCH_BYTES: usize = 1 << 20;

/// Pieces of a body that wait to be taken in.
const PIECES_AHEAD: usize = 4;

/// What arrives. If nothing follows, and no end, the body was cut off.
#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    End,
}

/// A chunk whose bytes match its id.
#[derive(Debug)]
struct Verified {
    item: UploadItem,
    plain_bytes: u32,
    header_bytes: u32,
    node: Option<ManifestNode>,
}

impl Verified {
    /// The chunk's row, with its place in a pack.
    fn row(&self, pack: PackId, offset: u64) -> ChunkRow {
        let span = |node: &ManifestNode| NodeSpan {
            level: node.level,
            bytes: node.entries.iter().fold(0, |sum, entry| entry.length.saturating_add(sum)),
        };
        ChunkRow {
            id: self.item.id,
            pack,
            offset,
            stored_bytes: self.item.stored.len() as u32,
            plain_bytes: self.plain_bytes,
            header_bytes: self.header_bytes,
            node: self.node.as_ref().map(span),
        }
    }
}

impl Chunks {
    /// Takes an upload's body, piece by piece as it arrives. What arrived is stored even if its sender is gone meanwhile, and
    /// the call is dropped with the connection: it need not be sent again.
    ///
    /// # Errors
    /// A malformed or too long body, a chunk that does not match its id, a manifest node whose
    /// children the user does not reach or that stand for something else. Then nothing is kept.
    /// A body that is cut off: then its whole chunks of contents are kept.
    pub async fn upload<S, E>(&self, who: Identity, body: S) -> Result<UploadResponse, Failure>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let began_ms = self.0.env.now_ms();
        let uploads = Arc::clone(&self.0.uploads);
        let permit = uploads.acquire_owned().await.map_err(|error| Failure::Internal(error.to_string()))?;
        let (pieces, arriving) = mpsc::channel(PIECES_AHEAD);
        let (chunks, arrival) = (self.clone(), self.0.arriving.begin(who.user));
        let stored = tokio::spawn(async move {
            let stored = chunks.take_in(who, began_ms, arriving, arrival).await;
            drop(permit);
            stored
        });
        let passed_on = pass_on(body, pieces).await;
        let stored = stored.await.map_err(|error| Failure::Internal(error.to_string()))?;
        passed_on.and(stored)
    }

    async fn take_in(
        &self,
        who: Identity,
        began_ms: i64,
        pieces: mpsc::Receiver<Piece>,
        mut arrival: Arrival,
    ) -> Result<UploadResponse, Failure> {
        let (mut verified, is_whole) = verify_body(pieces, &mut arrival).await?;
        if !is_whole {
            // What a manifest node names may not have come.
            verified.retain(|chunk| chunk.node.is_none());
            if verified.is_empty() {
                return Ok(UploadResponse { accepted: 0, stored: 0 });
            }
        }
        self.store(who, began_ms, verified).await
    }

    async fn store(&self, who: Identity, began_ms: i64, verified: Vec<Verified>) -> Result<UploadResponse, Failure> {
        let ids: Vec<ChunkId> = verified.iter().map(|chunk| chunk.item.id).collect();
        let mut reader = self.0.db.reader().await?;
        let known = chunks::find(&mut reader, ORDINARY, &ids).await?;
        let before = chunks::reached(&mut reader, who.user, ORDINARY, &ids).await?;
        let pack = PackId(self.0.env.random());
        let (rows, pieces) = lay_out(pack, &verified, &known);
        let all = all_rows(pack, &verified, &rows, &known);
        self.judge_nodes(&mut reader, who, &verified, &all).await?;
        drop(reader);
        let stored_bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        if !rows.is_empty() {
            self.0.packs.put(pack, pieces).await?;
        }
        self.commit(who, pack, stored_bytes, &rows, ids.clone()).await?;
        let put = Put {
            who,
            began_ms,
            time_ms: self.0.env.now_ms(),
            pack: (!rows.is_empty()).then_some(pack),
            ids: &ids,
            again: ids.iter().filter(|id| before.contains_key(id)).copied().collect(),
            stored_count: rows.len(),
            stored_bytes,
        };
        putlog::record(self.0.put_log.as_ref(), &put);
        self.remember(who, &verified, &rows);
        Ok(UploadResponse { accepted: ids.len() as u64, stored: rows.len() as u64 })
    }

    /// Checks that what every manifest node names is there, in this body or before.
    async fn judge_nodes(
        &self,
        conn: &mut crate::store::Conn,
        who: Identity,
        verified: &[Verified],
        all: &HashMap<ChunkId, ChunkRow>,
    ) -> Result<(), Failure> {
        for node in verified.iter().filter_map(|chunk| chunk.node.as_ref()) {
            let elsewhere: Vec<ChunkId> =
                node.entries.iter().map(|entry| entry.id).filter(|id| !all.contains_key(id)).collect();
            let mut rows = chunks::find_reached(conn, who.user, ORDINARY, &elsewhere).await?;
            rows.extend(node.entries.iter().filter_map(|entry| all.get(&entry.id)).map(|row| (row.id, *row)));
            match chunks::judge(node.level, &node.entries, &rows) {
                Judgement::Good => {}
                Judgement::Missing(ids) => return Err(missing(&ids)),
                Judgement::Bad(detail) => return Err(Failure::refused(ErrorCode::BadManifest, detail)),
            }
        }
        Ok(())
    }

    async fn commit(
        &self,
        who: Identity,
        pack: PackId,
        bytes: u64,
        rows: &[ChunkRow],
        mut ids: Vec<ChunkId>,
    ) -> Result<(), Failure> {
        ids.sort_unstable();
        let (db, now_ms) = (&self.0.db, self.0.env.now_ms());
        db.retry(|| async {
            let mut tx = db.begin().await?;
            if !rows.is_empty() {
                chunks::insert_pack(&mut tx, pack, bytes, now_ms, ORDINARY, rows).await?;
            }
            chunks::record_reach(&mut tx, who.user, ORDINARY, &ids, now_ms + LEASE_MS).await?;
            tx.commit().await
        })
        .await?;
        Ok(())
    }

    /// What was just sent is what the other devices ask for next.
    fn remember(&self, who: Identity, verified: &[Verified], rows: &[ChunkRow]) {
        let stored: HashMap<ChunkId, &Verified> = verified.iter().map(|chunk| (chunk.item.id, chunk)).collect();
        for row in rows.iter().filter(|row| row.node.is_none()) {
            let header = stored.get(&row.id).map(|chunk| chunk.item.stored.slice(..row.header_bytes as usize));
            let header = header.map(|header| Bytes::copy_from_slice(&header));
            self.0.cache.put(who.user, Located { row: *row, header });
        }
    }
}

/// Places the chunks that are new side by side, ordered by id: concurrent uploads of the same chunks
/// then lock their rows in one order.
fn lay_out(pack: PackId, verified: &[Verified], known: &HashMap<ChunkId, ChunkRow>) -> (Vec<ChunkRow>, Vec<Bytes>) {
    let is_new = |chunk: &&Verified| match known.get(&chunk.item.id) {
        None => true,
        Some(row) => row.node.is_none() && chunk.node.is_some(),
    };
    let mut fresh: Vec<&Verified> = verified.iter().filter(is_new).collect();
    fresh.sort_unstable_by_key(|chunk| chunk.item.id);
    let (mut rows, mut pieces, mut offset) = (Vec::new(), Vec::new(), 0);
    for chunk in fresh {
        let head = upload_head(chunk.item.kind, chunk.item.id, chunk.item.stored.len() as u32);
        pieces.push(Bytes::copy_from_slice(&head));
        pieces.push(chunk.item.stored.clone());
        rows.push(chunk.row(pack, offset + UPLOAD_HEAD_BYTES as u64));
        offset += (UPLOAD_HEAD_BYTES + chunk.item.stored.len()) as u64;
    }
    (rows, pieces)
}

/// The rows of all chunks of the body, whether they are new or known.
fn all_rows(
    pack: PackId,
    verified: &[Verified],
    fresh: &[ChunkRow],
    known: &HashMap<ChunkId, ChunkRow>,
) -> HashMap<ChunkId, ChunkRow> {
    let mut rows = known.clone();
    rows.extend(fresh.iter().map(|row| (row.id, *row)));
    debug_assert!(verified.iter().all(|chunk| rows.contains_key(&chunk.item.id)), "{pack} misses a row");
    rows
}

fn missing(ids: &[ChunkId]) -> Failure {
    let first: Vec<String> = ids.iter().take(8).map(ChunkId::to_string).collect();
    Failure::refused(ErrorCode::MissingChunks, format!("{} chunks must be sent first: {}", ids.len(), first.join(", ")))
}

/// Hands a body on as it arrives. Whoever takes it may give up before its end: it says why.
async fn pass_on<S, E>(mut body: S, pieces: mpsc::Sender<Piece>) -> Result<(), Failure>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| Failure::refused(ErrorCode::BadRequest, format!("the body: {error}")))?;
        if pieces.send(Piece::Bytes(piece)).await.is_err() {
            return Ok(());
        }
    }
    // One that is gone knows why.
    let _ = pieces.send(Piece::End).await;
    Ok(())
}

/// Reads a body and verifies its chunks on blocking threads while the rest arrives. A chunk
/// that comes twice counts once. Also says whether all of the body has come.
async fn verify_body(
    mut pieces: mpsc::Receiver<Piece>,
    arrival: &mut Arrival,
) -> Result<(Vec<Verified>, bool), Failure> {
    let (mut decoder, mut batch, mut batch_bytes) = (UploadDecoder::new(), Vec::new(), 0);
    let (mut work, mut is_whole) = (JoinSet::new(), false);
    while let Some(piece) = pieces.recv().await {
        let Piece::Bytes(piece) = piece else {
            decoder.finish().map_err(malformed)?;
            is_whole = true;
            break;
        };
        decoder.push(&piece).map_err(malformed)?;
        while let Some(item) = decoder.next_item().map_err(malformed)? {
            batch_bytes += item.stored.len();
            arrival.add(item.id);
            batch.push(item);
        }
        if batch_bytes >= BATCH_BYTES {
            let full = std::mem::take(&mut batch);
            batch_bytes = 0;
            work.spawn_blocking(move || verify_all(full));
        }
    }
    work.spawn_blocking(move || verify_all(batch));
    Ok((collect(work).await?, is_whole))
}

async fn collect(mut work: JoinSet<Result<Vec<Verified>, Failure>>) -> Result<Vec<Verified>, Failure> {
    let mut chunks: HashMap<ChunkId, Verified> = HashMap::new();
    while let Some(done) = work.join_next().await {
        for chunk in done.map_err(|error| Failure::Internal(error.to_string()))?? {
            match chunks.entry(chunk.item.id) {
                Entry::Vacant(place) => {
                    place.insert(chunk);
                }
                Entry::Occupied(mut place) if place.get().node.is_none() => {
                    place.insert(chunk);
                }
                Entry::Occupied(_) => {}
            }
        }
    }
    Ok(chunks.into_values().collect())
}

fn verify_all(items: Vec<UploadItem>) -> Result<Vec<Verified>, Failure> {
    items.into_iter().map(verify).collect()
}

fn verify(item: UploadItem) -> Result<Verified, Failure> {
    let bad = |detail: String| Failure::refused(ErrorCode::BadChunk, format!("chunk {}: {detail}", item.id));
    let plain = chunk::decode(&ContentKey::Ordinary, item.id, &item.stored).map_err(|error| bad(error.to_string()))?;
    let header_bytes = Header::len_from_prefix(&item.stored).map_err(|error| bad(error.to_string()))? as u32;
    let node = match item.kind {
        ChunkKind::Data => None,
        ChunkKind::Manifest => {
            Some(decode_node(&plain).map_err(|error| Failure::refused(ErrorCode::BadManifest, error.to_string()))?)
        }
    };
    Ok(Verified { plain_bytes: plain.len() as u32, header_bytes, node, item })
}

fn malformed(error: WireError) -> Failure {
    let code = match error {
        WireError::TooLong | WireError::TooMany => ErrorCode::TooLarge,
        WireError::Length => ErrorCode::BadChunk,
        WireError::Truncated | WireError::Unknown(_) => ErrorCode::BadRequest,
    };
    Failure::refused(code, error.to_string())
}
