//! Owns which inodes the kernel serves by itself, from the backing file of a complete file (passthrough): reads of those never
//! come here. Knows no protocol: what the kernel was given stands behind a [`Token`].
//!
//! An inode is open either past this process or through the kernel's page cache, never both: the first handle decides, and
//! stays in force until the last one is closed. Who opens for writing what is passed through has reads and writes come here all
//! the same, but maps the backing file: what is written through a map is found out when the last map is gone. A map outlives
//! the handle that it was made with, and nobody tells of its end: the file is asked, now and then. Giving a file to
//! the kernel and taking it back costs more than an open and a close: so it is lent for a moment longer than it is open.

use super::ports::LentFile;
use crate::meta::rows::Ino;
use crate::tree::TreeError;
use parking_lot::{Mutex, RwLock};
use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};

/// What the kernel calls a backing file by.
pub type Token = Box<dyn Any + Send + Sync>;

/// A file that is lent to the kernel, for one inode.
#[derive(Debug)]
pub struct Lend {
    file: Box<dyn LentFile>,
    /// `None`: the kernel did not take it.
    token: OnceLock<Option<Token>>,
    is_exposed: Mutex<bool>,
    switch: Arc<Switch>,
}

impl Lend {
    /// What the kernel calls it by; `give` gives it to the kernel at first. `None` if that was refused: the inode is served as
    /// any other then, by all its handles, and nothing is lent any more.
    pub fn token(&self, give: impl FnOnce(BorrowedFd<'_>) -> io::Result<Token>) -> Option<&Token> {
        let token = self.token.get_or_init(|| match give(self.file.fd()) {
            Ok(token) => Some(token),
            Err(error) => {
                self.switch.turn_off(format!("the kernel refuses it ({error})"));
                None
            }
        });
        token.as_ref()
    }

    /// Before a program that may write through maps has it open.
    pub(super) fn expose(&self) -> Result<(), TreeError> {
        let mut is_exposed = self.is_exposed.lock();
        if !*is_exposed {
            self.file.expose()?;
            *is_exposed = true;
        }
        Ok(())
    }

    fn conceal(&self) {
        if std::mem::replace(&mut *self.is_exposed.lock(), false) {
            self.file.conceal();
        }
    }

    /// Whether the kernel has it.
    pub(super) fn is_given(&self) -> bool {
        matches!(self.token.get(), Some(Some(_)))
    }

    fn is_in_use(&self) -> bool {
        self.is_given() && self.file.is_in_use()
    }
}

/// How one handle passes this process by.
#[derive(Debug, Clone)]
pub struct Passage {
    /// The file.
    pub lend: Arc<Lend>,
    /// Only maps do; reads and writes come here.
    pub maps_only: bool,
}

/// Whether there is passthrough, and if not, why.
#[derive(Debug)]
struct Switch(RwLock<Result<(), String>>);

impl Switch {
    fn turn_off(&self, why: String) {
        let mut state = self.0.write();
        if state.is_ok() {
            tracing::info!(why, "all reads go through this process");
            *state = Err(why);
        }
    }
}

/// An inode that is open.
#[derive(Debug, Default)]
struct Serving {
    handles: u32,
    lend: Option<Arc<Lend>>,
    /// Closed handles that the tree is not told of yet, for maps may live on; and whether they wrote.
    owed: Vec<bool>,
    /// Somebody is going to look whether it is still in use.
    is_watched: bool,
}

/// What came of closing a handle.
#[derive(Debug)]
pub(super) enum Left {
    /// Tell the tree of it.
    Closed,
    /// And of these. The file is lent no more.
    Ended(Vec<bool>),
    /// The file is lent still, for a map may live on or another handle may follow: look later.
    Lent,
    /// The same, and somebody will look already.
    Watched,
}

/// All open inodes of a mount that can pass files through.
#[derive(Debug)]
pub(super) struct Passthrough {
    switch: Arc<Switch>,
    is_agreed: OnceLock<()>,
    inodes: Mutex<HashMap<Ino, Serving>>,
}

impl Default for Passthrough {
    fn default() -> Self {
        let switch = Arc::new(Switch(RwLock::new(Err("only a mount by root can".to_owned()))));
        Self { switch, is_agreed: OnceLock::new(), inodes: Mutex::default() }
    }
}

impl Passthrough {
    /// What was agreed with the kernel, before anything was opened.
    pub fn agree(&self, agreed: Result<(), String>) {
        if agreed.is_ok() {
            // A mount is agreed on once.
            let _ = self.is_agreed.set(());
        }
        *self.switch.0.write() = agreed;
    }

    /// Why nothing is lent, if so.
    pub fn why_not(&self) -> Option<String> {
        self.switch.0.read().clone().err()
    }

    /// Counts a handle. What it is served from, if the inode is passed through or can be from now on.
    pub fn join(&self, ino: Ino, lend: impl FnOnce() -> Option<Box<dyn LentFile>>) -> Option<Arc<Lend>> {
        self.is_agreed.get()?;
        if let Some(serving) = self.inodes.lock().get_mut(&ino) {
            serving.handles += 1;
            return serving.lend.clone();
        }
        let is_on = self.switch.0.read().is_ok();
        let lent = if is_on { lend() } else { None };
        let mut inodes = self.inodes.lock();
        // Another may have been first: then that one decided.
        let serving = inodes
            .entry(ino)
            .or_insert_with(|| Serving { lend: lent.map(|file| self.lend(file)), ..Serving::default() });
        serving.handles += 1;
        serving.lend.clone()
    }

    fn lend(&self, file: Box<dyn LentFile>) -> Arc<Lend> {
        let (token, is_exposed, switch) = (OnceLock::new(), Mutex::new(false), Arc::clone(&self.switch));
        Arc::new(Lend { file, token, is_exposed, switch })
    }

    /// Takes a handle back.
    pub fn leave(&self, ino: Ino, wrote: bool) -> Left {
        let mut inodes = self.inodes.lock();
        let Some(serving) = inodes.get_mut(&ino) else { return Left::Closed };
        serving.handles -= 1;
        if serving.handles > 0 {
            return Left::Closed;
        }
        serving.owed.push(wrote);
        if !serving.lend.as_ref().is_some_and(|lend| lend.is_given()) {
            return self.end_if_unused(inodes, ino);
        }
        if std::mem::replace(&mut serving.is_watched, true) { Left::Watched } else { Left::Lent }
    }

    /// Looks whether what was lent at the last close is in use still. With handles open again, or nothing to look at, there is
    /// nothing to do.
    pub fn look_again(&self, ino: Ino) -> Left {
        let mut inodes = self.inodes.lock();
        match inodes.get_mut(&ino) {
            Some(serving) if serving.handles == 0 => return self.end_if_unused(inodes, ino),
            Some(serving) => serving.is_watched = false,
            None => {}
        }
        Left::Ended(Vec::new())
    }

    /// Whether the kernel serves an inode, or maps of it, from a backing file.
    pub fn is_lent(&self, ino: Ino) -> bool {
        self.inodes.lock().get(&ino).is_some_and(|serving| serving.lend.as_ref().is_some_and(|lend| lend.is_given()))
    }

    /// Inodes of which no handle is open and that are lent still.
    pub fn closed(&self) -> Vec<Ino> {
        let inodes = self.inodes.lock();
        inodes.iter().filter(|(_, serving)| serving.handles == 0).map(|(ino, _)| *ino).collect()
    }

    /// Under the lock, so that nobody joins between the look and the end.
    fn end_if_unused(&self, mut inodes: parking_lot::MutexGuard<'_, HashMap<Ino, Serving>>, ino: Ino) -> Left {
        if inodes.get(&ino).and_then(|serving| serving.lend.as_ref()).is_some_and(|lend| lend.is_in_use()) {
            return Left::Lent;
        }
        let ended = inodes.remove(&ino);
        drop(inodes);
        let Serving { lend, owed, .. } = ended.unwrap_or_default();
        // Noting what was written unseen takes other locks.
        if let Some(lend) = lend {
            lend.conceal();
        }
        Left::Ended(owed)
    }
}
