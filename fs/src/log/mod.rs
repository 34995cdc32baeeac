//! Owns the durable log: checksummed records in preallocated segments, numbered without gaps. It knows
//! nothing of what a record means.
//!
//! A record is *appended* (it has its place in the order), then *flushed* (given to the kernel: it
//! survives the daemon), then *synced* (it survives power loss). What a crash leaves is always a
//! prefix of what was appended. Never pretends: after a failed write or sync nothing more is taken.
//! What is missing though it was synced is damage, and told; what was not synced may be missing, and is not.
//! Start reading at `segment` (the format), then `writer`.

mod error;
mod replay;
mod scan;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{Damage, LogError};
pub use replay::Replay;
pub use scan::LogScan;
pub use writer::Log;

use crate::limits;
use serde::{Deserialize, Serialize};

/// The number of a record; 0 before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Sizes of a log.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// Bytes of one segment. One that begins with a longer record is as long as that one needs.
    pub segment_bytes: u64,
    /// Freed segments kept for use again.
    pub spare_max: usize,
}

impl LogOptions {
    /// Sizes for a log that counts against this budget.
    pub fn for_budget(budget_bytes: u64) -> Self {
        let segment_bytes = (budget_bytes / limits::LOG_SHARE).next_multiple_of(4096);
        let segment_bytes = segment_bytes.clamp(limits::LOG_SEGMENT_BYTES_MIN, limits::LOG_SEGMENT_BYTES);
        let spare_max = if segment_bytes < limits::LOG_SEGMENT_BYTES { 1 } else { 2 };
        Self { segment_bytes, spare_max }
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: limits::LOG_SEGMENT_BYTES, spare_max: 2 }
    }
}
