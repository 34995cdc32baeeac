//! Owns opening the tree over a recovered journal: what must be in memory from the start, and what an
//! earlier run left half done.

use super::Tree;
use super::core::{Core, Identity};
use super::error::TreeError;
use super::load::Session;
use super::room::{Room, USAGE};
use super::settle::ANSWERED;
use super::state::{Counters, State};
use super::work::Work;
use crate::content::Contents;
use crate::env::Env;
use crate::journal::Journal;
use crate::meta::rows::{ContentNo, Ino, InodeRow, ROOT, RowChange};
use crate::meta::{Marks, Reader};
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use tarn_proto::ids::{DeviceId, NodeId};
use tokio::sync::Notify;

type Result<T> = std::result::Result<T, TreeError>;

/// What a tree is made of.
#[derive(Debug)]
pub(super) struct Parts {
    /// The outside world.
    pub env: Env,
    /// The journal, recovered.
    pub journal: Arc<Journal>,
    /// The highest numbers ever used, as recovery found them.
    pub marks: Marks,
    /// The contents, attached to nothing yet.
    pub contents: Arc<Contents>,
    /// Who this device is.
    pub identity: Identity,
    /// The mount of an earlier daemon stands, and programs use it.
    pub mount_stands: bool,
}

impl Tree {
    /// Opens the tree. The contents are attached by [`Tree::assemble`].
    ///
    /// # Errors
    /// What the database says.
    pub(super) fn open(parts: Parts) -> Result<Arc<Self>> {
        let Parts { env, journal, marks, contents, identity, mount_stands } = parts;
        let readers = journal.readers();
        let mut state = initial_state(&env, &readers.get()?, marks, &identity)?;
        state.inherited_max = if mount_stands { state.counters.ino } else { 0 };
        let core = Core {
            env,
            journal,
            readers,
            contents,
            answered: AtomicU64::new(state.counters.answered),
            conflict_news: AtomicU64::new(0),
            last_content: ContentNo(marks.content),
        };
        let tree = Arc::new(Self {
            core,
            identity: RwLock::new(identity),
            state: Mutex::new(state),
            notifier: OnceLock::new(),
            changed: Arc::new(Notify::new()),
            append_turns: Default::default(),
            loading: Mutex::default(),
        });
        let root = NodeId::root_of(tree.identity().space);
        tree.edit(|session| {
            session.ensure_root(root)?;
            if mount_stands { session.adopt_orphans() } else { session.remove_orphans() }
        })?;
        tree.note_unshown()?;
        Ok(tree)
    }

    /// Takes a new device id, after the server said that this one was rolled back: what is queued and was
    /// frozen under the old one is frozen anew.
    ///
    /// # Errors
    /// What the disk says.
    pub fn device_rolled_back(&self, device: DeviceId) -> Result<()> {
        self.edit(|session| {
            let frozen: Vec<_> =
                session.state.queue.ops.iter().filter(|(_, queued)| queued.op.frozen.is_some()).collect();
            let thawed = frozen.into_iter().map(|(ticket, queued)| {
                let mut op = queued.op.clone();
                op.frozen = None;
                RowChange::Queue(*ticket, Some(Box::new(op)))
            });
            let work = Work { rows: thawed.collect(), ..Work::default() };
            session.commit(work)?;
            self.identity.write().device = device;
            Ok(())
        })
    }
}

fn initial_state(env: &Env, reader: &Reader, marks: Marks, identity: &Identity) -> Result<State> {
    let answered = reader.kv(ANSWERED)?.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
    let counters = Counters {
        ino: marks.ino.max(ROOT.0),
        ticket: marks.ticket,
        content: marks.content,
        operation: marks.counter,
        answered,
    };
    let (cursor, room) = (reader.cursor(identity.space)?, Room::known(reader.kv(USAGE)?));
    let mut state = State { counters, cursor, room, ..State::default() };
    for (parent, name, row) in reader.local_entries_all()? {
        state.overlay.set(parent, &name, Some(row));
    }
    let now = env.clock.monotonic();
    for (ticket, op) in reader.queue_all()? {
        state.queue.set(ticket, Some(op), now);
    }
    Ok(state)
}

impl Session<'_> {
    fn ensure_root(&mut self, node: NodeId) -> Result<()> {
        match self.inode(ROOT) {
            Ok(inode) if inode.node == Some(node) => {
                inode.kernel_refs += 1;
                return Ok(());
            }
            Ok(_) => {
                return Err(TreeError::Database(
                    "this state belongs to another account; sign in with that one".to_owned(),
                ));
            }
            Err(TreeError::NotFound) => {}
            Err(e) => return Err(e),
        }
        let mut work = Work::default();
        work.inode(ROOT, InodeRow { node: Some(node), ..InodeRow::default() });
        self.commit(work)?;
        self.inode(ROOT)?.kernel_refs += 1;
        Ok(())
    }

    /// Inodes without a name that programs may have open: they stay until the kernel forgets them.
    fn adopt_orphans(&mut self) -> Result<()> {
        for (ino, _) in self.core.reader()?.orphans_all()? {
            self.links(ino)?;
        }
        Ok(())
    }

    /// Inodes whose last handle went with an earlier run.
    fn remove_orphans(&mut self) -> Result<()> {
        let orphans = self.core.reader()?.orphans_all()?;
        let idle: Vec<(Ino, InodeRow)> =
            orphans.into_iter().filter(|(ino, _)| self.state.queue.of_ino(*ino).next().is_none()).collect();
        let mut work = Work::default();
        for (ino, row) in idle {
            work.rows.push(RowChange::Inode(ino, None));
            if let Some(no) = row.content {
                work.forget_content(no);
            }
        }
        if work.rows.is_empty() { Ok(()) } else { self.commit(work).map(drop) }
    }
}
