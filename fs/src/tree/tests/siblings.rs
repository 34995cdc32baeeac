//! Which files a reader is expected to want next.

use super::fixture::*;
use crate::meta::rows::Ino;
use crate::tree::Ahead;
use tarn_proto::ids::NodeId;
use tarn_proto::node::{Attrs, NodeKind, NodeState};
use tarn_proto::version::VersionVector;

const MANY: Ahead = Ahead { files_max: 100, bytes_max: 1 << 20, file_bytes_max: 1_000, beyond: true };

fn node(folder: u8, file: u8) -> NodeId {
    NodeId([10 + folder, file, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
}

/// Folders `d0`, `d1`, `d2` with files `f0` to `f4` that are not here; `f3` of each is large.
fn folders() -> Device {
    let mut device = Device::new();
    let mut rows = Vec::new();
    let dir = NodeState { kind: NodeKind::Dir, attrs: Attrs { mode: 0o755, ..Attrs::default() }, file: None };
    for folder in 0..3 {
        rows.push(node_row(node(folder, 99), dir.clone()));
        rows.push(entry_row(root(), &format!("d{folder}"), Some(node(folder, 99))));
        for file in 0..5 {
            let bytes = vec![folder * 10 + file; if file == 3 { 2_000 } else { 100 }];
            let vector = VersionVector::default().with(OTHER, u64::from(folder * 5 + file) + 1);
            rows.push(node_row(node(folder, file), remote_file(&bytes, vector, OTHER)));
            rows.push(entry_row(node(folder, 99), &format!("f{file}"), Some(node(folder, file))));
        }
    }
    device.pull(rows);
    device
}

fn behind(device: &Device, path: &str, ahead: Ahead) -> Vec<String> {
    let contents = device.tree.absent_behind(device.at(path), ahead).unwrap();
    let path = |ino: Ino| String::from_utf8(device.tree.path_of(ino).unwrap().unwrap()).unwrap();
    contents.iter().map(|content| path(content.ino())).collect()
}

#[test]
fn the_small_files_that_follow_are_found_in_this_folder_and_the_next() {
    let device = folders();
    assert_eq!(behind(&device, "/d1/f1", Ahead { beyond: false, ..MANY }), ["/d1/f2", "/d1/f4"]);
    assert_eq!(behind(&device, "/d1/f1", MANY), ["/d1/f2", "/d1/f4", "/d2/f0", "/d2/f1", "/d2/f2", "/d2/f4"]);
    assert!(behind(&device, "/d2/f4", MANY).is_empty());
}

#[test]
fn what_is_found_stays_within_its_bounds() {
    let device = folders();
    assert_eq!(behind(&device, "/d0/f0", Ahead { files_max: 2, ..MANY }), ["/d0/f1", "/d0/f2"]);
    assert_eq!(behind(&device, "/d0/f0", Ahead { bytes_max: 150, ..MANY }), ["/d0/f1", "/d0/f2"]);
}

#[test]
fn what_is_written_here_is_not_looked_for_elsewhere() {
    let device = folders();
    device.written(device.at("/d0"), "new", b"mine");
    device.write(device.at("/d0/f2"), 0, &[7; 200]);
    let found = behind(&device, "/d0/f0", Ahead { beyond: false, ..MANY });
    assert_eq!(found, ["/d0/f1", "/d0/f4"]);
}

#[test]
fn a_file_of_several_names_gets_one_local_content() {
    let mut device = folders();
    device.pull(vec![entry_row(node(0, 99), "f1 again", Some(node(0, 1)))]);
    let found = behind(&device, "/d0/f0", Ahead { beyond: false, ..MANY });
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(device.tree.row_faults(10).unwrap().1, []);
}

#[test]
fn what_is_written_to_a_file_that_was_looked_for_is_there_after_a_restart() {
    let device = folders();
    assert!(behind(&device, "/d0/f0", MANY).contains(&"/d0/f1".to_owned()));
    device.tree.truncate(device.at("/d0/f1"), 0).unwrap();
    device.write(device.at("/d0/f1"), 0, b"mine");
    let device = device.restart();
    assert_eq!(device.read(device.at("/d0/f1")), b"mine");
}

#[test]
fn the_next_few_of_a_listing_are_told_from_others() {
    let device = folders();
    let next = |before, ino| device.tree.is_next_behind(device.at(before), device.at(ino), 2).unwrap();
    assert!(next("/d0/f0", "/d0/f1") && next("/d0/f0", "/d0/f2"));
    assert!(!next("/d0/f0", "/d0/f3") && !next("/d0/f1", "/d0/f0") && !next("/d0/f0", "/d1/f0"));
}
