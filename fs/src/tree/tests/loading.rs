//! A full pull whose rows the local database cannot take when it ends.

use super::faults::open;
use super::fixture::*;
use super::sweep::Told;
use crate::env::{CrashDisk, Fault};
use crate::tree::{Invalidation, Loaded, Tree, TreeError};
use std::io::ErrorKind;
use std::sync::Arc;
use tarn_proto::change::Change;
use tarn_proto::ids::{EpochId, NodeId};
use tarn_proto::lost::{EpochStart, Lost};
use tarn_proto::node::NodeState;
use tarn_proto::op::{OpKind, Operation};

const N: NodeId = NodeId([31; 16]);
const M: NodeId = NodeId([32; 16]);

/// A full pull of a space that has one folder under this name.
fn load(tree: &Tree, text: &str, loaded: Loaded, meanwhile: impl FnOnce()) -> Result<(), TreeError> {
    load_node(tree, (text, folder_state()), loaded, meanwhile)
}

/// The same with anything under this name.
fn load_node(
    tree: &Tree,
    (text, state): (&str, NodeState),
    loaded: Loaded,
    meanwhile: impl FnOnce(),
) -> Result<(), TreeError> {
    tree.begin_load()?;
    let rows = [node_row(root(), folder_state()), node_row(N, state), entry_row(root(), text, Some(N))];
    tree.load_page(rows.into_iter().map(|row| Change { seq: loaded.upto.seq, row }).collect())?;
    meanwhile();
    tree.finish_load(loaded)
}

fn at(seq: u64) -> Loaded {
    Loaded::first(cursor(seq))
}

/// The database can write nothing any more; the log can.
fn fill(disk: &CrashDisk) {
    disk.count_only(|path| path.to_string_lossy().contains("state.db"));
    disk.fail_after(0, Fault::Stuck(ErrorKind::StorageFull));
}

#[test]
fn the_kernel_is_told_of_a_full_pull_that_the_database_took_only_when_there_was_room() {
    let disk = CrashDisk::new();
    let life = open(&disk).unwrap();
    let tree = &life.tree;
    load(tree, "old", at(1), || ()).unwrap();
    // Of names that were looked up alone the kernel knows more than memory.
    tree.lookup(TOP, &name("old")).unwrap();
    assert!(matches!(tree.lookup(TOP, &name("new")), Err(TreeError::NotFound)));
    let told = Arc::new(Told::default());
    tree.set_notifier(told.clone());
    assert!(load(tree, "new", at(2), || fill(&disk)).is_err());
    assert_eq!(tree.cursor(), Some(cursor(1)));
    disk.mend();
    while life.journal.materialise_now().unwrap() {}
    load(tree, "new", at(2), || ()).unwrap();
    assert_eq!(tree.cursor(), Some(cursor(2)));
    for text in ["old", "new"] {
        assert!(told.has(&Invalidation::Entry { parent: TOP, name: name(text) }), "{text}: {told:?}");
    }
}

/// Seed 902782 of the simulation.
#[test]
fn a_file_shows_its_next_version_though_the_daemon_ended_before_the_full_pull_that_brought_it_was_shown() {
    let disk = CrashDisk::new();
    let life = open(&disk).unwrap();
    let size = |tree: &Tree| tree.lookup(TOP, &name("f")).unwrap().size_bytes;
    load_node(&life.tree, ("f", theirs(b"old", 1)), at(1), || ()).unwrap();
    life.tree.content(life.tree.resolve(b"/f").unwrap()).unwrap();
    assert_eq!(size(&life.tree), 3);
    assert!(load_node(&life.tree, ("f", theirs(b"newer", 2)), at(2), || fill(&disk)).is_err());
    drop(life);
    disk.mend();
    let life = open(&disk).unwrap();
    assert!(life.tree.is_load_unseen());
    life.tree.show_loaded().unwrap();
    assert_eq!(size(&life.tree), 5);
    drop(life);
    assert!(!open(&disk).unwrap().tree.is_load_unseen(), "once");
}

#[test]
fn a_daemon_that_ends_before_a_full_pull_is_shown_leaves_no_seqs_of_a_lost_history() {
    let disk = CrashDisk::new();
    let life = open(&disk).unwrap();
    load(&life.tree, "d", at(5), || ()).unwrap();
    life.tree.rmdir(TOP, &name("d")).unwrap();
    let put_back = Loaded { fork: Some(3), ..at(9) };
    assert!(load(&life.tree, "d", put_back, || fill(&disk)).is_err());
    drop(life);
    disk.mend();
    let life = open(&disk).unwrap();
    assert_eq!(life.tree.cursor(), Some(cursor(9)));
    let queued = life.tree.queue(10).unwrap().iter().map(|item| (item.ticket, None)).collect();
    let frozen = life.tree.freeze(queued).unwrap();
    let [(_, Operation { kind: OpKind::Unlink { seen, .. }, .. })] = &frozen[..] else { panic!("{frozen:?}") };
    assert_eq!(seen.seq, Some(3));
}

#[test]
fn what_waits_says_nothing_of_seqs_of_a_history_that_a_full_pull_finds_lost() {
    let disk = CrashDisk::new();
    let tree = open(&disk).unwrap().tree;
    load(&tree, "d", at(5), || ()).unwrap();
    tree.rmdir(TOP, &name("d")).unwrap();
    load(&tree, "d", Loaded { fork: Some(3), ..at(9) }, || ()).unwrap();
    let queued = tree.queue(10).unwrap().iter().map(|item| (item.ticket, None)).collect();
    let frozen = tree.freeze(queued).unwrap();
    let [(_, Operation { kind: OpKind::Unlink { seen, .. }, .. })] = &frozen[..] else { panic!("{frozen:?}") };
    assert_eq!(seen.seq, Some(3));
}

#[test]
fn a_listing_of_a_history_that_is_known_to_be_lost_is_of_no_use() {
    let epoch = |number| EpochId([number; 16]);
    let device = Device::unloaded();
    assert!(device.tree.note_listed(epoch(8)).unwrap() && device.tree.note_listed(epoch(7)).unwrap());
    assert_eq!(device.tree.listed_epoch().unwrap(), Some(epoch(8)), "the first");
    let epochs = [8, 9].map(|number| EpochStart { epoch: epoch(number), seq: 0 }).to_vec();
    device.tree.begin_load().unwrap();
    device.tree.finish_load(Loaded { epochs, ..at(0) }).unwrap();
    let listed = [8, 9, 7].map(|number| device.tree.note_listed(epoch(number)).unwrap());
    assert_eq!((listed, device.tree.listed_epoch().unwrap()), ([false, true, true], None));
}

#[test]
fn what_a_server_lost_is_known_with_a_name_to_bring_it_back_by() {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(b"old", 1)), entry_row(root(), "old", Some(N))]);
    device.pull(vec![node_row(M, theirs(b"lost", 1)), entry_row(root(), "lost.txt", Some(M))]);
    let lost = device.tree.lost_since(1).unwrap();
    let name = |lost: &Lost| match lost {
        Lost::Node(node) => node.alt_name.as_ref().map(ToString::to_string),
        _ => None,
    };
    let names: Vec<String> = lost.iter().filter_map(|(_, lost)| name(lost)).collect();
    assert!(names.len() == 1 && names[0].starts_with("lost (conflict from laptop"), "{lost:?}");
}

#[test]
fn a_full_pull_that_begins_again_forgets_what_the_one_that_broke_off_had_brought() {
    let disk = CrashDisk::new();
    let life = open(&disk).unwrap();
    life.tree.begin_load().unwrap();
    let removed_since =
        [node_row(root(), folder_state()), node_row(M, folder_state()), entry_row(root(), "m", Some(M))];
    life.tree.load_page(removed_since.into_iter().map(|row| Change { seq: 1, row }).collect()).unwrap();
    load(&life.tree, "n", at(2), || ()).unwrap();
    let names: Vec<_> = life.tree.read_dir_whole(TOP).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, [name("n")]);
}
