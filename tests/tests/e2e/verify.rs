//! `tarn verify`: says nothing of a sound device, and names what was damaged behind its back.

use crate::server;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::seed::Seed;
use tarn_tests::wait::eventually;

/// The exit status, and what `--json` prints.
fn verify(device: &Device, args: &[&str]) -> (i32, Value) {
    let args: Vec<&str> = ["verify", "--json"].iter().chain(args).copied().collect();
    let finished = device.tarn(&args).unwrap();
    let report = serde_json::from_str(&finished.stdout);
    (finished.code, report.unwrap_or_else(|e| panic!("{e}: {} {}", finished.stdout, finished.stderr)))
}

#[track_caller]
pub fn assert_sound(device: &Device, args: &[&str]) -> Value {
    let (code, report) = verify(device, args);
    assert!(code == 0 && report["difference_count"] == 0, "{report:#}");
    assert_eq!(report["left_out"].as_array().unwrap().len(), 0, "{report:#}");
    report
}

/// All backing files of a device.
fn backing_files(device: &Device) -> Vec<PathBuf> {
    let below = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    below(&device.home().join("state/contents")).iter().flat_map(|dir| below(dir)).collect()
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Something of each kind.
fn furnish(device: &Device, seed: &mut Seed) {
    fs::create_dir_all(device.join("folder/below")).unwrap();
    fs::write(device.join("folder/small"), seed.bytes(9000)).unwrap();
    fs::write(device.join("folder/below/large"), seed.bytes(3 << 20)).unwrap();
    fs::write(device.join("empty"), "").unwrap();
    fs::hard_link(device.join("folder/small"), device.join("second name")).unwrap();
    symlink("folder/small", device.join("link")).unwrap();
    fs::set_permissions(device.join("folder/small"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(device.join("removed"), "x").unwrap();
    fs::remove_file(device.join("removed")).unwrap();
    fs::write(device.join("moved"), "y").unwrap();
    fs::rename(device.join("moved"), device.join("folder/here")).unwrap();
}

#[test]
fn a_sound_device_verifies_and_fetches_nothing() {
    let server = server();
    let a = Device::mounted(&server, "a").unwrap();
    assert!(a.status().unwrap()["verified"].is_null());
    furnish(&a, &mut Seed::new(1));
    let report = assert_sound(&a, &[]);
    assert!(report["compared"]["bytes"].as_u64().unwrap() >= 3 << 20, "{report:#}");
    assert_eq!(report["compared"]["folders"], 3);
    a.wait().unwrap();
    assert_sound(&a, &[]);

    let b = Device::mounted(&server, "b").unwrap();
    b.await_online(true);
    fs::write(b.join("folder/theirs"), "theirs").unwrap();
    fs::remove_file(b.join("folder/here")).unwrap();
    b.wait().unwrap();
    let fetched = b.counter("bytes_fetched").unwrap();
    assert_sound(&b, &[]);
    assert_eq!(b.counter("bytes_fetched").unwrap(), fetched, "no content is fetched");
    assert_sound(&b, &[&b.join("folder").to_string_lossy()]);
    let light = assert_sound(&b, &["--light", &b.path().to_string_lossy()]);
    assert_eq!(light["light"], true);
    let last = b.status().unwrap()["verified"].clone();
    assert!(last["light"] == true && last["differences"] == 0 && last["time"].is_string(), "{last}");
    b.unmount().unwrap();
    b.mount().unwrap();
    assert_eq!(b.status().unwrap()["verified"], last, "it is known after a restart");
}

#[test]
fn a_flipped_byte_is_told_with_its_path_and_the_next_read_is_right() {
    let server = server();
    let a = Device::mounted(&server, "a").unwrap();
    let mut seed = Seed::new(2);
    let (large, small) = (seed.bytes(5 << 20), seed.bytes(9000));
    fs::create_dir(a.join("folder")).unwrap();
    fs::write(a.join("folder/large"), &large).unwrap();
    fs::write(a.join("small"), &small).unwrap();
    a.wait().unwrap();
    assert_sound(&a, &[]);

    let files = backing_files(&a);
    assert_eq!(files.len(), 1);
    flip(&files[0], 2_500_000);
    let (code, report) = verify(&a, &[&a.join("small").to_string_lossy()]);
    assert_eq!((code, &report["difference_count"]), (0, &Value::from(0)), "another file is not looked at: {report:#}");
    let (code, report) = verify(&a, &[]);
    assert_eq!((code, &report["difference_count"]), (1, &Value::from(1)), "{report:#}");
    let told = &report["differences"][0];
    assert_eq!((&told["path"], &told["area"]), (&Value::from("folder/large"), &Value::from("content")));
    assert!(told["repaired"] == true && told["advice"].as_str().unwrap().contains("the next read"), "{told:#}");
    assert_eq!(a.status().unwrap()["verified"]["differences"], 1);
    assert!(fs::read(a.join("folder/large")).unwrap() == large, "the bytes are right");
    assert_sound(&a, &[]);

    let said = a.tarn(&["verify"]).unwrap();
    assert!(said.code == 0 && said.stdout.contains("compared: 2 folders"), "{}", said.stdout);
}

#[test]
fn damage_in_what_is_pinned_is_brought_again_at_once() {
    let server = server();
    let a = Device::mounted(&server, "a").unwrap();
    let content = Seed::new(6).bytes(4 << 20);
    fs::write(a.join("pinned"), &content).unwrap();
    a.wait().unwrap();
    let path = a.join("pinned").to_string_lossy().into_owned();
    a.tarn(&["pin", &path]).unwrap().ok().unwrap();
    flip(&backing_files(&a)[0], 1_500_000);
    assert_eq!(verify(&a, &[]).0, 1);
    let is_local = || {
        let looked = a.tarn(&["status", &path, "--json"]).unwrap();
        serde_json::from_str::<Value>(&looked.stdout).is_ok_and(|status| status["state"] == "hydrated")
    };
    eventually(Duration::from_secs(30), "it is local again", is_local);
    server.kill();
    assert!(fs::read(&path).unwrap() == content, "without the server");
}

#[test]
fn what_is_not_uploaded_and_lost_is_named_and_not_dropped() {
    let server = server();
    let a = Device::mounted(&server, "a").unwrap();
    a.wait().unwrap();
    server.stop().unwrap();
    a.await_online(false);
    fs::write(a.join("large"), Seed::new(3).bytes(3 << 20)).unwrap();
    let (code, report) = verify(&a, &[]);
    assert_eq!(code, 0, "{report:#}");
    assert!(report["left_out"][0].as_str().unwrap().contains("server"), "{report:#}");
    let file = backing_files(&a).pop().unwrap();
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(1 << 20).unwrap();
    let (code, report) = verify(&a, &[]);
    let told = &report["differences"][0];
    assert!(code == 1 && told["path"] == "large" && told["repaired"] == false, "{report:#}");
    assert!(told["advice"].as_str().unwrap().contains("not uploaded"), "{told:#}");
}

#[test]
fn nothing_is_told_of_a_tree_that_programs_and_others_change() {
    let server = server();
    let (a, b) = (Device::mounted(&server, "a").unwrap(), Device::mounted(&server, "b").unwrap());
    let is_over = AtomicBool::new(false);
    let work = |device: &Device, seed: u64| {
        let mut seed = Seed::new(seed);
        while !is_over.load(Ordering::Relaxed) {
            let name = device.join(&format!("{}-{}", device.name(), seed.below(40)));
            match seed.below(5) {
                0 => drop(fs::remove_file(&name)),
                1 => drop(fs::rename(&name, device.join(&format!("{}-{}", device.name(), seed.below(40))))),
                _ => fs::write(&name, seed.bytes(100_000)).unwrap(),
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(&a, 4));
        scope.spawn(|| work(&b, 5));
        let looks: Vec<_> = (0..3).map(|_| verify(&a, &[])).collect();
        is_over.store(true, Ordering::Relaxed);
        looks.into_iter().for_each(|(code, report)| assert_eq!(code, 0, "{report:#}"));
    });
    crate::converge(&a, &b);
    assert_sound(&a, &[]);
    assert_sound(&b, &[]);
}
