//! Owns the format of a segment: a header in a block of its own, then records back to back.
//!
//! Header: magic, format u32, segment number u64, first record's number u64, salt u64, crc32.
//! Record: length u32, crc32 u32, number u64, payload; little endian. The checksum covers salt, number
//! and payload, so what an earlier use of the file left behind never passes for a record.

use super::LogError;
use crate::env::DiskFile;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where records begin: records never share a block with the header.
pub(super) const HEADER_BYTES: u64 = 4096;
/// What a record needs beyond its payload.
pub(super) const FRAME_BYTES: usize = 16;

const MAGIC: [u8; 8] = *b"TARNLOG\n";
const FORMAT: u32 = 1;
const HEADER_USED: usize = 40;

/// A segment in use.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    /// Orders the segments; higher is newer.
    pub(super) number: u64,
    /// The number of its first record.
    pub(super) first: u64,
    pub(super) salt: u64,
}

impl Segment {
    /// Writes the header; the caller syncs.
    pub(super) fn write_header(&self) -> io::Result<()> {
        let mut header = [0; HEADER_USED];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        header[12..20].copy_from_slice(&self.number.to_le_bytes());
        header[20..28].copy_from_slice(&self.first.to_le_bytes());
        header[28..36].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32fast::hash(&header[..36]);
        header[36..40].copy_from_slice(&crc.to_le_bytes());
        self.file.write_at(&header, 0)
    }

    /// Reads a file's header; `None` if it has none that can be believed.
    pub(super) fn load(path: &Path, file: Arc<dyn DiskFile>) -> Result<Option<Self>, LogError> {
        let mut header = [0; HEADER_USED];
        let read = file.read_at(&mut header, 0)?;
        let sound = read == HEADER_USED
            && header[..8] == MAGIC
            && crc32fast::hash(&header[..36]) == u32_at(&header, 36).unwrap_or_default();
        if !sound {
            return Ok(None);
        }
        let found = u32_at(&header, 8).unwrap_or_default();
        if found > FORMAT {
            return Err(LogError::TooNew { path: path.to_owned(), found, known: FORMAT });
        }
        let word = |at| u64_at(&header, at).unwrap_or_default();
        Ok(Some(Self { path: path.to_owned(), file, number: word(12), first: word(20), salt: word(28) }))
    }
}

/// Appends a record to `out`.
pub(super) fn encode(out: &mut Vec<u8>, salt: u64, lsn: u64, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("append checks the length");
    out.reserve(FRAME_BYTES + payload.len());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&checksum(salt, lsn, payload).to_le_bytes());
    out.extend_from_slice(&lsn.to_le_bytes());
    out.extend_from_slice(payload);
}

/// The payload of record `lsn` if it stands whole at the start of `bytes`.
pub(super) fn decode(bytes: &[u8], salt: u64, lsn: u64, payload_bytes_max: usize) -> Option<&[u8]> {
    let len = u32_at(bytes, 0)? as usize;
    if len == 0 || len > payload_bytes_max || u64_at(bytes, 8)? != lsn {
        return None;
    }
    let payload = bytes.get(FRAME_BYTES..FRAME_BYTES + len)?;
    (checksum(salt, lsn, payload) == u32_at(bytes, 4)?).then_some(payload)
}

fn checksum(salt: u64, lsn: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&lsn.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
