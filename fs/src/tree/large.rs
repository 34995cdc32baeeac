//! Owns loading the listings of large folders: their rows are read without the tree's lock, and their inodes stay in the
//! database until somebody asks for one. A small folder is loaded with all that it names (`load`).

use super::Tree;
use super::error::TreeError;
use super::listing::Dir;
use super::load::Session;
use super::types::NodeType;
use crate::log::Lsn;
use crate::meta::EntryBrief;
use crate::meta::rows::Ino;
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;

type Result<T> = std::result::Result<T, TreeError>;

/// A folder with more names is large.
const NAMES_MAX: usize = 2_048;
/// Inodes that get their numbers under one lock, and before the database is waited for.
const NUMBERS_AT_ONCE: usize = 512;
const NUMBERS_MAX: usize = 4_096;
/// Readings of a folder that changes meanwhile, before it is read under the lock.
const READINGS_MAX: usize = 5;
/// Single lookups in a folder before its listing is loaded.
const LOOKUPS_MAX: u8 = 16;

/// A large folder that is to be read.
struct Wanted {
    node: NodeId,
    /// The database holds all that was let go of before this.
    materialised: Lsn,
}

impl Session<'_> {
    /// Refuses what cannot be listed now.
    pub(super) fn listable(&mut self, ino: Ino) -> Result<()> {
        let inode = self.inode(ino)?;
        let has_listing = inode.dir.is_some();
        if !inode.is_dir() {
            return Err(TreeError::NotADirectory);
        }
        if has_listing || self.is_listed(ino)? {
            return Ok(());
        }
        Err(self.unlisted(ino)?)
    }

    /// Whether a folder without a listing is large.
    pub(super) fn is_large(&mut self, ino: Ino) -> Result<bool> {
        let Some(node) = self.inode(ino)?.node else { return Ok(false) };
        Ok(self.core.reader()?.has_more_entries(node, NAMES_MAX)?)
    }

    /// Asked when a listing would be worth loading for lookups alone: that of a large folder never is.
    pub(super) fn is_worth_listing(&mut self, ino: Ino) -> Result<bool> {
        if self.inode(ino)?.lookups < LOOKUPS_MAX {
            self.inode(ino)?.lookups += 1;
            return Ok(false);
        }
        self.inode(ino)?.lookups = 0;
        Ok(!self.is_large(ino)?)
    }

    fn wanted(&mut self, ino: Ino) -> Result<Option<Wanted>> {
        self.listable(ino)?;
        let inode = self.inode(ino)?;
        let Some(node) = inode.node.filter(|_| inode.dir.is_none()) else { return Ok(None) };
        let is_large = self.is_large(ino)?;
        Ok(is_large.then(|| Wanted { node, materialised: self.core.journal.materialised() }))
    }

    /// Gives numbers to nodes that have none.
    fn give_numbers(&mut self, nodes: &[NodeId]) -> Result<()> {
        let mut numbers = Vec::new();
        for &node in nodes {
            if self.known_ino(node)?.is_none() {
                let remote = self.remote_node(node)?;
                numbers.push(self.new_number(node, remote).1);
            }
        }
        if numbers.is_empty() { Ok(()) } else { self.commit_numbers(numbers) }
    }

    /// Lays entries over a listing that are on their way into the database; all of it is in order of the names then.
    fn lay_pending(&mut self, node: NodeId, dir: &mut Dir) -> Result<()> {
        let pending: Vec<(Name, Option<NodeId>)> =
            self.state.pending.entries_of(node).map(|(name, row)| (name.clone(), row.value)).collect();
        for (name, child) in &pending {
            match child.map(|child| self.ino_of(child)).transpose()? {
                Some(child) => dir.set(name, child, self.node_type(child)?),
                None => dir.remove(name),
            }
        }
        if !pending.is_empty() {
            *dir = dir.in_order();
        }
        Ok(())
    }

    /// Loads a large listing at once, for whom it may hold others up.
    pub(super) fn load_large(&mut self, ino: Ino, node: NodeId) -> Result<()> {
        let rows = self.core.reader()?.entries_in_brief(node)?;
        let unnumbered: Vec<NodeId> = rows.iter().filter(|row| row.ino.is_none()).map(|row| row.node).collect();
        self.give_numbers(&unnumbered)?;
        let wanted = Wanted { node, materialised: self.state.let_go };
        self.take_listing(ino, &wanted, listing_of(&rows), &rows).map(drop)
    }

    /// The inode that shows what an entry names, as far as there is one.
    pub(super) fn shown_by(&self, row: &EntryBrief) -> Option<Ino> {
        // Memory is newer than what is stored.
        let is_newer = |ino: &Ino| self.state.inodes.contains_key(ino) || self.state.gone.contains_key(ino);
        self.state.by_node.get(&row.node).copied().or(row.ino.filter(|ino| !is_newer(ino)))
    }

    /// Takes a listing as the database had it, with what memory knows laid over; false if memory may have let go of
    /// something meanwhile that the database did not have then.
    fn take_listing(&mut self, ino: Ino, wanted: &Wanted, mut dir: Dir, rows: &[EntryBrief]) -> Result<bool> {
        let inode = self.inode(ino)?;
        if inode.dir.is_some() || inode.node != Some(wanted.node) {
            return Ok(true);
        }
        if self.state.let_go > wanted.materialised {
            return Ok(false);
        }
        for row in rows {
            let child = self.shown_by(row);
            if child.is_none() || child != row.ino {
                let child = child.map_or_else(|| self.ino_of(row.node), Ok)?;
                dir.set(&row.name, child, row.node_type());
            }
        }
        self.lay_pending(wanted.node, &mut dir)?;
        let hidden: Vec<Name> = self.state.overlay.of_parent(ino).map(|(name, _)| name.clone()).collect();
        hidden.iter().for_each(|name| dir.remove(name));
        self.lay_local(ino, &mut dir)?;
        self.hold_listing(ino, dir)?;
        Ok(true)
    }
}

/// A listing as the rows have it; what has no inode yet is to be set.
fn listing_of(rows: &[EntryBrief]) -> Dir {
    let mut dir = Dir::default();
    rows.iter().for_each(|row| dir.set(&row.name, row.ino.unwrap_or(Ino(0)), row.node_type()));
    dir
}

impl EntryBrief {
    fn node_type(&self) -> NodeType {
        self.kind.as_ref().map_or(NodeType::File, NodeType::from)
    }
}

impl Tree {
    /// Loads a directory's listing, that of a large one without holding others up.
    ///
    /// # Errors
    /// As [`Tree::read_dir`].
    pub(super) fn load_listing(&self, ino: Ino) -> Result<()> {
        for _ in 0..READINGS_MAX {
            let Some(wanted) = self.look(|session| session.wanted(ino))? else { break };
            let rows = self.core.reader()?.entries_in_brief(wanted.node)?;
            let unnumbered: Vec<NodeId> = rows.iter().filter(|row| row.ino.is_none()).map(|row| row.node).collect();
            if unnumbered.len() > NUMBERS_AT_ONCE {
                drop(rows);
                self.number(&unnumbered)?;
                continue;
            }
            let dir = listing_of(&rows);
            if self.look(|session| session.take_listing(ino, &wanted, dir, &rows))? {
                break;
            }
        }
        // It is there, or small, or never quiet.
        self.look(|session| session.dir(ino).map(drop))
    }

    fn number(&self, nodes: &[NodeId]) -> Result<()> {
        for part in nodes.chunks(NUMBERS_MAX) {
            for step in part.chunks(NUMBERS_AT_ONCE) {
                self.edit(|session| session.give_numbers(step))?;
            }
            // What has come into the database need not stay in memory.
            self.core.journal.drain()?;
        }
        Ok(())
    }
}
