//! What a device does to its node by the name that it wanted, while the server has the node beside that.

use super::state::*;
use tarn_proto::api::Outcome;
use tarn_proto::ids::NodeId;
use tarn_proto::op::{OpKind, RenameMode, Seen};
use tarn_proto::version::VersionVector;

/// `/n` is A's; B's file of that name stands beside it, and B has not heard of that.
fn beside(s: &mut State) -> (NodeId, NodeId) {
    let (theirs, _) = s.some_file(&top("n"), "theirs");
    let (mine, content) = (s.node(), s.content("mine"));
    s.merged(B, file(mine, &top("n"), content), Some("n (b)"));
    (theirs, mine)
}

fn known_as(node: NodeId, alt_name: Option<&str>) -> Seen {
    Seen { node, vector: VersionVector::default(), seq: None, alt_name: alt_name.map(name) }
}

fn moved(mine: Seen, to: &str) -> OpKind {
    OpKind::Rename { from: top("n"), to: top(to), seen: mine, displaced: None, mode: RenameMode::NoReplace }
}

#[test]
fn a_removal_by_the_wanted_name_removes_the_node_beside_it() {
    let mut s = State::new();
    let (theirs, mine) = beside(&mut s);
    s.merged(B, OpKind::Unlink { place: top("n"), seen: known_as(mine, None) }, None);
    assert_eq!(s.names(), ["/n", "/n (b)"]);
    s.applied(B, OpKind::Unlink { place: top("n"), seen: known_as(mine, Some("n (b)")) });
    assert_eq!((s.names(), s.paths()["/n"]), (vec!["/n".to_owned()], theirs));
}

#[test]
fn a_rename_by_the_wanted_name_moves_the_node_beside_it() {
    let mut s = State::new();
    let (_, mine) = beside(&mut s);
    s.applied(B, moved(known_as(mine, Some("n (b)")), "m"));
    assert_eq!((s.names(), s.paths()["/m"]), (vec!["/m".to_owned(), "/n".to_owned()], mine));
}

#[test]
fn what_others_moved_from_beside_stays_where_they_put_it() {
    let mut s = State::new();
    let (_, mine) = beside(&mut s);
    s.applied(A, rename(mine, &top("n (b)"), &top("kept")));
    s.merged(B, moved(known_as(mine, Some("n (b)")), "m"), None);
    s.merged(B, OpKind::Unlink { place: top("n"), seen: known_as(mine, Some("n (b)")) }, None);
    assert_eq!(s.names(), ["/kept", "/n"]);
}

#[test]
fn what_others_put_beside_is_not_taken_for_it() {
    let mut s = State::new();
    let (theirs, mine) = beside(&mut s);
    s.applied(A, unlink(&top("n (b)"), mine, &s.vector_of(mine)));
    s.applied(A, rename(theirs, &top("n"), &top("n (b)")));
    s.merged(B, OpKind::Unlink { place: top("n"), seen: known_as(mine, Some("n (b)")) }, None);
    assert_eq!(s.paths()["/n (b)"], theirs);
}

#[test]
fn a_rename_over_the_wanted_name_displaces_the_node_beside_it() {
    for is_name_free_again in [false, true] {
        let mut s = State::new();
        let (theirs, mine) = beside(&mut s);
        if is_name_free_again {
            s.applied(A, rename(theirs, &top("n"), &top("elsewhere")));
        }
        let (next, content) = (s.node(), s.content("next"));
        s.applied(B, file(next, &top("n.tmp"), content));
        let over = rename_over(next, &top("n.tmp"), &top("n"), Some(known_as(mine, Some("n (b)"))));
        let outcome = s.run(B, over, Some("n (b)")).outcome;
        let expected = if is_name_free_again { Outcome::Applied } else { Outcome::Merged };
        assert_eq!(outcome, expected);
        let names = if is_name_free_again { ["/elsewhere", "/n"] } else { ["/n", "/n (b)"] };
        assert_eq!(s.names(), names);
        assert_eq!(s.paths()[if is_name_free_again { "/n" } else { "/n (b)" }], next);
    }
}

#[test]
fn a_node_beside_its_wanted_name_is_exchanged_from_there() {
    let mut s = State::new();
    let (theirs, mine) = beside(&mut s);
    let (other, _) = s.some_file(&top("o"), "other");
    let (seen, displaced) = (known_as(mine, Some("n (b)")), Some(known_as(other, None)));
    let mode = RenameMode::Exchange;
    s.run(B, OpKind::Rename { from: top("n"), to: top("o"), seen, displaced, mode }, Some("n (b)"));
    assert_eq!((s.paths()["/o"], s.paths()["/n"], s.paths()["/n (b)"]), (mine, theirs, other));
}

#[test]
fn two_nodes_beside_their_wanted_names_are_exchanged_with_one_name_for_both() {
    let mut s = State::new();
    let (_, mine) = beside(&mut s);
    s.some_file(&top("o"), "theirs too");
    let (other, content) = (s.node(), s.content("mine too"));
    s.merged(B, file(other, &top("o"), content), Some("o (b)"));
    let (seen, displaced) = (known_as(mine, Some("n (b)")), Some(known_as(other, Some("o (b)"))));
    let mode = RenameMode::Exchange;
    s.run(B, OpKind::Rename { from: top("n"), to: top("o"), seen, displaced, mode }, Some("o (b) 2"));
    assert_eq!((s.paths()["/o (b) 2"], s.paths()["/n (b)"]), (mine, other));
    assert_eq!(s.names(), ["/n", "/n (b)", "/o", "/o (b) 2"]);
}

#[test]
fn what_is_exchanged_with_a_removed_node_stays_beside_its_name_if_there_is_no_other_place() {
    let mut s = State::new();
    let (removed, base) = s.some_file(&top("f"), "one");
    s.applied(A, unlink(&top("f"), removed, &base));
    s.some_file(&top("f"), "theirs");
    s.some_file(&top("o"), "theirs too");
    let (mine, content) = (s.node(), s.content("mine"));
    s.merged(B, file(mine, &top("o"), content), Some("o (b)"));
    let (seen, displaced) = (known_as(removed, None), Some(known_as(mine, Some("o (b)"))));
    let mode = RenameMode::Exchange;
    let exchange = OpKind::Rename { from: top("f"), to: top("o"), seen, displaced, mode };
    assert_eq!(s.run(B, exchange.clone(), Some("o (b)")).outcome, Outcome::NeedsName);
    s.merged(B, exchange, Some("o (b) 2"));
    assert_eq!((s.paths()["/o (b) 2"], s.paths()["/o (b)"]), (removed, mine));
    assert_eq!(s.names(), ["/f", "/o", "/o (b)", "/o (b) 2"]);
}
