//! What a full pull changes of what programs have looked at.

use super::fixture::*;
use super::happened::Told;
use tarn_proto::ids::NodeId;
use tarn_proto::node::{Attrs, NodeState};

const fn node(number: u8) -> NodeId {
    NodeId([number; 16])
}

#[test]
fn a_listing_that_was_read_shows_what_a_full_pull_brings_takes_and_exchanges() {
    let mut device = Device::new();
    let file = |text: &str, number: u8| {
        vec![node_row(node(number), theirs(text.as_bytes(), 1)), entry_row(root(), text, Some(node(number)))]
    };
    device.pull_known([file("stays", 51), file("goes", 52), file("other", 53), file("text", 56)].concat());
    assert_eq!(device.list(TOP), ["goes", "other", "stays", "text"]);
    let stays = device.at("/stays");
    device.tree.content(device.at("/text")).unwrap();
    let attrs = Attrs { mode: 0o600, ..theirs(b"", 1).attrs };
    device.changed_elsewhere(&[
        gone(node(52)),
        entry_row(root(), "goes", None),
        node_row(node(54), theirs(b"of another file", 1)),
        entry_row(root(), "other", Some(node(54))),
        node_row(node(56), theirs(b"another text", 2)),
        node_row(node(51), NodeState { attrs, ..theirs(b"stays", 1) }),
    ]);
    device.changed_elsewhere(&file("comes", 55));
    let told = Told::of(&device);
    device.pull_all();
    let mut happened = told.take();
    happened.sort();
    assert_eq!(happened, ["+1/comes", "+1/other", "-1/goes", "-1/other", "attributes", "written"]);
    assert_eq!(device.list(TOP), ["comes", "other", "stays", "text"]);
    assert_eq!(device.lookup(TOP, "other").unwrap().size_bytes, 15);
    let shown = device.lookup(TOP, "stays").unwrap();
    assert_eq!((shown.ino, shown.attrs.mode), (stays, 0o600));
}

#[test]
fn a_large_listing_leads_to_the_version_that_is_shown_while_the_database_lags_behind() {
    let many = |number: u16| {
        let mut id = [70; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        NodeId(id)
    };
    let mut rows = vec![node_row(node(61), folder()), entry_row(root(), "d", Some(node(61)))];
    for number in 0..2_100 {
        let text = format!("f{number:05}");
        rows.extend([node_row(many(number), theirs(b"old", 1)), entry_row(node(61), &text, Some(many(number)))]);
    }
    let mut device = Device::new();
    device.pull(rows);
    device.list(device.at("/d"));
    let mut device = device.lagging();
    let (dir, old) = (device.at("/d"), device.at("/d/f00001"));
    device.tree.opened(old, false).unwrap();
    device.pull(vec![node_row(many(1), theirs(b"newer", 2))]);
    let shown = device.at("/d/f00001");
    assert_ne!(shown, old);
    let entries = device.tree.read_dir_whole(dir).unwrap();
    assert_eq!(entries.iter().find(|entry| entry.name == name("f00001")).unwrap().ino, shown);
}
