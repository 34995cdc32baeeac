//! What a program writes to a file that it opened before another device removed or replaced it.

use crate::converge;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use tarn_tests::device::Device;

/// Two devices with a file that the first has open to write.
fn opened(server: &tarn_tests::server::Server) -> (Device, Device, File) {
    let (a, b) = (Device::mounted(server, "a").unwrap(), Device::mounted(server, "b").unwrap());
    fs::write(a.join("log"), "one\n").unwrap();
    converge(&a, &b);
    let file = OpenOptions::new().append(true).open(a.join("log")).unwrap();
    (a, b, file)
}

fn names(device: &Device) -> Vec<String> {
    let entries = fs::read_dir(device.path()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_log_that_another_device_removed_is_there_again_with_its_next_line() {
    let server = crate::server();
    let (a, b, mut log) = opened(&server);
    fs::remove_file(b.join("log")).unwrap();
    converge(&a, &b);
    assert!(names(&a).is_empty());
    log.write_all(b"two\n").unwrap();
    assert_eq!(names(&a), ["log"]);
    // The handle and the name are one file.
    fs::write(a.join("log"), "new\n").unwrap();
    log.write_all(b"three\n").unwrap();
    drop(log);
    converge(&a, &b);
    for device in [&a, &b] {
        assert_eq!(fs::read_to_string(device.join("log")).unwrap(), "new\nthree\n");
    }
}

#[test]
fn a_line_for_a_log_that_another_device_replaced_stands_beside_it_even_if_the_daemon_was_killed() {
    let server = crate::server();
    let (a, b) = (Device::new(&server, "a").unwrap().surviving(), Device::mounted(&server, "b").unwrap());
    a.mount().unwrap();
    fs::write(a.join("log"), "one\n").unwrap();
    converge(&a, &b);
    let mut log = OpenOptions::new().append(true).open(a.join("log")).unwrap();
    fs::write(b.join("new"), "theirs\n").unwrap();
    fs::rename(b.join("new"), b.join("log")).unwrap();
    converge(&a, &b);
    assert_eq!(fs::read_to_string(a.join("log")).unwrap(), "theirs\n");
    a.kill_daemon().unwrap();
    log.write_all(b"two\n").unwrap();
    drop(log);
    converge(&a, &b);
    let [log, copy] = &names(&b)[..] else { panic!("{:?}", names(&b)) };
    assert!(copy.starts_with("log (conflict from a ") && log == "log", "{copy:?} {log:?}");
    for device in [&a, &b] {
        assert_eq!(fs::read_to_string(device.join(copy)).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(device.join("log")).unwrap(), "theirs\n");
    }
}
