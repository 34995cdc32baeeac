//! Folders that come as the server lists them, before the first full pull is complete.

use super::fixture::{Device, cursor, entry_row, folder, folder_state, name, node_row, root, theirs};
use crate::meta::rows::ROOT;
use crate::tree::{DirEntry, Invalidation, Loaded, TreeError};
use tarn_proto::api::{Answer, ChildEntry, ChildrenResponse, Outcome};
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::op::OpKind;

fn child(number: u16) -> ChildEntry {
    let [high, low] = number.to_be_bytes();
    let mut id = [3; 16];
    (id[0], id[1]) = (high, low);
    let name = name(&format!("file {number:05}"));
    ChildEntry { name, entry_seq: 5, node: NodeId(id), node_seq: 5, state: theirs(b"x", 1) }
}

fn page(children: Vec<ChildEntry>) -> ChildrenResponse {
    ChildrenResponse { seq: 9, node: folder_state(), node_seq: 1, children, next: None, epoch: None }
}

fn entries(device: &Device) -> Vec<(String, u64, u64)> {
    let entries = device.tree.read_dir_whole(ROOT).unwrap();
    entries.into_iter().map(|DirEntry { name, ino, cookie, .. }| (name.to_string(), ino.0, cookie)).collect()
}

/// A full pull as of seq 12 brings these.
fn pull_whole(device: &Device, numbers: std::ops::Range<u16>) {
    let rows = numbers.map(child).flat_map(|child| {
        [node_row(child.node, child.state), entry_row(root(), &child.name.to_string(), Some(child.node))]
    });
    device.tree.begin_load().unwrap();
    device.tree.load_page(rows.map(|row| Change { seq: 5, row }).collect()).unwrap();
    device.tree.finish_load(Loaded::first(cursor(12))).unwrap();
}

#[test]
fn a_large_folder_is_shown_at_once_and_the_same_after_a_restart() {
    let device = Device::unloaded();
    device.listed(root(), page((0..5000).map(child).collect()));
    let shown = entries(&device);
    assert_eq!(shown.len(), 5000);
    assert!(shown.is_sorted(), "in order of the names, and of the cookies");
    let one = device.lookup(ROOT, "file 04711").unwrap();
    assert_eq!((one.link_count, one.size_bytes), (1, 1));
    let device = device.restart();
    assert_eq!(entries(&device), shown, "the same numbers and cookies");
    assert_eq!(device.lookup(ROOT, "file 04711").unwrap(), one);
}

#[test]
fn numbers_survive_a_crash_right_after_they_were_shown() {
    let device = Device::unloaded();
    device.listed(root(), page((0..3000).map(child).collect()));
    let shown = entries(&device);
    let device = device.kill();
    assert_eq!(entries(&device), shown);
}

#[test]
fn what_comes_while_a_folder_is_listed_is_not_lost() {
    let mut device = Device::unloaded();
    let begun = device.tree.begin_listing(root(), 9).unwrap();
    let listing = device.tree.list_children(begun, (0..100).map(child).collect()).unwrap();
    // An answer of the server, say, tells of something newer.
    let (renamed, gone) = (child(7), child(8));
    device.seq = 11;
    device.told(vec![
        entry_row(root(), "file 00007", None),
        entry_row(root(), "moved", Some(renamed.node)),
        entry_row(root(), "file 00008", None),
        Row::Node { node: gone.node, state: None },
    ]);
    let listing = device.tree.list_children(listing, (100..200).map(child).collect()).unwrap();
    device.tree.end_listing(listing, page(Vec::new())).unwrap();
    let names: Vec<String> = device.list(ROOT);
    assert_eq!(names.len(), 199);
    assert!(names.contains(&"moved".to_owned()) && !names.iter().any(|n| n == "file 00007" || n == "file 00008"));
}

#[test]
fn a_listing_that_breaks_off_leaves_what_it_brought_and_the_folder_unlisted() {
    let device = Device::unloaded();
    let begun = device.tree.begin_listing(root(), 9).unwrap();
    drop(device.tree.list_children(begun, (0..100).map(child).collect()).unwrap());
    assert!(device.tree.read_dir_whole(ROOT).is_err(), "never shown in part");
    // Meanwhile one was removed on the server.
    device.listed(root(), page((1..120).map(child).collect()));
    let names = device.list(ROOT);
    assert_eq!((names.len(), names[0].as_str()), (119, "file 00001"));
}

#[test]
fn what_went_since_does_not_come_back_with_a_listing_that_the_whole_tree_overtook() {
    let device = Device::unloaded();
    let begun = device.tree.begin_listing(root(), 9).unwrap();
    let listing = device.tree.list_children(begun, (0..50).map(child).collect()).unwrap();
    // As of seq 12 one of these, and the last of those that are yet to come, are gone.
    pull_whole(&device, 1..99);
    let listing = device.tree.list_children(listing, (50..100).map(child).collect()).unwrap();
    device.tree.end_listing(listing, page(Vec::new())).unwrap();
    let names = device.list(ROOT);
    assert_eq!((names.len(), names[0].as_str(), names[97].as_str()), (98, "file 00001", "file 00098"));
}

#[test]
fn the_kernel_is_told_of_what_is_in_a_folder_that_was_made_here_and_that_others_have() {
    const THEIRS: NodeId = NodeId([61; 16]);
    const INNER: NodeId = NodeId([62; 16]);
    let mut device = Device::unloaded();
    device.listed(root(), page(Vec::new()));
    let made = device.folder(ROOT, "d").ino;
    assert!(matches!(device.tree.lookup(made, &name("inner")), Err(TreeError::NotFound)));
    let (ticket, op) = device.freeze().remove(0);
    let OpKind::Create { node, .. } = op.kind else { panic!("{op:?}") };
    let rows = [Row::Alias { node, target: THEIRS }, node_row(THEIRS, folder()), entry_row(root(), "d", Some(THEIRS))];
    device.seq = 12;
    let changes = rows.iter().map(|row| Change { seq: 10, row: row.clone() }).collect();
    let answer = Answer { counter: op.counter, outcome: Outcome::Merged, changes };
    device.tree.settle(&[(ticket, answer)], cursor(10), cursor(10)).unwrap();
    let told = device.watched();
    device.tree.begin_load().unwrap();
    let inner = [node_row(INNER, folder()), entry_row(THEIRS, "inner", Some(INNER))];
    let whole = rows.into_iter().chain(inner).map(|row| Change { seq: 10, row });
    device.tree.load_page(whole.collect()).unwrap();
    device.tree.finish_load(Loaded::first(cursor(12))).unwrap();
    assert!(told.has(&Invalidation::Entry { parent: made, name: name("inner") }));
    assert!(device.lookup(made, "inner").is_ok());
}

#[test]
fn the_kernel_is_told_of_a_name_that_a_full_pull_brings_to_a_folder_that_came_in_part() {
    let device = Device::unloaded();
    let begun = device.tree.begin_listing(root(), 9).unwrap();
    let even = (0..50).step_by(2).map(child).collect();
    let _broken_off = device.tree.list_children(begun, even).unwrap();
    let late = child(7);
    assert!(matches!(device.tree.lookup(ROOT, &late.name), Err(TreeError::NotFound)));
    let told = device.watched();
    pull_whole(&device, 0..50);
    assert!(told.has(&Invalidation::Entry { parent: ROOT, name: late.name.clone() }));
    assert_eq!(device.tree.lookup(ROOT, &late.name).unwrap().size_bytes, 1);
}
