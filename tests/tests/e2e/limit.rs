//! How fast content goes up and comes down is limited at once, over restarts, and never at the cost of what programs wait for.

use serde_json::{Value, json};
use std::fs;
use std::thread;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::relay::Relay;
use tarn_tests::seed::Seed;
use tarn_tests::wait::eventually;

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(60);

fn limit(device: &Device, args: &[&str]) -> Value {
    let finished = device.tarn(&[&["limit", "--json"], args].concat()).unwrap().ok().unwrap();
    serde_json::from_str(&finished.stdout).unwrap()
}

#[test]
fn limits_are_told_changed_one_by_one_and_kept_over_restarts() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let none = json!({"up_bytes_per_s": null, "down_bytes_per_s": null});
    assert_eq!(limit(&a, &[]), none);
    assert_eq!(limit(&a, &["--up", "500KiB"])["up_bytes_per_s"], 512_000);
    let both = json!({"up_bytes_per_s": 512_000, "down_bytes_per_s": 2_000_000});
    assert_eq!(limit(&a, &["--down", "2MB/s"]), both);
    let refused = a.tarn(&["limit", "--up", "1"]).unwrap();
    assert!(refused.code == 1 && refused.stderr.contains("at least 16 KiB"), "{}", refused.stderr);
    a.unmount().unwrap();
    a.mount().unwrap();
    assert_eq!(limit(&a, &[]), both);
    assert_eq!(limit(&a, &["--up", "off"])["up_bytes_per_s"], Value::Null);
    assert_eq!(limit(&a, &["--off"]), none);
}

#[test]
fn uploads_keep_to_the_limit_until_it_is_lifted() {
    let server = crate::server();
    let relay = Relay::start(server.address()).unwrap();
    let a = Device::at(&relay.url(), "a").unwrap();
    a.mount().unwrap();
    limit(&a, &["--up", "16KiB"]);
    let before = relay.sent_bytes();
    fs::write(a.join("file"), Seed::new(1).bytes(16 * MIB)).unwrap();
    eventually(SOON, "the upload begins", || relay.sent_bytes() - before > 64 << 10);
    let sent = relay.sent_bytes() - before;
    assert!(sent < 8 * MIB as u64, "{sent} bytes are through");
    assert_eq!(a.status().unwrap()["queue"]["operations"], 1);
    limit(&a, &["--off"]);
    a.wait().unwrap();
}

#[test]
fn what_a_program_waits_for_is_not_held_up_by_what_is_fetched_ahead() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let (large, small) = (Seed::new(2).bytes(16 * MIB), Seed::new(3).bytes(30_000));
    fs::write(a.join("large"), &large).unwrap();
    fs::write(a.join("small"), &small).unwrap();
    a.wait().unwrap();
    let relay = Relay::start(server.address()).unwrap();
    let b = Device::at(&relay.url(), "b").unwrap();
    b.mount().unwrap();
    b.await_online(true);
    limit(&b, &["--down", "64KiB"]);
    let path = b.join("large");
    thread::scope(|scope| {
        let hydrating = scope.spawn(|| b.tarn(&["hydrate", path.to_str().unwrap()]));
        eventually(SOON, "the large file is coming", || b.counter("bytes_fetched").is_ok_and(|bytes| bytes > 0));
        assert!(fs::read(b.join("small")).unwrap() == small);
        let fetched = relay.received_bytes();
        assert!(fetched < 8 * MIB as u64, "{fetched} bytes came meanwhile");
        limit(&b, &["--off"]);
        hydrating.join().unwrap().unwrap().ok().unwrap();
    });
    assert!(fs::read(b.join("large")).unwrap() == large);
}
