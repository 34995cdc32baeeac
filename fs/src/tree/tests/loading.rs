//! A full pull whose rows the local database cannot take when it ends.

use super::faults::open;
use super::fixture::*;
use super::sweep::Told;
use crate::env::{CrashDisk, Fault};
use crate::tree::{Invalidation, Loaded, Tree, TreeError};
use std::io::ErrorKind;
use std::sync::Arc;
use tarn_proto::change::Change;
use tarn_proto::ids::NodeId;

const N: NodeId = NodeId([31; 16]);

/// A full pull of a space that has one file under this name.
fn load(tree: &Tree, text: &str, seq: u64, meanwhile: impl FnOnce()) -> Result<(), TreeError> {
    tree.begin_load()?;
    let rows = [node_row(root(), folder_state()), node_row(N, theirs(b"1", 1)), entry_row(root(), text, Some(N))];
    tree.load_page(rows.into_iter().map(|row| Change { seq, row }).collect())?;
    meanwhile();
    tree.finish_load(Loaded::first(cursor(seq)))
}

#[test]
fn the_kernel_is_told_of_a_full_pull_that_the_database_took_only_when_there_was_room() {
    let disk = CrashDisk::new();
    let life = open(&disk).unwrap();
    let tree = &life.tree;
    load(tree, "old", 1, || ()).unwrap();
    // Of names that were looked up alone the kernel knows more than memory.
    tree.lookup(TOP, &name("old")).unwrap();
    assert!(matches!(tree.lookup(TOP, &name("new")), Err(TreeError::NotFound)));
    let told = Arc::new(Told::default());
    tree.set_notifier(told.clone());
    disk.count_only(|path| path.to_string_lossy().contains("state.db"));
    let full = || disk.fail_after(0, Fault::Stuck(ErrorKind::StorageFull));
    assert!(load(tree, "new", 2, full).is_err());
    assert_eq!(tree.cursor(), Some(cursor(1)));
    disk.mend();
    while life.journal.materialise_now().unwrap() {}
    load(tree, "new", 2, || ()).unwrap();
    assert_eq!(tree.cursor(), Some(cursor(2)));
    for text in ["old", "new"] {
        assert!(told.has(&Invalidation::Entry { parent: TOP, name: name(text) }), "{text}: {told:?}");
    }
}
