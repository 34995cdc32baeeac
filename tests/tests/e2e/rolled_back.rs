//! A device whose state is a copy, or older than what it told the server: it goes on under a new id, by itself.

use crate::converge;
use std::fs;
use tarn_tests::device::Device;
use tarn_tests::server::Server;

/// How many devices the account has.
fn devices(device: &Device) -> usize {
    let listed = device.tarn(&["devices", "--json"]).unwrap().ok().unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    listed["devices"].as_array().unwrap().len()
}

fn write(device: &Device, name: &str) {
    fs::write(device.join(name), format!("{name} by {}", device.name())).unwrap();
}

fn read(device: &Device, name: &str) -> String {
    fs::read_to_string(device.join(name)).unwrap()
}

#[test]
fn a_copied_home_becomes_a_device_of_its_own() {
    let server: Server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    write(&a, "first");
    a.unmount().unwrap();
    let copy = a.copied("copy").unwrap();
    for device in [&a, &copy] {
        device.mount().unwrap();
    }
    write(&a, "of the original");
    a.wait().unwrap();
    write(&copy, "of the copy");
    fs::write(copy.join("first"), "written by the copy").unwrap();
    copy.wait().unwrap();
    assert_eq!(devices(&copy), 2);
    converge(&a, &copy);
    assert_eq!(read(&a, "of the copy"), "of the copy by copy");
    assert_eq!(read(&a, "first"), "written by the copy");
    // Both hear of each other at once, and neither has to enrol again.
    write(&a, "second");
    converge(&a, &copy);
    write(&copy, "third");
    converge(&a, &copy);
    copy.unmount().unwrap();
    copy.mount().unwrap();
    write(&copy, "fourth");
    converge(&a, &copy);
    assert_eq!(devices(&a), 2);
    assert!(fs::read_dir(a.path()).unwrap().count() == 6, "no conflict was made up");
}

#[test]
fn a_state_restored_from_a_backup_keeps_its_work_and_pulls_again() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    write(&a, "first");
    a.wait().unwrap();
    server.kill();
    write(&a, "sent twice");
    a.tarn(&["unmount", &a.path().to_string_lossy(), "--now"]).unwrap().ok().unwrap();
    a.back_up_state().unwrap();
    server.restart().unwrap();
    a.mount().unwrap();
    for n in 0..5 {
        write(&a, &format!("later {n}"));
    }
    a.unmount().unwrap();
    a.restore_state().unwrap();
    a.mount().unwrap();
    write(&a, "after");
    a.wait().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    converge(&a, &b);
    for name in ["first", "sent twice", "later 0", "later 4", "after"] {
        assert!(read(&b, name).ends_with(" by a"), "{name}");
    }
    assert_eq!(fs::read_dir(b.path()).unwrap().count(), 8, "no conflict was made up");
    assert_eq!(devices(&b), 3);
}
