//! Owns taking in what the server said: rows go into one unit of work with what follows from them
//! locally, and the kernel is told exactly what changed. A local row that hides a remote one stays.

use super::error::TreeError;
use super::kept_dirs::KEPT;
use super::load::Session;
use super::notify::Invalidation;
use super::work::{NameChange, Work};
use crate::log::Lsn;
use crate::meta::RemoteWork;
use crate::meta::rows::{Ino, InodeRow, ROOT, RowChange};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, FileVersion, NodeState};

type Result<T> = std::result::Result<T, TreeError>;

/// What an inode looked like to the kernel.
pub(super) type Looks = Option<(Attrs, u64)>;

impl Session<'_> {
    /// Applies remote work in the database, in memory, and to the kernel. `names` are local names that
    /// its rows change beside those that the changes name.
    pub(super) fn absorb(&mut self, mut work: RemoteWork, mut names: Vec<(Ino, Name)>) -> Result<Lsn> {
        self.load_changed(&work)?;
        self.keep_what_goes(&work.changes)?;
        self.drop_stale_local(&mut work);
        let told = self.invalidations.len();
        self.show_versions(&mut work, &mut names)?;
        let rewritten: BTreeSet<Ino> = self.invalidations[told..].iter().filter_map(rewritten).collect();
        names.extend(self.local_names(&work.changes)?);
        names.sort();
        names.dedup();
        let before = self.shown_names(names)?;
        let known = self.known_now(&before);
        let changed = self.changed_inodes(&work);
        let looks: Vec<(Ino, Looks)> = changed.iter().map(|&ino| (ino, self.looks(ino))).collect();
        let set = self.folders_set(&work.changes);
        work.kv.extend(self.state.room.unsaved());
        let partings = self.partings(&work.changes)?;
        let position = self.core.journal.submit_remote(with_rows(&work, &partings))?;
        self.state.pending.add(&work.changes, position);
        self.state.listings.note(&work.changes);
        self.note_conflicts(&work.changes);
        let mut renamed = self.note_new_links(&work.changes)?;
        self.apply_rows(std::mem::take(&mut work.rows), position)?;
        self.apply_nodes(&work.changes)?;
        self.note_hidden_names(&work.changes)?;
        let mut of_folders = Vec::new();
        for (parent, name, old) in before {
            let change = self.refresh_by_others(parent, &name, old)?;
            self.note_renamed(parent, &name, change, old.and_then(|old| known.get(&old)));
            if let Some(invalidation) = Self::invalidation(parent, &name, change) {
                let told = if self.is_of_folder(change) { &mut of_folders } else { &mut self.invalidations };
                told.push(invalidation);
                self.note_new_name(parent);
            }
            if let (Some(old), Some(new)) = (change.old, change.new)
                && old != new
            {
                self.note_displaced(old, new)?;
            }
            for ino in [change.old, change.new].into_iter().flatten().filter(|_| change.old != change.new) {
                self.invalidations.push(Invalidation::Attributes(ino));
                renamed.insert(ino);
            }
        }
        // Only now: what has lost one name may have got another.
        renamed.iter().try_for_each(|ino| self.note_new_place(*ino))?;
        for ino in set {
            self.state.inodes.entry(ino).and_modify(|inode| inode.times = None);
        }
        for (ino, old) in looks {
            self.invalidate_looks(ino, old, rewritten.contains(&ino))?;
        }
        // Of what memory lets go of nobody knows how it looked.
        renamed.into_iter().for_each(|ino| self.release_if_idle(ino));
        self.part_from_all_removed(&work.changes)?;
        self.keep_unparted(partings)?;
        // Last: below a folder's new name nothing is seen that is older than that.
        self.invalidations.append(&mut of_folders);
        Ok(position)
    }

    fn part_from_all_removed(&mut self, changes: &[Change]) -> Result<()> {
        for change in changes {
            if let Row::Node { node, state: None } = &change.row
                && let Some(&ino) = self.state.by_node.get(node)
            {
                self.part_from_removed(ino)?;
            }
        }
        Ok(())
    }

    fn is_of_folder(&self, change: NameChange) -> bool {
        let mut inos = [change.old, change.new].into_iter().flatten();
        inos.any(|ino| self.state.inodes.get(&ino).is_some_and(|inode| inode.is_dir()))
    }

    /// Files that somebody has open, and that are removed or written elsewhere, keep the version that they show. First of all,
    /// before a unit of work says anything of them: a row that was staged for it would take the content from them again.
    pub(super) fn keep_what_goes<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) -> Result<()> {
        for change in changes {
            if let Row::Node { node, .. } = &change.row
                && let Some(&ino) = self.state.by_node.get(node)
            {
                let version = |file: &FileVersion| file.content.version;
                let shown = self.inode(ino)?.version().map(version);
                if shown != changed_file(change).map(|(_, file)| version(&file)) {
                    self.keep_opened(ino)?;
                }
            }
        }
        Ok(())
    }

    /// Brings the inodes of all that changes into memory: what is not there now is compared with what comes as well.
    fn load_changed(&mut self, work: &RemoteWork) -> Result<()> {
        for change in &work.changes {
            match &change.row {
                Row::Node { node, .. } => self.known_ino(*node)?,
                // The kernel knows how many names it has.
                Row::Entry { node: Some(node), .. } if !self.state.swept.is_empty() => self.known_ino(*node)?,
                Row::Entry { .. } | Row::Alias { .. } | Row::Conflict { .. } => None,
            };
        }
        Ok(())
    }

    /// A node that was removed keeps its local attributes when the last operation about it has been answered. If others
    /// bring it back, theirs show.
    fn drop_stale_local(&self, work: &mut RemoteWork) {
        // What this unit of work says of an inode itself stands.
        let told: BTreeSet<Ino> = work.rows.iter().filter_map(told_of).collect();
        // Nodes that are there at some time, and whether they are in the end.
        let mut present: BTreeMap<Ino, bool> = BTreeMap::new();
        for change in &work.changes {
            let Row::Node { node, state } = &change.row else { continue };
            let Some(&ino) = self.state.by_node.get(node) else { continue };
            match state {
                Some(_) => drop(present.insert(ino, true)),
                None => drop(present.entry(ino).and_modify(|is_back| *is_back = false)),
            }
        }
        for (ino, is_back) in present.into_iter().filter(|(ino, _)| !told.contains(ino)) {
            work.rows.extend(self.without_stale_local(ino, is_back));
        }
    }

    /// The row of a node without its local attributes, if nothing is queued or kept any more that they are of.
    fn without_stale_local(&self, ino: Ino, is_back: bool) -> Option<RowChange> {
        let inode = self.state.inodes.get(&ino)?;
        // A folder that was kept may have been moved by its person since: then no row keeps it any more. And one that is back is as
        // the server says, though it is kept in its place.
        let is_kept = || self.state.overlay.kept_dirs().iter().any(|(_, _, child)| *child == Some(ino));
        let is_stale = match inode.local.as_ref()?.ticket {
            KEPT => is_back || !is_kept(),
            ticket => !self.state.queue.ops.contains_key(&ticket),
        };
        is_stale.then(|| RowChange::Inode(ino, Some(InodeRow { local: None, ..inode.row() })))
    }

    /// A file that had lost its last name here, and with it the operation that would have sent its bytes, has a name
    /// again: they are sent after all.
    pub(super) fn note_new_place(&mut self, ino: Ino) -> Result<()> {
        let has_content = self.state.inodes.get(&ino).is_some_and(|inode| inode.content_no.is_some());
        if has_content { self.requeue_if_kept(ino) } else { Ok(()) }
    }

    /// The same for all of them, after the rows were replaced as a whole.
    pub(super) fn note_new_places(&mut self) -> Result<()> {
        let saved_over = self.state.inodes.iter().filter(|(_, inode)| inode.made_over.is_some());
        let saved_over: Vec<Ino> = saved_over.map(|(ino, _)| *ino).collect();
        saved_over.into_iter().try_for_each(|ino| self.note_new_place(ino))
    }

    /// A node in memory that got a name, perhaps in a folder that is not: its names are looked up anew.
    fn note_new_links(&mut self, changes: &[Change]) -> Result<BTreeSet<Ino>> {
        let mut renamed = BTreeSet::new();
        for change in changes {
            let Row::Entry { parent, name, node: Some(node) } = &change.row else { continue };
            let Some(&ino) = self.state.by_node.get(node) else { continue };
            let parent = self.known_ino(*parent)?;
            let Some(inode) = self.state.inodes.get_mut(&ino) else { continue };
            let known = |links: &Vec<(Ino, Name)>| links.iter().any(|(p, n)| Some(*p) == parent && n == name);
            match &inode.links {
                Some(links) if known(links) => continue,
                Some(_) => drop(renamed.insert(ino)),
                // The kernel may have been told how many there are before memory let go of them.
                None => {}
            }
            inode.links = None;
            self.invalidations.push(Invalidation::Attributes(ino));
        }
        Ok(renamed)
    }

    /// Looks the names of all nodes in memory up anew, after the rows were replaced as a whole.
    pub(super) fn reload_links(&mut self) -> Result<()> {
        let files = self.state.inodes.iter().filter(|(_, inode)| inode.node.is_some() && !inode.is_dir());
        let known: Vec<(Ino, usize)> =
            files.filter_map(|(ino, inode)| Some((*ino, inode.links.as_ref()?.len()))).collect();
        for (ino, before) in known {
            self.inode(ino)?.links = None;
            if self.links(ino)?.len() != before {
                self.invalidations.push(Invalidation::Attributes(ino));
            }
        }
        Ok(())
    }

    /// A folder whose names changed has new times, and the kernel must not serve its old listing.
    fn note_new_name(&mut self, parent: Ino) {
        let now = self.core.env.clock.wall();
        if let Some(inode) = self.state.inodes.get_mut(&parent) {
            inode.times = Some(now);
        }
        self.invalidations.push(Invalidation::Content(parent));
    }

    /// Folders whose times others set after the last change of their names: they show what was set.
    fn folders_set(&self, changes: &[Change]) -> Vec<Ino> {
        let mut set = Vec::new();
        for change in changes {
            if let Row::Node { node, state: Some(new) } = &change.row
                && let Some(ino) = self.state.by_node.get(node)
                && let Some(inode) = self.state.inodes.get(ino).filter(|inode| inode.is_dir() && inode.local.is_none())
                && inode.remote.as_ref().is_some_and(|old| are_times_set(&old.attrs, &new.attrs))
            {
                set.push((*node, change.seq, *ino));
            }
        }
        if set.is_empty() {
            return Vec::new();
        }
        let mut named: HashMap<NodeId, u64> = HashMap::new();
        for change in changes {
            if let Row::Entry { parent, .. } = &change.row {
                named.entry(*parent).and_modify(|seq| *seq = change.seq.max(*seq)).or_insert(change.seq);
            }
        }
        set.retain(|(node, seq, _)| named.get(node).is_none_or(|named| named <= seq));
        set.into_iter().map(|(_, _, ino)| ino).collect()
    }

    fn shown_names(&mut self, names: Vec<(Ino, Name)>) -> Result<Vec<(Ino, Name, Option<Ino>)>> {
        let mut shown = Vec::with_capacity(names.len());
        for (parent, name) in names {
            let old = match self.shown(parent, &name) {
                Err(TreeError::NotFound) => continue,
                other => other?,
            };
            shown.push((parent, name, old));
        }
        Ok(shown)
    }

    /// The changed entries, as far as their folders have inodes here and somebody may have seen what is in them.
    fn local_names(&mut self, changes: &[Change]) -> Result<Vec<(Ino, Name)>> {
        let (mut names, mut folders) = (Vec::new(), HashMap::new());
        for change in changes {
            let Row::Entry { parent, name, .. } = &change.row else { continue };
            let folder = match folders.get(parent) {
                Some(known) => *known,
                None => {
                    let known = self.known_ino(*parent)?;
                    let is_seen = known.map(|ino| self.is_seen_inside(ino)).transpose()?.unwrap_or(false);
                    *folders.entry(*parent).or_insert(known.filter(|_| is_seen))
                }
            };
            let folder = folder.filter(|folder| self.may_be_seen(*folder, name));
            names.extend(folder.map(|folder| (folder, name.clone())));
        }
        Ok(names)
    }

    /// Of a folder that was never listed nobody knows a name, unless it has local ones.
    pub(super) fn is_seen_inside(&mut self, ino: Ino) -> Result<bool> {
        let has_local = self.state.overlay.of_parent(ino).next().is_some() || self.state.queue.touches_dir(ino);
        Ok(has_local || self.inode(ino)?.listing().is_some() || self.is_listed(ino)?)
    }

    fn changed_inodes(&self, work: &RemoteWork) -> Vec<Ino> {
        let nodes = work.changes.iter().filter_map(|change| match &change.row {
            Row::Node { node, .. } => self.state.by_node.get(node).copied(),
            _ => None,
        });
        let rows =
            work.rows.iter().filter_map(|row| if let RowChange::Inode(ino, _) = row { Some(*ino) } else { None });
        let mut inos: Vec<Ino> = nodes.chain(rows).collect();
        inos.sort_unstable();
        inos.dedup();
        inos
    }

    fn looks(&self, ino: Ino) -> Looks {
        let inode = self.state.inodes.get(&ino)?;
        let remote = || inode.version().map(|file| file.content.size);
        let size = inode.content.as_ref().map(|content| content.size_bytes()).or_else(remote).unwrap_or(0);
        Some((inode.attrs()?, size))
    }

    fn invalidate_looks(&mut self, ino: Ino, old: Looks, content: bool) -> Result<()> {
        // Also those that the kernel does not know: an answer that shows one as it was may be on its way.
        let new = self.looks(ino);
        if !self.state.inodes.contains_key(&ino) || new == old {
            return Ok(());
        }
        if old.is_none() {
            // What a queued operation brought back: under its names nothing was found meanwhile.
            let names = self.links(ino)?.into_iter();
            self.invalidations.extend(names.map(|(parent, name)| Invalidation::Entry { parent, name }));
        }
        self.invalidations.push(Invalidation::Attributes(ino));
        self.note_changed(ino, &old, &new, content);
        Ok(())
    }

    /// Brings inodes in memory to their nodes' new remote states.
    fn apply_nodes(&mut self, changes: &[Change]) -> Result<()> {
        for change in changes {
            let Row::Node { node, .. } = &change.row else { continue };
            let Some(&ino) = self.state.by_node.get(node) else { continue };
            let state = self.remote_node(*node)?.or_else(|| self.shown_root(ino));
            if let Some(inode) = self.state.inodes.get_mut(&ino) {
                if state.is_none() {
                    // Perhaps it came and went at once.
                    inode.was = inode.remote.take().or_else(|| last_state(changes, *node)).or(inode.was.take());
                }
                inode.remote.clone_from(&state);
            }
        }
        Ok(())
    }

    /// Brings one inode to what the rows say, after they were replaced as a whole.
    pub(super) fn reload_node(&mut self, ino: Ino, remote: Option<Arc<NodeState>>) -> Result<()> {
        let (old, told) = (self.looks(ino), self.invalidations.len());
        if let Some(file) = remote.as_ref().and_then(|state| state.file.as_ref()) {
            let (mut work, mut names) = (RemoteWork::default(), Vec::new());
            self.keep_opened(ino)?;
            self.show_version(ino, file, &BTreeSet::new(), &mut work, &mut names)?;
            if !work.rows.is_empty() {
                let bound: Vec<Ino> = work.rows.iter().filter_map(told_of).collect();
                self.absorb(work, names)?;
                // Their names are among the rows already, of which no change tells.
                for ino in bound {
                    self.state.inodes.entry(ino).and_modify(|inode| inode.links = None);
                }
            }
        }
        let remote = remote.or_else(|| self.shown_root(ino));
        if remote.is_some()
            && let Some(row) = self.without_stale_local(ino, true)
        {
            self.commit(Work { rows: vec![row], ..Work::default() })?;
        }
        if let Ok(inode) = self.inode(ino) {
            if remote.is_none() {
                inode.was = inode.remote.take().or(inode.was.take());
            }
            inode.remote = remote;
        }
        let content = self.invalidations[told..].iter().filter_map(rewritten).any(|other| other == ino);
        self.invalidate_looks(ino, old, content)
    }

    /// The root stays a folder even while no row speaks of it.
    fn shown_root(&self, ino: Ino) -> Option<Arc<NodeState>> {
        self.state.inodes.get(&ino).filter(|_| ino == ROOT)?.remote.clone()
    }

    /// What a node's row says of its content after these changes.
    pub(super) fn version_in(changes: &[Change], node: NodeId) -> Option<FileVersion> {
        let states = changes.iter().filter_map(changed_file);
        states.filter(|(changed, _)| *changed == node).map(|(_, file)| file).next_back()
    }

    /// A node's remote state as `Arc`, after changes that are not applied yet.
    pub(super) fn exists_after<'a>(
        &self,
        changes: impl DoubleEndedIterator<Item = &'a Change>,
        node: NodeId,
    ) -> Result<bool> {
        let mut rows = changes.rev().filter_map(|change| match &change.row {
            Row::Node { node: changed, state } if *changed == node => Some(state.is_some()),
            _ => None,
        });
        match rows.next() {
            Some(exists) => Ok(exists),
            None => Ok(self.remote_node(node)?.is_some()),
        }
    }
}

/// A unit of work with rows of inodes that follow from it, as it is logged.
fn with_rows(work: &RemoteWork, inodes: &[(Ino, InodeRow)]) -> RemoteWork {
    let mut work = work.clone();
    work.rows.extend(inodes.iter().map(|(ino, row)| RowChange::Inode(*ino, Some(row.clone()))));
    work
}

/// Whether a change of attributes sets the time of the content, be it to what it was: then nothing else but the time of
/// change differs.
fn are_times_set(old: &Attrs, new: &Attrs) -> bool {
    let others = |attrs: &Attrs| Attrs { ctime: old.ctime, ..attrs.clone() };
    new.mtime != old.mtime || (new.ctime != old.ctime && others(new) == *old)
}

fn rewritten(invalidation: &Invalidation) -> Option<Ino> {
    if let Invalidation::Content(ino) = invalidation { Some(*ino) } else { None }
}

fn told_of(row: &RowChange) -> Option<Ino> {
    if let RowChange::Inode(ino, _) = row { Some(*ino) } else { None }
}

fn last_state(changes: &[Change], node: NodeId) -> Option<Arc<NodeState>> {
    let mut states = changes.iter().rev().filter_map(|change| match &change.row {
        Row::Node { node: changed, state: Some(state) } if *changed == node => Some(state),
        _ => None,
    });
    states.next().cloned()
}

pub(super) fn changed_file(change: &Change) -> Option<(NodeId, FileVersion)> {
    match &change.row {
        Row::Node { node, state: Some(state) } => Some((*node, state.file.clone()?)),
        _ => None,
    }
}
