//! Owns the calls that change a file's bytes: each makes sure that the server will be told, then lets
//! the content do it. No content is written under the tree's lock.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::notify::Invalidation;
use super::work::Work;
use crate::content::{ContentError, LocalContent, WriteEffect};
use crate::limits::SMALL_CONTENT_BYTES_MAX;
use crate::meta::rows::{BaseVersion, ContentNo, Ino, InodeRow, LocalOp, RowChange};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tarn_proto::node::{AttrChange, FileVersion};

/// Locks for appends; inodes share them.
pub(super) const APPEND_TURNS: usize = 16;

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    /// A file's content; one that is not here yet is adopted from the remote version, with no bytes.
    pub(super) fn content(&mut self, ino: Ino) -> Result<Arc<LocalContent>> {
        let inode = self.inode(ino)?;
        if inode.is_dir() {
            return Err(TreeError::IsADirectory);
        }
        if !inode.kind().is_some_and(tarn_proto::node::NodeKind::is_file) {
            return Err(TreeError::Invalid);
        }
        if let Some(content) = self.local_content(ino)? {
            return Ok(content);
        }
        // What is removed elsewhere keeps its bytes for whoever opened it.
        let (no, content) = match self.inode(ino)?.version().cloned() {
            Some(file) => self.adopt(ino, &file),
            None => {
                let no = self.state.next_content();
                (no, self.core.contents.create(no, ino))
            }
        };
        let mut work = Work::default();
        let row = InodeRow { content: Some(no), ..self.inode(ino)?.row() };
        work.rows.push(RowChange::Content(no, Some(Box::new(content.row()))));
        work.inode(ino, row);
        self.commit(work)?;
        self.inode(ino)?.content = Some(content.clone());
        Ok(content)
    }

    /// A content of a remote version, of which no byte is here; its rows are to be committed.
    pub(super) fn adopt(&mut self, ino: Ino, file: &FileVersion) -> (ContentNo, Arc<LocalContent>) {
        let no = self.state.next_content();
        let base = BaseVersion { content: file.content.clone(), vector: file.vector.clone() };
        let content = self.core.contents.adopt(no, ino, base);
        self.tell_former(ino, &content);
        (no, content)
    }

    /// Makes sure that an unsent operation will carry what is about to be written, and keeps the time.
    pub(super) fn begin_write(&mut self, ino: Ino, tree: &Tree) -> Result<Arc<LocalContent>> {
        let content = self.content(ino)?;
        self.bring_again(ino, tree)?;
        if !self.has_open_content_op(ino) {
            self.queue_write(ino)?;
        }
        let (now, wall) = (self.core.env.clock.monotonic(), self.core.env.clock.wall());
        let inode = self.inode(ino)?;
        inode.last_write = now;
        inode.times = Some(wall);
        Ok(content)
    }

    /// Queues what was written since an operation was sent, unless a later one carries it already.
    pub(super) fn requeue_dirty(&mut self, ino: Ino) -> Result<()> {
        if self.has_open_content_op(ino) { Ok(()) } else { self.queue_write(ino) }
    }

    /// The same for what may have been sent, or given to another file, meanwhile.
    pub(super) fn requeue_if_dirty(&mut self, ino: Ino) -> Result<()> {
        let is_dirty = self.local_content(ino)?.is_some_and(|content| content.is_dirty());
        if is_dirty { self.requeue_dirty(ino) } else { Ok(()) }
    }

    /// The same after news from the server. The bytes of a file that is to go wait for the answer to its removal, for others
    /// may keep it.
    pub(super) fn requeue_if_kept(&mut self, ino: Ino) -> Result<()> {
        if self.is_to_go(ino)? { Ok(()) } else { self.requeue_if_dirty(ino) }
    }

    fn has_open_content_op(&self, ino: Ino) -> bool {
        let mut ops = self.state.queue.of_ino(ino).rev();
        ops.any(|(_, queued)| {
            queued.op.op.content_of() == Some(ino) && queued.op.frozen.is_none() && queued.prepared.is_none()
        })
    }

    fn queue_write(&mut self, ino: Ino) -> Result<()> {
        // An orphan has nothing to be sent to; its bytes go with its last handle.
        if self.inode(ino)?.node.is_none() {
            return Ok(());
        }
        let Some((parent, name)) = self.links(ino)?.into_iter().next() else { return Ok(()) };
        let base = self.local_content(ino)?.and_then(|content| content.base());
        let has_base = base.is_some_and(|base| !base.is_borrowed());
        let made_over = self.inode(ino)?.made_over.take();
        let over = made_over.or_else(|| Some(self.seen_when_removed(ino)?.vector)).filter(|_| !has_base);
        let ticket = self.state.next_ticket();
        let mut work = Work::default();
        let op = LocalOp::Write { ino, parent, name, attrs: AttrChange::default(), over };
        self.enqueue(&mut work, ticket, op);
        let local = self.local_node(ino, ticket)?;
        let row = InodeRow { local: Some(local), ..self.inode(ino)?.row() };
        work.inode(ino, row);
        self.commit(work).map(drop)
    }
}

/// How a change of content fails.
fn content_error(error: ContentError) -> TreeError {
    match error {
        ContentError::Io(e) => TreeError::Disk(e),
        ContentError::NoSpace => TreeError::Disk(std::io::ErrorKind::StorageFull.into()),
        ContentError::TooLarge => TreeError::FileTooLarge,
        other @ (ContentError::Unknown(_) | ContentError::Dirty) => TreeError::Database(other.to_string()),
    }
}

impl Tree {
    /// A file's content, for reading.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `Invalid` for special files, `Disk`.
    pub fn content(&self, ino: Ino) -> Result<Arc<LocalContent>> {
        // What is loaded costs one look: most reads come here.
        let loaded = self.with(|session| session.state.inodes.get(&ino).and_then(|inode| inode.content.clone()));
        loaded.map_or_else(|| self.edit(|session| session.content(ino)), Ok)
    }

    /// A file's content if it may have a backing file of its own.
    pub fn large_content(&self, ino: Ino) -> Option<Arc<LocalContent>> {
        let content = self.look(|session| session.local_content(ino)).ok().flatten();
        content.filter(|content| content.size_bytes() > SMALL_CONTENT_BYTES_MAX)
    }

    /// A file may have been written unseen, through a shared map: all of it counts as written now.
    ///
    /// # Errors
    /// As [`Tree::write`].
    pub fn note_mapped_write(&self, ino: Ino) -> Result<()> {
        self.change_content(ino, |content| content.note_mapped_write())?;
        // The kernel's own pages are older than the map's.
        self.with(|session| session.invalidations.push(Invalidation::Content(ino)));
        Ok(())
    }

    /// Queues what a crash kept from being noted: files that were open for writing and differ, and that nothing queued brings.
    pub(super) fn requeue_opened(&self, opened: impl IntoIterator<Item = Ino>) {
        for ino in opened {
            let queued = self.edit(|session| {
                let is_queued = session.state.queue.of_ino(ino).any(|(_, op)| op.op.op.content_of() == Some(ino));
                if is_queued { Ok(()) } else { session.requeue_if_dirty(ino) }
            });
            if let Err(error) = queued {
                tracing::debug!(%error, ino = ino.0, "a file that was open for writing is not queued");
            }
        }
    }

    /// Writes bytes; they survive the end of this process when this returns.
    ///
    /// # Errors
    /// `Disk` (full, broken), `FileTooLarge`.
    pub fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> Result<WriteEffect> {
        self.change_content(ino, |content| content.write(offset, data))
    }

    /// Writes bytes at the end, wherever that is by then; returns where they stand.
    ///
    /// # Errors
    /// As [`Tree::write`].
    pub fn append(&self, ino: Ino, data: &[u8]) -> Result<u64> {
        // Appends of one file take turns; other writers may come between, as POSIX lets them.
        let _turn = self.append_turns[(ino.0 % APPEND_TURNS as u64) as usize].lock();
        let mut at = 0;
        self.change_content(ino, |content| {
            at = content.size_bytes();
            content.write(at, data)
        })?;
        Ok(at)
    }

    /// Sets the size.
    ///
    /// # Errors
    /// As [`Tree::write`].
    pub fn truncate(&self, ino: Ino, size_bytes: u64) -> Result<WriteEffect> {
        self.change_content(ino, |content| content.truncate(size_bytes))
    }

    /// Makes a range read as zeros and frees its blocks.
    ///
    /// # Errors
    /// As [`Tree::write`].
    pub fn punch(&self, ino: Ino, range: Range<u64>) -> Result<WriteEffect> {
        self.change_content(ino, |content| content.punch(range))
    }

    /// Makes a range read as zeros, growing the file unless `keep_size`.
    ///
    /// # Errors
    /// As [`Tree::write`].
    pub fn zero(&self, ino: Ino, range: Range<u64>, keep_size: bool) -> Result<WriteEffect> {
        self.change_content(ino, |content| content.zero(range, keep_size))
    }

    /// Allocates space for a range, growing the file unless `keep_size`.
    ///
    /// # Errors
    /// As [`Tree::write`].
    pub fn allocate(&self, ino: Ino, range: Range<u64>, keep_size: bool) -> Result<WriteEffect> {
        self.change_content(ino, |content| content.allocate(range, keep_size))
    }

    pub(super) fn change_content(
        &self,
        ino: Ino,
        change: impl FnOnce(&LocalContent) -> std::result::Result<WriteEffect, ContentError>,
    ) -> Result<WriteEffect> {
        let content = self.edit(|session| session.begin_write(ino, self))?;
        let changed = change(&content);
        if changed.as_ref().map_or(true, |effect| effect.became_dirty) {
            self.keep_queued(ino)?;
        }
        changed.map_err(content_error)
    }

    /// Whoever sends may have looked at a file after its write was queued and before its first byte was changed: nothing but
    /// attributes went out then.
    fn keep_queued(&self, ino: Ino) -> Result<()> {
        if self.look(|session| Ok(session.has_open_content_op(ino)))? {
            return Ok(());
        }
        self.edit(|session| session.requeue_if_dirty(ino))
    }

    /// Makes a file's bytes, attributes and name durable.
    ///
    /// # Errors
    /// `Disk`.
    pub fn fsync(&self, ino: Ino) -> Result<()> {
        let content = self.edit(|session| {
            session.record_times(ino)?;
            session.local_content(ino)
        })?;
        self.sync_all_of(content)
    }

    /// The same but for the times, which nobody needs to read the bytes. So a file that is written again and again costs one
    /// sync each time: the log says nothing new of it.
    ///
    /// # Errors
    /// `Disk`.
    pub fn fdatasync(&self, ino: Ino) -> Result<()> {
        self.sync_all_of(self.look(|session| session.local_content(ino))?)
    }

    fn sync_all_of(&self, content: Option<Arc<LocalContent>>) -> Result<()> {
        if let Some(content) = content {
            if content.has_file() {
                // Both go to the disk at once.
                self.core.journal.start_writing();
            }
            content.sync()?;
        }
        self.sync_log()
    }

    /// Makes all tree operations durable.
    ///
    /// # Errors
    /// `Disk`.
    pub fn sync_log(&self) -> Result<()> {
        let answered = self.with(|session| session.state.counters.answered);
        self.core.journal.sync(self.core.journal.last())?;
        self.core.answered.fetch_max(answered, Ordering::AcqRel);
        Ok(())
    }

    /// Counts an open handle.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn opened(&self, ino: Ino, writes: bool) -> Result<()> {
        self.look(|session| {
            let inode = session.inode(ino)?;
            inode.opens += 1;
            inode.writers += u32::from(writes);
            Ok(())
        })
    }

    /// Ends an open handle. With the last one that writes, what was written can be sent.
    ///
    /// # Errors
    /// `Disk` when the file's times could not be recorded.
    pub fn closed(&self, ino: Ino, writes: bool) -> Result<()> {
        if !writes {
            // Nothing that a person did is recorded here: no look at the log.
            return self.look(|session| {
                let inode = session.inode(ino)?;
                inode.opens = inode.opens.saturating_sub(1);
                session.release_if_idle(ino);
                Ok(())
            });
        }
        let closed = self.edit(|session| {
            let inode = session.inode(ino)?;
            inode.opens = inode.opens.saturating_sub(1);
            inode.writers = inode.writers.saturating_sub(1);
            let last_writer = inode.writers == 0;
            let recorded = if last_writer { session.record_times(ino) } else { Ok(()) };
            session.release_if_idle(ino);
            recorded
        });
        self.poke();
        closed
    }
}
