//! Owns what programs see: the remote state and the queue laid over each other. Knows no kernel and no network.
//!
//! One lock guards the state; no call waits for anything but the local disk. Every change is a list of
//! rows: computed, logged, then applied in memory (`work`). Start reading at `state`, then `edit`
//! (what programs do), `send` (what becomes of it) and `absorb` (what comes from the server).

mod absorb;
mod acknowledge;
mod alt_name;
mod assemble;
mod attrs;
mod beside;
mod conflicts;
mod content;
mod core;
mod cut;
mod damaged;
mod depends;
mod edit;
mod error;
mod formers;
mod growing;
mod halves;
mod happened;
mod hidden;
mod history;
mod kept_dirs;
mod large;
mod listed;
mod listing;
mod load;
mod local_only;
mod mass_delete;
mod names;
mod notify;
mod open;
mod ops;
mod pending;
mod pins;
mod protect;
mod reading;
mod rebuild;
mod release;
mod rename;
mod rescue;
mod room;
mod rows_port;
mod seen;
mod send;
mod settle;
mod share;
mod siblings;
mod sink;
mod state;
mod sweep;
mod swept;
mod taken;
#[cfg(test)]
mod tests;
mod types;
mod verify;
mod versions;
mod view;
mod work;

pub use assemble::{OpenError, Opened};
pub use conflicts::SeenOfConflict;
pub use core::Identity;
pub use damaged::damage_notes;
pub use error::TreeError;
pub use happened::{Child, Happening};
pub use history::Loaded;
pub use listed::Listing;
pub use local_only::{LOCAL_ONLY_DEFAULT, LocalNames};
pub use names::is_tool_owned;
pub use notify::{Invalidation, Notifier};
pub use protect::{APPEND_ONLY, IMMUTABLE};
pub use rebuild::{Mended, Rebuilt};
pub use send::Prepared;
pub use siblings::Ahead;
pub use types::{
    DeleteLimits, DirEntry, HeldDeletes, NewNode, NoRoom, NodeType, QueueItem, QueueKey, QueueTotals, Readiness,
    RenameRequest, Stat, SyncState, Unlisted,
};
pub use verify::{FolderMismatch, MemoryLook, Mismatch, compare_folder};
pub use view::DirHandle;

use self::core::Core;
use happened::Happened;
use load::Session;
use parking_lot::{Mutex, RwLock};
use state::State;
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// What programs see of one device's tree.
#[derive(Debug)]
pub struct Tree {
    core: Core,
    identity: RwLock<Identity>,
    state: Mutex<State>,
    notifier: OnceLock<Arc<dyn Notifier>>,
    changed: Arc<Notify>,
    append_turns: [Mutex<()>; content::APPEND_TURNS],
    loading: Mutex<Option<cut::Loading>>,
}

impl Tree {
    /// Runs `work` under the lock; what it found the kernel must forget is sent after the lock is gone.
    fn with<T>(&self, work: impl FnOnce(&mut Session<'_>) -> T) -> T {
        let mut state = self.state.lock();
        let (invalidations, happened) = (Vec::new(), Happened::default());
        let mut session = Session { state: &mut state, core: &self.core, invalidations, happened };
        let result = work(&mut session);
        session.keep_small();
        let Session { invalidations, happened, .. } = session;
        let notifier = self.notifier.get();
        if let Some(notifier) = notifier
            && !invalidations.is_empty()
        {
            notifier.announce(&invalidations);
        }
        drop(state);
        if let Some(notifier) = notifier {
            if !invalidations.is_empty() {
                notifier.invalidate(invalidations);
            }
            if !happened.is_empty() {
                notifier.happened(happened.into_order());
            }
        }
        result
    }

    /// A call that only looks.
    fn look<T>(&self, work: impl FnOnce(&mut Session<'_>) -> Result<T, TreeError>) -> Result<T, TreeError> {
        self.with(work)
    }

    /// A call that may change something: what it logged survives the end of this process when this
    /// returns, and the sync engine is woken if the queue changed.
    fn edit<T>(&self, work: impl FnOnce(&mut Session<'_>) -> Result<T, TreeError>) -> Result<T, TreeError> {
        self.core.journal.wait_room()?;
        let (result, before, after) = self.with(|session| {
            let before = (session.core.journal.last(), session.state.queue.generation);
            let result = work(session);
            let result = session.settle_kept_dirs(before.1, result);
            (result, before, (session.core.journal.last(), session.state.queue.generation))
        });
        let flushed = if before.0 == after.0 { Ok(()) } else { self.core.journal.flush(after.0) };
        if before.1 != after.1 {
            self.poke();
        }
        flushed?;
        result
    }

    /// Wakes whoever waits for the queue.
    fn poke(&self) {
        self.changed.notify_one();
    }

    /// Poked whenever the queue changes, or a file becomes ready to be sent.
    pub fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// Says who takes invalidations to the kernel; once.
    pub fn set_notifier(&self, notifier: Arc<dyn Notifier>) {
        // A second notifier changes nothing: a tree belongs to one mount.
        let _ = self.notifier.set(notifier);
    }

    /// Who this device is.
    pub fn identity(&self) -> Identity {
        self.identity.read().clone()
    }
}
