//! Owns taking in a folder as the server lists it, page by page. What nobody here knows yet, in a folder that nobody has looked
//! into, comes in the quick way: its rows, its number and its place in the listing at once, without asking for anything of each.
//! Everything else is absorbed as any change is.

use super::Tree;
use super::error::TreeError;
use super::happened::Happened;
use super::listing::Dir;
use super::load::Session;
use super::state::Inode;
use super::types::NodeType;
use crate::meta::RemoteWork;
use crate::meta::rows::{Ino, InodeRow, RowChange};
use std::collections::{HashMap, HashSet};
use tarn_proto::api::{ChildEntry, ChildrenResponse};
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;

type Result<T> = std::result::Result<T, TreeError>;

/// Entries that are taken in under one lock.
const TAKEN_AT_ONCE: usize = 2_048;

/// A folder that is being listed: what has come of it so far.
#[derive(Debug)]
pub struct Listing {
    node: NodeId,
    seq: u64,
    names: Vec<Name>,
    /// What the names stand for, while all of them came the quick way.
    shown: Option<Vec<(Ino, NodeType)>>,
}

impl Listing {
    /// Nothing of it yet; it is as of `seq`.
    pub fn new(node: NodeId, seq: u64) -> Self {
        Self { node, seq, names: Vec::new(), shown: None }
    }

    /// As a folder's listing; `None` if not all of it is known, or it is not in order.
    fn as_dir(&self) -> Option<Dir> {
        let shown = self.shown.as_ref().filter(|_| self.names.is_sorted())?;
        let mut dir = Dir::default();
        self.names.iter().zip(shown).for_each(|(name, (ino, node_type))| dir.set(name, *ino, *node_type));
        Some(dir)
    }
}

/// Folders that are being listed, each with whether anything else was said of its names meanwhile.
#[derive(Debug, Default)]
pub(super) struct Listings(HashMap<NodeId, bool>);

impl Listings {
    fn begin(&mut self, folder: NodeId) {
        self.0.insert(folder, false);
    }

    /// Whether nothing else was said of its names since it was begun.
    fn is_alone(&self, folder: NodeId) -> bool {
        self.0.get(&folder) == Some(&false)
    }

    fn end(&mut self, folder: NodeId) -> bool {
        self.0.remove(&folder) == Some(false)
    }

    /// Rows were applied that no listing brought.
    pub(super) fn note(&mut self, changes: &[Change]) {
        if self.0.is_empty() {
            return;
        }
        for change in changes {
            if let Row::Entry { parent, .. } = &change.row
                && let Some(is_disturbed) = self.0.get_mut(parent)
            {
                *is_disturbed = true;
            }
        }
    }

    /// All rows were replaced.
    pub(super) fn note_all(&mut self) {
        self.0.values_mut().for_each(|is_disturbed| *is_disturbed = true);
    }
}

impl Session<'_> {
    /// Begins a listing; the quick way is open if nothing is known of what is in the folder.
    fn begin_listing(&mut self, listing: &mut Listing) -> Result<()> {
        let node = listing.node;
        let is_new =
            !self.core.reader()?.has_more_entries(node, 0)? && self.state.pending.entries_of(node).next().is_none();
        if is_new {
            self.state.listings.begin(node);
            listing.shown = Some(Vec::new());
        }
        Ok(())
    }

    /// Takes in some of a folder's children.
    fn take_children(&mut self, listing: &mut Listing, children: Vec<ChildEntry>) -> Result<()> {
        if self.is_outdated(listing) {
            return Ok(());
        }
        let folder = listing.node;
        listing.names.extend(children.iter().map(|child| child.name.clone()));
        let parent = self.known_ino(folder)?;
        let is_quick = listing.shown.is_some() && self.state.listings.is_alone(folder);
        match parent {
            Some(parent) if is_quick && !self.is_seen_inside(parent)? && self.are_unknown(folder, &children)? => {
                let shown = self.learn(folder, parent, children)?;
                listing.shown.as_mut().into_iter().for_each(|all| all.extend_from_slice(&shown));
            }
            _ => {
                listing.shown = None;
                let work = RemoteWork { changes: rows_of(folder, children), ..RemoteWork::default() };
                self.absorb(work, Vec::new())?;
            }
        }
        // Getting to know a folder is no change.
        self.happened = Happened::default();
        // What has come into the database need not stay in memory.
        self.tidy();
        Ok(())
    }

    /// Whether all that the listing says has been known since, and of what went meanwhile no row is left.
    fn is_outdated(&self, listing: &Listing) -> bool {
        self.state.cursor.is_some_and(|cursor| cursor.seq >= listing.seq)
    }

    /// Whether nobody here has heard of these children, nor of their names; nor do two of them stand for the same node.
    fn are_unknown(&mut self, folder: NodeId, children: &[ChildEntry]) -> Result<bool> {
        let is_in_memory = |child: &ChildEntry| {
            self.state.by_node.contains_key(&child.node)
                || self.state.pending.node(child.node).is_some()
                || self.state.pending.entry(folder, &child.name).is_some()
        };
        let nodes: HashSet<NodeId> = children.iter().map(|child| child.node).collect();
        if nodes.len() < children.len() || children.iter().any(is_in_memory) {
            return Ok(false);
        }
        let nodes: Vec<NodeId> = nodes.into_iter().collect();
        Ok(!self.core.reader()?.knows_any(&nodes)?)
    }

    /// Takes in children that nobody here has heard of, in one unit of work; gives what their names stand for.
    fn learn(&mut self, folder: NodeId, parent: Ino, children: Vec<ChildEntry>) -> Result<Vec<(Ino, NodeType)>> {
        let mut shown = Vec::with_capacity(children.len());
        let mut known = Vec::with_capacity(children.len());
        let mut rows = Vec::with_capacity(children.len());
        for child in &children {
            let ino = self.state.next_ino();
            shown.push((ino, NodeType::from(&child.state.kind)));
            known.push((ino, child.node, child.name.clone()));
            let row = InodeRow { node: Some(child.node), ..InodeRow::default() };
            rows.push(RowChange::Inode(ino, Some(row)));
        }
        let changes = rows_of(folder, children);
        let work = RemoteWork { changes: changes.clone(), rows, ..RemoteWork::default() };
        let position = self.core.journal.submit_remote(work)?;
        self.state.pending.add(&changes, position);
        for (ino, node, name) in known {
            let remote = self.state.pending.node(node).and_then(|pending| pending.value.clone());
            let links = Some(vec![(parent, name)]);
            self.state.by_node.insert(node, ino);
            self.state
                .inodes
                .insert(ino, Inode { node: Some(node), remote, links, touched: position, ..Inode::default() });
        }
        Ok(shown)
    }

    /// The folder is listed, with `head` as the server has it.
    fn end_listing(&mut self, listing: Listing, head: ChildrenResponse) -> Result<()> {
        let node = listing.node;
        let is_alone = self.state.listings.end(node);
        if self.is_outdated(&listing) {
            return Ok(());
        }
        let folder = self.known_ino(node)?;
        let is_seen = folder.map(|ino| self.is_seen_inside(ino)).transpose()?.unwrap_or(true);
        let dir = listing.as_dir().filter(|_| is_alone && !is_seen);
        let mut changes = Vec::new();
        if dir.is_none() {
            let names: HashSet<Name> = listing.names.into_iter().collect();
            changes = self.vanished(node, &names, listing.seq)?;
        }
        changes.push(Change { seq: head.node_seq, row: Row::Node { node, state: Some(Box::new(head.node)) } });
        let work = RemoteWork { changes, listed: vec![(node, listing.seq)], ..RemoteWork::default() };
        self.absorb(work, Vec::new())?;
        self.state.listed.insert(node);
        if let (Some(ino), Some(dir)) = (folder, dir) {
            self.hold_listing(ino, dir)?;
        }
        self.happened = Happened::default();
        Ok(())
    }

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
}

impl Tree {
    /// Begins to take in a folder as the server lists it as of `seq`; end it with [`Self::end_listing`], or drop it.
    ///
    /// # Errors
    /// What the database says.
    pub fn begin_listing(&self, node: NodeId, seq: u64) -> Result<Listing> {
        let mut listing = Listing::new(node, seq);
        self.look(|session| session.begin_listing(&mut listing))?;
        Ok(listing)
    }

    /// Takes in a page of the listing. What it says is true by itself, whatever becomes of the rest.
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn list_children(&self, mut listing: Listing, children: Vec<ChildEntry>) -> Result<Listing> {
        let mut rest = children.into_iter();
        loop {
            let part: Vec<ChildEntry> = rest.by_ref().take(TAKEN_AT_ONCE).collect();
            if part.is_empty() {
                return Ok(listing);
            }
            self.edit(|session| session.take_children(&mut listing, part))?;
        }
    }

    /// All children have been taken in: only now the folder is listed. `head` says of the folder itself what the first page said;
    /// its children are not looked at.
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn end_listing(&self, listing: Listing, head: ChildrenResponse) -> Result<()> {
        self.edit(|session| session.end_listing(listing, head))
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
