//! Measures what is really allocated on the disk.

use crate::diff::entries;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A block of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

/// What `du` would say of a tree, in bytes: allocated blocks, each inode once. Files that vanish meanwhile count nothing.
pub fn du_blocks(root: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    let own = fs::symlink_metadata(root).into_iter();
    let below = entries(root).unwrap_or_default().into_values();
    own.chain(below).filter(|meta| seen.insert((meta.dev(), meta.ino()))).map(|meta| meta.blocks() * BLOCK_BYTES).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn holes_count_nothing_and_hard_links_count_once() {
        let root = tempfile::tempdir().unwrap();
        let empty = du_blocks(root.path());
        fs::File::create(root.path().join("sparse")).unwrap().set_len(1 << 30).unwrap();
        fs::write(root.path().join("full"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(root.path().join("full"), root.path().join("again")).unwrap();
        fs::File::open(root.path().join("full")).unwrap().sync_all().unwrap();
        let grown = du_blocks(root.path()) - empty;
        assert!((1 << 20..(1 << 20) + 65_536).contains(&grown), "{grown}");
    }
}
