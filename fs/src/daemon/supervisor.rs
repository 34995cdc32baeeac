//! Owns the process that outlives a daemon: it starts one, keeps what a mount needs to go on, and starts the next when one
//! has crashed. It knows nothing of files or servers, so that little can go wrong in it. If it is killed itself, the daemon goes
//! on, and the mount lives as long as that.

use super::Place;
use super::handover::{self, Heritage, Message};
use super::life::ROOM_STATUS;
use super::offspring::Daemon;
use crate::env::{Env, mounts};
use anyhow::{Result, bail};
use rustix::process::Signal as Number;
use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// So many daemons in a row that end by themselves before they serve, or while they begin to, are no accident.
const FAILURES_MAX: u32 = 8;
/// A daemon that has served for so long was sound.
const SOUND_AFTER: Duration = Duration::from_secs(10);
/// How often a daemon that was killed and cannot end is looked at, and how often in vain.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOKS_MAX: u32 = 5;
/// A daemon of a program that was installed meanwhile begins within this time, or the one before does.
const BEGIN_WAIT: Duration = Duration::from_secs(30);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How a daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It ended in order.
    InOrder,
    /// Somebody killed it while it served.
    Killed,
    /// It made room for the next one.
    MadeRoom,
    /// It failed before it served, or could not even be started.
    Unfit,
    /// Somebody killed it before it served: that says little of its program.
    KilledEarly,
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
            End::Killed | End::MadeRoom => self.failures = 0,
            End::Unfit | End::KilledEarly => self.failures += 1,
            End::Failed { was_sound } => self.failures = if was_sound { 1 } else { self.failures + 1 },
        }
        match self.failures {
            0 | 1 => Next::Restart(Duration::ZERO),
            failures if failures > FAILURES_MAX => Next::GiveUp,
            failures => Next::Restart(LONGEST_WAIT.min(FIRST_WAIT * 2u32.pow(failures - 2))),
        }
    }
}

/// Which program the next daemon is of.
#[derive(Debug, Default)]
struct Choice {
    /// The program that is installed did not begin: daemons are of the supervisor's.
    fell_back: bool,
    /// The last daemon was killed before it served.
    was_killed_early: bool,
}

impl Choice {
    /// What follows from a daemon's end; `is_own` says that the program that is installed is the supervisor's.
    fn after(&mut self, end: End, is_own: bool) {
        let was_killed_early = std::mem::replace(&mut self.was_killed_early, end == End::KilledEarly);
        self.fell_back = match end {
            End::MadeRoom => false,
            // Whichever it was, the other one may be able to.
            End::Unfit => !self.fell_back,
            // Twice in a row is no accident: it may be too large for this machine.
            End::KilledEarly if was_killed_early => !self.fell_back,
            End::KilledEarly | End::InOrder | End::Killed | End::Failed { .. } => self.fell_back,
        } && !is_own;
    }
}

/// What is run, and how.
#[derive(Debug)]
pub struct Programs {
    /// Where this program is installed: another version may lie there by now.
    pub program: PathBuf,
    /// Arguments that make it a daemon.
    pub daemon: Vec<OsString>,
    /// Those that make it a supervisor, which goes on where this one stands if `--resume` and a text come behind the first.
    pub supervisor: Vec<OsString>,
    /// That text, if this is such a one.
    pub resume: Option<String>,
}

/// Runs daemons until one ends in order. `dir` is where they mount; `release` lets go of the terminal and of whoever waits
/// for the mount.
///
/// # Errors
/// Why there is no mount any more.
pub fn supervise(env: &Env, programs: Programs, dir: &Path, release: impl Fn() -> io::Result<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (resumed, heritage) = match &programs.resume {
            None => (None, None),
            Some(text) => {
                let (daemon, heritage) = Daemon::resume(text)?;
                (Some(daemon), heritage)
            }
        };
        let mut keeper = Keeper {
            env: env.clone(),
            programs,
            heritage,
            choice: Choice::default(),
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
        };
        keeper.run(dir, resumed, release).await
    })
}

struct Keeper {
    env: Env,
    programs: Programs,
    heritage: Option<Heritage>,
    choice: Choice,
    term: Signal,
    int: Signal,
    hangup: Signal,
    usr1: Signal,
}

/// What somebody asks a supervisor for.
enum Ask {
    /// The mount is to be taken away.
    End,
    /// The next daemon is to begin.
    Room,
}

impl Keeper {
    async fn run(
        &mut self,
        dir: &Path,
        mut resumed: Option<Daemon>,
        release: impl Fn() -> io::Result<()>,
    ) -> Result<()> {
        let mut patience = Patience::default();
        let mut life = resumed.as_ref().map_or(0, |daemon| daemon.life);
        loop {
            let daemon = resumed.take().map_or_else(|| self.start(life), Ok);
            let (how, end) = match daemon {
                Ok(daemon) => self.one_life(daemon, dir, &release).await?,
                Err(error) if life == 0 => return Err(error),
                Err(error) => (format!("{error:#}"), End::Unfit),
            };
            let Some(heritage) = &self.heritage else { return without_mount(&how, end) };
            if heritage.is_gone() {
                return Ok(());
            }
            let wait = match patience.next(end) {
                Next::End => return Ok(()),
                Next::GiveUp => return give_up(dir, &how),
                Next::Restart(wait) => wait,
            };
            self.choose(end, &how);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.asked_to_end() => return take_away(dir),
            }
            life += 1;
        }
    }

    /// Says what has happened, and which program is next.
    fn choose(&mut self, end: End, how: &str) {
        self.choice.after(end, is_own(&self.programs.program));
        let next = if self.choice.fell_back { "the program that the supervisor is of" } else { "what is installed" };
        match end {
            End::MadeRoom => {
                tracing::info!("the daemon made room; what is installed now goes on with its mount");
            }
            End::Unfit => tracing::error!(how, next, "the daemon could not go on with the mount"),
            End::KilledEarly => tracing::warn!(how, next, "the daemon was killed before it went on with the mount"),
            _ => tracing::warn!(how, "the daemon ended without a word; the next one goes on with its mount"),
        }
    }

    fn start(&self, life: u32) -> Result<Daemon> {
        let heritage = self.heritage.as_ref().map(Heritage::try_clone).transpose()?;
        let own = Path::new("/proc/self/exe");
        let program = if self.choice.fell_back { own } else { &self.programs.program };
        let message = Message { life, heritage, fell_back: self.choice.fell_back };
        Daemon::start(program, &self.programs.daemon, &message)
    }

    /// Waits for a daemon's end: how it ended, and what that means.
    async fn one_life(
        &mut self,
        daemon: Daemon,
        dir: &Path,
        release: impl Fn() -> io::Result<()>,
    ) -> Result<(String, End)> {
        let began = self.env.clock.monotonic();
        let is_tried = daemon.life > 0 && !self.choice.fell_back && !is_own(&self.programs.program);
        let (mut served_since, mut looks) = (daemon.has_served.then(|| self.env.clock.monotonic()), 0);
        let mut is_late = false;
        let status = loop {
            tokio::select! {
                status = daemon.ended() => break status?,
                message = hear(&daemon.socket), if served_since.is_none() => {
                    served_since = Some(self.env.clock.monotonic());
                    if daemon.life == 0 {
                        self.heritage = message.heritage;
                        release()?;
                    } else if !self.choice.fell_back {
                        self.become_what_is_installed(&daemon);
                    }
                }
                ask = self.asked() => daemon.signal(match ask {
                    Ask::End => Number::TERM,
                    Ask::Room => Number::USR1,
                }),
                () = tokio::time::sleep(LOOK_EVERY) => {
                    let waited = self.env.clock.monotonic().saturating_sub(began);
                    if is_tried && served_since.is_none() && waited > BEGIN_WAIT {
                        is_late = true;
                        daemon.signal(Number::KILL);
                    }
                    looks = if daemon.is_stuck() { looks + 1 } else { 0 };
                    if looks == LOOKS_MAX {
                        free_stuck(dir);
                    }
                }
            }
        };
        let end = match self.end_of(status, daemon.life, served_since) {
            End::KilledEarly if is_late => End::Unfit,
            end => end,
        };
        Ok((status.to_string(), end))
    }

    fn end_of(&self, status: ExitStatus, life: u32, served_since: Option<Duration>) -> End {
        let Some(since) = served_since else {
            return match () {
                // The first one has said why it did not mount.
                () if status.success() && life == 0 => End::InOrder,
                () if status.signal() == Some(libc::SIGKILL) => End::KilledEarly,
                () => End::Unfit,
            };
        };
        match () {
            () if status.success() => End::InOrder,
            () if status.code() == Some(ROOM_STATUS) => End::MadeRoom,
            () if status.signal() == Some(libc::SIGKILL) => End::Killed,
            () => End::Failed { was_sound: self.env.clock.monotonic().saturating_sub(since) >= SOUND_AFTER },
        }
    }

    /// A daemon of the program that is installed serves: so this process becomes that program as well, if it is another one.
    fn become_what_is_installed(&self, daemon: &Daemon) {
        let Programs { program, supervisor, .. } = &self.programs;
        if is_own(program) {
            return;
        }
        let Some(heritage) = self.heritage.as_ref().and_then(|heritage| heritage.try_clone().ok()) else { return };
        tracing::info!("the supervisor becomes what is installed");
        let error = daemon.hand_to_next_supervisor(program, supervisor, heritage);
        tracing::warn!(%error, "the supervisor stays what it was");
    }

    async fn asked(&mut self) -> Ask {
        loop {
            tokio::select! {
                _ = self.term.recv() => return Ask::End,
                _ = self.int.recv() => return Ask::End,
                _ = self.usr1.recv() => return Ask::Room,
                // The terminal is closed: that is no reason to end.
                _ = self.hangup.recv() => {}
            }
        }
    }

    async fn asked_to_end(&mut self) {
        while !matches!(self.asked().await, Ask::End) {}
    }
}

/// Whether a program is the very one that this process runs.
fn is_own(program: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let which = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    which(program) == which(Path::new("/proc/self/exe"))
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

/// A daemon that was killed and waits in the kernel for an answer that it owed itself ends when its mount's connection does;
/// nothing less is known to help.
fn free_stuck(dir: &Path) {
    let entry = Place::find(dir).map(|place| place.mounted);
    tracing::error!("a killed daemon waits for itself: its mount is ended");
    if let Ok(Some(entry)) = entry
        && let Err(error) = mounts::abort(&entry)
    {
        tracing::error!(%error, "the mount cannot be ended");
    }
}

/// A daemon that ended before it had mounted has said why.
fn without_mount(how: &str, end: End) -> Result<()> {
    if end == End::InOrder { Ok(()) } else { bail!("the daemon ended ({how}), and its mount with it") }
}

fn take_away(dir: &Path) -> Result<()> {
    let place = Place::find(dir)?;
    if place.mounted.is_some() {
        mounts::unmount(&place.path, true)?;
    }
    Ok(())
}

fn give_up(dir: &Path, how: &str) -> Result<()> {
    take_away(dir)?;
    bail!(
        "one daemon after the other ended at once ({how}): the mount is taken away, the log says why; nothing is lost"
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
    fn who_makes_room_is_followed_at_once_and_who_cannot_begin_is_counted() {
        let mut patience = Patience { failures: FAILURES_MAX };
        assert_eq!(patience.next(End::MadeRoom), Next::Restart(Duration::ZERO));
        let nexts: Vec<Next> = (0..=FAILURES_MAX).map(|_| patience.next(End::Unfit)).collect();
        assert_eq!((nexts[0], nexts.last()), (Next::Restart(Duration::ZERO), Some(&Next::GiveUp)));
    }

    #[test]
    fn one_kill_before_it_serves_is_no_sign_that_a_program_is_unfit_and_two_are() {
        let fell_back_after = |ends: &[End], is_own| {
            let mut choice = Choice::default();
            ends.iter().for_each(|end| choice.after(*end, is_own));
            choice.fell_back
        };
        assert!(fell_back_after(&[End::Unfit], false) && !fell_back_after(&[End::Unfit, End::Unfit], false));
        assert!(!fell_back_after(&[End::KilledEarly], false));
        assert!(fell_back_after(&[End::KilledEarly, End::KilledEarly], false));
        assert!(!fell_back_after(&[End::KilledEarly, End::Killed, End::KilledEarly], false));
        assert!(fell_back_after(&[End::Unfit, End::KilledEarly, End::Killed], false), "it is what goes on");
        assert!(!fell_back_after(&[End::Unfit, End::MadeRoom], false));
        assert!(!fell_back_after(&[End::Unfit], true), "there is nothing else to fall back to");
        let mut patience = Patience::default();
        let ends = (0..=FAILURES_MAX).map(|_| patience.next(End::KilledEarly));
        assert_eq!(ends.last(), Some(Next::GiveUp), "it is tried for ever neither");
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
