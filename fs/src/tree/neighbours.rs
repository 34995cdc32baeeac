//! Owns bringing an inode into memory that somebody asked for: alone, or, for who asks for one after another in the order of
//! their numbers, as a walk through a folder does, with those behind it. One statement for many costs a third for each.

use super::error::TreeError;
use super::load::Session;
use crate::meta::rows::Ino;

type Result<T> = std::result::Result<T, TreeError>;

/// Inodes that are loaded at once.
const COUNT_MAX: u64 = 64;
/// Who walks leaves out fewer than this.
const STRIDE_MAX: u64 = 8;

/// Who asks for inodes in a row.
#[derive(Debug, Default)]
pub(super) struct Misses {
    /// The last inode that was loaded.
    last: u64,
    count: u64,
}

impl Misses {
    /// An inode is not in memory: how many to load, from this one on.
    fn note(&mut self, ino: Ino) -> u64 {
        let goes_on = self.count > 0 && ino.0 > self.last && ino.0 - self.last <= STRIDE_MAX;
        self.count = if goes_on { (self.count * 2).min(COUNT_MAX) } else { 1 };
        self.last = ino.0 + self.count - 1;
        self.count
    }
}

impl Session<'_> {
    /// Loads an inode that is not in memory, and perhaps those behind it.
    pub(super) fn load_inode(&mut self, ino: Ino) -> Result<()> {
        let count = self.state.misses.note(ino);
        if count == 1 {
            let known = self.core.reader()?.known_inode(ino)?.ok_or(TreeError::NotFound)?;
            self.insert_known(ino, known);
            return Ok(());
        }
        let found = self.core.reader()?.known_inodes(ino, count)?;
        if found.first().is_none_or(|(first, _)| *first != ino) {
            return Err(TreeError::NotFound);
        }
        for (other, known) in found {
            // Memory is newer than what is stored.
            let is_newer = self.state.inodes.contains_key(&other) || self.state.gone.contains_key(&other);
            let is_wanted = known.row.node.is_some_and(|node| !self.state.by_node.contains_key(&node));
            if other == ino || is_wanted && !is_newer {
                self.insert_known(other, known);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_loads_more_and_more_and_a_look_here_and_there_one() {
        let mut misses = Misses::default();
        assert_eq!([1, 100, 5000, 70].map(|ino| misses.note(Ino(ino))), [1, 1, 1, 1]);
        assert_eq!(
            [71, 73, 80, 85].map(|ino| misses.note(Ino(ino))),
            [2, 4, 8, 1],
            "85 was loaded with 80: let go of since"
        );
        assert_eq!(
            [86, 88, 92, 100, 116, 148, 212, 276].map(|ino| misses.note(Ino(ino))),
            [2, 4, 8, 16, 32, 64, 64, 64]
        );
        assert_eq!(misses.note(Ino(400)), 1);
    }
}
