//! The row of the table about an exchange of two names: each half is a rename.

use super::state::*;
use tarn_proto::api::Outcome;
use tarn_proto::ids::NodeId;
use tarn_proto::op::{OpKind, Place, RenameMode, Seen};
use tarn_proto::version::VersionVector;

fn exchange(one: NodeId, from: &Place, other: NodeId, to: &Place) -> OpKind {
    let none = VersionVector::default();
    let (seen, displaced) = (seen(one, &none), Some(seen(other, &none)));
    OpKind::Rename { from: from.clone(), to: to.clone(), seen, displaced, mode: RenameMode::Exchange }
}

#[test]
fn an_exchange_swaps_what_its_author_saw_and_nothing_else() {
    let mut s = State::new();
    let (d, e) = (s.some_dir("d"), s.some_dir("e"));
    s.applied(B, exchange(d, &top("d"), e, &top("e")));
    assert_eq!((s.paths()["/d"], s.paths()["/e"]), (e, d));
    assert_eq!(s.merged(B, exchange(d, &top("d"), e, &top("e")), None).effects, None);
}

#[test]
fn an_exchange_wins_over_a_removal_of_either() {
    for is_first_removed in [true, false] {
        let mut s = State::new();
        let ((f, base), (g, seen_g)) = (s.some_file(&top("f"), "one"), s.some_file(&top("g"), "two"));
        let removed = if is_first_removed { unlink(&top("f"), f, &base) } else { unlink(&top("g"), g, &seen_g) };
        s.applied(A, removed);
        s.merged(B, exchange(f, &top("f"), g, &top("g")), None);
        assert_eq!((s.paths()["/f"], s.paths()["/g"]), (g, f));
    }
}

#[test]
fn what_others_moved_first_stays_there_and_the_other_half_of_an_exchange_moves() {
    let mut s = State::new();
    let (d, e) = (s.some_dir("d"), s.some_dir("e"));
    s.applied(A, rename(d, &top("d"), &top("moved")));
    s.merged(B, exchange(d, &top("d"), e, &top("e")), None);
    assert_eq!((s.paths()["/moved"], s.paths()["/d"]), (d, e));
}

#[test]
fn the_known_half_of_an_exchange_with_what_nobody_knows_moves() {
    let unknown = NodeId([99; 16]);
    for is_first_known in [true, false] {
        let mut s = State::new();
        let d = s.some_dir("d");
        let asked = if is_first_known {
            exchange(d, &top("d"), unknown, &top("e"))
        } else {
            exchange(unknown, &top("e"), d, &top("d"))
        };
        s.merged(B, asked, None);
        assert_eq!((s.names(), s.paths()["/e"]), (vec!["/e".to_owned()], d));
    }
    let decision = State::new().run(B, exchange(unknown, &top("d"), NodeId([98; 16]), &top("e")), None);
    assert!(matches!(decision.outcome, Outcome::Refused { .. }), "{decision:?}");
}

#[test]
fn an_exchange_never_takes_a_name_that_others_took() {
    let mut s = State::new();
    let ((f, base), (g, _)) = (s.some_file(&top("f"), "one"), s.some_file(&top("g"), "two"));
    s.applied(A, unlink(&top("f"), f, &base));
    let (third, _) = s.some_file(&top("f"), "three");
    assert_eq!(s.run(B, exchange(f, &top("f"), g, &top("g")), None).outcome, Outcome::NeedsName);
    s.merged(B, exchange(f, &top("f"), g, &top("g")), Some("g (b)"));
    assert_eq!((s.paths()["/f"], s.paths()["/g"], s.paths()["/g (b)"]), (third, f, g));
}

#[test]
fn an_exchange_of_two_removed_files_whose_names_are_taken_asks_for_one_name() {
    let mut s = State::new();
    let ((f, base), (g, seen_g)) = (s.some_file(&top("f"), "one"), s.some_file(&top("g"), "two"));
    s.applied(A, unlink(&top("f"), f, &base));
    s.applied(A, unlink(&top("g"), g, &seen_g));
    s.some_file(&top("f"), "three");
    s.some_file(&top("g"), "four");
    s.merged(B, exchange(f, &top("f"), g, &top("g")), Some("g (b)"));
    assert_eq!(s.names(), ["/f", "/g", "/g (b)"]);
    assert_eq!(s.paths()["/g (b)"], f);
}

#[test]
fn an_exchange_that_would_close_a_cycle_is_refused() {
    let mut s = State::new();
    let (d, e) = (s.some_dir("d"), s.some_dir("e"));
    s.applied(A, rename(e, &top("e"), &at(d, "e")));
    let (f, _) = s.some_file(&at(e, "f"), "one");
    let decision = s.run(B, exchange(d, &top("d"), f, &at(e, "f")), Some("d (b)"));
    assert!(matches!(decision.outcome, Outcome::Refused { .. }));
    assert_eq!(s.names(), ["/d", "/d/e", "/d/e/f"]);
}

#[test]
fn what_its_author_brought_back_in_a_folder_without_knowing_is_not_removed_with_that() {
    let mut s = State::new();
    let (d, e) = (s.some_dir("d"), s.some_dir("e"));
    let ((f, _), (g, base)) = (s.some_file(&top("f"), "one"), s.some_file(&at(d, "g"), "two"));
    s.cursors.insert(B, s.seq);
    let seq = Some(s.seq);
    s.applied(C, rename(d, &top("d"), &at(e, "d")));
    s.applied(C, unlink(&at(d, "g"), g, &base));
    s.applied(C, unlink(&at(e, "d"), d, &VersionVector::default()));
    s.merged(B, exchange(f, &top("f"), g, &at(d, "g")), None);
    let seen = Seen { node: e, vector: VersionVector::default(), seq, alt_name: None };
    s.merged(B, OpKind::Unlink { place: top("e"), seen }, None);
    assert_eq!((s.paths()["/e/d/g"], s.paths()["/f"]), (f, g));
}

#[test]
fn what_finds_no_name_in_an_exchange_asks_for_one_unless_its_partner_has_it() {
    let mut s = State::new();
    let ((f, _), (g, _)) = (s.some_file(&top("f"), "one"), s.some_file(&top("g"), "two"));
    s.applied(A, rename(g, &top("g"), &top("elsewhere")));
    s.some_file(&top("g"), "another");
    let decision = s.run(B, exchange(f, &top("f"), g, &top("g")), None);
    assert_eq!((decision.outcome, decision.effects), (Outcome::NeedsName, None));
}

#[test]
fn a_removed_folder_that_came_back_because_its_partner_goes_in_it_stays_there() {
    let mut s = State::new();
    let (q, d, (n, _)) = (s.some_dir("q"), s.node(), s.some_file(&top("n"), "one"));
    s.applied(A, dir(d, &at(q, "d")));
    s.applied(A, rename(d, &at(q, "d"), &top("d")));
    s.applied(A, rename(q, &top("q"), &at(d, "q")));
    s.applied(A, unlink(&top("d"), d, &VersionVector::default()));
    // It knows the one folder in the other still.
    s.merged(B, exchange(n, &top("n"), d, &at(q, "d")), None);
    assert_eq!(s.names(), ["/d", "/d/q", "/d/q/d"]);
    assert_eq!(s.paths()["/d/q/d"], n);
}
