//! Owns reading a log that was left behind: which segments count, and their records in order.

use super::segment::{self, FRAME_BYTES, HEADER_BYTES, Segment};
use super::writer::Spare;
use super::{Damage, Log, LogError, LogOptions, Lsn, Replay};
use crate::env::{Env, OpenMode};
use crate::limits;
use std::ops::Range;
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
        Replay::of(self, from)
    }

    /// The sound records behind a damage, in order, whatever else is missing between them. Nothing that they rest on
    /// need be there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn behind(&self, damage: &Damage) -> Result<Vec<(Lsn, Vec<u8>)>, LogError> {
        let mut found = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let until = self.segments.get(at + 1).map_or(u64::MAX, |newer| newer.first);
            if until > damage.expected.0 {
                let wanted = segment.first.max(damage.expected.next().0)..until;
                found.extend(all_sound(&self.read(segment)?, segment.salt, wanted));
            }
        }
        Ok(found)
    }

    /// What stands at a damage, as far as its length can be believed: bytes of it are wrong.
    ///
    /// # Errors
    /// What the file system says.
    pub fn suspect(&self, damage: &Damage) -> Result<Option<Vec<u8>>, LogError> {
        let Some(segment) = self.segments.iter().find(|segment| segment.path == damage.path) else { return Ok(None) };
        let bytes = self.read(segment)?;
        let at = usize::try_from(damage.offset.saturating_sub(HEADER_BYTES)).unwrap_or(usize::MAX);
        let record = bytes.get(at..).and_then(|bytes| segment::unchecked(bytes, damage.expected.0));
        Ok(record.map(<[u8]>::to_vec))
    }

    /// Moves all files of the log to another folder of the same file system: what comes next begins a new log.
    ///
    /// # Errors
    /// What the file system says; can be tried again.
    pub fn set_aside(&mut self, to: &Path) -> Result<(), LogError> {
        let disk = &self.env.disk;
        disk.create_dir_all(to)?;
        // The newest first: what is left over by a crash has the damage still.
        let segments = self.segments.iter().rev().map(|segment| &segment.path);
        for path in segments.chain(self.spares.iter().map(|spare| &spare.path)) {
            disk.rename(path, &to.join(path.file_name().unwrap_or_default()))?;
        }
        disk.sync_dir(to)?;
        disk.sync_dir(&self.dir)?;
        self.segments.clear();
        self.spares.clear();
        Ok(())
    }

    /// All records of a segment, as they stand on the disk.
    pub(super) fn read(&self, segment: &Segment) -> Result<Vec<u8>, LogError> {
        let len = segment.file.len_bytes()?.min(self.options.segment_bytes.max(limits::LOG_SEGMENT_BYTES));
        let len = usize::try_from(len.saturating_sub(HEADER_BYTES)).unwrap_or(0);
        let mut bytes = vec![0; len];
        let read = segment.file.read_at(&mut bytes, HEADER_BYTES)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

fn all_sound(bytes: &[u8], salt: u64, mut wanted: Range<u64>) -> Vec<(Lsn, Vec<u8>)> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some((at, lsn)) = segment::find(bytes, from, salt, wanted.clone(), limits::LOG_RECORD_BYTES_MAX) {
        let Some(payload) = segment::decode(&bytes[at..], salt, lsn, limits::LOG_RECORD_BYTES_MAX) else { break };
        found.push((Lsn(lsn), payload.to_vec()));
        from = at + FRAME_BYTES + payload.len();
        wanted.start = lsn + 1;
    }
    found
}
