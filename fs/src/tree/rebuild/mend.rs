//! Owns rows that name what is not there any more, after rows of this device's own could not be read. Operations
//! that cannot be carried out are dropped; files whose bytes nothing would upload are copied out for the person.

use super::doubts::Doubts;
use crate::content::{LocalContent, Read};
use crate::env::{Disk, OpenMode};
use crate::meta::rows::{ContentNo, ContentRow, EntryRow, Ino, InodeRow, LocalOp, QueuedOp, ROOT, RowChange, Ticket};
use crate::tree::assemble::{Ground, OpenError};
use crate::tree::kept_dirs::KEPT;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tarn_proto::name::Name;

/// Read and written at once.
const PIECE_BYTES: usize = 1 << 20;
/// Of a name, so much is used for the copy's.
const NAME_BYTES_MAX: usize = 200;

/// What hung in the air.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mended {
    /// Copies of files that nothing would have uploaded.
    pub files: Vec<PathBuf>,
    /// Queued operations that could not be carried out any more.
    pub dropped_count: usize,
    /// Names of files made here whose bytes were not found.
    pub lost: Vec<String>,
}

/// All rows of this device's own.
pub(super) struct Rows {
    inodes: BTreeMap<Ino, InodeRow>,
    entries: Vec<(Ino, Name, EntryRow)>,
    pub contents: BTreeMap<ContentNo, ContentRow>,
    pub queue: Vec<(Ticket, QueuedOp)>,
}

impl Rows {
    fn load(ground: &Ground) -> Result<Self, OpenError> {
        ground.journal.drain()?;
        let database = |e: crate::meta::MetaError| OpenError::Journal(e.into());
        let reader = ground.journal.readers().get().map_err(database)?;
        Ok(Self {
            inodes: reader.inodes_all().map_err(database)?.into_iter().collect(),
            entries: reader.local_entries_all().map_err(database)?,
            contents: reader.contents_all().map_err(database)?.into_iter().collect(),
            queue: reader.queue_all().map_err(database)?,
        })
    }

    pub(super) fn name_of(&self, ino: Ino) -> Option<&Name> {
        let queued = self.queue.iter().find_map(|(_, queued)| match &queued.op {
            LocalOp::Create { ino: of, name, .. } | LocalOp::Write { ino: of, name, .. } if *of == ino => Some(name),
            _ => None,
        });
        self.entries.iter().find(|(_, _, row)| row.ino == Some(ino)).map(|(_, name, _)| name).or(queued)
    }
}

/// Drops what cannot be carried out, and copies out into `to` what nothing would upload. With `repeated`, rows of contents
/// may be older than what is there.
pub(super) fn mend(ground: &Ground, disk: &dyn Disk, to: &Path, repeated: bool) -> Result<Mended, OpenError> {
    let mut rows = Rows::load(ground)?;
    let doubts = if repeated { Doubts::resolve(&mut rows, ground, disk, to)? } else { Doubts::default() };
    let air = Air::find(&rows, &doubts.copied);
    let mut mended = Mended { dropped_count: air.dropped.len(), lost: air.lost_names(), files: doubts.files };
    let mut changes = doubts.changes;
    for (&no, row) in &rows.contents {
        let is_named = rows.inodes.get(&row.ino).is_some_and(|inode| inode.content == Some(no));
        let is_kept = is_named && !air.gone.contains(&row.ino);
        if row.is_dirty && !(is_kept && air.sent.contains(&row.ino)) {
            let content = ground.contents.get(no).map_err(io::Error::other)?;
            mended.files.push(copy_out(disk, &content, to, rows.name_of(row.ino))?);
        }
        if !is_kept {
            changes.push(RowChange::Content(no, None));
        }
    }
    changes.extend(air.changes(&rows));
    if !changes.is_empty() {
        ground.journal.commit(changes, Vec::new())?;
    }
    ground.journal.drain()?;
    Ok(mended)
}

/// What hangs in the air.
struct Air {
    dropped: HashSet<Ticket>,
    /// Inodes without a row, or that will never be on the server.
    gone: HashSet<Ino>,
    /// Files whose content an operation takes to the server.
    sent: HashSet<Ino>,
    lost: Vec<(Ino, String)>,
}

impl Air {
    /// The bytes of files that were `copied` out already are not lost.
    fn find(rows: &Rows, copied: &HashSet<Ino>) -> Self {
        let mut air = Self { dropped: HashSet::new(), gone: HashSet::new(), sent: HashSet::new(), lost: Vec::new() };
        // A folder that is not made takes what was made in it along, and operations come in that order.
        for (ticket, queued) in &rows.queue {
            let has_content = air.has_content(rows, &queued.op);
            let is_possible = has_content && named(&queued.op).all(|ino| ino == ROOT || air.is_there(rows, ino));
            match &queued.op {
                LocalOp::Create { ino, .. } | LocalOp::Write { ino, .. } if is_possible => {
                    air.sent.insert(*ino);
                }
                _ if is_possible => {}
                op => air.drop_op(rows, *ticket, op, has_content),
            }
        }
        air.lost.retain(|(ino, _)| !copied.contains(ino));
        air
    }

    fn lost_names(&self) -> Vec<String> {
        self.lost.iter().map(|(_, name)| name.clone()).collect()
    }

    fn is_there(&self, rows: &Rows, ino: Ino) -> bool {
        rows.inodes.contains_key(&ino) && !self.gone.contains(&ino)
    }

    /// Whether the bytes that an operation takes to the server are known of.
    fn has_content(&self, rows: &Rows, op: &LocalOp) -> bool {
        let (LocalOp::Create { ino, .. } | LocalOp::Write { ino, .. }) = op else { return true };
        let content = rows.inodes.get(ino).and_then(|inode| inode.content);
        content.is_none_or(|no| rows.contents.contains_key(&no))
    }

    fn drop_op(&mut self, rows: &Rows, ticket: Ticket, op: &LocalOp, has_content: bool) {
        self.dropped.insert(ticket);
        if let LocalOp::Create { ino, name, .. } | LocalOp::Write { ino, name, .. } = op
            && (!has_content || !rows.inodes.contains_key(ino))
        {
            self.lost.push((*ino, name.to_string()));
        }
        if let LocalOp::Create { ino, .. } = op {
            self.gone.insert(*ino);
        }
    }

    fn changes(&self, rows: &Rows) -> Vec<RowChange> {
        let mut changes: Vec<RowChange> = self.dropped.iter().map(|ticket| RowChange::Queue(*ticket, None)).collect();
        // Rows that keep a folder wait for no operation: the next change of the queue lets go of those that nothing needs.
        let left: HashSet<Ticket> = rows.queue.iter().map(|(ticket, _)| *ticket).chain([KEPT]).collect();
        let left = &left - &self.dropped;
        for (parent, name, row) in &rows.entries {
            let is_there = row.ino.is_none_or(|ino| self.is_there(rows, ino));
            let is_reached = *parent == ROOT || self.is_there(rows, *parent);
            // A row that waits for an operation which is not there would wait for ever.
            if !is_there || !is_reached || !left.contains(&row.ticket) {
                changes.push(RowChange::Entry(*parent, name.clone(), None));
            }
        }
        for (&ino, row) in &rows.inodes {
            let mended = self.mended_inode(rows, ino, row, |ticket| left.contains(&ticket));
            if mended.as_ref() != Some(row) {
                changes.push(RowChange::Inode(ino, mended));
            }
        }
        changes
    }

    fn mended_inode(
        &self,
        rows: &Rows,
        ino: Ino,
        row: &InodeRow,
        is_queued: impl Fn(Ticket) -> bool,
    ) -> Option<InodeRow> {
        if self.gone.contains(&ino) && ino != ROOT {
            return None;
        }
        let content = row.content.filter(|no| rows.contents.get(no).is_some_and(|content| content.ino == ino));
        let local = row.local.clone().filter(|local| is_queued(local.ticket));
        Some(InodeRow { content, local, ..row.clone() })
    }
}

/// The inodes that must be there for an operation to be carried out.
fn named(op: &LocalOp) -> impl Iterator<Item = Ino> {
    let (ino, parent, other) = match op {
        LocalOp::Create { ino, parent, .. }
        | LocalOp::Write { ino, parent, .. }
        | LocalOp::Link { ino, parent, .. } => (*ino, Some(*parent), None),
        LocalOp::SetAttr { ino, .. } => (*ino, None, None),
        LocalOp::Unlink { parent, .. } => (*parent, None, None),
        LocalOp::Rename { ino, parent, to_parent, .. } => (*ino, Some(*parent), Some(*to_parent)),
    };
    [Some(ino), parent, other].into_iter().flatten()
}

/// Copies what is there of a content; what is not is a hole, and the name says so.
fn copy_out(disk: &dyn Disk, content: &Arc<LocalContent>, to: &Path, name: Option<&Name>) -> io::Result<PathBuf> {
    copy_as(disk, content, to, if content.is_complete() { "" } else { "incomplete " }, name)
}

/// Copies what is there of a content, with a word before its name.
pub(super) fn copy_as(
    disk: &dyn Disk,
    content: &Arc<LocalContent>,
    to: &Path,
    part: &str,
    name: Option<&Name>,
) -> io::Result<PathBuf> {
    let shown: String = name.map_or_else(|| "file".to_owned(), ToString::to_string);
    let mut end = shown.len().min(NAME_BYTES_MAX);
    while !shown.is_char_boundary(end) {
        end -= 1;
    }
    disk.create_dir_all(to)?;
    let path = to.join(format!("{} {part}{}", content.no().0, &shown[..end]));
    let file = disk.open(&path, OpenMode::Create)?;
    let size_bytes = content.size_bytes();
    file.set_len(size_bytes)?;
    for range in content.local_ranges().iter() {
        let mut at = range.start;
        while at < range.end.min(size_bytes) {
            let len = PIECE_BYTES.min((range.end.min(size_bytes) - at) as usize);
            match content.read(at, len)? {
                Read::Bytes(bytes) if !bytes.is_empty() => file.write_at(&bytes, at)?,
                _ => {}
            }
            at += len as u64;
        }
    }
    file.sync_data()?;
    disk.sync_dir(to)?;
    Ok(path)
}
