//! Nothing hangs while the server is stopped, out of reach or slow: what is known answers, and what waits can be ended.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::relay::{Mode, Relay};
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::{eventually, timed, within};

/// How long whoever was told to end may take.
const END_MAX: Duration = Duration::from_secs(1);
/// No call on what is known takes longer, on a machine that does other things too.
const CALL_MAX: Duration = Duration::from_secs(1);
const READERS: usize = 100;
const FILES: usize = 2_000;

/// What the kernel keeps of a file is dropped.
fn drop_pages(file: &File) {
    // SAFETY: it takes a descriptor and three integers and touches no memory of this process.
    assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) }, 0);
}

/// Readers that are ended at the latest with the test.
struct Readers(Vec<Child>);

impl Readers {
    /// One for each cold file; returns when all of them wait.
    fn wait_on(device: &Device) -> Self {
        let cat = |number: usize| {
            // Whoever runs the tests in the background may have had SIGINT ignored.
            let mut command = Command::new("env");
            command.args(["--default-signal", "cat"]).arg(device.join(&format!("cold/{number}")));
            command.stdout(Stdio::null()).spawn().unwrap()
        };
        let readers = Self((0..READERS).map(cat).collect());
        let waits = |child: &Child| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
            stat.contains("(cat) D ") || stat.contains("(cat) S ")
        };
        eventually(Duration::from_secs(30), "all readers wait", || readers.0.iter().all(waits));
        readers
    }

    /// Tells all of them to end; how many are left when they had to be gone.
    fn left_after(&mut self, signal: i32) -> usize {
        for child in &self.0 {
            // SAFETY: it takes two integers; the pid is that of a child that nobody has waited for.
            assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        }
        within(END_MAX, || {
            self.0.retain_mut(|child| child.try_wait().unwrap().is_none());
            self.0.is_empty()
        });
        self.0.len()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may be gone by now.
            let _ = child.kill();
        }
    }
}

/// A device that knows a hundred files of which nothing is here, and one that is here.
fn device_with_cold_files(server: &Server) -> Device {
    let a = Device::mounted(server, "a").unwrap();
    let mut seed = Seed::new(77);
    fs::create_dir(a.join("cold")).unwrap();
    for number in 0..READERS {
        fs::write(a.join(&format!("cold/{number}")), seed.bytes(100_000)).unwrap();
    }
    fs::write(a.join("here"), seed.bytes(300_000)).unwrap();
    a.wait().unwrap();
    let b = Device::new(server, "b").unwrap().with_mount_args(&["--read-timeout", "300s"]);
    b.mount().unwrap();
    assert_eq!(fs::read_dir(b.join("cold")).unwrap().count(), READERS);
    assert_eq!(fs::read(b.join("here")).unwrap().len(), 300_000);
    b
}

#[test]
fn a_hundred_blocked_readers_end_within_a_second_of_any_signal_and_keep_nobody_waiting() {
    let server = crate::server();
    let b = device_with_cold_files(&server);
    let here = File::open(b.join("here")).unwrap();
    server.freeze();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGKILL] {
        let mut readers = Readers::wait_on(&b);
        drop_pages(&here);
        let (read, took) = timed(|| fs::read(b.join("here")).unwrap().len());
        assert!(read == 300_000 && took < CALL_MAX, "what is here was read after {took:?}");
        let left = readers.left_after(signal);
        assert_eq!(left, 0, "readers left {END_MAX:?} after signal {signal}");
    }
    server.thaw();
    assert_eq!(fs::read(b.join("cold/0")).unwrap().len(), 100_000);
}

#[test]
fn a_folder_that_is_not_known_is_unreachable_at_once_and_never_empty() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    fs::write(a.join("file"), "content").unwrap();
    a.wait().unwrap();
    let fresh = Device::new(&server, "fresh").unwrap();
    server.kill();
    fresh.mount().unwrap();
    for _ in 0..3 {
        let (listing, took) = timed(|| fs::read_dir(fresh.path()).map(Iterator::count));
        assert_eq!(listing.unwrap_err().raw_os_error(), Some(libc::ENETUNREACH));
        let (found, took_to_find) = timed(|| fs::metadata(fresh.join("file")));
        assert_eq!(found.unwrap_err().raw_os_error(), Some(libc::ENETUNREACH));
        assert!(took.max(took_to_find) < CALL_MAX, "{took:?} and {took_to_find:?}");
    }
    server.restart().unwrap();
    eventually(Duration::from_secs(60), "the folder once the server is back", || fs::read_dir(fresh.path()).is_ok());
    fresh.await_online(true);
    assert_eq!(fs::read_to_string(fresh.join("file")).unwrap(), "content");
}

/// Calls on what is known: those of one round, each timed.
fn metadata_calls(root: &Path, round: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    let mut time = |call: &mut dyn FnMut()| took.push(timed(call).1);
    for number in 0..FILES {
        let path = root.join(format!("known/{number}"));
        time(&mut || assert!(fs::metadata(&path).is_ok()));
        time(&mut || assert_eq!(state_of(&path), "online-only"));
        time(&mut || assert!(!root.join(format!("absent-{round}-{number}")).exists()));
    }
    let made = root.join(format!("made-{round}"));
    time(&mut || fs::create_dir(&made).unwrap());
    for number in 0..200 {
        let (path, other) = (made.join(format!("{number}")), made.join(format!("to-{number}")));
        time(&mut || drop(File::create(&path).unwrap()));
        time(&mut || fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap());
        time(&mut || fs::rename(&path, &other).unwrap());
        time(&mut || fs::remove_file(&other).unwrap());
    }
    time(&mut || assert_eq!(fs::read_dir(root.join("known")).unwrap().count(), FILES));
    took
}

fn state_of(path: &Path) -> String {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut value = [0_u8; 64];
    // SAFETY: both names end with NUL, and the value is as long as is said.
    let len =
        unsafe { libc::getxattr(path.as_ptr(), c"user.tarn.state".as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    String::from_utf8(value[..usize::try_from(len).unwrap()].to_vec()).unwrap()
}

#[test]
fn metadata_calls_on_what_is_known_answer_with_the_server_stopped_out_of_reach_and_slow() {
    // What is asked for on a quiet machine is 20 ms; this one may do other things as well.
    let limit = std::env::var("TARN_LATENCY_MS").ok().and_then(|text| text.parse().ok());
    let limit = limit.map_or(CALL_MAX, Duration::from_millis);
    let server = crate::server();
    let relay = Relay::start(server.address()).unwrap();
    let a = Device::mounted(&server, "a").unwrap();
    fs::create_dir(a.join("known")).unwrap();
    (0..FILES).for_each(|number| fs::write(a.join(&format!("known/{number}")), format!("{number:>100}")).unwrap());
    a.wait().unwrap();
    let b = Device::at(&relay.url(), "b").unwrap();
    b.mount().unwrap();
    b.await_online(true);
    assert_eq!(fs::read_dir(b.join("known")).unwrap().count(), FILES);
    let mut worst = Duration::ZERO;
    for (round, case) in ["slow", "swallowed", "refused", "stopped"].into_iter().enumerate() {
        match case {
            "slow" => relay.set(Mode::Late),
            "swallowed" => relay.set(Mode::Swallow),
            "refused" => relay.set(Mode::Refuse),
            _ => {
                server.freeze();
                relay.set(Mode::Pass);
            }
        }
        let mut took = metadata_calls(b.path(), round);
        took.sort_unstable();
        let of = |thousandth: usize| took[(took.len() - 1) * thousandth / 1000];
        println!("{case}: {} calls, p50 {:?}, p99.9 {:?}, most {:?}", took.len(), of(500), of(999), of(1000));
        assert!(of(999) <= limit, "{case}: p99.9 {:?}", of(999));
        worst = worst.max(of(999));
    }
    println!("Figures: p99.9 of at most {worst:?} in four cases");
    server.thaw();
    b.wait().unwrap();
}
