//! Owns taking in a folder as the server lists it, page by page and in the order of names; what has come can be read meanwhile
//! (`growing`). What nobody here knows yet comes in the quick way: its rows, its number and its place in the listing at once,
//! without asking for anything of each. Everything else is absorbed as any change is.

use super::Tree;
use super::error::TreeError;
use super::happened::Happened;
use super::load::Session;
use super::state::Inode;
use super::types::NodeType;
use crate::journal::Rush;
use crate::meta::RemoteWork;
use crate::meta::rows::{Ino, InodeRow, RowChange};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
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
    /// Nothing was known of what is in the folder when this began.
    is_new: bool,
    is_over: bool,
    progress: u64,
    /// From the second page on.
    rush: Option<Rush>,
}

impl Listing {
    /// Nothing of it yet; it is as of `seq`.
    pub fn new(node: NodeId, seq: u64) -> Self {
        Self { node, seq, names: Vec::new(), is_new: false, is_over: false, progress: 0, rush: None }
    }

    /// What has been taken in: see [`Unlisted`](super::Unlisted).
    pub fn progress(&self) -> u64 {
        self.progress
    }

    /// Whether the rest of it is of no use any more: the whole tree was taken in as of later.
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

/// What else was said of the names of a folder since its listing was begun.
#[derive(Debug, Default)]
struct Said {
    names: BTreeSet<Name>,
    /// All rows were replaced.
    is_all: bool,
}

/// Folders that are being listed.
#[derive(Debug, Default)]
pub(super) struct Listings {
    said: HashMap<NodeId, Said>,
    /// The folder of which a page is being taken in: what that says is nothing else.
    taking: Option<NodeId>,
    /// Of all folders; see [`Unlisted`](super::Unlisted).
    progress: u64,
}

impl Listings {
    pub(super) fn is_under_way(&self, folder: NodeId) -> bool {
        self.said.contains_key(&folder)
    }

    /// Whether nothing else was said of names behind this one.
    fn is_quiet_behind(&self, folder: NodeId, last: Option<&Name>) -> bool {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let said = self.said.get(&folder).filter(|said| !said.is_all);
        said.is_some_and(|said| said.names.range((from, Bound::Unbounded)).next().is_none())
    }

    /// Rows were applied that no listing brought.
    pub(super) fn note(&mut self, changes: &[Change]) {
        if self.said.is_empty() {
            return;
        }
        for change in changes {
            if let Row::Entry { parent, name, .. } = &change.row
                && self.taking != Some(*parent)
                && let Some(said) = self.said.get_mut(parent)
            {
                said.names.insert(name.clone());
            }
        }
    }

    /// All rows were replaced.
    pub(super) fn note_all(&mut self) {
        self.said.values_mut().for_each(|said| said.is_all = true);
    }

    fn next_progress(&mut self) -> u64 {
        self.progress += 1;
        self.progress
    }
}

impl Session<'_> {
    /// Begins a listing; the quick way is open if nothing is known of what is in the folder.
    fn begin_listing(&mut self, listing: &mut Listing) -> Result<()> {
        let node = listing.node;
        listing.is_new =
            !self.core.reader()?.has_more_entries(node, 0)? && self.state.pending.entries_of(node).next().is_none();
        self.state.listings.said.insert(node, Said::default());
        match self.known_ino(node)? {
            Some(folder) => self.begin_growing(folder),
            None => Ok(()),
        }
    }

    /// Takes in some of a folder's children.
    fn take_children(&mut self, listing: &mut Listing, children: Vec<ChildEntry>) -> Result<()> {
        listing.is_over = self.is_outdated(listing);
        if listing.is_over {
            return Ok(());
        }
        let folder = listing.node;
        let names: Vec<Name> = children.iter().map(|child| child.name.clone()).collect();
        if !listing.names.is_empty() && listing.rush.is_none() {
            listing.rush = Some(self.core.journal.rush());
        }
        let parent = self.known_ino(folder)?;
        match parent {
            Some(parent) if self.is_quick(listing, parent, &children)? => self.learn(folder, parent, children)?,
            _ => {
                let changes = self.news(rows_of(folder, children))?;
                let work = RemoteWork { changes, ..RemoteWork::default() };
                self.state.listings.taking = Some(folder);
                let absorbed = self.absorb(work, Vec::new());
                self.state.listings.taking = None;
                absorbed?;
                parent.map_or(Ok(()), |parent| self.grow_from_rows(parent, &names))?;
            }
        }
        listing.progress = self.state.listings.next_progress();
        self.state.listed_names += names.len();
        parent.map_or(Ok(()), |parent| self.note_grown(parent, names.last(), listing.progress))?;
        listing.names.extend(names);
        // Getting to know a folder is no change.
        self.happened = Happened::default();
        // What has come into the database need not stay in memory.
        self.tidy();
        Ok(())
    }

    /// Whether these children can be taken in without asking for anything of each: nobody has heard of them or of their names.
    fn is_quick(&mut self, listing: &Listing, parent: Ino, children: &[ChildEntry]) -> Result<bool> {
        let is_quiet = listing.is_new && self.state.listings.is_quiet_behind(listing.node, listing.names.last());
        if !is_quiet || self.inode(parent)?.dir.is_some() || self.is_listed(parent)? {
            return Ok(false);
        }
        let has_ops = self.state.queue.touches_dir(parent);
        let is_local = |name: &Name| {
            self.state.overlay.get(parent, name).is_some()
                || (has_ops && self.state.queue.of_place(parent, name).next().is_some())
        };
        if children.iter().any(|child| is_local(&child.name)) {
            return Ok(false);
        }
        let growing = self.inode(parent)?.growing.as_ref();
        let has_grown = |child: &ChildEntry| growing.is_some_and(|growing| growing.dir.get(&child.name).is_some());
        Ok(!children.iter().any(has_grown) && self.are_unknown(listing.node, children)?)
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

    /// Without the rows of which newer ones are known: answers come in between, and may be in the database by now.
    fn news(&mut self, changes: Vec<Change>) -> Result<Vec<Change>> {
        let mut news = Vec::with_capacity(changes.len());
        for change in changes {
            let known = match &change.row {
                Row::Node { node, .. } => self.remote_seq(*node)?,
                Row::Entry { parent, name, .. } => self.known_entry(*parent, name)?.map(|(seq, _)| seq),
                Row::Alias { .. } | Row::Conflict { .. } => None,
            };
            if known.is_none_or(|known| known <= change.seq) {
                news.push(change);
            }
        }
        Ok(news)
    }

    /// Takes in children that nobody here has heard of, in one unit of work.
    fn learn(&mut self, folder: NodeId, parent: Ino, children: Vec<ChildEntry>) -> Result<()> {
        let mut known = Vec::with_capacity(children.len());
        let mut rows = Vec::with_capacity(children.len());
        for child in &children {
            let ino = self.state.next_ino();
            known.push((ino, child.node, child.name.clone(), NodeType::from(&child.state.kind)));
            let row = InodeRow { node: Some(child.node), ..InodeRow::default() };
            rows.push(RowChange::Inode(ino, Some(row)));
        }
        let changes = rows_of(folder, children);
        let work = RemoteWork { changes: changes.clone(), rows, ..RemoteWork::default() };
        let position = self.core.journal.submit_remote(work)?;
        self.state.pending.add(&changes, position);
        for (ino, node, name, node_type) in known {
            let remote = self.state.pending.node(node).and_then(|pending| pending.value.clone());
            if let Some(growing) = self.state.inodes.get_mut(&parent).and_then(|inode| inode.growing.as_mut()) {
                growing.dir.grow(&name, ino, node_type);
            }
            let links = Some(vec![(parent, name)]);
            self.state.by_node.insert(node, ino);
            let inode = Inode { node: Some(node), remote, links, touched: position, ..Inode::default() };
            self.state.inodes.insert(ino, Box::new(inode));
        }
        Ok(())
    }

    /// The folder is listed, with `head` as the server has it.
    fn end_listing(&mut self, listing: Listing, head: ChildrenResponse) -> Result<()> {
        let node = listing.node;
        let said = self.state.listings.said.remove(&node).unwrap_or_default();
        if self.is_outdated(&listing) {
            return Ok(());
        }
        let mut changes = match listing.is_new && !said.is_all {
            true => self.vanished_of(&listing, &said.names)?,
            false => self.vanished(&listing)?,
        };
        changes.push(Change { seq: head.node_seq, row: Row::Node { node, state: Some(Arc::new(head.node)) } });
        let work = RemoteWork { changes, listed: vec![(node, listing.seq)], ..RemoteWork::default() };
        self.absorb(work, Vec::new())?;
        self.state.listed.insert(node);
        if let Some(folder) = self.known_ino(node)? {
            self.grow_from_rows(folder, &said.names)?;
            self.end_growing(folder)?;
        }
        self.happened = Happened::default();
        Ok(())
    }

    /// Those of these names of which something is known that the listing no longer has, as changes.
    fn vanished_of(&mut self, listing: &Listing, names: &BTreeSet<Name>) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for name in names.iter().filter(|name| listing.names.binary_search(name).is_err()) {
            let known = self.known_entry(listing.node, name)?;
            if known.is_some_and(|(seq, node)| node.is_some() && seq <= listing.seq) {
                changes.push(gone(listing, name.clone()));
            }
        }
        Ok(changes)
    }

    /// Entries that a new listing no longer has, as changes.
    fn vanished(&mut self, listing: &Listing) -> Result<Vec<Change>> {
        let (node, seq) = (listing.node, listing.seq);
        let known = self.core.reader()?.remote_children(node)?;
        let mut names: HashSet<Name> = known.into_iter().filter(|row| row.seq <= seq).map(|row| row.name).collect();
        for (name, row) in self.state.pending.entries_of(node).filter(|(_, row)| row.seq <= seq) {
            if row.value.is_some() {
                names.insert(name.clone())
            } else {
                names.remove(name)
            };
        }
        names.retain(|name| listing.names.binary_search(name).is_err());
        Ok(names.into_iter().map(|name| gone(listing, name)).collect())
    }
}

fn gone(listing: &Listing, name: Name) -> Change {
    Change { seq: listing.seq, row: Row::Entry { parent: listing.node, name, node: None } }
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

    /// Takes in a page of the listing: its names come after those of the pages before, in their order. What it says is true by
    /// itself, whatever becomes of the rest.
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
        let state = Row::Node { node, state: Some(Arc::new(child.state)) };
        let entry = Row::Entry { parent: folder, name, node: Some(node) };
        [Change { seq: child.node_seq, row: state }, Change { seq: child.entry_seq, row: entry }]
    });
    rows.collect()
}
