//! A damaged local database: said, and made anew without losing what was not uploaded.

use crate::{converge, server};
use std::fs;
use tarn_tests::device::Device;

#[test]
fn a_damaged_database_is_refused_and_made_anew_without_losing_what_was_not_uploaded() {
    let server = server();
    let a = Device::mounted(&server, "a").unwrap();
    fs::create_dir(a.join("dir")).unwrap();
    fs::write(a.join("dir/sent"), "sent").unwrap();
    fs::write(a.join("dir/removed"), "removed").unwrap();
    a.wait().unwrap();
    server.stop().unwrap();
    fs::write(a.join("dir/small"), "not sent").unwrap();
    fs::write(a.join("dir/large"), vec![7; 300_000]).unwrap();
    fs::write(a.join("dir/sent"), "changed").unwrap();
    fs::remove_file(a.join("dir/removed")).unwrap();
    let unmounted = a.tarn(&["unmount", a.path().to_str().unwrap(), "--now"]).unwrap();
    assert_eq!(unmounted.code, 0, "{}", unmounted.stderr);

    let state = a.home().join("state");
    fs::write(state.join("state.db"), vec![b'x'; 70_000]).unwrap();
    let _ = fs::remove_file(state.join("state.db-wal"));
    let refused = format!("{:#}", a.mount().unwrap_err());
    assert!(refused.contains("tarn doctor --rebuild"), "{refused}");
    let looked = a.tarn(&["doctor"]).unwrap();
    assert!(looked.code == 1 && looked.stdout.contains("doctor --rebuild"), "{}", looked.stdout);

    let rebuilt = a.tarn(&["doctor", "--rebuild"]).unwrap();
    assert_eq!(rebuilt.code, 0, "{}", rebuilt.stderr);
    assert!(rebuilt.stdout.contains("damaged-1"), "{}", rebuilt.stdout);
    assert_eq!(fs::read(state.join("damaged-1/state.db")).unwrap(), vec![b'x'; 70_000]);
    a.mount().unwrap();
    server.restart().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    converge(&a, &b);
    let mut names: Vec<_> = fs::read_dir(b.join("dir")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["large", "sent", "small"]);
    assert_eq!(fs::read(b.join("dir/small")).unwrap(), b"not sent");
    assert_eq!(fs::read(b.join("dir/large")).unwrap(), vec![7; 300_000]);
    assert_eq!(fs::read(b.join("dir/sent")).unwrap(), b"changed");
}

#[test]
fn a_database_in_use_is_not_rebuilt() {
    let server = server();
    let a = Device::mounted(&server, "a").unwrap();
    let refused = a.tarn(&["doctor", "--rebuild"]).unwrap();
    assert!(refused.code == 1 && refused.stderr.contains("unmount"), "{}", refused.stderr);
}
