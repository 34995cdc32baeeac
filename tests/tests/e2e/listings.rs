//! A large folder that both devices change without a pause is listed by programs all the while: each name that stays is
//! there once in every listing, none twice, and places in it that programs remember stay. `TARN_LISTING_NAMES` gives
//! another number of names.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::process::Process;
use tarn_tests::seed::Seed;
use tarn_tests::wait::{eventually, timed};

/// Listings by each of the two readers.
const LISTINGS: usize = 4;
/// Files that are sent before more are made: what waits is in memory.
const LOT: usize = 20_000;
/// Names that come, move and go.
const MOVING: usize = 200;
const SEEN_WITHIN: Duration = Duration::from_secs(600);

fn steady(number: usize) -> String {
    format!("steady-{number:07}")
}

/// Says that it is over, also by a panic.
struct Over<'w>(&'w AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Makes, moves and removes names of its own until it is over; how often.
fn change(folder: &Path, who: &str, is_over: &AtomicBool, seed: &mut Seed) -> usize {
    let mut names: Vec<Option<String>> = vec![None; MOVING];
    let mut changes = 0;
    while !is_over.load(Ordering::SeqCst) {
        let at = seed.index(MOVING);
        let fresh = format!("{who}-{changes}");
        names[at] = match names[at].take() {
            None => {
                File::create(folder.join(&fresh)).unwrap();
                Some(fresh)
            }
            Some(name) if seed.one_in(2) => {
                fs::rename(folder.join(name), folder.join(&fresh)).unwrap();
                Some(fresh)
            }
            Some(name) => {
                fs::remove_file(folder.join(name)).unwrap();
                None
            }
        };
        changes += 1;
    }
    changes
}

/// Lists a folder as programs do.
#[track_caller]
fn list(folder: &Path, count: usize) {
    let mut seen = HashSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(seen.insert(name.clone()), "{name} is listed twice");
    }
    let missed: Vec<usize> = (0..count).filter(|number| !seen.contains(&steady(*number))).take(5).collect();
    assert!(missed.is_empty(), "left out: {missed:?} and perhaps more");
}

/// A listing in which places are remembered.
struct Places(*mut libc::DIR);

impl Places {
    fn open(folder: &Path) -> Self {
        let path = CString::new(folder.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path ends with NUL.
        let dir = unsafe { libc::opendir(path.as_ptr()) };
        assert!(!dir.is_null());
        Self(dir)
    }

    /// Where the listing stands, and the name behind that.
    fn next(&mut self) -> Option<(i64, String)> {
        // SAFETY: the stream is open, and the entry is read before the next call.
        unsafe {
            let place = libc::telldir(self.0);
            let entry = libc::readdir(self.0);
            (!entry.is_null()).then(|| (place, CStr::from_ptr((*entry).d_name.as_ptr()).to_str().unwrap().to_owned()))
        }
    }

    fn go(&mut self, place: i64) {
        // SAFETY: the stream is open, and the place is one that it gave.
        unsafe { libc::seekdir(self.0, place) };
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody uses it after this.
        unsafe { libc::closedir(self.0) };
    }
}

/// Goes back to remembered places while the folder changes; how many.
fn look_at_places(folder: &Path) -> usize {
    let mut places = Places::open(folder);
    let all: Vec<(i64, String)> =
        std::iter::from_fn(|| places.next()).filter(|(_, name)| name.starts_with("steady")).collect();
    let step = all.len().div_ceil(200);
    for (place, name) in all.iter().step_by(step).rev() {
        places.go(*place);
        // What came between has gone again, or stands behind.
        let found = std::iter::from_fn(|| places.next()).map(|(_, name)| name).find(|name| name.starts_with("steady"));
        assert_eq!(found.as_ref(), Some(name), "at {place}");
    }
    all.len().div_ceil(step)
}

/// The most memory that a process had, in MiB.
fn most_memory(process: Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn each_name_of_a_large_folder_is_listed_once_each_while_both_devices_change_it() {
    let count = std::env::var("TARN_LISTING_NAMES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let server = crate::server();
    let (a, b) = (Device::mounted(&server, "a").unwrap(), Device::mounted(&server, "b").unwrap());
    let (here, there) = (b.join("large"), a.join("large"));
    fs::create_dir(&there).unwrap();
    let ((), made) = timed(|| {
        for number in 0..count {
            File::create(there.join(steady(number))).unwrap();
            if number % LOT == LOT - 1 {
                a.wait().unwrap();
            }
        }
        a.wait().unwrap();
    });
    let last = here.join(steady(count - 1));
    let ((), arrived) = timed(|| eventually(SEEN_WITHIN, "all names on the other device", || last.exists()));
    let ((), first) = timed(|| list(&here, count));
    let is_over = AtomicBool::new(false);
    let (longest, places, changes) = thread::scope(|scope| {
        let (here, there, is_over) = (&here, &there, &is_over);
        let changers = [("here", here), ("there", there)]
            .map(|(who, folder)| scope.spawn(move || change(folder, who, is_over, &mut Seed::new(who.len() as u64))));
        let over = Over(is_over);
        let lister = || (0..LISTINGS).map(|_| timed(|| list(here, count)).1).max().unwrap();
        let listers = [scope.spawn(lister), scope.spawn(lister)];
        let places = look_at_places(here);
        let longest = listers.map(|lister| lister.join().unwrap()).into_iter().max().unwrap();
        drop(over);
        (longest, places, changers.map(|changer| changer.join().unwrap()))
    });
    assert!(changes.iter().all(|changes| *changes > 0), "{changes:?}");
    a.wait().unwrap();
    b.wait().unwrap();
    let names =
        |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<HashSet<_>>();
    let expected = names(&there);
    eventually(SEEN_WITHIN, "the same names on both devices", || names(&here) == expected);
    println!(
        "Figures: {count} names made and sent in {:.0} s, on the other device {:.0} s later; first listing {:.2} s, the longest of {} while {} names came, \
         moved and went here and {} there {:.2} s; {places} remembered places; the daemon had {} MiB at most",
        made.as_secs_f64(),
        arrived.as_secs_f64(),
        first.as_secs_f64(),
        2 * LISTINGS,
        changes[0],
        changes[1],
        longest.as_secs_f64(),
        most_memory(b.daemon().unwrap())
    );
}
