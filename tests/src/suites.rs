//! Foreign judges of a file system: pjdfstest and fsx, of the versions that `scripts/test` installs.

use crate::programs;
use anyhow::{Result, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What this file system claims beyond what each must have.
const FEATURES: [&str; 5] = ["posix_fallocate", "rename_ctime", "stat_st_birthtime", "utime_now", "utimensat"];

/// The program that `variable` names, else the one of this name on the path. None if there is none and none is required.
///
/// # Panics
/// If `TARN_TEST_REQUIRE_SUITES` is set and there is none: a suite that is not run has not passed.
pub fn find(variable: &str, name: &str) -> Option<PathBuf> {
    let on_path = || {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
    };
    let found = std::env::var_os(variable).map(PathBuf::from).or_else(on_path);
    let required = std::env::var_os("TARN_TEST_REQUIRE_SUITES").is_some();
    assert!(found.is_some() || !required, "{name} is missing: run scripts/test, or name it with {variable}");
    if found.is_none() {
        eprintln!("skipped: there is no {name} here; scripts/test installs it");
    }
    found
}

/// What pjdfstest said of its cases.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Cases that passed.
    pub passed: usize,
    /// Names of those that failed, each with what the suite says of it.
    pub failed: Vec<String>,
    /// Names of those that were not run, with the suite's reasons.
    pub skipped: Vec<(String, String)>,
}

impl Report {
    /// Reads the suite's output.
    ///
    /// # Errors
    /// If it did not run to its end, or its own sum is another.
    pub fn parse(output: &str) -> Result<Self> {
        let (mut report, mut lines) = (Self::default(), output.lines().peekable());
        let mut total = None;
        while let Some(line) = lines.next() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut reasons = || {
                let more = std::iter::from_fn(|| lines.next_if(|line| line.starts_with('\t')));
                more.map(str::trim).collect::<Vec<_>>().join("; ")
            };
            match words[..] {
                [_, "ok"] => report.passed += 1,
                [name, "skipped"] => report.skipped.push((name.into(), reasons())),
                [name, "FAILED"] => report.failed.push(format!("{name}: {}", reasons())),
                ["Summary:", .., all, "total"] => total = all.parse().ok(),
                _ => {}
            }
        }
        let counted = report.passed + report.failed.len() + report.skipped.len();
        ensure!(total == Some(counted), "{counted} cases, {total:?} by its own count:\n{output}");
        Ok(report)
    }
}

/// A socket's path has at most 107 bytes, of which the names that pjdfstest makes take 60.
const PJDFSTEST_PLACE_MAX: usize = 47;

/// Runs pjdfstest, or those of its cases whose names contain `filter`, in `place`. `scratch` takes its settings.
///
/// # Errors
/// If it does not run to its end; if the path of `place` is so long that its sockets have no room for theirs.
pub fn pjdfstest(mut command: Command, place: &Path, scratch: &Path, filter: Option<&str>) -> Result<Report> {
    let room = place.as_os_str().len() <= PJDFSTEST_PLACE_MAX;
    ensure!(room, "{} is too long for the paths of sockets: set TMPDIR to a shorter one", place.display());
    let settings = scratch.join("pjdfstest.toml");
    fs::write(&settings, pjdfstest_settings(filter.is_some())?)?;
    command.arg("-c").arg(&settings).arg("-p").arg(place).args(["-s", "/dev/shm"]).args(filter);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", remounting(scratch)?.display())).env("NO_COLOR", "1");
    let finished = programs::run(&mut command, "")?;
    Report::parse(&finished.stdout)
        .map_err(|error| error.context(format!("status {}: {}", finished.code, finished.stderr)))
}

/// Two accounts that every Debian has, each with its own group.
fn pjdfstest_settings(may_remount: bool) -> Result<String> {
    let mut accounts = Vec::new();
    for name in ["nobody", "daemon"] {
        let group = programs::run(Command::new("id").args(["-gn", name]), "")?.ok()?.stdout;
        accounts.push(format!("[\"{name}\", \"{}\"]", group.trim()));
    }
    let features = FEATURES.map(|feature| format!("{feature} = {{}}\n")).concat();
    let accounts = accounts.join(", ");
    Ok(format!(
        "[features]\n{features}[settings]\nnaptime = 0.02\nallow_remount = {may_remount}\n[dummy_auth]\nentries = [{accounts}]\n"
    ))
}

/// A folder with a `mount` that asks the kernel: for FUSE, the system's own would start another daemon to remount.
fn remounting(scratch: &Path) -> Result<PathBuf> {
    let folder = scratch.join("remounting");
    fs::create_dir_all(&folder)?;
    let real = programs::run(Command::new("sh").args(["-c", "command -v mount"]), "")?.ok()?.stdout;
    let script = folder.join("mount");
    fs::write(&script, format!("#!/bin/sh\nexec {} -i \"$@\"\n", real.trim()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_report_counts_names_reasons_and_believes_no_run_that_stopped() {
        let said = "chmod::mode   ok\nlink::max   skipped\n\tunknown limit\n\tno root\nopen::x   FAILED\n\tno: EIO\n";
        let whole = format!("{said}\nSummary: 1 failed, 1 skipped, 1 passed, 0 expected failures, 3 total\n");
        let report = Report::parse(&whole).unwrap();
        assert_eq!((report.passed, report.failed), (1, vec!["open::x: no: EIO".to_string()]));
        assert_eq!(report.skipped, [("link::max".to_string(), "unknown limit; no root".to_string())]);
        assert!(Report::parse(said).is_err());
        assert!(Report::parse(&whole.replace("open::x   FAILED", "open::x   lost")).is_err());
    }
}
