//! A service manager as small as can be: it starts the service that docs/systemd.md describes, hears what that says, and keeps
//! its descriptors, as systemd does.

use sendfd::RecvWithFd;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::programs::program;
use tarn_tests::wait::eventually;
use tempfile::TempDir;

const UNITS: &str = include_str!("../../../../docs/systemd.md");
/// The first descriptor that a service gets.
const FIRST: RawFd = 3;
/// Where nothing that a process begins with lies.
const HIGH: RawFd = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// What a unit of the document says.
pub fn setting(name: &str) -> &'static str {
    let line = UNITS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("docs/systemd.md has no {name}="))
}

/// The manager of one service.
pub struct Manager<'d> {
    device: &'d Device,
    socket: UnixDatagram,
    path: PathBuf,
    _folder: TempDir,
    main: Option<Child>,
    pub store: Vec<(String, OwnedFd)>,
    is_ready: bool,
}

impl<'d> Manager<'d> {
    pub fn new(device: &'d Device) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { device, socket, path, _folder: folder, main: None, store: Vec::new(), is_ready: false }
    }

    /// Starts the service with what is kept, and waits until it says that it is ready.
    pub fn start(&mut self) {
        let mut words = setting("ExecStart").split(' ');
        assert!(words.next().is_some_and(|path| path.ends_with("/tarn")));
        let mut command = Command::new("sh");
        command.args(["-c", "export LISTEN_PID=$$; exec \"$@\"", "sh"]).arg(program("tarn"));
        command.args(words.map(|word| word.replace("%h/Tarn", self.device.path().to_str().unwrap())));
        command.env("TARN_HOME", self.device.home()).env("NOTIFY_SOCKET", &self.path).stdin(Stdio::null());
        command.env("FDSTORE", setting("FileDescriptorStoreMax")).stdout(Stdio::null()).stderr(Stdio::null());
        if !self.store.is_empty() {
            let names: Vec<&str> = self.store.iter().map(|(name, _)| name.as_str()).collect();
            command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        }
        let kept: Vec<OwnedFd> = self.store.iter().map(|(_, fd)| copy_to(fd, HIGH)).collect();
        let hand_over = move || {
            for (place, fd) in (FIRST..).zip(&kept) {
                // SAFETY: it takes two integers; whatever was at the place is this process's copy of something.
                if unsafe { libc::dup2(fd.as_raw_fd(), place) } < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: only system calls are made between fork and exec.
        unsafe { command.pre_exec(hand_over) };
        self.is_ready = false;
        self.main = Some(command.spawn().unwrap());
        // The copies go with it: a lock is held as long as there is one.
        drop(command);
        eventually(PATIENCE, "the service is ready", || {
            self.hear();
            let ended = self.main.as_mut().and_then(|main| main.try_wait().unwrap());
            assert!(ended.is_none(), "the service ended: {ended:?}");
            self.is_ready
        });
    }

    /// Kills it, as a crash does.
    pub fn kill(&mut self) {
        self.main.as_mut().unwrap().kill().unwrap();
        self.ended();
    }

    /// Waits for the end of the service.
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually(PATIENCE, "the service ends", || {
            self.hear();
            status = self.main.as_mut().unwrap().try_wait().unwrap();
            status.is_some()
        });
        self.hear();
        self.main = None;
        status.unwrap()
    }

    /// Takes in all that was said.
    fn hear(&mut self) {
        let (mut text, mut fds) = ([0; 4096], [0; 8]);
        while let Ok((bytes, count)) = self.socket.recv_with_fd(&mut text, &mut fds) {
            // SAFETY: they have just come, and are nobody else's.
            let fds: Vec<OwnedFd> = fds[..count].iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }).collect();
            let said = String::from_utf8_lossy(&text[..bytes]).into_owned();
            let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            self.is_ready |= value("READY") == Some("1");
            let name = value("FDNAME").unwrap_or("stored").to_owned();
            if value("FDSTOREREMOVE") == Some("1") {
                self.store.retain(|(kept, _)| *kept != name);
            } else if value("FDSTORE") == Some("1") {
                for fd in fds {
                    // What is kept already is not kept twice.
                    if !self.store.iter().any(|(_, kept)| is_same(kept, &fd)) {
                        self.store.push((name.clone(), fd));
                    }
                }
            }
        }
        let max = setting("FileDescriptorStoreMax").parse::<usize>().unwrap();
        assert!(self.store.len() <= max, "more than FileDescriptorStoreMax");
    }

    /// The names of what is kept.
    pub fn kept(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.store.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Manager<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.device.home().join("daemon.log")).unwrap_or_default());
        }
        if let Some(mut main) = self.main.take() {
            let _ = main.kill();
            let _ = main.wait();
        }
    }
}

fn copy_to(fd: &OwnedFd, least: RawFd) -> OwnedFd {
    // SAFETY: the descriptor is open, and the copy is nobody else's.
    unsafe { OwnedFd::from_raw_fd(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least)) }
}

/// Whether both are the same open file.
fn is_same(one: &OwnedFd, other: &OwnedFd) -> bool {
    const KCMP_FILE: libc::c_int = 0;
    let pid = std::process::id() as libc::pid_t;
    // SAFETY: it compares, and takes integers only.
    unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, KCMP_FILE, one.as_raw_fd(), other.as_raw_fd()) == 0 }
}
