//! Which handles pass this process by, and until when.

use super::super::fake::{FakeLent, FakeTree};
use super::super::*;
use super::{ANNA, RDONLY, RDWR, made, posix};
use crate::tree::TreeError;
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
    let passage = opened.passage.as_ref()?;
    passage.lend.token(|_| Ok(Box::new(()))).map(|_| passage.maps_only)
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
    let reader = open(&vfs, ino, RDONLY);
    let refused = reader.passage.as_ref().unwrap().lend.token(|_| Err(std::io::ErrorKind::PermissionDenied.into()));
    assert!(refused.is_none());
    assert!(vfs.why_no_passthrough().unwrap().contains("permission denied"));
    assert_eq!(passes(&open(&vfs, ino, RDWR)), None);
    lent.is_mapped.store(true, Ordering::Release);
    assert_eq!((vfs.release(reader.handle), vfs.release(reader.handle + 1)), (None, None), "nobody asks the file");
    assert_eq!(tree.opens(ino), (0, 0));
    drop(reader);
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
        assert!(matches!(super::refusal(vfs.read_for_cache(ANNA, handle, 0, 7)), TreeError::Invalid));
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
