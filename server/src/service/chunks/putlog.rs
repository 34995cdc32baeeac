//! Owns the put log: one JSON line for each upload that was made durable, written before its answer.
//!
//! `{"began_ms", "time_ms", "user", "device", "pack", "accepted", "stored", "ids", "again"}`: `ids` are the chunks
//! of the body, which began to arrive at `began_ms` and was durable at `time_ms`; `again` those that the user reached
//! before. A client that resumes as it should sends no id that was durable, by another line, before its body began
//! (`again` also counts what came at the same time, and what was durable when the server ended before it said so). The same goes to the structured log, target `tarn::put`, without
//! the file: one line per body at info level, one per chunk at debug level.

use super::Identity;
use crate::env::disk;
use crate::packs::PackId;
use parking_lot::Mutex;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use tarn_proto::ids::ChunkId;

/// The file of the put log.
#[derive(Debug)]
pub struct PutLog(Mutex<File>);

impl PutLog {
    /// Opens the file to append to it.
    ///
    /// # Errors
    /// The disk says no.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(disk::open_append(path)?)))
    }

    fn append(&self, line: &str) {
        if let Err(error) = self.0.lock().write_all(line.as_bytes()) {
            tracing::error!(%error, "the put log cannot be written");
        }
    }
}

/// One upload that is durable.
#[derive(Debug)]
pub(super) struct Put<'a> {
    pub(super) who: Identity,
    pub(super) began_ms: i64,
    pub(super) time_ms: i64,
    pub(super) pack: Option<PackId>,
    pub(super) ids: &'a [ChunkId],
    pub(super) again: Vec<ChunkId>,
    pub(super) stored_count: usize,
    pub(super) stored_bytes: u64,
}

/// Writes an upload down, in the file if there is one, in the log and in the metrics.
pub(super) fn record(log: Option<&PutLog>, put: &Put<'_>) {
    metrics::counter!("tarn_chunks_accepted_total").increment(put.ids.len() as u64);
    metrics::counter!("tarn_chunks_stored_total").increment(put.stored_count as u64);
    metrics::counter!("tarn_chunks_sent_again_total").increment(put.again.len() as u64);
    metrics::counter!("tarn_pack_bytes_written_total").increment(put.stored_bytes);
    let (accepted, stored, again) = (put.ids.len(), put.stored_count, put.again.len());
    tracing::info!(target: "tarn::put", device = %put.who.device, accepted, stored, again, bytes = put.stored_bytes, "put");
    for id in put.ids {
        tracing::debug!(target: "tarn::put", device = %put.who.device, chunk = %id, again = put.again.contains(id), "put chunk");
    }
    if let Some(log) = log {
        let line = serde_json::json!({
            "began_ms": put.began_ms,
            "time_ms": put.time_ms,
            "user": put.who.user.to_string(),
            "device": put.who.device.to_string(),
            "pack": put.pack.map(|pack| pack.to_string()),
            "accepted": accepted,
            "stored": stored,
            "ids": put.ids,
            "again": put.again,
        });
        log.append(&format!("{line}\n"));
    }
}
