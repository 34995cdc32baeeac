//! Owns the calls of the player: a process that makes changes from elsewhere a second time, as system calls in this mount, so
//! that the kernel tells programs that watch. The tree has each change already, so such a call is answered as done, and
//! nothing is done. One call at a time is granted; whatever else the player asks for is refused.
//!
//! The kernel checks a call against the names that it knows. So the player is shown names as they were before the change
//! (`Part::shown`), and keeps no name: the next program that looks is asked for again. A call is granted only if the kernel
//! has looked its names up for it, after the player said that it would come (`statfs`): under the folder's lock, so what
//! it goes by cannot be a name that another program was shown meanwhile.

use super::names::checked;
use super::ports::Space;
use super::{Answer, Caller, Opened, RenameFlags, Serve, SetAttr, Shown, Stop, Vfs};
use crate::meta::rows::Ino;
use crate::tree::{Child, Stat, TreeError};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tarn_proto::name::Name;
use tarn_proto::node::Attrs;

/// What the player's open file is called. It is no handle: whatever comes through it fails.
const HANDLE: u64 = u64::MAX;
/// The calls of the kernel that the player causes; others it has no use for.
const CALLS: [&str; 14] = [
    "lookup", "getattr", "setattr", "mknod", "mkdir", "symlink", "unlink", "rmdir", "rename", "open", "statfs",
    "access", "getxattr", "flush",
];

/// A folder and a name in it.
pub type Place = (Ino, Name);

/// The one call that is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A name is made.
    Make {
        /// Which.
        place: Place,
        /// What it stands for in the tree.
        ino: Ino,
    },
    /// A name is removed.
    Remove {
        /// Which.
        place: Place,
    },
    /// A name is moved.
    Rename {
        /// Which.
        from: Place,
        /// Where to.
        to: Place,
    },
    /// Times are set, and a file is opened to be written.
    Touch {
        /// Of which inode.
        ino: Ino,
    },
}

/// What a name is shown as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ghost {
    /// What it stood for.
    pub child: Child,
    /// The kernel will count one name of it less.
    pub leaves: bool,
}

/// One call, and the names that the player is shown otherwise than the tree has them; `None`: not there.
#[derive(Debug, Clone)]
pub struct Part {
    /// The call.
    pub act: Act,
    /// The names.
    pub shown: HashMap<Place, Option<Ghost>>,
}

#[derive(Debug)]
struct Running {
    part: Part,
    looked_up: HashSet<Place>,
    is_announced: bool,
    is_granted: bool,
}

/// Who the player is and what it may do.
#[derive(Debug, Default)]
pub struct Replay {
    /// Its process, which has one thread; 0: there is none.
    player: AtomicU32,
    has_former: AtomicBool,
    former: Mutex<Vec<u32>>,
    running: Mutex<Option<Running>>,
}

impl Replay {
    /// This process is the player from now on; 0: none is. What is granted stays so.
    pub fn set_player(&self, pid: u32) {
        self.player.store(pid, Ordering::Release);
    }

    /// These processes were players of an earlier daemon of this mount: nothing that they still ask for is done.
    pub fn refuse(&self, pids: Vec<u32>) {
        self.has_former.store(!pids.is_empty(), Ordering::Release);
        *self.former.lock() = pids;
    }

    /// Grants a part.
    pub fn begin(&self, part: Part) {
        let looked_up = HashSet::new();
        *self.running.lock() = Some(Running { part, looked_up, is_announced: false, is_granted: false });
    }

    /// Grants nothing any more; whether the call was made.
    pub fn finish(&self) -> bool {
        self.running.lock().take().is_some_and(|running| running.is_granted)
    }

    fn is_player(&self, caller: Caller) -> bool {
        caller.tid != 0 && caller.tid == self.player.load(Ordering::Acquire)
    }

    fn is_former(&self, caller: Caller) -> bool {
        self.has_former.load(Ordering::Acquire) && self.former.lock().contains(&caller.tid)
    }

    /// What the player is shown of a name, if that is not what the tree has.
    fn look(&self, place: &Place) -> Option<Option<Ghost>> {
        let mut running = self.running.lock();
        let running = running.as_mut()?;
        let shown = running.part.shown.get(place).cloned()?;
        if running.is_announced {
            running.looked_up.insert(place.clone());
        }
        Some(shown)
    }

    fn ghost(&self, ino: Ino) -> Option<Ghost> {
        let running = self.running.lock();
        let mut ghosts = running.as_ref()?.part.shown.values().flatten();
        ghosts.find(|ghost| ghost.child.ino == ino).cloned()
    }

    /// What a call takes away, as far as the kernel knows.
    fn leaving(&self, act: &Act) -> Option<Child> {
        let running = self.running.lock();
        let shown = &running.as_ref()?.part.shown;
        let ghosts = act.places().filter_map(|place| shown.get(place)?.as_ref());
        ghosts.into_iter().find(|ghost| ghost.leaves).map(|ghost| ghost.child.clone())
    }

    fn announce(&self) {
        if let Some(running) = &mut *self.running.lock() {
            running.looked_up.clear();
            running.is_announced = true;
        }
    }

    /// Grants a call on names, once, if it is the one and its names have been looked up for it.
    fn grant(&self, expected: impl FnOnce(&Act) -> bool) -> Result<Act, Stop> {
        let mut running = self.running.lock();
        let running = running.as_mut().filter(|running| !running.is_granted && expected(&running.part.act));
        let running = running.ok_or(TreeError::NotPermitted)?;
        let all_looked_up = running.part.act.places().all(|place| running.looked_up.contains(place));
        if !all_looked_up {
            return Err(TreeError::NotFound.into());
        }
        running.is_granted = true;
        Ok(running.part.act.clone())
    }

    /// A call on an inode; it may be made more than once.
    fn grant_touch(&self, ino: Ino) -> Result<(), Stop> {
        let mut running = self.running.lock();
        match running.as_mut().filter(|running| running.part.act == Act::Touch { ino }) {
            Some(running) => running.is_granted = true,
            None => return Err(TreeError::NotPermitted.into()),
        }
        Ok(())
    }
}

impl Act {
    fn places(&self) -> impl Iterator<Item = &Place> {
        let places = match self {
            Self::Make { place, .. } | Self::Remove { place } => [Some(place), None],
            Self::Rename { from, to } => [Some(from), Some(to)],
            Self::Touch { .. } => [None, None],
        };
        places.into_iter().flatten()
    }
}

impl Vfs {
    /// Who the player is and what it may do.
    pub fn replay(&self) -> &Arc<Replay> {
        &self.replay
    }

    /// Refuses what no player asks for.
    ///
    /// # Errors
    /// `NotPermitted`, and to players of an earlier daemon `NotFound`, whatever they ask for.
    pub fn admit(&self, caller: Caller, call: &str) -> Result<(), Stop> {
        if self.replay.is_player(caller) && !CALLS.contains(&call) {
            return Err(TreeError::NotPermitted.into());
        }
        // One that has ended leaves its number to others.
        if self.replay.is_former(caller) && crate::env::is_player(caller.tid) {
            return Err(TreeError::NotFound.into());
        }
        Ok(())
    }

    /// Finds a name, as [`Self::lookup`] for all but the player.
    ///
    /// # Errors
    /// As that.
    pub fn lookup_for(&self, caller: Caller, parent: Ino, name: &[u8]) -> Answer<Option<Shown>> {
        if !self.replay.is_player(caller) {
            return self.lookup(parent, name);
        }
        match self.replay.look(&(parent, checked(name)?)) {
            Some(Some(ghost)) => {
                self.tree.refer(ghost.child.ino);
                Ok(Some(self.show_ghost(ghost)))
            }
            // An error, unlike an absence, is not remembered.
            Some(None) => Err(TreeError::NotFound.into()),
            None => self.lookup(parent, name),
        }
    }

    /// What a node is, as [`Self::getattr`] for all but the player.
    ///
    /// # Errors
    /// As that.
    pub fn getattr_for(&self, caller: Caller, ino: Ino) -> Answer<Shown> {
        match self.replay.is_player(caller).then(|| self.replay.ghost(ino)).flatten() {
            Some(ghost) => Ok(self.show_ghost(ghost)),
            None => self.getattr(ino),
        }
    }

    /// How much there is and how much fits; from the player it announces its call.
    ///
    /// # Errors
    /// As the tree says.
    pub fn statfs_for(&self, caller: Caller) -> Answer<Space> {
        if !self.replay.is_player(caller) {
            return self.statfs();
        }
        self.replay.announce();
        Ok(Space::default())
    }

    /// The answer to the player when it makes a name; `None` for anybody else.
    pub(super) fn replayed_make(&self, caller: Caller, parent: Ino, name: &[u8]) -> Option<Answer<Shown>> {
        self.replay.is_player(caller).then(|| {
            let made = (parent, checked(name)?);
            let act = self.replay.grant(|act| matches!(act, Act::Make { place, .. } if *place == made))?;
            let stat = self.tree.lookup(parent, &made.1)?;
            match act {
                Act::Make { ino, .. } if ino == stat.ino => Ok(Shown { is_kept: false, ..self.entered(stat) }),
                _ => Err(TreeError::NotFound.into()),
            }
        })
    }

    /// The answer to the player when it removes a name; `None` for anybody else.
    pub(super) fn replayed_removal(&self, caller: Caller, parent: Ino, name: &[u8]) -> Option<Answer<()>> {
        self.replay.is_player(caller).then(|| {
            let gone = (parent, checked(name)?);
            let act = self.replay.grant(|act| matches!(act, Act::Remove { place } if *place == gone))?;
            self.may_go(&act)
        })
    }

    /// The answer to the player when it moves a name; `None` for anybody else.
    pub(super) fn replayed_rename(
        &self,
        caller: Caller,
        old: (Ino, &[u8]),
        new: (Ino, &[u8]),
        flags: RenameFlags,
    ) -> Option<Answer<()>> {
        self.replay.is_player(caller).then(|| {
            let moved = Act::Rename { from: (old.0, checked(old.1)?), to: (new.0, checked(new.1)?) };
            if flags != RenameFlags::default() {
                return Err(TreeError::NotPermitted.into());
            }
            let act = self.replay.grant(|act| *act == moved)?;
            self.may_go(&act)
        })
    }

    /// The answer to the player when it sets attributes; `None` for anybody else.
    pub(super) fn replayed_change(&self, caller: Caller, ino: Ino, set: &SetAttr) -> Option<Answer<Shown>> {
        self.replay.is_player(caller).then(|| {
            if (set.mode, set.uid, set.gid, set.size_bytes) != (None, None, None, None) {
                return Err(TreeError::NotPermitted.into());
            }
            self.replay.grant_touch(ino)?;
            Ok(Shown { is_kept: false, ..self.getattr(ino)? })
        })
    }

    /// The answer to the player when it opens a file; `None` for anybody else. Nothing is opened: what is not open needs no
    /// version kept, and its pages stay as they are.
    pub(super) fn replayed_open(&self, caller: Caller, ino: Ino, truncates: bool) -> Option<Answer<Opened>> {
        self.replay.is_player(caller).then(|| {
            if truncates || self.passthrough.is_lent(ino) {
                return Err(TreeError::NotPermitted.into());
            }
            self.replay.grant_touch(ino)?;
            Ok(Opened { handle: HANDLE, serve: Serve::Aside, passage: None })
        })
    }

    /// Refuses what takes a folder away that is somewhere: the kernel never again finds anything in a folder that was removed.
    fn may_go(&self, act: &Act) -> Answer<()> {
        let leaving = self.replay.leaving(act);
        match leaving.is_none_or(|child| !child.kind.is_dir() || self.tree.is_gone(child.ino)) {
            true => Ok(()),
            false => Err(TreeError::NotPermitted.into()),
        }
    }

    fn show_ghost(&self, ghost: Ghost) -> Shown {
        let Ghost { child: Child { ino, kind, mode }, leaves } = ghost;
        let attrs = Attrs { mode, ..Attrs::default() };
        let unknown = Stat { ino, kind, attrs, size_bytes: 0, allocated_bytes: 0, link_count: 0 };
        // One that programs have open is known still, and stays as it is to them.
        let mut stat = self.tree.stat(ino).unwrap_or(unknown);
        stat.link_count = (stat.link_count + u32::from(leaves)).max(1);
        Shown { is_kept: false, ..self.show(stat) }
    }
}
