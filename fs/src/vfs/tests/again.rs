//! Calls that come a second time, to the daemon after the one that was asked first, and handles that it gave out.

use super::*;

const AGAIN: Caller = Caller { is_again: true, ..ANNA };

fn absent(vfs: &Vfs, name: &[u8]) -> bool {
    vfs.lookup(ROOT, name).unwrap().is_none()
}

#[test]
fn what_was_made_before_is_the_answer_to_the_second_call() {
    let (vfs, _) = fresh(posix());
    let dir = vfs.mkdir(ANNA, ROOT, b"d", 0o755).unwrap().stat.ino;
    assert_eq!(vfs.mkdir(AGAIN, ROOT, b"d", 0o755).unwrap().stat.ino, dir);
    let link = vfs.symlink(ANNA, ROOT, b"s", b"target").unwrap().stat.ino;
    assert_eq!(vfs.symlink(AGAIN, ROOT, b"s", b"target").unwrap().stat.ino, link);
    let fifo = vfs.mknod(ANNA, ROOT, b"p", libc::S_IFIFO | 0o644, 0).unwrap().stat.ino;
    assert_eq!(vfs.mknod(AGAIN, ROOT, b"p", libc::S_IFIFO | 0o644, 0).unwrap().stat.ino, fifo);
    let exclusive = OpenFlags { exclusive: true, ..RDWR };
    let file = vfs.create(ANNA, ROOT, b"f", 0o644, exclusive).unwrap().0.stat.ino;
    assert_eq!(vfs.create(AGAIN, ROOT, b"f", 0o644, exclusive).unwrap().0.stat.ino, file);
    let named = vfs.link_for(ANNA, file, ROOT, b"l").unwrap().stat.link_count;
    assert_eq!(vfs.link_for(AGAIN, file, ROOT, b"l").unwrap().stat.link_count, named);
}

#[test]
fn something_else_that_is_there_refuses_the_second_call_as_the_first() {
    let (vfs, _) = fresh(posix());
    let (file, _) = made(&vfs, ANNA, "f", 0o644);
    vfs.symlink(ANNA, ROOT, b"s", b"target").unwrap();
    assert!(matches!(refusal(vfs.mkdir(AGAIN, ROOT, b"f", 0o755)), TreeError::Exists));
    assert!(matches!(refusal(vfs.symlink(AGAIN, ROOT, b"s", b"other")), TreeError::Exists));
    assert!(matches!(refusal(vfs.link_for(AGAIN, file.ino, ROOT, b"s")), TreeError::Exists));
    assert!(matches!(refusal(vfs.mkdir(ANNA, ROOT, b"f", 0o755)), TreeError::Exists));
}

#[test]
fn what_is_gone_was_removed_by_the_first_call_and_what_is_there_is_removed_by_the_second() {
    let (vfs, _) = fresh(posix());
    made(&vfs, ANNA, "f", 0o644);
    vfs.unlink_for(AGAIN, ROOT, b"f").unwrap();
    vfs.unlink_for(AGAIN, ROOT, b"f").unwrap();
    assert!(absent(&vfs, b"f"));
    vfs.mkdir(ANNA, ROOT, b"d", 0o755).unwrap();
    vfs.rmdir_for(AGAIN, ROOT, b"d").unwrap();
    vfs.rmdir_for(AGAIN, ROOT, b"d").unwrap();
    assert!(matches!(refusal(vfs.unlink_for(ANNA, ROOT, b"f")), TreeError::NotFound));
    assert!(matches!(refusal(vfs.rmdir_for(ANNA, ROOT, b"d")), TreeError::NotFound));
}

#[test]
fn a_name_is_moved_once() {
    let (vfs, _) = fresh(posix());
    let (file, _) = made(&vfs, ANNA, "f", 0o644);
    let (from, to) = ((ROOT, &b"f"[..]), (ROOT, &b"g"[..]));
    for flags in [RenameFlags::default(), RenameFlags { no_replace: true, ..RenameFlags::default() }] {
        vfs.rename_for(AGAIN, from, to, flags).unwrap();
        vfs.rename_for(AGAIN, from, to, flags).unwrap();
        assert_eq!(vfs.lookup(ROOT, b"g").unwrap().unwrap().stat.ino, file.ino);
        vfs.rename_for(ANNA, to, from, flags).unwrap();
    }
    assert!(matches!(
        refusal(vfs.rename_for(AGAIN, (ROOT, b"x"), (ROOT, b"y"), RenameFlags::default())),
        TreeError::NotFound
    ));
}

#[test]
fn names_are_exchanged_once() {
    let tree = FakeTree::new();
    let (from, to) = ((ROOT, &b"f"[..]), (ROOT, &b"g"[..]));
    let exchange = RenameFlags { exchange: true, ..RenameFlags::default() };
    let (call, again) = (Caller { unique: 8, ..ANNA }, Caller { unique: 8, ..AGAIN });
    let (vfs, table) = super::passthrough::recorded(&tree, None);
    let (f, g) = (made(&vfs, ANNA, "f", 0o644).0.ino, made(&vfs, ANNA, "g", 0o644).0.ino);
    let named = |vfs: &Vfs, name: &[u8]| vfs.lookup(ROOT, name).unwrap().unwrap().stat.ino;
    vfs.rename_for(call, from, to, exchange).unwrap();
    let (next, table) = super::passthrough::recorded(&tree, Some(&table));
    next.rename_for(again, from, to, exchange).unwrap();
    assert_eq!((named(&next, b"f"), named(&next, b"g")), (g, f), "it was done");
    // Entered, and not done.
    next.rename(from, to, exchange).unwrap();
    let (third, table) = super::passthrough::recorded(&tree, Some(&table));
    third.rename_for(again, from, to, exchange).unwrap();
    third.rename_for(Caller { unique: 10, ..AGAIN }, from, to, exchange).unwrap();
    assert_eq!((named(&third, b"f"), named(&third, b"g")), (f, g), "what was not entered was not done");
    // Another device has changed one of the names since.
    let (last, _) = super::passthrough::recorded(&tree, Some(&table));
    last.unlink(ROOT, b"g").unwrap();
    made(&last, ANNA, "g", 0o644);
    assert!(matches!(last.rename_for(again, from, to, exchange), Err(Stop::Fail(VfsError::Interrupted))));
    assert_eq!(named(&last, b"f"), f, "nobody knows, so it is left");
}

#[test]
fn without_a_record_nobody_knows_whether_names_were_exchanged() {
    let (vfs, _) = fresh(posix());
    let (file, _) = made(&vfs, ANNA, "f", 0o644);
    made(&vfs, ANNA, "g", 0o644);
    let exchange = RenameFlags { exchange: true, ..RenameFlags::default() };
    let answer = vfs.rename_for(AGAIN, (ROOT, b"f"), (ROOT, b"g"), exchange);
    assert!(matches!(answer, Err(Stop::Fail(VfsError::Interrupted))));
    assert_eq!(vfs.lookup(ROOT, b"f").unwrap().unwrap().stat.ino, file.ino);
}

#[test]
fn an_append_that_was_done_is_not_done_twice() {
    let (vfs, _) = fresh(posix());
    let append = OpenFlags { append: true, ..RDWR };
    let handle = vfs.create(ANNA, ROOT, b"f", 0o644, append).unwrap().1.handle;
    vfs.write(ANNA, handle, 0, b"one ", false).unwrap();
    vfs.write(AGAIN, handle, 0, b"one ", false).unwrap();
    vfs.write(AGAIN, handle, 4, b"two ", false).unwrap();
    assert_eq!(vfs.read(handle, 0, 100).unwrap(), &b"one two "[..]);
    // Another version has come from elsewhere: the end is where it is now.
    vfs.write(AGAIN, handle, 1000, b"three", false).unwrap();
    assert_eq!(vfs.read(handle, 0, 100).unwrap(), &b"one two three"[..]);
}

#[test]
fn attributes_are_set_and_removed_once() {
    let (vfs, _) = fresh(posix());
    let (file, _) = made(&vfs, ANNA, "f", 0o644);
    let set = |caller, value: &[u8]| vfs.setxattr(caller, file.ino, b"user.a", value, XattrMode::Create);
    set(ANNA, b"v").unwrap();
    set(AGAIN, b"v").unwrap();
    assert!(matches!(refusal(set(AGAIN, b"other")), TreeError::Exists));
    vfs.removexattr_for(AGAIN, file.ino, b"user.a").unwrap();
    vfs.removexattr_for(AGAIN, file.ino, b"user.a").unwrap();
    assert!(matches!(refusal(vfs.removexattr_for(ANNA, file.ino, b"user.a")), TreeError::NoAttribute));
}

#[test]
fn handles_of_an_earlier_daemon_are_opened_at_their_first_use() {
    let (first, tree) = fresh(posix());
    let (file, handle) = made(&first, ANNA, "f", 0o644);
    let dir = first.opendir(ROOT).unwrap().handle;
    first.write(ANNA, handle, 0, b"bytes", false).unwrap();
    drop(first);
    let next = tree.mount(posix()).in_life(1, 100);
    assert_eq!(next.open_count(), 0);
    let through = Through { handle, ino: file.ino, flags: RDONLY };
    assert_eq!(next.read(next.inherited(through).unwrap(), 0, 100).unwrap(), &b"bytes"[..]);
    let writing = next.inherited(Through::writing(handle, file.ino)).unwrap();
    next.write(ANNA, writing, 0, b"B", false).unwrap();
    assert_eq!((writing, next.open_count()), (handle, 1), "it is the same handle");
    let dir = next.inherited_dir(dir, ROOT).unwrap();
    assert_eq!(next.readdir(dir, 0, 100).unwrap().len(), 3);
    let (_, own) = made(&next, ANNA, "g", 0o644);
    assert_ne!(own, handle);
    next.release(handle);
    next.release(own);
    assert!(matches!(
        next.read(next.inherited(Through::reading(own, file.ino)).unwrap(), 0, 1),
        Err(Stop::Fail(VfsError::BadHandle))
    ));
}

#[test]
fn what_the_kernel_has_of_a_file_is_dropped_at_its_first_open_in_each_life() {
    let (first, tree) = fresh(posix());
    let (file, _) = made(&first, ANNA, "f", 0o644);
    let next = tree.mount(posix()).in_life(1, file.ino.0);
    let serve = |ino| next.open(ANNA, ino, RDONLY).unwrap().serve;
    assert_eq!((serve(file.ino), serve(file.ino)), (Serve::FreshCache, Serve::KeepCache));
    let (new, _) = made(&next, ANNA, "g", 0o644);
    assert_eq!(serve(new.ino), Serve::KeepCache);
}
