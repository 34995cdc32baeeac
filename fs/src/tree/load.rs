//! Owns bringing inodes and listings into memory: the database's rows, with what is pending laid over.

use super::core::Core;
use super::error::TreeError;
use super::happened::Happened;
use super::listing::Dir;
use super::notify::Invalidation;
use super::state::{Inode, State};
use super::types::NodeType;
use crate::content::LocalContent;
use crate::meta::rows::{Ino, InodeRow, ROOT, RowChange};
use crate::meta::{ChildRow, KnownInode, Reader};
use std::collections::BTreeMap;
use std::sync::Arc;
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, NodeKind, NodeState};

type Result<T> = std::result::Result<T, TreeError>;

/// The state with what it stands on; all of the tree's work happens through one of these.
pub(super) struct Session<'a> {
    pub state: &'a mut State,
    pub core: &'a Core,
    /// What the kernel must forget once the lock is gone.
    pub invalidations: Vec<Invalidation>,
    /// What programs that watch are told then.
    pub happened: Happened,
}

/// The root before the server spoke of it.
pub(super) fn unlisted_root() -> Arc<NodeState> {
    Arc::new(NodeState { kind: NodeKind::Dir, attrs: Attrs { mode: 0o755, ..Attrs::default() }, file: None })
}

impl Session<'_> {
    /// An inode, loaded.
    pub fn inode(&mut self, ino: Ino) -> Result<&mut Inode> {
        if !self.state.inodes.contains_key(&ino) {
            if self.state.gone.contains_key(&ino) {
                return Err(TreeError::NotFound);
            }
            let known = self.core.reader()?.known_inode(ino)?.ok_or(TreeError::NotFound)?;
            self.insert_known(ino, known);
        }
        self.state.inodes.get_mut(&ino).map(Box::as_mut).ok_or(TreeError::NotFound)
    }

    fn insert_known(&mut self, ino: Ino, known: KnownInode) {
        let KnownInode { row, state, place } = known;
        let pending = row.node.and_then(|node| self.state.pending.node(node));
        let remote = pending.map_or_else(|| state.map(Arc::new), |pending| pending.value.clone());
        let place = row.node.and_then(|node| self.only_place(ino, node, place?));
        self.insert_inode(ino, row, remote);
        if let Some(inode) = self.state.inodes.get_mut(&ino) {
            inode.links = place.map(|place| vec![place]);
        }
    }

    /// The one name that the database knows of a node, if that is its one name here and its folder has an inode.
    fn only_place(&self, ino: Ino, node: NodeId, place: (NodeId, Name, Option<Ino>)) -> Option<(Ino, Name)> {
        let (parent, name, stored) = place;
        let has_others =
            self.state.overlay.of_ino(ino).next().is_some() || self.state.pending.places_of(node).next().is_some();
        if has_others || self.state.pending.entry(parent, &name).is_some() {
            return None;
        }
        // Memory is newer than what is stored.
        let is_newer = |stored: &Ino| self.state.inodes.contains_key(stored) || self.state.gone.contains_key(stored);
        let parent = self.state.by_node.get(&parent).copied().or(stored.filter(|stored| !is_newer(stored)))?;
        self.state.overlay.get(parent, &name).is_none().then_some((parent, name))
    }

    fn insert_inode(&mut self, ino: Ino, row: InodeRow, remote: Option<Arc<NodeState>>) {
        if let Some(node) = row.node {
            self.state.by_node.insert(node, ino);
        }
        let remote = remote.or_else(|| (ino == ROOT).then(unlisted_root));
        let InodeRow { node, local, content, pinned, taken } = row;
        // How often an earlier daemon told the kernel of it is not known, but the kernel says when it forgets it.
        let kernel_refs = u64::from(ino.0 <= self.state.inherited_max);
        let mut known =
            Inode { node, local, remote, pinned, taken, content_no: content, kernel_refs, ..Inode::default() };
        self.state.swept.recall(ino, &mut known);
        self.state.inodes.insert(ino, Box::new(known));
    }

    /// A node's remote state; `None` when it is gone or was never spoken of.
    pub fn remote_node(&self, node: NodeId) -> Result<Option<Arc<NodeState>>> {
        if let Some(pending) = self.state.pending.node(node) {
            return Ok(pending.value.clone());
        }
        Ok(self.core.reader()?.remote_node(node)?.and_then(|row| row.state).map(Arc::new))
    }

    /// Since when a node's remote state is what is known; `None` if the server never spoke of it.
    pub fn remote_seq(&self, node: NodeId) -> Result<Option<u64>> {
        if let Some(pending) = self.state.pending.node(node) {
            return Ok(Some(pending.seq));
        }
        Ok(self.core.reader()?.remote_node(node)?.map(|row| row.seq))
    }

    /// What a name stands for on the server.
    pub fn remote_entry(&self, parent: NodeId, name: &Name) -> Result<Option<NodeId>> {
        Ok(self.known_entry(parent, name)?.and_then(|(_, node)| node))
    }

    /// What is known of an entry on the server, and since when.
    pub fn known_entry(&self, parent: NodeId, name: &Name) -> Result<Option<(u64, Option<NodeId>)>> {
        if let Some(pending) = self.state.pending.entry(parent, name) {
            return Ok(Some((pending.seq, pending.value)));
        }
        Ok(self.core.reader()?.remote_entry(parent, name)?.map(|row| (row.seq, row.node)))
    }

    /// The inode that shows a node, if it has one.
    pub fn known_ino(&mut self, node: NodeId) -> Result<Option<Ino>> {
        if let Some(&ino) = self.state.by_node.get(&node) {
            return Ok(Some(ino));
        }
        let Some((ino, known)) = self.core.reader()?.known_inode_of(node)? else { return Ok(None) };
        // Memory is newer: the inode is gone by now, or shows another node.
        if self.state.inodes.contains_key(&ino) || self.state.gone.contains_key(&ino) {
            return Ok(None);
        }
        self.insert_known(ino, known);
        Ok(Some(ino))
    }

    /// The inode that shows a node; gives it a number if it has none.
    pub fn ino_of(&mut self, node: NodeId) -> Result<Ino> {
        if let Some(ino) = self.known_ino(node)? {
            return Ok(ino);
        }
        let remote = self.remote_node(node)?;
        let (ino, change) = self.new_number(node, remote);
        self.commit_numbers(vec![change])?;
        Ok(ino)
    }

    pub(super) fn new_number(&mut self, node: NodeId, remote: Option<Arc<NodeState>>) -> (Ino, RowChange) {
        let ino = self.state.next_ino();
        let row = InodeRow { node: Some(node), ..InodeRow::default() };
        self.insert_inode(ino, row.clone(), remote);
        (ino, RowChange::Inode(ino, Some(row)))
    }

    pub(super) fn commit_numbers(&mut self, changes: Vec<RowChange>) -> Result<()> {
        let inos: Vec<Ino> =
            changes.iter().filter_map(|c| if let RowChange::Inode(ino, _) = c { Some(*ino) } else { None }).collect();
        let position = self.core.journal.commit(changes, Vec::new())?;
        for ino in inos {
            if let Some(inode) = self.state.inodes.get_mut(&ino) {
                inode.touched = position;
            }
        }
        Ok(())
    }

    /// Whether all names of a directory are known here.
    pub fn is_listed(&mut self, ino: Ino) -> Result<bool> {
        let complete = self.state.cursor.is_some();
        let inode = self.inode(ino)?;
        let Some(node) = inode.node else { return Ok(true) };
        let made_here = inode.remote.is_none() && inode.local.is_some();
        Ok(complete || made_here || self.state.listed.contains(&node) || self.core.reader()?.listed(node)?.is_some())
    }

    /// A directory's listing, loaded.
    pub fn dir(&mut self, ino: Ino) -> Result<&mut Dir> {
        let inode = self.inode(ino)?;
        if !inode.is_dir() {
            return Err(TreeError::NotADirectory);
        }
        if inode.dir.is_none() {
            let node = inode.node;
            if !self.is_listed(ino)? {
                return Err(self.unlisted(ino)?);
            }
            match node {
                Some(node) if self.is_large(ino)? => self.load_large(ino, node)?,
                _ => {
                    let dir = self.load_dir(ino, node)?;
                    self.hold_listing(ino, dir)?;
                }
            }
        }
        self.inode(ino)?.dir.as_deref_mut().ok_or(TreeError::NotADirectory)
    }

    /// Keeps a listing that was loaded. The kernel may have one of its own, with the cookies of a plain one.
    pub(super) fn hold_listing(&mut self, ino: Ino, mut dir: Dir) -> Result<()> {
        if self.state.overlay.of_parent(ino).next().is_none() {
            dir.note_plain();
        }
        let dir = self.grown_into(ino, dir)?;
        self.state.listed_names += dir.len();
        let (is_plain, inode) = (dir.is_plain(), self.inode(ino)?);
        inode.dir = Some(Box::new(dir));
        if !is_plain && inode.kernel_refs > 0 {
            self.invalidations.push(Invalidation::Content(ino));
        }
        Ok(())
    }

    fn load_dir(&mut self, ino: Ino, node: Option<NodeId>) -> Result<Dir> {
        let mut rows = match node {
            Some(node) => self.remote_children(node)?,
            None => BTreeMap::new(),
        };
        let hidden: Vec<Name> = self.state.overlay.of_parent(ino).map(|(name, _)| name.clone()).collect();
        for name in hidden {
            rows.remove(&name);
        }
        let mut dir = Dir::default();
        let mut numbers = Vec::new();
        for (name, child) in rows {
            let child_ino = self.child_ino(ino, &name, child, &mut numbers)?;
            let node_type = self.node_type(child_ino)?;
            dir.set(&name, child_ino, node_type);
        }
        if !numbers.is_empty() {
            self.commit_numbers(numbers)?;
        }
        self.lay_local(ino, &mut dir)?;
        Ok(dir)
    }

    /// Lays a folder's local entries over its listing.
    pub(super) fn lay_local(&mut self, ino: Ino, dir: &mut Dir) -> Result<()> {
        let local: Vec<(Name, Ino)> =
            self.state.overlay.of_parent(ino).filter_map(|(name, row)| Some((name.clone(), row.ino?))).collect();
        for (name, child_ino) in local {
            let node_type = self.node_type(child_ino)?;
            dir.set(&name, child_ino, node_type);
        }
        Ok(())
    }

    /// The remote entries of a directory, pending ones included.
    pub(super) fn remote_children(&mut self, node: NodeId) -> Result<BTreeMap<Name, ChildRow>> {
        let reader = self.core.reader()?;
        let mut rows: BTreeMap<Name, ChildRow> =
            reader.children_with_inodes(node)?.into_iter().map(|row| (row.name.clone(), row)).collect();
        let pending: Vec<(Name, Option<NodeId>)> =
            self.state.pending.entries_of(node).map(|(name, row)| (name.clone(), row.value)).collect();
        for (name, child) in pending {
            match child {
                Some(child) => rows.insert(name.clone(), self.pending_child(&reader, name, child)?),
                None => rows.remove(&name),
            };
        }
        Ok(rows)
    }

    fn pending_child(&self, reader: &Reader, name: Name, node: NodeId) -> Result<ChildRow> {
        let state = match self.state.pending.node(node) {
            Some(pending) => pending.value.as_deref().cloned(),
            None => reader.remote_node(node)?.and_then(|row| row.state),
        };
        // Another number of links than one makes the loader look them up.
        Ok(ChildRow { name, node, state, inode: reader.inode_of(node)?, link_count: 0 })
    }

    fn child_ino(&mut self, parent: Ino, name: &Name, child: ChildRow, numbers: &mut Vec<RowChange>) -> Result<Ino> {
        if let Some(&ino) = self.state.by_node.get(&child.node) {
            return Ok(ino);
        }
        let remote = match self.state.pending.node(child.node) {
            Some(pending) => pending.value.clone(),
            None => child.state.map(Arc::new),
        };
        let ino = match child.inode {
            Some((ino, row)) if !self.state.inodes.contains_key(&ino) && !self.state.gone.contains_key(&ino) => {
                self.insert_inode(ino, row, remote);
                ino
            }
            _ => {
                let (ino, change) = self.new_number(child.node, remote);
                numbers.push(change);
                ino
            }
        };
        let folder = self.inode(parent)?.node;
        let is_other = |(other, other_name): &(NodeId, Name)| Some(*other) != folder || other_name != name;
        let elsewhere =
            self.state.pending.places_of(child.node).any(is_other) || self.state.overlay.of_ino(ino).next().is_some();
        let alone = child.link_count == 1 && !elsewhere;
        if alone && let Some(inode) = self.state.inodes.get_mut(&ino) {
            inode.links = Some(vec![(parent, name.clone())]);
        }
        Ok(ino)
    }

    pub fn node_type(&mut self, ino: Ino) -> Result<NodeType> {
        Ok(self.inode(ino)?.kind().map_or(NodeType::File, NodeType::from))
    }

    /// What a name stands for as programs see it; loads the folder if need be.
    pub fn child(&mut self, parent: Ino, name: &Name) -> Result<Option<Ino>> {
        if let Some(known) = self.known_child(parent, name)? {
            return Ok(known);
        }
        Ok(self.dir(parent)?.get(name).map(|child| child.ino))
    }

    /// The same for a call that only looks: as long as few names of a folder are asked for, its listing is not needed.
    pub fn child_seen(&mut self, parent: Ino, name: &Name) -> Result<Option<Ino>> {
        if let Some(known) = self.known_child(parent, name)? {
            return Ok(known);
        }
        self.listable(parent)?;
        if self.inode(parent)?.dir.is_some() || self.is_worth_listing(parent)? {
            return self.child(parent, name);
        }
        self.effective(parent, name)
    }

    /// What a name stands for by the rows, whatever the loaded listing says.
    pub fn effective(&mut self, parent: Ino, name: &Name) -> Result<Option<Ino>> {
        if let Some(row) = self.state.overlay.get(parent, name) {
            return Ok(row.ino);
        }
        let Some(node) = self.inode(parent)?.node else { return Ok(None) };
        let Some(child) = self.remote_entry(node, name)? else { return Ok(None) };
        Ok(Some(self.ino_of(child)?))
    }

    /// An inode's names as far as known.
    pub fn links(&mut self, ino: Ino) -> Result<Vec<(Ino, Name)>> {
        if let Some(links) = &self.inode(ino)?.links {
            return Ok(links.clone());
        }
        let mut links: Vec<(Ino, Name)> = self.state.overlay.of_ino(ino).cloned().collect();
        if let Some(node) = self.inode(ino)?.node {
            for (parent, name) in self.remote_places(node)? {
                let parent = self.ino_of(parent)?;
                if self.state.overlay.get(parent, &name).is_none() {
                    links.push((parent, name));
                }
            }
        }
        self.inode(ino)?.links = Some(links.clone());
        Ok(links)
    }

    pub(super) fn remote_places(&self, node: NodeId) -> Result<Vec<(NodeId, Name)>> {
        let rows = self.core.reader()?.entries_of_node(node)?;
        let known = rows.into_iter().map(|row| (row.parent, row.name));
        let mut places: Vec<(NodeId, Name)> =
            known.filter(|(parent, name)| self.state.pending.entry(*parent, name).is_none()).collect();
        places.extend(self.state.pending.places_of(node).cloned());
        Ok(places)
    }

    /// The parent of a directory, or of a file's first name.
    pub fn parent(&mut self, ino: Ino) -> Result<Option<Ino>> {
        if let Some(links) = &self.inode(ino)?.links {
            return Ok(links.first().map(|(parent, _)| *parent));
        }
        Ok(self.links(ino)?.first().map(|(parent, _)| *parent))
    }

    /// Whether `ino` is `ancestor` or lies below it.
    pub fn is_below(&mut self, ino: Ino, ancestor: Ino) -> Result<bool> {
        let mut at = Some(ino);
        let mut steps = 0;
        while let Some(here) = at {
            if here == ancestor {
                return Ok(true);
            }
            steps += 1;
            at = match self.parent(here) {
                // Others removed what was above.
                Err(TreeError::NotFound) if here != ino => None,
                parent => parent?.filter(|_| steps <= tarn_proto::limits::DEPTH_MAX),
            };
        }
        Ok(false)
    }

    /// A file's local content, loaded; `None` if it has none.
    pub fn local_content(&mut self, ino: Ino) -> Result<Option<Arc<LocalContent>>> {
        let inode = self.inode(ino)?;
        let (Some(no), None) = (inode.content_no, &inode.content) else { return Ok(inode.content.clone()) };
        let content = match self.core.contents.get_loaded(no) {
            // Its row may still be on the way into the database.
            Some(content) => Some(content),
            None => {
                let row = self.core.reader()?.content(no)?;
                row.map(|row| self.core.contents.load(no, row)).transpose()?
            }
        };
        if let Some(content) = &content {
            // A conflict's sibling took it over; a crash may have left its row behind.
            content.set_ino(ino);
        }
        self.inode(ino)?.content.clone_from(&content);
        Ok(content)
    }

    /// A node's state on the server, if the inode shows one.
    pub fn remote_of(&mut self, ino: Ino) -> Result<Option<Arc<NodeState>>> {
        Ok(self.inode(ino)?.remote.clone())
    }
}
