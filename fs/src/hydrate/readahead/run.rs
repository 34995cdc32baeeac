//! Owns when to fetch ahead of reads that follow each other, further each time. It knows one direction: who reads backward
//! is shown to it in a mirror.

use crate::limits::{READ_AHEAD_BYTES_MAX, READ_AHEAD_BYTES_MIN, READ_AHEAD_SHARE};
use std::ops::Range;

/// First window of a sequential reader.
const WINDOW_BYTES_MIN: u64 = READ_AHEAD_BYTES_MIN;
/// Widest window.
const WINDOW_BYTES_MAX: u64 = READ_AHEAD_BYTES_MAX;
/// The kernel reads ahead in several threads: reads this close to where the last one ended still follow it.
pub(super) const SLACK_BYTES: u64 = 1 << 20;
/// Backward it does not: what is further apart leaves out what lies between.
pub(super) const SLACK_BYTES_BACKWARD: u64 = 128 << 10;
/// Reads that must follow each other before anything is fetched ahead. Programs that look at a file's
/// head only (thumbnailers, file managers) stay below.
pub(super) const RUN_MIN: u32 = 3;

/// How far one reader may be fetched ahead of in a cache of this size: others want room as well.
pub(super) fn window_bytes_max(budget_bytes: u64) -> u64 {
    (budget_bytes / READ_AHEAD_SHARE).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX)
}

/// Reads that follow each other.
#[derive(Debug, Clone)]
pub(super) struct Run {
    next: u64,
    run: u32,
    window_bytes: u64,
    ahead: u64,
    window_bytes_max: u64,
    slack_bytes: u64,
}

impl Run {
    pub fn new(window_bytes_max: u64, slack_bytes: u64) -> Self {
        Self { next: 0, run: 0, window_bytes: 0, ahead: 0, window_bytes_max, slack_bytes }
    }

    /// Takes note of a read and says what to fetch ahead, if anything. `size_bytes` is the file's.
    pub fn note(&mut self, read: &Range<u64>, size_bytes: u64) -> Option<Range<u64>> {
        let slack = self.slack_bytes;
        let follows = self.run > 0 && read.start <= self.next + slack && read.end + slack >= self.next;
        if !follows {
            *self = Self { next: read.end, run: 1, ahead: read.end, ..Self::new(self.window_bytes_max, slack) };
            return None;
        }
        if read.end <= self.next {
            return None; // the same again, once what it waited for is here; or one that was overtaken
        }
        self.run = self.run.saturating_add(1);
        self.next = read.end;
        if self.run < RUN_MIN || self.ahead >= self.next + self.window_bytes / 2 && self.window_bytes > 0 {
            return None;
        }
        self.window_bytes = (self.window_bytes * 2).clamp(WINDOW_BYTES_MIN, self.window_bytes_max);
        let wanted = self.ahead.max(self.next)..(self.next + self.window_bytes).min(size_bytes);
        self.ahead = self.ahead.max(wanted.end);
        (wanted.start < wanted.end).then_some(wanted)
    }
}
