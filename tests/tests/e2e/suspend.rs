//! The machine sleeps: programs that wait for the network get their answer or an error first, so that they can be frozen after
//! the daemon, and what happened meanwhile is there when it wakes.

mod logind;

use crate::converge;
use libc::IN_CREATE;
use logind::Logind;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::freezer::Freezer;
use tarn_tests::process::Process;
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::eventually;
use tarn_tests::watch::Watcher;

/// How long the system waits for whoever asked it to: logind, unless told otherwise, and one that is told.
const DELAY_MAX: Duration = Duration::from_secs(5);
const LONG_DELAY_MAX: Duration = Duration::from_secs(60);
const COLD_BYTES: usize = 100_000;
/// The kernel gives up falling asleep when it could not freeze all processes in this time.
const FREEZE_MAX: Duration = Duration::from_secs(20);

/// A shell that reads a file with `cat` when told to, tells what became of it, and stays.
struct Program {
    shell: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start() -> Self {
        let script = "while read file; do cat \"$file\" 2>&1 >/dev/null; echo \"ended with $?\"; done";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let output = BufReader::new(shell.stdout.take().unwrap()).lines();
        Self { shell, output }
    }

    fn read(&mut self, file: &Path) {
        writeln!(self.shell.stdin.as_mut().unwrap(), "{}", file.display()).unwrap();
    }

    /// Whether its `cat` is in a call that does not return.
    fn waits(&self) -> bool {
        let pid = self.shell.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let stat = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        children.split_whitespace().any(|pid| stat(pid).contains("(cat) D "))
    }

    /// What it says until its `cat` has ended.
    fn outcome(&mut self) -> String {
        let mut said = String::new();
        while !said.contains("ended with") {
            said.push_str(&self.output.next().unwrap().unwrap());
        }
        said
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be gone by now.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Freezes the daemon first, then the program, as the kernel may do it; then lets both go on.
fn freeze_both(device: &Device, program: &Program) {
    let groups = (Freezer::new("daemon"), Freezer::new("programs"));
    let (Some(daemon), Some(programs)) = groups else {
        return eprintln!("not frozen: this process may not make control groups");
    };
    daemon.add(device.daemon().unwrap().pid()).unwrap();
    programs.add(program.shell.id()).unwrap();
    daemon.freeze().unwrap();
    eventually(FREEZE_MAX, "the daemon is frozen", || daemon.is_frozen());
    programs.freeze().unwrap();
    eventually(FREEZE_MAX, "programs are frozen after the daemon", || programs.is_frozen());
}

/// A device that has made a file, and one for which the machine waits before it sleeps: it knows the file and has none of it.
fn with_a_cold_file(server: &Server, logind: &Logind, bytes: &[u8]) -> (Device, Device) {
    let a = Device::mounted(server, "a").unwrap();
    fs::write(a.join("cold"), bytes).unwrap();
    a.wait().unwrap();
    let b = Device::new(server, "b").unwrap().with_mount_args(&["--read-timeout", "300s"]);
    let b = b.with_env("DBUS_SYSTEM_BUS_ADDRESS", &logind.address());
    b.mount().unwrap();
    eventually(Duration::from_secs(30), "the machine waits for the mount", || logind.is_delayed());
    assert_eq!(fs::metadata(b.join("cold")).unwrap().len(), bytes.len() as u64);
    (a, b)
}

#[test]
fn the_machine_falls_asleep_with_blocked_readers_and_goes_on_at_once_when_it_wakes() {
    let logind = Logind::start(DELAY_MAX);
    let server = crate::server();
    let bytes = Seed::new(20).bytes(COLD_BYTES);
    let (a, b) = with_a_cold_file(&server, &logind, &bytes);
    b.await_online(true);
    let mut program = Program::start();

    server.freeze();
    program.read(&b.join("cold"));
    eventually(Duration::from_secs(30), "a reader waits", || program.waits());
    logind.says(true);
    eventually(DELAY_MAX, "the machine may sleep", || !logind.is_delayed());
    let outcome = program.outcome();
    assert!(outcome.contains("Network is unreachable") && outcome.ends_with("ended with 1"), "{outcome}");
    let refused = fs::read(b.join("cold")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENETUNREACH), "nobody waits any more");
    freeze_both(&b, &program);
    server.thaw();
    fs::write(a.join("news"), "while you slept").unwrap();
    a.wait().unwrap();
    assert!(!b.join("news").exists(), "it is not awake yet");

    logind.says(false);
    let news = || fs::read(b.join("news")).is_ok_and(|text| text == b"while you slept");
    eventually(Duration::from_secs(10), "what happened meanwhile is there", news);
    program.read(&b.join("cold"));
    assert_eq!(program.outcome(), "ended with 0");
    assert_eq!(fs::read(b.join("cold")).unwrap(), bytes);
    eventually(Duration::from_secs(10), "the machine waits for the mount again", || logind.is_delayed());
    converge(&a, &b);
}

#[test]
fn what_is_on_its_way_when_the_machine_falls_asleep_may_finish() {
    let logind = Logind::start(LONG_DELAY_MAX);
    let server = crate::server();
    // One call of `cat` reads it.
    let (a, b) = with_a_cold_file(&server, &logind, &Seed::new(21).bytes(COLD_BYTES));
    let mut program = Program::start();
    server.freeze();
    program.read(&b.join("cold"));
    eventually(Duration::from_secs(30), "a reader waits", || program.waits());
    logind.says(true);
    server.thaw();
    assert_eq!(program.outcome(), "ended with 0", "who waited already got its bytes");
    eventually(LONG_DELAY_MAX, "the machine may sleep", || !logind.is_delayed());
    // What was written while it fell asleep goes up when it is awake.
    fs::write(b.join("late"), "late").unwrap();
    logind.says(false);
    converge(&a, &b);
}

/// A device for which the machine waits before it sleeps.
fn delaying(server: &Server, logind: &Logind, name: &str) -> Device {
    let device = Device::new(server, name).unwrap().with_env("DBUS_SYSTEM_BUS_ADDRESS", &logind.address());
    device.mount().unwrap();
    eventually(Duration::from_secs(30), "the machine waits for the mount", || logind.is_delayed());
    device
}

/// A process of a device's daemon that was started with this word.
fn helper(device: &Device, word: &str) -> Option<Process> {
    let command = |pid: u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_it = |process: &Process| command(process.pid()).split(|byte| *byte == 0).any(|part| part == word.as_bytes());
    device.processes().into_iter().find(is_it)
}

#[test]
fn no_verification_looks_at_the_mount_while_the_machine_sleeps() {
    let logind = Logind::start(DELAY_MAX);
    let server = crate::server();
    let b = delaying(&server, &logind, "b");
    // It takes a while.
    (0..300).for_each(|number| fs::create_dir(b.join(&format!("d{number}"))).unwrap());
    let mut verify = b.command("env");
    verify.arg(tarn_tests::programs::program("tarn")).arg("verify").arg(b.path()).env("TARN_HOME", b.home());
    let mut verify = verify.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // Stopped as soon as it is there: it would have been through soon.
    let mut walker = None;
    eventually(Duration::from_secs(30), "a process looks at the mount", || {
        walker = helper(&b, "--walker");
        walker.inspect(|walker| walker.freeze()).is_some()
    });
    logind.says(true);
    eventually(DELAY_MAX, "the machine may sleep", || !logind.is_delayed());
    assert!(walker.unwrap().ends_within(Duration::from_secs(5)), "it is not left in the mount");
    let mut said = String::new();
    verify.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!verify.wait().unwrap().success() && said.contains("the machine falls asleep"), "{said}");
    logind.says(false);
    eventually(Duration::from_secs(30), "it can be verified again", || {
        b.tarn(&["verify", &b.path().display().to_string()]).unwrap().code == 0
    });
}

#[test]
fn programs_that_watch_are_told_of_nothing_while_the_machine_sleeps_and_of_all_when_it_wakes() {
    const FILES: usize = 4_000;
    let logind = Logind::start(DELAY_MAX);
    let server = crate::server();
    let (a, b) = (Device::mounted(&server, "a").unwrap(), delaying(&server, &logind, "b"));
    fs::create_dir(a.join("docs")).unwrap();
    converge(&a, &b);
    let mut watcher = Watcher::new(&[&b.join("docs")]).unwrap();
    logind.says(true);
    eventually(DELAY_MAX, "the machine may sleep", || !logind.is_delayed());
    (0..FILES).for_each(|number| fs::write(a.join(&format!("docs/{number}")), "").unwrap());
    a.wait().unwrap();
    // It wakes, and falls asleep again while it tells of what it found.
    logind.says(false);
    eventually(Duration::from_secs(30), "the machine waits for the mount again", || logind.is_delayed());
    let mut told = || watcher.seen().iter().filter(|event| event.mask & IN_CREATE != 0).count();
    eventually(Duration::from_secs(60), "something is told", || told() > 0);
    logind.says(true);
    eventually(DELAY_MAX, "the machine may sleep", || !logind.is_delayed());
    let before = told();
    assert!(before < FILES, "it was in the middle of it");
    // What is known is looked at meanwhile, which takes longer than to tell of one more.
    (0..200).for_each(|number| assert!(!b.join(&format!("absent {number}")).exists()));
    assert_eq!(told(), before, "told of while the machine sleeps");
    logind.says(false);
    eventually(Duration::from_secs(120), "all is told", || told() == FILES);
    converge(&a, &b);
}
