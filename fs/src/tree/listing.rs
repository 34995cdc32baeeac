//! Owns a folder's listing in memory: names, what they stand for, and the cookies by which readers go on.
//! Plain data; where it comes from is in `load` and `large`.

use super::types::{DirEntry, NodeType};
use crate::meta::rows::Ino;
use std::collections::{BTreeMap, HashMap};
use tarn_proto::name::Name;

/// One entry of a loaded listing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Child {
    pub ino: Ino,
    pub node_type: NodeType,
    pub cookie: u64,
}

/// A loaded listing: the whole effective folder.
#[derive(Debug, Clone, Default)]
pub(super) struct Dir {
    by_name: HashMap<Name, Child>,
    by_cookie: BTreeMap<u64, Name>,
    last_cookie: u64,
    /// Names of directories: asked for with every `stat` of this one.
    subdir_count: u32,
    /// Whether the server's entries alone, in the order of their names, give these cookies.
    is_plain: bool,
    /// Changes with every change of the listing.
    pub generation: u64,
}

/// Cookies 1 and 2 are "." and "..".
const FIRST_COOKIE: u64 = 3;

impl Dir {
    pub fn get(&self, name: &Name) -> Option<Child> {
        self.by_name.get(name).copied()
    }

    /// Sets what a name stands for; keeps its cookie where it had one.
    pub fn set(&mut self, name: &Name, ino: Ino, node_type: NodeType) {
        self.generation += 1;
        self.subdir_count += u32::from(node_type == NodeType::Dir);
        if let Some(child) = self.by_name.get_mut(name) {
            self.subdir_count -= u32::from(child.node_type == NodeType::Dir);
            (child.ino, child.node_type) = (ino, node_type);
            return;
        }
        self.is_plain = false;
        let cookie = FIRST_COOKIE.max(self.last_cookie + 1);
        self.last_cookie = cookie;
        self.by_name.insert(name.clone(), Child { ino, node_type, cookie });
        self.by_cookie.insert(cookie, name.clone());
    }

    pub fn remove(&mut self, name: &Name) {
        if let Some(child) = self.by_name.remove(name) {
            self.generation += 1;
            self.is_plain = false;
            self.subdir_count -= u32::from(child.node_type == NodeType::Dir);
            self.by_cookie.remove(&child.cookie);
        }
    }

    /// Nothing yet of a folder whose names will come in their order.
    pub fn growing() -> Self {
        Self { is_plain: true, ..Self::default() }
    }

    /// Sets a name that the server's listing brings.
    pub fn grow(&mut self, name: &Name, ino: Ino, node_type: NodeType) {
        let last = self.by_cookie.last_key_value().map(|(_, last)| last);
        let keeps_order = last.is_none_or(|last| last < name) || self.by_name.contains_key(name);
        let is_plain = self.is_plain && keeps_order;
        self.set(name, ino, node_type);
        self.is_plain = is_plain;
    }

    /// Brings it to what another listing of the folder says. What is in both keeps its cookie. Whether anything that it had is
    /// not as it was.
    pub fn become_like(&mut self, whole: &Self) -> bool {
        let mut differs = false;
        for (name, child) in whole.after(0) {
            differs |= self.get(name).is_some_and(|old| (old.ino, old.node_type) != (child.ino, child.node_type));
            self.set(name, child.ino, child.node_type);
        }
        let gone: Vec<Name> = self.by_name.keys().filter(|name| !whole.by_name.contains_key(*name)).cloned().collect();
        gone.iter().for_each(|name| self.remove(name));
        differs || !gone.is_empty()
    }

    /// Says that not all of it are the server's entries.
    pub fn note_local(&mut self) {
        self.is_plain = false;
    }

    /// Says that it was made of the server's entries alone, in the order of their names.
    pub fn note_plain(&mut self) {
        self.is_plain = true;
    }

    /// Whether the same cookies come back when it is loaded again.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// The same names with cookies in their order.
    pub fn in_order(&self) -> Self {
        let mut names: Vec<(&Name, &Child)> = self.by_name.iter().collect();
        names.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let mut sorted = Self::default();
        names.into_iter().for_each(|(name, child)| sorted.set(name, child.ino, child.node_type));
        sorted
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn after(&self, cookie: u64) -> impl Iterator<Item = (&Name, Child)> + '_ {
        let rest = self.by_cookie.range(cookie + 1..);
        rest.filter_map(|(_, name)| Some((name, *self.by_name.get(name)?)))
    }

    /// Up to `max` entries after a cookie.
    pub fn entries(&self, after: u64, max: usize) -> Vec<DirEntry> {
        let entry = |(name, child): (&Name, Child)| DirEntry {
            cookie: child.cookie,
            name: name.clone(),
            ino: child.ino,
            node_type: child.node_type,
        };
        self.after(after).take(max).map(entry).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Child)> + '_ {
        self.by_name.iter()
    }

    pub fn subdir_count(&self) -> u32 {
        self.subdir_count
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn grown(names: &[(&str, u64)]) -> Dir {
        let mut dir = Dir::growing();
        names.iter().for_each(|(text, ino)| dir.grow(&name(text), Ino(*ino), NodeType::File));
        dir
    }

    #[test]
    fn a_listing_is_plain_as_long_as_the_servers_names_come_in_their_order() {
        assert!(Dir::growing().is_plain() && !Dir::default().is_plain());
        assert!(grown(&[("a", 1), ("b", 2), ("a", 3)]).is_plain(), "one that is there has its place");
        assert!(!grown(&[("b", 1), ("a", 2)]).is_plain());
        assert!(!grown(&[("b", 1), ("a", 2), ("c", 3)]).is_plain());
        let mut dir = grown(&[("a", 1)]);
        dir.note_local();
        assert!(!dir.is_plain());
        dir.note_plain();
        assert!(dir.is_plain());
        dir.remove(&name("a"));
        assert!(!dir.is_plain());
    }

    #[test]
    fn a_listing_that_becomes_another_says_whether_what_it_had_is_as_it_was() {
        let had = [("a", 1), ("b", 2)];
        let differs = |whole: &[(&str, u64)]| grown(&had).become_like(&grown(whole));
        assert!(!differs(&had) && !differs(&[("a", 1), ("b", 2), ("c", 3)]));
        assert!(differs(&[("a", 1)]) && differs(&[("a", 9), ("b", 2)]) && differs(&[("a", 1), ("b", 9)]));
        let mut dir = grown(&had);
        dir.become_like(&grown(&[("b", 2), ("c", 3)]));
        assert_eq!((dir.len(), dir.get(&name("b")).unwrap().cookie, dir.get(&name("a")).is_none()), (2, 4, true));
    }

    #[test]
    fn each_change_makes_another_generation() {
        let (mut dir, mut last) = (Dir::default(), 0);
        let changes: [fn(&mut Dir); 4] = [
            |dir| dir.set(&name("a"), Ino(1), NodeType::File),
            |dir| dir.set(&name("a"), Ino(2), NodeType::File),
            |dir| dir.remove(&name("a")),
            |dir| dir.set(&name("b"), Ino(1), NodeType::File),
        ];
        for change in changes {
            change(&mut dir);
            assert!(dir.generation > last);
            last = dir.generation;
        }
    }
}
