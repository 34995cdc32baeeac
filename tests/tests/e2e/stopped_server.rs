//! Who waits for a server that stands still gets the right bytes when it goes on, or an error in time, and nobody else
//! waits for it: not `sync` or `df` of everything, not other mounts, not who takes the mount away.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::mounts::is_mounted;
use tarn_tests::programs::run;
use tarn_tests::relay::{Mode, Relay};
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::{eventually, timed};

const READERS: usize = 12;
const SIZE: usize = 1_500_000;
/// A machine that does other things may take this long for what waits for no network; calls that do would wait longer.
const SOON: Duration = Duration::from_secs(60);
const PATIENT: [&str; 2] = ["--read-timeout", "600s"];

fn cold_bytes(number: usize) -> Vec<u8> {
    Seed::new(900 + number as u64).bytes(SIZE)
}

/// The server gets files that no other device has read.
fn with_cold_files(server: &Server) -> Device {
    let a = Device::mounted(server, "a").unwrap();
    (0..READERS).for_each(|number| fs::write(a.join(&format!("cold-{number}")), cold_bytes(number)).unwrap());
    a.wait().unwrap();
    a
}

/// A program that copies a file out of the mount; ended with the test.
struct Reader(Child);

impl Reader {
    fn start(file: &Path, to: &Path) -> Self {
        let to = File::create(to).unwrap();
        let mut command = Command::new("cat");
        Self(command.arg(file).stdout(to).stderr(Stdio::null()).spawn().unwrap())
    }

    fn waits(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        stat.contains("(cat) D ") || stat.contains("(cat) S ")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It may be gone by now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads all cold files while nothing comes, and lets it come once all readers wait.
fn wait_and_compare(device: &Device, stop: impl Fn(), go_on: impl Fn()) {
    let place = tempfile::tempdir().unwrap();
    (0..READERS).for_each(|number| {
        assert_eq!(fs::metadata(device.join(&format!("cold-{number}"))).unwrap().len(), SIZE as u64)
    });
    stop();
    let out = |number: usize| place.path().join(number.to_string());
    let start = |number: usize| Reader::start(&device.join(&format!("cold-{number}")), &out(number));
    let mut readers: Vec<Reader> = (0..READERS).map(start).collect();
    eventually(SOON, "all readers wait", || readers.iter().all(Reader::waits));
    go_on();
    for (number, reader) in readers.iter_mut().enumerate() {
        assert!(reader.0.wait().unwrap().success(), "reader {number}");
        assert!(fs::read(out(number)).unwrap() == cold_bytes(number), "the bytes of file {number}");
    }
}

#[test]
fn a_read_that_waited_for_a_stopped_server_gets_the_exact_bytes() {
    let server = crate::server();
    let _a = with_cold_files(&server);
    let b = Device::new(&server, "b").unwrap().with_mount_args(&PATIENT);
    b.mount().unwrap();
    b.await_online(true);
    wait_and_compare(&b, || server.freeze(), || server.thaw());
}

#[test]
fn a_read_that_waited_while_all_packets_were_dropped_gets_the_exact_bytes() {
    let server = crate::server();
    let _a = with_cold_files(&server);
    let relay = Relay::start(server.address()).unwrap();
    let b = Device::at(&relay.url(), "b").unwrap().with_mount_args(&PATIENT);
    b.mount().unwrap();
    b.await_online(true);
    wait_and_compare(&b, || relay.set(Mode::Swallow), || relay.set(Mode::Pass));
}

#[test]
fn a_read_ends_with_an_error_after_its_timeout_and_at_once_when_there_is_no_network() {
    let server = crate::server();
    let _a = with_cold_files(&server);
    let b = Device::new(&server, "b").unwrap().with_mount_args(&["--read-timeout", "3s"]);
    b.mount().unwrap();
    b.await_online(true);
    let read = |number: usize| {
        let (outcome, took) = timed(|| fs::read(b.join(&format!("cold-{number}"))));
        (outcome.unwrap_err().raw_os_error().unwrap(), took)
    };
    server.freeze();
    let (errno, took) = read(0);
    assert!([libc::EIO, libc::ENETUNREACH].contains(&errno), "{errno}");
    // The kernel asks twice before it tells a program; it does not wait twice.
    assert!(took < 2 * Duration::from_secs(3), "{took:?}");
    server.thaw();
    assert!(fs::read(b.join("cold-0")).unwrap() == cold_bytes(0), "a failed read leaves nothing wrong behind");
    server.kill();
    b.await_online(false);
    for _ in 0..3 {
        let (errno, took) = read(1);
        assert_eq!(errno, libc::ENETUNREACH);
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    server.restart().unwrap();
    b.await_online(true);
    assert!(fs::read(b.join("cold-1")).unwrap() == cold_bytes(1));
}

/// A mount whose server stands still, with a program that waits in it and work that is not sent.
fn stuck(server: &Server, place: &Path) -> (Device, Reader) {
    let b = Device::new(server, "b").unwrap().with_mount_args(&PATIENT);
    b.mount().unwrap();
    b.await_online(true);
    assert_eq!(fs::metadata(b.join("cold-0")).unwrap().len(), SIZE as u64);
    server.freeze();
    fs::write(b.join("dirty"), cold_bytes(77)).unwrap();
    let reader = Reader::start(&b.join("cold-0"), &place.join("out"));
    eventually(SOON, "the reader waits", || reader.waits());
    (b, reader)
}

#[test]
fn df_sync_and_other_mounts_wait_for_no_stopped_server() {
    let (server, other) = (crate::server(), crate::server());
    let _a = with_cold_files(&server);
    let elsewhere = Device::mounted(&other, "elsewhere").unwrap();
    let place = tempfile::tempdir().unwrap();
    let (b, reader) = stuck(&server, place.path());
    let dirty = File::open(b.join("dirty")).unwrap();
    let in_time = |what: &str, act: &mut dyn FnMut()| {
        let ((), took) = timed(act);
        assert!(took < SOON, "{what} took {took:?}");
    };
    let command =
        |program: &str, args: &[&Path]| run(Command::new(program).args(args), "").unwrap().ok().unwrap().stdout;
    in_time("df of the mount", &mut || assert!(command("df", &[b.path()]).contains("tarn")));
    in_time("df of everything", &mut || drop(run(&mut Command::new("df"), "").unwrap()));
    in_time("sync of the file", &mut || dirty.sync_all().unwrap());
    in_time("sync of the folder", &mut || File::open(b.path()).unwrap().sync_all().unwrap());
    // SAFETY: it takes the descriptor of an open file and touches no memory.
    in_time("syncfs", &mut || assert_eq!(unsafe { libc::syncfs(dirty.as_raw_fd()) }, 0));
    in_time("sync of everything", &mut || drop(command("sync", &[])));
    in_time("another mount", &mut || {
        fs::write(elsewhere.join("f"), "text").unwrap();
        elsewhere.wait().unwrap();
        assert_eq!(fs::read_to_string(elsewhere.join("f")).unwrap(), "text");
    });
    in_time("a listing", &mut || assert_eq!(fs::read_dir(b.path()).unwrap().count(), READERS + 1));
    assert!(reader.waits(), "all of that was done while it waited");
    server.thaw();
    b.wait().unwrap();
}

#[test]
fn a_mount_goes_away_at_once_though_its_server_stands_still_and_says_before_who_holds_it() {
    let server = crate::server();
    let _a = with_cold_files(&server);
    let place = tempfile::tempdir().unwrap();
    let (b, mut reader) = stuck(&server, place.path());
    let mount = b.path().display().to_string();
    let refused = b.tarn(&["unmount", &mount, "--timeout", "2"]).unwrap();
    assert!(refused.code != 0 && is_mounted(b.path()), "{refused:?}");
    let pid = format!("pid {}", reader.0.id());
    let busy = refused.stderr.contains(&pid);
    assert!(busy || refused.code == 3, "{refused:?}");
    let (done, took) = timed(|| b.tarn(&["unmount", &mount, "--now"]).unwrap());
    assert!(done.code == 0 && took < SOON, "{done:?} {took:?}");
    assert!(!is_mounted(b.path()));
    assert!(!reader.0.wait().unwrap().success());
    server.thaw();
    b.mount().unwrap();
    b.wait().unwrap();
    assert!(fs::read(b.join("dirty")).unwrap() == cold_bytes(77));
}
