//! Owns what others did, as programs that watch would have been told of it had it been done here. Only of folders and
//! files that the kernel knows: nobody can watch any other.

use super::absorb::Looks;
use super::error::TreeError;
use super::load::Session;
use super::types::NodeType;
use super::work::NameChange;
use crate::meta::rows::{Ino, ROOT};
use std::collections::{BTreeMap, HashMap};
use tarn_proto::ids::NodeId;
use tarn_proto::limits::DEPTH_MAX;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, NodeKind};

/// What a name stands for, or stood for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its inode.
    pub ino: Ino,
    /// What it is.
    pub kind: NodeKind,
    /// Its permissions.
    pub mode: u32,
}

/// A change from elsewhere, as programs that watch know such things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A name is there that was not.
    Appeared {
        /// In this folder.
        parent: Ino,
        /// The name.
        name: Name,
        /// What it stands for.
        child: Child,
    },
    /// A name is gone.
    Removed {
        /// From this folder.
        parent: Ino,
        /// The name.
        name: Name,
        /// What it stood for.
        child: Child,
    },
    /// What had one name has another.
    Moved {
        /// Folder and name that it had.
        from: (Ino, Name),
        /// Those that it has.
        to: (Ino, Name),
        /// What was moved.
        child: Child,
        /// What its new name stood for.
        displaced: Option<Child>,
    },
    /// Something is another than it was.
    Changed {
        /// This.
        ino: Ino,
        /// Its content is, not only its attributes.
        content: bool,
    },
}

/// What a name stood for, with the node: two inodes of one node are two versions of it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    child: Child,
    node: Option<NodeId>,
}

#[derive(Debug)]
struct Renamed {
    parent: Ino,
    name: Name,
    old: Option<Child>,
    new: Option<Child>,
}

/// What happened in one call on the tree.
#[derive(Debug, Default)]
pub(super) struct Happened {
    names: Vec<Renamed>,
    changed: BTreeMap<Ino, bool>,
}

impl Happened {
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.changed.is_empty()
    }

    /// All of it in an order in which it could have been done: removals from below, moves, new names from above, changes.
    pub fn into_order(self) -> Vec<Happening> {
        let Self { mut names, changed } = self;
        let moved = take_moves(&mut names);
        let mut gone: Vec<&Renamed> = names.iter().filter(|name| name.old.is_some()).collect();
        sort_by_depth(&mut gone, |name| name.old.as_ref());
        let gone = gone.into_iter().rev().filter_map(|Renamed { parent, name, old, .. }| {
            Some(Happening::Removed { parent: *parent, name: name.clone(), child: old.clone()? })
        });
        let mut new: Vec<&Renamed> = names.iter().filter(|name| name.new.is_some()).collect();
        sort_by_depth(&mut new, |name| name.new.as_ref());
        let new = new.into_iter().filter_map(|Renamed { parent, name, new, .. }| {
            Some(Happening::Appeared { parent: *parent, name: name.clone(), child: new.clone()? })
        });
        let changed = changed.into_iter().map(|(ino, content)| Happening::Changed { ino, content });
        gone.chain(moved).chain(new).chain(changed).collect()
    }
}

/// Makes one of each name that went and one that came for the same inode.
fn take_moves(names: &mut [Renamed]) -> Vec<Happening> {
    let came = names.iter().enumerate().filter_map(|(at, name)| Some((name.new.as_ref()?.ino, at)));
    let mut came: HashMap<Ino, usize> = came.collect();
    let pairs: Vec<(usize, usize)> =
        (0..names.len()).filter_map(|at| Some((at, came.remove(&names[at].old.as_ref()?.ino)?))).collect();
    for (from, _) in &pairs {
        names[*from].old = None;
    }
    let mut moved = Vec::new();
    for (from, to) in pairs {
        let Some(child) = names[to].new.take() else { continue };
        let is_dir = |child: &Child| NodeType::from(&child.kind) == NodeType::Dir;
        // What cannot be replaced by a move is removed by itself.
        let displaced = names[to].old.take_if(|old| is_dir(old) == is_dir(&child));
        let place = |name: &Renamed| (name.parent, name.name.clone());
        moved.push(Happening::Moved { from: place(&names[from]), to: place(&names[to]), child, displaced });
    }
    moved
}

/// Names of folders before those in them, as far as both are among `names`.
fn sort_by_depth(names: &mut [&Renamed], child: impl Fn(&Renamed) -> Option<&Child>) {
    let above: HashMap<Ino, Ino> = names.iter().filter_map(|name| Some((child(name)?.ino, name.parent))).collect();
    names.sort_by_cached_key(|name| {
        let up = std::iter::successors(Some(name.parent), |at| above.get(at).copied());
        up.take(DEPTH_MAX).count()
    });
}

impl Session<'_> {
    fn is_known_to_kernel(&self, ino: Ino) -> bool {
        ino == ROOT || self.state.inodes.get(&ino).is_some_and(|inode| inode.kernel_refs > 0)
    }

    fn known(&mut self, ino: Ino) -> Option<Known> {
        let inode = self.inode(ino).ok()?;
        let (kind, mode) = (inode.kind()?.clone(), inode.attrs()?.mode);
        Some(Known { child: Child { ino, kind, mode }, node: inode.node })
    }

    /// What names stand for, before they change.
    pub(super) fn known_now(&mut self, names: &[(Ino, Name, Option<Ino>)]) -> HashMap<Ino, Known> {
        let watchable = |(parent, _, child): &&(Ino, Name, Option<Ino>)| {
            self.is_known_to_kernel(*parent) || child.is_some_and(|child| self.is_known_to_kernel(child))
        };
        let children: Vec<Ino> = names.iter().filter(watchable).filter_map(|(.., child)| *child).collect();
        children.into_iter().filter_map(|ino| Some((ino, self.known(ino)?))).collect()
    }

    /// Notes that a name stands for something else, of what was known before.
    pub(super) fn note_renamed(&mut self, parent: Ino, name: &Name, change: NameChange, before: Option<&Known>) {
        let NameChange { old, new } = change;
        let is_watchable = [Some(parent), old, new].into_iter().flatten().any(|ino| self.is_known_to_kernel(ino));
        if old == new || !is_watchable {
            return;
        }
        let old = old.and(before.cloned());
        let new = new.and_then(|new| self.known(new));
        match (old, new) {
            (None, None) => {}
            // Another version, under another inode because programs have the old one open.
            (Some(old), Some(new)) if old.node.is_some() && old.node == new.node => {
                self.happened.changed.insert(new.child.ino, true);
            }
            (old, new) => {
                let (name, old, new) = (name.clone(), old.map(|old| old.child), new.map(|new| new.child));
                self.happened.names.push(Renamed { parent, name, old, new });
            }
        }
    }

    /// Notes that an inode looks another way than before.
    pub(super) fn note_changed(&mut self, ino: Ino, old: &Looks, new: &Looks, content: bool) {
        // What is gone has no looks any more.
        let Some(inode) = self.state.inodes.get(&ino).filter(|inode| inode.remote.is_some()) else { return };
        let is_dir = inode.is_dir();
        if let (Some(old), Some(new)) = (old, new)
            && essence(old, is_dir) != essence(new, is_dir)
        {
            *self.happened.changed.entry(ino).or_default() |= content;
        }
    }

    /// The same for names of a listing that is replaced as a whole.
    pub(super) fn renamed_in_listing(&mut self, parent: Ino, names: Vec<(Name, Option<Ino>)>) -> Result<(), TreeError> {
        for (name, old) in names {
            let change = self.refresh_by_others(parent, &name, old)?;
            let Some(invalidation) = Self::invalidation(parent, &name, change) else { continue };
            self.invalidations.push(invalidation);
            let before = old.and_then(|old| self.known(old));
            self.note_renamed(parent, &name, change, before.as_ref());
        }
        Ok(())
    }
}

/// What of the looks programs are told of: ctime follows from the rest, and a folder's times from its names.
fn essence((attrs, size): &(Attrs, u64), is_dir: bool) -> (Attrs, u64) {
    let mut attrs = Attrs { ctime: tarn_proto::node::Timestamp::default(), ..attrs.clone() };
    if is_dir {
        attrs.mtime = attrs.ctime;
    }
    (attrs, *size)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn child(ino: u64, kind: NodeKind) -> Option<Child> {
        Some(Child { ino: Ino(ino), kind, mode: 0o644 })
    }

    fn file(ino: u64) -> Option<Child> {
        child(ino, NodeKind::File)
    }

    fn dir(ino: u64) -> Option<Child> {
        child(ino, NodeKind::Dir)
    }

    fn order(names: Vec<(u64, &str, Option<Child>, Option<Child>)>) -> Vec<String> {
        let name = |text: &str| Name::new(text).unwrap();
        let renamed = |(parent, text, old, new)| Renamed { parent: Ino(parent), name: name(text), old, new };
        let happened = Happened { names: names.into_iter().map(renamed).collect(), ..Happened::default() };
        let told = |happening| match happening {
            Happening::Appeared { parent, name, child } => format!("+{}/{name}={}", parent.0, child.ino.0),
            Happening::Removed { parent, name, child } => format!("-{}/{name}={}", parent.0, child.ino.0),
            Happening::Moved { from, to, child, displaced } => {
                let over = displaced.map_or(0, |child| child.ino.0);
                format!("{}/{}>{}/{}={} over {over}", from.0.0, from.1, to.0.0, to.1, child.ino.0)
            }
            Happening::Changed { ino, content } => format!("{} {content}", ino.0),
        };
        happened.into_order().into_iter().map(told).collect()
    }

    #[test]
    fn what_goes_and_comes_is_a_move_also_over_another_name() {
        let told = order(vec![(1, "a", file(5), None), (2, "b", file(6), file(5))]);
        assert_eq!(told, ["1/a>2/b=5 over 6"]);
    }

    #[test]
    fn two_names_that_swap_are_two_moves() {
        let told = order(vec![(1, "a", file(5), file(6)), (1, "b", file(6), file(5))]);
        assert_eq!(told, ["1/a>1/b=5 over 0", "1/b>1/a=6 over 0"]);
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_no_move_over_it() {
        let told = order(vec![(1, "a", file(5), None), (1, "b", dir(6), file(5))]);
        assert_eq!(told, ["-1/b=6", "1/a>1/b=5 over 0"]);
    }

    #[test]
    fn removals_go_from_below_and_new_names_from_above() {
        let told = order(vec![(1, "d", dir(5), None), (5, "e", dir(6), None), (6, "f", file(7), None)]);
        assert_eq!(told, ["-6/f=7", "-5/e=6", "-1/d=5"]);
        let told = order(vec![(6, "f", None, file(7)), (5, "e", None, dir(6)), (1, "d", None, dir(5))]);
        assert_eq!(told, ["+1/d=5", "+5/e=6", "+6/f=7"]);
    }

    #[test]
    fn another_node_under_the_same_name_goes_and_comes() {
        assert_eq!(order(vec![(1, "a", file(5), file(6))]), ["-1/a=5", "+1/a=6"]);
    }
}
