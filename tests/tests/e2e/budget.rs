//! The cache keeps to its size, in blocks on the disk, whatever is read; and what fits stays.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tarn_tests::blocks::du_blocks;
use tarn_tests::device::Device;
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::{eventually, within};

const MIB: u64 = 1 << 20;
const READERS: usize = 8;
const SOON: Duration = Duration::from_secs(60);
/// How often the blocks are looked at.
const SAMPLE: Duration = Duration::from_millis(50);

/// Files in the order in which they are read: large ones, middling ones and small ones.
fn sizes(total_bytes: u64) -> Vec<u64> {
    let (mut sizes, mut seed) = (Vec::new(), Seed::new(20));
    while sizes.iter().sum::<u64>() < total_bytes {
        sizes.extend([8 * MIB, MIB, 300_000, 16_384, 4_000, 65_536, MIB + 17]);
    }
    for index in (1..sizes.len()).rev() {
        sizes.swap(index, seed.index(index + 1));
    }
    sizes
}

fn bytes_of(index: usize, size: u64) -> Vec<u8> {
    Seed::new(1000 + index as u64).bytes(size as usize)
}

fn fill(server: &Server, sizes: &[u64]) {
    let a = Device::mounted(server, "a").unwrap();
    for (index, size) in sizes.iter().enumerate() {
        fs::write(a.join(&index.to_string()), bytes_of(index, *size)).unwrap();
    }
    a.wait().unwrap();
}

fn reader(server: &Server, budget_bytes: u64) -> Device {
    let b = Device::new(server, "b").unwrap().with_mount_args(&["--cache-size", &budget_bytes.to_string()]);
    b.mount().unwrap();
    b
}

fn read(device: &Device, index: usize, size: u64) {
    let read = fs::read(device.join(&index.to_string()));
    assert!(read.unwrap() == bytes_of(index, size), "file {index} differs");
}

/// Reads with so many readers, each another part, while the blocks of the state are looked at; the most there were.
fn read_and_watch(device: &Device, sizes: &[u64], readers: usize) -> u64 {
    let (state, is_over) = (device.home().join("state"), AtomicBool::new(false));
    thread::scope(|scope| {
        let watch = scope.spawn(|| most_blocks(&state, &is_over));
        let parts: Vec<_> = (0..readers)
            .map(|part| {
                scope.spawn(move || {
                    let own = sizes.iter().enumerate().skip(part).step_by(readers);
                    own.for_each(|(index, size)| read(device, index, *size));
                })
            })
            .collect();
        let all_read = parts.into_iter().map(|part| part.join()).collect::<Result<Vec<()>, _>>();
        is_over.store(true, Ordering::Release);
        all_read.unwrap();
        watch.join().unwrap()
    })
}

fn most_blocks(state: &Path, is_over: &AtomicBool) -> u64 {
    let mut most = 0;
    while !within(SAMPLE, || is_over.load(Ordering::Acquire)) {
        most = most.max(du_blocks(state));
    }
    most.max(du_blocks(state))
}

/// The last files that have at most this many bytes together.
fn last_files(sizes: &[u64], bytes: u64) -> std::ops::Range<usize> {
    let mut seen = 0;
    let count = sizes.iter().rev().take_while(|&&size| {
        seen += size;
        seen <= bytes
    });
    sizes.len() - count.count()..sizes.len()
}

/// Bytes fetched by reading these files again.
fn fetched_again(device: &Device, sizes: &[u64], files: std::ops::Range<usize>) -> u64 {
    let before = device.counter("bytes_fetched").unwrap();
    files.for_each(|index| read(device, index, sizes[index]));
    device.counter("bytes_fetched").unwrap() - before
}

/// Drops what the kernel keeps of these files.
fn drop_pages(device: &Device, files: std::ops::Range<usize>) {
    for index in files {
        let file = fs::File::open(device.join(&index.to_string())).unwrap();
        // SAFETY: it takes a descriptor and three integers and touches no memory of this process.
        assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) }, 0);
    }
}

#[test]
fn four_times_the_budget_is_read_within_it_and_what_was_read_last_stays() {
    let budget = 32 * MIB;
    let server = crate::server();
    let sizes = sizes(4 * budget);
    fill(&server, &sizes);
    let b = reader(&server, budget);
    let most = read_and_watch(&b, &sizes, 1);
    assert!(most <= budget, "{most} bytes of blocks with a budget of {budget}");
    assert!(most > budget / 2, "{most} bytes: the cache is not used");

    // Log, database and what they may grow by are within the budget; what is left is content. The kernel's own pages help
    // beyond that, but not with what it read by itself (passthrough).
    let kept = last_files(&sizes, budget * 17 / 20);
    drop_pages(&b, kept.clone());
    assert_eq!(fetched_again(&b, &sizes, kept), 0, "of what the disk has, without the kernel's help");
}

#[test]
fn eight_readers_of_four_times_the_budget_and_more_stay_within_it() {
    let server = crate::server();
    let sizes = sizes(4 * 24 * MIB);
    fill(&server, &sizes);
    for budget in [24 * MIB, 16 * MIB] {
        let b = reader(&server, budget);
        let most = read_and_watch(&b, &sizes, READERS);
        assert!(most <= budget, "{most} bytes of blocks with a budget of {budget}");
    }
}

#[test]
fn readers_get_their_bytes_where_nothing_fits() {
    let server = crate::server();
    let sizes = sizes(8 * MIB);
    fill(&server, &sizes);
    let b = reader(&server, 1);
    read_and_watch(&b, &sizes, READERS);
    let slab: PathBuf = b.home().join("state/slab");
    assert_eq!(du_blocks(&slab) + du_blocks(&b.home().join("state/contents")) / (2 * MIB), 0, "nothing was kept");
}

#[test]
fn what_is_not_sent_may_outgrow_the_budget_and_shrinks_to_it_when_it_is() {
    let (budget, server) = (16 * MIB, crate::server());
    let b = reader(&server, budget);
    b.await_online(true);
    server.stop().unwrap();
    b.await_online(false);
    let sizes = sizes(4 * budget);
    for (index, size) in sizes.iter().enumerate() {
        fs::write(b.join(&index.to_string()), bytes_of(index, *size)).unwrap();
    }
    assert!(du_blocks(&b.home().join("state")) > 4 * budget, "all of it is here, and nowhere else");
    sizes.iter().enumerate().for_each(|(index, size)| read(&b, index, *size));
    server.restart().unwrap();
    b.wait().unwrap();
    let state = b.home().join("state");
    eventually(SOON, "the cache is within its budget", || du_blocks(&state) <= budget);
    sizes.iter().enumerate().for_each(|(index, size)| read(&b, index, *size));
}
