//! Owns when what could not be brought is tried again: at once when the server is back, else ever more seldom.

use crate::meta::rows::Ino;
use crate::tree::Tree;
use std::collections::BTreeSet;

/// Looks until the first attempt after one that failed; doubled each time.
const PAUSE_LOOKS_MIN: u32 = 4;
const PAUSE_LOOKS_MAX: u32 = 1200;
/// More than this is as good as everything below the pins.
const WAITING_MAX: usize = 4096;

/// What is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    fresh: BTreeSet<Ino>,
    failed: BTreeSet<Ino>,
    /// Looks left until what failed is due.
    looks_left: u32,
    pause_looks: u32,
    was_online: bool,
}

impl Backlog {
    /// Adds what came below a pin.
    pub fn note(&mut self, fresh: BTreeSet<Ino>, tree: &Tree) {
        self.fresh.extend(fresh);
        for all in [&mut self.fresh, &mut self.failed] {
            if all.len() > WAITING_MAX {
                *all = tree.pinned_roots();
            }
        }
    }

    /// Takes what is due at this look.
    pub fn take_due(&mut self, is_online: bool) -> BTreeSet<Ino> {
        let was_online = std::mem::replace(&mut self.was_online, is_online);
        if !is_online {
            return BTreeSet::new();
        }
        if !was_online {
            (self.looks_left, self.pause_looks) = (0, 0);
        }
        self.looks_left = self.looks_left.saturating_sub(1);
        let mut due = std::mem::take(&mut self.fresh);
        if self.looks_left == 0 {
            due.append(&mut self.failed);
        }
        due
    }

    /// Says which of what was due is to be tried again.
    pub fn put_back(&mut self, failed: BTreeSet<Ino>) {
        if !failed.is_empty() {
            self.pause_looks = (self.pause_looks * 2).clamp(PAUSE_LOOKS_MIN, PAUSE_LOOKS_MAX);
            self.looks_left = self.pause_looks;
            self.failed.extend(failed);
        } else if self.failed.is_empty() {
            self.pause_looks = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks until something is due.
    fn looks_until_due(backlog: &mut Backlog) -> u32 {
        (1..10_000).find(|_| !backlog.take_due(true).is_empty()).unwrap_or(0)
    }

    fn one(ino: u64) -> BTreeSet<Ino> {
        BTreeSet::from([Ino(ino)])
    }

    #[test]
    fn what_fails_is_tried_ever_more_seldom_and_at_once_when_the_server_is_back() {
        let mut backlog = Backlog::default();
        let mut pauses = Vec::new();
        for _ in 0..11 {
            backlog.put_back(one(7));
            pauses.push(looks_until_due(&mut backlog));
        }
        assert_eq!(pauses[1..], [4, 8, 16, 32, 64, 128, 256, 512, 1024, 1200]);
        backlog.put_back(one(7));
        assert!(backlog.take_due(false).is_empty(), "nothing is tried offline");
        assert_eq!(backlog.take_due(true), one(7));
        backlog.put_back(BTreeSet::new());
        backlog.put_back(one(8));
        assert_eq!(looks_until_due(&mut backlog), PAUSE_LOOKS_MIN, "after a success it starts anew");
    }

    #[test]
    fn what_is_fresh_does_not_wait_for_what_failed() {
        let mut backlog = Backlog::default();
        assert!(backlog.take_due(true).is_empty());
        backlog.put_back(one(1));
        backlog.fresh = one(2);
        assert_eq!(backlog.take_due(true), one(2));
        backlog.put_back(BTreeSet::new());
        assert_eq!(looks_until_due(&mut backlog), PAUSE_LOOKS_MIN - 1);
    }
}
