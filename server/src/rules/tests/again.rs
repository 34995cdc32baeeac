//! What is said again, or of what became something else meanwhile: nothing happens twice, and nothing is taken for what it is not.

use super::state::*;
use tarn_proto::api::{Keep, Outcome};
use tarn_proto::change::Row;
use tarn_proto::node::AttrChange;
use tarn_proto::op::OpKind;
use tarn_proto::version::VersionVector;

fn conflicted(s: &mut State, kind: OpKind, alt: Option<&str>) {
    let outcome = s.run(B, kind, alt).outcome;
    assert!(matches!(outcome, Outcome::Conflicted { .. }), "{outcome:?}");
}

#[test]
fn what_is_made_again_by_another_operation_is_the_one_there() {
    let mut s = State::new();
    let (d, e, f, content) = (s.some_dir("d"), s.node(), s.node(), s.content("one"));
    s.applied(A, file(f, &top("f"), content.clone()));
    s.merged(B, dir(e, &top("d")), None);
    for again in [dir(d, &top("d")), file(f, &top("f"), content), dir(e, &top("d"))] {
        let decision = s.merged(B, again.clone(), None);
        assert_eq!(decision.effects, None);
        let is_told = decision.changes.iter().any(|change| change.row == Row::Alias { node: e, target: d });
        assert_eq!(is_told, again == dir(e, &top("d")));
    }
}

#[test]
fn attributes_of_what_was_removed_no_longer_matter() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "one");
    s.applied(A, unlink(&top("f"), f, &base));
    let set = OpKind::SetAttr { node: f, attrs: AttrChange { mode: Some(0o600), ..AttrChange::default() } };
    assert_eq!(s.merged(B, set, None).effects, None);
}

#[test]
fn a_record_without_a_sibling_takes_what_its_device_saves_next() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let (mine, first, next) = (s.content("mine"), s.content("first"), s.content("next"));
    s.applied(A, write(f, &top("f"), &base, mine));
    conflicted(&mut s, write(f, &top("f"), &base, first), None);
    conflicted(&mut s, write(f, &top("f"), &base, next.clone()), None);
    let held: Vec<_> = s.snapshot.open_conflicts().map(|open| open.state.theirs.content.clone()).collect();
    assert_eq!(held, [next]);
}

#[test]
fn a_record_without_a_sibling_does_not_show_what_is_to_be_shown() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let (mine, same, again) = (s.content("mine"), s.content("same"), s.content("same"));
    s.applied(A, write(f, &top("f"), &base, mine));
    s.run(C, write(f, &top("f"), &base, same), None);
    conflicted(&mut s, write(f, &top("f"), &base, again), Some("f (b)"));
    assert_eq!(s.names(), ["/f", "/f (b)"]);
}

#[test]
fn a_conflict_that_is_sent_again_is_the_same_one_while_it_is_open_and_when_it_is_resolved() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let (mine, theirs) = (s.content("mine"), s.content("theirs"));
    s.applied(A, write(f, &top("f"), &base, mine));
    let sent = s.op(B, write(f, &top("f"), &base, theirs), Some("f (b)"));
    assert!(matches!(s.run_op(B, &sent).outcome, Outcome::Conflicted { .. }));
    let decision = s.run_op(B, &sent);
    assert_eq!((decision.outcome, decision.effects), (Outcome::Merged, None));
    let (open, seen) = (s.snapshot.open_conflicts().next().unwrap().clone(), s.all_seen());
    s.resolve(&open, Keep::Theirs, &seen, None);
    let (resolved, more) = (s.vector_of(f), s.content("more"));
    s.applied(A, write(f, &top("f"), &resolved, more));
    let decision = s.run_op(B, &sent);
    assert_eq!((decision.outcome, decision.effects), (Outcome::Merged, None));
    assert_eq!(s.names(), ["/f"]);
}

#[test]
fn the_same_bytes_written_upon_what_is_there_are_a_version_of_their_own_once() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "same");
    let same = s.content("same");
    s.applied(B, write(f, &top("f"), &base, same.clone()));
    assert_eq!(s.row(f).unwrap().file().unwrap().content.version, same.version);
    let seen = s.vector_of(f);
    s.merged(B, write(f, &top("f"), &seen, same), None);
}

#[test]
fn what_is_written_to_a_removed_file_is_what_took_its_name_if_the_bytes_are_the_same() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    s.applied(A, unlink(&top("f"), f, &base));
    let (other, _) = s.some_file(&top("f"), "same");
    let same = s.content("same");
    s.merged(B, write(f, &top("f"), &base, same), Some("f (b)"));
    assert_eq!(s.paths().into_iter().collect::<Vec<_>>(), [("/f".to_owned(), other)]);
    assert_eq!(s.vector_of(other).get(device(B)), 1);
}

#[test]
fn a_link_brings_back_a_removed_file_and_stands_beside_a_taken_name() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "one");
    s.applied(A, unlink(&top("f"), f, &base));
    s.merged(B, OpKind::Link { node: f, place: top("g") }, None);
    assert_eq!(s.names(), ["/g"]);
    s.some_dir("d");
    s.merged(B, OpKind::Link { node: f, place: top("d") }, Some("d (b)"));
    assert_eq!(s.paths()["/d (b)"], f);
}

#[test]
fn a_rename_of_one_name_of_a_file_onto_another_changes_nothing() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "one");
    s.applied(A, OpKind::Link { node: f, place: top("g") });
    s.merged(B, rename_over(f, &top("f"), &top("g"), Some(seen(f, &base))), None);
    s.merged(B, rename(f, &top("f"), &top("g")), None);
    assert_eq!(s.names(), ["/f", "/g"]);
}

#[test]
fn a_folder_takes_the_place_of_an_empty_one_that_is_known_by_another_id() {
    let mut s = State::new();
    let (d, alias, other) = (s.some_dir("d"), s.node(), s.some_dir("other"));
    s.merged(B, dir(alias, &top("d")), None);
    let known = seen(alias, &VersionVector::default());
    s.applied(B, rename_over(other, &top("other"), &top("d"), Some(known)));
    assert_eq!(s.paths().into_iter().collect::<Vec<_>>(), [("/d".to_owned(), other)]);
    assert!(s.row(d).is_none());
}
