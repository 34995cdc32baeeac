//! What a decision says beside the rows: how much larger all contents are, which records it supersedes, up to when it holds.

use super::state::*;
use crate::rules::Decision;
use tarn_proto::api::Keep;
use tarn_proto::change::Row;
use tarn_proto::ids::ChunkId;
use tarn_proto::manifest::{Manifest, ManifestEntry};
use tarn_proto::node::Content;

fn sized(s: &mut State, bytes: u8) -> Content {
    let entry = ManifestEntry { id: ChunkId([bytes; 32]), length: bytes.into(), stored: bytes.into() };
    let manifest = Manifest { level: 0, entries: vec![entry] };
    Content { size: bytes.into(), manifest, ..s.content(&bytes.to_string()) }
}

fn grown(decision: &Decision) -> i64 {
    decision.effects.as_ref().unwrap().bytes_grown
}

#[test]
fn the_growth_of_all_present_contents_is_that_of_the_changed_ones() {
    let mut s = State::new();
    let (f, ten, three, five) = (s.node(), sized(&mut s, 10), sized(&mut s, 3), sized(&mut s, 5));
    assert_eq!(grown(&s.applied(A, file(f, &top("f"), ten))), 10);
    let base = s.vector_of(f);
    assert_eq!(grown(&s.applied(A, write(f, &top("f"), &base, three))), -7);
    assert_eq!(grown(&s.run(B, write(f, &top("f"), &base, five), Some("f (b)"))), 5, "its sibling");
    let seen = s.vector_of(f);
    assert_eq!(grown(&s.applied(A, unlink(&top("f"), f, &seen))), -3);
}

#[test]
fn a_record_is_new_then_changed_then_resolved() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "base");
    let (mine, first, next) = (s.content("mine"), s.content("first"), s.content("next"));
    s.applied(A, write(f, &top("f"), &base, mine));
    let was = |decision: &Decision| {
        let [record] = decision.effects.as_ref().unwrap().conflicts.as_slice() else { panic!("one record") };
        (record.was_open, record.is_resolved)
    };
    assert_eq!(was(&s.run(B, write(f, &top("f"), &base, first), Some("f (b)"))), (false, false));
    assert_eq!(was(&s.run(B, write(f, &top("f"), &base, next), Some("f (b 2)"))), (true, false));
    let (open, seen) = (s.snapshot.open_conflicts().next().unwrap().clone(), s.all_seen());
    assert_eq!(was(&s.resolve(&open, Keep::Stayed, &seen, None)), (true, true));
}

#[test]
fn that_nothing_is_there_is_said_of_all_that_happened() {
    let mut s = State::new();
    let (f, base) = s.some_file(&top("f"), "one");
    s.applied(A, unlink(&top("f"), f, &base));
    s.some_dir("later");
    let decision = s.merged(B, unlink(&top("f"), f, &base), None);
    let free = Row::Entry { parent: ROOT, name: name("f"), node: None };
    let said: Vec<u64> = decision.changes.iter().filter(|change| change.row == free).map(|change| change.seq).collect();
    assert_eq!(said, [s.seq]);
}
