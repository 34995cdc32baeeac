//! A device: its own `TARN_HOME`, signed in to a server, with a mount. Ends its daemon and its mount when dropped.

use crate::mounts::{is_mounted, unmount_by_force, unmount_lazily};
use crate::process::Process;
use crate::programs::{self, Finished, program};
use crate::server::{PASSWORD, Server, USER};
use crate::user::User;
use crate::wait::eventually;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// No command of a test takes longer: one that hangs is ended, and fails.
const COMMAND_SECONDS: &str = "180";

/// One device.
#[derive(Debug)]
pub struct Device {
    name: String,
    home: PathBuf,
    mount: PathBuf,
    mount_args: Vec<String>,
    environment: Vec<(String, String)>,
    survives: bool,
    /// Whose it is, if not the testing user's.
    owner: Option<User>,
    /// None only while dropping, when a mount could not be taken away and its folder must stay.
    folder: Option<TempDir>,
}

impl Device {
    /// Signs in a fresh device of [`USER`].
    ///
    /// # Errors
    /// What `tarn login` said.
    pub fn new(server: &Server, name: &str) -> Result<Self> {
        Self::at(&server.url(), name)
    }

    /// The same, through another URL: that of a relay.
    ///
    /// # Errors
    /// What `tarn login` said.
    pub fn at(url: &str, name: &str) -> Result<Self> {
        Self::unsigned(name)?.signed_in(url)
    }

    /// The same, with its state in a folder of this relative path, however long.
    ///
    /// # Errors
    /// What `tarn login` said.
    pub fn with_home(server: &Server, name: &str, home: &Path) -> Result<Self> {
        let mut device = Self::unsigned(name)?;
        device.home = device.home.join(home);
        fs::create_dir_all(&device.home)?;
        device.signed_in(&server.url())
    }

    fn signed_in(self, url: &str) -> Result<Self> {
        self.login(url)?;
        Ok(self)
    }

    /// Signs in again, as a server wants that does not know this device any more.
    ///
    /// # Errors
    /// What `tarn login` said.
    pub fn sign_in(&self, server: &Server) -> Result<()> {
        self.login(&server.url())
    }

    fn login(&self, url: &str) -> Result<()> {
        let login = ["login", "--server", url, "--user", USER, "--password-stdin", "--device", &self.name];
        self.tarn_with_input(&login, PASSWORD)?.ok().context("tarn login")?;
        Ok(())
    }

    /// A device that nobody has signed in.
    ///
    /// # Errors
    /// If its folders cannot be made.
    pub fn unsigned(name: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tarn-device-").tempdir()?;
        let (home, mount) = (folder.path().join("home"), folder.path().join("mount"));
        fs::create_dir(&home)?;
        fs::create_dir(&mount)?;
        Ok(Self {
            name: name.into(),
            home,
            mount,
            mount_args: Vec::new(),
            environment: Vec::new(),
            survives: false,
            owner: None,
            folder: Some(folder),
        })
    }

    /// Signs in a fresh device that is another user's: all its commands and its daemon run as that user.
    ///
    /// # Errors
    /// What `tarn login` said; only root may.
    pub fn of_user(server: &Server, name: &str, owner: User) -> Result<Self> {
        let mut device = Self::unsigned(name)?;
        for folder in [&device.home, &device.mount, device.folder()] {
            owner.own(folder)?;
        }
        device.owner = Some(owner);
        device.signed_in(&server.url())
    }

    /// Signs in a fresh device and mounts it.
    ///
    /// # Errors
    /// What the commands said.
    pub fn mounted(server: &Server, name: &str) -> Result<Self> {
        let device = Self::new(server, name)?;
        device.mount()?;
        Ok(device)
    }

    /// Another device whose home is a copy of this one's, as it lies there now.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub fn copied(&self, name: &str) -> Result<Self> {
        Self::with_copy_of(&self.home, name)
    }

    /// A device whose home is a copy of this folder.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub fn with_copy_of(home: &Path, name: &str) -> Result<Self> {
        let copy = Self::unsigned(name)?;
        copy_folder(home, &copy.home)?;
        Ok(copy)
    }

    /// Keeps a copy of this device's state, to be put back by [`Device::restore_state`]. It must not be mounted.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub fn back_up_state(&self) -> Result<()> {
        copy_folder(&self.home.join("state"), &self.home.join("backup"))
    }

    /// Puts the state back as it was backed up. It must not be mounted.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub fn restore_state(&self) -> Result<()> {
        fs::remove_dir_all(self.home.join("state"))?;
        copy_folder(&self.home.join("backup"), &self.home.join("state"))
    }

    /// With these further arguments of `tarn mount`, now and at each remount.
    #[must_use]
    pub fn with_mount_args(mut self, args: &[&str]) -> Self {
        self.mount_args = args.iter().map(ToString::to_string).collect();
        self
    }

    /// With this in the environment of its commands, and so of its daemon.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Its mounts survive their daemons. Without this, a killed daemon's mount is dead.
    #[must_use]
    pub fn surviving(mut self) -> Self {
        self.survives = true;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// A path in the mount.
    pub fn join(&self, path: &str) -> PathBuf {
        self.mount.join(path)
    }

    /// Where all its state lies.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Who it is to its server.
    ///
    /// # Errors
    /// If nobody has signed in.
    pub fn credentials(&self) -> Result<Value> {
        Ok(serde_json::from_str(&fs::read_to_string(self.home.join("credentials.json"))?)?)
    }

    /// Mounts it; also after its daemon was killed.
    ///
    /// # Errors
    /// What `tarn mount` said.
    pub fn mount(&self) -> Result<()> {
        let mount = self.mount_path();
        let alone = if self.survives { None } else { Some("--no-supervisor") };
        let given = self.mount_args.iter().map(String::as_str);
        let args: Vec<&str> = ["mount", &mount].into_iter().chain(alone).chain(given).collect();
        self.tarn(&args)?.ok().context("tarn mount")?;
        Ok(())
    }

    /// Unmounts it once everything is on the server.
    ///
    /// # Errors
    /// What `tarn unmount` said.
    pub fn unmount(&self) -> Result<()> {
        self.tarn(&["unmount", &self.mount_path(), "--timeout", "60"])?.ok().context("tarn unmount")?;
        Ok(())
    }

    /// Kills the daemon, as a crash does. The mount point stays, dead.
    ///
    /// # Errors
    /// If the daemon is not known.
    pub fn kill_daemon(&self) -> Result<()> {
        self.daemon()?.kill();
        Ok(())
    }

    /// Ends the daemon without warning; who waits in its mount gets an error at once.
    pub fn kill_with_waiters(&self, daemon: Process) {
        daemon.signal(libc::SIGKILL);
        unmount_by_force(&self.mount);
        daemon.kill();
    }

    /// The process that serves the mount.
    ///
    /// # Errors
    /// If `tarn status` does not name it.
    pub fn daemon(&self) -> Result<Process> {
        let pid = self.status()?["pid"].as_u64().context("no pid in the status")?;
        Process::of_pid(u32::try_from(pid)?).context("the pid of the status is nobody's")
    }

    /// What `tarn status MOUNT --json` says.
    ///
    /// # Errors
    /// If it fails or is not JSON.
    pub fn status(&self) -> Result<Value> {
        let finished = self.tarn(&["status", &self.mount_path(), "--json"])?.ok().context("tarn status")?;
        serde_json::from_str(&finished.stdout).with_context(|| finished.stdout.clone())
    }

    /// One of the counters of the status.
    ///
    /// # Errors
    /// If it is not there.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let status = self.status()?;
        status["counters"][name].as_u64().with_context(|| format!("no counter {name} in {status}"))
    }

    /// Waits until everything this device did is on the server.
    ///
    /// # Errors
    /// What `tarn wait` said.
    pub fn wait(&self) -> Result<()> {
        self.tarn(&["wait", &self.mount_path(), "--timeout", "120"])?.ok().context("tarn wait")?;
        Ok(())
    }

    /// Waits until the daemon is or is not connected.
    ///
    /// # Panics
    /// If that does not come about.
    #[track_caller]
    pub fn await_online(&self, online: bool) {
        let is = || self.status().is_ok_and(|status| status["online"].as_bool() == Some(online));
        eventually(Duration::from_secs(30), &format!("{} says online: {online}", self.name), is);
    }

    /// Runs a `tarn` command as this device.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn tarn(&self, args: &[&str]) -> Result<Finished> {
        self.tarn_with_input(args, "")
    }

    /// The same, with standard input.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn tarn_with_input(&self, args: &[&str], input: &str) -> Result<Finished> {
        let mut command = self.command("timeout");
        command.args(["--kill-after=5", COMMAND_SECONDS]).arg(self.reach(program("tarn"))?).args(args);
        command.envs(self.environment.iter().cloned());
        programs::run(command.env("TARN_HOME", &self.home), input)
    }

    /// A command that runs as the user whose device this is.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.owner.map_or_else(|| Command::new(program.as_ref()), |owner| owner.command(program.as_ref()))
    }

    /// A program where the user whose device this is can start it.
    ///
    /// # Errors
    /// If it must be copied and cannot be.
    pub fn reach(&self, program: PathBuf) -> Result<PathBuf> {
        self.owner.map_or(Ok(program.clone()), |owner| owner.reach(program, self.folder()))
    }

    /// The folder of everything that is this device's.
    fn folder(&self) -> &Path {
        self.folder.as_ref().map_or(&self.home, TempDir::path)
    }

    fn mount_path(&self) -> String {
        self.mount.to_string_lossy().into_owned()
    }

    /// Keeps what its daemons said where `TARN_KEEP_LOGS` says, for who looks into a failure.
    fn keep_log(&self) {
        let Some(folder) = std::env::var_os("TARN_KEEP_LOGS").map(PathBuf::from) else { return };
        for name in ["daemon.log", "daemon.log.1"] {
            let kept = folder.join(format!("{}-{}-{name}", std::process::id(), self.name));
            if fs::copy(self.home.join(name), &kept).is_ok() {
                eprintln!("--- {}: what its daemons said is in {}", self.name, kept.display());
            }
        }
    }

    /// All processes that were started with this device's `TARN_HOME`, whatever became of them since.
    pub fn processes(&self) -> Vec<Process> {
        let mark = [b"TARN_HOME=", self.home.as_os_str().as_bytes()].concat();
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |pid: &u32| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| all.split(|b| *b == 0).any(|one| one == mark))
        };
        pids.filter(is_ours).filter_map(Process::of_pid).collect()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}: {:?}", self.name, self.status().map(|status| status.to_string()));
            self.keep_log();
        }
        let processes = self.processes();
        processes.iter().for_each(|process| process.thaw());
        unmount_lazily(&self.mount);
        for process in processes {
            if !process.ends_within(Duration::from_secs(3)) {
                unmount_by_force(&self.mount);
                process.kill();
            }
        }
        if is_mounted(&self.mount) {
            // Removing the folder would go through the mount.
            let _ = self.folder.take().map(TempDir::keep);
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").args(["-aT", "--"]).args([from, to]).status()?;
    anyhow::ensure!(status.success(), "cp of {} failed", from.display());
    Ok(())
}
