//! A listing of the tree in memory.

use super::{FakeTree, Result, unlisted};
use crate::meta::rows::Ino;
use crate::tree::{DirEntry, NodeType};
use crate::vfs::ports::Listing;

#[derive(Debug)]
pub(super) struct FakeListing {
    pub tree: FakeTree,
    pub ino: Ino,
}

impl FakeTree {
    /// Of the listing of a folder only the first so many names have come.
    pub fn lose_rest(&self, ino: Ino, count: usize) {
        let mut state = self.0.lock();
        let mut cookies: Vec<u64> = state.nodes[&ino].entries.values().map(|(_, cookie)| *cookie).collect();
        cookies.sort_unstable();
        state.unlisted.insert(ino, cookies[count - 1]);
    }
}

impl Listing for FakeListing {
    fn read(&self, after_cookie: u64, max: usize) -> Result<Vec<DirEntry>> {
        let state = self.tree.0.lock();
        let upto = state.unlisted.get(&self.ino).copied();
        let has_come = |cookie: u64| cookie > after_cookie && upto.is_none_or(|upto| cookie <= upto);
        let rest = state.node(self.ino)?.entries.iter().filter(|(_, (_, cookie))| has_come(*cookie));
        let mut entries: Vec<DirEntry> = rest
            .map(|(name, &(ino, cookie))| DirEntry {
                cookie,
                name: name.clone(),
                ino,
                node_type: NodeType::from(&state.nodes[&ino].kind),
            })
            .collect();
        entries.sort_by_key(|entry| entry.cookie);
        entries.truncate(max);
        if entries.is_empty() && upto.is_some() {
            return Err(unlisted(self.ino));
        }
        Ok(entries)
    }
}
