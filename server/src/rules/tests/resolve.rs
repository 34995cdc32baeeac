//! What resolving a conflict leaves, and what it never takes.

use super::state::*;
use crate::rules::{ConflictRow, Decision};
use tarn_proto::api::{Keep, Outcome};
use tarn_proto::change::Row;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ContentId, NodeId};
use tarn_proto::node::Content;
use tarn_proto::op::OpKind;
use tarn_proto::version::VersionVector;

/// Two versions of `f`: what A wrote stayed, what B wrote is shown as `f (b)`, or only recorded.
struct Contended {
    s: State,
    f: NodeId,
    base: VersionVector,
    stayed: Content,
    theirs: Content,
}

impl Contended {
    fn new(alt: Option<&str>) -> Self {
        let mut s = State::new();
        let (f, base) = s.some_file(&top("f"), "base");
        let (stayed, theirs) = (s.content("stayed"), s.content("theirs"));
        s.applied(A, write(f, &top("f"), &base, stayed.clone()));
        s.run(B, write(f, &top("f"), &base, theirs.clone()), alt);
        Self { s, f, base, stayed, theirs }
    }

    fn shown() -> Self {
        Self::new(Some("f (b)"))
    }

    fn record(&self) -> ConflictRow {
        self.s.snapshot.open_conflicts().next().unwrap().clone()
    }

    fn resolve(&mut self, keep: Keep, alt: Option<&str>) -> Decision {
        let (record, seen) = (self.record(), self.s.all_seen());
        self.s.resolve(&record, keep, &seen, alt)
    }

    fn is_open(&self) -> bool {
        self.s.snapshot.open_conflicts().next().is_some()
    }

    fn content_at(&self, path: &str) -> ContentId {
        self.s.content_of(self.s.paths()[path])
    }
}

fn refused(decision: &Decision) -> Option<ErrorCode> {
    match &decision.outcome {
        Outcome::Refused { code, .. } => Some(*code),
        _ => None,
    }
}

#[test]
fn what_stayed_is_kept_and_the_sibling_goes() {
    for keep in [Keep::Stayed, Keep::Merged] {
        let mut c = Contended::shown();
        let before = c.s.vector_of(c.f);
        let decision = c.resolve(keep, None);
        assert_eq!(decision.outcome, Outcome::Applied);
        assert_eq!(c.s.names(), ["/f"]);
        assert_eq!((c.content_at("/f"), c.s.vector_of(c.f)), (c.stayed.content_id, before));
        let ended = |row: &Row| matches!(row, Row::Conflict { state: None, .. });
        assert!(!c.is_open() && decision.changes.iter().any(|change| ended(&change.row)));
    }
}

#[test]
fn what_did_not_stay_becomes_the_file_which_has_seen_both() {
    let mut c = Contended::shown();
    let (a, b) = (c.s.vector_of(c.f), c.record().state.theirs.vector);
    c.resolve(Keep::Theirs, None);
    assert_eq!((c.s.names(), c.content_at("/f")), (vec!["/f".to_owned()], c.theirs.content_id));
    let now = c.s.vector_of(c.f);
    assert!(now.has_seen(&a) && now.has_seen(&b) && !a.has_seen(&now));
    assert!(!c.is_open());
    let version = c.s.row(c.f).unwrap().file().unwrap().content.version;
    assert!(![c.stayed.version, c.theirs.version].contains(&version), "it is a version of its own");
}

#[test]
fn a_sibling_that_somebody_gave_another_name_stays() {
    let mut c = Contended::shown();
    let sibling = c.s.paths()["/f (b)"];
    c.s.applied(A, OpKind::Link { node: sibling, place: top("kept") });
    c.resolve(Keep::Stayed, None);
    assert_eq!(c.s.names(), ["/f", "/f (b)", "/kept"]);
}

#[test]
fn a_sibling_that_was_edited_is_what_theirs_means() {
    let mut c = Contended::shown();
    let sibling = c.s.paths()["/f (b)"];
    let (seen, edited) = (c.s.vector_of(sibling), c.s.content("edited"));
    c.s.applied(A, write(sibling, &top("f (b)"), &seen, edited.clone()));
    c.resolve(Keep::Theirs, None);
    assert_eq!((c.s.names(), c.content_at("/f")), (vec!["/f".to_owned()], edited.content_id));
}

#[test]
fn both_stay_and_the_record_goes() {
    let mut c = Contended::shown();
    c.resolve(Keep::Both, None);
    assert_eq!(c.s.names(), ["/f", "/f (b)"]);
    assert_eq!((c.content_at("/f"), c.content_at("/f (b)")), (c.stayed.content_id, c.theirs.content_id));
    assert!(!c.is_open());
}

#[test]
fn a_record_without_a_sibling_is_resolved_like_one_with_it() {
    let mut c = Contended::new(None);
    assert_eq!(c.resolve(Keep::Both, None).outcome, Outcome::NeedsName);
    assert_eq!(c.resolve(Keep::Both, Some("f")).outcome, Outcome::NeedsName);
    assert!(c.is_open());
    c.resolve(Keep::Both, Some("f (b)"));
    assert_eq!((c.content_at("/f"), c.content_at("/f (b)")), (c.stayed.content_id, c.theirs.content_id));
    assert!(!c.is_open());
    let mut c = Contended::new(None);
    c.resolve(Keep::Theirs, None);
    assert_eq!((c.s.names(), c.content_at("/f")), (vec!["/f".to_owned()], c.theirs.content_id));
}

#[test]
fn nothing_goes_that_was_not_seen() {
    let mut c = Contended::shown();
    let (record, seen) = (c.record(), c.s.all_seen());
    let (of_file, newer) = (c.s.vector_of(c.f), c.s.content("newer"));
    c.s.applied(A, write(c.f, &top("f"), &of_file, newer));
    assert_eq!(refused(&c.s.resolve(&record, Keep::Theirs, &seen, None)), Some(ErrorCode::Stale));
    let seen = c.s.all_seen();
    let sibling = c.s.paths()["/f (b)"];
    let (shown, edited) = (c.s.vector_of(sibling), c.s.content("edited"));
    c.s.applied(A, write(sibling, &top("f (b)"), &shown, edited));
    assert_eq!(refused(&c.s.resolve(&record, Keep::Stayed, &seen, None)), Some(ErrorCode::Stale));
    assert!(c.is_open());
    assert_eq!(c.s.names(), ["/f", "/f (b)"]);
}

#[test]
fn a_conflict_is_resolved_once() {
    let mut c = Contended::shown();
    let record = c.record();
    c.resolve(Keep::Both, None);
    let seen = c.s.all_seen();
    assert_eq!(refused(&c.s.resolve(&record, Keep::Stayed, &seen, None)), Some(ErrorCode::NotFound));
    assert_eq!(c.s.names(), ["/f", "/f (b)"]);
}

#[test]
fn what_is_left_stays_if_the_file_went_meanwhile() {
    for keep in [Keep::Stayed, Keep::Theirs, Keep::Both, Keep::Merged] {
        let mut c = Contended::shown();
        let seen = c.s.vector_of(c.f);
        c.s.applied(A, unlink(&top("f"), c.f, &seen));
        c.resolve(keep, None);
        assert_eq!((c.s.names(), c.is_open()), (vec!["/f (b)".to_owned()], false));
    }
}

#[test]
fn a_content_that_only_the_record_holds_comes_back_for_a_file_that_went() {
    let mut c = Contended::new(None);
    let seen = c.s.vector_of(c.f);
    c.s.applied(A, unlink(&top("f"), c.f, &seen));
    c.resolve(Keep::Theirs, None);
    assert_eq!((c.s.names(), c.content_at("/f")), (vec!["/f".to_owned()], c.theirs.content_id));
}

#[test]
fn a_device_that_has_not_heard_of_it_conflicts_anew() {
    let mut c = Contended::shown();
    c.resolve(Keep::Theirs, None);
    let late = c.s.content("late");
    let decision = c.s.run(B, write(c.f, &top("f"), &c.base.clone(), late.clone()), Some("f (b)"));
    assert!(matches!(decision.outcome, Outcome::Conflicted { .. }));
    assert_eq!((c.content_at("/f"), c.content_at("/f (b)")), (c.theirs.content_id, late.content_id));
}

#[test]
fn who_has_seen_a_later_write_to_the_one_may_not_have_seen_an_earlier_one_to_the_other() {
    for is_file_first in [true, false] {
        let mut c = Contended::shown();
        let sibling = c.s.paths()["/f (b)"];
        let mut both = [(c.f, top("f")), (sibling, top("f (b)"))];
        if !is_file_first {
            both.reverse();
        }
        let [first, second] = both;
        let unseen = c.s.vector_of(first.0);
        for (node, place) in [&first, &second] {
            let (base, content) = (c.s.vector_of(*node), c.s.content("later"));
            c.s.applied(A, write(*node, place, &base, content));
        }
        let seen = c.s.vector_of(second.0);
        let apart = if is_file_first { [&unseen, &seen] } else { [&seen, &unseen] };
        let record = c.record();
        let decision = c.s.resolve_seen(&record, Keep::Stayed, apart, None);
        assert_eq!((refused(&decision), c.is_open()), (Some(ErrorCode::Stale), true), "{is_file_first}");
    }
}
