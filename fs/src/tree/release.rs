//! Owns letting go: of inodes that nobody uses, of nodes that are gone, of their bytes.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::work::Work;
use crate::meta::rows::{Ino, InodeRow, ROOT, RowChange};
use std::collections::HashSet;
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::NodeKind;

impl Session<'_> {
    /// Forgets an inode that nobody uses; removes it for good when it has no name and nothing is queued for it.
    pub(super) fn release_if_idle(&mut self, ino: Ino) {
        let Some(inode) = self.state.inodes.get(&ino) else { return };
        // What has come of a listing is kept until all is known: programs were told of it.
        let is_open =
            inode.opens > 0 || inode.dir_handles > 0 || (inode.growing.is_some() && self.state.cursor.is_none());
        if ino == ROOT || inode.kernel_refs > 0 || is_open || self.state.formers.keeps(ino) {
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
            // Of what others removed, and what has a name here while something waits to be sent, memory alone has the looks.
            && (inode.was.is_none() || inode.remote.is_some())
        {
            self.unload(ino);
        }
    }

    fn remove_for_good(&mut self, ino: Ino) {
        if self.is_queued(ino) {
            return; // what is queued still needs it; the answer releases it
        }
        let Some(inode) = self.state.inodes.get(&ino) else { return };
        let mut work = Work::default();
        work.rows.push(RowChange::Inode(ino, None));
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
        let Some(node) = node.filter(|_| ino != ROOT && !self.is_queued(ino)) else { return Ok(()) };
        if self.remote_node(node)?.is_some() || !self.links(ino)?.is_empty() {
            return Ok(());
        }
        // An answer may tell of a folder's end before a pull tells of that of what was in it.
        if self.inode(ino)?.is_dir() && !self.remote_children(node)?.is_empty() {
            return Ok(());
        }
        if !self.is_written_since_taken(ino)? {
            self.release_if_idle(ino);
        }
        if self.state.inodes.contains_key(&ino) {
            let mut work = Work::default();
            let row = match self.kept_row(ino) {
                // A full pull took it away while it was out of memory: nobody has it open, the kernel knows its number.
                Err(TreeError::NotFound) => self.inode(ino)?.row(),
                kept => kept?,
            };
            let taken = self.inode(ino)?.taken.clone();
            work.inode(ino, InodeRow { node: None, taken, ..row });
            self.commit(work)?;
        }
        Ok(())
    }

    fn is_queued(&self, ino: Ino) -> bool {
        self.state.queue.of_ino(ino).next().is_some() || self.state.queue.touches_dir(ino)
    }

    /// The rows of files that these changes will have [`Self::part_from_removed`] keep for their handles. They go into the record
    /// of the changes: of a file whose node is gone nothing else says what it was, and the mount may outlive this daemon.
    pub(super) fn partings(&mut self, changes: &[Change]) -> Result<Vec<(Ino, InodeRow)>, TreeError> {
        let gone = changes.iter().filter_map(|change| match &change.row {
            Row::Node { node, state: None } => Some((*node, *self.state.by_node.get(node)?)),
            _ => None,
        });
        let gone: Vec<(NodeId, Ino)> = gone.filter(|(_, ino)| self.is_held(*ino)).collect();
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let (mut given, mut freed) = (HashSet::new(), HashSet::new());
        for change in changes {
            if let Row::Entry { parent, name, node } = &change.row {
                freed.insert((*parent, name));
                given.extend(*node);
            }
        }
        let mut partings = Vec::new();
        for (_, ino) in gone.into_iter().filter(|(node, _)| !given.contains(node)) {
            let links = self.links(ino)?;
            if self.are_freed(&links, &freed)? {
                let taken = links.last().cloned().or_else(|| self.state.inodes.get(&ino)?.taken.clone());
                partings.push((ino, InodeRow { node: None, taken, ..self.kept_row(ino)? }));
            }
        }
        Ok(partings)
    }

    /// Whether the kernel knows a file of which nothing waits to be sent.
    fn is_held(&self, ino: Ino) -> bool {
        let Some(inode) = self.state.inodes.get(&ino) else { return false };
        let is_known = inode.kernel_refs > 0 || inode.opens > 0;
        is_known && inode.kind().is_some_and(NodeKind::is_file) && !self.is_queued(ino)
    }

    fn are_freed(&mut self, links: &[(Ino, Name)], freed: &HashSet<(NodeId, &Name)>) -> Result<bool, TreeError> {
        for (parent, name) in links {
            let node = self.inode(*parent)?.node;
            let is_freed = node.is_some_and(|node| freed.contains(&(node, name)));
            if !is_freed || self.state.overlay.get(*parent, name).is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Of what stays all the same the row is as memory has it.
    pub(super) fn keep_unparted(&mut self, partings: Vec<(Ino, InodeRow)>) -> Result<(), TreeError> {
        let mut work = Work::default();
        for (ino, _) in partings {
            if let Some(inode) = self.state.inodes.get(&ino).filter(|inode| inode.node.is_some()) {
                work.inode(ino, inode.row());
            }
        }
        if work.rows.is_empty() { Ok(()) } else { self.commit(work).map(drop) }
    }

    /// Forgets what the database knows by now.
    pub(super) fn tidy(&mut self) {
        self.tidy_formers();
        let materialised = self.core.journal.materialised();
        if !self.state.pending.is_empty() || !self.state.gone.is_empty() {
            self.state.pending.materialised(materialised);
            self.state.gone.retain(|_, position| *position > materialised);
            self.state.let_go = self.state.let_go.max(materialised);
        }
        self.keep_small();
    }
}

impl Tree {
    /// The kernel forgot an inode `count` times.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.with(|session| {
            match session.state.inodes.get_mut(&ino) {
                Some(inode) => inode.kernel_refs = inode.kernel_refs.saturating_sub(count),
                None => session.state.swept.forget(ino, count),
            }
            session.release_if_idle(ino);
        });
    }

    /// Housekeeping, to be called now and then: frees memory.
    pub fn tidy(&self) {
        self.with(|session| {
            session.tidy();
            session.keep_small_again();
        });
        self.core.contents.unload_idle();
    }
}
