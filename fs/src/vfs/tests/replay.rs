//! The player of changes from elsewhere is answered as if it did them, and does nothing.

use super::*;
use crate::tree::Child;
use std::collections::HashMap;
use tarn_proto::name::Name;

const PLAYER: Caller = Caller { tid: 77, ..ANNA };
const NOW: SetAttr = SetAttr {
    mode: None,
    uid: None,
    gid: None,
    size_bytes: None,
    atime: None,
    mtime: Some(NewTime::Now),
    handle: None,
};

fn place(name: &str) -> Place {
    (ROOT, Name::new(name).unwrap())
}

fn child(stat: &Stat) -> Child {
    Child { ino: stat.ino, kind: stat.kind.clone(), mode: stat.attrs.mode }
}

fn ghost(child: Child) -> Option<Ghost> {
    Some(Ghost { child, leaves: true })
}

fn stage() -> (Vfs, FakeTree) {
    let (vfs, tree) = fresh(posix());
    vfs.replay().set_player(PLAYER.tid);
    (vfs, tree)
}

fn begin(vfs: &Vfs, act: Act, shown: impl IntoIterator<Item = (Place, Option<Ghost>)>) {
    vfs.replay().begin(Part { act, shown: shown.into_iter().collect::<HashMap<_, _>>() });
}

/// What the kernel asks for the player before and in a call on a name.
fn look(vfs: &Vfs, name: &str) -> Answer<Option<Shown>> {
    vfs.statfs_for(PLAYER)?;
    vfs.lookup_for(PLAYER, ROOT, name.as_bytes())
}

fn file(vfs: &Vfs, name: &str) -> Stat {
    vfs.mknod(ANNA, ROOT, name.as_bytes(), libc::S_IFREG | 0o644, 0).unwrap().stat
}

#[test]
fn a_name_that_came_is_not_there_for_the_player_until_it_has_made_it() {
    let (vfs, tree) = stage();
    let made = file(&vfs, "f");
    begin(&vfs, Act::Make { place: place("f"), ino: made.ino }, [(place("f"), None)]);
    assert!(matches!(refusal(look(&vfs, "f")), TreeError::NotFound));
    assert_eq!(vfs.lookup_for(ANNA, ROOT, b"f").unwrap().unwrap().stat.ino, made.ino);
    let refs = tree.refs(made.ino);
    let answer = vfs.mknod(PLAYER, ROOT, b"f", libc::S_IFREG | 0o600, 0).unwrap();
    assert_eq!((answer.stat.ino, answer.stat.attrs.mode, answer.is_kept), (made.ino, 0o644, false));
    assert_eq!(tree.refs(made.ino), refs + 1);
    assert!(vfs.replay().finish());
}

#[test]
fn a_name_that_went_is_there_for_the_player_until_it_has_removed_it() {
    let (vfs, _) = stage();
    let gone = file(&vfs, "f");
    vfs.unlink(ROOT, b"f").unwrap();
    begin(&vfs, Act::Remove { place: place("f") }, [(place("f"), ghost(child(&gone)))]);
    let seen = look(&vfs, "f").unwrap().unwrap();
    assert_eq!((seen.stat.ino, seen.stat.link_count, seen.is_kept), (gone.ino, 1, false));
    assert_eq!(vfs.getattr_for(PLAYER, gone.ino).unwrap().stat.ino, gone.ino);
    assert!(vfs.lookup_for(ANNA, ROOT, b"f").unwrap().is_none());
    vfs.unlink_for(PLAYER, ROOT, b"f").unwrap();
    // Granted once.
    assert!(matches!(refusal(vfs.unlink_for(PLAYER, ROOT, b"f")), TreeError::NotPermitted));
}

#[test]
fn what_has_come_in_the_place_of_what_went_is_never_removed() {
    let (vfs, _) = stage();
    let gone = file(&vfs, "f");
    vfs.unlink(ROOT, b"f").unwrap();
    let new = file(&vfs, "f");
    begin(&vfs, Act::Remove { place: place("f") }, [(place("f"), ghost(child(&gone)))]);
    look(&vfs, "f").unwrap();
    vfs.unlink_for(PLAYER, ROOT, b"f").unwrap();
    assert_eq!(vfs.lookup(ROOT, b"f").unwrap().unwrap().stat.ino, new.ino);
}

#[test]
fn a_call_whose_names_the_kernel_has_not_looked_up_for_it_is_refused() {
    let (vfs, _) = stage();
    let moved = file(&vfs, "new");
    let act = Act::Rename { from: place("old"), to: place("new") };
    begin(&vfs, act, [(place("old"), ghost(child(&moved))), (place("new"), None)]);
    let (from, to) = ((ROOT, &b"old"[..]), (ROOT, &b"new"[..]));
    let rename = || vfs.rename_for(PLAYER, from, to, RenameFlags::default());
    // One name only; and before it was announced.
    vfs.lookup_for(PLAYER, ROOT, b"new").unwrap_err();
    look(&vfs, "old").unwrap();
    assert!(matches!(refusal(rename()), TreeError::NotFound));
    vfs.lookup_for(PLAYER, ROOT, b"new").unwrap_err();
    rename().unwrap();
    assert_eq!(vfs.lookup(ROOT, b"new").unwrap().unwrap().stat.ino, moved.ino);
}

#[test]
fn a_folder_that_is_somewhere_is_not_taken_away_from_the_kernel() {
    let (vfs, _) = stage();
    let dir = vfs.mkdir(ANNA, ROOT, b"d", 0o755).unwrap().stat;
    vfs.rename(((ROOT), b"d"), (ROOT, b"elsewhere"), RenameFlags::default()).unwrap();
    begin(&vfs, Act::Remove { place: place("d") }, [(place("d"), ghost(child(&dir)))]);
    look(&vfs, "d").unwrap();
    assert!(matches!(refusal(vfs.rmdir_for(PLAYER, ROOT, b"d")), TreeError::NotPermitted));
}

#[test]
fn touching_changes_nothing_and_opens_nothing() {
    let (vfs, tree) = stage();
    let before = file(&vfs, "f");
    begin(&vfs, Act::Touch { ino: before.ino }, []);
    let opened = vfs.open(PLAYER, before.ino, RDWR).unwrap();
    assert_eq!((opened.serve, tree.opens(before.ino), vfs.open_count()), (Serve::Aside, (0, 0), 0));
    assert_eq!(vfs.setattr(PLAYER, before.ino, NOW).unwrap().stat, before);
    assert!(vfs.release(opened.handle).is_none());
    let emptied = OpenFlags { truncate: true, ..RDWR };
    assert!(matches!(refusal(vfs.open(PLAYER, before.ino, emptied)), TreeError::NotPermitted));
    let shorter = SetAttr { size_bytes: Some(0), ..NOW };
    assert!(matches!(refusal(vfs.setattr(PLAYER, before.ino, shorter)), TreeError::NotPermitted));
}

#[test]
fn whatever_else_the_player_asks_for_is_refused_and_others_are_not_taken_for_it() {
    let (vfs, _) = stage();
    let (kept, came) = (file(&vfs, "kept"), file(&vfs, "came"));
    begin(&vfs, Act::Make { place: place("came"), ino: came.ino }, [(place("came"), None)]);
    look(&vfs, "came").unwrap_err();
    assert!(matches!(refusal(vfs.unlink_for(PLAYER, ROOT, b"kept")), TreeError::NotPermitted));
    assert!(matches!(refusal(vfs.mkdir(PLAYER, ROOT, b"new", 0o755)), TreeError::NotPermitted));
    assert!(matches!(refusal(vfs.setattr(PLAYER, kept.ino, NOW)), TreeError::NotPermitted));
    assert!(matches!(refusal(vfs.open(PLAYER, kept.ino, RDWR)), TreeError::NotPermitted));
    for call in ["write", "create", "link", "setxattr", "fallocate", "ioctl", "copy_file_range", "read"] {
        assert!(matches!(vfs.admit(PLAYER, call), Err(Stop::Fail(_))), "{call}");
        vfs.admit(ANNA, call).unwrap();
    }
    // Others find the name, and may remove it.
    assert!(matches!(refusal(vfs.mknod(ANNA, ROOT, b"came", libc::S_IFREG | 0o644, 0)), TreeError::Exists));
    vfs.unlink_for(ANNA, ROOT, b"came").unwrap();
    // What is gone by now is not made.
    assert!(matches!(refusal(vfs.mknod(PLAYER, ROOT, b"came", libc::S_IFREG | 0o644, 0)), TreeError::NotFound));
    // Nobody is the player any more.
    vfs.replay().set_player(0);
    vfs.unlink_for(PLAYER, ROOT, b"kept").unwrap();
}
