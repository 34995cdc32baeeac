//! Owns the bugs planted in a device: the production tree and disk behind ports that do one thing wrong.

use super::plant::Plant;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tarn::env::{Disk, DiskFile, OpenMode};
use tarn::meta::rows::Ticket;
use tarn::sync::ports::{SyncTree, UploadSource};
use tarn::tree::{Listing, Loaded, QueueItem, QueueTotals, Tree, TreeError};
use tarn_proto::api::{Answer, ChildEntry, ChildrenResponse, Usage};
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::ids::{DeviceId, NodeId, VersionId};
use tarn_proto::lost::{EpochStart, Lost};
use tarn_proto::node::Content;
use tarn_proto::op::{OpKind, Operation};
use tokio::sync::Notify;

type Result<T> = std::result::Result<T, TreeError>;

/// The tree as the engine sees it, with a bug.
#[derive(Debug)]
pub struct PlantedTree {
    pub inner: Arc<dyn SyncTree>,
    pub tree: Arc<Tree>,
    pub plant: Plant,
}

impl PlantedTree {
    /// Bytes that wait to be sent go when others' version comes.
    fn overwrite_dirty(&self, changes: &[Change]) -> Result<()> {
        for change in changes {
            let Row::Node { node, state: Some(state) } = &change.row else { continue };
            let Some(ino) = self.tree.ino_of(*node)?.filter(|_| state.kind.is_file()) else { continue };
            let content = self.tree.content(ino)?;
            if content.is_dirty() {
                content.truncate(0).map_err(|error| TreeError::Database(error.to_string()))?;
            }
        }
        Ok(())
    }

    fn spoil(&self, answers: &mut [(Ticket, Answer)]) {
        if let [(_, one), (_, other), ..] = answers
            && self.plant == Plant::AnswersMixedUp
        {
            std::mem::swap(one, other);
        }
        if self.plant == Plant::AnswerNotTakenIn {
            answers.iter_mut().for_each(|(_, answer)| answer.changes.clear());
        }
    }
}

impl SyncTree for PlantedTree {
    fn cursor(&self) -> Option<Cursor> {
        self.inner.cursor()
    }

    fn queue(&self, max: usize) -> Result<Vec<QueueItem>> {
        self.inner.queue(max)
    }

    fn totals(&self) -> QueueTotals {
        self.inner.totals()
    }

    fn last_ticket(&self) -> Option<Ticket> {
        self.inner.last_ticket()
    }

    fn first_ticket(&self) -> Option<Ticket> {
        self.inner.first_ticket()
    }

    fn is_any_queued(&self, tickets: &BTreeSet<Ticket>) -> bool {
        self.inner.is_any_queued(tickets)
    }

    fn changed(&self) -> Arc<Notify> {
        self.inner.changed()
    }

    fn prepare(&self, ticket: Ticket) -> Result<Option<Arc<dyn UploadSource>>> {
        self.inner.prepare(ticket)
    }

    fn unprepare(&self, ticket: Ticket) {
        self.inner.unprepare(ticket);
    }

    fn settle_unchanged(&self, ticket: Ticket) -> Result<bool> {
        self.inner.settle_unchanged(ticket)
    }

    fn freeze(&self, batch: Vec<(Ticket, Option<Content>)>) -> Result<Vec<(Ticket, Operation)>> {
        let mut frozen = self.inner.freeze(batch)?;
        for (_, op) in &mut frozen {
            if let (Plant::BaseNotSent, OpKind::Write { base, .. }) = (self.plant, &mut op.kind) {
                *base = Default::default();
            }
            match self.plant {
                Plant::NameBesideNotTold => op.kind.seen_mut().for_each(|seen| seen.alt_name = None),
                Plant::FolderSeenAll => op.kind.seen_mut().for_each(|seen| seen.seq = None),
                Plant::CounterReused if op.counter % 8 == 0 => op.counter -= 1,
                _ => {}
            }
        }
        Ok(frozen)
    }

    fn refreeze_with_other_name(&self, ticket: Ticket) -> Result<()> {
        self.inner.refreeze_with_other_name(ticket)
    }

    fn refreeze_with_content(&self, ticket: Ticket, content: Content) -> Result<()> {
        self.inner.refreeze_with_content(ticket, content)
    }

    fn settle(&self, mut answers: Vec<(Ticket, Answer)>, before: Cursor, after: Cursor) -> Result<()> {
        self.spoil(&mut answers);
        self.inner.settle(answers, before, after)
    }

    fn note_usage(&self, usage: Usage) {
        self.inner.note_usage(usage);
    }

    fn put_aside(&self, ticket: Ticket) -> Result<()> {
        self.inner.put_aside(ticket)
    }

    fn apply_cut(&self, mut changes: Vec<Change>, mut upto: Cursor) -> Result<()> {
        match self.plant {
            Plant::CursorNotSaved => upto = self.inner.cursor().unwrap_or(upto),
            Plant::PullOverDirty => self.overwrite_dirty(&changes)?,
            Plant::CutAppliedInPart => changes.truncate(changes.len().div_ceil(2)),
            _ => {}
        }
        self.inner.apply_cut(changes, upto)
    }

    fn begin_load(&self) -> Result<()> {
        self.inner.begin_load()
    }

    fn load_page(&self, changes: Vec<Change>) -> Result<()> {
        self.inner.load_page(changes)
    }

    fn finish_load(&self, loaded: Loaded) -> Result<()> {
        self.inner.finish_load(loaded)
    }

    fn epochs(&self) -> Result<Vec<EpochStart>> {
        self.inner.epochs()
    }

    fn lost_since(&self, fork: u64) -> Result<Vec<(u64, Lost)>> {
        self.inner.lost_since(fork)
    }

    fn whole_content(&self, node: NodeId, version: VersionId) -> Result<Option<Arc<dyn UploadSource>>> {
        self.inner.whole_content(node, version)
    }

    fn begin_listing(&self, node: NodeId, seq: u64) -> Result<Listing> {
        self.inner.begin_listing(node, seq)
    }

    fn list_children(&self, listing: Listing, children: Vec<ChildEntry>) -> Result<Listing> {
        self.inner.list_children(listing, children)
    }

    fn end_listing(&self, listing: Listing, head: ChildrenResponse) -> Result<()> {
        self.inner.end_listing(listing, head)
    }

    fn answered(&self) -> u64 {
        self.inner.answered()
    }

    fn device_rolled_back(&self, device: DeviceId) -> Result<()> {
        self.inner.device_rolled_back(device)
    }
}

/// A disk that says that the log is durable, and does nothing for it.
#[derive(Debug)]
pub struct LyingDisk(pub Arc<dyn Disk>);

impl Disk for LyingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.0.open(path, mode)?;
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        Ok(if is_log { Arc::new(LyingFile(file)) } else { file })
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }
}

/// See [`LyingDisk`].
#[derive(Debug)]
struct LyingFile(Arc<dyn DiskFile>);

impl DiskFile for LyingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.0.set_len(len_bytes)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        self.0.len_bytes()
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.0.allocated_bytes()
    }

    fn punch_hole(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        self.0.punch_hole(offset, len_bytes)
    }

    fn allocate(&self, offset: u64, len_bytes: u64, keep_size: bool) -> io::Result<()> {
        self.0.allocate(offset, len_bytes, keep_size)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_fd()
    }
}
