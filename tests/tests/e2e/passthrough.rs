//! What the kernel reads by itself, from the backing files of complete files, is right whatever becomes of the file meanwhile:
//! in handles and in maps, which live on when their handles are closed.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;
use tarn_tests::blocks::du_blocks;
use tarn_tests::device::Device;
use tarn_tests::maps::Map;
use tarn_tests::process::is_root;
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::eventually;

const MIB: usize = 1 << 20;
/// How long the daemon may take to see that a map is gone, and devices to tell each other.
const SOON: Duration = Duration::from_secs(30);

/// Whether mounts of this test can pass files through; says so if not.
pub fn is_privileged(device: &Device) -> bool {
    let status = device.status().unwrap()["passthrough"].clone();
    if is_root() && status["active"] == true {
        return true;
    }
    assert!(status["why_not"].is_string(), "{status}");
    eprintln!("skipped: no passthrough here: {}", status["why_not"]);
    false
}

pub fn read_requests(device: &Device) -> u64 {
    device.status().unwrap()["passthrough"]["read_requests"].as_u64().unwrap()
}

/// A device that has a file of 4 MiB, clean and complete, and its bytes; `None` where nothing is passed through.
fn with_file(server: &Server) -> Option<(Device, Vec<u8>)> {
    with_file_of(Device::new(server, "a").unwrap())
}

/// The same on a device that is not mounted yet.
pub fn with_file_of(a: Device) -> Option<(Device, Vec<u8>)> {
    a.mount().unwrap();
    let content = Seed::new(77).bytes(4 * MIB);
    fs::write(a.join("file"), &content).unwrap();
    a.wait().unwrap();
    is_privileged(&a).then_some((a, content))
}

pub fn state(device: &Device, name: &str) -> String {
    let path = device.join(name);
    let finished = device.tarn(&["status", path.to_str().unwrap(), "--json"]).unwrap().ok().unwrap();
    let status: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    status["state"].as_str().unwrap().to_owned()
}

pub fn evict(device: &Device, name: &str) {
    device.tarn(&["evict", device.join(name).to_str().unwrap()]).unwrap().ok().unwrap();
}

/// Opens a file to read; the kernel reads it by itself.
pub fn pass_through(device: &Device, path: &Path) -> File {
    let before = read_requests(device);
    let file = File::open(path).unwrap();
    file.read_exact_at(&mut [0; 4096], 8192).unwrap();
    assert_eq!(read_requests(device), before, "it is not passed through");
    file
}

pub fn to_write(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

#[test]
fn reading_a_complete_file_sends_the_daemon_no_read() {
    let server = crate::server();
    let Some((_, content)) = with_file(&server) else { return };
    let (b, c) = (Device::mounted(&server, "b").unwrap(), Device::new(&server, "c").unwrap());
    let c = c.with_mount_args(&["--no-passthrough"]);
    c.mount().unwrap();
    for (device, is_active) in [(&b, true), (&c, false)] {
        device.tarn(&["hydrate", device.join("file").to_str().unwrap()]).unwrap().ok().unwrap();
        let before = read_requests(device);
        assert_eq!(fs::read(device.join("file")).unwrap(), content);
        assert_eq!(read_requests(device) == before, is_active);
        assert_eq!(device.status().unwrap()["passthrough"]["active"], is_active);
    }
}

#[test]
fn a_write_beside_passthrough_is_seen_and_sent() {
    let server = crate::server();
    let Some((a, mut content)) = with_file(&server) else { return };
    let reader = pass_through(&a, &a.join("file"));
    let map = Map::of(&reader, content.len(), false).unwrap();
    let writer = to_write(&a.join("file"));
    writer.write_all_at(b"written", 3_000_000).unwrap();
    content[3_000_000..3_000_007].copy_from_slice(b"written");
    let mut seen = [0; 7];
    reader.read_exact_at(&mut seen, 3_000_000).unwrap();
    assert_eq!((&seen[..], &map.read(3_000_000, 7)[..]), (&b"written"[..], &b"written"[..]));
    writer.set_len(3_500_000).unwrap();
    content.truncate(3_500_000);
    assert_eq!((reader.metadata().unwrap().len(), fs::read(a.join("file")).unwrap() == content), (3_500_000, true));
    drop((reader, map, writer));
    let b = Device::mounted(&server, "b").unwrap();
    crate::converge(&a, &b);
    assert!(fs::read(b.join("file")).unwrap() == content);
    assert!(fs::read(a.join("file")).unwrap() == content, "the kernel's pages are as old as the first reader");
}

#[test]
fn what_is_open_or_mapped_is_not_evicted() {
    let server = crate::server();
    let Some((a, content)) = with_file(&server) else { return };
    let reader = pass_through(&a, &a.join("file"));
    evict(&a, "file");
    assert_eq!(state(&a, "file"), "hydrated");
    let map = Map::of(&reader, content.len(), false).unwrap();
    drop(reader);
    for args in [&["evict", "--all"][..], &["evict", a.join("file").to_str().unwrap()]] {
        a.tarn(args).unwrap().ok().unwrap();
        assert!(map.read(0, content.len()) == content, "the map shows what is not the file's");
    }
    assert_eq!(state(&a, "file"), "hydrated");
    drop(map);
    eventually(SOON, "the file can be evicted", || {
        evict(&a, "file");
        state(&a, "file") == "online-only"
    });
    assert!(fs::read(a.join("file")).unwrap() == content);
}

#[test]
fn a_map_of_an_earlier_life_is_not_emptied() {
    let server = crate::server();
    let Some((a, content)) = with_file(&server) else { return };
    let map = Map::of(&pass_through(&a, &a.join("file")), content.len(), false).unwrap();
    a.kill_daemon().unwrap();
    a.mount().unwrap();
    a.await_online(true);
    a.tarn(&["evict", "--all"]).unwrap().ok().unwrap();
    assert!(map.read(0, content.len()) == content);
}

#[test]
fn what_is_passed_through_keeps_its_version() {
    let server = crate::server();
    let Some((a, content)) = with_file(&server) else { return };
    let b = Device::mounted(&server, "b").unwrap();
    let reader = pass_through(&a, &a.join("file"));
    let map = Map::of(&File::open(a.join("file")).unwrap(), content.len(), false).unwrap();
    let newer = Seed::new(78).bytes(3 * MIB);
    fs::write(b.join("file"), &newer).unwrap();
    b.wait().unwrap();
    eventually(SOON, "the new version is shown", || fs::read(a.join("file")).unwrap() == newer);
    let mut seen = vec![0; content.len()];
    reader.read_exact_at(&mut seen, 0).unwrap();
    assert!(seen == content && map.read(0, content.len()) == content, "the old handle shows what is not its version");
    pass_through(&a, &a.join("file"));
    fs::remove_file(a.join("file")).unwrap();
    a.wait().unwrap();
    reader.read_exact_at(&mut seen, 0).unwrap();
    assert!(seen == content && map.read(0, content.len()) == content);
    drop((reader, map));
    let contents = a.home().join("state/contents");
    eventually(SOON, "the old versions' blocks are free", || du_blocks(&contents) < MIB as u64);
}

#[test]
fn the_budget_holds_with_files_passed_through() {
    let (server, budget) = (crate::server(), 32 * MIB as u64);
    let a = Device::mounted(&server, "a").unwrap();
    let contents: Vec<_> = (0..24).map(|n| Seed::new(n).bytes(3 * MIB)).collect();
    contents.iter().enumerate().for_each(|(n, content)| fs::write(a.join(&n.to_string()), content).unwrap());
    a.wait().unwrap();
    let b = Device::new(&server, "b").unwrap().with_mount_args(&["--cache-size", &budget.to_string()]);
    b.mount().unwrap();
    let mut open = Vec::new();
    for _ in 0..2 {
        for (n, content) in contents.iter().enumerate() {
            assert!(fs::read(b.join(&n.to_string())).unwrap() == *content, "file {n} differs");
            open.push(File::open(b.join(&n.to_string())).unwrap());
            let blocks = du_blocks(&b.home().join("state"));
            assert!(blocks <= budget, "{blocks} bytes of blocks");
        }
    }
    for (n, file) in open.iter().enumerate() {
        let mut seen = vec![0; 3 * MIB];
        file.read_exact_at(&mut seen, 0).unwrap();
        assert!(seen == contents[n % contents.len()], "handle {n} differs");
    }
}

#[test]
fn what_a_map_writes_unseen_is_sent_after_the_last_close() {
    let server = crate::server();
    let Some((a, mut content)) = with_file(&server) else { return };
    let reader = pass_through(&a, &a.join("file"));
    let map = Map::of(&to_write(&a.join("file")), content.len(), true).unwrap();
    drop(reader);
    map.write(1_234_567, b"through the map").unwrap();
    content[1_234_567..1_234_582].copy_from_slice(b"through the map");
    assert!(fs::read(a.join("file")).unwrap() == content);
    drop(map);
    let b = Device::mounted(&server, "b").unwrap();
    eventually(SOON, "the other device has it", || fs::read(b.join("file")).is_ok_and(|seen| seen == content));
    crate::converge(&a, &b);
    assert!(fs::read(a.join("file")).unwrap() == content);
}

#[test]
fn what_a_map_wrote_survives_a_kill_and_is_sent() {
    let server = crate::server();
    let Some((a, mut content)) = with_file(&server) else { return };
    let reader = pass_through(&a, &a.join("file"));
    let map = Map::of(&to_write(&a.join("file")), content.len(), true).unwrap();
    map.write(99, b"before the kill").unwrap();
    content[99..114].copy_from_slice(b"before the kill");
    a.kill_daemon().unwrap();
    drop((map, reader));
    a.mount().unwrap();
    assert!(fs::read(a.join("file")).unwrap() == content);
    let b = Device::mounted(&server, "b").unwrap();
    eventually(SOON, "the other device has it", || fs::read(b.join("file")).is_ok_and(|seen| seen == content));
    crate::converge(&a, &b);
}

#[test]
fn what_is_opened_for_writing_beside_passthrough_and_not_written_stays_as_it_is() {
    let server = crate::server();
    let Some((a, content)) = with_file(&server) else { return };
    let before = fs::metadata(a.join("file")).unwrap();
    let reader = pass_through(&a, &a.join("file"));
    let map = Map::of(&to_write(&a.join("file")), content.len(), true).unwrap();
    assert_eq!(map.read(0, 8), content[..8]);
    drop((reader, map));
    eventually(SOON, "the file can be evicted", || {
        evict(&a, "file");
        state(&a, "file") == "online-only"
    });
    assert_eq!(a.status().unwrap()["queue"]["operations"], 0);
    let after = fs::metadata(a.join("file")).unwrap();
    assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
    assert!(fs::read(a.join("file")).unwrap() == content);
}
