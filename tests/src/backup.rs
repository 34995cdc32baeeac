//! Backups of a server: its data as they were while it did not run, and the server put back to them.

use crate::programs::{self, Finished, program};
use crate::server::Server;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

impl Server {
    /// Copies everything that it keeps. It is stopped for that and started again.
    ///
    /// # Errors
    /// If it cannot be copied, or does not come up again.
    pub fn back_up(&self) -> Result<()> {
        self.stop()?;
        copy(&self.data(), &self.data().with_extension("backup"))?;
        if let Some(database) = self.database() {
            database.back_up()?;
        }
        self.restart()
    }

    /// Puts the backup back, tells the server so, and starts it.
    ///
    /// # Errors
    /// If it cannot be copied, or does not come up again.
    pub fn put_back(&self) -> Result<()> {
        self.kill();
        fs::remove_dir_all(self.data())?;
        copy(&self.data().with_extension("backup"), &self.data())?;
        if let Some(database) = self.database() {
            database.put_back()?;
        }
        self.restore()?.ok()?;
        self.restart()
    }

    /// Runs `tarn-server restore`.
    ///
    /// # Errors
    /// If the command cannot be started.
    pub fn restore(&self) -> Result<Finished> {
        let mut command = Command::new(program("tarn-server"));
        command.arg("restore");
        match self.database() {
            Some(database) => command.args(["--database", &database.url()]),
            None => command.arg("--data").arg(self.data()),
        };
        programs::run(&mut command, "")
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut cp = Command::new("cp");
    cp.args(["-aT", "--"]).args([from, to]);
    programs::run(&mut cp, "")?.ok().with_context(|| format!("{}", from.display()))?;
    Ok(())
}
