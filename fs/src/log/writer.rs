//! Owns appending, flushing and syncing. Two locks, always in this order: `io` (who writes), `tail`
//! (who appends); `syncing` stands before both. Appends only touch memory; whoever flushes writes for
//! all who wait, whoever syncs syncs for all who wait.

use super::error::is_full;
use super::segment::{self, FRAME_BYTES, HEADER_BYTES, Segment};
use super::{LogError, LogOptions, LogScan, Lsn};
use crate::env::{DiskFile, Env, OpenMode};
use crate::limits;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A segment's file that holds nothing of use.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
}

/// What appenders share.
#[derive(Debug)]
struct Tail {
    /// The next record's number.
    next: u64,
    /// Where it would stand in the segment.
    offset: u64,
    /// Where the segment ends.
    limit: u64,
    salt: u64,
    /// Encoded, not yet taken by a writer.
    pending: Vec<u8>,
    /// The disk was full when this was last written: no appends before it is written.
    is_blocked: bool,
}

/// What writers share.
#[derive(Debug)]
struct Io {
    /// Oldest first; the last one is written to.
    segments: VecDeque<Segment>,
    spares: Vec<Spare>,
    /// Where the next byte goes in the last segment.
    offset: u64,
    /// Taken from the tail, not yet given to the kernel.
    unwritten: Vec<u8>,
    /// The last record in there.
    last: u64,
    number_max: u64,
    file_number_max: u64,
}

/// The log, open for appending. All methods may be called from any thread.
#[derive(Debug)]
pub struct Log {
    env: Env,
    dir: PathBuf,
    options: LogOptions,
    syncing: Mutex<()>,
    io: Mutex<Io>,
    tail: Mutex<Tail>,
    flushed: AtomicU64,
    synced: AtomicU64,
    poison: OnceLock<Arc<io::Error>>,
}

impl LogScan {
    /// Starts appending; the first record will be `next`. Records of the old log from `next` on are
    /// void for ever, those before stay until they are truncated. On a full disk the
    /// oldest of them give up their place: whoever starts has what they say elsewhere by now.
    ///
    /// # Errors
    /// `Full`, or what the file system says; the old log is then as it was.
    pub fn start(self, next: Lsn) -> Result<Log, LogError> {
        if let Some(last) = self.segments.last() {
            last.file.sync_data()?;
        }
        let mut io = Io {
            segments: self.segments.into(),
            spares: self.spares,
            offset: HEADER_BYTES,
            unwritten: Vec::new(),
            last: next.0 - 1,
            number_max: self.number_max,
            file_number_max: self.file_number_max,
        };
        let limit = self.options.segment_bytes;
        let segment = match new_segment(&self.env, &self.dir, limit, &mut io, next.0) {
            Err(LogError::Full) if let Some(old) = io.segments.pop_front() => {
                io.spares.push(Spare { path: old.path, file: old.file });
                new_segment(&self.env, &self.dir, limit, &mut io, next.0)
            }
            made => made,
        }?;
        write_header(&self.env, &self.dir, &segment)?;
        let salt = segment.salt;
        let tail = Tail { next: next.0, offset: HEADER_BYTES, limit, salt, pending: Vec::new(), is_blocked: false };
        io.segments.push_back(segment);
        Ok(Log {
            env: self.env,
            dir: self.dir,
            options: self.options,
            syncing: Mutex::new(()),
            io: Mutex::new(io),
            tail: Mutex::new(tail),
            flushed: AtomicU64::new(next.0 - 1),
            synced: AtomicU64::new(next.0 - 1),
            poison: OnceLock::new(),
        })
    }
}

impl Log {
    /// Gives a record its place in the order. It is in memory only; see [`Log::flush`], [`Log::sync`].
    ///
    /// # Errors
    /// `Full` (nothing was appended), `TooLong`, or `Poisoned`.
    pub fn append(&self, payload: &[u8]) -> Result<Lsn, LogError> {
        let needed = (FRAME_BYTES + payload.len()) as u64;
        if payload.is_empty() || payload.len() > limits::LOG_RECORD_BYTES_MAX {
            return Err(LogError::TooLong { len_bytes: payload.len() });
        }
        loop {
            self.check()?;
            let mut tail = self.tail.lock();
            if tail.is_blocked {
                drop(tail);
                self.write_out()?;
            } else if tail.offset + needed <= tail.limit {
                let (salt, lsn) = (tail.salt, tail.next);
                segment::encode(&mut tail.pending, salt, lsn, payload);
                tail.offset += needed;
                tail.next += 1;
                return Ok(Lsn(lsn));
            } else {
                drop(tail);
                self.rotate(needed)?;
            }
        }
    }

    /// Reads back what a start that lacks the records from `from` on would find now: the number of the last whole record,
    /// once everything appended so far was given to the kernel. May fail, or find less, while records are written or
    /// segments freed.
    ///
    /// # Errors
    /// As [`Log::flush`], or what is wrong with the log on the disk.
    pub fn read_back(&self, from: Lsn) -> Result<Lsn, LogError> {
        self.flush(self.last())?;
        let scan = Self::scan(&self.env, &self.dir, self.options)?;
        let first = scan.first_of(from);
        let mut last = Lsn(first.0.saturating_sub(1));
        for record in scan.replay(first) {
            last = record?.0;
        }
        Ok(last)
    }

    /// Gives everything up to `lsn` to the kernel: it then survives the end of this process.
    ///
    /// # Errors
    /// `Full` (tried again by the next call), or `Poisoned`.
    pub fn flush(&self, lsn: Lsn) -> Result<(), LogError> {
        self.check()?;
        if self.flushed.load(Ordering::Acquire) >= lsn.0 {
            return Ok(());
        }
        let mut io = self.io.lock();
        if self.flushed.load(Ordering::Acquire) >= lsn.0 {
            return Ok(());
        }
        self.write_locked(&mut io)
    }

    /// Makes everything up to `lsn` durable. One fdatasync serves all who wait.
    ///
    /// # Errors
    /// As [`Log::flush`].
    pub fn sync(&self, lsn: Lsn) -> Result<(), LogError> {
        if self.synced.load(Ordering::Acquire) >= lsn.0 {
            return Ok(());
        }
        self.flush(lsn)?;
        let _one_at_a_time = self.syncing.lock();
        if self.synced.load(Ordering::Acquire) >= lsn.0 {
            return Ok(());
        }
        self.check()?;
        let (segment, upto) = {
            let io = self.io.lock();
            (active(&io).clone(), self.flushed.load(Ordering::Acquire))
        };
        segment.file.sync_data().map_err(|e| self.fail(e))?;
        self.synced.fetch_max(upto, Ordering::AcqRel);
        self.mark(&segment, upto);
        Ok(())
    }

    /// Has the disk begin with what was flushed and is not durable, without waiting for it.
    pub fn start_writing(&self) {
        if self.synced.load(Ordering::Acquire) < self.flushed.load(Ordering::Acquire) {
            let segment = active(&self.io.lock()).clone();
            segment.file.start_writing();
        }
    }

    /// Notes what was synced, unless the segment was left by now: then all of it was.
    fn mark(&self, segment: &Segment, upto: u64) {
        let io = self.io.lock();
        if active(&io).number == segment.number {
            note_durable(segment, upto);
        }
    }

    /// The last record that was appended.
    pub fn last(&self) -> Lsn {
        Lsn(self.tail.lock().next - 1)
    }

    /// The last record that is durable.
    pub fn synced(&self) -> Lsn {
        Lsn(self.synced.load(Ordering::Acquire))
    }

    /// Frees segments whose records all come before `lsn`.
    ///
    /// # Errors
    /// What the file system says; nothing needed was lost then.
    pub fn truncate_before(&self, lsn: Lsn) -> Result<(), LogError> {
        let mut io = self.io.lock();
        while io.segments.get(1).is_some_and(|newer| newer.first <= lsn.0) {
            let Some(Segment { path, file, .. }) = io.segments.pop_front() else { break };
            io.spares.push(Spare { path, file });
        }
        let mut kept = 0;
        for spare in std::mem::take(&mut io.spares) {
            // Those of a larger budget, and those of long records, would hold space that is content's.
            let fits = spare.file.len_bytes().is_ok_and(|length| length <= self.options.segment_bytes);
            if fits && kept < self.options.spare_max {
                kept += 1;
                io.spares.push(spare);
            } else if let Err(e) = self.env.disk.remove(&spare.path) {
                io.spares.push(spare);
                return Err(e.into());
            }
        }
        Ok(())
    }

    /// Bytes of the disk that the log holds.
    pub fn size_bytes(&self) -> u64 {
        let io = self.io.lock();
        let files = io.segments.iter().map(|segment| &segment.file).chain(io.spares.iter().map(|spare| &spare.file));
        files.map(|file| file.len_bytes().unwrap_or(self.options.segment_bytes)).sum()
    }

    /// Why it takes nothing more, if that is so.
    pub fn failure(&self) -> Option<Arc<io::Error>> {
        self.poison.get().cloned()
    }

    fn check(&self) -> Result<(), LogError> {
        self.poison.get().map_or(Ok(()), |error| Err(LogError::Poisoned(error.clone())))
    }

    fn fail(&self, error: io::Error) -> LogError {
        LogError::Poisoned(self.poison.get_or_init(|| Arc::new(error)).clone())
    }

    fn write_out(&self) -> Result<(), LogError> {
        self.write_locked(&mut self.io.lock())
    }

    fn write_locked(&self, io: &mut Io) -> Result<(), LogError> {
        take_pending(io, &mut self.tail.lock());
        let written = self.write_unwritten(io);
        self.tail.lock().is_blocked |= written.is_err();
        written
    }

    /// A failed write leaves everything in `unwritten` for the next try at the same place.
    fn write_unwritten(&self, io: &mut Io) -> Result<(), LogError> {
        self.check()?;
        if io.unwritten.is_empty() {
            return Ok(());
        }
        match active(io).file.write_at(&io.unwritten, io.offset) {
            Ok(()) => {
                io.offset += io.unwritten.len() as u64;
                io.unwritten.clear();
                self.flushed.fetch_max(io.last, Ordering::AcqRel);
                Ok(())
            }
            Err(e) if is_full(&e) => Err(LogError::Full),
            Err(e) => Err(self.fail(e)),
        }
    }

    /// Goes on in a new segment. The old one is durable before the new one exists, so only the newest
    /// segment ever has a torn tail.
    fn rotate(&self, needed: u64) -> Result<(), LogError> {
        let mut io = self.io.lock();
        let mut tail = self.tail.lock();
        if tail.offset + needed <= tail.limit {
            return Ok(());
        }
        take_pending(&mut io, &mut tail);
        let written = self.write_unwritten(&mut io);
        tail.is_blocked |= written.is_err();
        written?;
        let limit = self.options.segment_bytes.max(HEADER_BYTES + needed);
        let segment = new_segment(&self.env, &self.dir, limit, &mut io, tail.next)?;
        active(&io).file.sync_data().map_err(|e| self.fail(e))?;
        self.synced.fetch_max(io.last, Ordering::AcqRel);
        // What this says is known anyway once there is a newer segment; it is the copy of the header.
        note_durable(active(&io), io.last);
        // From here on a header may exist that makes void what the old segment would still take.
        tail.offset = tail.limit;
        if let Err(e) = write_header(&self.env, &self.dir, &segment) {
            io.spares.push(Spare { path: segment.path, file: segment.file });
            return Err(if is_full(&e) { LogError::Full } else { self.fail(e) });
        }
        (tail.offset, tail.limit, tail.salt) = (HEADER_BYTES, limit, segment.salt);
        io.offset = HEADER_BYTES;
        io.segments.push_back(segment);
        Ok(())
    }
}

/// All that was asked for is durable. Without the mark, rot in it would pass for a torn tail.
fn note_durable(segment: &Segment, upto: u64) {
    if let Err(error) = segment.write_mark(upto) {
        tracing::debug!(%error, "the local log could not note what was synced");
    }
}

fn active(io: &Io) -> &Segment {
    io.segments.back().expect("an open log has a segment to write to")
}

fn take_pending(io: &mut Io, tail: &mut Tail) {
    if io.unwritten.is_empty() {
        std::mem::swap(&mut io.unwritten, &mut tail.pending);
    } else {
        io.unwritten.append(&mut tail.pending);
    }
    io.last = tail.next - 1;
    tail.is_blocked = false;
}

/// A file for the next segment, its space allocated; nothing points to it yet.
fn new_segment(env: &Env, dir: &std::path::Path, bytes: u64, io: &mut Io, first: u64) -> Result<Segment, LogError> {
    let Spare { path, file } = match io.spares.pop() {
        Some(spare) => spare,
        None => {
            io.file_number_max += 1;
            let path = dir.join(format!("{:08}.log", io.file_number_max));
            let file = env.disk.open(&path, OpenMode::CreateNew)?;
            Spare { path, file }
        }
    };
    if file.len_bytes()? < bytes
        && let Err(e) = file.allocate(0, bytes, false)
    {
        io.spares.push(Spare { path, file });
        return Err(e.into());
    }
    io.number_max += 1;
    let mut salt = [0; 8];
    env.rng.fill(&mut salt);
    let (number, salt, durable) = (io.number_max, u64::from_le_bytes(salt), first - 1);
    Ok(Segment { path, file, number, first, salt, durable, has_bad_header: false })
}

fn write_header(env: &Env, dir: &std::path::Path, segment: &Segment) -> io::Result<()> {
    segment.write_header()?;
    segment.file.sync_data()?;
    env.disk.sync_dir(dir)
}
