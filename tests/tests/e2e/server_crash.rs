//! The server is killed, or its power cut, under the load of two devices: what it acknowledged is there.

use crate::converge;
use crate::crash_check::given;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tarn_tests::crash::power::{Disk, Kind};
use tarn_tests::device::Device;
use tarn_tests::diff::same_tree;
use tarn_tests::seed::Seed;
use tarn_tests::server::{Db, Server};
use tarn_tests::wait::{eventually, within};

/// Crashes in the default run.
const CRASHES: u64 = 8;
/// The longest time between a start and the crash.
const MOMENT_MS_MAX: u64 = 600;
/// After so many crashes one comes right when `tarn wait` has returned.
const WAIT_EVERY: u64 = 4;
/// What the server keeps: every version of every file.
const DISK_BYTES_BASE: u64 = 512 << 20;
const DISK_BYTES_PER_CUT: u64 = 32 << 20;
const SHOWN: Duration = Duration::from_secs(60);

on_both! {
    what_was_acknowledged_survives_kills: what_was_acknowledged_survives_kills_on_sqlite, what_was_acknowledged_survives_kills_on_postgres;
}

fn what_was_acknowledged_survives_kills(server: &Server) {
    survives(server, given("TARN_SERVER_KILLS", CRASHES), &|| server.restart().unwrap());
}

fn what_was_acknowledged_survives_power_cuts(kind: Kind) {
    let cuts = given("TARN_SERVER_CUTS", CRASHES);
    let Some(disk) = Disk::with_bytes(kind, DISK_BYTES_BASE + cuts * DISK_BYTES_PER_CUT).unwrap() else {
        return eprintln!("skipped: a file system cannot be mounted from an image here (that takes root)");
    };
    let server = Server::start_in(Db::Sqlite, Some(disk.path().join("data"))).unwrap().unwrap();
    survives(&server, cuts, &|| {
        // As by a real cut: a disk that is being shut down may still say that it has everything.
        server.freeze();
        disk.cut().unwrap();
        server.kill();
        disk.restart().unwrap();
        server.restart().unwrap();
    });
    server.kill();
}

#[test]
fn what_the_server_acknowledged_survives_power_cuts_on_ext4() {
    what_was_acknowledged_survives_power_cuts(Kind::Ext4);
}

#[test]
fn what_the_server_acknowledged_survives_power_cuts_on_xfs() {
    what_was_acknowledged_survives_power_cuts(Kind::Xfs);
}

/// What one device does in a folder of its own, and what must be there.
struct Worker<'a> {
    device: &'a Device,
    seed: Seed,
    files: BTreeMap<String, Vec<u8>>,
}

impl Worker<'_> {
    fn new(device: &Device, number: u64) -> Worker<'_> {
        fs::create_dir(device.join(device.name())).unwrap();
        Worker { device, seed: Seed::new(number), files: BTreeMap::new() }
    }

    fn work(&mut self, stop: &AtomicBool) {
        let root = self.device.join(self.device.name());
        while !stop.load(Ordering::Acquire) {
            self.step(&root);
        }
    }

    fn step(&mut self, root: &Path) {
        let name = format!("file{}", self.seed.below(60));
        match self.seed.below(10) {
            0 if self.files.remove(&name).is_some() => fs::remove_file(root.join(name)).unwrap(),
            1 | 2 if self.files.contains_key(&name) => {
                let other = format!("file{}", self.seed.below(60));
                fs::rename(root.join(&name), root.join(&other)).unwrap();
                let bytes = self.files.remove(&name).unwrap();
                self.files.insert(other, bytes);
            }
            _ => {
                let size = if self.seed.one_in(12) { 1_500_000 } else { self.seed.index(40_000) };
                let bytes = self.seed.bytes(size);
                fs::write(root.join(&name), &bytes).unwrap();
                self.files.insert(name, bytes);
            }
        }
    }

    fn is_whole_on(&self, device: &Device) -> bool {
        let root = device.join(self.device.name());
        let count = fs::read_dir(&root).map_or(0, Iterator::count);
        count == self.files.len()
            && self.files.iter().all(|(name, bytes)| fs::read(root.join(name)).is_ok_and(|read| read == *bytes))
    }
}

fn survives(server: &Server, crashes: u64, crash: &dyn Fn()) {
    let seed = given("TARN_CRASH_SEED", 21);
    eprintln!("seed {seed}");
    let (a, b) = (Device::mounted(server, "a").unwrap(), Device::mounted(server, "b").unwrap());
    let mut dice = Seed::new(seed);
    let mut workers = [Worker::new(&a, dice.next_u64()), Worker::new(&b, dice.next_u64())];
    let (mut queued, mut after_wait, mut moments) = (0, 0, Vec::new());
    let mut crash = || {
        moments.push(now_ms());
        crash();
    };
    for number in 1..=crashes {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            workers.iter_mut().for_each(|worker| drop(scope.spawn(|| worker.work(&stop))));
            within(Duration::from_millis(dice.below(MOMENT_MS_MAX)), || false);
            queued += u64::from(a.status().unwrap()["queue"]["operations"].as_u64() > Some(0));
            crash();
            stop.store(true, Ordering::Release);
        });
        if number.is_multiple_of(WAIT_EVERY) {
            a.wait().unwrap();
            crash();
            eventually(SHOWN, "what `tarn wait` returned for is on the other device", || workers[0].is_whole_on(&b));
            after_wait += 1;
        }
    }
    converge(&a, &b);
    assert!(workers.iter().all(|worker| worker.is_whole_on(&a) && worker.is_whole_on(&b)));
    let fresh = Device::mounted(server, "fresh").unwrap();
    eventually(SHOWN, "a fresh device shows the same", || same_tree(a.path(), fresh.path()).is_ok());
    let sent_again = nothing_is_sent_again_after(server, &moments);
    let check = server.check().unwrap();
    assert_eq!(check.code, 0, "{}{}", check.stdout, check.stderr);
    assert!(queued * 2 > crashes, "only {queued} of {crashes} crashes found something queued");
    println!("Figures {{ crashes: {crashes}, queued: {queued}, after_wait: {after_wait}, sent_again: {sent_again} }}");
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A device asks what is missing before it sends: what is sent again after a crash had been lost by it. How many chunks went twice to
/// a server that lived: one whose connection broke may ask before the server has seen what was on its way.
#[track_caller]
fn nothing_is_sent_again_after(server: &Server, crashes_ms: &[i64]) -> usize {
    let (mut acknowledged, mut again) = (HashMap::new(), 0);
    for put in server.put_log().unwrap() {
        let (began, ended) = (put["began_ms"].as_i64().unwrap(), put["time_ms"].as_i64().unwrap());
        for id in put["ids"].as_array().unwrap() {
            let before = acknowledged.insert(id.to_string(), ended);
            again += usize::from(before.is_some());
            let lost_by =
                crashes_ms.iter().find(|&&crash| before.is_some_and(|before| (before..began).contains(&crash)));
            assert!(lost_by.is_none(), "chunk {id}, durable at {before:?}, was sent again after {lost_by:?}: {put}");
        }
    }
    assert!(!acknowledged.is_empty());
    again
}
