//! Owns when to fetch ahead of a reader: behind reads that follow each other, forward or backward, further each time, and
//! where reads that are equally far apart will come to.

mod run;
mod stride;

use run::{Run, SLACK_BYTES, SLACK_BYTES_BACKWARD, window_bytes_max};
use std::ops::Range;
use stride::Stride;

/// The memory of one open handle.
#[derive(Debug, Clone)]
pub struct ReadAhead {
    forward: Run,
    /// Sees the file from its end.
    backward: Run,
    stride: Stride,
    window_bytes_max: u64,
}

impl ReadAhead {
    /// A handle that has read nothing yet, with a window that leaves room for those of other readers in a cache of this
    /// size.
    pub fn for_budget(budget_bytes: u64) -> Self {
        let window_bytes_max = window_bytes_max(budget_bytes);
        let run = |slack_bytes| Run::new(window_bytes_max, slack_bytes);
        let (forward, backward) = (run(SLACK_BYTES), run(SLACK_BYTES_BACKWARD));
        Self { forward, backward, stride: Stride::default(), window_bytes_max }
    }

    /// Takes note of a read and says what to fetch ahead. `size_bytes` is the file's.
    pub fn note(&mut self, offset: u64, len: usize, size_bytes: u64) -> Vec<Range<u64>> {
        let read = offset.min(size_bytes)..offset.saturating_add(len as u64).min(size_bytes);
        if read.is_empty() {
            return Vec::new();
        }
        let mirror = |range: &Range<u64>| size_bytes - range.end..size_bytes - range.start;
        let mut wanted = self.stride.note(&read, self.window_bytes_max, size_bytes);
        wanted.extend(self.forward.note(&read, size_bytes));
        wanted.extend(self.backward.note(&mirror(&read), size_bytes).as_ref().map(mirror));
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{READ_AHEAD_BYTES_MAX, READ_AHEAD_BYTES_MIN};

    const SIZE: u64 = 1 << 30;

    fn handle() -> ReadAhead {
        ReadAhead::for_budget(u64::MAX)
    }

    #[test]
    fn scattered_reads_fetch_nothing_ahead() {
        let mut handle = handle();
        for index in 0..200u64 {
            let offset = (index * 7_919 % 101) * (5 << 20);
            assert_eq!(handle.note(offset, 4096, SIZE), [], "at {offset}");
        }
    }

    #[test]
    fn a_read_that_is_tried_again_does_not_follow_itself() {
        for offsets in [[0, 4096], [8192, 4096]] {
            let mut handle = handle();
            for offset in offsets {
                for _ in 0..5 {
                    assert_eq!(handle.note(offset, 4096, SIZE), []);
                }
            }
        }
    }

    /// Reads 128 KiB after 128 KiB; where each begins is said by `place`.
    fn is_kept_ahead_of(place: impl Fn(u64) -> u64, is_ahead: impl Fn(&Range<u64>, u64) -> bool) {
        let mut handle = handle();
        let (mut asked, mut longest) = (Vec::<Range<u64>>::new(), 0);
        for index in 0..1024u64 {
            for range in handle.note(place(index), 1 << 17, SIZE) {
                let is_new = asked.iter().all(|other| other.end <= range.start || range.end <= other.start);
                assert!(is_new, "{range:?} is asked for twice");
                longest = longest.max(range.end - range.start);
                asked.push(range);
            }
            assert!(index <= 2 || asked.iter().any(|range| is_ahead(range, place(index))), "behind at {index}");
        }
        assert!(longest <= READ_AHEAD_BYTES_MAX && longest > READ_AHEAD_BYTES_MIN);
    }

    #[test]
    fn a_sequential_reader_is_kept_ahead_of_and_further_each_time() {
        is_kept_ahead_of(|index| index << 17, |range, at| range.end >= at + (1 << 17));
    }

    #[test]
    fn so_is_one_who_reads_from_the_end() {
        is_kept_ahead_of(|index| SIZE - ((index + 1) << 17), |range, at| range.start <= at);
    }

    #[test]
    fn nothing_is_wanted_outside_of_the_file() {
        let (mut forward, mut backward) = (handle(), handle());
        for index in 0..3u64 {
            let wanted = forward.note(index << 12, 1 << 12, 10_000);
            assert!(wanted.iter().all(|range| range.end <= 10_000));
            let wanted = backward.note(10_000 - ((index + 1) << 10), 1 << 10, 10_000);
            assert!(wanted.iter().all(|range| range.start < range.end && range.end <= 10_000));
        }
        assert_eq!(handle().note(20_000, 4096, 10_000), []);
    }

    /// Reads of three pieces each, so far apart.
    fn strided(start: u64, step: i64, count: u64) -> (Vec<Range<u64>>, u64) {
        let (mut handle, mut wanted, mut missed) = (handle(), Vec::new(), 0);
        for index in 0..count.cast_signed() {
            let at = start.checked_add_signed(step * index).unwrap();
            missed += u64::from(!wanted.contains(&(at..at + 3 * 4096)));
            for piece in 0..3 {
                wanted.extend(handle.note(at + piece * 4096, 4096, SIZE).into_iter().filter(|range| {
                    // A run of three pieces is one as well; that is not what this is about.
                    range.end - range.start < READ_AHEAD_BYTES_MIN
                }));
            }
        }
        (wanted, missed)
    }

    #[test]
    fn reads_that_are_equally_far_apart_are_met_where_they_will_be() {
        for (start, step) in [(0, 10 << 20), (SIZE - (1 << 20), -(10 << 20)), (SIZE - (1 << 20), -(300 << 10))] {
            let (wanted, missed) = strided(start, step, 60);
            assert_eq!(missed, 4, "four show the way");
            assert!(wanted.len() > 56);
            let mut once = wanted.clone();
            once.sort_by_key(|range| range.start);
            once.dedup();
            assert_eq!(once.len(), wanted.len(), "nothing is asked for twice");
        }
    }

    #[test]
    fn what_is_asked_for_so_fits_into_a_window() {
        let mut handle = ReadAhead::for_budget(0);
        let each = READ_AHEAD_BYTES_MIN / 4;
        for index in 0..20 {
            let wanted = handle.note(index * (10 << 20), each as usize, SIZE);
            let bytes: u64 = wanted.iter().map(|range| range.end - range.start).sum();
            assert!(bytes <= READ_AHEAD_BYTES_MIN, "{bytes}");
        }
        for index in 0..9 {
            let wanted = handle.note(index * (20 << 20), 2 << 20, SIZE);
            assert_eq!(wanted, [], "one read is more than the window");
        }
    }
}
