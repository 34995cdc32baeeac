//! What becomes of the names, aliases and records that a lost history had.

use super::*;
use crate::rules::NodeSlot;
use tarn_proto::api::Keep;

#[test]
fn an_id_that_stood_for_a_folder_does_so_again() {
    let mut w = World::new();
    let copy = w.copy();
    let (folder, alias) = (w.s.node(), w.s.node());
    w.applied(A, dir(folder, &top("folder")));
    assert_eq!(w.run(B, dir(alias, &top("folder")), None), Outcome::Merged);
    let rows = w.rows.clone();
    w.put_back(&copy);
    assert_eq!(w.bring(&rows), Vec::<String>::new());
    w.file(&at(alias, "in it"), "1");
    assert_eq!(w.s.names(), ["/folder", "/folder/in it"]);
}

#[test]
fn a_folder_that_is_said_to_have_two_names_gets_one() {
    let mut w = World::new();
    let copy = w.copy();
    let folder = w.s.node();
    w.applied(A, dir(folder, &top("old")));
    w.applied(A, rename(folder, &top("old"), &top("new")));
    let mut rows = w.rows.clone();
    rows.take(vec![Change { seq: 1, row: Row::Entry { parent: ROOT, name: name("old"), node: Some(folder) } }]);
    w.put_back(&copy);
    w.bring(&rows);
    assert_eq!(w.s.paths().into_values().collect::<Vec<_>>(), [folder]);
}

#[test]
fn what_lost_its_folder_for_good_stands_in_the_root() {
    let mut w = World::new();
    let copy = w.copy();
    let folder = w.s.node();
    w.applied(A, dir(folder, &top("folder")));
    let f = w.file(&at(folder, "f"), "1");
    let mut rows = w.rows.clone();
    rows.nodes.remove(&folder);
    w.put_back(&copy);
    assert_eq!(w.bring(&rows), Vec::<String>::new());
    assert_eq!(w.s.paths(), BTreeMap::from([(format!("/alt {f}"), f)]));
}

#[test]
fn what_finds_its_name_taken_stands_beside_it_in_the_same_folder() {
    let mut w = World::new();
    let folder = w.s.node();
    w.applied(A, dir(folder, &top("folder")));
    let copy = w.copy();
    let lost = w.file(&at(folder, "name"), "1");
    let rows = w.rows.clone();
    w.put_back(&copy);
    let since = w.file(&at(folder, "name"), "2");
    w.bring(&rows);
    assert_eq!(w.s.paths()["/folder/name"], since);
    assert_eq!(w.s.paths()[&format!("/folder/alt {lost}")], lost);
}

#[test]
fn two_equal_files_that_the_lost_history_had_are_two() {
    let mut w = World::new();
    let old = w.file(&top("old"), "same");
    let copy = w.copy();
    let new = w.file(&top("new"), "same");
    w.applied(A, OpKind::SetAttr { node: old, attrs: AttrChange { mode: Some(0o600), ..AttrChange::default() } });
    let rows = w.rows.clone();
    w.put_back(&copy);
    w.applied(C, rename(old, &top("old"), &top("new")));
    w.bring(&rows);
    assert_eq!(w.s.paths(), BTreeMap::from([("/new".to_owned(), old), (format!("/alt {new}"), new)]));
}

#[test]
fn a_content_comes_back_that_the_remover_of_its_file_cannot_have_seen() {
    let mut w = World::new();
    let f = w.file(&top("f"), "1");
    let copy = w.copy();
    w.write(A, f, &top("f"), "2");
    let (rows, mut without_bytes) = (w.rows.clone(), w.rows.clone());
    without_bytes.nodes.values_mut().filter_map(|(_, state)| state.as_mut()).for_each(|state| state.file = None);
    w.put_back(&copy);
    w.bring(&without_bytes);
    w.applied(B, unlink(&top("f"), f, &w.s.vector_of(f)));
    w.bring(&rows);
    assert_eq!((w.s.names(), w.s.content_of(f)), (vec!["/f".to_owned()], w.s.content("2").content_id));
    w.applied(B, unlink(&top("f"), f, &w.s.vector_of(f)));
    w.bring(&rows);
    assert_eq!(w.s.names(), Vec::<String>::new(), "by now its remover has");
}

#[test]
fn a_name_that_the_lost_history_had_taken_away_does_not_come_back() {
    let mut w = World::new();
    let f = w.file(&top("f"), "1");
    let copy = w.copy();
    w.applied(A, OpKind::Link { node: f, place: top("n") });
    let linked = w.rows.clone();
    w.applied(A, unlink(&top("n"), f, &w.s.vector_of(f)));
    let more = w.rows.clone();
    w.put_back(&copy);
    w.bring(&more);
    w.bring(&linked);
    assert_eq!(w.s.names(), ["/f"]);
}

#[test]
fn a_name_that_the_lost_history_gave_to_another_file_later_is_that_one_s() {
    for is_moved_since in [false, true] {
        let mut w = World::new();
        let f = w.file(&top("f"), "1");
        let copy = w.copy();
        w.applied(A, OpKind::Link { node: f, place: top("n") });
        let linked = w.rows.clone();
        w.applied(A, unlink(&top("n"), f, &w.s.vector_of(f)));
        let later = w.file(&top(if is_moved_since { "m" } else { "n" }), "2");
        let mut rows = w.rows.clone();
        if is_moved_since {
            // It does not know of the name at all.
            rows.entries.remove(&(ROOT, name("n")));
        }
        w.put_back(&copy);
        w.bring(&rows);
        if is_moved_since {
            w.applied(C, rename(later, &top("m"), &top("n")));
        }
        w.bring(&linked);
        let beside = is_moved_since.then(|| (format!("/alt {f}"), f));
        let expected = [("/f".to_owned(), f), ("/n".to_owned(), later)].into_iter().chain(beside);
        assert_eq!(w.s.paths(), expected.collect());
    }
}

#[test]
fn what_was_replaced_goes_though_who_brings_the_new_file_never_knew_it() {
    let mut w = World::new();
    let old = w.file(&top("n"), "1");
    let copy = w.copy();
    let new = w.file(&top("new"), "2");
    w.applied(A, rename_over(new, &top("new"), &top("n"), Some(seen(old, &w.s.vector_of(old)))));
    let mut rows = w.rows.clone();
    rows.nodes.remove(&old);
    w.put_back(&copy);
    w.bring(&rows);
    assert_eq!(w.s.paths(), BTreeMap::from([("/n".to_owned(), new)]));
}

#[test]
fn a_node_that_belongs_to_another_space_by_now_is_refused() {
    let mut w = World::new();
    let copy = w.copy();
    let f = w.file(&top("f"), "1");
    let rows = w.rows.clone();
    w.put_back(&copy);
    w.s.snapshot.load_node(f, NodeSlot::Foreign, []);
    assert_eq!(w.bring(&rows), ["the node's id is taken"]);
}

/// Two contents of one file: what A wrote stayed, what B wrote is in a record.
fn contended(w: &mut World, alt: Option<&str>) -> NodeId {
    let f = w.file(&top("f"), "base");
    let (base, theirs) = (w.s.vector_of(f), w.s.content("theirs"));
    w.write(A, f, &top("f"), "mine");
    assert!(matches!(w.run(B, write(f, &top("f"), &base, theirs), alt), Outcome::Conflicted { .. }));
    f
}

#[test]
fn a_conflict_is_open_again_with_its_version() {
    for alt in [None, Some("f (b)")] {
        let mut w = World::new();
        let copy = w.copy();
        let f = contended(&mut w, alt);
        let (before, rows) = (w.s.snapshot.open_conflicts().next().unwrap().state.clone(), w.rows.clone());
        w.put_back(&copy);
        w.bring(&rows);
        let open: Vec<_> = w.s.snapshot.open_conflicts().map(|open| open.state.clone()).collect();
        assert_eq!(open, std::slice::from_ref(&before));
        let version = w.s.snapshot.version(before.theirs.content.version).unwrap().unwrap();
        assert_eq!(version.node, before.sibling.unwrap_or(f));
    }
}

#[test]
fn a_conflict_that_the_lost_history_had_resolved_ends() {
    let mut w = World::new();
    let f = contended(&mut w, None);
    let copy = w.copy();
    let (open, seen) = (w.s.snapshot.open_conflicts().next().unwrap().clone(), w.s.all_seen());
    let seen = seen.joined(&open.state.theirs.vector);
    let decision = w.s.resolve(&open, Keep::Theirs, &seen, None);
    w.rows.take(decision.effects.iter().flat_map(crate::rules::Effects::changes).collect());
    let rows = w.rows.clone();
    w.put_back(&copy);
    assert_eq!(w.s.snapshot.open_conflicts().count(), 1);
    w.bring(&rows);
    assert_eq!(w.s.content_of(f), w.s.content("theirs").content_id);
    assert_eq!(w.s.snapshot.open_conflicts().count(), 0);
}

#[test]
fn a_version_is_not_taken_for_another_content() {
    let mut w = World::new();
    let f = w.file(&top("f"), "1");
    let copy = w.copy();
    w.file(&top("lost"), "2");
    let mut rows = w.rows.clone();
    let taken = w.s.row(f).unwrap().file().unwrap().content.version;
    let states = rows.nodes.iter_mut().filter(|(node, _)| **node != f).filter_map(|(_, (_, state))| state.as_mut());
    states.filter_map(|state| state.file.as_mut()).for_each(|file| file.content.version = taken);
    w.put_back(&copy);
    assert_eq!(w.bring(&rows), ["the version's id is taken"]);
    assert_eq!(w.s.names(), ["/f"]);
}
