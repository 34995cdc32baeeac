//! Owns the format of a segment: a header in a block of its own, then records back to back.
//!
//! Header: magic, format u32, segment number u64, first record's number u64, salt u64, crc32.
//! Mark, in the next sector of the header's block, written after each sync: magic, number, first and salt again, the last
//! record that was durable then, crc32. A record up to there that is not whole has rotted; one behind it was perhaps never
//! written. It stands in for a header that has rotted itself. It may be missing (earlier versions wrote none), and one of
//! an earlier use of the file counts for nothing.
//! Record: length u32, crc32 u32, number u64, payload; little endian. The checksum covers salt, number
//! and payload, so what an earlier use of the file left behind never passes for a record.

use super::LogError;
use crate::env::DiskFile;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where records begin: records never share a block with the header.
pub(super) const HEADER_BYTES: u64 = 4096;
/// What a record needs beyond its payload.
pub(super) const FRAME_BYTES: usize = 16;

const MAGIC: [u8; 8] = *b"TARNLOG\n";
const FORMAT: u32 = 1;
const HEADER_USED: usize = 40;
const MARK_MAGIC: [u8; 8] = *b"TARNDUR\n";
/// A sector of its own: a power cut tears neither header nor mark because of the other.
const MARK_AT: usize = 512;
const MARK_USED: usize = 44;

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
    /// Records up to this one were durable; of what was appended since nothing is known.
    pub(super) durable: u64,
    /// Its header cannot be read any more: this is what the mark says.
    pub(super) has_bad_header: bool,
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

    /// Notes that records up to `durable` were synced. Not synced itself: the next sync takes it along.
    pub(super) fn write_mark(&self, durable: u64) -> io::Result<()> {
        let mut mark = [0; MARK_USED];
        mark[..8].copy_from_slice(&MARK_MAGIC);
        for (word, at) in [(self.number, 8), (self.first, 16), (self.salt, 24), (durable, 32)] {
            mark[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32fast::hash(&mark[..40]);
        mark[40..].copy_from_slice(&crc.to_le_bytes());
        self.file.write_at(&mark, MARK_AT as u64)
    }

    /// Reads a file's header and mark; `None` if it has none that can be believed.
    pub(super) fn load(path: &Path, file: Arc<dyn DiskFile>) -> Result<Option<Self>, LogError> {
        let mut block = [0; MARK_AT + MARK_USED];
        let read = file.read_at(&mut block, 0)?;
        let is_sound = |at: usize, magic: [u8; 8], used: usize| {
            let part = &block[at..at + used];
            read >= at + used
                && part[..8] == magic
                && crc32fast::hash(&part[..used - 4]) == u32_at(part, used - 4).unwrap_or_default()
        };
        let word = |at| u64_at(&block, at).unwrap_or_default();
        let has_header = is_sound(0, MAGIC, HEADER_USED);
        let found = u32_at(&block, 8).unwrap_or_default();
        if has_header && found > FORMAT {
            return Err(LogError::TooNew { path: path.to_owned(), found, known: FORMAT });
        }
        let at = if has_header { 12 } else { MARK_AT + 8 };
        let (number, first, salt) = (word(at), word(at + 8), word(at + 16));
        let has_mark = is_sound(MARK_AT, MARK_MAGIC, MARK_USED) && block[at..at + 24] == block[MARK_AT + 8..][..24];
        let durable = if has_mark { word(MARK_AT + 32) } else { first.saturating_sub(1) };
        let (path, has_bad_header) = (path.to_owned(), !has_header);
        let segment = Self { path, file, number, first, salt, durable, has_bad_header };
        Ok((has_header || has_mark).then_some(segment))
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

/// The payload of a record that is known to be damaged, if its number and length make sense.
pub(super) fn unchecked(bytes: &[u8], lsn: u64) -> Option<&[u8]> {
    let len = u32_at(bytes, 0)? as usize;
    (len > 0 && u64_at(bytes, 8)? == lsn).then(|| bytes.get(FRAME_BYTES..FRAME_BYTES + len))?
}

/// Where the next sound record with a number in `numbers` stands at or behind `from`, and its number.
pub(super) fn find(
    bytes: &[u8],
    from: usize,
    salt: u64,
    numbers: Range<u64>,
    bytes_max: usize,
) -> Option<(usize, u64)> {
    // No more records than that fit: other numbers are not worth a look.
    let numbers = numbers.start..numbers.end.min(numbers.start.saturating_add((bytes.len() / FRAME_BYTES) as u64));
    (from..bytes.len().saturating_sub(FRAME_BYTES)).find_map(|at| {
        let lsn = u64_at(bytes, at + 8)?;
        (numbers.contains(&lsn) && decode(&bytes[at..], salt, lsn, bytes_max).is_some()).then_some((at, lsn))
    })
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
