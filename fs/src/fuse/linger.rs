//! Owns waiting a moment for the next request without sleeping. A program that works through many files asks again some
//! microseconds after each answer, and to wake a processor that has fallen asleep in between takes longer than such a call, on
//! a virtual machine several times as long. Where nothing follows soon, this is tried ever more seldom.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, OwnedFd};

/// How often the device is looked at: some 50 µs.
const LOOKS: usize = 100;
/// So many calls at most go by without a try.
const PAUSE_MAX: u32 = 64;

/// Whether lingering is worth it just now, as one worker sees it.
#[derive(Debug, Default)]
pub(super) struct Habit {
    /// Calls to go by after a try in vain.
    pause: u32,
    /// Of them, those that are still to come.
    left: u32,
}

impl Habit {
    /// A call has ended; whether to linger for the next one.
    pub fn is_due(&mut self) -> bool {
        let is_due = self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_due
    }

    /// What came of it.
    pub fn note(&mut self, came: bool) {
        self.pause = if came { 0 } else { (self.pause * 2).clamp(1, PAUSE_MAX) };
        self.left = self.pause;
    }
}

/// Looks at the device for a moment; whether there is a request, or anything else that reading would tell.
pub(super) fn linger(device: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(device.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    (0..LOOKS).any(|_| poll(&mut fds, Some(&now)) != Ok(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn what_is_in_vain_is_tried_ever_more_seldom_and_what_is_not_each_time() {
        let mut habit = Habit::default();
        let mut tries = 0;
        for _ in 0..1000 {
            if habit.is_due() {
                tries += 1;
                habit.note(false);
            }
        }
        assert_eq!(tries, 21, "after 0, 1, 2, 4, 8, 16, 32 calls, then each 65th");
        while !habit.is_due() {}
        habit.note(true);
        assert!((0..100).all(|_| {
            let is_due = habit.is_due();
            habit.note(true);
            is_due
        }));
    }

    #[test]
    fn a_request_ends_it_and_nothing_does_not_hold_it() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let reader = OwnedFd::from(reader);
        assert!(!linger(&reader));
        writer.write_all(b"x").unwrap();
        assert!(linger(&reader));
    }
}
