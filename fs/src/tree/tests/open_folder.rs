//! A folder that somebody reads keeps its listing and its cookies, whatever memory lets go of.

use super::fixture::*;
use tarn_proto::ids::NodeId;

#[test]
fn reading_goes_on_where_it_was_while_memory_is_swept() {
    let mut device = Device::new();
    let names = ["a", "b", "c", "d", "e"];
    let files = names.iter().zip(20u8..).flat_map(|(text, number)| {
        let node = NodeId([number; 16]);
        [node_row(node, theirs(text.as_bytes(), 1)), entry_row(root(), text, Some(node))]
    });
    device.pull(files.collect());
    assert_eq!(device.list(TOP), names);
    // From now on the cookies are not those that the names alone would have.
    device.tree.unlink(TOP, &name("a")).unwrap();
    device.push();
    let handle = device.tree.open_dir(TOP).unwrap();
    let first = device.tree.read_dir(handle, 0, 1).unwrap();
    device.swept();
    let rest = device.tree.read_dir(handle, first[0].cookie, 100).unwrap();
    let read: Vec<String> = first.iter().chain(&rest).map(|entry| entry.name.to_string()).collect();
    assert_eq!(read, ["b", "c", "d", "e"]);
    device.tree.close_dir(handle);
}
