//! Commands as other programs use them, beside what tests/commands.rs holds: exit status, JSON, time limits.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::server::{PASSWORD, USER};
use tarn_tests::wait::timed;

const DONE: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;

#[test]
fn exit_status_tells_wrong_usage_from_failure() {
    let device = Device::unsigned("a").unwrap();
    let code = |args: &[&str]| device.tarn(args).unwrap().code;
    assert_eq!(code(&["frobnicate"]), USAGE);
    assert_eq!(code(&["mount"]), USAGE);
    assert_eq!(code(&["mount", "/tmp", "--cache-size", "many"]), USAGE);
    assert_eq!(code(&["--help"]), DONE);
    assert_eq!(code(&["completions", "bash"]), DONE);
    assert_eq!(code(&["man"]), DONE);
    assert_eq!(code(&["status"]), FAILED);
    assert_eq!(code(&["mount", &device.path().to_string_lossy()]), FAILED);
}

#[test]
fn login_fails_with_a_reason_and_changes_nothing() {
    let server = crate::server();
    let device = Device::unsigned("a").unwrap();
    let url = server.url();
    let login = |user: &str, password: &str| {
        let args = ["login", "--server", &url, "--user", user, "--password-stdin"];
        device.tarn_with_input(&args, password).unwrap()
    };
    assert_eq!(login(USER, "wrong").code, FAILED);
    assert_eq!(login("nobody", PASSWORD).code, FAILED);
    assert_eq!(device.tarn(&["devices"]).unwrap().code, FAILED);
    login(USER, &format!("{PASSWORD}\n")).ok().unwrap();
    device.tarn(&["devices", "--json"]).unwrap().ok().unwrap();
}

#[test]
fn a_user_is_added_once() {
    let server = crate::server();
    assert_eq!(server.add_user(USER, "another").unwrap().code, FAILED);
    Device::new(&server, "the first password still holds").unwrap();
    assert_ne!(server.add_user(&"x".repeat(65), "p").unwrap().code, DONE);
    assert_eq!(server.add_user(&"x".repeat(64), "p").unwrap().code, DONE);
}

#[test]
fn status_json_has_the_documented_fields() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    fs::write(a.join("file"), "content").unwrap();
    a.wait().unwrap();
    let status = a.status().unwrap();
    assert_eq!(status["server"].as_str(), Some(server.url().as_str()));
    assert_eq!(status["online"].as_bool(), Some(true));
    let numbers = ["/pid", "/queue/operations", "/queue/bytes", "/cache/bytes", "/cache/limit_bytes"];
    let counters = ["chunks_fetched", "frames_fetched", "bytes_fetched", "chunks_sent", "bytes_sent"];
    let counters = counters.map(|name| format!("/counters/{name}"));
    for path in numbers.into_iter().chain(counters.iter().map(String::as_str)) {
        assert!(status.pointer(path).is_some_and(Value::is_u64), "{path} in {status}");
    }
    assert_eq!(status.pointer("/queue/operations"), Some(&Value::from(0)));
    assert_eq!(status.pointer("/counters/chunks_sent"), Some(&Value::from(1)));
    assert!(status.get("held").is_some() && status.get("last_error").is_some(), "{status}");
}

#[test]
fn status_answers_within_a_second_with_the_server_dead_or_frozen() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    server.freeze();
    let (status, took) = timed(|| a.status());
    status.unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");
    server.kill();
    let (status, took) = timed(|| a.status());
    status.unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn unmount_now_keeps_what_is_queued() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    server.kill();
    fs::write(a.join("file"), "queued").unwrap();
    let mount = a.path().to_string_lossy().into_owned();
    let (finished, took) = timed(|| a.tarn(&["unmount", &mount, "--now"]).unwrap());
    assert_eq!(finished.code, DONE, "{finished:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(!tarn_tests::mounts::is_mounted(a.path()));
    server.restart().unwrap();
    a.mount().unwrap();
    a.wait().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    assert_eq!(fs::read_to_string(b.join("file")).unwrap(), "queued");
}

#[test]
fn the_server_ends_within_five_seconds_of_sigterm() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    fs::write(a.join("file"), "content").unwrap();
    a.wait().unwrap();
    server.stop().unwrap();
    server.restart().unwrap();
    tarn_tests::server::ready(&server);
    let b = Device::mounted(&server, "b").unwrap();
    assert_eq!(fs::read_to_string(b.join("file")).unwrap(), "content");
}

#[test]
fn a_state_directory_of_any_length_works() {
    let server = crate::server();
    let home: PathBuf = ["long name of a folder".repeat(8), "another".repeat(20)].iter().collect();
    let a = Device::with_home(&server, "a", &home).unwrap();
    a.mount().unwrap();
    fs::write(a.join("file"), "content").unwrap();
    a.wait().unwrap();
    assert_eq!(a.status().unwrap()["online"], true);
    a.unmount().unwrap();
    assert!(!tarn_tests::mounts::is_mounted(a.path()));
}
