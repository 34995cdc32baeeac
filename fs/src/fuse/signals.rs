//! Owns the answer to "has this caller been told to end?". fuser does not pass the kernel's interrupts on, and a
//! caller whose request waits here cannot end before it is answered.

use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Signals that do not end a process by themselves: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH.
const HARMLESS: u64 = mask(libc::SIGCHLD)
    | mask(libc::SIGCONT)
    | mask(libc::SIGSTOP)
    | mask(libc::SIGTSTP)
    | mask(libc::SIGTTIN)
    | mask(libc::SIGTTOU)
    | mask(libc::SIGURG)
    | mask(libc::SIGWINCH);
/// Signals by which a person ends a program: they count even if the program has a handler, which then runs.
const ASKS_TO_END: u64 = mask(libc::SIGINT) | mask(libc::SIGTERM) | mask(libc::SIGHUP) | mask(libc::SIGQUIT);

const fn mask(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Returns once the thread has a signal pending that would end it, or is gone.
pub(super) async fn told_to_end(tid: u32) {
    if tid == 0 {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match std::fs::read_to_string(format!("/proc/{tid}/status")) {
            Ok(status) if !ends(&status) => {}
            _ => return,
        }
    }
}

/// Whether a thread with this `/proc/TID/status` is about to end.
fn ends(status: &str) -> bool {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| u64::from_str_radix(rest.trim_start_matches(':').trim(), 16).ok()).unwrap_or(0)
    };
    let pending = field("SigPnd") | field("ShdPnd");
    let kill = mask(libc::SIGKILL);
    let caught = field("SigCgt") & !ASKS_TO_END;
    let effective = pending & !field("SigBlk") & !field("SigIgn") & !caught & !HARMLESS;
    pending & kill != 0 || effective != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pending: u64, shared: u64, blocked: u64, ignored: u64, caught: u64) -> String {
        format!(
            "Name:\tcat\nSigPnd:\t{pending:016x}\nShdPnd:\t{shared:016x}\nSigBlk:\t{blocked:016x}\n\
             SigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
        )
    }

    #[test]
    fn a_pending_signal_that_ends_the_process_is_seen() {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGKILL, libc::SIGALRM] {
            assert!(ends(&status(0, mask(signal), 0, 0, 0)));
            assert!(ends(&status(mask(signal), 0, 0, 0, 0)));
        }
    }

    #[test]
    fn blocked_ignored_caught_and_harmless_signals_end_nothing() {
        let alarm = mask(libc::SIGALRM);
        assert!(!ends(&status(0, 0, 0, 0, 0)));
        assert!(!ends(&status(0, alarm, alarm, 0, 0)));
        assert!(!ends(&status(0, alarm, 0, alarm, 0)));
        assert!(!ends(&status(0, alarm, 0, 0, alarm)));
        assert!(!ends(&status(0, mask(libc::SIGCHLD) | mask(libc::SIGWINCH), 0, 0, 0)));
    }

    #[test]
    fn a_caught_interrupt_ends_the_wait_so_that_its_handler_runs() {
        let interrupt = mask(libc::SIGINT);
        assert!(ends(&status(0, interrupt, 0, 0, interrupt)));
    }
}
