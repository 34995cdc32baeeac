//! Owns units of work: rows are computed first, made durable second, and only then applied in memory,
//! so that a full disk leaves nothing half done. Memory is changed by rows alone, as recovery would.

use super::error::TreeError;
use super::load::{Session, unlisted_root};
use super::notify::Invalidation;
use super::state::Inode;
use super::types::NodeType;
use crate::content::LocalContent;
use crate::log::Lsn as Position;
use crate::meta::rows::{
    ContentNo, EntryRow, Ino, InodeRow, LocalNode, LocalOp, QueuedOp, ROOT, RowChange, Ticket, Verdict,
};
use std::sync::Arc;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, NodeKind};

type Result<T> = std::result::Result<T, TreeError>;

/// Rows of one unit of work, in order.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub rows: Vec<RowChange>,
    /// Contents that are another file's once this is done.
    pub moved: Vec<Arc<LocalContent>>,
    /// Inodes that no operation needs any more once this is done: they go unless somebody has them.
    pub orphans: Vec<Ino>,
}

impl Work {
    pub fn inode(&mut self, ino: Ino, row: InodeRow) {
        self.rows.push(RowChange::Inode(ino, Some(row)));
    }

    pub fn entry(&mut self, parent: Ino, name: &Name, ino: Option<Ino>, ticket: Ticket) {
        self.rows.push(RowChange::Entry(parent, name.clone(), Some(EntryRow { ino, ticket })));
    }

    pub fn entry_row(&mut self, parent: Ino, name: &Name, row: Option<EntryRow>) {
        self.rows.push(RowChange::Entry(parent, name.clone(), row));
    }

    pub fn dequeue(&mut self, ticket: Ticket) {
        self.rows.push(RowChange::Queue(ticket, None));
    }

    pub fn forget_content(&mut self, no: ContentNo) {
        self.rows.push(RowChange::Content(no, None));
    }
}

/// What changed under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameChange {
    pub old: Option<Ino>,
    pub new: Option<Ino>,
}

impl Session<'_> {
    /// Queues an operation under a new ticket.
    pub(super) fn enqueue(&mut self, work: &mut Work, ticket: Ticket, op: LocalOp) {
        self.enqueue_as(work, ticket, op, Verdict::Open);
    }

    /// The same with what is to become of it.
    pub(super) fn enqueue_as(&mut self, work: &mut Work, ticket: Ticket, op: LocalOp, verdict: Verdict) {
        let queued = QueuedOp { op, time: self.core.env.clock.wall(), frozen: None, name_tries: 0, verdict };
        work.rows.push(RowChange::Queue(ticket, Some(Box::new(queued))));
    }

    /// The local part of an inode's row as it is now, for changing.
    pub(super) fn local_node(&mut self, ino: Ino, ticket: Ticket) -> Result<Box<LocalNode>> {
        let inode = self.inode(ino)?;
        let kind: NodeKind = inode.kind().cloned().ok_or(TreeError::NotFound)?;
        let attrs: Attrs = inode.attrs().ok_or(TreeError::NotFound)?;
        Ok(Box::new(LocalNode { kind, attrs, ticket }))
    }

    /// Makes a local unit of work: into the log, then into memory.
    pub(super) fn commit(&mut self, work: Work) -> Result<Position> {
        let names = self.names_before(&work.rows)?;
        let position = self.core.journal.commit(work.rows.clone(), Vec::new())?;
        self.apply_rows(work.rows, position)?;
        for content in work.moved {
            content.leave_file().map_err(TreeError::Disk)?;
        }
        let mut uncovered = Vec::new();
        for (parent, name, old) in names {
            let change = self.refresh_name(parent, &name, old)?;
            let is_remote = self.state.overlay.get(parent, &name).is_none();
            uncovered.extend(change.new.filter(|new| is_remote && change.old != Some(*new)));
        }
        // What a local name hid is seen again: it may have unsent bytes, and none that bring them.
        for ino in uncovered {
            self.inode(ino)?;
            self.note_new_place(ino)?;
        }
        work.orphans.into_iter().for_each(|ino| self.release_if_idle(ino));
        Ok(position)
    }

    /// Which names a list of rows will change, and what they stand for now.
    pub(super) fn names_before(&mut self, rows: &[RowChange]) -> Result<Vec<(Ino, Name, Option<Ino>)>> {
        let mut names = Vec::new();
        for change in rows {
            if let RowChange::Entry(parent, name, _) = change {
                let old = self.shown(*parent, name)?;
                names.push((*parent, name.clone(), old));
            }
        }
        Ok(names)
    }

    /// What programs see under a name now, without loading the folder.
    pub(super) fn shown(&mut self, parent: Ino, name: &Name) -> Result<Option<Ino>> {
        if let Some(dir) = &self.inode(parent)?.dir {
            return Ok(dir.get(name).map(|child| child.ino));
        }
        self.effective(parent, name)
    }

    /// Applies rows to memory; names are refreshed by the caller afterwards.
    pub(super) fn apply_rows(&mut self, rows: Vec<RowChange>, position: Position) -> Result<()> {
        for change in rows {
            match change {
                RowChange::Inode(ino, Some(row)) => self.apply_inode(ino, row, position)?,
                RowChange::Inode(ino, None) => self.apply_gone(ino, position),
                RowChange::Entry(parent, name, row) => self.state.overlay.set(parent, &name, row),
                RowChange::Queue(ticket, op) => {
                    let now = self.core.env.clock.monotonic();
                    self.state.queue.set(ticket, op.map(|op| *op), now);
                }
                RowChange::Counter(counter) => {
                    self.state.counters.operation = self.state.counters.operation.max(counter);
                }
                RowChange::Content(..) | RowChange::Rescue(..) => {}
            }
        }
        Ok(())
    }

    fn apply_inode(&mut self, ino: Ino, row: InodeRow, position: Position) -> Result<()> {
        let old = self.state.inodes.get(&ino).and_then(|inode| inode.node);
        if old != row.node || !self.state.inodes.contains_key(&ino) {
            if let Some(old) = old
                && self.state.by_node.get(&old) == Some(&ino)
            {
                self.state.by_node.remove(&old);
            }
            let remote = row.node.map(|node| self.remote_node(node)).transpose()?.flatten();
            let remote = remote.or_else(|| (ino == ROOT).then(unlisted_root));
            if let Some(node) = row.node {
                self.state.by_node.insert(node, ino);
            }
            self.entered(ino).remote = remote;
        }
        let inode = self.entered(ino);
        if inode.content_no != row.content {
            inode.content = None;
        }
        // What others know may have names in folders that nobody has looked into: those are looked up when they are asked for.
        let is_own = inode.node.is_none() && old.is_none() && inode.remote.is_none();
        let links = (is_own && inode.links.is_none()).then(Vec::new);
        (inode.node, inode.local, inode.content_no, inode.pinned) = (row.node, row.local, row.content, row.pinned);
        inode.taken = row.taken.or(inode.taken.take().filter(|_| row.node.is_some()));
        inode.links = inode.links.take().or(links);
        inode.touched = position;
        self.state.pins.set_root(ino, row.pinned);
        Ok(())
    }

    /// An inode in memory, as the kernel knows it.
    fn entered(&mut self, ino: Ino) -> &mut Inode {
        let swept = &mut self.state.swept;
        self.state.inodes.entry(ino).or_insert_with(|| {
            let mut inode = Box::<Inode>::default();
            swept.recall(ino, &mut inode);
            inode
        })
    }

    fn apply_gone(&mut self, ino: Ino, position: Position) {
        self.state.pins.set_root(ino, false);
        self.state.swept.remove(ino);
        if let Some(node) = self.state.inodes.remove(&ino).and_then(|inode| inode.node)
            && self.state.by_node.get(&node) == Some(&ino)
        {
            self.state.by_node.remove(&node);
        }
        self.state.gone.insert(ino, position);
    }

    /// Brings a loaded listing and the links of its inodes to what the rows say.
    pub(super) fn refresh_name(&mut self, parent: Ino, name: &Name, old: Option<Ino>) -> Result<NameChange> {
        let new = self.effective(parent, name)?;
        let node_type = new.map(|ino| self.node_type(ino)).transpose()?;
        if let Some(dir) = self.state.inodes.get_mut(&parent).and_then(|inode| inode.listing_mut()) {
            match new.zip(node_type) {
                Some((ino, node_type)) => dir.set(name, ino, node_type),
                None => dir.remove(name),
            }
        } else if old != new {
            self.recount_subdirs(parent, old, node_type)?;
        }
        if old != new {
            self.note_change_below(parent, old, new);
            [old, new].into_iter().flatten().for_each(|ino| self.forget_taken(ino));
            if let Some(links) = old.and_then(|old| self.links_of_loaded(old)) {
                links.retain(|(p, n)| *p != parent || n != name);
            }
            if let Some(links) = new.and_then(|new| self.links_of_loaded(new))
                && !links.iter().any(|(p, n)| *p == parent && n == name)
            {
                links.push((parent, name.clone()));
            }
        }
        Ok(NameChange { old, new })
    }

    /// Keeps count of the directories in one whose listing was let go of.
    fn recount_subdirs(&mut self, parent: Ino, old: Option<Ino>, new: Option<NodeType>) -> Result<()> {
        let old = match old.map(|old| self.node_type(old)).transpose() {
            Err(TreeError::NotFound) => None,
            other => other?,
        };
        let is_dir = |node_type: Option<NodeType>| u32::from(node_type == Some(NodeType::Dir));
        if let Some(inode) = self.state.inodes.get_mut(&parent) {
            inode.subdir_count = (inode.subdir_count + is_dir(new)).saturating_sub(is_dir(old));
        }
        Ok(())
    }

    fn links_of_loaded(&mut self, ino: Ino) -> Option<&mut Vec<(Ino, Name)>> {
        self.state.inodes.get_mut(&ino)?.links.as_mut()
    }

    /// What the kernel must forget after a name changed from elsewhere.
    pub(super) fn invalidation(parent: Ino, name: &Name, change: NameChange) -> Option<Invalidation> {
        match (change.old, change.new) {
            (old, new) if old == new => None,
            (Some(child), None) => Some(Invalidation::Gone { parent, name: name.clone(), child }),
            _ => Some(Invalidation::Entry { parent, name: name.clone() }),
        }
    }
}
