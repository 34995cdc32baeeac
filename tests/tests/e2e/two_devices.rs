//! Two devices of one account end up with the same tree.

use crate::converge;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;
use tarn_tests::blocks::du_blocks;
use tarn_tests::device::Device;
use tarn_tests::diff::{entries, same_tree};
use tarn_tests::server::Server;
use tarn_tests::tree::{self, Shape};
use tarn_tests::wait::{eventually, within};

on_both! {
    a_copied_tree_is_equal_on_a_fresh_device:
        a_copied_tree_is_equal_on_a_fresh_device_on_sqlite, a_copied_tree_is_equal_on_a_fresh_device_on_postgres;
    changes_on_either_side_arrive_on_the_other:
        changes_on_either_side_arrive_on_the_other_on_sqlite, changes_on_either_side_arrive_on_the_other_on_postgres;
}

fn a_copied_tree_is_equal_on_a_fresh_device(server: &Server) {
    let source = tempfile::tempdir().unwrap();
    tree::build(source.path(), 1, &Shape::ordinary()).unwrap();
    let a = Device::mounted(server, "a").unwrap();
    tree::build(a.path(), 1, &Shape::ordinary()).unwrap();
    same_tree(source.path(), a.path()).unwrap();
    a.wait().unwrap();

    let b = Device::mounted(server, "b").unwrap();
    // The very first listing is the server's state: no waiting here.
    assert_eq!(entries(b.path()).unwrap().len(), entries(source.path()).unwrap().len());
    assert!(du_blocks(b.path()) < 64 << 10, "contents are local before anything was read");
    // How many names a file has is known once all folders are.
    let mut last = Ok(());
    within(Duration::from_secs(30), || {
        last = same_tree(source.path(), b.path());
        last.is_ok()
    });
    last.unwrap();
    let check = server.check().unwrap();
    assert_eq!(check.code, 0, "{}{}", check.stdout, check.stderr);
}

fn changes_on_either_side_arrive_on_the_other(server: &Server) {
    let a = Device::mounted(server, "a").unwrap();
    let b = Device::mounted(server, "b").unwrap();
    tree::build(a.path(), 2, &Shape::tiny()).unwrap();
    fs::create_dir(a.join("docs")).unwrap();
    fs::write(a.join("docs/one"), "first").unwrap();
    converge(&a, &b);

    fs::write(b.join("docs/one"), "second, longer").unwrap();
    fs::rename(b.join("docs"), b.join("papers")).unwrap();
    symlink("one", b.join("papers/link")).unwrap();
    converge(&a, &b);
    assert_eq!(fs::read_to_string(a.join("papers/link")).unwrap(), "second, longer");

    fs::hard_link(a.join("papers/one"), a.join("papers/two")).unwrap();
    converge(&a, &b);
    let (one, two) = (b.join("papers/one").metadata().unwrap(), b.join("papers/two").metadata().unwrap());
    assert_eq!((one.ino(), one.nlink()), (two.ino(), 2));

    fs::remove_dir_all(a.join("papers")).unwrap();
    converge(&a, &b);
    assert!(!b.join("papers").exists());
}

#[test]
fn a_small_change_is_seen_within_five_seconds() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    b.await_online(true);
    fs::write(a.join("note"), "hello").unwrap();
    let seen = || fs::read_to_string(b.join("note")).is_ok_and(|text| text == "hello");
    eventually(Duration::from_secs(5), "the note on the other device", seen);
}

#[test]
fn one_writer_per_device_of_the_same_name_keeps_both_contents() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    fs::write(a.join("plan.bin"), [0u8; 100]).unwrap();
    converge(&a, &b);
    server.kill();
    fs::write(a.join("plan.bin"), [1u8; 200]).unwrap();
    fs::write(b.join("plan.bin"), [2u8; 300]).unwrap();
    server.restart().unwrap();
    converge(&a, &b);
    let listed: Value = serde_json::from_str(&a.tarn(&["conflicts", "--json"]).unwrap().ok().unwrap().stdout).unwrap();
    let [conflict] = listed["conflicts"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!(conflict["path"], "plan.bin");
    let sibling = conflict["sibling"].as_str().unwrap();
    for device in [&a, &b] {
        let mut contents = [fs::read(device.join("plan.bin")).unwrap(), fs::read(device.join(sibling)).unwrap()];
        contents.sort();
        assert_eq!(contents, [vec![1; 200], vec![2; 300]], "{listed}");
    }
}

#[test]
fn changes_of_one_folder_on_both_sides_without_the_server_all_take_place() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    fs::create_dir_all(a.join("work/old")).unwrap();
    for name in ["edited", "moved", "gone", "old/gone"] {
        fs::write(a.join("work").join(name), name).unwrap();
    }
    converge(&a, &b);
    assert_eq!(fs::read_to_string(b.join("work/edited")).unwrap(), "edited");

    server.kill();
    fs::rename(a.join("work"), a.join("archive")).unwrap();
    fs::remove_file(a.join("archive/edited")).unwrap();
    fs::remove_file(a.join("archive/gone")).unwrap();
    fs::remove_dir_all(a.join("archive/old")).unwrap();
    fs::write(b.join("work/edited"), "by b").unwrap();
    fs::write(b.join("work/old/new"), "new").unwrap();
    fs::rename(b.join("work/moved"), b.join("moved here")).unwrap();
    fs::create_dir(b.join("work/made")).unwrap();
    server.restart().unwrap();
    converge(&a, &b);

    let tree: Vec<String> =
        entries(a.path()).unwrap().into_keys().map(|path| path.to_string_lossy().into_owned()).collect();
    let expected = ["archive", "archive/edited", "archive/made", "archive/old", "archive/old/new", "moved here"];
    assert_eq!(tree, expected);
    assert_eq!(fs::read_to_string(a.join("archive/edited")).unwrap(), "by b", "a write wins over a delete");
}

#[test]
fn a_files_status_says_which_devices_know_its_version() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    fs::write(a.join("note"), "hello").unwrap();
    converge(&a, &b);
    let path = a.join("note").to_string_lossy().into_owned();
    let known_by = || {
        let status = a.tarn(&["status", &path, "--json"]).unwrap().ok().unwrap();
        let status: Value = serde_json::from_str(&status.stdout).unwrap();
        let devices = status["devices"].as_array().cloned().unwrap_or_default();
        let known = devices.iter().filter(|device| device["has_version"] == true);
        known.map(|device| device["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually(Duration::from_secs(30), "both know it", || known_by() == ["a", "b"]);
    b.unmount().unwrap();
    fs::write(a.join("note"), "hello again").unwrap();
    a.wait().unwrap();
    assert_eq!(known_by(), ["a"]);
    let shown = a.tarn(&["status", &path]).unwrap().ok().unwrap().stdout;
    assert!(shown.contains("b: does not know this version yet, heard of "), "{shown}");
    server.kill();
    let shown = a.tarn(&["status", &path, "--json"]).unwrap().ok().unwrap().stdout;
    assert!(shown.contains("\"devices\":null"), "{shown}");
}
