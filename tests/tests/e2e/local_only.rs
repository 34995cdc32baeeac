//! Locks and temporary files of programs stay on the device that makes them.

use crate::{CONVERGENCE, converge};
use std::fs;
use std::path::Path;
use std::process::Command;
use tarn_tests::device::Device;
use tarn_tests::wait::eventually;

fn state(path: &Path) -> String {
    let told = Command::new("getfattr").args(["--only-values", "-n", "user.tarn.state"]).arg(path).output().unwrap();
    String::from_utf8(told.stdout).unwrap()
}

fn shows(folder: &Path, expected: &[&str]) {
    eventually(CONVERGENCE, "the names are these", || {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names == expected
    });
}

fn kept(device: &Device) -> u64 {
    device.status().unwrap()["queue"]["local_only"].as_u64().unwrap()
}

#[test]
fn no_other_device_sees_them_until_they_get_another_name() {
    let server = crate::server();
    let (a, b) = (Device::mounted(&server, "a").unwrap(), Device::mounted(&server, "b").unwrap());
    fs::create_dir(a.join("d")).unwrap();
    fs::write(a.join("d/notes.txt"), "saved").unwrap();
    converge(&a, &b);
    fs::write(a.join("d/.notes.txt.swp"), "not saved").unwrap();
    fs::write(a.join("d/.~lock.notes.odt#"), "a").unwrap();
    fs::write(a.join("d/later.txt"), "written after both").unwrap();
    a.wait().unwrap();
    shows(&b.join("d"), &["later.txt", "notes.txt"]);
    assert_eq!((state(&a.join("d/.notes.txt.swp")), kept(&a)), ("local-only".to_owned(), 2));
    let told = a.tarn(&["status", "--json", a.join("d/.notes.txt.swp").to_str().unwrap()]).unwrap().ok().unwrap();
    assert!(told.stdout.contains(r#""state":"local-only""#), "{}", told.stdout);
    crate::verify::assert_sound(&a, &[]);

    a.kill_daemon().unwrap();
    a.mount().unwrap();
    assert_eq!(fs::read(a.join("d/.notes.txt.swp")).unwrap(), b"not saved");
    assert_eq!(kept(&a), 2);
    // Others remove the folder: what is only here stays reachable.
    fs::remove_dir_all(b.join("d")).unwrap();
    b.wait().unwrap();
    shows(&a.join("d"), &[".notes.txt.swp", ".~lock.notes.odt#"]);
    assert_eq!(fs::read(a.join("d/.notes.txt.swp")).unwrap(), b"not saved");
    fs::rename(a.join("d/.notes.txt.swp"), a.join("recovered.txt")).unwrap();
    fs::remove_file(a.join("d/.~lock.notes.odt#")).unwrap();
    converge(&a, &b);
    assert_eq!(fs::read(b.join("recovered.txt")).unwrap(), b"not saved");
    assert!(!a.join("d").exists() && kept(&a) == 0);
}

#[test]
fn which_names_stay_can_be_chosen() {
    let server = crate::server();
    let a = Device::new(&server, "a").unwrap().with_mount_args(&["--local-only", "*.part,default"]);
    a.mount().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    fs::write(a.join("film.part"), "half of it").unwrap();
    fs::write(a.join("4913"), "").unwrap();
    fs::write(a.join("other"), "sent").unwrap();
    a.wait().unwrap();
    shows(b.path(), &["other"]);
    assert_eq!(kept(&a), 2);
    a.unmount().unwrap();
    let a = a.with_mount_args(&["--local-only", "none"]);
    a.mount().unwrap();
    converge(&a, &b);
    shows(b.path(), &["4913", "film.part", "other"]);
    let refused = a.tarn(&["mount", "--local-only", "[a", "/nowhere"]).unwrap();
    assert!(refused.code == 2 && refused.stderr.contains("--local-only"), "{}", refused.stderr);
}
