//! Owns comparing inodes, listings and contents at hand, the queue and the cursor with their rows.

use super::MemoryLook;
use super::describe::{self, differing};
use super::names::Listing;
use crate::content::LocalContent;
use crate::meta::Reader;
use crate::meta::rows::{ContentNo, Ino, InodeRow, QueuedOp, ROOT, Ticket};
use crate::tree::load::Session;
use crate::tree::{Tree, TreeError};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use tarn_proto::node::NodeState;

type Result<T> = std::result::Result<T, TreeError>;

/// Rows copied under one lock.
const STEP: usize = 256;

/// What memory says of an inode.
struct Held {
    ino: Ino,
    row: InodeRow,
    remote: Option<Arc<NodeState>>,
    content: Option<Arc<LocalContent>>,
    has_listing: bool,
}

impl Session<'_> {
    fn queued_behind(&self, after: Option<Ticket>) -> Vec<(Ticket, QueuedOp)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.state.queue.ops.range((from, Bound::Unbounded)).take(STEP);
        rest.map(|(ticket, queued)| (*ticket, queued.op.clone())).collect()
    }

    fn held(&self, ino: Ino) -> Option<Held> {
        let inode = self.state.inodes.get(&ino)?;
        let (remote, content) = (inode.remote.clone(), inode.content.clone());
        Some(Held { ino, row: inode.row(), remote, content, has_listing: inode.dir.is_some() })
    }
}

impl Tree {
    pub(super) fn compare_queue(&self, look: &mut MemoryLook) -> Result<()> {
        let mut memory: BTreeMap<Ticket, QueuedOp> = BTreeMap::new();
        loop {
            let after = memory.keys().next_back().copied();
            let step = self.with(|session| session.queued_behind(after));
            if step.is_empty() {
                break;
            }
            memory.extend(step);
        }
        self.core.journal.drain()?;
        let database: BTreeMap<Ticket, QueuedOp> = self.core.reader()?.queue_all()?.into_iter().collect();
        let mut tickets: Vec<Ticket> = memory.keys().chain(database.keys()).copied().collect();
        tickets.sort_unstable();
        tickets.dedup();
        for ticket in tickets {
            let (own, stored) = (memory.get(&ticket), database.get(&ticket));
            let ino = own.or(stored).and_then(|op| op.op.inodes().next());
            look.compare((ino, || format!("queued operation {}", ticket.0)), own, stored, |op, _| describe::queued(op));
        }
        Ok(())
    }

    pub(super) fn compare_cursor(&self, look: &mut MemoryLook) -> Result<()> {
        let memory = self.cursor();
        self.core.journal.drain()?;
        let database = self.core.reader()?.cursor(self.identity().space)?;
        let what = (None, || "how far the server's journal is known".to_owned());
        look.compare(what, memory.as_ref(), database.as_ref(), |cursor, _| format!("seq {}", cursor.seq));
        Ok(())
    }

    pub(super) fn compare_inodes(&self, look: &mut MemoryLook, max: usize, from: u64) -> Result<()> {
        let mut inos: Vec<Ino> = self.with(|session| session.state.inodes.keys().copied().collect());
        inos.sort_unstable();
        let first = from.checked_rem(inos.len() as u64).unwrap_or(0) as usize;
        inos.rotate_left(first);
        inos.truncate(max);
        for step in inos.chunks(STEP) {
            let held: Vec<Held> = self.with(|session| step.iter().filter_map(|ino| session.held(*ino)).collect());
            self.core.journal.drain()?;
            for inode in held {
                self.compare_inode(look, &inode)?;
            }
        }
        Ok(())
    }

    fn compare_inode(&self, look: &mut MemoryLook, held: &Held) -> Result<()> {
        let reader = self.core.reader()?;
        let stored = reader.inode(held.ino)?;
        let describe = |row: &InodeRow, other: Option<&InodeRow>| {
            differing(&describe::inode(row), other.map(describe::inode).as_ref())
        };
        look.compare((Some(held.ino), || "the inode".to_owned()), Some(&held.row), stored.as_ref(), describe);
        compare_remote(look, &reader, held)?;
        if let (Some(no), Some(content)) = (held.row.content, &held.content) {
            compare_content(look, &reader, no, content)?;
        }
        drop(reader);
        // One that changes while it is read is looked at another time.
        if held.has_listing
            && let Some(listing) = Listing::read(self, held.ino)
        {
            self.compare_listing(look, held.ino, &listing)?;
        }
        Ok(())
    }
}

/// What the server said of the node.
fn compare_remote(look: &mut MemoryLook, reader: &Reader, held: &Held) -> Result<()> {
    let Some(node) = held.row.node else { return Ok(()) };
    let stored = reader.remote_node(node)?;
    if held.ino == ROOT && stored.is_none() {
        return Ok(()); // the server has not spoken of it yet
    }
    let stored = stored.and_then(|row| row.state);
    let describe = |state: &NodeState, other: Option<&NodeState>| {
        differing(&describe::node(state), other.map(describe::node).as_ref())
    };
    let what = (Some(held.ino), || "what the server said of it".to_owned());
    look.compare(what, held.remote.as_deref(), stored.as_ref(), describe);
    Ok(())
}

/// While a file is open for writing its row lags behind, and says so.
fn compare_content(look: &mut MemoryLook, reader: &Reader, no: ContentNo, content: &LocalContent) -> Result<()> {
    let memory = content.row();
    let stored = reader.content(no)?;
    if stored.as_ref().is_some_and(|row| row.open_for_writing || memory.open_for_writing) {
        return Ok(());
    }
    let claimed = stored.as_ref().map_or(0, |row| describe::claimed(row, content));
    let own = describe::content(&memory);
    let kept = stored.as_ref().map(describe::content);
    let what = (Some(memory.ino), || format!("its local content {}", no.0));
    look.compare(what, Some(&own), kept.as_ref(), differing);
    let what = (Some(memory.ino), || format!("bytes of its local content {}", no.0));
    look.compare(what, Some(&0), Some(&claimed), |bytes, _| format!("{bytes} bytes that only the row knows"));
    Ok(())
}
