//! Finds the programs under test and runs their short commands.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The path of `tarn` or `tarn-server`.
///
/// # Panics
/// If it was not built: tests of the whole need the whole.
pub fn program(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace` first", path.display());
    path
}

/// `TARN_BIN_DIR`, else the folder above the one of the running test.
fn folder() -> PathBuf {
    let beside_test = || {
        let test = std::env::current_exe().expect("a running program has a path");
        test.ancestors().nth(2).expect("tests run from target/PROFILE/deps").to_path_buf()
    };
    std::env::var_os("TARN_BIN_DIR").map_or_else(beside_test, PathBuf::from)
}

/// What a finished command said.
#[derive(Debug)]
pub struct Finished {
    /// The exit status; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Itself, if the command exited with 0.
    ///
    /// # Errors
    /// What the command printed.
    pub fn ok(self) -> Result<Self> {
        if self.code != 0 {
            bail!("exit status {}: {}{}", self.code, self.stdout, self.stderr);
        }
        Ok(self)
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs a command to its end with this standard input.
///
/// # Errors
/// If it cannot be started.
pub fn run(command: &mut Command, input: &str) -> Result<Finished> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("starting {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that refuses its arguments does not read.
        let _ = stdin.write_all(input.as_bytes());
    }
    Ok(child.wait_with_output()?.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn input_output_and_status_come_through() {
        let finished = run(Command::new("sh").args(["-c", "cat; echo no >&2; exit 3"]), "yes").unwrap();
        assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (3, "yes", "no\n"));
        assert!(finished.ok().is_err());
    }
}
