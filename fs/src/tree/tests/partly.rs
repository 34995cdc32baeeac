//! A folder of which some names have come, and what is heard of it besides.

use super::fixture::*;
use super::growing::{World, head, named, node};
use crate::meta::rows::ROOT;
use crate::tree::TreeError;
use tarn_proto::api::ChildrenResponse;
use tarn_proto::node::AttrChange;

#[test]
fn what_comes_and_goes_before_where_a_listing_is_shows_at_once() {
    let mut world = World::of(20);
    world.page(10);
    let device = &mut world.device;
    device.told(named("n00004x", 99).to_vec());
    device.told(vec![entry_row(root(), "n00005", None), gone(node(5))]);
    assert_eq!(device.lookup(ROOT, "n00004x").unwrap().size_bytes, 6);
    assert!(matches!(device.lookup(ROOT, "n00005"), Err(TreeError::NotFound)));
}

#[test]
fn a_folder_is_not_known_because_its_attributes_were_set_here() {
    let mut device = Device::unloaded();
    device.changed_elsewhere(&[node_row(node(1), folder()), entry_row(root(), "d", Some(node(1)))]);
    let children = device.children(root());
    device.listed(root(), ChildrenResponse { children, ..head(device.seq) });
    let dir = device.at("/d");
    device.tree.set_attrs(dir, &AttrChange { mode: Some(0o700), ..AttrChange::default() }).unwrap();
    assert!(matches!(device.lookup(dir, "f"), Err(TreeError::Unlisted(_))));
    assert!(matches!(device.tree.read_dir_whole(dir), Err(TreeError::Unlisted(_))));
}

#[test]
fn a_listing_counts_the_names_that_its_files_have_elsewhere() {
    let mut device = Device::new();
    device.pull(vec![node_row(node(1), folder()), entry_row(root(), "d", Some(node(1)))]);
    device.pull(vec![node_row(node(2), theirs(b"theirs", 1)), entry_row(node(1), "f", Some(node(2)))]);
    device.tree.link(device.at("/d/f"), TOP, &name("g")).unwrap();
    let mut device = device.restart();
    device.list(device.at("/d"));
    assert_eq!(device.lookup(TOP, "g").unwrap().link_count, 2);
    device.push();
    let device = device.restart();
    device.list(device.at("/d"));
    assert_eq!(device.tree.stat(device.at("/d/f")).unwrap().link_count, 2, "and those that the server has");
}

#[test]
fn a_name_in_a_folder_that_nobody_knows_yet_counts_though_it_is_the_same() {
    let mut device = Device::unloaded();
    device.changed_elsewhere(&named("f", 2));
    let children = device.children(root());
    device.listed(root(), ChildrenResponse { children, ..head(device.seq) });
    assert_eq!(device.lookup(ROOT, "f").unwrap().link_count, 1);
    device.told(vec![node_row(node(1), folder()), entry_row(node(1), "f", Some(node(2)))]);
    assert_eq!(device.lookup(ROOT, "f").unwrap().link_count, 2);
}
