//! Owns comparing names: local entries with their rows, loaded listings with what all rows together say.

use super::MemoryLook;
use super::describe;
use crate::meta::rows::{EntryRow, Ino};
use crate::tree::load::Session;
use crate::tree::{Tree, TreeError};
use std::collections::BTreeMap;
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;

type Result<T> = std::result::Result<T, TreeError>;

/// Directories, or names of a listing, copied under one lock.
const STEP: usize = 256;

/// A loaded listing: what each name stands for.
pub(super) struct Listing {
    node: Option<NodeId>,
    children: BTreeMap<Name, (Ino, Option<NodeId>)>,
}

/// What a name stands for, as far as both sides can say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Child {
    Inode(Ino),
    Node(NodeId),
}

impl Child {
    fn describe(self) -> String {
        match self {
            Self::Inode(ino) => format!("inode {}", ino.0),
            Self::Node(node) => format!("node {node}"),
        }
    }
}

/// Names behind a cookie, with what they stand for, and the last cookie.
type Step = (Vec<(Name, (Ino, Option<NodeId>))>, Option<u64>);

impl Session<'_> {
    /// Some names of a loaded listing, if it is still of this generation.
    fn listed_behind(&self, dir: Ino, cookie: u64, generation: u64) -> Option<Step> {
        let listing = self.state.inodes.get(&dir)?.dir.as_ref().filter(|dir| dir.generation == generation)?;
        let mut last = None;
        let names = listing.after(cookie).take(STEP).map(|(name, child)| {
            last = Some(child.cookie);
            let node = self.state.inodes.get(&child.ino).and_then(|inode| inode.node);
            (name.clone(), (child.ino, node))
        });
        let names = names.collect();
        Some((names, last))
    }
}

impl Listing {
    /// Reads a loaded listing; `None` if it is not loaded, or changes meanwhile.
    pub fn read(tree: &Tree, dir: Ino) -> Option<Self> {
        let (node, generation) = tree.with(|session| {
            let inode = session.state.inodes.get(&dir)?;
            Some((inode.node, inode.dir.as_ref()?.generation))
        })?;
        let (mut children, mut cookie) = (BTreeMap::new(), 0);
        loop {
            let (names, last) = tree.with(|session| session.listed_behind(dir, cookie, generation))?;
            children.extend(names);
            match last {
                Some(last) => cookie = last,
                None => return Some(Self { node, children }),
            }
        }
    }
}

impl Tree {
    pub(super) fn compare_names(&self, look: &mut MemoryLook) -> Result<()> {
        let parents: Vec<Ino> = self.with(|session| session.state.overlay.parents().collect());
        let mut memory: BTreeMap<(Ino, Name), EntryRow> = BTreeMap::new();
        for step in parents.chunks(STEP) {
            self.with(|session| {
                for &parent in step {
                    let names = session.state.overlay.of_parent(parent);
                    memory.extend(names.map(|(name, row)| ((parent, name.clone()), *row)));
                }
            });
        }
        self.core.journal.drain()?;
        let stored = self.core.reader()?.local_entries_all()?.into_iter();
        let database: BTreeMap<(Ino, Name), EntryRow> =
            stored.map(|(parent, name, row)| ((parent, name), row)).collect();
        let mut places: Vec<&(Ino, Name)> = memory.keys().chain(database.keys()).collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            let what = (Some(place.0), || format!("the local name {}", place.1));
            look.compare(what, memory.get(place), database.get(place), |row, _| describe::entry(row));
        }
        Ok(())
    }

    /// A listing with what the rows say together: the server's entries with the local ones laid over them.
    pub(super) fn compare_listing(&self, look: &mut MemoryLook, dir: Ino, listing: &Listing) -> Result<()> {
        let reader = self.core.reader()?;
        let mut rows: BTreeMap<Name, Child> = BTreeMap::new();
        if let Some(node) = listing.node {
            let entries = reader.remote_children(node)?.into_iter();
            rows.extend(entries.filter_map(|entry| Some((entry.name, Child::Node(entry.node?)))));
        }
        for (name, row) in reader.local_entries(dir)? {
            match row.ino {
                Some(ino) => rows.insert(name, Child::Inode(ino)),
                None => rows.remove(&name),
            };
        }
        let mut names: Vec<&Name> = listing.children.keys().chain(rows.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let stored = rows.get(name).copied();
            let shown = listing.children.get(name).map(|&(ino, node)| match (stored, node) {
                // What was let go of memory is known to the database alone.
                (Some(Child::Node(_)), node) => node.or_else(|| reader.inode(ino).ok()??.node).map(Child::Node),
                _ => Some(Child::Inode(ino)),
            });
            let shown = shown.map(|child| child.unwrap_or(Child::Inode(Ino(0))));
            let what = (Some(dir), || format!("the name {name} in the folder's listing"));
            look.compare(what, shown.as_ref(), stored.as_ref(), |child, _| child.describe());
        }
        Ok(())
    }
}
