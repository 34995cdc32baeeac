//! Signals processes by pid, and never the wrong one: a pid is only good together with its start time.

use std::fs;
use std::time::Duration;

/// Whether this process is root's.
pub fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// One process for ever, also after its pid was given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pid: i32,
    started: u64,
}

impl Process {
    /// The process that has this pid now.
    pub fn of_pid(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        start_time(pid).map(|started| Self { pid, started })
    }

    /// Its pid.
    pub fn pid(self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Whether it runs. A zombie does not.
    pub fn lives(self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Sends a signal, if it still runs.
    pub fn signal(self, signal: i32) {
        if self.lives() {
            // SAFETY: kill takes two integers and touches no memory of this process.
            unsafe { libc::kill(self.pid, signal) };
        }
    }

    /// Ends it without warning and waits until it is gone.
    pub fn kill(self) {
        self.signal(libc::SIGKILL);
        crate::wait::within(Duration::from_secs(10), || !self.lives());
    }

    /// Stops it where it stands, and waits until it does.
    pub fn freeze(self) {
        self.signal(libc::SIGSTOP);
        crate::wait::within(Duration::from_secs(10), || self.is_still());
    }

    /// How many calls it has made that write, as the kernel counts them; 0 once it is gone.
    pub fn writes(self) -> u64 {
        let counts = fs::read_to_string(format!("/proc/{}/io", self.pid)).unwrap_or_default();
        let count = counts.lines().find_map(|line| line.strip_prefix("syscw: ")?.parse().ok());
        if self.lives() { count.unwrap_or(0) } else { 0 }
    }

    /// Whether no thread of it does anything: each is stopped, or in a call of the kernel at whose end it will be.
    fn is_still(self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return true };
        let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
        stats
            .filter_map(|stat| stat.rsplit_once(')')?.1.trim_start().chars().next())
            .all(|state| "TtDZX".contains(state))
    }

    /// Lets it go on.
    pub fn thaw(self) {
        self.signal(libc::SIGCONT);
    }

    /// Whether it ends by itself in this time.
    pub fn ends_within(self, deadline: Duration) -> bool {
        crate::wait::within(deadline, || !self.lives())
    }
}

/// Clock ticks from boot to the start of a process that is not a zombie.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may hold blanks and parentheses: count from the last one.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::Command;

    #[test]
    fn a_killed_process_is_seen_as_ended_before_it_is_reaped() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of_pid(child.id()).unwrap();
        assert!(process.lives());
        process.kill();
        assert!(!process.lives());
        child.wait().unwrap();
        assert_eq!(Process::of_pid(child.id()), None);
    }

    #[test]
    fn another_process_of_the_same_pid_is_not_signalled() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let real = Process::of_pid(child.id()).unwrap();
        let earlier = Process { started: real.started - 1, ..real };
        earlier.kill();
        assert!(real.lives() && !earlier.lives());
        real.kill();
        child.wait().unwrap();
    }
}
