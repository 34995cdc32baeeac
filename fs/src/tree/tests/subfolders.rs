//! A folder's number of links says how many folders are in it, also while memory holds neither its listing nor the folder.

use super::fixture::*;
use tarn_proto::change::Row;
use tarn_proto::ids::NodeId;

const D: NodeId = NodeId([12; 16]);

fn subfolder(number: u8) -> Vec<Row> {
    let node = NodeId([number; 16]);
    vec![node_row(node, folder()), entry_row(D, &format!("e{number}"), Some(node))]
}

#[test]
fn the_number_of_links_stays_when_memory_lets_go_and_follows_what_others_do() {
    let mut device = Device::new();
    device.pull([vec![node_row(D, folder()), entry_row(root(), "d", Some(D))], subfolder(20), subfolder(21)].concat());
    let dir = device.at("/d");
    device.tree.refer(dir).unwrap();
    let links = |device: &Device| device.tree.stat(dir).unwrap().link_count;
    assert_eq!(device.list(dir), ["e20", "e21"]);
    assert_eq!(links(&device), 4);
    device.swept();
    assert_eq!(links(&device), 4);
    device.pull(subfolder(22));
    assert_eq!(links(&device), 5);
    device.pull(vec![entry_row(D, "e20", None), gone(NodeId([20; 16]))]);
    assert_eq!(links(&device), 4);
    assert_eq!(device.list(dir), ["e21", "e22"]);
    assert_eq!(links(&device), 4);
}
