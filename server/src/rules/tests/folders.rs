//! What goes with a folder, what stays of it, and what comes back with it.

use super::state::*;
use tarn_proto::node::AttrChange;
use tarn_proto::op::OpKind;
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
