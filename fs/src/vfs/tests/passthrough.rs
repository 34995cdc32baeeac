//! Which handles pass this process by, and until when; also when another daemon goes on with them.

use super::super::fake::{FakeLent, FakeTree};
use super::super::*;
use super::{ANNA, RDONLY, RDWR, made, posix, refusal};
use crate::meta::rows::ROOT;
use crate::tree::TreeError;
use crate::vfs::ports::Backings;
use std::sync::atomic::Ordering;

const WRONLY: OpenFlags = OpenFlags { read: false, ..RDWR };

/// A mount that may pass through, with a file of which no handle is open.
fn fresh() -> (Vfs, FakeTree, Ino, FakeLent) {
    let tree = FakeTree::new();
    let vfs = tree.mount(posix());
    vfs.agree_passthrough(Ok(()));
    let (file, handle) = made(&vfs, ANNA, "f", 0o644);
    vfs.release(handle);
    let lent = FakeLent::default();
    tree.lend_as(file.ino, lent.clone());
    (vfs, tree, file.ino, lent)
}

fn open(vfs: &Vfs, ino: Ino, flags: OpenFlags) -> Opened {
    vfs.open(ANNA, ino, flags).unwrap()
}

/// What the kernel is told of a handle: whether reads pass by, or maps alone; `None`: nothing.
fn passes(opened: &Opened) -> Option<bool> {
    opened.passage.map(|passage| passage.maps_only)
}

#[test]
fn a_complete_file_passes_by_until_the_last_handle_is_closed() {
    let (vfs, tree, ino, lent) = fresh();
    let reader = open(&vfs, ino, RDONLY);
    assert_eq!(passes(&reader), Some(false));
    let writer = open(&vfs, ino, RDWR);
    assert_eq!(passes(&writer), Some(true), "writes come here, maps do not");
    assert_eq!(lent.exposed.load(Ordering::Acquire), 1);
    assert_eq!(passes(&open(&vfs, ino, OpenFlags { direct: true, ..RDONLY })), Some(true));
    tree.lend_none(ino);
    vfs.release(reader.handle);
    let late = open(&vfs, ino, RDONLY);
    assert_eq!(passes(&late), Some(false), "the mode is the inode's, whatever became of the file");
    (1..late.handle).for_each(|handle| assert_eq!(vfs.release(handle), None));
    assert_eq!(lent.concealed.load(Ordering::Acquire), 0);
    assert_eq!(vfs.release(late.handle), Some(ino));
    assert_eq!((lent.concealed.load(Ordering::Acquire), tree.opens(ino).0), (0, 1), "another open may follow");
    assert!(vfs.look_at_maps(ino));
    assert_eq!(lent.concealed.load(Ordering::Acquire), 1);
    assert_eq!(tree.opens(ino), (0, 0));
    assert_eq!(passes(&open(&vfs, ino, RDONLY)), None);
}

#[test]
fn a_file_that_is_open_through_the_page_cache_does_not_pass_by() {
    for first in [RDWR, WRONLY, OpenFlags { direct: true, ..RDONLY }] {
        let (vfs, _, ino, lent) = fresh();
        let opened = open(&vfs, ino, first);
        assert_eq!(passes(&opened), None);
        let reader = open(&vfs, ino, RDONLY);
        assert_eq!(passes(&reader), None, "an inode cannot be both");
        vfs.release(opened.handle);
        assert_eq!(passes(&open(&vfs, ino, RDONLY)), None);
        vfs.release(reader.handle);
        vfs.release(reader.handle + 1);
        assert_eq!(passes(&open(&vfs, ino, RDONLY)), Some(false));
        assert_eq!(lent.exposed.load(Ordering::Acquire), 0);
    }
}

#[test]
fn a_map_keeps_a_closed_file_open_until_it_is_gone() {
    let (vfs, tree, ino, lent) = fresh();
    let reader = open(&vfs, ino, RDONLY);
    assert_eq!(passes(&reader), Some(false));
    lent.is_mapped.store(true, Ordering::Release);
    assert_eq!(vfs.release(reader.handle), Some(ino));
    assert!(!vfs.look_at_maps(ino));
    assert_eq!(tree.opens(ino), (1, 0), "its version stays");
    tree.lend_none(ino);
    let again = open(&vfs, ino, WRONLY);
    assert_eq!(passes(&again), Some(true), "and it is what is lent already");
    assert_eq!(vfs.release(again.handle), None, "somebody looks already");
    let third = open(&vfs, ino, RDONLY);
    assert!(vfs.look_at_maps(ino), "it is open again: the next close has somebody look");
    assert_eq!(vfs.release(third.handle), Some(ino));
    assert!(!vfs.look_at_maps(ino));
    lent.is_mapped.store(false, Ordering::Release);
    vfs.take_back_unused();
    assert!(vfs.look_at_maps(ino));
    assert_eq!(tree.opens(ino), (0, 0));
}

#[test]
fn what_the_kernel_refuses_is_read_through_this_process_from_then_on() {
    let (vfs, tree, ino, lent) = fresh();
    tree.3.refuses.store(true, Ordering::Release);
    let reader = open(&vfs, ino, RDONLY);
    assert_eq!(passes(&reader), None);
    assert!(vfs.why_no_passthrough().unwrap().contains("permission denied"));
    assert_eq!(passes(&open(&vfs, ino, RDWR)), None);
    lent.is_mapped.store(true, Ordering::Release);
    assert_eq!((vfs.release(reader.handle), vfs.release(reader.handle + 1)), (None, None), "nobody asks the file");
    assert_eq!(tree.opens(ino), (0, 0));
    tree.3.refuses.store(false, Ordering::Release);
    assert!(open(&vfs, ino, RDONLY).passage.is_none());
}

#[test]
fn the_page_cache_gets_nothing_of_what_passes_by() {
    let (vfs, _, ino, _) = fresh();
    let cached = open(&vfs, ino, RDWR);
    vfs.write(ANNA, cached.handle, 0, b"content", false).unwrap();
    assert_eq!(&vfs.read_for_cache(ANNA, cached.handle, 0, 7).unwrap()[..], b"content");
    vfs.release(cached.handle);
    let (reader, writer) = (open(&vfs, ino, RDONLY), open(&vfs, ino, RDWR));
    assert_eq!((passes(&reader), passes(&writer)), (Some(false), Some(true)));
    for handle in [reader.handle, writer.handle] {
        assert!(matches!(refusal(vfs.read_for_cache(ANNA, handle, 0, 7)), TreeError::Invalid));
        assert_eq!(&vfs.read(handle, 0, 7).unwrap()[..], b"content");
    }
}

#[test]
fn without_the_kernels_word_nothing_is_lent() {
    let (vfs, tree) = super::fresh(posix());
    let (file, handle) = made(&vfs, ANNA, "f", 0o644);
    vfs.release(handle);
    tree.lend_as(file.ino, FakeLent::default());
    assert!(open(&vfs, file.ino, RDONLY).passage.is_none());
    assert!(vfs.why_no_passthrough().is_some());
}

/// A daemon over `tree` that keeps a record, the first or the next one.
pub fn recorded(tree: &FakeTree, before: Option<&OpenTable>) -> (Vfs, Arc<OpenTable>) {
    let (table, left) = match before {
        None => (OpenTable::new().unwrap(), None),
        Some(before) => {
            let (table, left) = OpenTable::take_over(before.fd().try_clone_to_owned().unwrap()).unwrap();
            (table, Some(left))
        }
    };
    let table = Arc::new(table);
    let lending = tree.lending(Some(Arc::clone(&table)));
    let taken = left.map(|left| TakenUp::of(tree, &lending, left)).unwrap_or_default();
    let life = u32::from(before.is_some());
    let vfs = tree.mount(posix()).in_life(life, 100).lending(lending, taken);
    vfs.agree_passthrough(Ok(()));
    (vfs, table)
}

/// Ends a daemon as a kill does: nothing is taken back. Its tree forgets who had what open.
fn kill(vfs: Vfs, tree: &FakeTree) {
    std::mem::forget(vfs);
    tree.forget_opens();
}

/// A daemon with a record, and a file that can be lent.
fn with_record() -> (Vfs, Arc<OpenTable>, FakeTree, Ino, FakeLent) {
    let tree = FakeTree::new();
    let (vfs, table) = recorded(&tree, None);
    let (file, handle) = made(&vfs, ANNA, "f", 0o644);
    vfs.release(handle);
    let lent = FakeLent::default();
    tree.lend_as(file.ino, lent.clone());
    (vfs, table, tree, file.ino, lent)
}

#[test]
fn the_next_daemon_goes_on_with_what_the_kernel_was_lent() {
    let (vfs, table, tree, ino, lent) = with_record();
    let (reader, writer) = (open(&vfs, ino, RDONLY), open(&vfs, ino, RDWR));
    assert_eq!(reader.passage.map(|passage| passage.number), Some(1));
    kill(vfs, &tree);
    let (next, _) = recorded(&tree, Some(&table));
    assert_eq!((tree.opens(ino), next.open_count()), ((2, 1), 2), "open from the start");
    tree.lend_none(ino);
    let late = open(&next, ino, RDONLY);
    assert_eq!(late.passage, reader.passage, "the kernel takes no other file for this inode");
    assert!(matches!(refusal(next.read_for_cache(ANNA, reader.handle, 0, 7)), TreeError::Invalid));
    assert_eq!((next.release(reader.handle), next.release(writer.handle)), (None, None));
    assert_eq!(*tree.3.given.lock(), [1].into());
    assert_eq!(next.release(late.handle), Some(ino));
    assert!(tree.3.given.lock().is_empty(), "the last handle is closed: the old file would count as in use for ever");
    assert_eq!(lent.concealed.load(Ordering::Acquire), 0);
    assert!(next.look_at_maps(ino));
    assert_eq!((lent.concealed.load(Ordering::Acquire), tree.opens(ino)), (1, (0, 0)));
}

#[test]
fn an_inode_that_is_open_through_the_page_cache_is_not_lent_by_the_next_daemon() {
    let (vfs, table, tree, ino, _) = with_record();
    let cached = open(&vfs, ino, RDWR);
    kill(vfs, &tree);
    let (next, table) = recorded(&tree, Some(&table));
    assert_eq!(passes(&open(&next, ino, RDONLY)), None);
    next.release(cached.handle);
    kill(next, &tree);
    let (third, _) = recorded(&tree, Some(&table));
    assert_eq!(passes(&open(&third, ino, RDONLY)), None, "the handle of the second daemon is open");
    assert_eq!(tree.opens(ino), (2, 0));
}

#[test]
fn what_was_closed_and_is_mapped_keeps_its_version_in_the_next_daemon() {
    let (vfs, table, tree, ino, lent) = with_record();
    lent.is_mapped.store(true, Ordering::Release);
    let reader = open(&vfs, ino, RDONLY);
    vfs.release(open(&vfs, ino, RDWR).handle);
    vfs.release(reader.handle);
    kill(vfs, &tree);
    let (next, _) = recorded(&tree, Some(&table));
    assert_eq!((next.left_lent(), tree.opens(ino)), (vec![ino], (1, 1)));
    assert!(tree.3.given.lock().is_empty());
    assert!(!next.look_at_maps(ino));
    assert_eq!(passes(&open(&next, ino, RDONLY)), Some(false), "it can be given anew");
    next.release((1 << 40) + 1);
    lent.is_mapped.store(false, Ordering::Release);
    assert!(next.look_at_maps(ino));
    assert_eq!((lent.concealed.load(Ordering::Acquire), tree.opens(ino)), (1, (0, 0)));
}

#[test]
fn a_number_that_was_taken_back_just_before_the_end_is_not_used_again() {
    let (vfs, table, tree, ino, _) = with_record();
    vfs.release(open(&vfs, ino, RDONLY).handle);
    // The daemon is killed between taking the file back and striking it out.
    tree.3.close(1);
    kill(vfs, &tree);
    let (next, _) = recorded(&tree, Some(&table));
    let reader = open(&next, ino, RDONLY);
    let number = reader.passage.map(|passage| passage.number);
    assert_eq!(Vec::from_iter(number), Vec::from_iter(tree.3.given.lock().iter().copied()));
    assert!(number.is_some());
}

#[test]
fn a_file_that_the_kernel_was_given_and_nobody_entered_is_taken_back() {
    let (vfs, table, tree, ino, _) = with_record();
    open(&vfs, ino, RDONLY);
    kill(vfs, &tree);
    tree.3.open(std::os::fd::AsFd::as_fd(&std::io::stdin())).unwrap();
    assert_eq!(*tree.3.given.lock(), [1, 2].into());
    let (_next, _) = recorded(&tree, Some(&table));
    assert_eq!(*tree.3.given.lock(), [1].into());
}

#[test]
fn an_open_that_comes_a_second_time_gets_the_handle_that_it_was_given() {
    let (vfs, table, tree, ino, _) = with_record();
    let asks = Caller { unique: 8, ..ANNA };
    let first = vfs.open(asks, ino, RDONLY).unwrap();
    let (made, _) = vfs.create(Caller { unique: 10, ..ANNA }, ROOT, b"new", 0o644, RDWR).unwrap();
    kill(vfs, &tree);
    let (next, table) = recorded(&tree, Some(&table));
    let again = next.open(Caller { is_again: true, ..asks }, ino, RDONLY).unwrap();
    assert_eq!((again.handle, again.passage), (first.handle, first.passage));
    let exclusive = OpenFlags { exclusive: true, ..RDWR };
    next.create(Caller { is_again: true, unique: 10, ..ANNA }, ROOT, b"new", 0o644, exclusive).unwrap();
    assert_eq!((tree.opens(ino), tree.opens(made.stat.ino), next.open_count()), ((1, 0), (1, 1), 2));
    next.release(first.handle);
    assert!(tree.3.given.lock().is_empty());
    kill(next, &tree);
    let (third, _) = recorded(&tree, Some(&table));
    assert_eq!((tree.opens(ino), third.open_count()), ((1, 0), 1), "lent for a moment longer than it is open");
}

#[test]
fn a_record_of_another_kind_is_refused() {
    let memory = crate::env::KeptMemory::new("other").unwrap();
    memory.write_at(&[7; 128], 0).unwrap();
    let refused = OpenTable::take_over(memory.fd().try_clone_to_owned().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidData);
}
