//! Owns reading a log that was left behind: which segments count, and their records in order.

use super::segment::{self, HEADER_BYTES, Segment};
use super::writer::Spare;
use super::{Log, LogError, LogOptions, Lsn};
use crate::env::{Env, OpenMode};
use crate::limits;
use std::path::Path;

/// A log as it was found on the disk: read it, then start it.
#[derive(Debug)]
pub struct LogScan {
    pub(super) env: Env,
    pub(super) dir: std::path::PathBuf,
    pub(super) options: LogOptions,
    /// Those that count, oldest first; their first records' numbers rise.
    pub(super) segments: Vec<Segment>,
    pub(super) spares: Vec<Spare>,
    pub(super) number_max: u64,
    pub(super) file_number_max: u64,
}

impl Log {
    /// Looks at the log in `dir`, which is made if there is none.
    ///
    /// # Errors
    /// `TooNew`, or what the file system says.
    pub fn scan(env: &Env, dir: &Path, options: LogOptions) -> Result<LogScan, LogError> {
        env.disk.create_dir_all(dir)?;
        let mut scan = LogScan {
            env: env.clone(),
            dir: dir.to_owned(),
            options,
            segments: Vec::new(),
            spares: Vec::new(),
            number_max: 0,
            file_number_max: 0,
        };
        let mut found = Vec::new();
        for path in env.disk.read_dir(dir)? {
            if let Some(number) = file_number(&path) {
                scan.file_number_max = scan.file_number_max.max(number);
                let file = env.disk.open(&path, OpenMode::Existing)?;
                match Segment::load(&path, file.clone())? {
                    Some(segment) => found.push(segment),
                    None => scan.spares.push(Spare { path, file }),
                }
            }
        }
        found.sort_by_key(|segment| segment.number);
        for segment in found {
            scan.add(segment);
        }
        Ok(scan)
    }
}

fn file_number(path: &Path) -> Option<u64> {
    if path.extension()? != "log" {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

impl LogScan {
    /// A newer segment makes void what older ones hold from its first record on.
    fn add(&mut self, segment: Segment) {
        self.number_max = self.number_max.max(segment.number);
        while let Some(void) = self.segments.pop_if(|last| last.first >= segment.first) {
            self.spares.push(Spare { path: void.path, file: void.file });
        }
        self.segments.push(segment);
    }

    /// The first record that is there, if there is a segment.
    pub fn first(&self) -> Option<Lsn> {
        self.segments.first().map(|segment| Lsn(segment.first))
    }

    /// The first record of the segment that holds `from`: whatever is damaged from there on hides what follows.
    pub(super) fn first_of(&self, from: Lsn) -> Lsn {
        let before = self.segments.iter().rfind(|segment| segment.first <= from.0);
        before.map_or(from, |segment| Lsn(segment.first))
    }

    /// The records from `from` on, in order, up to the last one that is whole.
    pub fn replay(&self, from: Lsn) -> Replay<'_> {
        let start = self.segments.iter().rposition(|segment| segment.first <= from.0);
        let lost = start.is_none() && !self.segments.is_empty();
        Replay {
            scan: self,
            from: from.0,
            segment: start.unwrap_or(0),
            bytes: None,
            offset: 0,
            next: 0,
            lost,
            done: false,
        }
    }
}

/// Records in order. Ends at the first that is not whole in the newest segment (a torn tail), and with
/// an error where records are missing before sound ones (damage).
#[derive(Debug)]
pub struct Replay<'a> {
    scan: &'a LogScan,
    from: u64,
    segment: usize,
    bytes: Option<Vec<u8>>,
    offset: usize,
    next: u64,
    lost: bool,
    done: bool,
}

impl Replay<'_> {
    fn load(&mut self, segment: &Segment) -> Result<(), LogError> {
        let len = segment.file.len_bytes()?.min(self.scan.options.segment_bytes.max(limits::LOG_SEGMENT_BYTES));
        let len = usize::try_from(len.saturating_sub(HEADER_BYTES)).unwrap_or(0);
        let mut bytes = vec![0; len];
        let read = segment.file.read_at(&mut bytes, HEADER_BYTES)?;
        bytes.truncate(read);
        self.bytes = Some(bytes);
        self.offset = 0;
        self.next = segment.first;
        Ok(())
    }

    fn step(&mut self) -> Result<Option<(Lsn, Vec<u8>)>, LogError> {
        while let Some(segment) = self.scan.segments.get(self.segment) {
            if self.lost {
                return Err(self.damage(segment, self.from, segment.first));
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
            match (self.take(segment), until) {
                (Some(record), _) if record.0.0 < self.from => {}
                (Some(record), _) => return Ok(Some(record)),
                (None, Some(until)) => return Err(self.damage(segment, self.next, until)),
                (None, None) => return Ok(None),
            }
        }
        Ok(None)
    }

    fn take(&mut self, segment: &Segment) -> Option<(Lsn, Vec<u8>)> {
        let bytes = self.bytes.as_ref()?.get(self.offset..)?;
        let payload = segment::decode(bytes, segment.salt, self.next, limits::LOG_RECORD_BYTES_MAX)?;
        let record = (Lsn(self.next), payload.to_vec());
        self.offset += segment::FRAME_BYTES + payload.len();
        self.next += 1;
        Some(record)
    }

    fn damage(&self, segment: &Segment, expected: u64, until: u64) -> LogError {
        let offset = HEADER_BYTES + self.offset as u64;
        LogError::Damaged { path: segment.path.clone(), offset, expected, until }
    }
}

impl Iterator for Replay<'_> {
    type Item = Result<(Lsn, Vec<u8>), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let step = self.step().transpose();
        self.done = !matches!(step, Some(Ok(_)));
        step
    }
}
