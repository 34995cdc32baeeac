//! Owns applying what others did: a consistent cut of the journal, a listed folder, a full pull.

use super::Tree;
use super::error::TreeError;
use super::history::{self, Loaded};
use super::load::Session;
use super::notify::Invalidation;
use crate::log::Lsn;
use crate::meta::rows::Ino;
use crate::meta::{RemoteWork, Staged, StagedChanges};
use std::collections::HashSet;
use tarn_proto::change::{Change, Cursor};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::ByteString;

type Result<T> = std::result::Result<T, TreeError>;

/// Under which key the database says that it took a full pull which memory has not been told of.
const UNSHOWN: &str = "unshown";

/// A full pull that the database has, or takes as soon as it can, and of which memory and the kernel know nothing yet.
#[derive(Debug)]
pub(super) struct Loading {
    /// What it changes: the kernel knows more than memory, what was swept, and names that were looked up alone.
    changed: StagedChanges,
    position: Lsn,
    upto: Cursor,
    fork: Option<u64>,
}

impl Session<'_> {
    /// Compares every loaded listing with the rows, after they were replaced as a whole.
    fn reload_listings(&mut self) -> Result<()> {
        let loaded: Vec<Ino> =
            self.state.inodes.iter().filter(|(_, inode)| inode.dir.is_some()).map(|(ino, _)| *ino).collect();
        self.reload_nodes()?;
        self.reload_links()?;
        for ino in loaded {
            let names = self.differing_names(ino)?;
            self.renamed_in_listing(ino, names)?;
        }
        Ok(())
    }

    /// Tells the kernel what a full pull changed of what memory does not hold, and open files whose names go.
    fn tell_swept(&mut self, changed: &StagedChanges) {
        let mut parents = HashSet::new();
        for (parent, name, child) in &changed.entries {
            // Where a local row stands, others took nothing that was to be seen.
            if let Some((parent, child)) =
                parent.zip(*child).filter(|(parent, _)| self.state.overlay.get(*parent, name).is_none())
            {
                self.note_taken(child, (parent, name));
            }
            self.invalidations.extend(parent.map(|parent| Invalidation::Entry { parent, name: name.clone() }));
            self.invalidations.extend(child.map(Invalidation::Attributes));
            self.invalidations.extend(parent.filter(|parent| parents.insert(*parent)).map(Invalidation::Content));
        }
        let swept = changed.nodes.iter().filter(|ino| self.state.swept.contains(**ino));
        self.invalidations.extend(swept.map(|ino| Invalidation::Content(*ino)));
    }

    /// Names for which a loaded listing and the rows say different things, with what the listing says.
    fn differing_names(&mut self, ino: Ino) -> Result<Vec<(Name, Option<Ino>)>> {
        let inode = self.inode(ino)?;
        let (Some(node), Some(dir)) = (inode.node, inode.dir.clone()) else { return Ok(Vec::new()) };
        let rows = self.core.reader()?.entries_in_brief(node)?;
        let mut names = Vec::new();
        let mut same = HashSet::new();
        for row in &rows {
            let shown = dir.get(&row.name).map(|child| child.ino);
            if shown.is_some() && shown == self.shown_by(row) {
                same.insert(&row.name);
            } else {
                names.push((row.name.clone(), shown));
            }
        }
        let new: HashSet<Name> = names.iter().map(|(name, _)| name.clone()).collect();
        let gone = dir.iter().filter(|(name, _)| !same.contains(name) && !new.contains(*name));
        names.extend(gone.map(|(name, child)| (name.clone(), Some(child.ino))));
        names.sort();
        Ok(names)
    }

    fn reload_nodes(&mut self) -> Result<()> {
        let nodes: Vec<(NodeId, Ino)> = self.state.by_node.iter().map(|(node, ino)| (*node, *ino)).collect();
        let mut changes = Vec::new();
        for (node, ino) in nodes {
            let remote = self.remote_node(node)?;
            let inode = self.inode(ino)?;
            if inode.remote != remote {
                changes.push((node, ino, remote));
            }
        }
        for (_, ino, remote) in changes {
            self.reload_node(ino, remote)?;
        }
        Ok(())
    }

    /// Brings files, in memory or not, to the versions that the rows say, and lets go of those that are gone.
    fn reload_files(&mut self, inos: Vec<Ino>) -> Result<()> {
        for ino in inos {
            let node = match self.inode(ino) {
                Err(TreeError::NotFound) => continue,
                inode => inode?.node,
            };
            if let Some(node) = node {
                let remote = self.remote_node(node)?;
                self.reload_node(ino, remote)?;
                self.part_from_removed(ino)?;
            }
        }
        Ok(())
    }
}

impl Tree {
    /// Where this device stands; `None` until the first full pull is complete.
    pub fn cursor(&self) -> Option<Cursor> {
        self.with(|session| session.state.cursor)
    }

    /// Applies a cut: all changes up to `upto`, with the cursor, as one unit of work.
    ///
    /// # Errors
    /// What the disk and the database say; nothing was applied then.
    pub fn apply_cut(&self, changes: Vec<Change>, upto: Cursor) -> Result<()> {
        self.edit(|session| {
            let mut work = RemoteWork { changes, cursor: Some((self.identity().space, upto)), ..RemoteWork::default() };
            let names = session.protect(&mut work)?;
            session.absorb(work, names)?;
            session.state.cursor = Some(upto);
            session.tidy();
            Ok(())
        })
    }

    /// Starts a full pull: what was staged before is forgotten.
    ///
    /// # Errors
    /// The database cannot be written now; begin again later.
    pub fn begin_load(&self) -> Result<()> {
        self.show_loaded()?;
        let _told = self.core.journal.discard_staged();
        Ok(self.core.journal.drain()?)
    }

    /// Keeps a page of a full pull aside.
    ///
    /// # Errors
    /// The database cannot be written now; begin again later.
    pub fn load_page(&self, changes: Vec<Change>) -> Result<()> {
        let _told = self.core.journal.stage(changes);
        Ok(self.core.journal.drain()?)
    }

    /// Puts the staged rows in the place of all that was known of the server; what is queued stays.
    ///
    /// # Errors
    /// What the disk and the database say. It is done all the same when there is room, and [`Tree::show_loaded`] is to be
    /// called again.
    pub fn finish_load(&self, loaded: Loaded) -> Result<()> {
        let Loaded { upto, epochs, fork } = loaded;
        let mut loading = self.loading.lock();
        let changed = self.core.reader()?.staged_changes()?;
        let mut work = RemoteWork {
            staged: if fork.is_some() { Staged::ReplaceAll } else { Staged::Replace },
            cursor: Some((self.identity().space, upto)),
            kv: [history::kept_of_all(&epochs), vec![(UNSHOWN.to_owned(), Some(ByteString::default()))]].concat(),
            ..RemoteWork::default()
        };
        let position = self.look(|session| {
            // With the rows, lest the daemon end before they are shown.
            work.rows = fork.map(|fork| session.queue_without_lost_seqs(fork)).unwrap_or_default();
            Ok(session.core.journal.submit_remote(work)?)
        })?;
        *loading = Some(Loading { changed, position, upto, fork });
        drop(loading);
        self.show_loaded()
    }

    /// An earlier daemon ended before it had shown all of a full pull, or the power went before what followed from that was
    /// durable: files may have the bytes of older versions.
    pub(super) fn note_unshown(&self) -> Result<()> {
        if let Some(upto) = self.cursor()
            && self.core.reader()?.kv(UNSHOWN)?.is_some()
        {
            let (changed, position) = (StagedChanges::default(), self.core.journal.materialised());
            *self.loading.lock() = Some(Loading { changed, position, upto, fork: None });
        }
        Ok(())
    }

    /// Whether a full pull ended, or ends just now, of which memory and the kernel know nothing yet. Waits for nothing.
    pub fn is_load_unseen(&self) -> bool {
        self.loading.try_lock().is_none_or(|loading| loading.is_some())
    }

    /// Shows what a full pull brought. While the disk is full the database cannot take it, and then takes it when nobody
    /// waits for that any more: before anything else is asked of the server, memory and the kernel must hear of it.
    ///
    /// # Errors
    /// What the disk and the database say; nothing is shown then.
    pub fn show_loaded(&self) -> Result<()> {
        let mut loading = self.loading.lock();
        let Some(Loading { changed, position, upto, fork }) = &*loading else { return Ok(()) };
        self.core.journal.drain()?;
        let outdated = self.outdated_files()?;
        self.edit(|session| {
            session.tidy();
            // Listings that are being read are of before.
            session.state.let_go = session.state.let_go.max(*position);
            session.state.listings.note_all();
            session.state.cursor = Some(*upto);
            // What it brought under unsent work nobody has seen.
            session.state.is_hidden_known = false;
            session.tell_swept(changed);
            if let Some(fork) = fork {
                session.forget_lost_seqs(*fork)?;
            }
            session.reload_listings()?;
            session.reload_files(outdated)?;
            session.note_new_places()?;
            let shown = RemoteWork { kv: vec![(UNSHOWN.to_owned(), None)], ..RemoteWork::default() };
            Ok(session.core.journal.submit_remote(shown)?)
        })?;
        *loading = None;
        Ok(())
    }
}
