//! Owns the bytes of versions that were replaced by others': they stay for a while, because the new version shares most of its
//! chunks with them, and those need not be fetched (`content/sources`).
//!
//! Each belongs to an inode that shows no node and that nobody knows. It goes when the new version is all here, when its
//! bytes were evicted, when its file goes, and with the end of this process: never must anything depend on it.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::state::Inode;
use crate::content::{Former, LocalContent};
use crate::limits::SMALL_CONTENT_BYTES_MAX;
use crate::meta::RemoteWork;
use crate::meta::ranges::RangeSet;
use crate::meta::rows::{ContentRow, Ino, InodeRow, RowChange};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tarn_proto::node::NodeKind;

type Result<T> = std::result::Result<T, TreeError>;

/// Files whose former bytes are kept at once.
const FILES_MAX: usize = 1024;
/// Versions that are kept of one file: one that was read in part, and the one before.
const VERSIONS_MAX: usize = 2;

/// Inodes of former versions, by the inode that shows the present one; the newest first.
#[derive(Debug, Default)]
pub(super) struct Formers {
    of: BTreeMap<Ino, Vec<(Ino, Arc<LocalContent>)>>,
    kept: BTreeSet<Ino>,
}

impl Formers {
    /// Whether an inode is kept for its bytes.
    pub fn keeps(&self, ino: Ino) -> bool {
        self.kept.contains(&ino)
    }

    /// Whether another version may be kept.
    fn has_room(&self) -> bool {
        self.of.len() < FILES_MAX
    }

    fn add(&mut self, ino: Ino, former: Ino, content: &Arc<LocalContent>) {
        self.kept.insert(former);
        self.of.entry(ino).or_default().insert(0, (former, Arc::clone(content)));
    }

    /// Lets go of those of a file beyond the first `count`; which ones.
    fn cut(&mut self, ino: Ino, count: usize) -> Vec<Ino> {
        let Some(formers) = self.of.get_mut(&ino) else { return Vec::new() };
        let cut: Vec<Ino> = formers.drain(count.min(formers.len())..).map(|(former, _)| former).collect();
        if formers.is_empty() {
            self.of.remove(&ino);
        }
        self.kept.retain(|former| !cut.contains(former));
        cut
    }

    /// One that is kept has become a file again.
    pub fn forget(&mut self, former: Ino) {
        if self.kept.remove(&former) {
            self.of.values_mut().for_each(|formers| formers.retain(|(kept, _)| *kept != former));
            self.of.retain(|_, formers| !formers.is_empty());
        }
    }

    /// Those of a file are another inode's from now on.
    fn give(&mut self, from: Ino, to: Ino) {
        if let Some(formers) = self.of.remove(&from) {
            self.of.insert(to, formers);
        }
    }
}

impl Session<'_> {
    /// Keeps the clean content that a file showed so far, under an inode of its own; whether it is worth that.
    pub(super) fn keep_former(&mut self, ino: Ino, content: &Arc<LocalContent>, work: &mut RemoteWork) -> Result<bool> {
        let is_worth = content.size_bytes() > SMALL_CONTENT_BYTES_MAX && content.present_bytes() > 0;
        // Of what a full pull took away while it was out of memory nobody knows what it was.
        let is_known = self.inode(ino)?.kind().is_some();
        if !is_worth || !is_known || !self.state.formers.has_room() {
            return Ok(false);
        }
        let row = InodeRow { node: None, content: Some(content.no()), pinned: false, ..self.kept_row(ino)? };
        let former = self.state.next_ino();
        work.rows.push(RowChange::Inode(former, Some(row)));
        // What is kept for its bytes is dropped like any other.
        content.set_pinned(false);
        content.set_ino(former);
        content.note_as_source();
        // It claims no bytes: some may be evicted before it is logged.
        let row = ContentRow { present: RangeSet::new(), ..content.row() };
        work.rows.push(RowChange::Content(content.no(), Some(Box::new(row))));
        self.state.formers.add(ino, former, content);
        Ok(true)
    }

    /// A file goes on under another inode; what is open keeps the old one, and its bytes stay as long.
    pub(super) fn note_split(&mut self, ino: Ino, fresh: Ino) -> Result<()> {
        self.state.formers.give(ino, fresh);
        self.keep_inode(ino, fresh)
    }

    /// Another file took the place of one, most often as its next version: what was saved under a temporary name first. If
    /// the old one is gone with that, its bytes stay a while.
    pub(super) fn note_displaced(&mut self, old: Ino, new: Ino) -> Result<()> {
        let is_file = |inode: &Inode| inode.kind().is_some_and(NodeKind::is_file);
        let are_files = is_file(self.inode(old)?) && is_file(self.inode(new)?);
        if are_files && !self.state.formers.keeps(old) { self.keep_inode(old, new) } else { Ok(()) }
    }

    fn keep_inode(&mut self, old: Ino, new: Ino) -> Result<()> {
        if let Some(content) = self.local_content(old)?
            && content.size_bytes() > SMALL_CONTENT_BYTES_MAX
            && content.present_bytes() > 0
            && self.state.formers.has_room()
        {
            content.note_as_source();
            self.state.formers.add(new, old, &content);
        }
        Ok(())
    }

    /// Tells a content that was just adopted what it replaces.
    pub(super) fn tell_former(&self, ino: Ino, content: &LocalContent) {
        let newest = self.state.formers.of.get(&ino).and_then(|formers| formers.first());
        if let Some((_, former)) = newest
            && let Some(base) = former.base()
        {
            content.set_former(Former { content: Arc::clone(former), base });
        }
    }

    /// Lets go of what nobody will copy from any more.
    pub(super) fn tidy_formers(&mut self) {
        let files: Vec<Ino> = self.state.formers.of.keys().copied().collect();
        for ino in files {
            let count = self.formers_needed(ino);
            self.drop_formers_beyond(ino, count);
        }
    }

    fn formers_needed(&self, ino: Ino) -> usize {
        let is_gone = |links: &Vec<_>| links.is_empty();
        let file = self.state.inodes.get(&ino);
        let is_over = self.state.gone.contains_key(&ino)
            || file.is_some_and(|file| {
                let is_here = file.content.as_ref().is_some_and(|content| content.is_complete());
                is_here || file.node.is_none() || file.links.as_ref().is_some_and(is_gone)
            });
        let formers = self.state.formers.of.get(&ino).filter(|_| !is_over);
        let has_bytes = |(index, _): &(usize, &(Ino, Arc<LocalContent>))| *index < VERSIONS_MAX;
        let used = formers.into_iter().flatten().enumerate().filter(has_bytes);
        used.filter(|(_, (_, content))| content.present_bytes() > 0).map(|(index, _)| index + 1).last().unwrap_or(0)
    }

    fn drop_formers_beyond(&mut self, ino: Ino, count: usize) {
        for former in self.state.formers.cut(ino, count) {
            self.release_if_idle(former);
        }
    }
}

impl Tree {
    /// Lets go of former versions' bytes: of these files, or of all.
    pub fn drop_formers(&self, files: Option<&[Ino]>) {
        self.with(|session| {
            let all = || session.state.formers.of.keys().copied().collect();
            let files = files.map_or_else(all, <[Ino]>::to_vec);
            files.into_iter().for_each(|ino| session.drop_formers_beyond(ino, 0));
        });
    }
}
