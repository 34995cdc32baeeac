//! Unusual mass deletes wait for a person: nothing that others have goes before that.

use crate::converge;
use std::fs;
use tarn_tests::device::Device;

const FILES: usize = 60;

fn names(device: &Device) -> usize {
    fs::read_dir(device.path()).unwrap().count()
}

fn remove_forty(device: &Device) {
    for n in 0..40 {
        fs::remove_file(device.join(&format!("file {n}"))).unwrap();
    }
}

#[test]
fn a_mass_delete_waits_for_a_person() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    for n in 0..FILES {
        fs::write(a.join(&format!("file {n}")), "precious").unwrap();
    }
    a.wait().unwrap();
    let b = Device::new(&server, "b").unwrap().with_mount_args(&["--hold-deletes", "10,30"]);
    b.mount().unwrap();
    converge(&a, &b);
    remove_forty(&b);
    let waited = b.tarn(&["wait"]).unwrap();
    assert_eq!(waited.code, 1, "{waited:?}");
    assert!(waited.stderr.contains("tarn confirm") && waited.stderr.contains("file "), "{waited:?}");
    assert!(b.status().unwrap()["held"].as_u64().unwrap() >= 39);
    // Everything else goes on, and can be waited for.
    fs::write(b.join("new"), "goes on").unwrap();
    let new = b.join("new").to_string_lossy().into_owned();
    b.tarn(&["wait", &new, "--timeout", "60"]).unwrap().ok().unwrap();
    tarn_tests::wait::within(crate::CONVERGENCE, || a.join("new").exists());
    // One may have gone before it was seen that there would be so many.
    assert!(names(&a) >= FILES, "{}", names(&a));
    let mount = b.path().to_string_lossy().into_owned();
    b.tarn(&["unmount", &mount, "--now"]).unwrap().ok().unwrap();
    b.mount().unwrap();
    assert_eq!(b.tarn(&["wait"]).unwrap().code, 1, "a restart decides nothing");
    b.tarn(&["undo"]).unwrap().ok().unwrap();
    assert!(names(&b) >= FILES);
    assert_eq!(fs::read_to_string(b.join("file 39")).unwrap(), "precious");
    converge(&a, &b);
    for n in 1..40 {
        fs::remove_file(b.join(&format!("file {n}"))).unwrap();
    }
    assert_eq!(b.tarn(&["wait"]).unwrap().code, 1);
    b.tarn(&["confirm", &mount]).unwrap().ok().unwrap();
    converge(&a, &b);
    assert!(names(&a) <= FILES - 38);
}

#[test]
fn without_any_option_more_than_a_thousand_files_are_held() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    for n in 0..1_300 {
        fs::write(a.join(&format!("file {n}")), "x").unwrap();
    }
    a.wait().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    converge(&a, &b);
    for n in 0..1_200 {
        fs::remove_file(b.join(&format!("file {n}"))).unwrap();
    }
    let waited = b.tarn(&["wait"]).unwrap();
    assert_eq!((waited.code, waited.stderr.contains("tarn confirm")), (1, true), "{waited:?}");
    // A tenth of the limit may have gone before it was seen that there would be so many.
    assert!(names(&a) >= 1_200, "{}", names(&a));
    b.tarn(&["undo"]).unwrap().ok().unwrap();
    converge(&a, &b);
    assert!(names(&b) >= 1_200, "{}", names(&b));
}
