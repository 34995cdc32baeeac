//! Owns when to fetch ahead of reads that are equally far apart: columns of a table, every n-th frame of a film. What the
//! kernel asks for in pieces counts as one read.

use super::run::{SLACK_BYTES, SLACK_BYTES_BACKWARD};
use std::ops::Range;

/// Equal steps in a row before the next ones are taken for granted.
const STEPS_MIN: u32 = 3;
/// So many reads ahead at most.
const READS_MAX: u64 = 32;

/// Reads that are equally far apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Stride {
    /// The last read, with what followed it directly, or came directly before it.
    last: Range<u64>,
    /// From the start of one to that of the next.
    step: i64,
    /// How often in a row it was that.
    steps: u32,
    /// How many reads to come have been asked for.
    ahead: u64,
    /// How many are asked for when half of them have come.
    reads: u64,
}

impl Stride {
    /// Takes note of a read and says what to fetch for those to come. `bytes_max` bounds all of that, `size_bytes` is the
    /// file's.
    pub fn note(&mut self, read: &Range<u64>, bytes_max: u64, size_bytes: u64) -> Vec<Range<u64>> {
        if read.start <= self.last.end && read.end >= self.last.start {
            self.last = self.last.start.min(read.start)..self.last.end.max(read.end);
            return Vec::new(); // a piece more of it, or the same again
        }
        let step = read.start.wrapping_sub(self.last.start).cast_signed();
        let length = (self.last.end - self.last.start).max(read.end - read.start);
        self.last = read.clone();
        let follows_at = if step < 0 { SLACK_BYTES_BACKWARD } else { SLACK_BYTES };
        if step != self.step || step.unsigned_abs() <= follows_at {
            (self.step, self.steps, self.ahead, self.reads) = (step, 1, 0, 0);
            return Vec::new();
        }
        self.steps = self.steps.saturating_add(1);
        self.ahead = self.ahead.saturating_sub(1);
        if self.steps < STEPS_MIN || self.ahead > self.reads / 2 {
            return Vec::new();
        }
        self.reads = (self.reads * 2).clamp(2, READS_MAX).min(bytes_max / length);
        let wanted = self.ahead + 1..=self.reads;
        self.ahead = self.ahead.max(self.reads);
        wanted.map_while(|times| self.to_come(times, length, size_bytes)).collect()
    }

    /// The read so many steps from here, if the file is that long.
    fn to_come(&self, times: u64, length: u64, size_bytes: u64) -> Option<Range<u64>> {
        let start = self.last.start.checked_add_signed(self.step.checked_mul(times.cast_signed())?)?;
        let end = start.checked_add(length)?.min(size_bytes);
        (start < end).then_some(start..end)
    }
}
