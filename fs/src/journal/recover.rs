//! Owns opening a journal: what the log holds beyond the database is fed to the materialiser.

use super::error::JournalError;
use super::materialise::Materialiser;
use super::queue::{Job, Pending};
use super::record::Record;
use super::sink::RecoverySink;
use super::unit::Journal;
use super::{JournalOptions, queue};
use crate::env::Env;
use crate::log::{Log, LogScan, Lsn};
use crate::meta::rows::{ContentNo, RowChange};
use crate::meta::{FILE_NAME, Marks, Readers, Writer, finish_rebuild};
use std::collections::HashMap;
use std::path::Path;

/// The log's folder in the state folder.
pub const LOG_DIR: &str = "log";

/// A journal whose log was not replayed yet: readers see the database as it was last materialised.
#[derive(Debug)]
pub struct Prepared {
    env: Env,
    options: JournalOptions,
    writer: Writer,
    readers: Readers,
    scan: LogScan,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The highest numbers ever used.
    pub marks: Marks,
    /// The last record that counts; all of it is in the database.
    pub applied: Lsn,
    /// Records that came from the log.
    pub replayed_count: usize,
    /// Where recovery stopped early, if it did.
    pub stopped: Option<Stopped>,
}

/// Recovery stopped before a record that speaks of bytes that a power cut took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// The first record that never happened.
    pub before: Lsn,
    /// The content whose backing file is too short.
    pub content: ContentNo,
}

impl Journal {
    /// Opens database and log in `dir` (made if need be) without changing what they say. The caller
    /// holds the [`super::StateLock`].
    ///
    /// # Errors
    /// A damaged or too new database or log, or what the file system says.
    pub fn prepare(env: &Env, dir: &Path, options: JournalOptions) -> Result<Prepared, JournalError> {
        let fail = |source| JournalError::Dir { path: dir.to_owned(), source };
        env.disk.create_dir_all(dir).map_err(fail)?;
        finish_rebuild(env.disk.as_ref(), dir).map_err(fail)?;
        let (writer, readers) = Writer::open(&dir.join(FILE_NAME), options.check)?;
        writer.limit_wal(options.wal_bytes)?;
        let scan = Log::scan(env, &dir.join(LOG_DIR), options.log)?;
        Ok(Prepared { env: env.clone(), options, writer, readers, scan })
    }
}

impl Prepared {
    /// Reads the database as it was last materialised.
    pub fn readers(&self) -> Readers {
        self.readers.clone()
    }

    /// Replays the log into `sink` and the database, and opens the journal.
    ///
    /// # Errors
    /// As [`Journal::prepare`], or what the sink says. Nothing is lost then; it can be tried again.
    pub fn recover(self, mut sink: Box<dyn RecoverySink>) -> Result<(Journal, Recovered), JournalError> {
        let applied = Lsn(self.writer.applied()?);
        let (batch, stopped) = replay(&self.scan, applied, sink.as_mut())?;
        let mut materialiser = Materialiser { writer: self.writer, sink, applied };
        if !batch.is_empty() {
            materialiser.apply(&batch, None)?;
        }
        let recovered = Recovered {
            marks: materialiser.marks(),
            applied: materialiser.applied,
            replayed_count: batch.len(),
            stopped,
        };
        let next = materialiser.applied.next();
        // All that it holds is in the database by now.
        let log = self.scan.start(next)?;
        log.truncate_before(next)?;
        let journal = Journal::start(self.env, self.options, log, materialiser, self.readers)?;
        Ok((journal, recovered))
    }
}

type Replayed = (Vec<Pending>, Option<Stopped>);

fn replay(scan: &LogScan, applied: Lsn, sink: &mut dyn RecoverySink) -> Result<Replayed, JournalError> {
    let (mut batch, mut later) = (Vec::new(), Later::default());
    for record in scan.replay(applied.next()) {
        let (lsn, record) = decoded(record?)?;
        if let Some(content) = first_missing(scan, lsn, &record, &mut later, sink)? {
            return Ok((batch, Some(Stopped { before: lsn, content })));
        }
        let job = recover_one(record, sink).map_err(JournalError::Content)?;
        batch.push(Pending { job, lsn: Some(lsn), bytes: 0, done: None });
    }
    Ok((batch, None))
}

fn first_missing(
    scan: &LogScan,
    lsn: Lsn,
    record: &Record,
    later: &mut Later,
    sink: &mut dyn RecoverySink,
) -> Result<Option<ContentNo>, JournalError> {
    for &(no, len_bytes) in unsynced_of(record) {
        let mut has = |len_bytes| sink.backing_has(no, len_bytes).map_err(JournalError::Content);
        if has(len_bytes)? {
            continue;
        }
        // All of it had reached the disk, and then it was shortened, if a later record asks for no more than there is.
        let is_shortened = later.least_asked(scan, lsn, no)?.map_or(Ok(false), has)?;
        if !is_shortened {
            return Ok(Some(no));
        }
    }
    Ok(None)
}

/// What records behind the first doubt ask of backing files: read once, and seldom at all.
#[derive(Default)]
struct Later(Option<HashMap<ContentNo, Vec<(Lsn, u64)>>>);

impl Later {
    /// The least that records behind one ask of a content's backing file.
    fn least_asked(&mut self, scan: &LogScan, behind: Lsn, no: ContentNo) -> Result<Option<u64>, JournalError> {
        let asked = match self.0.take() {
            Some(asked) => asked,
            None => Self::read(scan, behind.next())?,
        };
        let of_content = asked.get(&no).into_iter().flatten();
        let least = of_content.filter(|(lsn, _)| *lsn > behind).map(|(_, len_bytes)| *len_bytes).min();
        self.0 = Some(asked);
        Ok(least)
    }

    fn read(scan: &LogScan, from: Lsn) -> Result<HashMap<ContentNo, Vec<(Lsn, u64)>>, JournalError> {
        let mut asked: HashMap<ContentNo, Vec<(Lsn, u64)>> = HashMap::new();
        for record in scan.replay(from) {
            let (lsn, record) = decoded(record?)?;
            for &(no, len_bytes) in unsynced_of(&record) {
                asked.entry(no).or_default().push((lsn, len_bytes));
            }
        }
        Ok(asked)
    }
}

fn unsynced_of(record: &Record) -> &[(ContentNo, u64)] {
    if let Record::Work { unsynced, .. } = record { unsynced } else { &[] }
}

fn decoded((lsn, payload): (Lsn, Vec<u8>)) -> Result<(Lsn, Record), JournalError> {
    let record = Record::decode(&payload).map_err(|detail| JournalError::Record { lsn: lsn.0, detail })?;
    Ok((lsn, record))
}

fn recover_one(record: Record, sink: &mut dyn RecoverySink) -> std::io::Result<queue::Job> {
    Ok(match record {
        Record::Work { rows, .. } => {
            recover_rows(&rows, sink)?;
            Job::Rows(rows)
        }
        Record::Remote(work) => {
            recover_rows(&work.rows, sink)?;
            Job::Remote(work)
        }
        Record::Write { content, offset, data } => {
            sink.recover_write(content, offset, &data)?;
            Job::Content(content)
        }
        Record::Resize { content, size_bytes } => {
            sink.recover_resize(content, size_bytes)?;
            Job::Content(content)
        }
    })
}

fn recover_rows(rows: &[RowChange], sink: &mut dyn RecoverySink) -> std::io::Result<()> {
    for change in rows {
        if let RowChange::Content(no, row) = change {
            sink.recover_row(*no, row.as_ref())?;
        }
    }
    Ok(())
}
