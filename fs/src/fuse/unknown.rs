//! Owns the inodes that the kernel did not know when it was told of a change. An answer may have been on its way that makes
//! it know them as they were before: it is told again, soon at first. Until it has known one, or for long enough, that one
//! counts as stale: who opens it meanwhile must not read by an old size.

use crate::meta::rows::Ino;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// When the kernel is told again: each time so long after the time before.
const AGAIN_AFTER: [Duration; 6] = [
    Duration::from_millis(1),
    Duration::from_millis(4),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// The inodes. Times are those of one monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    inodes: BTreeMap<Ino, Untold>,
    /// When each is to be told again: there are as many as were dropped at once.
    order: BTreeSet<(Duration, Ino)>,
}

#[derive(Debug)]
struct Untold {
    /// How often it was told again.
    turn: usize,
    due: Duration,
    /// How often it is counted as stale.
    owed: u32,
}

impl Unknown {
    /// The kernel did not know an inode.
    pub fn note(&mut self, ino: Ino, now: Duration) {
        let untold = self.inodes.entry(ino).or_insert(Untold { turn: 0, due: now, owed: 0 });
        self.order.remove(&(untold.due, ino));
        (untold.turn, untold.due) = (0, now + AGAIN_AFTER[0]);
        self.order.insert((untold.due, ino));
    }

    /// Takes over that an inode is counted as stale, if it is one of these.
    pub fn takes(&mut self, ino: Ino) -> bool {
        self.inodes.get_mut(&ino).map(|untold| untold.owed += 1).is_some()
    }

    /// Whether an inode is one of these.
    pub fn contains(&self, ino: Ino) -> bool {
        self.inodes.contains_key(&ino)
    }

    /// How long until one is to be told again.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        self.order.first().map(|(due, _)| due.saturating_sub(now))
    }

    /// Those that are.
    pub fn due(&self, now: Duration) -> Vec<Ino> {
        self.order.iter().take_while(|(due, _)| *due <= now).map(|(_, ino)| *ino).collect()
    }

    /// The kernel was told again; how often the inode is to be counted as stale no more.
    pub fn told(&mut self, ino: Ino, is_known: bool, now: Duration) -> u32 {
        let Some(untold) = self.inodes.get_mut(&ino) else { return 0 };
        self.order.remove(&(untold.due, ino));
        untold.turn += 1;
        match AGAIN_AFTER.get(untold.turn).filter(|_| !is_known) {
            Some(after) => {
                untold.due = now + *after;
                self.order.insert((untold.due, ino));
                0
            }
            None => self.inodes.remove(&ino).map_or(0, |untold| untold.owed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INO: Ino = Ino(7);

    #[test]
    fn one_that_the_kernel_gets_to_know_is_stale_until_then() {
        let mut unknown = Unknown::default();
        assert!(!unknown.takes(INO) && unknown.wait(Duration::ZERO).is_none());
        unknown.note(INO, Duration::ZERO);
        assert!(unknown.takes(INO) && unknown.takes(INO));
        let mut now = Duration::ZERO;
        for _ in 0..3 {
            now += unknown.wait(now).unwrap();
            assert_eq!((unknown.due(now), unknown.told(INO, false, now)), (vec![INO], 0));
            assert!(unknown.due(now).is_empty());
        }
        assert_eq!(unknown.told(INO, true, now), 2);
        assert!(unknown.wait(now).is_none() && !unknown.takes(INO));
    }

    #[test]
    fn one_that_it_never_knows_is_let_go_in_the_end_and_one_that_changes_again_begins_anew() {
        let (mut unknown, mut now, mut turns) = (Unknown::default(), Duration::ZERO, 0);
        unknown.note(INO, now);
        assert!(unknown.takes(INO));
        while let Some(wait) = unknown.wait(now) {
            now += wait;
            turns += 1;
            if turns == 3 {
                unknown.note(INO, now);
                assert!(unknown.takes(INO));
                continue;
            }
            let owed = unknown.told(INO, false, now);
            assert_eq!(owed, if unknown.wait(now).is_none() { 2 } else { 0 });
        }
        assert_eq!(turns, 3 + AGAIN_AFTER.len());
        assert!(now > Duration::from_secs(2));
    }
}
