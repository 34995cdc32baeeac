//! The server is put back to a backup: whatever a device still has comes back, as it was, and nothing that was removed does.

use crate::{CONVERGENCE, await_tree, converge, copy};
use std::fs;
use tarn_tests::device::Device;
use tarn_tests::server::Server;
use tarn_tests::wait::within;

on_both! {
    what_five_devices_have_comes_back: what_five_devices_have_comes_back_on_sqlite,
        what_five_devices_have_comes_back_on_postgres;
    what_was_done_since_stays: what_was_done_since_stays_on_sqlite, what_was_done_since_stays_on_postgres;
}

#[track_caller]
fn has_no_conflicts(device: &Device) {
    let said = device.tarn(&["conflicts"]).unwrap().ok().unwrap().stdout;
    assert_eq!(said, "no conflicts\n");
}

fn what_five_devices_have_comes_back(server: &Server) {
    let devices = ["a", "b", "c", "d", "e"].map(|name| Device::mounted(server, name).unwrap());
    let [a, b, c, d, e] = &devices;
    fs::create_dir(a.join("folder")).unwrap();
    for name in ["kept", "changed", "gone", "moved", "folder/inner", "swapped", "with", "offline"] {
        fs::write(a.join(name), format!("{name} as it was")).unwrap();
    }
    fs::hard_link(a.join("kept"), a.join("kept too")).unwrap();
    [b, c, d, e].into_iter().for_each(|other| converge(a, other));
    server.back_up().unwrap();

    fs::write(a.join("changed"), "changed since").unwrap();
    fs::write(a.join("new"), vec![7; 3_000_000]).unwrap();
    fs::remove_file(a.join("gone")).unwrap();
    fs::write(a.join("gone"), "another one of that name").unwrap();
    fs::remove_file(a.join("kept too")).unwrap();
    converge(a, b);
    fs::create_dir_all(b.join("made/deep")).unwrap();
    fs::write(b.join("made/deep/file"), "of b").unwrap();
    fs::rename(b.join("moved"), b.join("made/moved")).unwrap();
    fs::rename(b.join("folder"), b.join("made/folder")).unwrap();
    fs::rename(b.join("swapped"), b.join("third")).unwrap();
    fs::rename(b.join("with"), b.join("swapped")).unwrap();
    fs::rename(b.join("third"), b.join("with")).unwrap();
    std::os::unix::fs::symlink("made/deep", b.join("link")).unwrap();
    [a, c, d, e].into_iter().for_each(|other| converge(b, other));
    // What was read is here; one device has nothing but names.
    [c, d].into_iter().for_each(|device| drop(device.tarn(&["evict", "--all"]).unwrap().ok().unwrap()));
    server.kill();
    // Made of what the server is about to lose.
    fs::write(e.join("changed"), "changed once more, offline").unwrap();
    fs::write(e.join("made/offline"), "made offline").unwrap();
    let expected = tempfile::tempdir().unwrap();
    copy(e.path(), expected.path());

    server.put_back().unwrap();
    for device in &devices {
        device.wait().unwrap();
    }
    for device in &devices {
        await_tree(device, expected.path());
        has_no_conflicts(device);
    }
    for other in [b, c, d, e] {
        converge(a, other);
    }
    server.check().unwrap().ok().unwrap();
    let fresh = Device::mounted(server, "fresh").unwrap();
    await_tree(&fresh, expected.path());
}

fn what_was_done_since_stays(server: &Server) {
    let (a, b) = (Device::mounted(server, "a").unwrap(), Device::mounted(server, "b").unwrap());
    fs::write(a.join("both"), "before").unwrap();
    fs::write(a.join("removed"), "before").unwrap();
    converge(&a, &b);
    server.back_up().unwrap();
    fs::write(a.join("both"), "in the lost history").unwrap();
    fs::write(a.join("new"), "in the lost history").unwrap();
    converge(&a, &b);
    a.unmount().unwrap();
    b.unmount().unwrap();
    server.put_back().unwrap();

    let since = Device::mounted(server, "since").unwrap();
    within(CONVERGENCE, || since.join("both").exists());
    fs::write(since.join("both"), "since").unwrap();
    fs::write(since.join("new"), "since, too").unwrap();
    since.wait().unwrap();
    a.mount().unwrap();
    b.mount().unwrap();
    let names = |device: &Device| {
        let mut names: Vec<String> = fs::read_dir(device.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    within(CONVERGENCE, || names(&since).len() == 5);
    converge(&a, &since);
    converge(&b, &since);
    assert_eq!(fs::read(since.join("both")).unwrap(), b"since");
    assert_eq!(fs::read(since.join("new")).unwrap(), b"since, too");
    let lost = names(&since).into_iter().filter(|name| name.contains("(conflict from "));
    for name in lost {
        assert_eq!(fs::read(since.join(&name)).unwrap(), b"in the lost history", "{name}");
    }
}

#[test]
fn a_device_that_the_backup_does_not_know_signs_in_again() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    fs::write(a.join("old"), "old").unwrap();
    a.wait().unwrap();
    server.back_up().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    fs::write(b.join("of b"), "made by a device that is lost, too").unwrap();
    b.wait().unwrap();
    b.unmount().unwrap();
    server.put_back().unwrap();
    b.sign_in(&server).unwrap();
    b.mount().unwrap();
    b.wait().unwrap();
    converge(&a, &b);
    assert_eq!(fs::read(a.join("of b")).unwrap(), b"made by a device that is lost, too");
}

#[test]
fn bytes_that_nobody_has_any_more_are_not_made_up() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    fs::write(a.join("old"), "old").unwrap();
    a.wait().unwrap();
    server.back_up().unwrap();
    fs::write(a.join("only there"), vec![5; 300_000]).unwrap();
    fs::write(a.join("here"), vec![6; 300_000]).unwrap();
    a.wait().unwrap();
    a.tarn(&["evict", a.join("only there").to_str().unwrap()]).unwrap().ok().unwrap();
    server.put_back().unwrap();
    within(CONVERGENCE, || !a.join("only there").exists());
    a.wait().unwrap();
    assert_eq!(fs::read(a.join("here")).unwrap(), vec![6; 300_000]);
    assert_eq!(fs::read(a.join("old")).unwrap(), b"old");
    server.check().unwrap().ok().unwrap();
}
