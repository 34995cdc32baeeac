//! Owns the process that outlives a daemon: it starts one, keeps what a mount needs to go on, and starts the next when one
//! has crashed. It knows nothing of files or servers, so that little can go wrong in it. If it is killed itself, the daemon goes
//! on, and the mount lives as long as that.

use super::Place;
use super::handover::{self, Heritage, Message};
use crate::env::{Env, message_pair, mounts};
use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// So many daemons in a row that end by themselves before they serve, or while they begin to, are no accident.
const FAILURES_MAX: u32 = 8;
/// A daemon that has served for so long was sound.
const SOUND_AFTER: Duration = Duration::from_secs(10);
/// How often a daemon that was killed and cannot end is looked at, and how often in vain.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOKS_MAX: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How a daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It ended in order.
    InOrder,
    /// Somebody killed it while it served.
    Killed,
    /// It failed or crashed; whether it had served for long.
    Failed { was_sound: bool },
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The supervisor ends too.
    End,
    /// Another daemon begins after this time.
    Restart(Duration),
    /// The mount is taken away.
    GiveUp,
}

/// Counts failures.
#[derive(Debug, Default)]
struct Patience {
    failures: u32,
}

impl Patience {
    fn next(&mut self, end: End) -> Next {
        match end {
            End::InOrder => return Next::End,
            End::Killed => self.failures = 0,
            End::Failed { was_sound } => self.failures = if was_sound { 1 } else { self.failures + 1 },
        }
        match self.failures {
            0 | 1 => Next::Restart(Duration::ZERO),
            failures if failures > FAILURES_MAX => Next::GiveUp,
            failures => Next::Restart(LONGEST_WAIT.min(FIRST_WAIT * 2u32.pow(failures - 2))),
        }
    }
}

/// Runs daemons until one ends in order. `program` with `arguments` is a daemon, `dir` where it mounts; `release` lets go of
/// the terminal and of whoever waits for the mount.
///
/// # Errors
/// Why there is no mount any more.
pub fn supervise(
    env: &Env,
    program: &Path,
    arguments: &[OsString],
    dir: &Path,
    release: impl Fn() -> io::Result<()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut keeper = Keeper {
            env: env.clone(),
            program: program.to_owned(),
            arguments: arguments.to_vec(),
            heritage: None,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        };
        keeper.run(dir, release).await
    })
}

struct Keeper {
    env: Env,
    program: PathBuf,
    arguments: Vec<OsString>,
    heritage: Option<Heritage>,
    term: Signal,
    int: Signal,
    hangup: Signal,
}

impl Keeper {
    async fn run(&mut self, dir: &Path, release: impl Fn() -> io::Result<()>) -> Result<()> {
        let mut patience = Patience::default();
        for life in 0.. {
            let (status, end) = self.one_life(life, dir, &release).await?;
            let Some(heritage) = &self.heritage else { return without_mount(status) };
            if is_gone(heritage) {
                return Ok(());
            }
            let wait = match patience.next(end) {
                Next::End => return Ok(()),
                Next::GiveUp => return give_up(dir, status),
                Next::Restart(wait) => wait,
            };
            tracing::warn!(%status, life, "the daemon ended without a word; the next one goes on with its mount");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.asked_to_end() => return take_away(dir),
            }
        }
        Ok(())
    }

    /// Starts a daemon and waits for its end.
    async fn one_life(
        &mut self,
        life: u32,
        dir: &Path,
        release: impl Fn() -> io::Result<()>,
    ) -> Result<(ExitStatus, End)> {
        let (ours, theirs) = message_pair()?;
        let heritage = self.heritage.as_ref().map(Heritage::try_clone).transpose()?;
        handover::send(ours.as_fd(), &Message { life, heritage })?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::from(theirs));
        let mut child = command.spawn().context("the daemon cannot be started")?;
        drop(command);
        let flags = rustix::fs::fcntl_getfl(&ours)? | rustix::fs::OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&ours, flags)?;
        // SAFETY: an `OwnedFd` names the same descriptor as long as it lives.
        let ours = unsafe { AsyncFd::register_with_interest(ours, Interest::READABLE)? };
        let (mut served_since, mut looks) = (None, 0);
        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                message = hear(&ours), if served_since.is_none() => {
                    served_since = Some(self.env.clock.monotonic());
                    if life == 0 {
                        self.heritage = message.heritage;
                        release()?;
                    }
                }
                () = self.asked_to_end() => pass_on(&child),
                () = tokio::time::sleep(LOOK_EVERY) => {
                    looks = if is_stuck(&child) { looks + 1 } else { 0 };
                    if looks == LOOKS_MAX {
                        free_stuck(dir);
                    }
                }
            }
        };
        let is_killed = status.signal() == Some(libc::SIGKILL);
        let end = match served_since {
            _ if status.success() => End::InOrder,
            Some(_) if is_killed => End::Killed,
            served => {
                let is_sound = |since| self.env.clock.monotonic().saturating_sub(since) >= SOUND_AFTER;
                End::Failed { was_sound: served.is_some_and(is_sound) }
            }
        };
        Ok((status, end))
    }

    async fn asked_to_end(&mut self) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.int.recv() => return,
                // The terminal is closed: that is no reason to end.
                _ = self.hangup.recv() => {}
            }
        }
    }
}

/// The daemon's message; waits for ever if it ends without one.
async fn hear(socket: &AsyncFd<OwnedFd>) -> Message {
    loop {
        let Ok(mut ready) = socket.readable().await else { return pending().await };
        match handover::receive(socket.get_ref().as_fd()) {
            Ok(message) => return message,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(_) => return pending().await,
        }
    }
}

/// A daemon that is asked to end takes its mount away first.
fn pass_on(child: &Child) {
    if let Some(pid) = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid as i32)) {
        // One that is gone by now has ended.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// Whether a daemon that was killed has a thread in the kernel that waits for an answer that it owed itself.
fn is_stuck(child: &Child) -> bool {
    child.id().is_some_and(|pid| !super::marker::runs(pid))
}

/// Such a daemon ends when its mount's connection does; nothing less is known to help.
fn free_stuck(dir: &Path) {
    let entry = Place::find(dir).map(|place| place.mounted);
    tracing::error!("a killed daemon waits for itself: its mount is ended");
    if let Ok(Some(entry)) = entry
        && let Err(error) = mounts::abort(&entry)
    {
        tracing::error!(%error, "the mount cannot be ended");
    }
}

/// Whether the mount is gone from the kernel: the connection says so.
fn is_gone(heritage: &Heritage) -> bool {
    let mut asked = [PollFd::new(&heritage.device, PollFlags::empty())];
    let answered = poll(&mut asked, Some(&Timespec::default()));
    answered.is_ok_and(|count| count > 0) && asked[0].revents().contains(PollFlags::ERR)
}

/// A daemon that ended before it had mounted has said why.
fn without_mount(status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { bail!("the daemon ended ({status}), and its mount with it") }
}

fn take_away(dir: &Path) -> Result<()> {
    let place = Place::find(dir)?;
    if place.mounted.is_some() {
        mounts::unmount(&place.path, true)?;
    }
    Ok(())
}

fn give_up(dir: &Path, status: ExitStatus) -> Result<()> {
    take_away(dir)?;
    bail!(
        "one daemon after the other ended at once ({status}): the mount is taken away, the log says why; nothing is lost"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASHED: End = End::Failed { was_sound: false };

    #[test]
    fn a_daemon_that_ends_in_order_has_no_successor() {
        assert_eq!(Patience::default().next(End::InOrder), Next::End);
    }

    #[test]
    fn kills_are_no_sign_of_a_defect_however_many() {
        let mut patience = Patience::default();
        for _ in 0..1000 {
            assert_eq!(patience.next(End::Killed), Next::Restart(Duration::ZERO));
        }
    }

    #[test]
    fn crashes_in_a_row_wait_longer_and_longer_and_come_to_an_end() {
        let mut patience = Patience::default();
        let waits: Vec<Next> = (0..FAILURES_MAX).map(|_| patience.next(CRASHED)).collect();
        assert_eq!(waits[0], Next::Restart(Duration::ZERO));
        assert_eq!(waits[1], Next::Restart(FIRST_WAIT));
        assert!(waits.windows(2).all(|pair| matches!(pair, [Next::Restart(one), Next::Restart(next)] if one <= next)));
        assert_eq!(waits.last(), Some(&Next::Restart(LONGEST_WAIT)));
        assert_eq!(patience.next(CRASHED), Next::GiveUp);
    }

    #[test]
    fn who_served_for_long_may_crash_now_and_then() {
        let mut patience = Patience::default();
        for _ in 0..1000 {
            assert_eq!(patience.next(End::Failed { was_sound: true }), Next::Restart(Duration::ZERO));
        }
    }
}
