//! Owns the way of invalidations to the kernel: a queue and a thread of its own, which has a process of its own tell it
//! (`notices`). A worker thread, or anybody under a lock that a call takes, must not send them: the kernel may need an answer
//! for the same inode first.

use super::notices::{Messenger, Notice};
use super::replay::{Replays, Stage};
use super::unknown::Unknown;
use crate::env::mounts::mounted_at;
use crate::meta::rows::Ino;
use crate::tree::{Happening, Invalidation, Notifier};
use crate::vfs::{Forget, Old, Replay, Stale, Vfs};
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
        let attributes = Mutex::new(Messenger::new(device.try_clone()?, None));
        let content = Mutex::new(Messenger::new(device.try_clone()?, self.player.clone()));
        self.stale.attach(Box::new(Told { attributes, content }));
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

/// The kernel, for what it is told by whoever answers a call.
#[derive(Debug)]
struct Told {
    attributes: Mutex<Messenger>,
    content: Mutex<Messenger>,
}

impl Forget for Told {
    fn forget_attributes(&self, ino: Ino) {
        self.attributes.lock().tell(&[Notice::Attributes(ino)]).iter().for_each(report);
    }

    fn forget_content(&self, ino: Ino) {
        self.content.lock().tell(&[Notice::Content(ino)]).iter().for_each(report);
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
        batch.iter().filter_map(of_inode).for_each(|(ino, old)| self.stale.owe(ino, old));
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
        // First the inodes: for that nobody waits long, and an open may wait for it.
        self.tell_inodes(batch, now);
        // Last, what the kernel has of the listings: the entries are gone from it by then.
        let folders = folders(batch);
        let listings = folders.iter().map(|folder| Notice::Content(*folder));
        let notices: Vec<Notice<'_>> = batch.iter().filter_map(entry).chain(listings).collect();
        self.kernel.tell(&notices).iter().for_each(report);
        for ino in touched(batch) {
            if !self.unknown.takes(ino) {
                self.stale.leave(ino);
            }
        }
    }

    /// Tells what no open has told yet.
    fn tell_inodes(&mut self, batch: &[Invalidation], now: Duration) {
        let inodes = batch.iter().filter_map(of_inode);
        let claimed: Vec<(Ino, Old)> = inodes.filter_map(|(ino, _)| Some((ino, self.stale.claim(ino)?))).collect();
        let notices: Vec<Notice<'_>> = claimed.iter().map(|(ino, old)| notice(*ino, *old)).collect();
        for ((ino, _), told) in claimed.iter().zip(self.kernel.tell(&notices)) {
            report(&told);
            if is_unknown(&told) {
                self.unknown.note(*ino, now);
            }
            self.stale.told(*ino, is_unknown(&told).then_some(Old::Attributes));
        }
    }

    /// Tells the kernel again what it did not know, but for what an open has told meanwhile.
    fn tell_again(&mut self, now: Duration) {
        let (claimed, opened): (Vec<Ino>, Vec<Ino>) =
            self.unknown.due(now).into_iter().partition(|ino| self.stale.claim(*ino).is_some());
        opened.into_iter().for_each(|ino| self.end_unknown(ino, true, now));
        let notices: Vec<Notice<'_>> = claimed.iter().map(|ino| Notice::Attributes(*ino)).collect();
        for (ino, told) in claimed.into_iter().zip(self.kernel.tell(&notices)) {
            self.end_unknown(ino, !is_unknown(&told), now);
            self.stale.told(ino, self.unknown.contains(ino).then_some(Old::Attributes));
        }
    }

    fn end_unknown(&mut self, ino: Ino, is_known: bool, now: Duration) {
        let owed = self.unknown.told(ino, is_known, now);
        (0..owed).for_each(|_| self.stale.leave(ino));
    }
}

fn is_unknown(told: &io::Result<()>) -> bool {
    told.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn notice(ino: Ino, old: Old) -> Notice<'static> {
    match old {
        Old::Attributes => Notice::Attributes(ino),
        Old::Content => Notice::Content(ino),
    }
}

/// What the kernel is told of a name.
fn entry(invalidation: &Invalidation) -> Option<Notice<'_>> {
    match invalidation {
        Invalidation::Entry { parent, name } | Invalidation::Gone { parent, name, .. } => {
            Some(Notice::Entry(*parent, name))
        }
        Invalidation::Attributes(_) | Invalidation::Content(_) => None,
    }
}

/// What it is told of an inode.
fn of_inode(invalidation: &Invalidation) -> Option<(Ino, Old)> {
    match invalidation {
        Invalidation::Attributes(ino) => Some((*ino, Old::Attributes)),
        Invalidation::Content(ino) => Some((*ino, Old::Content)),
        Invalidation::Entry { .. } | Invalidation::Gone { .. } => None,
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
