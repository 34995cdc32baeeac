//! Owns opening a journal: what the log holds beyond the database is fed to the materialiser.

use super::error::JournalError;
use super::materialise::Materialiser;
use super::queue::{Job, Pending};
use super::record::Record;
use super::sink::RecoverySink;
use super::unit::Journal;
use super::{JournalOptions, queue};
use crate::env::Env;
use crate::log::{Damage, Log, LogError, LogScan, Lsn};
use crate::meta::rows::{ContentNo, ContentPlace, RowChange};
use crate::meta::{FILE_NAME, Marks, Readers, Writer, finish_rebuild};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

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
    /// Whether the database may have had more of the log than it says.
    repeats: bool,
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
    /// Where the log is that was damaged before its end, with what else was kept of it.
    pub aside: Option<PathBuf>,
    /// Contents whose backing files are not there, or too short, though all that the log says was replayed.
    pub given_up: Vec<ContentNo>,
}

/// Records of the log that were durable are missing. All before them is in the database.
#[derive(Debug)]
pub struct Lost<'a> {
    /// What is missing.
    pub damage: Damage,
    /// The first missing record as it can be read still; bytes of it are wrong.
    pub suspect: Option<Record>,
    /// Sound records behind: applied without what is missing they could make what never was.
    pub behind: Vec<(Lsn, Record)>,
    /// Reads the database.
    pub readers: &'a Readers,
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
        let (writer, readers) = Writer::open(env.disk.as_ref(), &dir.join(FILE_NAME), options.check)?;
        writer.limit_wal(options.wal_bytes)?;
        let scan = Log::scan(env, &dir.join(LOG_DIR), options.log)?;
        Ok(Prepared { env: env.clone(), options, writer, readers, scan, repeats: false })
    }
}

impl Prepared {
    /// Reads the database as it was last materialised.
    pub fn readers(&self) -> Readers {
        self.readers.clone()
    }

    /// Has all of the log replayed to its end: the database does not know how much of it it had. What the log did away with
    /// itself may be gone by now, so recovery stops before nothing; contents that are not as the log says are given up.
    #[must_use]
    pub fn repeating(self) -> Self {
        Self { repeats: true, ..self }
    }

    /// Replays the log into `sink` and the database, and opens the journal.
    ///
    /// # Errors
    /// As [`Journal::prepare`], or what the sink says; a log of which durable records are missing. Nothing is lost
    /// then; it can be tried again.
    pub fn recover(self, sink: Box<dyn RecoverySink>) -> Result<(Journal, Recovered), JournalError> {
        self.recover_keeping(sink, |lost| Err(LogError::Damaged(lost.damage.clone()).into()))
    }

    /// The same; where durable records are missing, all before them is recovered, `keep` gives a folder and keeps there
    /// what it can of the rest, and the log's files go there too before a new log begins.
    ///
    /// # Errors
    /// As [`Self::recover`], or what `keep` says.
    pub fn recover_keeping(
        mut self,
        mut sink: Box<dyn RecoverySink>,
        keep: impl FnOnce(&Lost<'_>) -> Result<PathBuf, JournalError>,
    ) -> Result<(Journal, Recovered), JournalError> {
        let applied = Lsn(self.writer.applied()?);
        let Replayed { batch, stopped, damage, given_up } = replay(&self.scan, applied, self.repeats, sink.as_mut())?;
        let mut materialiser = Materialiser { writer: self.writer, sink, applied };
        if !batch.is_empty() {
            materialiser.apply(&batch, None)?;
        }
        let mut aside = None;
        if let Some(damage) = damage {
            let kept = keep(&lost(&self.scan, damage, &self.readers)?)?;
            self.scan.set_aside(&kept.join(LOG_DIR))?;
            aside = Some(kept);
        }
        let recovered = Recovered {
            marks: materialiser.marks(),
            applied: materialiser.applied,
            replayed_count: batch.len(),
            stopped,
            aside,
            given_up: given_up.into_iter().collect(),
        };
        let next = materialiser.applied.next();
        // All that it holds is in the database by now.
        let log = self.scan.start(next)?;
        log.truncate_before(next)?;
        let journal = Journal::start(self.env, self.options, log, materialiser, self.readers)?;
        Ok((journal, recovered))
    }
}

fn lost<'a>(scan: &LogScan, damage: Damage, readers: &'a Readers) -> Result<Lost<'a>, JournalError> {
    let suspect = scan.suspect(&damage)?.and_then(|payload| Record::decode(&payload).ok());
    let behind = scan.behind(&damage)?.into_iter().map(decoded).collect::<Result<_, _>>()?;
    Ok(Lost { damage, suspect, behind, readers })
}

#[derive(Default)]
struct Replayed {
    batch: Vec<Pending>,
    stopped: Option<Stopped>,
    damage: Option<Damage>,
    given_up: BTreeSet<ContentNo>,
}

fn replay(scan: &LogScan, applied: Lsn, repeats: bool, sink: &mut dyn RecoverySink) -> Result<Replayed, JournalError> {
    let (mut replayed, mut later) = (Replayed::default(), Later::default());
    for record in scan.replay(applied.next()) {
        let record = match record {
            Err(LogError::Damaged(damage)) => return Ok(Replayed { damage: Some(damage), ..replayed }),
            record => record?,
        };
        let (lsn, record) = decoded(record)?;
        match first_missing(scan, lsn, &record, &mut later, sink)? {
            Some(content) if !repeats => {
                return Ok(Replayed { stopped: Some(Stopped { before: lsn, content }), ..replayed });
            }
            missing => replayed.given_up.extend(missing),
        }
        let job = if repeats {
            recover_what_is_there(record, &mut replayed.given_up, sink)
        } else {
            recover_one(record, sink)
        };
        let job = job.map_err(JournalError::Content)?;
        replayed.batch.push(Pending { job, lsn: Some(lsn), bytes: 0, done: None });
    }
    Ok(replayed)
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
        let (mut records, mut damage) = (Vec::new(), None);
        for record in scan.replay(from) {
            match record {
                Err(LogError::Damaged(found)) => damage = Some(found),
                record => records.push(record?),
            }
        }
        let behind = damage.map_or(Ok(Vec::new()), |damage| scan.behind(&damage))?;
        for record in records.into_iter().chain(behind) {
            let (lsn, record) = decoded(record)?;
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

fn recover_one(record: Record, sink: &mut dyn RecoverySink) -> io::Result<queue::Job> {
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

/// The same, but for contents that are given up: what the log says of one is passed over until it says that the bytes are
/// nowhere, or somewhere else.
fn recover_what_is_there(
    record: Record,
    given_up: &mut BTreeSet<ContentNo>,
    sink: &mut dyn RecoverySink,
) -> io::Result<queue::Job> {
    let rows: &[RowChange] = match &record {
        Record::Work { rows, .. } => rows,
        Record::Remote(work) => &work.rows,
        Record::Write { content, .. } | Record::Resize { content, .. } if given_up.contains(content) => {
            return Ok(queue::Job::Rows(Vec::new()));
        }
        Record::Write { .. } | Record::Resize { .. } => return recover_one(record, sink),
    };
    for change in rows {
        let RowChange::Content(no, row) = change else { continue };
        let file = row.as_ref().filter(|row| row.place == ContentPlace::File);
        if let Some(row) = file {
            let is_needed = row.is_dirty && !row.says_no_bytes_of_open();
            if given_up.contains(no) || (is_needed && !sink.backing_has(*no, 0)?) {
                given_up.insert(*no);
                continue;
            }
        } else {
            given_up.remove(no);
        }
        sink.recover_row(*no, row.as_deref())?;
    }
    Ok(match record {
        Record::Remote(work) => queue::Job::Remote(work),
        Record::Work { rows, .. } => queue::Job::Rows(rows),
        Record::Write { content, .. } | Record::Resize { content, .. } => queue::Job::Content(content),
    })
}

fn recover_rows(rows: &[RowChange], sink: &mut dyn RecoverySink) -> io::Result<()> {
    for change in rows {
        if let RowChange::Content(no, row) = change {
            sink.recover_row(*no, row.as_deref())?;
        }
    }
    Ok(())
}
