//! Commands as other programs use them, beside what tests/commands.rs holds: exit status, JSON, time limits.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::server::{PASSWORD, USER};
use tarn_tests::wait::timed;

const DONE: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const LATE: i32 = 3;
/// What `timeout` says of a command that it had to end.
const HUNG: i32 = 124;
/// A daemon that cannot answer keeps no command longer.
const PATIENCE: Duration = Duration::from_secs(20);

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

/// Every command that asks the daemon, and `mount`.
fn ask_everything(device: &Device) {
    let (mount, file) = (device.path().to_string_lossy().into_owned(), device.join("file"));
    let file = file.to_string_lossy().into_owned();
    let commands: [&[&str]; 13] = [
        &["status"],
        &["status", &file],
        &["wait"],
        &["wait", &file],
        &["conflicts"],
        &["hydrate", &file],
        &["evict", &file],
        &["pin", &file],
        &["unpin", &file],
        &["logout"],
        &["doctor"],
        &["unmount", &mount],
        &["mount", &mount],
    ];
    for args in commands {
        let (finished, took) = timed(|| device.tarn(args).unwrap());
        assert!(finished.code != HUNG && took < PATIENCE, "{args:?} took {took:?}: {finished:?}");
        assert!(!finished.stderr.is_empty() || args == ["doctor"], "{args:?} says nothing: {finished:?}");
        assert_eq!(finished.code, FAILED, "{args:?}: {finished:?}");
    }
}

#[test]
fn a_stopped_daemon_keeps_no_command_waiting() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    fs::write(a.join("file"), "content").unwrap();
    a.wait().unwrap();
    let daemon = a.daemon().unwrap();
    daemon.freeze();
    for args in [&["wait", "--timeout", "1"][..], &["unmount", &a.path().to_string_lossy(), "--timeout", "1"]] {
        let (finished, took) = timed(|| a.tarn(args).unwrap());
        assert_eq!(finished.code, LATE, "{args:?}: {finished:?}");
        assert!(took < PATIENCE, "{took:?}");
    }
    ask_everything(&a);
    daemon.thaw();
    a.wait().unwrap();
}

/// Connections to a socket that were made and not closed.
fn connections(socket: &Path) -> usize {
    let (all, path) = (fs::read_to_string("/proc/net/unix").unwrap(), socket.to_string_lossy());
    let connected = |line: &&str| line.ends_with(&*path) && line.split_whitespace().nth(5) == Some("03");
    all.lines().filter(connected).count()
}

#[test]
fn a_daemon_that_is_stopped_while_it_is_waited_for_ends_the_wait() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    server.kill();
    fs::write(a.join("file"), "queued").unwrap();
    let daemon = a.daemon().unwrap();
    let waits = |args: &[&str], code: i32| {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| timed(|| a.tarn(args).unwrap()));
            tarn_tests::wait::eventually(Duration::from_secs(10), "somebody waits", || {
                connections(&a.home().join("control.sock")) > 0
            });
            daemon.freeze();
            let (finished, took) = waiting.join().unwrap();
            assert_eq!(finished.code, code, "{args:?}: {finished:?}");
            assert!(took < PATIENCE, "{took:?}");
        });
        daemon.thaw();
    };
    waits(&["wait"], FAILED);
    waits(&["wait", "--timeout", "2"], LATE);
}

#[test]
fn a_dead_daemon_keeps_no_command_waiting() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    fs::write(a.join("file"), "content").unwrap();
    a.wait().unwrap();
    a.kill_daemon().unwrap();
    for args in [&["status"][..], &["wait"], &["wait", "--timeout", "1"], &["conflicts"]] {
        let (finished, took) = timed(|| a.tarn(args).unwrap());
        assert_eq!(finished.code, FAILED, "{args:?}: {finished:?}");
        assert!(took < PATIENCE, "{took:?}");
    }
    a.mount().unwrap();
    assert_eq!(fs::read_to_string(a.join("file")).unwrap(), "content");
}
