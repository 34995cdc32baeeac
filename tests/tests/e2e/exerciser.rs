//! One file under random operations of every kind, each read compared with what must be there: while it is uploaded and
//! dropped again and again, and while a second device changes other files. As fsx does on a local disk.

use crate::converge;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tarn_tests::device::Device;
use tarn_tests::maps::Map;
use tarn_tests::seed::Seed;

/// The file never becomes larger.
const SIZE_MAX: u64 = 1_200_000;
/// Programs seldom touch more at once.
const STEP_MAX: u64 = 70_000;

/// A file and what must be in it.
struct Exercise<'d> {
    device: &'d Device,
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    seed: Seed,
    done: Vec<String>,
}

impl<'d> Exercise<'d> {
    fn new(device: &'d Device, seed: u64) -> Self {
        let path = device.join("file");
        let file = open(&path);
        Self { device, path, file, bytes: Vec::new(), seed: Seed::new(seed), done: Vec::new() }
    }

    /// A range that begins below `end` and is not longer than a step.
    fn range(&mut self, end: u64) -> (u64, usize) {
        let (start, length) = (self.seed.below(end.max(1)), 1 + self.seed.below(STEP_MAX));
        (start, length.min(SIZE_MAX - start) as usize)
    }

    fn step(&mut self) {
        let size = self.bytes.len() as u64;
        let kind = self.seed.below(12);
        let (start, length) = self.range(if matches!(kind, 2..=4) { SIZE_MAX } else { size });
        let end = start as usize + length;
        self.done.push(format!("{kind}: {length} at {start} of {size}"));
        match kind {
            0..=1 => self.compare(start as usize, length),
            2..=4 => {
                let data = self.seed.bytes(length);
                self.file.write_all_at(&data, start).unwrap();
                self.bytes.resize(self.bytes.len().max(end), 0);
                self.bytes[start as usize..end].copy_from_slice(&data);
            }
            5 => {
                let to = self.seed.below(SIZE_MAX);
                self.file.set_len(to).unwrap();
                self.bytes.resize(to as usize, 0);
            }
            6 => self.zero(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, start, length),
            7 => self.zero(libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE, start, length),
            8 => self.write_map(start as usize, length),
            9 => self.copy_within(start as usize, length),
            10 => self.file.sync_all().unwrap(),
            _ => self.open_again(),
        }
    }

    /// Closes and opens it; now and then with nothing of it here any more.
    fn open_again(&mut self) {
        self.file = File::open("/dev/null").unwrap();
        if self.seed.one_in(6) {
            self.device.wait().unwrap();
            evict(self.device, &self.path);
        }
        self.file = open(&self.path);
    }

    fn compare(&mut self, start: usize, length: usize) {
        let mut read = vec![0; length];
        let count = self.file.read_at(&mut read, start as u64).unwrap();
        let expected = &self.bytes[start.min(self.bytes.len())..self.bytes.len().min(start + length)];
        let at = read[..count].iter().zip(expected).position(|(one, other)| one != other);
        let last = self.done.iter().rev().take(20).collect::<Vec<_>>();
        assert!(
            count == expected.len() && at.is_none(),
            "{count} of {} bytes, other at {at:?} from {start}: {last:#?}",
            expected.len()
        );
    }

    fn zero(&mut self, mode: i32, start: u64, length: usize) {
        // SAFETY: it takes a descriptor and integers and touches no memory of this process.
        let outcome = unsafe { libc::fallocate(self.file.as_raw_fd(), mode, start as i64, length as i64) };
        assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
        let end = self.bytes.len().min(start as usize + length);
        self.bytes[(start as usize).min(end)..end].fill(0);
    }

    /// Writes through a shared map of the whole file.
    fn write_map(&mut self, start: usize, length: usize) {
        let (size, end) = (self.bytes.len(), self.bytes.len().min(start + length));
        if start >= end {
            return;
        }
        let data = self.seed.bytes(end - start);
        Map::of(&self.file, size, true).unwrap().write(start, &data).unwrap();
        self.bytes[start..end].copy_from_slice(&data);
    }

    /// Copies a range of the file behind it.
    fn copy_within(&mut self, start: usize, length: usize) {
        let end = self.bytes.len().min(start + length);
        let (mut from, mut to) = (start as i64, end as i64 + self.seed.below(1 + SIZE_MAX - end as u64) as i64);
        let mut left = end.saturating_sub(start).min(SIZE_MAX as usize - to as usize);
        let (target, copied) = (to as usize, self.bytes[start.min(end)..start.min(end) + left].to_vec());
        while left > 0 {
            let file = self.file.as_raw_fd();
            // SAFETY: both offsets are this function's own, and the descriptor is open.
            let count = unsafe { libc::copy_file_range(file, &raw mut from, file, &raw mut to, left, 0) };
            assert!(count > 0, "{}", std::io::Error::last_os_error());
            left -= count as usize;
        }
        if !copied.is_empty() {
            self.bytes.resize(self.bytes.len().max(target + copied.len()), 0);
            self.bytes[target..target + copied.len()].copy_from_slice(&copied);
        }
    }
}

fn evict(device: &Device, path: &Path) {
    device.tarn(&["evict", &path.to_string_lossy()]).unwrap();
}

fn open(path: &Path) -> File {
    File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

#[test]
fn random_operations_on_a_file_that_is_uploaded_and_dropped_meanwhile_read_back() {
    let operations = std::env::var("TARN_EXERCISES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let server = crate::server();
    let (a, b) = (Device::mounted(&server, "a").unwrap(), Device::mounted(&server, "b").unwrap());
    fs::create_dir(b.join("others")).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                fs::write(b.join(&format!("others/{}", number % 50)), format!("{number}")).unwrap();
                // What is dirty or in use stays; the rest is dropped while it is read.
                evict(&a, &a.join("file"));
            }
        });
        let outcome = std::panic::catch_unwind(|| {
            let mut exercise = Exercise::new(&a, 5);
            (0..operations).for_each(|_| exercise.step());
            exercise.compare(0, SIZE_MAX as usize);
            exercise.bytes
        });
        is_over.store(true, Ordering::Relaxed);
        let bytes = outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        a.wait().unwrap();
        assert!(fs::read(a.join("file")).unwrap() == bytes);
    });
    let fetched = a.counter("frames_fetched").unwrap();
    assert!(fetched > operations / 30, "only {fetched} frames were fetched again");
    converge(&a, &b);
}
