//! Owns letting go: of inodes that nobody uses, of nodes that are gone, of their bytes.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::work::Work;
use crate::meta::rows::{Ino, InodeRow, ROOT};

/// Inodes beyond this are swept for idle ones; after each sweep, twice what is left.
const INODES_SWEEP_MIN: usize = 20_000;

impl Session<'_> {
    /// Forgets an inode that nobody uses; removes it for good when it has no name and nothing is queued for it.
    pub(super) fn release_if_idle(&mut self, ino: Ino) {
        let Some(inode) = self.state.inodes.get(&ino) else { return };
        let busy_dir = inode.dir.as_ref().is_some_and(|dir| dir.handles > 0);
        if ino == ROOT || inode.kernel_refs > 0 || inode.opens > 0 || busy_dir || self.state.formers.keeps(ino) {
            return;
        }
        // What the server has and no name shows is on its way to another one: an answer told of half a move.
        let has_no_name = inode.remote.is_none() && inode.links.as_ref().is_some_and(Vec::is_empty);
        let nameless = inode.node.is_none() || has_no_name;
        if nameless {
            self.remove_for_good(ino);
        } else if inode.touched <= self.core.journal.materialised()
            && inode.times.is_none()
            && inode.made_over.is_none()
        {
            self.unload(ino);
        }
    }

    fn remove_for_good(&mut self, ino: Ino) {
        if self.state.queue.of_ino(ino).next().is_some() || self.state.queue.touches_dir(ino) {
            return; // what is queued still needs it; the answer releases it
        }
        let Some(inode) = self.state.inodes.get(&ino) else { return };
        let mut work = Work::default();
        work.rows.push(crate::meta::rows::RowChange::Inode(ino, None));
        if let Some(no) = inode.content_no {
            work.forget_content(no);
        }
        if let Err(error) = self.commit(work) {
            tracing::warn!(%error, ino = ino.0, "an unused inode could not be removed; the next start does it");
        }
    }

    /// The server knows that a node is gone: its inode goes, or is for its open handles alone. Should others bring the
    /// node back, a new inode shows it.
    pub(super) fn part_from_removed(&mut self, ino: Ino) -> Result<(), TreeError> {
        let node = match self.inode(ino) {
            Err(TreeError::NotFound) => return Ok(()),
            inode => inode?.node,
        };
        let is_busy = self.state.queue.of_ino(ino).next().is_some() || self.state.queue.touches_dir(ino);
        let Some(node) = node.filter(|_| ino != ROOT && !is_busy) else { return Ok(()) };
        if self.remote_node(node)?.is_some() || !self.links(ino)?.is_empty() {
            return Ok(());
        }
        self.release_if_idle(ino);
        if self.state.inodes.contains_key(&ino) {
            let mut work = Work::default();
            let orphan = InodeRow { node: None, ..self.kept_row(ino)? };
            work.inode(ino, orphan);
            self.commit(work)?;
        }
        Ok(())
    }

    fn unload(&mut self, ino: Ino) {
        if let Some(node) = self.state.inodes.remove(&ino).and_then(|inode| inode.node)
            && self.state.by_node.get(&node) == Some(&ino)
        {
            self.state.by_node.remove(&node);
        }
    }

    /// Forgets what the database knows by now.
    pub(super) fn tidy(&mut self) {
        self.tidy_formers();
        let materialised = self.core.journal.materialised();
        self.state.pending.materialised(materialised);
        self.state.gone.retain(|_, position| *position > materialised);
        if self.state.inodes.len() > self.state.sweep_at.max(self.state.sweep_min.unwrap_or(INODES_SWEEP_MIN)) {
            let inos: Vec<Ino> = self.state.inodes.keys().copied().collect();
            for ino in inos {
                self.release_if_idle(ino);
            }
            self.state.sweep_at = self.state.inodes.len() * 2;
        }
    }
}

impl Tree {
    /// The kernel forgot an inode `count` times.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.with(|session| {
            if let Some(inode) = session.state.inodes.get_mut(&ino) {
                inode.kernel_refs = inode.kernel_refs.saturating_sub(count);
            }
            session.release_if_idle(ino);
        });
    }

    /// Inodes beyond this number are swept for idle ones, instead of beyond 20,000: what nobody uses is soon read from the
    /// database again.
    pub fn sweep_beyond(&self, inodes: usize) {
        self.with(|session| session.state.sweep_min = Some(inodes));
    }

    /// Housekeeping, to be called now and then: frees memory.
    pub fn tidy(&self) {
        self.with(|session| session.tidy());
        self.core.contents.unload_idle();
    }
}
