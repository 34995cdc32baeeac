//! Owns when to fetch ahead of a reader: only behind reads that follow each other, further each time.

use crate::limits::{READ_AHEAD_BYTES_MAX, READ_AHEAD_BYTES_MIN, READ_AHEAD_SHARE};
use std::ops::Range;

/// First window of a sequential reader.
const WINDOW_BYTES_MIN: u64 = READ_AHEAD_BYTES_MIN;
/// Widest window.
const WINDOW_BYTES_MAX: u64 = READ_AHEAD_BYTES_MAX;
/// The kernel asks in several threads: reads this close to where the last one ended still follow it.
const SLACK_BYTES: u64 = 1 << 20;
/// Reads that must follow each other before anything is fetched ahead. Programs that look at a file's
/// head only (thumbnailers, file managers) stay below.
const RUN_MIN: u32 = 3;

/// The memory of one open handle.
#[derive(Debug, Clone)]
pub struct ReadAhead {
    next: u64,
    run: u32,
    window_bytes: u64,
    ahead: u64,
    window_bytes_max: u64,
}

impl Default for ReadAhead {
    fn default() -> Self {
        Self { next: 0, run: 0, window_bytes: 0, ahead: 0, window_bytes_max: WINDOW_BYTES_MAX }
    }
}

impl ReadAhead {
    /// A handle that has read nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with a window that leaves room for those of other readers in a cache of this size.
    pub fn for_budget(budget_bytes: u64) -> Self {
        let window_bytes_max = (budget_bytes / READ_AHEAD_SHARE).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        Self { window_bytes_max, ..Self::default() }
    }

    /// Takes note of a read and says what to fetch ahead, if anything. `size_bytes` is the file's.
    pub fn note(&mut self, offset: u64, len: usize, size_bytes: u64) -> Option<Range<u64>> {
        let end = offset.saturating_add(len as u64).min(size_bytes);
        let follows = self.run > 0 && offset <= self.next + SLACK_BYTES && end + SLACK_BYTES >= self.next;
        if !follows {
            *self = Self { next: end, run: 1, window_bytes: 0, ahead: end, ..self.clone() };
            return None;
        }
        if end <= self.next {
            return None; // the same again, once what it waited for is here; or one that was overtaken
        }
        self.run = self.run.saturating_add(1);
        self.next = end;
        if self.run < RUN_MIN || self.ahead >= self.next + self.window_bytes / 2 && self.window_bytes > 0 {
            return None;
        }
        self.window_bytes = (self.window_bytes * 2).clamp(WINDOW_BYTES_MIN, self.window_bytes_max);
        let wanted = self.ahead.max(self.next)..(self.next + self.window_bytes).min(size_bytes);
        self.ahead = self.ahead.max(wanted.end);
        (wanted.start < wanted.end).then_some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_reads_fetch_nothing_ahead() {
        let mut handle = ReadAhead::new();
        for index in 0..200u64 {
            let offset = (index * 7_919 % 101) * (5 << 20);
            assert_eq!(handle.note(offset, 4096, 1 << 30), None, "at {offset}");
        }
    }

    #[test]
    fn a_read_that_is_tried_again_does_not_follow_itself() {
        let mut handle = ReadAhead::new();
        for offset in [0, 4096] {
            for _ in 0..5 {
                assert_eq!(handle.note(offset, 4096, 1 << 30), None);
            }
        }
    }

    #[test]
    fn a_sequential_reader_is_kept_ahead_of_and_further_each_time() {
        let mut handle = ReadAhead::new();
        let (mut ahead, mut longest) = (0, 0);
        for index in 0..1024u64 {
            if let Some(range) = handle.note(index << 17, 1 << 17, 1 << 30) {
                assert!(range.start >= ahead, "nothing is asked for twice");
                longest = longest.max(range.end - range.start);
                ahead = range.end;
            }
            if index > 2 {
                assert!(ahead >= (index + 1) << 17);
            }
        }
        assert!(longest <= WINDOW_BYTES_MAX && longest > WINDOW_BYTES_MIN);
    }

    #[test]
    fn nothing_is_wanted_behind_the_end() {
        let mut handle = ReadAhead::new();
        for index in 0..3u64 {
            let wanted = handle.note(index << 12, 1 << 12, 10_000);
            assert!(wanted.is_none_or(|range| range.end <= 10_000));
        }
    }
}
