//! What taking back leaves, and what it never overwrites.

use super::state::*;
use crate::rules::{Before, Undo};
use tarn_proto::api::Outcome;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{NodeId, VersionId};
use tarn_proto::node::FileVersion;
use tarn_proto::op::Place;

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
