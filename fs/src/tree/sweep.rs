//! Owns keeping memory small: of many inodes, those whose rows say all of them are let go of, known to the kernel or not,
//! and so are listings that nobody reads. What comes back is what went: number, references, attributes, cookies.

use super::Tree;
use super::load::Session;
use super::notify::Invalidation;
use super::state::{Inode, State};
use crate::limits::FILES_IN_MEMORY_DEFAULT;
use crate::log::Lsn;
use crate::meta::rows::{Ino, ROOT};

/// So many names of a listing weigh as much as an inode.
const NAMES_PER_INODE: usize = 8;

impl State {
    /// Inodes in memory; listings count as well.
    fn weight(&self) -> usize {
        self.inodes.len() + self.listed_names / NAMES_PER_INODE
    }
}

impl Session<'_> {
    /// Sweeps if there is much in memory.
    pub(super) fn keep_small(&mut self) {
        let most = self.state.sweep_at.max(self.state.sweep_min.unwrap_or(FILES_IN_MEMORY_DEFAULT));
        if self.state.weight() > most {
            self.sweep();
        }
    }

    /// The same, now and then: what could not be let go of may have come into the database since.
    pub(super) fn keep_small_again(&mut self) {
        if self.core.journal.materialised() > self.state.swept_upto {
            self.state.sweep_at = 0;
        }
        self.keep_small();
    }

    fn sweep(&mut self) {
        let materialised = self.core.journal.materialised();
        self.state.swept_upto = materialised;
        let inos: Vec<Ino> = self.state.inodes.keys().copied().collect();
        self.state.listed_names = 0;
        for ino in inos {
            self.release_if_idle(ino);
            self.let_go_of_listing(ino);
            self.let_go_of_growing(ino);
            if self.state.inodes.get(&ino).is_some_and(|inode| self.can_come_back(ino, inode, materialised)) {
                self.let_go(ino);
            }
        }
        self.state.sweep_at = self.state.weight() * 2;
        self.state.inodes.shrink_to(self.state.sweep_at);
        self.state.by_node.shrink_to(self.state.sweep_at);
    }

    /// A listing that nobody reads goes. The kernel may go on with its own copy if the cookies come back with the next one.
    fn let_go_of_listing(&mut self, ino: Ino) {
        let is_busy = self.state.queue.touches_dir(ino);
        let Some(inode) = self.state.inodes.get_mut(&ino) else { return };
        let Some(dir) = &inode.dir else { return };
        if is_busy || inode.dir_handles > 0 {
            self.state.listed_names += dir.len();
            return;
        }
        inode.subdir_count = dir.subdir_count();
        if !dir.is_plain() && inode.kernel_refs > 0 {
            self.invalidations.push(Invalidation::Content(ino));
        }
        inode.dir = None;
    }

    /// Whether the rows of an inode that the kernel knows say all that must be known of it.
    fn can_come_back(&self, ino: Ino, inode: &Inode, materialised: Lsn) -> bool {
        let is_in_use = ino == ROOT || inode.opens > 0 || inode.dir_handles > 0 || inode.listing().is_some();
        let is_recorded =
            inode.touched <= materialised && inode.times.is_none() && inode.made_over.is_none() && inode.was.is_none();
        let is_named = inode.node.is_some()
            && inode.remote.is_some()
            && inode.links.as_ref().is_none_or(|links| !links.is_empty());
        let is_queued = || self.state.queue.of_ino(ino).next().is_some() || self.state.queue.touches_dir(ino);
        !is_in_use && is_recorded && is_named && !self.state.formers.keeps(ino) && !is_queued()
    }

    fn let_go(&mut self, ino: Ino) {
        if self.state.inodes.get(&ino).is_some_and(|inode| self.state.swept.put(ino, inode)) {
            self.unload(ino);
        }
    }

    /// Takes an inode out of memory.
    pub(super) fn unload(&mut self, ino: Ino) {
        let Some(inode) = self.state.inodes.remove(&ino) else { return };
        self.state.let_go = self.state.let_go.max(inode.touched);
        if let Some(node) = inode.node
            && self.state.by_node.get(&node) == Some(&ino)
        {
            self.state.by_node.remove(&node);
        }
    }
}

impl Tree {
    /// Inodes beyond this number are swept, then beyond twice of what is left: what is let go of is soon read from the database again.
    pub fn sweep_beyond(&self, inodes: usize) {
        self.with(|session| session.state.sweep_min = Some(inodes));
    }

    /// How many inodes memory holds, and how many more the kernel knows.
    pub fn inode_counts(&self) -> (usize, usize) {
        self.with(|session| (session.state.inodes.len(), session.state.swept.len()))
    }
}
