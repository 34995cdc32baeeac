//! Owns knowing the processes that replay changes from elsewhere for a daemon: by their command line, which a process shows
//! until its very end, and to everybody.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The command that makes this program such a process; the mount comes next.
pub const PLAYER: &str = "replay-changes";

/// The command that makes this program the process that gives notices to the kernel.
pub const MESSENGER: &str = "tell-kernel";

/// The mount that a process is the player of.
fn mount_of(pid: u32) -> Option<Vec<u8>> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).skip(1);
    (words.next()? == PLAYER.as_bytes()).then(|| words.next().map(<[u8]>::to_vec)).flatten()
}

/// Whether this process is a player, of whatever mount.
pub fn is_player(pid: u32) -> bool {
    mount_of(pid).is_some()
}

/// Ends the players that an earlier daemon of this mount left, and says who they were: one that waits for an answer ends
/// when it has it.
pub fn end_players_of(mount: &Path) -> Vec<u32> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let of_mount = |pid: &u32| mount_of(*pid).is_some_and(|of| OsStr::from_bytes(&of) == mount.as_os_str());
    let left: Vec<u32> = pids.filter(of_mount).collect();
    for pid in &left {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
            // One that is gone by now has ended.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::{Child, Command, Stdio};

    /// A shell that runs a script of the command's name: its command line is a player's.
    fn start(folder: &Path, mount: &str) -> Child {
        std::fs::write(folder.join(PLAYER), "read line\n").unwrap();
        let mut command = Command::new("sh");
        command.args([PLAYER, mount]).current_dir(folder).stdin(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn players_are_known_by_their_command_line_and_ended_by_their_mount() {
        let folder = tempfile::tempdir().unwrap();
        let (mut left, mut other) = (start(folder.path(), "/mnt/one"), start(folder.path(), "/mnt/other"));
        // Until then it has the command line of this process.
        while !(is_player(left.id()) && is_player(other.id())) {
            std::thread::yield_now();
        }
        assert!(!is_player(std::process::id()) && !is_player(u32::MAX));
        assert_eq!(end_players_of(Path::new("/mnt/one")), [left.id()]);
        assert!(!left.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        drop(other.stdin.take());
        other.wait().unwrap();
    }
}
