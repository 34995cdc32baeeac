//! Owns which inodes the kernel serves by itself, from the backing file of a complete file (passthrough): reads of those never
//! come here. Knows no protocol: what the kernel was given stands behind a [`Token`].
//!
//! An inode is open either past this process or through the kernel's page cache, never both: the first handle decides, and
//! stays in force until the last one is closed. Who opens for writing what is passed through has reads and writes come here all
//! the same, but maps the backing file: what is written through a map is found out when the last map is gone. A map outlives
//! the handle that it was made with, and nobody tells of its end: the file is asked, now and then. Giving a file to
//! the kernel and taking it back costs more than an open and a close: so it is lent for a moment longer than it is open.

use super::open_table::{LentRecord, OpenTable, Slot};
use super::ports::{Backings, LentFile};
use crate::env::file_id;
use crate::meta::rows::Ino;
use crate::tree::TreeError;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// How files are lent: to whom, and where it is written down for the next daemon, if there may be one.
#[derive(Debug, Clone)]
pub struct Lending {
    /// The kernel.
    pub kernel: Arc<dyn Backings>,
    /// The record.
    pub table: Option<Arc<OpenTable>>,
}

/// A file that is lent to the kernel, for one inode.
#[derive(Debug)]
pub struct Lend {
    ino: Ino,
    file: Box<dyn LentFile>,
    lending: Lending,
    terms: Mutex<Terms>,
    /// The kernel has or had it: maps may live on.
    was_given: AtomicBool,
    switch: Arc<Switch>,
}

/// What was agreed on a lent file.
#[derive(Debug, Default)]
struct Terms {
    /// What the kernel calls it by.
    number: Option<u32>,
    /// Where it stands in the record.
    slot: Option<Slot>,
    /// The kernel did not take it: the inode is served as any other then, by all its handles.
    is_refused: bool,
    /// Programs may write it through maps.
    is_exposed: bool,
    /// An earlier daemon gave it.
    is_inherited: bool,
}

impl Lend {
    fn new(ino: Ino, file: Box<dyn LentFile>, lending: Lending, switch: Arc<Switch>) -> Self {
        Self { ino, file, lending, terms: Mutex::default(), was_given: AtomicBool::new(false), switch }
    }

    /// One that an earlier daemon gave to the kernel.
    pub(super) fn inherited(file: Box<dyn LentFile>, lending: Lending, slot: Slot, record: &LentRecord) -> Self {
        let (number, is_exposed, switch) = (record.backing, record.is_exposed, Switch(RwLock::new(Ok(()))));
        let terms = Terms { number, slot: Some(slot), is_inherited: true, is_exposed, is_refused: false };
        let was_given = AtomicBool::new(true);
        Self { ino: record.ino, file, lending, terms: Mutex::new(terms), was_given, switch: Arc::new(switch) }
    }

    /// What the kernel calls it by; it is given to it at first. `None` if that was refused: then nothing is lent any more.
    pub(super) fn number(&self) -> Option<u32> {
        let mut terms = self.terms.lock();
        if terms.number.is_some() || terms.is_refused {
            return terms.number;
        }
        match self.give(&terms) {
            Ok((slot, number)) => {
                (terms.slot, terms.number) = (slot, Some(number));
                self.was_given.store(true, Ordering::Release);
            }
            Err(error) => {
                terms.is_refused = true;
                self.switch.turn_off(format!("the kernel refuses it ({error})"));
            }
        }
        terms.number
    }

    fn give(&self, terms: &Terms) -> io::Result<(Option<Slot>, u32)> {
        let Lending { kernel, table } = &self.lending;
        let Some(table) = table else { return Ok((None, kernel.open(self.file.fd())?)) };
        let (slot, number) = table.give(kernel.as_ref(), self.file.fd(), self.record(terms)?, terms.slot)?;
        Ok((Some(slot), number))
    }

    fn record(&self, terms: &Terms) -> io::Result<LentRecord> {
        let (file, is_exposed) = (file_id(self.file.fd())?, terms.is_exposed);
        Ok(LentRecord { backing: terms.number, ino: self.ino, file, is_exposed })
    }

    /// Writes down what changed.
    fn note(&self, terms: &Terms) -> io::Result<()> {
        match (&self.lending.table, terms.slot) {
            (Some(table), Some(slot)) => table.change(slot, &self.record(terms)?),
            _ => Ok(()),
        }
    }

    /// Before a program that may write through maps has it open.
    pub(super) fn expose(&self) -> Result<(), TreeError> {
        let mut terms = self.terms.lock();
        if terms.is_exposed {
            return Ok(());
        }
        self.file.expose()?;
        terms.is_exposed = true;
        Ok(self.note(&terms)?)
    }

    fn conceal(&self) {
        if std::mem::replace(&mut self.terms.lock().is_exposed, false) {
            self.file.conceal();
        }
    }

    /// Whether the kernel has it, or had it and maps may live on.
    pub(super) fn is_given(&self) -> bool {
        self.was_given.load(Ordering::Acquire)
    }

    fn is_in_use(&self) -> bool {
        self.is_given() && self.file.is_in_use()
    }

    /// Takes back what an earlier daemon gave, when no handle is open: that one's file would count as in use for ever. What is
    /// opened next is given anew.
    pub(super) fn renew(&self) {
        let mut terms = self.terms.lock();
        if std::mem::replace(&mut terms.is_inherited, false)
            && let Some(number) = terms.number.take()
        {
            self.lending.kernel.close(number);
            if let Err(error) = self.note(&terms) {
                tracing::warn!(%error, "the record has a number that the kernel has no more");
            }
        }
    }
}

impl Drop for Lend {
    fn drop(&mut self) {
        let Terms { number, slot, .. } = *self.terms.get_mut();
        number.iter().for_each(|number| self.lending.kernel.close(*number));
        if let (Some(table), Some(slot)) = (&self.lending.table, slot) {
            table.clear(slot);
        }
    }
}

/// How one handle passes this process by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// What the kernel calls the file by.
    pub number: u32,
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
pub(super) struct Serving {
    pub handles: u32,
    pub lend: Option<Arc<Lend>>,
    /// Closed handles that the tree is not told of yet, for maps may live on; and whether they wrote.
    pub owed: Vec<bool>,
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
    lending: Option<Lending>,
    /// What an earlier daemon lent, until the kernel agrees.
    inherited: Mutex<HashMap<Ino, Serving>>,
    inodes: Mutex<HashMap<Ino, Serving>>,
}

impl Default for Passthrough {
    fn default() -> Self {
        let switch = Arc::new(Switch(RwLock::new(Err("only a mount by root can".to_owned()))));
        let (is_agreed, lending) = (OnceLock::new(), None);
        Self { switch, is_agreed, lending, inherited: Mutex::default(), inodes: Mutex::default() }
    }
}

impl Passthrough {
    /// How files are lent, and what an earlier daemon left open and lent.
    pub fn begin(&mut self, lending: Lending, inherited: HashMap<Ino, Serving>) {
        self.lending = Some(lending);
        *self.inherited.get_mut() = inherited;
    }

    /// What was agreed with the kernel, before anything was opened.
    pub fn agree(&self, agreed: Result<(), String>) {
        if agreed.is_ok() && self.lending.is_some() {
            // A mount is agreed on once.
            let _ = self.is_agreed.set(());
            *self.inodes.lock() = std::mem::take(&mut self.inherited.lock());
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
            .or_insert_with(|| Serving { lend: lent.and_then(|file| self.lend(ino, file)), ..Serving::default() });
        serving.handles += 1;
        serving.lend.clone()
    }

    fn lend(&self, ino: Ino, file: Box<dyn LentFile>) -> Option<Arc<Lend>> {
        let lending = self.lending.clone()?;
        Some(Arc::new(Lend::new(ino, file, lending, Arc::clone(&self.switch))))
    }

    /// Inodes that an earlier daemon left lent, and nobody has open: somebody must look when they are in use no more.
    pub fn unwatched(&self) -> Vec<Ino> {
        let mut inodes = self.inodes.lock();
        let closed = inodes.iter_mut().filter(|(_, serving)| serving.handles == 0 && !serving.is_watched);
        let watch = |(ino, serving): (&Ino, &mut Serving)| {
            serving.is_watched = true;
            *ino
        };
        closed.map(watch).collect()
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
        if let Some(lend) = &serving.lend {
            lend.renew();
        }
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
