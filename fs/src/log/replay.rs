//! Owns what counts of a log that was left behind: its records in order, as far as they are whole, and whether what is
//! not whole is a torn tail or damage.

use super::scan::LogScan;
use super::segment::{self, FRAME_BYTES, HEADER_BYTES, Segment};
use super::{Damage, LogError, Lsn};
use crate::limits;

/// Records in order. Ends at the first that is not whole and perhaps never was (a torn tail), and with an error where
/// records are missing that were durable once (damage). What was damaged before the first that is asked for is left out.
#[derive(Debug)]
pub struct Replay<'a> {
    scan: &'a LogScan,
    from: u64,
    segment: usize,
    bytes: Option<Vec<u8>>,
    offset: usize,
    next: u64,
    is_lost: bool,
    is_done: bool,
}

impl<'a> Replay<'a> {
    pub(super) fn of(scan: &'a LogScan, from: Lsn) -> Self {
        let start = scan.segments.iter().rposition(|segment| segment.first <= from.0);
        let is_lost = start.is_none() && !scan.segments.is_empty();
        let segment = start.unwrap_or(0);
        Self { scan, from: from.0, segment, bytes: None, offset: 0, next: 0, is_lost, is_done: false }
    }
}

impl Replay<'_> {
    fn load(&mut self, segment: &Segment) -> Result<(), LogError> {
        if segment.has_bad_header {
            tracing::warn!(
                path = %segment.path.display(),
                "the header of a segment of the local log is damaged; its copy is used, and nothing is missing"
            );
        }
        self.bytes = Some(self.scan.read(segment)?);
        self.offset = 0;
        self.next = segment.first;
        Ok(())
    }

    fn step(&mut self) -> Result<Option<(Lsn, Vec<u8>)>, LogError> {
        while let Some(segment) = self.scan.segments.get(self.segment) {
            if self.is_lost {
                return Err(self.damage(segment, self.from, Some(segment.first)));
            }
            if self.bytes.is_none() {
                self.load(segment)?;
            }
            let until = self.scan.segments.get(self.segment + 1).map(|newer| newer.first);
            if until == Some(self.next) {
                self.segment += 1;
                self.bytes = None;
                continue;
            }
            match self.take(segment) {
                Some(record) if record.0.0 < self.from => {}
                Some(record) => return Ok(Some(record)),
                None if self.skip(segment, until)? => {}
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// At a record that is not whole: true once it stands at one from which it can go on, false at a torn tail.
    fn skip(&mut self, segment: &Segment, until: Option<u64>) -> Result<bool, LogError> {
        let needed = self.next.max(self.from);
        // A segment is durable before there is a newer one.
        let is_damage = until.is_some() || needed <= segment.durable;
        if !is_damage && self.next == needed {
            return Ok(false);
        }
        let bytes = self.bytes.as_deref().unwrap_or_default();
        let later = self.next + 1..until.unwrap_or(u64::MAX);
        let found = segment::find(bytes, self.offset, segment.salt, later, limits::LOG_RECORD_BYTES_MAX);
        match found {
            Some((offset, lsn)) if lsn <= needed => {
                let path = segment.path.display();
                let (from, to) = (self.next, lsn);
                tracing::warn!(%path, from, to, "the local log is damaged where it is not needed any more");
                (self.offset, self.next) = (offset, lsn);
                Ok(true)
            }
            _ if is_damage => {
                let until = found.map(|(_, lsn)| lsn).or(until);
                Err(self.damage(segment, needed, until))
            }
            _ => Ok(false),
        }
    }

    fn take(&mut self, segment: &Segment) -> Option<(Lsn, Vec<u8>)> {
        let bytes = self.bytes.as_ref()?.get(self.offset..)?;
        let payload = segment::decode(bytes, segment.salt, self.next, limits::LOG_RECORD_BYTES_MAX)?;
        let record = (Lsn(self.next), payload.to_vec());
        self.offset += FRAME_BYTES + payload.len();
        self.next += 1;
        Some(record)
    }

    fn damage(&self, segment: &Segment, expected: u64, until: Option<u64>) -> LogError {
        let offset = HEADER_BYTES + self.offset as u64;
        let (expected, until) = (Lsn(expected), until.map(Lsn));
        LogError::Damaged(Damage { path: segment.path.clone(), offset, expected, until })
    }
}

impl Iterator for Replay<'_> {
    type Item = Result<(Lsn, Vec<u8>), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let step = self.step().transpose();
        self.is_done = !matches!(step, Some(Ok(_)));
        step
    }
}
