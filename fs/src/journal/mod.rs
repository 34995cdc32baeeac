//! Owns the order of things: every unit of work passes here once, is logged, and is brought into the
//! database in that order by the materialiser, the only one that ever changes it.
//!
//! Memory holds the newest state (above: `tree`, `content`), the log what the database does not have
//! yet, the database the rest. Recovery feeds the log to the same materialiser. The journal never
//! reads the rows that pass through it and never waits for anybody's lock.
//! Start reading at [`Journal`], then `materialise`, then `recover`.

mod error;
mod fold;
mod materialise;
mod queue;
mod record;
mod recover;
mod runner;
mod sink;
mod state_lock;
mod unit;

#[cfg(test)]
mod tests;

pub use error::{Health, JournalError};
pub use record::Record;
pub use recover::{LOG_DIR, Lost, Prepared, Recovered, Stopped};
pub use sink::{ContentSink, NoContents, RecoverySink};
pub use state_lock::{LockError, StateLock};
pub use unit::{Journal, Rush};

use crate::limits;
use crate::log::LogOptions;
use crate::meta::Check;
use std::time::Duration;

/// Who brings records into the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Materialise {
    /// A thread of the journal's own.
    Thread,
    /// Whoever calls [`Journal::materialise_now`] (simulation, tests).
    Manual,
}

/// How a journal runs.
#[derive(Debug, Clone, Copy)]
pub struct JournalOptions {
    /// Sizes of the log.
    pub log: LogOptions,
    /// How thoroughly the database is checked when it is opened.
    pub check: Check,
    /// Who materialises.
    pub materialise: Materialise,
    /// How long the materialiser gathers records before it writes them.
    pub gather: Duration,
    /// The same in a rush: see [`Journal::rush`].
    pub rush_gather: Duration,
    /// Records waiting beyond this make committers wait.
    pub pending_bytes_max: usize,
    /// The database's write-ahead log before it is brought into the database.
    pub wal_bytes: u64,
}

impl JournalOptions {
    /// Sizes for a log and a database that count against this budget.
    pub fn for_budget(budget_bytes: u64) -> Self {
        let all = Self::default();
        let pending_bytes = (budget_bytes / limits::UNMATERIALISED_SHARE) as usize;
        let wal_bytes = budget_bytes / limits::LOG_SHARE;
        Self {
            log: LogOptions::for_budget(budget_bytes),
            pending_bytes_max: pending_bytes.clamp(PENDING_BYTES_MIN, all.pending_bytes_max),
            wal_bytes: wal_bytes.clamp(limits::LOG_SEGMENT_BYTES_MIN, all.wal_bytes),
            ..all
        }
    }
}

/// What comes within this time becomes one transaction: of what is made, sent and settled, or replaced, in it only the
/// end is written. Whoever needs the database now does not wait for it ([`Journal::drain`]); the log has all of it.
const GATHER: Duration = Duration::from_millis(200);
/// In a rush.
const RUSH_GATHER: Duration = Duration::from_secs(2);
/// However small a budget is, so much may wait.
const PENDING_BYTES_MIN: usize = 1 << 20;

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            log: LogOptions::default(),
            check: Check::Quick,
            materialise: Materialise::Thread,
            gather: GATHER,
            rush_gather: RUSH_GATHER,
            pending_bytes_max: limits::UNMATERIALISED_BYTES_MAX,
            wal_bytes: limits::WAL_BYTES,
        }
    }
}
