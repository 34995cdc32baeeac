//! Owns putting journal, contents and tree together over one state folder, recovery included.

use super::core::Identity;
use super::open::Parts;
use super::rebuild::is_unfinished;
use super::rows_port::ContentPort;
use super::sink::TreeSink;
use super::work::Work;
use super::{Tree, TreeError, damaged};
use crate::content::{Contents, Options};
use crate::env::Env;
use crate::journal::{Journal, JournalError, JournalOptions, Recovered};
use crate::meta::rows::{ContentNo, ContentPlace, ContentRow, Ino, RowChange};
use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Why a state folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Database or log.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The content store.
    #[error("the local content store: {0}")]
    Content(#[from] std::io::Error),
    /// The tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Making the database anew was cut short.
    #[error("the local database is only half made anew: run `tarn doctor --rebuild` again, then mount")]
    HalfRebuilt,
}

impl OpenError {
    /// Whether space on the local disk is all that is missing.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Journal(error) => error.is_full(),
            Self::Content(error) | Self::Tree(TreeError::Disk(error)) => error.kind() == ErrorKind::StorageFull,
            Self::Tree(_) | Self::HalfRebuilt => false,
        }
    }
}

/// An open state folder.
#[derive(Debug)]
pub struct Opened {
    /// What programs see.
    pub tree: Arc<Tree>,
    /// The contents below it.
    pub contents: Arc<Contents>,
    /// The journal below both.
    pub journal: Arc<Journal>,
    /// What recovery found.
    pub recovered: Recovered,
}

/// Journal and contents, without a tree on them.
pub(super) struct Ground {
    pub journal: Arc<Journal>,
    pub contents: Arc<Contents>,
    pub recovered: Recovered,
}

impl Ground {
    pub fn open(env: &Env, dir: &Path, journal: JournalOptions, contents: Options) -> Result<Self, OpenError> {
        Self::open_as(env, dir, journal, contents, false)
    }

    /// The same; with `repeated` the database may have had more of the log than it says.
    pub fn open_as(
        env: &Env,
        dir: &Path,
        journal: JournalOptions,
        contents: Options,
        repeated: bool,
    ) -> Result<Self, OpenError> {
        let prepared = Journal::prepare(env, dir, journal)?;
        let prepared = if repeated { prepared.repeating() } else { prepared };
        let contents = Contents::open(env.disk.clone(), dir, contents)?;
        let port = Arc::new(ContentPort { readers: prepared.readers(), journal: OnceLock::new() });
        contents.attach(port.clone(), port.clone());
        let sink = Box::new(TreeSink::new(contents.clone()));
        let (journal, recovered) = prepared.recover_keeping(sink, |lost| damaged::keep(env, dir, lost))?;
        contents.replayed_all()?;
        let journal = Arc::new(journal);
        // It is set here for the first time, and here alone.
        let _ = port.journal.set(Arc::downgrade(&journal));
        Ok(Self { journal, contents, recovered })
    }
}

impl Tree {
    /// Opens a state folder, whose [`crate::journal::StateLock`] the caller holds: recovers what an earlier run left, and
    /// gives the tree with what it stands on.
    ///
    /// # Errors
    /// A damaged or too new database or log, another account's state, or what the disk says.
    pub fn assemble(
        env: &Env,
        dir: &Path,
        journal: JournalOptions,
        contents: Options,
        identity: Identity,
    ) -> Result<Opened, OpenError> {
        Self::assemble_under(env, dir, journal, contents, identity, false)
    }

    /// The same; with `mount_stands` under a mount of which an earlier daemon was the first: what programs may have open
    /// there stays.
    ///
    /// # Errors
    /// As [`Self::assemble`].
    pub fn assemble_under(
        env: &Env,
        dir: &Path,
        journal: JournalOptions,
        contents: Options,
        identity: Identity,
        mount_stands: bool,
    ) -> Result<Opened, OpenError> {
        if is_unfinished(env, dir)? {
            return Err(OpenError::HalfRebuilt);
        }
        let Ground { journal, contents, recovered } = Ground::open(env, dir, journal, contents)?;
        let parts = Parts {
            env: env.clone(),
            journal: journal.clone(),
            marks: recovered.marks,
            contents: contents.clone(),
            identity,
            mount_stands,
        };
        let tree = Self::open(parts)?;
        Ok(Opened { tree, contents, journal, recovered })
    }

    /// The content store does not keep pins: it is told those of an earlier run.
    fn tell_pins(&self, rows: &[(ContentNo, ContentRow)], pinned: &[Ino]) {
        if pinned.is_empty() {
            return;
        }
        for (no, row) in rows {
            // One that is gone by now has nothing to keep.
            if self.is_pinned(row.ino).unwrap_or(false) {
                self.core.contents.pin_unloaded(*no, row.ino);
            }
        }
        self.watch_pins(pinned);
    }

    /// A content that another inode took over says so with its next row. If a crash came before that, the inode's row is
    /// believed; what no inode has goes, unless something of it was to be sent.
    fn mend_holders(&self, rows: &mut Vec<(ContentNo, ContentRow)>, held: &HashMap<ContentNo, Ino>) {
        let mut nobodys = BTreeSet::new();
        for (no, row) in rows.iter_mut().filter(|(no, row)| held.get(no) != Some(&row.ino)) {
            match held.get(no) {
                Some(holder) => {
                    row.ino = *holder;
                    // When it is loaded it is told whose it is, and its row follows. It may be gone by now.
                    drop(self.look(|session| session.local_content(*holder)));
                }
                None if !row.is_dirty && self.core.contents.get_loaded(*no).is_none() => drop(nobodys.insert(*no)),
                None => {}
            }
        }
        if nobodys.is_empty() {
            return;
        }
        let forgotten = nobodys.iter().map(|no| RowChange::Content(*no, None)).collect();
        match self.edit(|session| session.commit(Work { rows: forgotten, ..Work::default() })) {
            Ok(_) => rows.retain(|(no, _)| !nobodys.contains(no)),
            Err(error) => tracing::warn!(%error, "contents of no file are still there; the next start forgets them"),
        }
    }

    /// Tells the content store what an earlier run left; it keeps no new clean bytes before. Reads the
    /// rows of all contents: to be called in the background after the mount answers.
    ///
    /// # Errors
    /// What the database says.
    pub fn take_inventory(&self) -> Result<(), TreeError> {
        let mut rows = self.core.reader()?.contents_all()?;
        let holders = self.core.reader()?.holders_all()?;
        let held = holders.iter().filter_map(|(ino, content, _)| Some(((*content)?, *ino))).collect();
        self.mend_holders(&mut rows, &held);
        self.core.contents.inventory(rows.iter().map(|(no, row)| (*no, row)));
        let pinned: Vec<Ino> = holders.iter().filter(|(.., pinned)| *pinned).map(|(ino, ..)| *ino).collect();
        self.tell_pins(&rows, &pinned);
        let opened = rows.iter().filter(|(_, row)| row.open_for_writing).map(|(_, row)| row.ino);
        self.requeue_opened(opened.chain(self.core.contents.open_for_writing()).collect::<BTreeSet<_>>());
        let mut named: Vec<ContentNo> =
            rows.iter().filter(|(_, row)| row.place == ContentPlace::File).map(|(no, _)| *no).collect();
        named.sort_unstable();
        let swept = self.core.contents.sweep(self.core.last_content, &named)?;
        if swept > 0 {
            tracing::info!(swept, "files that a crash left behind were removed");
        }
        Ok(self.core.contents.inventory_done()?)
    }
}
