//! A snapshot of what was loaded: what is not in it is asked for, and what is in it is not loaded again.

use super::state::*;
use crate::rules::{EntryRow, Key, NodeSlot, Snapshot};
use tarn_proto::ids::{NodeId, VersionId};

const DIR: NodeId = NodeId([7; 16]);
const LOST: NodeId = NodeId([8; 16]);

/// The root, a folder in it, and one whose folder is not loaded.
fn loaded() -> Snapshot {
    let row = State::new().row(ROOT).unwrap().clone();
    let mut snapshot = Snapshot::empty(SPACE);
    snapshot.load_node(ROOT, NodeSlot::Present(row.clone()), []);
    for (node, place) in [(DIR, top("d")), (LOST, at(NodeId([9; 16]), "lost"))] {
        let entry = EntryRow { node, seq: 0, device: row.device, meant_for: None };
        snapshot.load_node(node, NodeSlot::Present(row.clone()), [(place, entry)]);
    }
    snapshot
}

#[test]
fn what_is_not_loaded_is_asked_for() {
    let (snapshot, version) = (Snapshot::empty(SPACE), VersionId([1; 16]));
    let keys = [Key::Node(DIR), Key::Chain(DIR), Key::Place(top("d")), Key::Tree(DIR), Key::GoneTree(DIR)];
    let more = [Key::Version(version), Key::Conflicts(DIR), Key::Recovered(DIR)];
    for key in keys.into_iter().chain(more) {
        assert!(!snapshot.has(&key), "{key:?}");
    }
    assert_eq!(snapshot.node(DIR), Err(Key::Node(DIR)));
    assert_eq!(snapshot.entry(&top("d")), Err(Key::Place(top("d"))));
    assert_eq!(snapshot.version(version), Err(Key::Version(version)));
    assert_eq!(snapshot.conflicts(DIR), Err(Key::Conflicts(DIR)));
    assert_eq!(snapshot.recovered(DIR), Err(Key::Recovered(DIR)));
}

#[test]
fn a_chain_is_loaded_up_to_the_root() {
    let snapshot = loaded();
    assert!(snapshot.has(&Key::Chain(DIR)) && snapshot.has(&Key::Chain(ROOT)));
    assert!(snapshot.has(&Key::Node(LOST)) && !snapshot.has(&Key::Chain(LOST)));
}

#[test]
fn a_listed_folder_says_what_is_not_in_it() {
    let mut snapshot = loaded();
    let absent = at(DIR, "absent");
    assert!(!snapshot.has(&Key::Place(absent.clone())) && !snapshot.has(&Key::Tree(DIR)));
    snapshot.load_children(DIR, []);
    assert_eq!(snapshot.entry(&absent), Ok(None));
    assert!(snapshot.has(&Key::Tree(DIR)) && snapshot.is_present_dir(DIR));
    assert!(!snapshot.is_present_dir(NodeId([9; 16])), "it is not loaded");
}
