//! Without the server everything that is local goes on, quickly, and nothing is lost when it is back.

use crate::converge;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::relay::{Mode, Relay};
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::tree::{self, Shape};
use tarn_tests::wait::timed;

/// No call takes longer while the server is away.
const CALL_MAX: Duration = Duration::from_secs(1);

on_both! {
    both_devices_go_on_without_the_server_and_converge_after:
        both_devices_go_on_without_the_server_and_converge_after_on_sqlite,
        both_devices_go_on_without_the_server_and_converge_after_on_postgres;
}

#[track_caller]
fn quick<T>(call: impl FnOnce() -> T) -> T {
    let (value, took) = timed(call);
    assert!(took < CALL_MAX, "a call took {took:?}");
    value
}

/// Reads, writes, renames and deletes, each within the limit.
fn work(root: &Path, name: &str, known: &[u8]) {
    assert_eq!(quick(|| fs::read(root.join("known")).unwrap()), known);
    let folder = root.join(name);
    quick(|| fs::create_dir(&folder).unwrap());
    for number in 0..20 {
        let path = folder.join(format!("{number}"));
        quick(|| fs::write(&path, format!("{name} {number}")).unwrap());
        assert_eq!(quick(|| fs::read_to_string(&path).unwrap()), format!("{name} {number}"));
    }
    quick(|| fs::rename(folder.join("1"), folder.join("one")).unwrap());
    quick(|| fs::remove_file(folder.join("2")).unwrap());
    quick(|| fs::read_dir(root).unwrap().count());
}

fn both_devices_go_on_without_the_server_and_converge_after(server: &Server) {
    let a = Device::mounted(server, "a").unwrap();
    let b = Device::mounted(server, "b").unwrap();
    let known = Seed::new(6).bytes(300_000);
    fs::write(a.join("known"), &known).unwrap();
    tree::build(a.path(), 6, &Shape::tiny()).unwrap();
    converge(&a, &b);

    server.kill();
    work(a.path(), "from-a", &known);
    work(b.path(), "from-b", &known);
    server.restart().unwrap();
    converge(&a, &b);
    assert!(a.join("from-b/one").exists() && b.join("from-a/one").exists());
}

#[test]
fn a_server_that_hangs_delays_no_call_on_what_is_local() {
    let server = crate::server();
    let relay = Relay::start(server.address()).unwrap();
    let a = Device::at(&relay.url(), "a").unwrap();
    a.mount().unwrap();
    let known = Seed::new(7).bytes(100_000);
    fs::write(a.join("known"), &known).unwrap();
    a.wait().unwrap();
    relay.set(Mode::Swallow);
    work(a.path(), "meanwhile", &known);
    relay.set(Mode::Pass);
    a.wait().unwrap();
}

#[test]
fn a_mount_starts_without_the_server_and_shows_what_it_knew() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    fs::write(a.join("file"), "content").unwrap();
    a.unmount().unwrap();
    server.kill();
    a.mount().unwrap();
    assert_eq!(fs::read_to_string(a.join("file")).unwrap(), "content");
    a.await_online(false);
}
