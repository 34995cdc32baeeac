//! The commands' contract (docs/cli.md) through real mounts: when they return, with which status, and what they say.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "lives in the real world")]

use std::fs::{self, File};
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::mounts::{is_mounted, unmount_lazily};
use tarn_tests::programs::Finished;
use tarn_tests::server::{Db, Server};
use tarn_tests::wait::{eventually, timed};

fn server() -> Server {
    Server::start(Db::Sqlite).unwrap().expect("SQLite is always there")
}

fn tarn(device: &Device, args: &[&str]) -> Finished {
    let mount = device.path().display().to_string();
    let args: Vec<String> = args.iter().map(|arg| arg.replace("MOUNT", &mount)).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    device.tarn(&args).unwrap()
}

#[track_caller]
fn ends(device: &Device, args: &[&str], code: i32, text: &str) {
    let said = tarn(device, args);
    assert_eq!(said.code, code, "{args:?}: {}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains(text) || said.stderr.contains(text), "{args:?}: {}{}", said.stdout, said.stderr);
}

#[test]
fn a_mount_answers_when_the_command_returns_and_is_gone_when_unmount_does() {
    let server = server();
    let device = Device::mounted(&server, "one").unwrap();
    assert!(is_mounted(device.path()));
    fs::write(device.join("f"), "bytes").unwrap();
    let daemon = device.daemon().unwrap();
    let said = tarn(&device, &["unmount", "MOUNT"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, ""), "{}", said.stderr);
    assert!(!is_mounted(device.path()));
    assert!(daemon.ends_within(Duration::from_secs(2)));
    device.mount().unwrap();
    assert_eq!(fs::read(device.join("f")).unwrap(), b"bytes");
}

#[test]
fn one_state_has_one_mount_at_a_time() {
    let server = server();
    let device = Device::mounted(&server, "one").unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = other.path().display().to_string();
    ends(&device, &["mount", &other], 1, &device.path().display().to_string());
    ends(&device, &["mount", "MOUNT"], 1, "already");
    ends(&device, &["logout"], 1, "unmount");
    assert!(device.status().is_ok());
}

#[test]
fn a_killed_daemon_leaves_a_mount_point_that_mount_and_unmount_clean_up() {
    let server = server();
    let device = Device::mounted(&server, "one").unwrap();
    fs::write(device.join("f"), "bytes").unwrap();
    device.kill_daemon().unwrap();
    assert!(fs::read(device.join("f")).is_err());
    ends(&device, &["status", "MOUNT"], 1, "tarn mount");
    device.mount().unwrap();
    assert_eq!(fs::read(device.join("f")).unwrap(), b"bytes");
    device.kill_daemon().unwrap();
    ends(&device, &["unmount", "MOUNT"], 0, "dead mount point");
    assert!(!is_mounted(device.path()));
    ends(&device, &["unmount", "MOUNT"], 1, "not mounted");
}

#[test]
fn a_daemon_ends_when_its_mount_goes_away_even_while_it_is_in_use() {
    let server = server();
    let device = Device::mounted(&server, "one").unwrap();
    fs::write(device.join("f"), "bytes").unwrap();
    for in_use in [false, true] {
        let daemon = device.daemon().unwrap();
        let open = in_use.then(|| File::open(device.join("f")).unwrap());
        unmount_lazily(device.path());
        assert!(daemon.ends_within(Duration::from_secs(2)), "in use: {in_use}");
        drop(open);
        device.mount().unwrap();
        assert_eq!(fs::read(device.join("f")).unwrap(), b"bytes");
    }
    let daemon = device.daemon().unwrap();
    daemon.signal(libc::SIGTERM);
    assert!(daemon.ends_within(Duration::from_secs(2)) && !is_mounted(device.path()));
}

#[test]
fn unmount_names_who_uses_the_mount_and_now_does_not_ask() {
    let server = server();
    let device = Device::mounted(&server, "one").unwrap();
    let open = File::create(device.join("f")).unwrap();
    ends(&device, &["unmount", "MOUNT", "--timeout", "30"], 1, &format!("pid {}", std::process::id()));
    assert!(is_mounted(device.path()));
    ends(&device, &["unmount", "MOUNT", "--now"], 0, "");
    assert!(!is_mounted(device.path()));
    drop(open);
}

#[test]
fn without_the_server_nothing_hangs_and_what_is_queued_is_named() {
    let server = server();
    let device = Device::mounted(&server, "one").unwrap();
    server.stop().unwrap();
    fs::write(device.join("f"), "bytes").unwrap();
    ends(&device, &["wait", "MOUNT", "--timeout", "1"], 3, "not finished");
    let (status, took) = timed(|| device.status().unwrap());
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(status["queue"]["operations"].as_u64().unwrap() > 0 && status["online"] == false, "{status}");
    ends(&device, &["unmount", "MOUNT", "--timeout", "1"], 3, "not finished");
    assert!(is_mounted(device.path()));
    let open = File::open(device.join("f")).unwrap();
    ends(&device, &["unmount", "MOUNT", "--timeout", "1"], 3, &format!("pid {}", std::process::id()));
    drop(open);
    let (said, took) = timed(|| tarn(&device, &["unmount", "MOUNT", "--now"]));
    assert!(said.code == 0 && took < Duration::from_secs(3), "{} {took:?}", said.stderr);
    let state = device.home().display().to_string();
    assert!(said.stdout.contains("stay queued") && said.stdout.contains(&state), "{}", said.stdout);
    device.mount().unwrap();
    assert_eq!(fs::read(device.join("f")).unwrap(), b"bytes");
    server.restart().unwrap();
    ends(&device, &["wait", "MOUNT", "--timeout", "60"], 0, "");
    assert_eq!(device.status().unwrap()["queue"]["operations"], 0);
}

#[test]
fn a_revoked_device_is_told_so_at_once_and_keeps_its_work() {
    let server = server();
    let [device, other] = ["one", "two"].map(|name| Device::new(&server, name).unwrap());
    device.mount().unwrap();
    ends(&other, &["devices", "--json"], 0, "\"name\":\"one\"");
    ends(&other, &["devices", "revoke", "one"], 0, "one");
    ends(&other, &["devices", "revoke", "nobody"], 1, "nobody");
    fs::write(device.join("f"), "bytes").unwrap();
    let (said, took) = timed(|| tarn(&device, &["wait", "MOUNT", "--timeout", "60"]));
    assert!(said.code == 1 && took < Duration::from_secs(30), "{} {} {took:?}", said.code, said.stderr);
    assert!(said.stderr.contains("tarn login"), "{}", said.stderr);
    assert!(device.status().unwrap()["held"].as_u64().unwrap() > 0);
    assert_eq!(fs::read(device.join("f")).unwrap(), b"bytes");
}

#[test]
fn contents_are_brought_dropped_and_kept_as_asked() {
    let server = server();
    let [one, two] = ["one", "two"].map(|name| Device::mounted(&server, name).unwrap());
    fs::create_dir(one.join("dir")).unwrap();
    let bytes: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(one.join("dir/large"), &bytes).unwrap();
    fs::write(one.join("small"), "small").unwrap();
    one.wait().unwrap();
    eventually(Duration::from_secs(30), "the files are seen", || {
        two.join("dir/large").exists() && two.join("small").exists()
    });
    let state = |file: &str| -> String {
        let said = two.tarn(&["status", &two.join(file).display().to_string(), "--json"]).unwrap().ok().unwrap();
        let status: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        status["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state("dir/large"), "online-only");
    ends(&two, &["hydrate", "MOUNT/dir"], 0, "1 file");
    assert_eq!(state("dir/large"), "hydrated");
    let fetched = two.counter("bytes_fetched").unwrap();
    assert_eq!(fs::read(two.join("dir/large")).unwrap(), bytes);
    assert_eq!(two.counter("bytes_fetched").unwrap(), fetched, "nothing was fetched twice");
    ends(&two, &["evict", "MOUNT/dir/large"], 0, "freed");
    assert_eq!(state("dir/large"), "online-only");
    ends(&two, &["pin", "MOUNT/dir"], 0, "pinned");
    ends(&two, &["evict", "--all"], 0, "");
    assert_eq!(state("dir/large"), "hydrated");
    ends(&two, &["unpin", "MOUNT/dir"], 0, "");
    ends(&two, &["evict", "--all", "MOUNT"], 0, "freed");
    assert_eq!(state("dir/large"), "online-only");
    assert_eq!(fs::read(two.join("dir/large")).unwrap(), bytes);
    ends(&two, &["hydrate", "MOUNT/none"], 1, "none");
    ends(&two, &["conflicts", "--json"], 0, "{\"conflicts\":[]}");
}
