//! What becomes of contents that a lost history had: each of them is kept, and none of them twice.

use super::*;

#[test]
fn what_others_brought_back_is_joined_with_what_is_sent_again() {
    let mut w = World::new();
    let old = w.file(&top("old"), "1");
    let copy = w.copy();
    let (new, first, second) = (w.s.node(), w.s.content("2"), w.s.content("3"));
    let sent = [file(new, &top("new"), first), write(old, &top("old"), &w.s.vector_of(old), second)];
    sent.iter().for_each(|kind| w.applied(A, kind.clone()));
    let rows = w.rows.clone();
    w.put_back(&copy);
    w.bring(&rows);
    w.write(B, new, &top("new"), "4");
    w.write(B, old, &top("old"), "5");
    let after = looks(&w.s);
    // Who sent them has not heard whether they had arrived.
    sent.iter().for_each(|kind| assert_eq!(w.run(A, kind.clone(), Some("alt")), Outcome::Merged));
    assert_eq!(looks(&w.s), after);
    w.applied(B, unlink(&top("new"), new, &w.s.vector_of(new)));
    w.applied(B, unlink(&top("old"), old, &w.s.vector_of(old)));
    sent.iter().for_each(|kind| assert_eq!(w.run(A, kind.clone(), Some("alt")), Outcome::Merged));
    assert_eq!(w.s.names(), Vec::<String>::new());
}

#[test]
fn what_was_replaced_by_one_of_its_names_and_written_since_keeps_the_other() {
    let mut w = World::new();
    let old = w.file(&top("f"), "1");
    w.applied(A, OpKind::Link { node: old, place: top("g") });
    let copy = w.copy();
    let new = w.file(&top("new"), "2");
    w.applied(A, rename_over(new, &top("new"), &top("f"), Some(seen(old, &w.s.vector_of(old)))));
    let rows = w.rows.clone();
    w.put_back(&copy);
    w.applied(B, unlink(&top("g"), old, &w.s.vector_of(old)));
    w.write(B, old, &top("f"), "3");
    w.bring(&rows);
    assert_eq!(w.s.paths(), BTreeMap::from([("/f".to_owned(), old), (format!("/alt {new}"), new)]));
}

fn in_conflict(w: &World) -> BTreeSet<ContentId> {
    w.s.snapshot.open_conflicts().map(|open| open.state.theirs.content.content_id).collect()
}

#[test]
fn a_device_that_knew_less_takes_nothing_from_what_another_one_brought_into_conflict() {
    let mut w = World::new();
    let f = w.file(&top("f"), "1");
    let copy = w.copy();
    w.write(A, f, &top("f"), "2");
    let less = w.rows.clone();
    w.write(A, f, &top("f"), "3");
    let more = w.rows.clone();
    w.put_back(&copy);
    w.write(B, f, &top("f"), "since");
    w.bring(&more);
    let shown = w.s.names();
    w.bring(&less);
    assert_eq!((in_conflict(&w), w.s.names()), (BTreeSet::from([w.s.content("3").content_id]), shown));
}

#[test]
fn two_contents_that_had_not_seen_each_other_are_both_in_conflict_with_what_was_written_since() {
    let mut w = World::new();
    let f = w.file(&top("f"), "1");
    let (copy, known) = (w.copy(), w.rows.clone());
    w.write(A, f, &top("f"), "one");
    let one = std::mem::replace(&mut w.rows, known);
    w.put_back(&copy);
    w.write(C, f, &top("f"), "other");
    let other = w.rows.clone();
    w.put_back(&copy);
    w.write(B, f, &top("f"), "since");
    w.bring(&one);
    w.bring(&other);
    let both = ["one", "other"].map(|text| w.s.content(text).content_id);
    assert_eq!(in_conflict(&w), BTreeSet::from(both));
}

#[test]
fn what_was_written_upon_what_came_back_is_in_no_conflict_with_it() {
    let mut w = World::new();
    let f = w.file(&top("f"), "1");
    let copy = w.copy();
    w.write(A, f, &top("f"), "2");
    let rows = w.rows.clone();
    w.put_back(&copy);
    w.bring(&rows);
    w.write(C, f, &top("f"), "upon it");
    w.bring(&rows);
    assert_eq!((in_conflict(&w), w.s.content_of(f)), (BTreeSet::new(), w.s.content("upon it").content_id));
}

#[test]
fn what_comes_back_into_conflict_is_shown_beside_what_others_have_there() {
    let mut w = World::new();
    let f = w.file(&top("f"), "1");
    let (copy, base) = (w.copy(), w.s.vector_of(f));
    w.write(A, f, &top("f"), "lost");
    let rows = w.rows.clone();
    w.put_back(&copy);
    w.write(C, f, &top("f"), "since");
    let theirs = w.s.content("theirs");
    assert!(matches!(w.run(B, write(f, &top("f"), &base, theirs), Some("f (b)")), Outcome::Conflicted { .. }));
    w.bring(&rows);
    assert_eq!(w.s.names(), [format!("/alt {f}"), "/f".into(), "/f (b)".into()]);
}

#[test]
fn a_file_stays_removed_whose_lost_content_was_brought_into_conflict_before() {
    let mut w = World::new();
    let f = w.file(&top("f"), "1");
    let copy = w.copy();
    w.write(A, f, &top("f"), "lost");
    let rows = w.rows.clone();
    w.put_back(&copy);
    w.write(C, f, &top("f"), "since");
    w.bring(&rows);
    w.applied(B, unlink(&top("f"), f, &w.s.vector_of(f)));
    w.bring(&rows);
    assert_eq!(w.s.names(), [format!("/alt {f}")]);
}

#[test]
fn a_record_that_was_changed_since_is_not_what_it_was_in_the_lost_history() {
    let mut w = World::new();
    let f = w.file(&top("f"), "base");
    let base = w.s.vector_of(f);
    w.write(A, f, &top("f"), "mine");
    let save = |w: &mut World, text: &str| {
        let content = w.s.content(text);
        assert!(matches!(w.run(B, write(f, &top("f"), &base, content), None), Outcome::Conflicted { .. }));
    };
    save(&mut w, "first");
    let copy = w.copy();
    save(&mut w, "lost");
    let rows = w.rows.clone();
    w.put_back(&copy);
    save(&mut w, "since");
    w.bring(&rows);
    assert_eq!(in_conflict(&w), BTreeSet::from([w.s.content("since").content_id]));
}

#[test]
fn a_name_that_a_device_was_answered_does_not_bring_back_the_bytes_that_it_knew_before() {
    let mut w = World::new();
    let f = w.file(&top("f"), "1");
    let known = w.rows.clone();
    w.write(B, f, &top("f"), "2");
    let copy = w.copy();
    w.rows = known;
    w.applied(A, rename(f, &top("f"), &top("g")));
    let rows = w.rows.clone();
    w.put_back(&copy);
    w.bring(&rows);
    assert_eq!((w.s.names(), w.s.content_of(f)), (vec!["/g".into()], w.s.content("2").content_id));
}

#[test]
fn a_device_that_knew_a_later_name_and_not_the_last_write_does_not_keep_others_from_bringing_that() {
    let mut w = World::new();
    let f = w.file(&top("f"), "1");
    let (copy, known) = (w.copy(), w.rows.clone());
    w.write(B, f, &top("f"), "2");
    let mut all = std::mem::replace(&mut w.rows, known);
    w.applied(A, rename(f, &top("f"), &top("g")));
    let less = w.rows.clone();
    (all.seq, all.entries) = (less.seq, less.entries.clone());
    for order in [[&less, &all], [&all, &less]] {
        w.put_back(&copy);
        order.into_iter().for_each(|rows| drop(w.bring(rows)));
        assert_eq!((w.s.names(), w.s.content_of(f)), (vec!["/g".into()], w.s.content("2").content_id));
    }
}

#[test]
fn what_lost_a_conflict_and_was_sent_again_before_that_came_back_has_no_sibling() {
    let mut w = World::new();
    let f = w.file(&top("f"), "1");
    let (copy, base) = (w.copy(), w.s.vector_of(f));
    w.write(B, f, &top("f"), "theirs");
    let sent = write(f, &top("f"), &base, w.s.content("mine"));
    assert!(matches!(w.run(A, sent.clone(), Some("f (a)")), Outcome::Conflicted { .. }));
    let rows = w.rows.clone();
    w.put_back(&copy);
    w.applied(A, sent);
    w.bring(&rows);
    assert_eq!(w.s.names(), [format!("/alt {f}"), "/f".into()]);
    let (mine, theirs) = (w.s.content("mine").content_id, w.s.content("theirs").content_id);
    assert_eq!((w.s.content_of(f), in_conflict(&w)), (mine, BTreeSet::from([theirs])));
}
