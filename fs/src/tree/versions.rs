//! Owns what files do when another version of them is known: keep their bytes, give them up, or go on with them
//! under another inode. Bytes that are the new version's stay, whichever way the news came.

use super::Tree;
use super::absorb::changed_file;
use super::error::TreeError;
use super::load::Session;
use super::notify::Invalidation;
use crate::content::LocalContent;
use crate::meta::RemoteWork;
use crate::meta::rows::{BaseVersion, Ino, InodeRow, LocalOp, RowChange, Ticket};
use std::collections::{BTreeSet, HashSet};
use tarn_proto::change::{Change, ConflictState, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::FileVersion;

/// Rows read in one go.
const INODES_AT_ONCE: usize = 1_000;

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    /// What files that get a new version do about it, and those that had to wait for the answers at hand.
    pub(super) fn show_versions(&mut self, work: &mut RemoteWork, names: &mut Vec<(Ino, Name)>) -> Result<()> {
        let settled: BTreeSet<Ticket> = work.rows.iter().filter_map(settled_ticket).collect();
        let mut shown = HashSet::new();
        let changed: Vec<NodeId> = work
            .changes
            .iter()
            .filter_map(changed_file)
            .map(|(node, _)| node)
            .filter(|node| shown.insert(*node))
            .collect();
        for node in changed {
            // Those that it knows are in memory: see `load_changed`.
            if let Some(&ino) = self.state.by_node.get(&node)
                && let Some(file) = self.newest(node, &work.changes)?
            {
                self.show_version(ino, &file, &settled, work, names)?;
            }
        }
        for (ino, node) in self.waiting_for(&settled)? {
            if shown.insert(node)
                && let Some(file) = self.newest(node, &[])?
                && self.local_content(ino)?.is_some()
            {
                self.show_version(ino, &file, &settled, work, names)?;
            }
        }
        Ok(())
    }

    /// Files of which something was queued that is settled now.
    fn waiting_for(&mut self, settled: &BTreeSet<Ticket>) -> Result<Vec<(Ino, NodeId)>> {
        let ops: Vec<LocalOp> =
            settled.iter().filter_map(|ticket| Some(self.state.queue.ops.get(ticket)?.op.op.clone())).collect();
        let mut files = Vec::new();
        for ino in ops.iter().flat_map(LocalOp::inodes) {
            if let Some(node) = self.state.inodes.get(&ino).and_then(|inode| inode.node) {
                files.push((ino, node));
            }
        }
        Ok(files)
    }

    /// A node's version after these changes: an answer, a listing or a cut may be older than what is known.
    pub(super) fn newest(&self, node: NodeId, changes: &[Change]) -> Result<Option<FileVersion>> {
        let of_node = |change: &&Change| matches!(&change.row, Row::Node { node: changed, .. } if *changed == node);
        let last = changes.iter().filter(of_node).max_by_key(|change| change.seq);
        let known = self.remote_seq(node)?;
        match last {
            Some(change) if known.is_none_or(|seq| seq <= change.seq) => Ok(changed_file(change).map(|(_, file)| file)),
            _ => Ok(self.remote_node(node)?.and_then(|state| state.file.clone())),
        }
    }

    /// A clean file that nobody has open shows the new version, and the bytes of the old one stay only to be copied from. One
    /// that is open keeps them: it becomes an orphan, and a new inode shows the new version. What has something queued waits
    /// for the answer.
    pub(super) fn show_version(
        &mut self,
        ino: Ino,
        file: &FileVersion,
        settled: &BTreeSet<Ticket>,
        work: &mut RemoteWork,
        names: &mut Vec<(Ino, Name)>,
    ) -> Result<()> {
        self.state.pins.note(ino);
        let row = self.inode(ino)?.row();
        if staged_row(work, ino).is_some_and(|staged| staged.node != row.node) {
            return Ok(()); // refused bytes are another file's by now
        }
        let Some(content) = self.local_content(ino)? else {
            if self.state.queue.of_ino(ino).next().is_some() {
                self.note_hidden(ino);
            }
            let shown = self.remote_of(ino)?.and_then(|remote| Some(remote.file.as_ref()?.content.content_id));
            if shown != Some(file.content.content_id) {
                self.invalidations.push(Invalidation::Content(ino));
            }
            return Ok(());
        };
        let fresh = BaseVersion { content: file.content.clone(), vector: file.vector.clone() };
        let is_shown = content.base().is_some_and(|base| is_same_version(&base, file));
        let waits = self.state.queue.of_ino(ino).any(|(ticket, _)| !settled.contains(&ticket));
        let is_hidden = content.is_dirty() || waits;
        if is_hidden && !is_shown {
            self.note_hidden(ino);
        }
        if is_hidden || is_shown {
            return Ok(());
        }
        let row = staged_row(work, ino).unwrap_or(row);
        if row.content != Some(content.no()) {
            self.invalidations.push(Invalidation::Content(ino));
            return Ok(()); // its bytes have gone elsewhere, to a conflict's sibling
        }
        if content.rebind(&fresh)? {
            return Ok(()); // another version, and the bytes that are here
        }
        if self.inode(ino)?.opens > 0 {
            return self.split(ino, row, work, names);
        }
        self.invalidations.push(Invalidation::Content(ino));
        let kept = self.keep_as_sibling(&content, work)? || self.keep_former(ino, &content, work)?;
        if !kept {
            work.rows.push(RowChange::Content(content.no(), None));
        }
        work.rows.push(RowChange::Inode(ino, Some(InodeRow { content: None, ..row })));
        Ok(())
    }

    /// Who has a file open has the version that it shows now, also if nobody has read it yet.
    pub(super) fn keep_opened(&mut self, ino: Ino) -> Result<()> {
        let inode = self.inode(ino)?;
        let is_kept = inode.opens == 0 || inode.version().is_none();
        if is_kept { Ok(()) } else { self.content(ino).map(drop) }
    }

    /// Bytes that a conflict moved to a sibling are that one's, if it has none; whether they are kept.
    fn keep_as_sibling(&mut self, content: &LocalContent, work: &mut RemoteWork) -> Result<bool> {
        let Some(base) = content.base() else { return Ok(false) };
        let is_own = |state: &ConflictState| state.theirs.content.version == base.content.version;
        let coming = work.changes.iter().find_map(|change| match &change.row {
            Row::Conflict { state: Some(state), .. } if is_own(state) => state.sibling,
            _ => None,
        });
        let sibling = match coming {
            Some(sibling) => Some(sibling),
            None => {
                let records = self.core.reader()?.conflicts()?;
                records.into_iter().find(|record| is_own(&record.state)).and_then(|record| record.state.sibling)
            }
        };
        let Some(sibling) = sibling else { return Ok(false) };
        self.show_as_sibling(sibling, content, work)
    }

    /// The bytes of a version that lost are the sibling's, if that still shows this version and has none of its own; whether they
    /// are kept.
    pub(super) fn show_as_sibling(
        &mut self,
        sibling: NodeId,
        content: &LocalContent,
        work: &mut RemoteWork,
    ) -> Result<bool> {
        let Some(base) = content.base() else { return Ok(false) };
        // It may have been written to since.
        let shown = self.newest(sibling, &work.changes)?;
        if shown.as_ref().is_some_and(|file| file.content.version != base.content.version) {
            return Ok(false);
        }
        if let Some(FileVersion { content: version, vector, .. }) = shown {
            // What it has seen beside these bytes only the server says.
            content.rebind(&BaseVersion { content: version, vector })?;
        }
        self.bind_to_sibling(sibling, content, work)
    }

    /// Lets the inode of a sibling show these bytes; false if it has bytes of its own.
    fn bind_to_sibling(&mut self, sibling: NodeId, content: &LocalContent, work: &mut RemoteWork) -> Result<bool> {
        let (ino, row) = match self.known_ino(sibling)? {
            None => {
                let row = InodeRow { node: Some(sibling), ..InodeRow::default() };
                (self.state.next_ino(), row)
            }
            Some(ino) => (ino, self.inode(ino)?.row()),
        };
        let row = staged_row(work, ino).unwrap_or(row);
        if row.content.is_some() {
            return Ok(false);
        }
        work.rows.push(RowChange::Inode(ino, Some(InodeRow { content: Some(content.no()), ..row })));
        content.set_ino(ino);
        Ok(true)
    }

    fn split(&mut self, ino: Ino, row: InodeRow, work: &mut RemoteWork, names: &mut Vec<(Ino, Name)>) -> Result<()> {
        let links = self.links(ino)?;
        let taken = links.first().cloned().or(self.inode(ino)?.taken.clone());
        names.extend(links);
        let local = self.local_node(ino, Ticket(0))?;
        let fresh = self.state.next_ino();
        let shown = InodeRow { node: row.node, pinned: row.pinned, ..InodeRow::default() };
        work.rows.push(RowChange::Inode(ino, Some(InodeRow { node: None, local: Some(local), taken, ..row })));
        work.rows.push(RowChange::Inode(fresh, Some(shown)));
        self.state.pins.note(fresh);
        self.note_split(ino, fresh)
    }
}

impl Tree {
    /// Files whose local bytes are of another version than the rows in the database say, or of a file that is gone by them; in
    /// memory or not.
    pub(super) fn outdated_files(&self) -> Result<Vec<Ino>> {
        let (reader, mut found, mut last) = (self.core.reader()?, Vec::new(), Ino(0));
        loop {
            let page = reader.inodes_behind(last, INODES_AT_ONCE)?;
            let Some((end, _)) = page.last() else { return Ok(found) };
            last = *end;
            for (ino, row) in page {
                let (Some(node), Some(no)) = (row.node, row.content) else { continue };
                let base = reader.content(no)?.and_then(|content| content.base);
                let state = reader.remote_node(node)?.and_then(|known| known.state);
                let Some(base) = base else { continue };
                let is_shown = |file: &FileVersion| is_same_version(&base, file);
                if state.is_none_or(|state| state.file.is_some_and(|file| !is_shown(&file))) {
                    found.push(ino);
                }
            }
        }
    }
}

fn is_same_version(base: &BaseVersion, file: &FileVersion) -> bool {
    base.content.version == file.content.version && base.vector == file.vector
}

/// An inode's row as a unit of work leaves it so far.
pub(super) fn staged_row(work: &RemoteWork, ino: Ino) -> Option<InodeRow> {
    work.rows.iter().rev().find_map(|change| match change {
        RowChange::Inode(other, Some(row)) if *other == ino => Some(row.clone()),
        _ => None,
    })
}

fn settled_ticket(change: &RowChange) -> Option<Ticket> {
    match change {
        RowChange::Queue(ticket, None) => Some(*ticket),
        _ => None,
    }
}
