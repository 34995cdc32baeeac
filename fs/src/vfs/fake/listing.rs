//! A listing of the tree in memory.

use super::{FakeTree, Result};
use crate::meta::rows::Ino;
use crate::tree::{DirEntry, NodeType};
use crate::vfs::ports::Listing;

#[derive(Debug)]
pub(super) struct FakeListing {
    pub tree: FakeTree,
    pub ino: Ino,
}

impl Listing for FakeListing {
    fn read(&self, after_cookie: u64, max: usize) -> Result<Vec<DirEntry>> {
        let state = self.tree.0.lock();
        let rest = state.node(self.ino)?.entries.iter().filter(|(_, (_, cookie))| *cookie > after_cookie);
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
        Ok(entries)
    }
}
