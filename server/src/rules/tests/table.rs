//! One test for each row of the table of two devices, neither knowing of the other.

use super::state::*;
use crate::rules::Decision;
use tarn_proto::api::Outcome;
use tarn_proto::change::Row;
use tarn_proto::node::AttrChange;
use tarn_proto::op::{OpKind, Seen};
use tarn_proto::version::VersionVector;

fn conflicted(decision: &Decision) -> bool {
    matches!(decision.outcome, Outcome::Conflicted { .. })
}

#[test]
fn a_write_that_has_seen_the_present_content_is_applied() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let two = s.content("two");
    s.applied(B, write(f, &top("f"), &base, two.clone()));
    assert_eq!(s.content_of(f), two.content_id);
    assert_eq!(s.vector_of(f), vector(&[(A, 1), (B, 1)]));
}

#[test]
fn of_two_concurrent_writes_the_first_stays_and_a_sibling_shows_the_second() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let (mine, theirs) = (s.content("mine"), s.content("theirs"));
    s.applied(A, write(f, &top("f"), &base, mine.clone()));
    let decision = s.run(B, write(f, &top("f"), &base, theirs.clone()), Some("f (b)"));
    assert!(conflicted(&decision));
    assert_eq!(s.names(), ["/f", "/f (b)"]);
    assert_eq!(s.content_of(f), mine.content_id);
    let record = s.snapshot.open_conflicts().next().unwrap().state.clone();
    assert_eq!((record.node, record.device, record.stayed), (f, device(B), mine.version));
    assert_eq!(record.theirs.content, theirs);
    assert_eq!(record.sibling, Some(s.paths()["/f (b)"]));
    assert!(decision.changes.iter().any(|change| matches!(&change.row, Row::Node { node, .. } if *node == f)));
}

#[test]
fn a_thousand_saves_in_a_conflict_make_one_sibling() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let mine = s.content("mine");
    s.applied(A, write(f, &top("f"), &base, mine));
    let mut last = s.content("theirs");
    for n in 0..20 {
        last = s.content(&format!("theirs {n}"));
        assert!(conflicted(&s.run(B, write(f, &top("f"), &base, last.clone()), Some(&format!("f ({n})")))));
    }
    assert_eq!(s.names(), ["/f", "/f (0)"]);
    assert_eq!(s.content_of(s.paths()["/f (0)"]), last.content_id);
    assert_eq!(s.snapshot.open_conflicts().count(), 1);
}

#[test]
fn the_same_bytes_in_two_conflicts_over_one_file_are_one_sibling() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let (two, three, again) = (s.content("two"), s.content("three"), s.content("three"));
    s.applied(A, write(f, &top("f"), &base, two));
    assert!(conflicted(&s.run(B, write(f, &top("f"), &base, three), Some("f (b)"))));
    let decision = s.run(C, write(f, &top("f"), &base, again), Some("f (c)"));
    assert!(conflicted(&decision));
    assert_eq!(s.names(), ["/f", "/f (b)"]);
    // Its author learns which record has its bytes, and that they have been seen.
    let told = decision.changes.iter().find_map(|change| match &change.row {
        Row::Conflict { state: Some(state), .. } => Some(state.theirs.vector.clone()),
        _ => None,
    });
    assert_eq!(told, Some(s.vector_of(s.paths()["/f (b)"])));
    assert!(told.is_some_and(|vector| vector.get(device(C)) == 1 && vector.has_seen(&base)));
}

#[test]
fn a_sibling_that_others_wrote_to_is_not_overwritten() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let contents = [s.content("mine"), s.content("theirs"), s.content("edited"), s.content("again")];
    s.applied(A, write(f, &top("f"), &base, contents[0].clone()));
    s.run(B, write(f, &top("f"), &base, contents[1].clone()), Some("f (b)"));
    let sibling = s.paths()["/f (b)"];
    let shown = s.vector_of(sibling);
    s.applied(A, write(sibling, &top("f (b)"), &shown, contents[2].clone()));
    assert!(conflicted(&s.run(B, write(f, &top("f"), &base, contents[3].clone()), Some("f (b 2)"))));
    assert_eq!(s.content_of(sibling), contents[2].content_id);
    assert_eq!(s.names(), ["/f", "/f (b 2)", "/f (b)"]);
    assert_eq!(s.snapshot.open_conflicts().count(), 2);
}

#[test]
fn a_file_that_came_back_as_a_sibling_is_not_overwritten_by_a_later_conflict() {
    for alt in [Some("f (b 2)"), None] {
        let mut s = State::new();
        let ((f, base), (g, seen_g)) = (s.some_file(&top("f"), "one"), s.some_file(&top("g"), "two"));
        let contents = [s.content("mine"), s.content("back"), s.content("theirs")];
        s.applied(A, write(g, &top("g"), &seen_g, contents[0].clone()));
        s.applied(A, rename_over(g, &top("g"), &top("f"), Some(seen(f, &base))));
        assert!(conflicted(&s.run(B, write(f, &top("f"), &base, contents[1].clone()), alt.and(Some("f (b)")))));
        assert!(conflicted(&s.run(B, write(g, &top("f"), &seen_g, contents[2].clone()), alt)));
        let held: Vec<_> = s.snapshot.open_conflicts().map(|open| open.state.theirs.content.clone()).collect();
        assert_eq!(held, contents[1..]);
        assert!(alt.is_none() || s.content_of(f) == contents[1].content_id);
    }
}

#[test]
fn without_an_alt_name_a_conflict_is_only_a_record() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let (mine, theirs) = (s.content("mine"), s.content("theirs"));
    s.applied(A, write(f, &top("f"), &base, mine));
    assert!(conflicted(&s.run(B, write(f, &top("f"), &base, theirs.clone()), None)));
    assert_eq!(s.names(), ["/f"]);
    let record = s.snapshot.open_conflicts().next().unwrap().state.clone();
    assert_eq!((record.sibling, record.theirs.content), (None, theirs));
}

#[test]
fn a_conflict_whose_alt_name_is_taken_asks_for_another() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    s.some_dir("taken");
    let (mine, theirs) = (s.content("mine"), s.content("theirs"));
    s.applied(A, write(f, &top("f"), &base, mine));
    let decision = s.run(B, write(f, &top("f"), &base, theirs), Some("taken"));
    assert_eq!((decision.outcome, decision.effects), (Outcome::NeedsName, None));
    assert_eq!(decision.changes, []);
}

#[test]
fn the_same_bytes_on_both_are_one_version_with_joined_vectors() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let (mine, theirs) = (s.content("same"), s.content("same"));
    s.applied(A, write(f, &top("f"), &base, mine.clone()));
    s.merged(B, write(f, &top("f"), &base, theirs), None);
    assert_eq!(s.row(f).unwrap().file().unwrap().content.version, mine.version);
    assert_eq!(s.vector_of(f), vector(&[(A, 2), (B, 1)]));
}

#[test]
fn two_files_made_with_the_same_bytes_are_one_file() {
    let mut s = State::new();
    let (f, _) = s.some_file(&top("f"), "same");
    let (g, same, more) = (s.node(), s.content("same"), s.content("more"));
    s.merged(B, file(g, &top("f"), same), Some("f (b)"));
    assert_eq!(s.names(), ["/f"]);
    s.applied(B, write(g, &top("f"), &vector(&[(A, 1), (B, 1)]), more.clone()));
    assert_eq!(s.content_of(f), more.content_id);
}

#[test]
fn a_write_wins_over_a_removal_that_comes_after() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let two = s.content("two");
    s.applied(B, write(f, &top("f"), &base, two));
    let decision = s.merged(A, unlink(&top("f"), f, &base), None);
    assert_eq!(s.names(), ["/f"]);
    assert_eq!(absent(&decision), 0);
}

#[test]
fn a_write_brings_back_a_removed_file_and_its_folders() {
    let mut s = State::new();
    let (outer, inner) = (s.some_dir("outer"), s.node());
    s.applied(A, dir(inner, &at(outer, "inner")));
    let (f, base) = s.some_file(&at(inner, "f"), "base");
    s.applied(A, unlink(&top("outer"), outer, &VersionVector::default()));
    assert_eq!(s.names(), Vec::<String>::new());
    let two = s.content("two");
    s.merged(B, write(f, &at(inner, "f"), &base, two.clone()), None);
    assert_eq!(s.names(), ["/outer", "/outer/inner", "/outer/inner/f"]);
    assert_eq!(s.content_of(f), two.content_id);
}

#[test]
fn a_written_file_whose_name_is_taken_is_a_conflict_with_what_took_it() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    s.applied(A, unlink(&top("f"), f, &base));
    let (other, _) = s.some_file(&top("f"), "other");
    let two = s.content("two");
    assert!(conflicted(&s.run(B, write(f, &top("f"), &base, two.clone()), Some("f (b)"))));
    assert_eq!(s.paths().into_iter().collect::<Vec<_>>(), [("/f".to_owned(), other), ("/f (b)".to_owned(), f)]);
    assert_eq!(s.snapshot.open_conflicts().next().unwrap().state.node, other);
}

#[test]
fn of_several_links_only_the_unlinked_one_goes() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    s.applied(A, OpKind::Link { node: f, place: top("g") });
    let two = s.content("two");
    s.applied(B, write(f, &top("f"), &base, two.clone()));
    s.applied(A, unlink(&top("f"), f, &base));
    assert_eq!(s.names(), ["/g"]);
    assert_eq!(s.content_of(f), two.content_id);
}

#[test]
fn a_rename_wins_over_a_removal_before_or_after_it() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    s.applied(A, unlink(&top("f"), f, &base));
    s.merged(B, rename(f, &top("f"), &top("g")), None);
    assert_eq!(s.names(), ["/g"]);
    let (h, base) = s.some_file(&top("h"), "base");
    s.applied(B, rename(h, &top("h"), &top("i")));
    s.merged(A, unlink(&top("h"), h, &base), None);
    assert_eq!(s.names(), ["/g", "/i"]);
}

#[test]
fn a_renamed_folder_comes_back_with_what_went_with_it() {
    let mut s = State::new();
    let d = s.some_dir("d");
    s.some_file(&at(d, "f"), "base");
    s.applied(A, unlink(&top("d"), d, &VersionVector::default()));
    s.merged(B, rename(d, &top("d"), &top("e")), None);
    assert_eq!(s.names(), ["/e", "/e/f"]);
}

#[test]
fn a_node_written_while_it_is_renamed_over_lives_on_under_the_alt_name() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let (g, _) = s.some_file(&top("g"), "other");
    let two = s.content("two");
    s.applied(B, write(f, &top("f"), &base, two.clone()));
    s.merged(A, rename_over(g, &top("g"), &top("f"), Some(seen(f, &base))), Some("f (a)"));
    assert_eq!(s.paths().into_iter().collect::<Vec<_>>(), [("/f".to_owned(), g), ("/f (a)".to_owned(), f)]);
    assert_eq!(s.content_of(f), two.content_id);
}

#[test]
fn a_rename_over_what_its_author_saw_displaces_it() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let (g, _) = s.some_file(&top("g"), "other");
    s.applied(B, rename_over(g, &top("g"), &top("f"), Some(seen(f, &base))));
    assert_eq!(s.paths().into_iter().collect::<Vec<_>>(), [("/f".to_owned(), g)]);
    assert!(s.row(f).is_none());
}

#[test]
fn a_removed_folder_stays_with_what_its_remover_had_not_seen() {
    let mut s = State::new();
    let d = s.some_dir("d");
    s.some_file(&at(d, "seen"), "one");
    let (changed, base) = s.some_file(&at(d, "changed"), "two");
    s.cursors.insert(B, s.seq);
    s.some_file(&at(d, "unseen"), "three");
    let four = s.content("four");
    s.applied(A, write(changed, &at(d, "changed"), &base, four));
    s.merged(B, unlink(&top("d"), d, &VersionVector::default()), None);
    assert_eq!(s.names(), ["/d", "/d/changed", "/d/unseen"]);
}

#[test]
fn what_comes_into_a_folder_after_it_was_removed_elsewhere_stays_however_late_that_is_sent() {
    let mut s = State::new();
    let d = s.some_dir("d");
    let (f, base) = s.some_file(&at(d, "f"), "one");
    let seq = Some(s.seq);
    let two = s.content("two");
    s.applied(A, write(f, &at(d, "f"), &base, two.clone()));
    let seen = Seen { node: d, vector: VersionVector::default(), seq, alt_name: None };
    s.merged(B, OpKind::Unlink { place: top("d"), seen }, None);
    assert_eq!((s.names(), s.content_of(f)), (vec!["/d".to_owned(), "/d/f".to_owned()], two.content_id));
}

#[test]
fn a_folders_remover_has_seen_its_own_changes() {
    let mut s = State::new();
    let d = s.some_dir("d");
    s.cursors.insert(B, s.seq);
    let (f, content) = (s.node(), s.content("own"));
    s.applied(B, file(f, &at(d, "own"), content));
    s.applied(B, unlink(&top("d"), d, &VersionVector::default()));
    assert_eq!(s.names(), Vec::<String>::new());
}

#[test]
fn what_is_made_in_a_removed_folder_brings_it_back() {
    let mut s = State::new();
    let d = s.some_dir("d");
    s.some_file(&at(d, "old"), "one");
    s.applied(A, unlink(&top("d"), d, &VersionVector::default()));
    let (f, content) = (s.node(), s.content("new"));
    let decision = s.run(B, file(f, &at(d, "new"), content), None);
    assert_eq!(decision.outcome, Outcome::Applied);
    assert_eq!(s.names(), ["/d", "/d/new"]);
}

#[test]
fn of_two_renames_of_one_entry_the_first_stays() {
    let mut s = State::new();
    let (f, _) = s.some_file(&top("f"), "base");
    s.applied(A, rename(f, &top("f"), &top("g")));
    let decision = s.merged(B, rename(f, &top("f"), &top("h")), None);
    assert_eq!(s.names(), ["/g"]);
    assert_eq!(decision.effects, None);
    // Its author learns where the node is, and that neither of its own names holds.
    let g = Row::Entry { parent: ROOT, name: name("g"), node: Some(f) };
    assert!(decision.changes.iter().any(|change| change.row == g));
    assert_eq!(absent(&decision), 2);
}

#[test]
fn what_a_rename_was_to_replace_goes_though_others_moved_its_source_first() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let (g, _) = s.some_file(&top("g"), "other");
    s.applied(A, rename(g, &top("g"), &top("h")));
    s.merged(B, rename_over(g, &top("g"), &top("f"), Some(seen(f, &base))), None);
    assert_eq!(s.names(), ["/h"]);
    let (f, base) = s.some_file(&top("f"), "base");
    let two = s.content("two");
    s.applied(A, write(f, &top("f"), &base, two));
    s.merged(B, rename_over(g, &top("g"), &top("f"), Some(seen(f, &base))), None);
    assert_eq!(s.names(), ["/f", "/h"], "what its author had not seen stays");
}

#[test]
fn a_name_taken_meanwhile_stays_and_the_second_gets_its_alt_name() {
    let mut s = State::new();
    let (f, _) = s.some_file(&top("f"), "one");
    let (g, two) = (s.node(), s.content("two"));
    assert_eq!(s.run(B, file(g, &top("f"), two.clone()), None).outcome, Outcome::NeedsName);
    s.merged(B, file(g, &top("f"), two), Some("f (b)"));
    assert_eq!(s.names(), ["/f", "/f (b)"]);
    let (h, _) = s.some_file(&top("h"), "three");
    assert_eq!(s.run(B, rename(h, &top("h"), &top("f")), None).outcome, Outcome::NeedsName);
    assert_eq!(s.run(B, rename(h, &top("h"), &top("f")), Some("f (b)")).outcome, Outcome::NeedsName);
    s.merged(B, rename(h, &top("h"), &top("f")), Some("f (c)"));
    assert_eq!(s.paths()["/f"], f);
    assert_eq!(s.paths()["/f (c)"], h);
}

#[test]
fn two_folders_of_one_name_are_one_for_ever() {
    let mut s = State::new();
    let d = s.some_dir("d");
    let (e, inner) = (s.node(), s.node());
    let decision = s.merged(B, dir(e, &top("d")), Some("d (b)"));
    assert!(decision.changes.iter().any(|change| change.row == Row::Alias { node: e, target: d }));
    s.applied(B, dir(inner, &at(e, "inner")));
    s.applied(B, rename(e, &top("d"), &top("moved")));
    s.applied(B, OpKind::SetAttr { node: e, attrs: AttrChange { mode: Some(0o700), ..AttrChange::default() } });
    assert_eq!(s.names(), ["/moved", "/moved/inner"]);
    assert_eq!(s.row(d).unwrap().state.attrs.mode, 0o700);
    s.applied(C, unlink(&top("moved"), e, &VersionVector::default()));
    assert_eq!(s.names(), Vec::<String>::new());
}

#[test]
fn a_folder_renamed_onto_another_never_merges() {
    let mut s = State::new();
    let (d, e) = (s.some_dir("d"), s.some_dir("e"));
    s.some_file(&at(d, "f"), "one");
    s.merged(B, rename(e, &top("e"), &top("d")), Some("d (b)"));
    assert_eq!(s.names(), ["/d", "/d (b)", "/d/f"]);
}

#[test]
fn the_move_that_would_close_a_cycle_is_refused_and_its_author_adopts_the_place() {
    let mut s = State::new();
    let (d, e) = (s.some_dir("d"), s.some_dir("e"));
    s.applied(A, rename(d, &top("d"), &at(e, "d")));
    let decision = s.run(B, rename(e, &top("e"), &at(d, "e")), None);
    let Outcome::Refused { code, .. } = decision.outcome else { panic!("{:?}", decision.outcome) };
    assert_eq!(code, tarn_proto::error::ErrorCode::Cycle);
    let stays = Row::Entry { parent: ROOT, name: name("e"), node: Some(e) };
    assert!(decision.changes.iter().any(|change| change.row == stays));
    assert_eq!(s.names(), ["/e", "/e/d"]);
}

#[test]
fn what_is_seen_in_a_removed_folder_is_found_in_the_one_that_took_its_name() {
    let mut s = State::new();
    let d = s.some_dir("d");
    let (f, base) = s.some_file(&at(d, "f"), "base");
    s.applied(A, unlink(&top("d"), d, &VersionVector::default()));
    let e = s.some_dir("d");
    let two = s.content("two");
    s.merged(B, write(f, &at(d, "f"), &base, two), None);
    assert_eq!(s.paths()["/d/f"], f);
    s.applied(B, rename(f, &at(d, "f"), &at(d, "g")));
    assert_eq!((s.names(), s.paths()["/d"]), (vec!["/d".to_owned(), "/d/g".to_owned()], e));
    let vector = s.vector_of(f);
    let decision = s.applied(B, unlink(&at(d, "g"), f, &vector));
    assert_eq!(s.names(), ["/d"]);
    // Its author may still have the removed folder: nothing is in that either.
    let told = |dir| Row::Entry { parent: dir, name: name("g"), node: None };
    for dir in [d, e] {
        assert!(decision.changes.iter().any(|change| change.row == told(dir)), "{:?}", decision.changes);
    }
}

#[test]
fn attributes_are_joined_field_by_field() {
    let mut s = State::new();
    let d = s.some_dir("d");
    s.applied(A, OpKind::SetAttr { node: d, attrs: AttrChange { uid: Some(1), ..AttrChange::default() } });
    s.applied(B, OpKind::SetAttr { node: d, attrs: AttrChange { gid: Some(2), ..AttrChange::default() } });
    let attrs = &s.row(d).unwrap().state.attrs;
    assert_eq!((attrs.uid, attrs.gid), (1, 2));
}

#[test]
fn what_is_so_already_takes_no_seq() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "one");
    assert_eq!(s.merged(B, unlink(&top("g"), f, &base), None).effects, None);
    assert_eq!(s.merged(B, OpKind::Link { node: f, place: top("f") }, None).effects, None);
    assert_eq!(s.merged(B, rename(f, &top("f"), &top("f")), None).effects, None);
    let same = AttrChange { mode: Some(0), ..AttrChange::default() };
    assert_eq!(s.applied(B, OpKind::SetAttr { node: f, attrs: same }).effects, None);
    assert_eq!(s.seq, 1);
}
