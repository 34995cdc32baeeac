//! Owns applying what others did: a consistent cut of the journal, a listed folder, a full pull.

use super::Tree;
use super::error::TreeError;
use super::happened::Happened;
use super::history::{self, Loaded};
use super::load::Session;
use super::notify::Invalidation;
use crate::meta::rows::Ino;
use crate::meta::{RemoteWork, Staged, StagedChanges};
use std::collections::HashSet;
use tarn_proto::api::{ChildEntry, ChildrenResponse};
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;

/// Entries of a listed folder that are taken in under one lock.
const LISTED_AT_ONCE: usize = 2_048;

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    /// Entries that a new listing no longer has, as changes.
    fn vanished(&mut self, node: NodeId, listing: &HashSet<Name>, seq: u64) -> Result<Vec<Change>> {
        let known = self.core.reader()?.remote_children(node)?;
        let mut names: HashSet<Name> = known.into_iter().filter(|row| row.seq <= seq).map(|row| row.name).collect();
        for (name, row) in self.state.pending.entries_of(node).filter(|(_, row)| row.seq <= seq) {
            if row.value.is_some() {
                names.insert(name.clone())
            } else {
                names.remove(name)
            };
        }
        let gone = names.difference(listing).cloned();
        Ok(gone.map(|name| Change { seq, row: Row::Entry { parent: node, name, node: None } }).collect())
    }

    /// Compares every loaded listing with the rows, after they were replaced as a whole.
    fn reload_listings(&mut self) -> Result<()> {
        let loaded: Vec<Ino> =
            self.state.inodes.iter().filter(|(_, inode)| inode.dir.is_some()).map(|(ino, _)| *ino).collect();
        self.reload_nodes()?;
        self.reload_links()?;
        for ino in loaded {
            let Some(old) = self.state.inodes.get_mut(&ino).and_then(|inode| inode.dir.take()) else { continue };
            let mut names: Vec<Name> = old.iter().map(|(name, _)| name.clone()).collect();
            let before = old.clone();
            if let Some(inode) = self.state.inodes.get_mut(&ino) {
                inode.dir = Some(old);
            }
            names.extend(self.effective_names(ino)?);
            names.sort();
            names.dedup();
            let shown = |name| (before.get(&name).map(|child| child.ino), name);
            let names = names.into_iter().map(shown).map(|(old, name)| (name, old)).collect();
            self.renamed_in_listing(ino, names)?;
        }
        Ok(())
    }

    /// Tells the kernel what a full pull changed of what memory does not hold.
    fn tell_swept(&mut self, changed: &StagedChanges) {
        let mut parents = HashSet::new();
        for (parent, name, child) in &changed.entries {
            self.invalidations.push(Invalidation::Entry { parent: *parent, name: name.clone() });
            self.invalidations.extend(child.map(Invalidation::Attributes));
            if parents.insert(*parent) {
                self.invalidations.push(Invalidation::Content(*parent));
            }
        }
        let swept = changed.nodes.iter().filter(|ino| self.state.swept.contains(**ino));
        self.invalidations.extend(swept.map(|ino| Invalidation::Content(*ino)));
    }

    fn effective_names(&mut self, ino: Ino) -> Result<Vec<Name>> {
        let Some(node) = self.inode(ino)?.node else { return Ok(Vec::new()) };
        Ok(self.core.reader()?.remote_children(node)?.into_iter().map(|row| row.name).collect())
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

    /// Brings files, in memory or not, to the versions that the rows say.
    fn reload_files(&mut self, inos: Vec<Ino>) -> Result<()> {
        for ino in inos {
            let node = match self.inode(ino) {
                Err(TreeError::NotFound) => continue,
                inode => inode?.node,
            };
            if let Some(node) = node {
                let remote = self.remote_node(node)?;
                self.reload_node(ino, remote)?;
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
    /// What the disk and the database say.
    pub fn finish_load(&self, loaded: Loaded) -> Result<()> {
        let Loaded { upto, epochs, fork } = loaded;
        // The kernel knows more than memory: what was swept, and names that were looked up alone.
        let changed = self.core.reader()?.staged_changes()?;
        let work = RemoteWork {
            staged: if fork.is_some() { Staged::ReplaceAll } else { Staged::Replace },
            cursor: Some((self.identity().space, upto)),
            kv: vec![history::kept(&epochs)?],
            ..RemoteWork::default()
        };
        let position = self.core.journal.submit_remote(work)?;
        self.core.journal.drain()?;
        let outdated = self.outdated_files()?;
        self.edit(|session| {
            session.tidy();
            // Listings that are being read are of before.
            session.state.let_go = session.state.let_go.max(position);
            session.state.cursor = Some(upto);
            session.tell_swept(&changed);
            if let Some(fork) = fork {
                session.forget_lost_seqs(fork)?;
            }
            session.reload_listings()?;
            session.reload_files(outdated)
        })
    }

    /// Takes in a folder as the server listed it (all pages joined). A large one comes in parts, each of which is true by
    /// itself; only with the last is the folder listed.
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn list_folder(&self, node: NodeId, listing: ChildrenResponse) -> Result<()> {
        let names: HashSet<Name> = listing.children.iter().map(|child| child.name.clone()).collect();
        let mut rest = listing.children;
        while rest.len() > LISTED_AT_ONCE {
            let part = rest.split_off(rest.len() - LISTED_AT_ONCE);
            let work = RemoteWork { changes: rows_of(node, part), ..RemoteWork::default() };
            self.edit(|session| {
                session.absorb(work, Vec::new())?;
                session.happened = Happened::default();
                Ok(())
            })?;
            // What has come into the database need not stay in memory.
            self.core.journal.drain()?;
            self.with(|session| session.tidy());
        }
        self.edit(|session| {
            let mut changes = session.vanished(node, &names, listing.seq)?;
            changes
                .push(Change { seq: listing.node_seq, row: Row::Node { node, state: Some(Box::new(listing.node)) } });
            changes.extend(rows_of(node, rest));
            let work = RemoteWork { changes, listed: vec![(node, listing.seq)], ..RemoteWork::default() };
            session.absorb(work, Vec::new())?;
            session.state.listed.insert(node);
            // Getting to know a folder is no change.
            session.happened = Happened::default();
            Ok(())
        })
    }
}

fn rows_of(folder: NodeId, children: Vec<ChildEntry>) -> Vec<Change> {
    let rows = children.into_iter().flat_map(|child| {
        let (node, name) = (child.node, child.name);
        let state = Row::Node { node, state: Some(Box::new(child.state)) };
        let entry = Row::Entry { parent: folder, name, node: Some(node) };
        [Change { seq: child.node_seq, row: state }, Change { seq: child.entry_seq, row: entry }]
    });
    rows.collect()
}
