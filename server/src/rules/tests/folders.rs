//! What goes with a folder, what stays of it, and what comes back with it.

use super::state::*;
use tarn_proto::ids::NodeId;
use tarn_proto::node::AttrChange;
use tarn_proto::op::{OpKind, Seen};
use tarn_proto::version::VersionVector;

fn none() -> VersionVector {
    VersionVector::default()
}

#[test]
fn a_folder_that_others_moved_into_a_removed_one_stays_with_all_that_is_in_it() {
    let mut s = State::new();
    let (d, other) = (s.some_dir("d"), s.some_dir("other"));
    s.some_file(&at(other, "old"), "one");
    s.cursors.insert(B, s.seq);
    s.applied(A, rename(other, &top("other"), &at(d, "moved")));
    s.merged(B, unlink(&top("d"), d, &none()), None);
    assert_eq!(s.names(), ["/d", "/d/moved", "/d/moved/old"]);
}

#[test]
fn attributes_that_its_remover_has_not_seen_keep_no_file_in_a_folder() {
    let mut s = State::new();
    let d = s.some_dir("d");
    let (f, _) = s.some_file(&at(d, "f"), "one");
    s.cursors.insert(B, s.seq);
    s.applied(A, OpKind::SetAttr { node: f, attrs: AttrChange { mode: Some(0o600), ..AttrChange::default() } });
    s.applied(B, unlink(&top("d"), d, &none()));
    assert_eq!(s.names(), Vec::<String>::new());
}

#[test]
fn a_folder_comes_back_with_all_that_went_with_it_and_nothing_else() {
    let mut s = State::new();
    let (d, inner) = (s.some_dir("d"), s.node());
    s.applied(A, dir(inner, &at(d, "inner")));
    s.some_file(&at(inner, "deep"), "one");
    let (linked, _) = s.some_file(&at(d, "linked"), "two");
    s.applied(A, OpKind::Link { node: linked, place: top("link") });
    let (gone, base) = s.some_file(&at(d, "gone"), "three");
    s.applied(A, unlink(&top("d"), d, &none()));
    s.merged(B, rename(gone, &at(d, "gone"), &top("back")), None);
    s.applied(A, unlink(&top("back"), gone, &base));
    s.merged(B, rename(d, &top("d"), &top("e")), None);
    assert_eq!(s.names(), ["/e", "/e/inner", "/e/inner/deep", "/e/linked", "/link"]);
}

/// `/d` was removed and made anew by A. B, who has not heard of that, has put the file `f` in the one that was removed.
fn put_in_a_removed_folder(s: &mut State) -> (NodeId, NodeId, NodeId) {
    let d = s.some_dir("d");
    s.applied(A, unlink(&top("d"), d, &none()));
    let anew = s.some_dir("d");
    let (f, one) = (s.node(), s.content("one"));
    s.applied(B, file(f, &at(d, "f"), one));
    assert_eq!((s.paths()["/d"], s.paths()["/d/f"]), (anew, f));
    (d, anew, f)
}

#[test]
fn what_is_put_in_a_removed_folder_goes_along_when_its_author_renames_that() {
    let mut s = State::new();
    let (d, anew, f) = put_in_a_removed_folder(&mut s);
    s.some_file(&at(anew, "theirs"), "theirs");
    let (own, two) = (s.node(), s.content("two"));
    s.applied(B, file(own, &at(anew, "own"), two));
    s.merged(B, rename(d, &top("d"), &top("renamed")), None);
    assert_eq!(s.names(), ["/d", "/d/own", "/d/theirs", "/renamed", "/renamed/f"]);
    let vector = s.vector_of(f);
    s.applied(B, unlink(&at(d, "f"), f, &vector));
    assert_eq!(s.names(), ["/d", "/d/own", "/d/theirs", "/renamed"]);
}

#[test]
fn what_others_put_in_a_removed_folder_stays_when_somebody_renames_that() {
    let mut s = State::new();
    let (d, _, f) = put_in_a_removed_folder(&mut s);
    s.merged(C, rename(d, &top("d"), &top("renamed")), None);
    assert_eq!(s.names(), ["/d", "/d/f", "/renamed"]);
    // B still knows it by that folder.
    s.applied(B, rename(f, &at(d, "f"), &at(d, "g")));
    assert_eq!(s.names(), ["/d", "/renamed", "/renamed/g"]);
}

#[test]
fn what_is_put_in_a_removed_folder_is_found_where_the_one_that_took_its_name_went() {
    let mut s = State::new();
    let (d, anew, f) = put_in_a_removed_folder(&mut s);
    s.applied(A, rename(anew, &top("d"), &top("away")));
    let (new, two) = (s.node(), s.content("two"));
    s.applied(B, file(new, &at(d, "new"), two));
    assert_eq!(s.names(), ["/away", "/away/f", "/d", "/d/new"]);
    s.applied(B, rename(f, &at(d, "f"), &at(d, "g")));
    assert_eq!(s.names(), ["/away", "/d", "/d/g", "/d/new"]);
}

#[test]
fn what_stands_beside_its_name_in_the_folder_that_it_was_not_meant_for_goes_along_and_is_found() {
    let mut s = State::new();
    let (d, anew, _) = put_in_a_removed_folder(&mut s);
    let (mine, two) = (s.node(), s.content("two"));
    s.some_file(&at(anew, "n"), "theirs");
    s.merged(B, file(mine, &at(d, "n"), two), Some("n (b)"));
    s.merged(B, rename(d, &top("d"), &top("renamed")), None);
    assert_eq!(s.names(), ["/d", "/d/n", "/renamed", "/renamed/f", "/renamed/n (b)"]);
    let known = Seen { alt_name: Some(name("n (b)")), ..seen(mine, &s.vector_of(mine)) };
    s.applied(B, OpKind::Unlink { place: at(d, "n"), seen: known });
    assert_eq!(s.names(), ["/d", "/d/n", "/renamed", "/renamed/f"]);
}

#[test]
fn who_makes_room_in_a_removed_folder_does_not_get_back_what_was_there() {
    let mut s = State::new();
    let d = s.some_dir("d");
    let (old, base) = s.some_file(&at(d, "f"), "old");
    s.applied(A, unlink(&top("d"), d, &none()));
    s.some_dir("d");
    let (f, two) = (s.node(), s.content("two"));
    s.merged(B, unlink(&at(d, "f"), old, &base), None);
    s.applied(B, file(f, &at(d, "f"), two));
    s.merged(B, rename(d, &top("d"), &top("renamed")), None);
    assert_eq!((s.names().len(), s.paths()["/renamed/f"]), (3, f));
}

#[test]
fn a_removed_folder_comes_back_in_what_was_put_in_it_and_not_in_itself() {
    let mut s = State::new();
    let d = s.some_dir("d");
    s.applied(A, unlink(&top("d"), d, &none()));
    s.some_dir("d");
    let inner = s.node();
    s.applied(B, dir(inner, &at(d, "inner")));
    s.merged(B, rename(d, &top("d"), &at(inner, "back")), None);
    assert_eq!(s.names(), ["/d", "/d/inner", "/d/inner/back"]);
}

#[test]
fn a_link_that_is_meant_for_another_folder_stays() {
    let mut s = State::new();
    let (d, _, f) = put_in_a_removed_folder(&mut s);
    let other = s.some_dir("other");
    s.applied(B, OpKind::Link { node: f, place: at(other, "f") });
    let vector = s.vector_of(f);
    s.merged(C, unlink(&at(other, "g"), f, &vector), None);
    s.applied(B, unlink(&at(d, "f"), f, &vector));
    s.merged(B, unlink(&at(d, "f"), f, &vector), None);
    assert_eq!(s.names(), ["/d", "/other", "/other/f"]);
}
