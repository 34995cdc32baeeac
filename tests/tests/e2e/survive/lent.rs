//! What the kernel reads by itself goes on while daemons come and go: handles, maps, and what is opened next.

use super::{Met, next_daemon, same};
use crate::passthrough::{evict, pass_through, read_requests, state, to_write, with_file_of};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::maps::Map;
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::eventually;

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(30);
/// Of the file that is read, written and mapped all the while: the second half is written.
const HALF: usize = MIB;
/// So many handles and maps are kept.
const KEPT_MAX: usize = 5;

/// A file that the kernel can read by itself.
pub fn plant(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = Seed::new(3).bytes(2 * HALF);
    fs::write(path, &bytes)?;
    Ok(bytes)
}

/// Opens it again and again, keeps some handles and maps, and writes beside them: through handles and through maps.
pub fn use_lent(path: &Path, mut bytes: Vec<u8>, ends: &AtomicBool) -> Result<u64, Met> {
    let (mut turns, mut seed, mut kept) = (0u64, Seed::new(4), Vec::new());
    let mut read = vec![0; 50_000];
    while !ends.load(Ordering::Relaxed) {
        let file = File::open(path)?;
        let map = Map::of(&file, bytes.len(), false)?;
        if turns % 16 == 15 {
            let (writer, at) = (to_write(path), HALF + seed.index(HALF - 16));
            let text = format!("{turns:016}");
            match turns % 32 {
                15 => writer.write_all_at(text.as_bytes(), at as u64)?,
                _ => Map::of(&writer, bytes.len(), true)?.write(at, text.as_bytes())?,
            }
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
            same(&map.read(at, 16), text.as_bytes(), "what was written beside a map")?;
        }
        kept.push((file, map));
        for (file, map) in &kept {
            let at = seed.index(bytes.len() - read.len());
            file.read_exact_at(&mut read, at as u64)?;
            same(&read, &bytes[at..at + read.len()], "a lent file")?;
            same(&map.read(at, 4096), &bytes[at..at + 4096], "a map of a lent file")?;
        }
        match turns % 64 {
            63 => kept.clear(),
            _ if kept.len() > KEPT_MAX => drop(kept.swap_remove(seed.index(kept.len()))),
            _ => {}
        }
        turns += 1;
    }
    Ok(turns)
}

/// A mount that survives, with a clean file of 4 MiB; `None` where nothing is passed through.
fn surviving(server: &Server) -> Option<(Device, Vec<u8>)> {
    with_file_of(Device::new(server, "a").unwrap().surviving())
}

fn kill(device: &Device) {
    let daemon = device.daemon().unwrap();
    daemon.kill();
    next_daemon(device, Some(daemon));
    device.await_online(true);
}

#[test]
fn what_is_passed_through_stays_so_when_the_daemon_is_killed() {
    let server = crate::server();
    let Some((a, content)) = surviving(&server) else { return };
    let reader = pass_through(&a, &a.join("file"));
    let map = Map::of(&reader, content.len(), false).unwrap();
    for _ in 0..2 {
        kill(&a);
        let before = read_requests(&a);
        let mut seen = vec![0; content.len()];
        reader.read_exact_at(&mut seen, 0).unwrap();
        assert!(seen == content && map.read(0, content.len()) == content);
        pass_through(&a, &a.join("file"));
        assert_eq!(read_requests(&a), before, "it is passed through still");
        evict(&a, "file");
        assert_eq!(state(&a, "file"), "hydrated", "it is open");
    }
    drop((reader, map));
    eventually(SOON, "the file can be evicted", || {
        evict(&a, "file");
        state(&a, "file") == "online-only"
    });
    assert!(fs::read(a.join("file")).unwrap() == content);
    a.unmount().unwrap();
}

#[test]
fn what_is_passed_through_keeps_its_version_when_the_daemon_is_killed() {
    let server = crate::server();
    let Some((a, content)) = surviving(&server) else { return };
    let b = Device::mounted(&server, "b").unwrap();
    let reader = pass_through(&a, &a.join("file"));
    let map = Map::of(&File::open(a.join("file")).unwrap(), content.len(), false).unwrap();
    kill(&a);
    let newer = Seed::new(78).bytes(3 * MIB);
    fs::write(b.join("file"), &newer).unwrap();
    b.wait().unwrap();
    eventually(SOON, "the new version is shown", || fs::read(a.join("file")).unwrap() == newer);
    kill(&a);
    let mut seen = vec![0; content.len()];
    reader.read_exact_at(&mut seen, 0).unwrap();
    assert!(seen == content && map.read(0, content.len()) == content, "it shows what is not its version");
    assert!(fs::read(a.join("file")).unwrap() == newer);
    drop(reader);
    kill(&a);
    assert!(map.read(0, content.len()) == content, "nothing but the map is left");
    drop(map);
    a.unmount().unwrap();
}

#[test]
fn what_a_map_writes_while_daemons_come_and_go_is_sent() {
    let server = crate::server();
    let Some((a, mut content)) = surviving(&server) else { return };
    let reader = pass_through(&a, &a.join("file"));
    let map = Map::of(&to_write(&a.join("file")), content.len(), true).unwrap();
    let mut write = |at: usize, text: &[u8]| {
        map.write(at, text).unwrap();
        content[at..at + text.len()].copy_from_slice(text);
    };
    write(1_000_000, b"before the first kill");
    let daemon = a.daemon().unwrap();
    daemon.kill();
    write(2_000_000, b"while there is none");
    next_daemon(&a, Some(daemon));
    a.wait().unwrap();
    write(3_000_000, b"with the next one");
    drop(reader);
    kill(&a);
    write(3_500_000, b"when the map alone is left");
    drop(map);
    let b = Device::mounted(&server, "b").unwrap();
    eventually(SOON, "the other device has it", || fs::read(b.join("file")).is_ok_and(|seen| seen == content));
    crate::converge(&a, &b);
    assert!(fs::read(a.join("file")).unwrap() == content);
    a.unmount().unwrap();
}

#[test]
fn a_file_that_is_open_through_the_page_cache_can_be_opened_by_readers_after_a_kill() {
    let server = crate::server();
    let Some((a, mut content)) = surviving(&server) else { return };
    let writer = to_write(&a.join("file"));
    writer.write_all_at(b"cached", 77).unwrap();
    content[77..83].copy_from_slice(b"cached");
    kill(&a);
    a.wait().unwrap();
    assert!(fs::read(a.join("file")).unwrap() == content, "an inode is open in one way");
    drop(writer);
    eventually(SOON, "the file is clean", || state(&a, "file") == "hydrated");
    eventually(SOON, "it is passed through", || {
        let before = read_requests(&a);
        fs::read(a.join("file")).unwrap() == content && read_requests(&a) == before
    });
    a.unmount().unwrap();
}

#[test]
fn files_that_are_opened_and_closed_while_there_is_no_daemon_are_open_and_closed() {
    let server = crate::server();
    let Some((a, content)) = surviving(&server) else { return };
    let reader = pass_through(&a, &a.join("file"));
    let daemon = a.daemon().unwrap();
    daemon.kill();
    // The next daemon answers both.
    let path = a.join("file");
    let opening = thread::spawn(move || File::open(path).unwrap());
    drop(reader);
    let opened = opening.join().unwrap();
    next_daemon(&a, Some(daemon));
    let mut seen = vec![0; content.len()];
    opened.read_exact_at(&mut seen, 0).unwrap();
    assert!(seen == content);
    evict(&a, "file");
    assert_eq!(state(&a, "file"), "hydrated", "it is open");
    drop(opened);
    eventually(SOON, "the file can be evicted", || {
        evict(&a, "file");
        state(&a, "file") == "online-only"
    });
    a.unmount().unwrap();
}
