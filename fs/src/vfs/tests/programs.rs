//! What a reader causes, and what a scanner gets.

use super::super::fake::FakeTree;
use super::super::*;
use super::{RDWR, made, posix, refusal};
use crate::tree::TreeError;

const HEAD: u64 = SCANNED_BYTES;

/// This test, which counts as a scanner or not.
fn reader() -> Caller {
    Caller { uid: 0, gid: 0, tid: std::process::id(), is_again: false, unique: 0 }
}

fn absent_file(scanners: Vec<String>) -> (Vfs, FakeTree, u64) {
    let tree = FakeTree::new();
    let vfs = tree.mount(Options { scanners, ..posix() });
    let (file, handle) = made(&vfs, reader(), "f", 0o644);
    vfs.write(reader(), handle, 0, &[7; 3 << 20], false).unwrap();
    tree.lose_bytes(file.ino, 0..3 << 20);
    let opened = vfs.open(reader(), file.ino, RDWR).unwrap();
    (vfs, tree, opened.handle)
}

fn own_name() -> String {
    std::env::current_exe().unwrap().file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn bytes_are_put_down_to_the_program_that_waits_for_them() {
    let (vfs, tree, handle) = absent_file(Vec::new());
    assert!(vfs.caused().is_empty());
    for offset in [0, 4096, 8192] {
        assert!(matches!(vfs.read_for(reader(), handle, offset, 4096), Err(Stop::Wait(_))));
    }
    let [caused] = &vfs.caused()[..] else { panic!("{:?}", vfs.caused()) };
    assert!(caused.program.ends_with(&own_name()) && !caused.scans);
    assert_eq!(caused.asked_bytes, 3 * 4096);
    assert!(caused.ahead_bytes > 0 && !tree.1.asked_soon.lock().is_empty(), "it reads in order");
}

#[test]
fn a_scanner_gets_what_is_here_and_the_head_of_the_rest() {
    let (vfs, tree, handle) = absent_file(vec![own_name()]);
    for offset in [0, 4096, 8192, HEAD - 1] {
        let answer = vfs.read_for(reader(), handle, offset, 4096);
        assert!(matches!(answer, Err(Stop::Wait(WaitFor::Bytes { alone: true, .. }))), "{offset}");
    }
    assert!(matches!(refusal(vfs.read_for(reader(), handle, HEAD, 4096)), TreeError::NotPermitted));
    assert!(tree.1.asked_soon.lock().is_empty(), "nothing is fetched ahead of it");
    let caused = vfs.caused();
    assert_eq!((caused[0].scans, caused[0].refused_count, caused[0].ahead_bytes), (true, 1, 0));
    vfs.write(reader(), handle, HEAD, &[8; 4096], false).unwrap();
    assert_eq!(vfs.read_for(reader(), handle, HEAD, 4096).unwrap(), vec![8; 4096]);
}
