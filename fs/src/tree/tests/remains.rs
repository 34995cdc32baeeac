//! What is kept and told of a log that was damaged: names, and small files under names of their own.

use super::fixture::*;
use super::rebuild::{bytes_of, files_in, flip_in_log, rebuilt};
use crate::env::Env;
use crate::meta::tests::damage::overwrite;
use crate::tree::damage_notes;

#[test]
fn what_stands_behind_the_damage_is_named_and_kept_each_file_for_itself() {
    let mut device = Device::new();
    let large = device.written(TOP, "large", &bytes_of(0));
    let (a, b) = (device.folder(TOP, "a").ino, device.folder(TOP, "b").ino);
    device.push();
    device.written(TOP, "damaged one", &bytes_of(1));
    device.write(large, 0, b"changed");
    device.written(a, "same", &bytes_of(2));
    device.written(b, "same", &bytes_of(3));
    let (device, report) = rebuilt(device, |path| {
        overwrite(path);
        flip_in_log(path.parent().unwrap(), &bytes_of(1));
    });
    let aside = report.log_aside.unwrap();
    let note = std::fs::read_to_string(aside.join("README")).unwrap();
    assert!(note.contains("  large\n"), "{note}");
    assert!(note.contains("`files`, 3 small files") && !note.contains(" more\n"), "{note}");
    assert_eq!(damage_notes(&Env::real(), device.dir.path()).unwrap(), [note]);
    let small = files_in(&aside.join("files"));
    for (named, n) in [("same", 2), ("2 same", 3)] {
        assert!(small.contains(&(named.to_owned(), bytes_of(n))), "{named}");
    }
}
