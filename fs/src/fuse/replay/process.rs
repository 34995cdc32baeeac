//! Owns the player's process as the daemon sees it: it is started when it is needed, has a time for each order, and is ended
//! when it has had nothing to do for a while, when it does not answer, and with the mount. The daemon never waits for the end of one that cannot end: as long
//! as it lives it is known, everything it asks for is refused, and there is no other.

use super::orders::{Order, Said};
use crate::env::{PLAYER, close_on_exec, end_with_parent};
use crate::vfs::Replay;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

/// A player that takes longer for an order does not answer.
const ORDER_WAIT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// How a player is started.
#[derive(Debug)]
pub(super) struct Player {
    pub program: PathBuf,
    pub mount: PathBuf,
    pub device: u32,
    pub replay: Arc<Replay>,
    pub running: Option<Running>,
}

/// One that was started.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// None once it is to end.
    pipes: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Player {
    /// Gives an order and waits for what becomes of it.
    ///
    /// # Errors
    /// There is no player, or none any more.
    pub fn ask(&mut self, order: &Order) -> io::Result<Said> {
        self.ready()?;
        let said = self.running.as_mut().and_then(|running| running.pipes.as_mut()).map(|pipes| exchange(pipes, order));
        let said = said.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()));
        if said.is_err() {
            self.end();
        }
        said
    }

    /// Whether there is one.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Ends it, without waiting.
    pub fn end(&mut self) {
        self.replay.finish();
        if let Some(running) = &mut self.running {
            running.pipes = None;
            // It may have ended by itself.
            let _ = running.child.kill();
        }
        self.reap();
    }

    fn ready(&mut self) -> io::Result<()> {
        if self.running.as_ref().is_some_and(|running| running.pipes.is_none()) {
            self.reap();
        }
        match &self.running {
            Some(Running { pipes: None, .. }) => Err(io::ErrorKind::TimedOut.into()),
            Some(_) => Ok(()),
            None => self.start(),
        }
    }

    /// Lets its number go, if it has ended: not before nobody takes it for the player any more.
    fn reap(&mut self) {
        let Some(running) = &mut self.running else { return };
        let pid = i32::try_from(running.child.id()).ok().and_then(Pid::from_raw);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let is_over = pid.is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)));
        if is_over {
            self.replay.set_player(0);
            if let Err(error) = running.child.wait() {
                tracing::debug!(%error, "the player has ended, somehow");
            }
            self.running = None;
        }
    }

    fn start(&mut self) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        command.arg(PLAYER).arg(&self.mount).arg(self.device.to_string()).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // SAFETY: between fork and exec only system calls are made. The kernel's connection must not live in it.
        unsafe { command.pre_exec(end_with_parent).pre_exec(close_on_exec) };
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipes"));
        };
        // Before it has its first order it asks for nothing.
        self.replay.set_player(child.id());
        self.running = Some(Running { child, pipes: Some((input, BufReader::new(output))) });
        Ok(())
    }
}

fn exchange(pipes: &mut (ChildStdin, BufReader<ChildStdout>), order: &Order) -> io::Result<Said> {
    let (input, output) = pipes;
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    input.write_all(&line)?;
    let mut asked = [PollFd::new(output.get_ref(), PollFlags::IN)];
    if poll(&mut asked, Some(&ORDER_WAIT))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut said = String::new();
    // It writes whole lines.
    output.read_line(&mut said)?;
    Ok(serde_json::from_str(&said)?)
}
