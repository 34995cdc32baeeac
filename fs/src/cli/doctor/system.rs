//! Looks at what mounting needs from the system.

use super::Finding;
use crate::env::mounts::{self, FS_TYPE, Pulse};
use rustix::fs::{Mode, OFlags};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";
const CONFIG: &str = "/etc/fuse.conf";

pub(super) fn look() -> Vec<Finding> {
    let mut all = vec![device(), helper(), config(), passthrough()];
    all.extend(dead_mounts());
    all
}

fn device() -> Finding {
    match rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) => Finding::good("fuse device", DEVICE),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NODEV | rustix::io::Errno::NXIO) => Finding::bad(
            "fuse device",
            format_args!("there is no {DEVICE}: as root, modprobe fuse; a container must be given the device"),
        ),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => {
            Finding::bad("fuse device", format_args!("{DEVICE} may not be opened: as root, chmod 0666 {DEVICE}"))
        }
        Err(error) => Finding::bad("fuse device", format_args!("{DEVICE} cannot be opened: {error}")),
    }
}

fn helper() -> Finding {
    let is_root = rustix::process::geteuid().is_root();
    let Some(path) = in_path(HELPER) else {
        let says = format!("{HELPER} is not installed: apt-get install fuse3");
        return if is_root { Finding::note(HELPER, says) } else { Finding::bad(HELPER, says) };
    };
    let is_setuid = std::fs::metadata(&path).is_ok_and(|meta| meta.permissions().mode() & 0o4000 != 0);
    if is_root || is_setuid {
        return Finding::good(HELPER, path.display());
    }
    let path = path.display();
    Finding::bad(HELPER, format_args!("{path} is not setuid, so only root can mount: as root, chmod u+s {path}"))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn config() -> Finding {
    let text = std::fs::read_to_string(CONFIG).unwrap_or_default();
    if rustix::process::geteuid().is_root() || allows_other(&text) {
        return Finding::good("allow-other", "mounts may be opened to other users (--allow-other)");
    }
    Finding::note("allow-other", format_args!("--allow-other needs the line user_allow_other in {CONFIG}"))
}

fn passthrough() -> Finding {
    if rustix::process::geteuid().is_root() {
        return Finding::good("passthrough", "`tarn status` says whether the kernel reads complete files by itself");
    }
    Finding::note("passthrough", "only in mounts by root does the kernel read complete files by itself; works without")
}

/// Whether fuse.conf lets ordinary users open their mounts to others.
fn allows_other(config: &str) -> bool {
    config.lines().any(|line| line.trim() == "user_allow_other")
}

fn dead_mounts() -> Vec<Finding> {
    let table = match mounts::table() {
        Ok(table) => table,
        Err(error) => return vec![Finding::bad("mounts", format_args!("/proc cannot be read: {error}"))],
    };
    let ours: Vec<_> = table.into_iter().filter(|entry| entry.fs_type == FS_TYPE).collect();
    let of = |entry: &mounts::MountEntry| {
        let path = entry.mount_point.display();
        match mounts::pulse(&entry.mount_point) {
            Pulse::Alive => Finding::good("mounts", format_args!("{path} answers")),
            Pulse::Dead => Finding::bad(
                "mounts",
                format_args!(
                    "the daemon of {path} is gone: tarn mount {path} brings it back, tarn unmount {path} cleans up"
                ),
            ),
            Pulse::Silent => Finding::bad(
                "mounts",
                format_args!("{path} does not answer: see its log; tarn unmount --now {path} takes it away"),
            ),
        }
    };
    if ours.is_empty() { vec![Finding::good("mounts", "none")] } else { ours.iter().map(of).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_of_its_own_allows_others() {
        assert!(allows_other("# comment\n user_allow_other \n"));
        assert!(!allows_other("#user_allow_other\nmount_max = 1000\n"));
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(in_path("sh").is_some());
        assert_eq!(in_path("no-such-program-here"), None);
    }
}
