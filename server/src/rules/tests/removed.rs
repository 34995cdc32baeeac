//! What vectors keep of a device that was removed: nothing in what is made of its contents, and all that is needed to tell who has
//! not seen them.

use super::state::*;
use crate::rules::{Before, Key, Snapshot, Undo};
use tarn_proto::api::{Keep, Outcome};
use tarn_proto::ids::{NodeId, VersionId};
use tarn_proto::version::VersionVector;

/// B wrote the file that A made, and was removed since.
fn written_by_a_removed_device(s: &mut State) -> (NodeId, [VersionVector; 2]) {
    let (f, base) = s.some_file(&top("f"), "of A");
    let of_b = s.content("of B");
    s.applied(B, write(f, &top("f"), &base, of_b));
    s.snapshot.load_device(device(B), true);
    let present = s.vector_of(f);
    (f, [base, present])
}

#[test]
fn what_is_made_of_a_removed_device_s_content_has_no_component_of_it() {
    let mut s = State::new();
    let (f, [_, present]) = written_by_a_removed_device(&mut s);
    assert_eq!(present, vector(&[(A, 1), (B, 1)]), "what is there stays as it is");
    let of_c = s.content("of C");
    s.applied(C, write(f, &top("f"), &present, of_c));
    assert_eq!(s.vector_of(f), vector(&[(A, 1), (C, 1)]));
}

#[test]
fn a_device_that_acts_keeps_its_own_component() {
    let mut s = State::new();
    let (f, [_, present]) = written_by_a_removed_device(&mut s);
    let again = s.content("again");
    s.applied(B, write(f, &top("f"), &present, again));
    assert_eq!(s.vector_of(f), vector(&[(A, 1), (B, 2)]), "it was enrolled again");
}

/// The stale one knows more of the removed device than what is there, and has not seen it all the same.
#[test]
fn who_is_at_an_older_content_of_a_removed_device_overwrites_nothing() {
    let mut s = State::new();
    let (f, [base, present]) = written_by_a_removed_device(&mut s);
    let [of_a, of_c, late, later] = ["of A once more", "of C", "late", "later"].map(|text| s.content(text));
    s.applied(A, write(f, &top("f"), &present, of_a));
    let seen = s.vector_of(f);
    s.applied(C, write(f, &top("f"), &seen, of_c.clone()));
    for (by, stale, content) in [(4, base, late), (5, present, later)] {
        let decision = s.run(by, write(f, &top("f"), &stale, content), Some(&format!("f ({by})")));
        assert!(matches!(decision.outcome, Outcome::Conflicted { .. }), "{stale:?}");
        assert_eq!(s.content_of(f), of_c.content_id);
    }
}

#[test]
fn what_is_resolved_or_taken_back_has_no_component_of_a_removed_device() {
    let mut s = State::new();
    let (f, [base, _]) = written_by_a_removed_device(&mut s);
    let old = s.row(f).unwrap().file().unwrap().clone();
    let theirs = s.content("theirs");
    s.run(A, write(f, &top("f"), &base, theirs), Some("f (a)"));
    let (open, seen) = (s.snapshot.open_conflicts().next().unwrap().clone(), s.all_seen());
    assert_eq!(s.resolve(&open, Keep::Theirs, &seen, None).outcome, Outcome::Applied);
    assert_eq!(s.vector_of(f).get(device(B)), 0);
    let asked = Undo {
        node: f,
        before: Some(Before { attrs: None, file: Some(old) }),
        is_built_on: false,
        given: Vec::new(),
        taken: Vec::new(),
        moves: false,
        version: VersionId([0; 16]),
        counter: 0,
    };
    assert_eq!(s.undo(&asked).outcome, Outcome::Applied);
    assert_eq!(s.vector_of(f).get(device(B)), 0);
}

#[test]
fn whether_a_device_was_removed_is_asked_for() {
    let mut snapshot = Snapshot::empty(SPACE);
    let both = vec![device(A), device(B)];
    snapshot.load_device(device(A), false);
    assert_eq!(snapshot.removed(&both), Err(Key::Devices(both.clone())));
    assert!(!snapshot.has(&Key::Devices(both.clone())));
    snapshot.load_device(device(B), true);
    assert_eq!(snapshot.removed(&both), Ok(vec![device(B)]));
    assert!(snapshot.has(&Key::Devices(both)));
}
