//! Owns [`Journal`]: taking units of work, and waiting for them.
//!
//! Lock order: `queue`, then the log's own. `materialiser` is never taken under `queue`.

use super::error::{Health, JournalError};
use super::materialise::Materialiser;
use super::queue::{Job, Pending, Queue};
use super::record;
use super::runner::Shared;
use super::{JournalOptions, Materialise};
use crate::env::Env;
use crate::log::{Log, Lsn};
use crate::meta::rows::{ContentNo, RowChange};
use crate::meta::{Readers, RemoteWork};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use tarn_proto::change::Change;
use tokio::sync::{oneshot, watch};

/// What a job takes beside its bytes.
const JOB_BYTES: usize = 64;
/// Times the bound on what is pending that those who did not wait for room may fill.
const OVERSHOOT_MAX: usize = 4;
/// A stage row's bytes, for the bound on what is pending.
const STAGED_ROW_BYTES: usize = 400;

/// The order of things. Dropping it materialises what is pending and ends the thread.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    pub(super) fn start(
        env: Env,
        options: JournalOptions,
        log: Log,
        materialiser: Materialiser,
        readers: Readers,
    ) -> Result<Self, JournalError> {
        let shared = Arc::new(Shared {
            env,
            options,
            log,
            readers,
            queue: Mutex::default(),
            wake: Condvar::new(),
            progress: Condvar::new(),
            materialised: watch::Sender::new(materialiser.applied),
            materialiser: Mutex::new(materialiser),
            health: watch::Sender::new(Health::Good),
        });
        let thread = match options.materialise {
            Materialise::Manual => None,
            Materialise::Thread => {
                let shared = shared.clone();
                let builder = std::thread::Builder::new().name("materialiser".to_owned());
                Some(builder.spawn(move || shared.run_guarded()).map_err(JournalError::Content)?)
            }
        };
        Ok(Self { shared, thread: Mutex::new(thread) })
    }

    /// Logs a unit of work. Units get their places in the order of these calls: hold the lock that
    /// guards what the rows say. It is in memory only until [`Journal::flush`].
    /// `unsynced`: see [`super::Record::Work`]. Never waits for the materialiser; see [`Journal::wait_room`].
    ///
    /// # Errors
    /// Nothing was taken: no space, the log failed, or far too much is pending.
    pub fn commit(&self, rows: Vec<RowChange>, unsynced: Vec<(ContentNo, u64)>) -> Result<Lsn, JournalError> {
        let payload = record::encode_work(&rows, &unsynced).map_err(malformed)?;
        self.append(&payload, || Job::Rows(rows))
    }

    /// As [`Journal::commit`], with rows that `make` gives once their place in the order is sure:
    /// nothing else is committed in between. `make` must not call the journal. No rows, no record.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub fn commit_with(&self, make: impl FnOnce() -> Vec<RowChange>) -> Result<Lsn, JournalError> {
        let mut queue = self.admit()?;
        let rows = make();
        if rows.is_empty() {
            return Ok(self.last());
        }
        let payload = record::encode_work(&rows, &[]).map_err(malformed)?;
        self.append_in(&mut queue, &payload, Job::Rows(rows))
    }

    /// Waits while too much is pending. Call it before each change, with no lock held: the materialiser
    /// needs locks of contents to get on.
    ///
    /// # Errors
    /// `Stalled`: the database cannot be written now and memory holds all it may.
    pub fn wait_room(&self) -> Result<(), JournalError> {
        let bytes_max = self.shared.options.pending_bytes_max;
        let mut queue = self.shared.queue.lock();
        while queue.bytes > bytes_max && !queue.is_closing {
            self.shared.stalled()?;
            if self.shared.options.materialise == Materialise::Manual {
                drop(queue);
                self.materialise_now()?;
                queue = self.shared.queue.lock();
            } else {
                self.shared.wake.notify_all();
                self.shared.progress.wait(&mut queue);
            }
        }
        Ok(())
    }

    /// Logs bytes written to a small content.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub fn write_small(&self, content: ContentNo, offset: u64, data: &[u8]) -> Result<Lsn, JournalError> {
        self.append(&record::encode_write(content, offset, data), || Job::Content(content))
    }

    /// Logs a small content's new size.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub fn resize_small(&self, content: ContentNo, size_bytes: u64) -> Result<Lsn, JournalError> {
        self.append(&record::encode_resize(content, size_bytes), || Job::Content(content))
    }

    /// Logs what came from the server, as one unit. Staged rows that it applies must be in the
    /// database by now (wait for what [`Journal::stage`] gave). Larger works than a record may be
    /// are staged first.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub fn submit_remote(&self, work: RemoteWork) -> Result<Lsn, JournalError> {
        let payload = record::encode_remote(&work).map_err(malformed)?;
        self.append(&payload, || Job::Remote(Box::new(work)))
    }

    /// Keeps rows of a pull aside in the database, unseen until a [`RemoteWork`] applies them. Not
    /// logged: they can be fetched again. Told when they are durable; dropped untold if the journal
    /// closes before.
    pub fn stage(&self, changes: Vec<Change>) -> oneshot::Receiver<()> {
        let bytes = changes.len() * STAGED_ROW_BYTES;
        self.put_unlogged(Job::Stage(changes), bytes)
    }

    /// Forgets all staged rows (a pull that was given up; always at the start of one).
    pub fn discard_staged(&self) -> oneshot::Receiver<()> {
        self.put_unlogged(Job::DiscardStaged, 0)
    }

    /// Has the sink asked for the rows of these contents, and waits until they are durable, with all
    /// that was logged before. To be called with no lock held.
    ///
    /// # Errors
    /// `Stalled` when a try fails (it may be done later all the same), or `Closed`.
    pub fn record_contents(&self, numbers: &[ContentNo]) -> Result<(), JournalError> {
        self.wait_room()?;
        let _told = self.put_unlogged(Job::Contents(numbers.to_vec()), JOB_BYTES);
        self.drain()
    }

    /// Gives everything up to `lsn` to the kernel: it then survives the end of this process.
    ///
    /// # Errors
    /// What the log says.
    pub fn flush(&self, lsn: Lsn) -> Result<(), JournalError> {
        Ok(self.shared.log.flush(lsn)?)
    }

    /// Makes everything up to `lsn` durable; callers share syncs. What is in the database is durable.
    ///
    /// # Errors
    /// What the log says.
    pub fn sync(&self, lsn: Lsn) -> Result<(), JournalError> {
        if self.materialised() >= lsn {
            return Ok(());
        }
        Ok(self.shared.log.sync(lsn)?)
    }

    /// Has the disk begin with what was given to the kernel and is not durable: a later [`Journal::sync`] waits less.
    pub fn start_writing(&self) {
        self.shared.log.start_writing();
    }

    /// Everything up to here is in the database: readers see it.
    pub fn materialised(&self) -> Lsn {
        *self.shared.materialised.borrow()
    }

    /// Waits until everything up to `lsn` is in the database. Cancel-safe.
    ///
    /// # Errors
    /// `Closed` if the journal ends before.
    pub async fn wait_materialised(&self, lsn: Lsn) -> Result<(), JournalError> {
        let mut receiver = self.shared.materialised.subscribe();
        let reached = receiver.wait_for(|&upto| upto >= lsn).await;
        reached.map(|_| ()).map_err(|_| JournalError::Closed)
    }

    /// The last record that was appended.
    pub fn last(&self) -> Lsn {
        self.shared.log.last()
    }

    /// Reads the log back as the next start would: the last record that was appended before, and the last one found.
    /// While records are written it may find less, or fail; whoever asks looks again.
    ///
    /// # Errors
    /// What is wrong with the log on the disk.
    pub fn read_back(&self) -> Result<(Lsn, Lsn), JournalError> {
        let (last, from) = (self.last(), self.materialised().next());
        Ok((last, self.shared.log.read_back(from)?))
    }

    /// How the materialiser feels.
    pub fn health(&self) -> Health {
        self.shared.health.borrow().clone()
    }

    /// Why nothing is taken, or nothing is brought into the database, and what to do; `None` if all is well.
    pub fn trouble(&self) -> Option<String> {
        if let Some(error) = self.shared.log.failure() {
            return Some(format!(
                "the local disk failed ({error}) and nothing more is written to it; all that succeeded is kept: \
                 see to the disk, then `tarn unmount --now` and mount again"
            ));
        }
        match self.health() {
            Health::Good => None,
            Health::Failing { detail, is_full: true, .. } => {
                Some(format!("{detail}: free some on the local disk, and work goes on by itself"))
            }
            Health::Failing { detail, .. } => Some(format!(
                "the local database cannot be written now ({detail}): see to the local disk; if that is not all, \
                 `tarn unmount --now` and mount again"
            )),
        }
    }

    /// Tells of changes of health.
    pub fn watch_health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    /// Reads the database.
    pub fn readers(&self) -> Readers {
        self.shared.readers.clone()
    }

    /// Bytes of the disk that the log holds or will hold in ordinary times: the segment that is written to, the one
    /// before it, and those kept for use again.
    pub fn log_bytes(&self) -> u64 {
        let options = self.shared.options.log;
        self.shared.log.size_bytes().max((2 + options.spare_max as u64) * options.segment_bytes)
    }

    /// What the database's write-ahead log grows to in ordinary times.
    pub fn wal_bytes(&self) -> u64 {
        self.shared.options.wal_bytes
    }

    /// Waits until everything taken so far is in the database.
    ///
    /// # Errors
    /// `Stalled` when a try fails; the materialiser goes on trying.
    pub fn drain(&self) -> Result<(), JournalError> {
        if self.shared.options.materialise == Materialise::Manual {
            while self.materialise_now()? {}
            return Ok(());
        }
        let mut queue = self.shared.queue.lock();
        let goal = queue.put_count;
        queue.hurry_count += 1;
        self.shared.wake.notify_all();
        let mut result = Ok(());
        while queue.done_count < goal && result.is_ok() {
            if !queue.is_dead {
                self.shared.progress.wait(&mut queue);
            }
            if queue.done_count < goal {
                result = self.shared.stalled();
            }
        }
        queue.hurry_count -= 1;
        result
    }

    /// Brings one batch into the database on the caller's thread; whether there was one.
    ///
    /// # Errors
    /// What went wrong; the batch is still pending, in its place.
    pub fn materialise_now(&self) -> Result<bool, JournalError> {
        self.shared.materialise_one()
    }

    /// Many rows come, for which somebody waits: until this is dropped more of them are gathered, for longer, before they are written.
    /// What is written at once fills each page of the database once, and who waits has the processor for that long.
    pub fn rush(&self) -> Rush {
        self.shared.queue.lock().rush_count += 1;
        Rush(Arc::downgrade(&self.shared))
    }

    /// Has the sink describe these contents anew. Not logged: told when their rows are in the database;
    /// dropped untold if the journal closes before.
    pub fn describe(&self, contents: &[ContentNo]) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        let mut queue = self.shared.queue.lock();
        let mut done = Some(done);
        for (index, &no) in contents.iter().enumerate() {
            let done = if index + 1 == contents.len() { done.take() } else { None };
            self.put(&mut queue, Pending { job: Job::Content(no), lsn: None, bytes: 0, done });
        }
        told
    }

    fn append(&self, payload: &[u8], job: impl FnOnce() -> Job) -> Result<Lsn, JournalError> {
        let mut queue = self.admit()?;
        self.append_in(&mut queue, payload, job())
    }

    fn append_in(&self, queue: &mut Queue, payload: &[u8], job: Job) -> Result<Lsn, JournalError> {
        let lsn = self.shared.log.append(payload)?;
        self.put(queue, Pending { job, lsn: Some(lsn), bytes: payload.len() + JOB_BYTES, done: None });
        Ok(lsn)
    }

    fn admit(&self) -> Result<MutexGuard<'_, Queue>, JournalError> {
        let queue = self.shared.queue.lock();
        if queue.is_closing {
            return Err(JournalError::Closed);
        }
        if queue.bytes > self.shared.options.pending_bytes_max.saturating_mul(OVERSHOOT_MAX) {
            self.shared.stalled()?;
            let detail = "too much is waiting to be written".to_owned();
            return Err(JournalError::Stalled { detail, is_full: true });
        }
        Ok(queue)
    }

    fn put_unlogged(&self, job: Job, bytes: usize) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        let mut queue = self.shared.queue.lock();
        self.put(&mut queue, Pending { job, lsn: None, bytes, done: Some(done) });
        told
    }

    fn put(&self, queue: &mut Queue, pending: Pending) {
        let was_idle = queue.jobs.is_empty();
        queue.put(pending);
        if was_idle || queue.bytes > self.shared.gather_bytes_max(queue) {
            self.shared.wake.notify_all();
        }
    }
}

/// See [`Journal::rush`].
#[derive(Debug)]
pub struct Rush(Weak<Shared>);

impl Drop for Rush {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.queue.lock().rush_count -= 1;
            shared.wake.notify_all();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.queue.lock().is_closing = true;
        self.shared.wake.notify_all();
        self.shared.progress.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // Panics were reported where they were caught.
            let _ = thread.join();
        }
    }
}

fn malformed(detail: String) -> JournalError {
    JournalError::Record { lsn: 0, detail }
}
