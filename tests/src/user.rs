//! An ordinary user beside root, for what must hold without any privilege.

use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The ordinary user that every system has.
const NAME: &str = "nobody";

/// An account without privileges that root may act as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The system's account for nobody in particular.
    ///
    /// # Errors
    /// If there is none.
    pub fn ordinary() -> Result<Self> {
        let passwd = fs::read_to_string("/etc/passwd")?;
        let line = passwd.lines().find(|line| line.split(':').next() == Some(NAME));
        let ids = line.map(|line| line.split(':').skip(2).flat_map(str::parse).collect::<Vec<u32>>());
        match ids.as_deref() {
            Some([uid, gid, ..]) if *uid != 0 => Ok(Self { uid: *uid, gid: *gid }),
            _ => anyhow::bail!("no ordinary user {NAME} in /etc/passwd"),
        }
    }

    /// A command that runs as this user, in no other group.
    pub fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &self.uid.to_string(), "--regid", &self.gid.to_string(), "--clear-groups", "--"]);
        command.arg(program).env_remove("HOME");
        command
    }

    /// Gives a file or folder to this user.
    ///
    /// # Errors
    /// Only root may.
    pub fn own(self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid)).with_context(|| format!("chown {}", path.display()))
    }

    /// A program where this user can start it: itself, or a copy in `folder` if it lies where only others may look.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub fn reach(self, program: PathBuf, folder: &Path) -> Result<PathBuf> {
        if self.command("test").arg("-x").arg(&program).status()?.success() {
            return Ok(program);
        }
        let copy = folder.join(program.file_name().context("a program has a name")?);
        if !copy.exists() {
            fs::copy(&program, &copy)?;
        }
        Ok(copy)
    }
}
