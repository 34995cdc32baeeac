//! What taking back leaves, and what it never overwrites.

use super::state::*;
use crate::rules::{Before, Undo};
use tarn_proto::api::Outcome;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{NodeId, VersionId};
use tarn_proto::node::{AttrChange, Attrs, FileVersion, Timestamp};
use tarn_proto::op::{OpKind, Place};

fn file_of(s: &State, node: NodeId) -> FileVersion {
    s.row(node).unwrap().file().unwrap().clone()
}

/// Nothing but what the fields say.
fn asked(node: NodeId, before: Option<Before>, given: &[Place], taken: &[Place]) -> Undo {
    Undo {
        node,
        before,
        is_built_on: false,
        given: given.to_vec(),
        taken: taken.to_vec(),
        moves: true,
        version: VersionId([0; 16]),
        counter: 0,
    }
}

fn before(file: Option<FileVersion>) -> Option<Before> {
    Some(Before { attrs: None, file })
}

#[test]
fn a_content_comes_back_as_a_version_that_has_seen_the_present_one() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "old");
    let old = file_of(&s, f);
    let new = s.content("new");
    s.applied(B, write(f, &top("f"), &base, new));
    let present = s.vector_of(f);
    let decision = s.undo(&asked(f, before(Some(old.clone())), &[], &[]));
    assert_eq!((decision.outcome, s.content_of(f)), (Outcome::Applied, old.content.content_id));
    let now = file_of(&s, f);
    assert!(now.vector.has_seen(&present) && !present.has_seen(&now.vector));
    assert_ne!(now.content.version, old.content.version);
    assert!(s.undo(&asked(f, before(Some(old)), &[], &[])).effects.is_none(), "it is so already");
}

#[test]
fn what_others_wrote_since_stays_beside_one_record() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "old");
    let old = file_of(&s, f);
    let theirs = s.content("upon it");
    s.applied(A, write(f, &top("f"), &base, theirs.clone()));
    let asked = Undo { is_built_on: true, ..asked(f, before(Some(old.clone())), &[], &[]) };
    s.undo(&asked);
    assert_eq!(s.content_of(f), theirs.content_id);
    let record = s.snapshot.open_conflicts().next().unwrap().clone();
    assert_eq!((record.state.theirs.content.content_id, record.state.sibling), (old.content.content_id, None));
    assert!(s.undo(&asked).effects.is_none(), "once");
}

#[test]
fn a_taken_name_keeps_a_node_where_it_is_and_its_content_still_comes_back() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "old");
    let old = file_of(&s, f);
    s.applied(B, rename(f, &top("f"), &top("g")));
    let new = s.content("new");
    s.applied(B, write(f, &top("g"), &base, new));
    s.some_file(&top("f"), "another's");
    let undo = asked(f, before(Some(old.clone())), &[top("g")], &[top("f")]);
    assert_eq!(s.undo(&undo).outcome, Outcome::NeedsName);
    s.undo(&Undo { moves: false, ..undo });
    assert_eq!((s.names(), s.content_of(f)), (vec!["/f".to_owned(), "/g".to_owned()], old.content.content_id));
}

#[test]
fn a_folder_that_holds_another_s_and_a_file_that_others_wrote_do_not_go() {
    let mut s = State::new();
    let made = s.some_dir("made");
    s.some_file(&at(made, "theirs"), "x");
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused { code: ErrorCode::Stale, .. });
    assert!(refused(&s.undo(&asked(made, None, &[top("made")], &[])).outcome));
    let (f, _) = s.some_file(&top("f"), "x");
    assert!(refused(&s.undo(&Undo { is_built_on: true, ..asked(f, None, &[top("f")], &[]) }).outcome));
    s.undo(&asked(f, None, &[top("f")], &[]));
    assert_eq!(s.names(), ["/made", "/made/theirs"]);
}

#[test]
fn a_folder_goes_back_unless_where_it_was_is_in_it_now() {
    let mut s = State::new();
    let (outer, inner) = (s.some_dir("outer"), s.some_dir("inner"));
    s.applied(B, rename(outer, &top("outer"), &at(inner, "outer")));
    let undo = asked(inner, before(None), &[top("inner")], &[at(outer, "inner")]);
    let outcome = s.undo(&undo).outcome;
    // The folder that it was in lies in it: it must go back first.
    assert!(matches!(outcome, Outcome::Refused { code: ErrorCode::Cycle, .. }), "{outcome:?}");
    s.undo(&asked(outer, before(None), &[at(inner, "outer")], &[top("outer")]));
    s.undo(&undo);
    assert_eq!(s.names(), ["/outer", "/outer/inner"]);
}

#[test]
fn a_removed_file_comes_back_with_the_folders_above_it() {
    let mut s = State::new();
    let folder = s.some_dir("folder");
    let (f, vector) = s.some_file(&at(folder, "f"), "old");
    s.applied(B, unlink(&at(folder, "f"), f, &vector));
    s.applied(B, unlink(&top("folder"), folder, &vector));
    assert!(s.names().is_empty());
    s.undo(&asked(f, before(None), &[], &[at(folder, "f")]));
    s.undo(&asked(folder, before(None), &[], &[top("folder")]));
    assert_eq!(s.names(), ["/folder", "/folder/f"]);
    assert_eq!(s.vector_of(f), vector);
}

#[test]
fn an_empty_folder_that_was_made_goes() {
    let mut s = State::new();
    let d = s.some_dir("d");
    assert_eq!(s.undo(&asked(d, None, &[top("d")], &[])).outcome, Outcome::Applied);
    assert_eq!(s.names(), Vec::<String>::new());
}

#[test]
fn attributes_come_back_and_the_time_of_change_is_now() {
    let mut s = State::new();
    let (f, _) = s.some_file(&top("f"), "one");
    let old = Attrs { ctime: Timestamp { secs: 5, nanos: 0 }, ..s.row(f).unwrap().state.attrs.clone() };
    s.applied(B, OpKind::SetAttr { node: f, attrs: AttrChange { mode: Some(0o600), ..AttrChange::default() } });
    s.undo(&asked(f, Some(Before { attrs: Some(old.clone()), file: None }), &[], &[]));
    assert_eq!(s.row(f).unwrap().state.attrs, Attrs { ctime: s.server().now, ..old });
}

#[test]
fn names_that_others_have_put_back_or_taken_are_left_alone() {
    let mut s = State::new();
    let (f, _) = s.some_file(&top("f"), "one");
    s.applied(A, OpKind::Link { node: f, place: top("g") });
    let (other, _) = s.some_file(&top("h"), "two");
    // Others gave it its old name again, and its new one to another file.
    assert_eq!(s.undo(&asked(f, before(None), &[top("h")], &[top("f")])).outcome, Outcome::Applied);
    assert_eq!((s.names(), s.paths()["/h"]), (vec!["/f".into(), "/g".into(), "/h".into()], other));
}

#[test]
fn the_last_name_of_what_is_there_is_not_taken_away() {
    let mut s = State::new();
    let (f, _) = s.some_file(&top("f"), "one");
    s.undo(&asked(f, before(None), &[top("f")], &[]));
    assert_eq!(s.names(), ["/f"]);
}

#[test]
fn what_was_written_and_then_removed_comes_back_as_it_was_before_both() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "old");
    let old = file_of(&s, f);
    let new = s.content("new");
    s.applied(B, write(f, &top("f"), &base, new));
    let last = s.vector_of(f);
    s.applied(B, unlink(&top("f"), f, &last));
    s.undo(&asked(f, before(Some(old.clone())), &[], &[top("f")]));
    let now = file_of(&s, f);
    assert_eq!(now.content.content_id, old.content.content_id);
    assert!(now.content.version != old.content.version && now.vector.has_seen(&last));
    let seen = s.vector_of(f);
    s.applied(B, unlink(&top("f"), f, &seen));
    s.undo(&asked(f, before(Some(now.clone())), &[], &[top("f")]));
    assert_eq!(file_of(&s, f), now, "nothing was written: it is the same version");
}

#[test]
fn a_removed_file_has_all_its_names_again_and_a_folder_one_and_nobody_loses_his() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "one");
    let d = s.some_dir("d");
    for gone in [unlink(&top("f"), f, &base), unlink(&top("d"), d, &vector(&[]))] {
        s.applied(B, gone);
    }
    let taken = [top("taken"), top("one"), top("two")];
    let (other, _) = s.some_file(&top("taken"), "another's");
    s.undo(&asked(f, before(None), &[], &taken));
    assert_eq!(s.names(), ["/one", "/taken", "/two"]);
    s.undo(&asked(d, before(None), &[], &[top("three"), top("four")]));
    assert_eq!((s.names().len(), s.paths()["/three"], s.paths()["/taken"]), (4, d, other));
}
