//! Owns the way of invalidations to the kernel: a queue and a thread of its own, which has a process of its own tell it
//! (`notices`). A worker thread, or anybody under a lock that a call takes, must not send them: the kernel may need an answer
//! for the same inode first.

use super::notices::{Messenger, Notice};
use super::replay::{Replays, Stage};
use super::unknown::Unknown;
use crate::env::mounts::mounted_at;
use crate::meta::rows::Ino;
use crate::tree::{Happening, Invalidation, Notifier};
use crate::vfs::{ForgetAttributes, Replay, Stale, Vfs};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

enum Message {
    Batch(Vec<Invalidation>),
    Happened(Vec<Happening>),
    /// Somebody wants to know when all before it has been told.
    Asked(SyncSender<()>),
    Stop,
}

/// Queues invalidations for the kernel; made before the mount, attached to it when it stands.
#[derive(Debug)]
pub struct KernelNotifier {
    queue: Sender<Message>,
    waiting: Mutex<Option<Receiver<Message>>>,
    stale: Arc<Stale>,
    replays: Arc<Replays>,
    player: Option<PathBuf>,
}

impl Default for KernelNotifier {
    fn default() -> Self {
        let (queue, waiting) = channel();
        Self { queue, waiting: Mutex::new(Some(waiting)), stale: Arc::default(), replays: Arc::default(), player: None }
    }
}

impl KernelNotifier {
    /// One that has this program give notices to the kernel, and tell those that watch of changes from elsewhere.
    pub fn with_player(program: PathBuf) -> Self {
        Self { player: Some(program), ..Self::default() }
    }

    /// The player's part in the file system, for [`crate::vfs::Vfs::new`].
    pub fn replay(&self) -> &Arc<Replay> {
        self.replays.replay()
    }

    pub(super) fn replays(&self) -> &Arc<Replays> {
        &self.replays
    }

    /// Begins to tell programs that watch, on a mount that stands.
    pub(super) fn begin_replays(&self, device: OwnedFd, vfs: Arc<Vfs>, mountpoint: &Path) -> io::Result<()> {
        // Nobody can make a call that changes anything on a read-only mount, whatever it is answered.
        let Some(program) = self.player.clone().filter(|_| !vfs.options().read_only) else { return Ok(()) };
        let Some(entry) = mounted_at(mountpoint)? else { return Ok(()) };
        let kernel = Messenger::new(device, Some(program.clone()));
        self.replays.start(Stage { kernel, vfs, entry, program })
    }

    /// Brings everything that is told to rest: the kernel has heard of all that has changed, or has been waited for long enough,
    /// and programs that watch are told of nothing more until [`Self::rise`].
    pub fn rest(&self, patience: Duration) {
        let (answer, told) = sync_channel(1);
        if self.queue.send(Message::Asked(answer)).is_ok() {
            // A notifier that has ended tells nothing.
            let _ = told.recv_timeout(patience);
        }
        self.replays.rest(patience);
    }

    /// Goes on.
    pub fn rise(&self) {
        self.replays.rise();
    }

    /// The inodes whose invalidations are on their way, for [`crate::vfs::Vfs::new`].
    pub fn stale(&self) -> &Arc<Stale> {
        &self.stale
    }

    /// Starts the thread that sends. Only the first mount gets one.
    pub(super) fn attach(&self, device: OwnedFd, vfs: Arc<Vfs>) -> io::Result<Option<JoinHandle<()>>> {
        let Some(waiting) = self.waiting.lock().take() else { return Ok(None) };
        // Of attributes the kernel is told without a process of its own: for these it waits for nothing.
        self.stale.attach(Box::new(Told(Mutex::new(Messenger::new(device.try_clone()?, None)))));
        let (stale, replays) = (Arc::clone(&self.stale), Arc::clone(&self.replays));
        let kernel = Messenger::new(device, self.player.clone());
        let run = move || run(&waiting, kernel, &stale, &replays, || vfs.monotonic());
        let thread = Builder::new().name("fuse-notify".into()).spawn(run)?;
        Ok(Some(thread))
    }

    /// Ends the thread; what is queued after that goes nowhere.
    pub(super) fn detach(&self) {
        self.replays.stop();
        let _ = self.queue.send(Message::Stop);
    }
}

/// The kernel, for what it is told by whoever answers a call: attributes alone, for which it waits for nothing.
#[derive(Debug)]
struct Told(Mutex<Messenger>);

impl ForgetAttributes for Told {
    fn forget_attributes(&self, ino: Ino) {
        self.0.lock().tell(&[Notice::Attributes(ino)]).iter().for_each(report);
    }
}

impl Notifier for KernelNotifier {
    fn happened(&self, batch: Vec<Happening>) {
        // Through the same queue: whoever is told must find what was invalidated before.
        let _ = self.queue.send(Message::Happened(batch));
    }

    fn announce(&self, batch: &[Invalidation]) {
        self.stale.note_attributes();
        touched(batch).iter().for_each(|ino| self.stale.enter(*ino));
    }

    fn invalidate(&self, batch: Vec<Invalidation>) {
        let touched = touched(&batch);
        if self.queue.send(Message::Batch(batch)).is_err() {
            touched.iter().for_each(|ino| self.stale.leave(*ino));
        }
    }
}

/// Tells the kernel, message after message, and again what it did not know.
fn run(waiting: &Receiver<Message>, kernel: Messenger, stale: &Stale, replays: &Replays, now: impl Fn() -> Duration) {
    let mut teller = Teller { kernel, stale, unknown: Unknown::default() };
    loop {
        match receive(waiting, teller.unknown.wait(now())) {
            Ok(None) => {}
            Ok(Some(Message::Batch(batch))) => teller.tell(&batch, now()),
            Ok(Some(Message::Happened(batch))) => replays.tell(batch),
            // Who asked may not wait any more.
            Ok(Some(Message::Asked(answer))) => drop(answer.try_send(())),
            Ok(Some(Message::Stop)) | Err(RecvError) => return,
        }
        teller.tell_again(now());
    }
}

/// The next message; `None` after so long without one.
fn receive(waiting: &Receiver<Message>, within: Option<Duration>) -> Result<Option<Message>, RecvError> {
    let Some(within) = within else { return waiting.recv().map(Some) };
    match waiting.recv_timeout(within) {
        Ok(message) => Ok(Some(message)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(RecvError),
    }
}

struct Teller<'s> {
    kernel: Messenger,
    stale: &'s Stale,
    unknown: Unknown,
}

impl Teller<'_> {
    fn tell(&mut self, batch: &[Invalidation], now: Duration) {
        // Last, what the kernel has of the listings: the entries are gone from it by then.
        let folders = folders(batch);
        let notices: Vec<Notice<'_>> =
            batch.iter().map(notice).chain(folders.iter().map(|folder| Notice::Content(*folder))).collect();
        let told = self.kernel.tell(&notices);
        told.iter().for_each(report);
        for (invalidation, told) in batch.iter().zip(&told) {
            if let Invalidation::Attributes(ino) | Invalidation::Content(ino) = invalidation
                && is_unknown(told)
            {
                self.unknown.note(*ino, now);
            }
        }
        for ino in touched(batch) {
            if !self.unknown.takes(ino) {
                self.stale.leave(ino);
            }
        }
    }

    fn tell_again(&mut self, now: Duration) {
        let inodes = self.unknown.due(now);
        let notices: Vec<Notice<'_>> = inodes.iter().map(|ino| Notice::Attributes(*ino)).collect();
        for (ino, told) in inodes.iter().zip(self.kernel.tell(&notices)) {
            let owed = self.unknown.told(*ino, !is_unknown(&told), now);
            (0..owed).for_each(|_| self.stale.leave(*ino));
        }
    }
}

fn is_unknown(told: &io::Result<()>) -> bool {
    told.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn notice(invalidation: &Invalidation) -> Notice<'_> {
    match invalidation {
        Invalidation::Attributes(ino) => Notice::Attributes(*ino),
        Invalidation::Content(ino) => Notice::Content(*ino),
        Invalidation::Entry { parent, name } | Invalidation::Gone { parent, name, .. } => Notice::Entry(*parent, name),
    }
}

/// A mount that is ending refuses everything; that is its good right.
fn report(sent: &io::Result<()>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "the kernel did not take an invalidation");
    }
}

/// Inodes whose pages or listing change.
fn touched(batch: &[Invalidation]) -> BTreeSet<Ino> {
    let contents = batch.iter().filter_map(|invalidation| match invalidation {
        Invalidation::Content(ino) => Some(*ino),
        Invalidation::Attributes(_) | Invalidation::Entry { .. } | Invalidation::Gone { .. } => None,
    });
    contents.chain(folders(batch)).collect()
}

fn folders(batch: &[Invalidation]) -> BTreeSet<Ino> {
    let parents = batch.iter().filter_map(|invalidation| match invalidation {
        Invalidation::Entry { parent, .. } | Invalidation::Gone { parent, .. } => Some(*parent),
        Invalidation::Attributes(_) | Invalidation::Content(_) => None,
    });
    parents.collect()
}
