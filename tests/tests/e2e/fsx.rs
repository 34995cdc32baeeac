//! fsx, the exerciser that others wrote: five profiles of random operations, each on a file of its own and all at once. It
//! compares what it reads with what it wrote; meanwhile the files are left alone, or are sent and dropped again and again
//! while a second device changes others. `TARN_FSX_OPERATIONS` gives another number of operations to a profile.

use crate::CONVERGENCE;
use crate::crash_check::given;
use crate::suites::{open_to_all, ordinary_device};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::process::{Process, is_root};
use tarn_tests::server::Server;
use tarn_tests::suites;
use tarn_tests::wait::{eventually, timed, within};

/// A profile: its name, the size of its file, of an operation and what that is a multiple of, and how often it does what
/// beside reading, writing, truncating, syncing and opening again.
struct Profile(&'static str, u32, u32, u32, &'static [(&'static str, u32)]);

const PROFILES: [Profile; 5] = [
    Profile("plain", 256 << 10, 64 << 10, 1, &[]),
    Profile("mmap", 256 << 10, 64 << 10, 1, &[("mapread", 10), ("mapwrite", 10), ("invalidate", 1)]),
    Profile("holes", 256 << 10, 64 << 10, 1, &[("posix_fallocate", 2), ("punch_hole", 3)]),
    Profile(
        "full",
        256 << 10,
        64 << 10,
        1,
        &[
            ("mapread", 10),
            ("mapwrite", 10),
            ("invalidate", 1),
            ("posix_fallocate", 2),
            ("punch_hole", 3),
            ("sendfile", 5),
            ("posix_fadvise", 2),
            ("copy_file_range", 5),
        ],
    ),
    Profile(
        "aligned",
        16 << 20,
        256 << 10,
        4096,
        &[("mapread", 10), ("mapwrite", 10), ("punch_hole", 2), ("copy_file_range", 3)],
    ),
];
const OPTIONAL: [&str; 8] = [
    "mapread",
    "mapwrite",
    "invalidate",
    "posix_fallocate",
    "punch_hole",
    "sendfile",
    "posix_fadvise",
    "copy_file_range",
];

impl Profile {
    /// In the program's own words. A long run has more and smaller operations on the same files. None is of no bytes: the program
    /// takes `posix_fallocate`'s EINVAL for that, which is what POSIX asks for, for an error.
    fn settings(&self, operations: u64) -> String {
        let Self(_, size, operation, align, often) = self;
        let operation = if operations < LONG_RUN { *operation } else { operation / 4 };
        let weight = |name: &&str| often.iter().find(|(of, _)| of == name).map_or(0, |(_, weight)| *weight);
        let optional: String = OPTIONAL.iter().map(|name| format!("{name} = {}\n", weight(name))).collect();
        format!(
            "flen = {size}\n[opsize]\nmin = {align}\nmax = {operation}\nalign = {align}\n[weights]\nclose_open = 1\nread = 10\nwrite = 10\n\
             truncate = 3\nfsync = 0.2\nfdatasync = 0.2\n{optional}"
        )
    }
}

/// One that runs. It is ended with the test.
struct Running<'a> {
    device: &'a Device,
    program: &'a Path,
    scratch: &'a Path,
    name: &'static str,
    turn: u64,
    /// Operations of later turns.
    left: u64,
    child: Child,
    process: Process,
}

/// Operations after which a profile begins anew, with another seed. The program never unmaps what it read through a map, nor closes
/// what it opened before, and the kernel looks at all maps of a page that is written back: the time of an operation grows
/// with the number of those before, on any disk, and after some 65,000 maps there are no more.
const TURN: u64 = 10_000;

impl<'a> Running<'a> {
    fn start(
        device: &'a Device,
        program: &'a Path,
        profile: &Profile,
        scratch: &'a Path,
        operations: u64,
    ) -> Running<'a> {
        let name = profile.0;
        fs::write(scratch.join(format!("{name}.toml")), profile.settings(operations)).unwrap();
        let (child, process) = begin(device, program, scratch, name, (1, operations.min(TURN)));
        Self { device, program, scratch, name, turn: 1, left: operations.saturating_sub(TURN), child, process }
    }

    /// Whether it is done; begins the next turn if it is not.
    fn is_over(&mut self) -> bool {
        let Some(status) = self.child.try_wait().unwrap() else { return false };
        let said = fs::read_to_string(log(self.scratch, self.name)).unwrap();
        let last: Vec<&str> = said.lines().rev().take(15).collect();
        assert!(status.success(), "fsx {}, seed {}: {status}: {last:#?}", self.name, self.turn);
        if self.left == 0 {
            return true;
        }
        let now = self.left.min(TURN);
        (self.turn, self.left) = (self.turn + 1, self.left - now);
        (self.child, self.process) = begin(self.device, self.program, self.scratch, self.name, (self.turn, now));
        false
    }
}

fn log(scratch: &Path, name: &str) -> PathBuf {
    scratch.join(format!("{name}.log"))
}

/// One turn of a profile, on its file, which it empties first.
fn begin(
    device: &Device,
    program: &Path,
    scratch: &Path,
    name: &str,
    (seed, operations): (u64, u64),
) -> (Child, Process) {
    let mut command = device.command(program);
    command.arg("-q").arg("-f").arg(scratch.join(format!("{name}.toml"))).arg("-P").arg(scratch);
    command.args(["-S", &seed.to_string(), "-N", &operations.to_string()]).arg(device.join("fsx").join(name));
    let output = File::create(log(scratch, name)).unwrap();
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    let child = command.spawn().unwrap();
    let process = Process::of_pid(child.id()).unwrap();
    (child, process)
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.process.kill();
        // It may have been waited for by now.
        let _ = self.child.wait();
    }
}

/// Operations of each profile from which on a run is a long one.
const LONG_RUN: u64 = 500_000;

/// Each program writes so often before all is sent and dropped again, in a long run that fraction of its operations: the server
/// keeps all versions.
const WRITES_BETWEEN: u64 = 100;
const WRITES_BETWEEN_SHARE: u64 = 2_000;
/// And takes no longer for that, on a machine that does other things too.
const PROGRESS_MAX: Duration = Duration::from_secs(120);

/// What is done beside.
struct Meanwhile<'a> {
    device: &'a Device,
    other: &'a Device,
    writes: u64,
    rounds: usize,
}

impl Meanwhile<'_> {
    /// The other device changes other files; then everything is sent, and dropped while the programs stand still.
    fn round(&mut self, running: &[Running<'_>]) {
        for number in 0..20 {
            fs::write(self.other.join(&format!("others/{number}")), format!("{number} {}", self.rounds)).unwrap();
        }
        self.other.wait().unwrap();
        let goals: Vec<_> = running.iter().map(|one| (one.process, one.process.writes() + self.writes)).collect();
        let is_there = |(process, goal): &(Process, u64)| !process.lives() || process.writes() >= *goal;
        eventually(PROGRESS_MAX, "the programs write", || goals.iter().all(is_there));
        running.iter().for_each(|one| one.process.freeze());
        self.device.wait().unwrap();
        let folder = self.device.join("fsx");
        self.device.tarn(&["evict", &folder.to_string_lossy()]).unwrap().ok().unwrap();
        running.iter().for_each(|one| one.process.thaw());
        self.rounds += 1;
    }
}

/// Runs all profiles at once to their end, with something done beside again and again.
fn exercise(device: &Device, program: PathBuf, operations: u64, mut beside: impl FnMut(&[Running<'_>])) -> String {
    let scratch = tempfile::tempdir().unwrap();
    open_to_all(scratch.path());
    let program = device.reach(program).unwrap();
    assert!(device.command("mkdir").arg(device.join("fsx")).status().unwrap().success());
    let start = |profile| Running::start(device, &program, profile, scratch.path(), operations);
    let ((), took) = timed(|| {
        let mut running: Vec<Running<'_>> = PROFILES.iter().map(start).collect();
        while !running.is_empty() {
            beside(&running);
            running.retain_mut(|one| !one.is_over());
        }
    });
    format!("5 profiles of {operations} operations in {:.0} s", took.as_secs_f64())
}

/// Another device has the same bytes in the end.
fn arrives(device: &Device, other: &Device) {
    device.wait().unwrap();
    for Profile(name, ..) in &PROFILES {
        let path = format!("fsx/{name}");
        let mine = device.command("cat").arg(device.join(&path)).output().unwrap();
        assert!(mine.status.success());
        eventually(CONVERGENCE, &path, || fs::read(other.join(&path)).is_ok_and(|bytes| bytes == mine.stdout));
    }
}

fn exercise_while_dropped(server: &Server, device: &Device, program: PathBuf, operations: u64) {
    let other = Device::mounted(server, "other").unwrap();
    fs::create_dir(other.join("others")).unwrap();
    let operations = given("TARN_FSX_OPERATIONS", operations);
    let writes = WRITES_BETWEEN.max(operations / WRITES_BETWEEN_SHARE);
    let mut meanwhile = Meanwhile { device, other: &other, writes, rounds: 0 };
    let figures = exercise(device, program, operations, |running| meanwhile.round(running));
    let (rounds, fetched) = (meanwhile.rounds as u64, device.counter("frames_fetched").unwrap());
    println!("Figures: {figures}; sent and dropped {rounds} times, {fetched} frames fetched again");
    assert!(rounds > 5 && fetched > rounds, "{rounds} rounds, {fetched} frames");
    arrives(device, &other);
}

fn posix_device(server: &Server) -> Option<Device> {
    if !is_root() {
        eprintln!("skipped: only root may write into the top folder of a new account with --posix");
        return None;
    }
    let device = Device::new(server, "a").unwrap().with_mount_args(&["--posix"]);
    device.mount().unwrap();
    Some(device)
}

#[test]
fn fsx_reads_what_it_wrote_on_local_files_while_the_server_is_gone() {
    let Some(program) = suites::find("TARN_FSX", "fsx") else { return };
    let server = crate::server();
    let device = posix_device(&server).unwrap_or_else(|| ordinary_device(&server));
    server.stop().unwrap();
    // Nothing but waiting for them.
    let figures = exercise(&device, program, given("TARN_FSX_OPERATIONS", 10_000), |running| {
        within(Duration::from_millis(200), || running.iter().all(|one| !one.process.lives()));
    });
    println!("Figures: {figures}");
    server.restart().unwrap();
    arrives(&device, &Device::mounted(&server, "other").unwrap());
}

#[test]
fn fsx_reads_what_it_wrote_while_its_files_are_sent_and_dropped_and_others_change() {
    let Some(program) = suites::find("TARN_FSX", "fsx") else { return };
    let server = crate::server();
    exercise_while_dropped(&server, &ordinary_device(&server), program, 10_000);
}

#[test]
fn fsx_reads_what_it_wrote_on_a_mount_by_root_while_its_files_are_sent_and_dropped_and_others_change() {
    let Some(program) = suites::find("TARN_FSX", "fsx") else { return };
    let server = crate::server();
    if let Some(device) = posix_device(&server) {
        exercise_while_dropped(&server, &device, program, 3_000);
    }
}
