//! Owns telling programs that watch (inotify, fanotify) of changes from elsewhere. The kernel raises such events for system calls
//! and for nothing else; so each change that somebody watches is made once more, as a system call in this very mount, by
//! a process of its own, the player (`player`), and answered as done (`vfs::replay`).
//!
//! Nothing waits for this: what happens is queued, within a bound, and looked at on a thread of its own. First of all
//! that thread asks the system what is watched at all (`env::watched`), so rarely that the asking costs little; what
//! nobody watches is forgotten.

mod orders;
mod plan;
mod player;
mod process;

pub use player::serve_replay;

use super::notices::{Messenger, Notice};
use crate::env::mounts::MountEntry;
use crate::env::{Clock, RealClock, Watched, watched};
use crate::tree::Happening;
use crate::vfs::{Place, Replay, Vfs};
use orders::Said;
use parking_lot::{Condvar, Mutex, MutexGuard};
use plan::{Plan, Step, is_watched};
use process::Player;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

/// Changes that wait to be looked at; what comes when so many wait is not told, as the kernel's own queues do.
const WAITING_MAX: usize = 1 << 16;
/// A player without orders for so long ends.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Between two looks at what is watched lies so many times as long as a look takes; more where the last found nobody.
const SPACING: u32 = 25;
const SPACING_UNWATCHED: u32 = 100;
/// So often an order is repeated if names change meanwhile.
const TRIES: usize = 4;

/// What a mount needs to tell of changes from elsewhere.
pub(super) struct Stage {
    pub kernel: Messenger,
    pub vfs: Arc<Vfs>,
    pub entry: MountEntry,
    pub program: PathBuf,
}

/// The way of changes from elsewhere to those that watch; no change is told before a mount stands.
#[derive(Debug)]
pub(super) struct Replays {
    replay: Arc<Replay>,
    shared: Arc<Shared>,
    sender: Sender<Vec<Happening>>,
    receiver: Mutex<Option<Receiver<Vec<Happening>>>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting_count: AtomicUsize,
    has_stage: AtomicBool,
    is_over: AtomicBool,
    /// Held while the player is in the mount.
    turn: Mutex<()>,
    /// Nothing is told while it rests.
    rests: Mutex<bool>,
    risen: Condvar,
}

impl Default for Replays {
    fn default() -> Self {
        let (sender, receiver) = channel();
        Self { replay: Arc::default(), shared: Arc::default(), sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl Replays {
    /// The player's part in the file system.
    pub fn replay(&self) -> &Arc<Replay> {
        &self.replay
    }

    /// Starts the thread that tells.
    pub fn start(&self, stage: Stage) -> io::Result<()> {
        let Some(receiver) = self.receiver.lock().take() else { return Ok(()) };
        let Stage { kernel, vfs, entry, program } = stage;
        let (granted, mount, device) = (Arc::clone(&self.replay), entry.mount_point.clone(), entry.device);
        let player = Player { program, mount, device, replay: Arc::clone(&granted), running: None };
        let (shared, clock) = (Arc::clone(&self.shared), RealClock::new());
        let next_look = clock.monotonic();
        let teller = Teller { kernel, vfs, entry, granted, player, shared, clock, next_look };
        self.shared.has_stage.store(true, Ordering::Release);
        Builder::new().name("fuse-replay".into()).spawn(move || teller.run(&receiver)).map(drop)
    }

    /// Queues changes; those of a mount that tells of none, and those beyond the bound, are dropped.
    pub fn tell(&self, mut happenings: Vec<Happening>) {
        if !self.shared.has_stage.load(Ordering::Acquire) {
            return;
        }
        let room = WAITING_MAX.saturating_sub(self.shared.waiting_count.load(Ordering::Acquire));
        if happenings.len() > room {
            tracing::info!(
                count = happenings.len() - room,
                "too many changes at once: programs that watch are not told of all"
            );
            happenings.truncate(room);
        }
        self.shared.waiting_count.fetch_add(happenings.len(), Ordering::AcqRel);
        // A thread that has ended tells nothing.
        let _ = self.sender.send(happenings);
    }

    /// Does something while the player is not in the mount, or as soon as it has been waited for it long enough.
    pub fn aside<T>(&self, patience: Duration, work: impl FnOnce() -> T) -> T {
        let _turn = self.shared.turn.try_lock_for(patience);
        work()
    }

    /// Tells nothing more until it rises; returns when the player is not in the mount, or has been waited for long enough.
    pub fn rest(&self, patience: Duration) {
        *self.shared.rests.lock() = true;
        self.aside(patience, || {});
    }

    /// Goes on.
    pub fn rise(&self) {
        *self.shared.rests.lock() = false;
        self.shared.risen.notify_all();
    }

    /// Ends telling.
    pub fn stop(&self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.rise();
        let _ = self.sender.send(Vec::new());
    }
}

impl Shared {
    /// The turn to be in the mount, once nothing rests; `None` if it is over by then.
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        let mut rests = self.rests.lock();
        while *rests {
            self.risen.wait(&mut rests);
        }
        // Taken before who wants rest can ask for it: that one waits for the turn.
        let turn = self.turn.lock();
        (!self.is_over.load(Ordering::Acquire)).then_some(turn)
    }
}

struct Teller {
    kernel: Messenger,
    vfs: Arc<Vfs>,
    entry: MountEntry,
    granted: Arc<Replay>,
    player: Player,
    shared: Arc<Shared>,
    clock: RealClock,
    next_look: Duration,
}

impl Teller {
    fn run(mut self, receiver: &Receiver<Vec<Happening>>) {
        while let Some(happenings) = self.receive(receiver) {
            let started = self.clock.monotonic();
            let watched = watched(self.entry.id, self.entry.device);
            let now = self.clock.monotonic();
            let spacing = if watched.is_empty() { SPACING_UNWATCHED } else { SPACING };
            self.next_look = now + now.saturating_sub(started) * spacing;
            if !watched.is_empty() {
                self.replay(&happenings, &watched);
            }
        }
        self.shared.has_stage.store(false, Ordering::Release);
        self.player.end();
    }

    fn replay(&mut self, happenings: &[Happening], watched: &Watched) {
        let vfs = Arc::clone(&self.vfs);
        let plan = Plan::new(&vfs, happenings);
        let told = happenings.iter().filter(|happening| is_watched(happening, watched, &vfs));
        for step in told.flat_map(|happening| plan.steps(happening)) {
            if self.is_over() {
                return;
            }
            if let Err(error) = self.perform(&step) {
                // Who would be told of the rest would wait as long for each of them.
                return tracing::warn!(%error, "programs that watch are not told of some changes");
            }
        }
    }

    /// Has the player make a call, as often as names change meanwhile.
    fn perform(&mut self, step: &Step) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let Some(_turn) = shared.turn() else { return Ok(()) };
        for _ in 0..TRIES {
            self.forget(&step.unknown);
            self.granted.begin(step.part.clone());
            let said = self.player.ask(&step.order);
            self.granted.finish();
            match said? {
                Said::Stale => {}
                Said::Done => return Ok(()),
                Said::Failed(errno) => {
                    let error = io::Error::from_raw_os_error(errno);
                    tracing::debug!(%error, order = ?step.order, "programs that watch are not told of a change");
                    return Ok(());
                }
            }
        }
        tracing::debug!(order = ?step.order, "a change was over before programs that watch were told");
        Ok(())
    }

    /// Has the kernel look names up anew.
    fn forget(&mut self, places: &[Place]) {
        let notices: Vec<Notice<'_>> = places.iter().map(|(parent, name)| Notice::Entry(*parent, name)).collect();
        // It may not know a name, or not the folder.
        let _ = self.kernel.tell(&notices);
    }

    fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire)
    }

    /// What has happened, once it is time to look who watches; `None` at the end.
    fn receive(&mut self, receiver: &Receiver<Vec<Happening>>) -> Option<Vec<Happening>> {
        let mut all = self.first(receiver)?;
        loop {
            let wait = self.next_look.saturating_sub(self.clock.monotonic());
            match receiver.recv_timeout(wait) {
                Ok(more) => all.extend(more),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            if self.is_over() {
                return None;
            }
        }
        self.shared.waiting_count.fetch_sub(all.len(), Ordering::AcqRel);
        (!self.is_over()).then_some(all)
    }

    fn first(&mut self, receiver: &Receiver<Vec<Happening>>) -> Option<Vec<Happening>> {
        if self.player.is_running() {
            match receiver.recv_timeout(IDLE_MAX) {
                Err(RecvTimeoutError::Timeout) => self.player.end(),
                other => return other.ok(),
            }
        }
        receiver.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_rests_is_not_in_the_mount_until_it_rises_or_all_is_over() {
        for ends in [false, true] {
            let replays = Arc::new(Replays::default());
            replays.rest(Duration::ZERO);
            let (said, heard) = channel();
            let shared = Arc::clone(&replays.shared);
            let teller = std::thread::spawn(move || {
                said.send(()).unwrap();
                let is_in = shared.turn().is_some();
                said.send(()).unwrap();
                is_in
            });
            heard.recv().unwrap();
            replays.aside(Duration::ZERO, || assert!(heard.try_recv().is_err(), "it rests"));
            if ends {
                replays.stop()
            } else {
                replays.rise()
            }
            assert_eq!(teller.join().unwrap(), !ends);
        }
    }

    #[test]
    fn who_wants_rest_waits_for_who_is_in_the_mount() {
        let replays = Arc::new(Replays::default());
        let shared = Arc::clone(&replays.shared);
        let turn = shared.turn().unwrap();
        let resting = Arc::clone(&replays);
        let rest = std::thread::spawn(move || resting.rest(Duration::from_secs(600)));
        while !*replays.shared.rests.lock() {
            std::thread::yield_now();
        }
        assert!(!rest.is_finished());
        drop(turn);
        rest.join().unwrap();
    }
}
