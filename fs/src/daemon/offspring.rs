//! Owns a daemon's process as its supervisor sees it: how it is started, spoken to and waited for, and how one supervisor leaves it
//! to the program that takes its place.

use super::handover::{self, Heritage, Message};
use super::marker;
use crate::env::message_pair;
use anyhow::{Context, Result};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A daemon.
#[derive(Debug)]
pub(super) struct Daemon {
    pid: Pid,
    /// Readable when it has ended.
    process: AsyncFd<OwnedFd>,
    /// Where it says that it serves.
    pub socket: AsyncFd<OwnedFd>,
    /// The so-many-th of the mount.
    pub life: u32,
    /// It has said so already.
    pub has_served: bool,
}

impl Daemon {
    /// Starts one and says what it is to know.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(program: &Path, arguments: &[OsString], message: &Message) -> Result<Self> {
        let (ours, theirs) = message_pair()?;
        handover::send(ours.as_fd(), message)?;
        let child = Command::new(program).args(arguments).stdin(Stdio::from(theirs)).spawn();
        let child = child.with_context(|| format!("{} cannot be started", program.display()))?;
        Ok(Self::of(child.id(), ours, message.life, false)?)
    }

    fn of(pid: u32, ours: OwnedFd, life: u32, has_served: bool) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        fcntl_setfl(&ours, fcntl_getfl(&ours)? | OFlags::NONBLOCK)?;
        // SAFETY: an `OwnedFd` names the same descriptor as long as it lives.
        let (process, socket) = unsafe {
            let register = AsyncFd::register_with_interest;
            (register(process, Interest::READABLE)?, register(ours, Interest::READABLE)?)
        };
        Ok(Self { pid, process, socket, life, has_served })
    }

    /// Waits for its end. Cancel-safe.
    ///
    /// # Errors
    /// What the system says.
    pub async fn ended(&self) -> io::Result<ExitStatus> {
        loop {
            let mut ready = self.process.readable().await?;
            match waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)? {
                Some(status) => {
                    let (code, signal) = (status.exit_status(), status.terminating_signal());
                    return Ok(ExitStatus::from_raw(code.unwrap_or(0) << 8 | signal.unwrap_or(0)));
                }
                None => ready.clear_ready(),
            }
        }
    }

    /// Sends it a signal. It has not been waited for: the number is its own.
    pub fn signal(&self, signal: Signal) {
        // One that is gone by now has ended.
        let _ = kill_process(self.pid, signal);
    }

    /// Whether it was killed and has a thread in the kernel that waits.
    pub fn is_stuck(&self) -> bool {
        !marker::runs(self.pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Makes this process a supervisor of another program, which goes on with this daemon. Returns why it did not.
    pub fn hand_to_next_supervisor(&self, program: &Path, arguments: &[OsString], heritage: Heritage) -> io::Error {
        match self.next_supervisor(program, arguments, heritage) {
            Ok(mut command) => command.exec(),
            Err(error) => error,
        }
    }

    fn next_supervisor(&self, program: &Path, arguments: &[OsString], heritage: Heritage) -> io::Result<Command> {
        let (ours, theirs) = message_pair()?;
        handover::send(ours.as_fd(), &Message { life: self.life, heritage: Some(heritage), fell_back: false })?;
        let socket = self.socket.get_ref().try_clone()?;
        let mut command = Command::new(program);
        let text = format!("{},{},{}", self.pid.as_raw_nonzero(), theirs.as_raw_fd(), socket.as_raw_fd());
        let (first, rest) = arguments.split_at(arguments.len().min(1));
        command.args(first).arg("--resume").arg(text).args(rest);
        let kept = [theirs, socket];
        // SAFETY: only system calls are made. The descriptors live on in the program that begins.
        unsafe { command.pre_exec(move || kept.iter().try_for_each(|fd| Ok(fcntl_setfd(fd, FdFlags::empty())?))) };
        Ok(command)
    }

    /// The daemon and the heritage that a supervisor left in these words.
    ///
    /// # Errors
    /// What is not so.
    pub fn resume(text: &str) -> Result<(Self, Option<Heritage>)> {
        let mut numbers = text.split(',').map(str::parse::<i32>);
        let mut next = || numbers.next().context("a number is missing")?.context("a number cannot be read");
        let (pid, message, socket) = (next()?, next()?, next()?);
        let owned = |number: i32| {
            // SAFETY: the supervisor before left these two to this process, and nobody else here has them.
            let fd = unsafe { OwnedFd::from_raw_fd(number) };
            fcntl_setfd(&fd, FdFlags::CLOEXEC).map(|()| fd)
        };
        anyhow::ensure!(message > 2 && socket > 2 && message != socket, "these are no descriptors of a supervisor");
        let (message, socket) = (owned(message)?, owned(socket)?);
        let Message { life, heritage, .. } = handover::receive(message.as_fd())?;
        let daemon = Self::of(u32::try_from(pid)?, socket, life, true)?;
        Ok((daemon, heritage))
    }
}
