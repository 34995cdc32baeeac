//! Owns what pins ask for: which nodes were pinned, came below a pinned folder or got another version there, for
//! those who bring bytes. Notes more than is needed; whoever takes it looks at each again.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::work::Work;
use crate::meta::rows::{Ino, InodeRow};
use std::collections::BTreeSet;

type Result<T> = std::result::Result<T, TreeError>;

/// More noted nodes than this are as good as everything below the pins.
const FRESH_MAX: usize = 4096;

/// What persons pinned, and nodes noted meanwhile. Nothing is noted while nothing is pinned.
#[derive(Debug, Default)]
pub(super) struct Pins {
    roots: BTreeSet<Ino>,
    fresh: BTreeSet<Ino>,
    has_left: bool,
}

impl Pins {
    /// Notes a node that came to a place, or changed.
    pub fn note(&mut self, ino: Ino) {
        if self.roots.is_empty() {
            return;
        }
        self.fresh.insert(ino);
        if self.fresh.len() > FRESH_MAX.max(2 * self.roots.len()) {
            self.fresh.clone_from(&self.roots);
        }
    }

    /// Follows an inode's row.
    pub fn set_root(&mut self, ino: Ino, pinned: bool) {
        if pinned && self.roots.insert(ino) {
            self.fresh.insert(ino);
        } else if !pinned && self.roots.remove(&ino) {
            // There may be room now for what did not fit.
            self.fresh.extend(&self.roots);
            self.has_left = true;
        }
    }
}

impl Session<'_> {
    /// Notes that a name of this folder speaks of another node now, or of none.
    pub(super) fn note_change_below(&mut self, parent: Ino, old: Option<Ino>, new: Option<Ino>) {
        if self.state.pins.roots.is_empty() {
            return;
        }
        new.into_iter().for_each(|ino| self.state.pins.note(ino));
        // If it cannot be said, it is looked at.
        if old.is_some() && self.is_pinned(parent).unwrap_or(true) {
            self.state.pins.has_left = true;
        }
    }

    fn is_pinned(&mut self, ino: Ino) -> Result<bool> {
        let mut at = Some(ino);
        let mut steps = 0;
        while let Some(here) = at {
            if self.inode(here)?.pinned {
                return Ok(true);
            }
            steps += 1;
            at = if steps > tarn_proto::limits::DEPTH_MAX { None } else { self.parent(here)? };
        }
        Ok(false)
    }
}

impl Tree {
    /// Sets or removes a person's pin.
    ///
    /// # Errors
    /// `NotFound`, `Disk`.
    pub fn set_pinned(&self, ino: Ino, pinned: bool) -> Result<()> {
        self.edit(|session| {
            let mut work = Work::default();
            let row = InodeRow { pinned, ..session.inode(ino)?.row() };
            work.inode(ino, row);
            session.commit(work).map(drop)
        })
    }

    /// Whether a node, or a folder above it, is pinned.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn is_pinned(&self, ino: Ino) -> Result<bool> {
        self.look(|session| session.is_pinned(ino))
    }

    /// Says what an earlier run pinned: all of it is noted, and from now on what comes to it.
    pub(super) fn watch_pins(&self, pinned: &[Ino]) {
        self.with(|session| pinned.iter().for_each(|ino| session.state.pins.set_root(*ino, true)));
    }

    /// Takes the noted nodes that are, or lie below something, pinned. Folders stand for all below them.
    pub fn take_fresh_pinned(&self) -> BTreeSet<Ino> {
        self.with(|session| {
            let noted = std::mem::take(&mut session.state.pins.fresh);
            // One that is gone by now needs nothing.
            noted.into_iter().filter(|ino| session.is_pinned(*ino).unwrap_or(false)).collect()
        })
    }

    /// Notes a node of which something is not here any more.
    pub fn note_pinned(&self, ino: Ino) {
        self.with(|session| session.state.pins.note(ino));
    }

    /// What persons pinned: stands for everything below.
    pub fn pinned_roots(&self) -> BTreeSet<Ino> {
        self.with(|session| session.state.pins.roots.clone())
    }

    /// Whether something pinned may not be pinned any more, since this was asked last.
    pub fn take_has_left_pins(&self) -> bool {
        self.with(|session| std::mem::take(&mut session.state.pins.has_left))
    }
}
