//! Owns what the tree holds in memory: inodes, loaded listings, local entries, the queue. Plain data;
//! does no I/O and decides nothing.

use super::formers::Formers;
use super::growing::Growing;
use super::kept_dirs::KEPT;
use super::listed::Listings;
use super::listing::Dir;
use super::local_only::LocalNames;
use super::mass_delete::MassDelete;
use super::pending::PendingRemote;
use super::room::Room;
use super::swept::Swept;
use crate::content::LocalContent;
use crate::log::Lsn as Position;
use crate::meta::rows::{ContentNo, EntryRow, Ino, InodeRow, LocalNode, QueuedOp, Ticket, Verdict};
use crate::tree::types::NodeType;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::change::Cursor;
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, Content, FileVersion, NodeKind, NodeState, Timestamp};
use tarn_proto::op::{OpKind, Place};
use tarn_proto::version::VersionVector;

/// An inode in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// Which node it shows.
    pub node: Option<NodeId>,
    /// Its local state, hiding the remote one.
    pub local: Option<Box<LocalNode>>,
    /// The node's remote state.
    pub remote: Option<Arc<NodeState>>,
    /// Its remote state before it went: what open handles still ask for.
    pub was: Option<Arc<NodeState>>,
    /// Whether a person pinned it.
    pub pinned: bool,
    /// Its local content's number.
    pub content_no: Option<ContentNo>,
    /// Its local content, once loaded.
    pub content: Option<Arc<LocalContent>>,
    /// Its names as far as known; `None`: not looked up yet.
    pub links: Option<Vec<(Ino, Name)>>,
    /// A directory's listing, once loaded.
    pub dir: Option<Box<Dir>>,
    /// What has come of its listing while not all has.
    pub growing: Option<Box<Growing>>,
    /// Open directory handles: while there are any, the listing stays, and its cookies.
    pub dir_handles: u32,
    /// Directories that the listing had when it was let go of.
    pub subdir_count: u32,
    /// Names looked up while there was no listing.
    pub lookups: u8,
    /// How often the kernel was told of it.
    pub kernel_refs: u64,
    /// Open handles.
    pub opens: u32,
    /// Open handles that may write.
    pub writers: u32,
    /// Its last unrecorded mtime (and ctime): writes and listings change it faster than is worth a record.
    pub times: Option<Timestamp>,
    /// When a name of it last came, went or moved: its ctime, if that is later. Of this device's memory only.
    pub relinked: Option<Timestamp>,
    /// What its unsent bytes are to replace, where they have no base and no operation says so any more.
    pub made_over: Option<VersionVector>,
    /// Where it had the name that others took away last, if nothing happened to its names since.
    pub taken: Option<(Ino, Name)>,
    /// Monotonic time of the last write.
    pub last_write: Duration,
    /// The journal position of its last change: it must stay in memory until that is materialised.
    pub touched: Position,
}

// There are hundreds of thousands of them.
const _: () = assert!(size_of::<Inode>() <= 256);

impl Inode {
    /// What it is.
    pub fn kind(&self) -> Option<&NodeKind> {
        let remote = self.remote.as_ref().or(self.was.as_ref());
        self.local.as_ref().map(|local| &local.kind).or(remote.map(|remote| &remote.kind))
    }

    /// The version that the server has of it, or had when it was removed.
    pub fn version(&self) -> Option<&FileVersion> {
        self.remote.as_ref().or(self.was.as_ref())?.file.as_ref()
    }

    /// Its attributes as programs see them.
    pub fn attrs(&self) -> Option<Attrs> {
        let mut attrs = self.stored_attrs()?.clone();
        if let Some(time) = self.times {
            attrs.mtime = time;
            attrs.ctime = time;
        }
        attrs.ctime = self.relinked.map_or(attrs.ctime, |time| time.max(attrs.ctime));
        Some(attrs)
    }

    /// Its flags of `chattr`.
    pub fn flags(&self) -> u32 {
        self.stored_attrs().map_or(0, |attrs| attrs.flags)
    }

    fn stored_attrs(&self) -> Option<&Attrs> {
        let remote = self.remote.as_ref().or(self.was.as_ref());
        self.local.as_ref().map(|local| &local.attrs).or(remote.map(|remote| &remote.attrs))
    }

    /// Its durable row.
    pub fn row(&self) -> InodeRow {
        let taken = self.taken.clone().filter(|_| self.node.is_none());
        InodeRow { node: self.node, local: self.local.clone(), content: self.content_no, pinned: self.pinned, taken }
    }

    /// How many directories it has in it, as far as known.
    pub fn subdirs(&self) -> u32 {
        self.listing().map_or(self.subdir_count, Dir::subdir_count)
    }

    /// Its listing, or what has come of it.
    pub fn listing(&self) -> Option<&Dir> {
        self.dir.as_deref().or(self.growing.as_ref().map(|growing| &growing.dir))
    }

    /// The same, to be changed.
    pub fn listing_mut(&mut self) -> Option<&mut Dir> {
        self.dir.as_deref_mut().or(self.growing.as_mut().map(|growing| &mut growing.dir))
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind().is_some_and(|kind| NodeType::from(kind) == NodeType::Dir)
    }
}

/// All local entries: they hide the remote ones.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    by_parent: HashMap<Ino, BTreeMap<Name, EntryRow>>,
    by_ino: HashMap<Ino, BTreeSet<(Ino, Name)>>,
    kept: BTreeSet<(Ino, Name)>,
    /// Names under which these rows hide what others put there meanwhile; each with the seq before that came.
    hiding: HashMap<(Ino, Name), u64>,
}

impl Overlay {
    pub fn get(&self, parent: Ino, name: &Name) -> Option<EntryRow> {
        self.by_parent.get(&parent)?.get(name).copied()
    }

    pub fn set(&mut self, parent: Ino, name: &Name, row: Option<EntryRow>) {
        if row.is_some_and(|row| row.ticket == KEPT) {
            self.kept.insert((parent, name.clone()));
        } else if !self.kept.is_empty() {
            self.kept.remove(&(parent, name.clone()));
        }
        if row.is_none() && !self.hiding.is_empty() {
            self.hiding.remove(&(parent, name.clone()));
        }
        let old = match row {
            Some(row) => self.by_parent.entry(parent).or_default().insert(name.clone(), row),
            None => self.by_parent.get_mut(&parent).and_then(|names| names.remove(name)),
        };
        if self.by_parent.get(&parent).is_some_and(BTreeMap::is_empty) {
            self.by_parent.remove(&parent);
        }
        if let Some(ino) = old.and_then(|old| old.ino)
            && let Some(places) = self.by_ino.get_mut(&ino)
        {
            places.remove(&(parent, name.clone()));
            if places.is_empty() {
                self.by_ino.remove(&ino);
            }
        }
        if let Some(ino) = row.and_then(|row| row.ino) {
            self.by_ino.entry(ino).or_default().insert((parent, name.clone()));
        }
    }

    pub fn of_parent(&self, parent: Ino) -> impl Iterator<Item = (&Name, &EntryRow)> + '_ {
        self.by_parent.get(&parent).into_iter().flatten()
    }

    /// Directories with local entries.
    pub fn parents(&self) -> impl Iterator<Item = Ino> + '_ {
        self.by_parent.keys().copied()
    }

    pub fn of_ino(&self, ino: Ino) -> impl Iterator<Item = &(Ino, Name)> + '_ {
        self.by_ino.get(&ino).into_iter().flatten()
    }

    /// Directories with local entries of their own: those that only keep a folder in its place do not count.
    pub fn parents_needed(&self) -> impl Iterator<Item = Ino> + '_ {
        let is_kept = |parent: Ino, name: &Name| self.kept.contains(&(parent, name.clone()));
        let needed = self
            .by_parent
            .iter()
            .filter(move |(parent, names)| self.kept.is_empty() || names.keys().any(|name| !is_kept(**parent, name)));
        needed.map(|(parent, _)| *parent)
    }

    pub fn is_empty(&self) -> bool {
        self.by_parent.is_empty()
    }

    /// Notes that a row hides what others put under its name after this seq.
    pub fn note_hiding(&mut self, parent: Ino, name: &Name, seq: u64) {
        self.hiding.entry((parent, name.clone())).or_insert(seq);
    }

    /// What these rows hide they hide since this seq at the latest.
    pub fn hide_from(&mut self, seq: u64) {
        self.hiding.values_mut().for_each(|before| *before = seq.min(*before));
    }

    /// All places that it has rows for.
    pub fn places(&self) -> Vec<(Ino, Name)> {
        let of_folder = |(parent, names): (&Ino, &BTreeMap<Name, EntryRow>)| {
            let parent = *parent;
            names.keys().map(move |name| (parent, name.clone())).collect::<Vec<_>>()
        };
        self.by_parent.iter().flat_map(of_folder).collect()
    }

    /// The seq before the first of what these rows hide.
    pub fn hiding_since(&self) -> Option<u64> {
        self.hiding.values().min().copied()
    }

    /// Rows that keep a folder in its place, or hide its other one.
    pub fn kept_dirs(&self) -> Vec<(Ino, Name, Option<Ino>)> {
        let child = |parent, name| self.get(parent, name).and_then(|row| row.ino);
        self.kept.iter().map(|(parent, name)| (*parent, name.clone(), child(*parent, name))).collect()
    }
}

/// A queued operation in memory.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub op: QueuedOp,
    /// Set while a snapshot of its content is being uploaded: later writes need an operation of their own.
    pub prepared: Option<u64>,
    /// The snapshot whose content the frozen operation brings, if it was frozen by this daemon: what was prepared later
    /// says nothing of what the server has.
    pub sent: Option<u64>,
    /// Monotonic time at which it was queued (of this daemon).
    pub since: Duration,
}

/// The queue, with what each inode, name and directory has in it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub ops: BTreeMap<Ticket, Queued>,
    /// Changes whenever something is queued, changed or taken out.
    pub generation: u64,
    by_ino: HashMap<Ino, BTreeSet<Ticket>>,
    by_place: HashMap<(Ino, Name), BTreeSet<Ticket>>,
    in_dir: HashMap<Ino, InDir>,
}

/// What happens in one directory.
#[derive(Debug, Clone, Copy)]
struct InDir {
    count: usize,
    /// None that came later is left.
    last: Ticket,
}

fn forget<K: Eq + std::hash::Hash>(index: &mut HashMap<K, BTreeSet<Ticket>>, key: &K, ticket: Ticket) {
    if let Some(tickets) = index.get_mut(key) {
        tickets.remove(&ticket);
        if tickets.is_empty() {
            index.remove(key);
        }
    }
}

/// The content that an operation brings, once it is frozen.
pub(super) fn sent_content(op: &QueuedOp) -> Option<&Content> {
    match &op.frozen.as_ref()?.kind {
        OpKind::Create { content, .. } => content.as_ref(),
        OpKind::Write { content, .. } => Some(content),
        _ => None,
    }
}

impl Queue {
    pub fn set(&mut self, ticket: Ticket, op: Option<QueuedOp>, now: Duration) {
        self.generation += 1;
        let old = self.ops.remove(&ticket);
        if let Some(old) = &old {
            self.unindex(ticket, &old.op);
        }
        let Some(op) = op else { return };
        for ino in op.op.inodes() {
            self.by_ino.entry(ino).or_default().insert(ticket);
        }
        for (parent, name) in op.op.places() {
            self.by_place.entry((parent, name.clone())).or_default().insert(ticket);
            let in_dir = self.in_dir.entry(parent).or_insert(InDir { count: 0, last: ticket });
            (in_dir.count, in_dir.last) = (in_dir.count + 1, in_dir.last.max(ticket));
        }
        let queued = match old {
            None => Queued { op, prepared: None, sent: None, since: now },
            Some(old) => {
                let is_as_sent = sent_content(&old.op) == sent_content(&op);
                let sent = if is_as_sent { old.sent } else { old.prepared };
                Queued { op, prepared: old.prepared, sent, since: old.since }
            }
        };
        self.ops.insert(ticket, queued);
    }

    fn unindex(&mut self, ticket: Ticket, op: &QueuedOp) {
        for ino in op.op.inodes() {
            forget(&mut self.by_ino, &ino, ticket);
        }
        for (parent, name) in op.op.places() {
            forget(&mut self.by_place, &(parent, name.clone()), ticket);
            if let Some(in_dir) = self.in_dir.get_mut(&parent) {
                in_dir.count -= 1;
                if in_dir.count == 0 {
                    self.in_dir.remove(&parent);
                }
            }
        }
    }

    /// Operations about an inode, in order.
    pub fn of_ino(&self, ino: Ino) -> impl DoubleEndedIterator<Item = (Ticket, &Queued)> + '_ {
        let tickets = self.by_ino.get(&ino).into_iter().flatten();
        tickets.filter_map(|&ticket| Some((ticket, self.ops.get(&ticket)?)))
    }

    /// Operations that name a place, in order.
    pub fn of_place(&self, parent: Ino, name: &Name) -> impl DoubleEndedIterator<Item = (Ticket, &Queued)> + '_ {
        let tickets = self.by_place.get(&(parent, name.clone())).into_iter().flatten();
        tickets.filter_map(|&ticket| Some((ticket, self.ops.get(&ticket)?)))
    }

    /// Whether any operation happens in a directory.
    pub fn touches_dir(&self, dir: Ino) -> bool {
        self.in_dir.contains_key(&dir)
    }

    /// No operation that came later is left in a directory; `None`: none at all.
    pub fn last_in_dir(&self, dir: Ino) -> Option<Ticket> {
        self.in_dir.get(&dir).map(|in_dir| in_dir.last)
    }

    /// Directories in which operations happen.
    pub fn dirs(&self) -> impl Iterator<Item = Ino> + '_ {
        self.in_dir.keys().copied()
    }

    /// Operations that go to the server, be it that a person decides first.
    pub fn to_send(&self) -> impl DoubleEndedIterator<Item = (Ticket, &Queued)> + '_ {
        let ops = self.ops.iter().filter(|(_, queued)| queued.op.verdict != Verdict::LocalOnly);
        ops.map(|(ticket, queued)| (*ticket, queued))
    }

    pub fn last_ticket(&self) -> Option<Ticket> {
        self.to_send().next_back().map(|(ticket, _)| ticket)
    }
}

/// The next numbers to give out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub ino: u64,
    pub ticket: u64,
    pub content: u64,
    /// The highest operation counter that was used.
    pub operation: u64,
    /// All answers up to this counter have been applied.
    pub answered: u64,
}

/// Everything, behind the tree's one lock.
#[derive(Debug, Default)]
pub(super) struct State {
    pub pins: super::pins::Pins,
    pub formers: Formers,
    /// Boxed: a map that grows holds its old and its new table at once, half of them empty.
    pub inodes: HashMap<Ino, Box<Inode>>,
    /// Inodes that the kernel knows and memory does not hold.
    pub swept: Swept,
    /// Names in the listings at hand, about.
    pub listed_names: usize,
    /// What was let go of memory had come into the database by then: what was read there later lacks nothing of it.
    pub let_go: Position,
    pub by_node: HashMap<NodeId, Ino>,
    pub overlay: Overlay,
    pub queue: Queue,
    pub pending: PendingRemote,
    pub counters: Counters,
    /// `None` until the first full pull is complete.
    pub cursor: Option<Cursor>,
    /// Files of which others' versions came that did not show, because something of them was dirty or queued; with the seq up
    /// to which all had shown.
    pub hidden: HashMap<Ino, u64>,
    /// Whether what was hidden before this start and the last full pull is among them.
    pub is_hidden_known: bool,
    /// Folders that were listed before the first full pull was complete.
    pub listed: HashSet<NodeId>,
    /// Folders that are being listed.
    pub listings: Listings,
    /// So many inodes in memory are worth a sweep.
    pub sweep_at: usize,
    /// Up to where the database was when memory was swept: what came into it since may be let go of now.
    pub swept_upto: Position,
    /// Fewer never are, if not the usual number.
    pub sweep_min: Option<usize>,
    /// The kernel may know inodes up to this one from an earlier daemon of the same mount.
    pub inherited_max: u64,
    /// Inodes that are gone, until the database knows it.
    pub gone: HashMap<Ino, Position>,
    /// Deletes that wait for a verdict, or have one.
    pub mass_delete: MassDelete,
    /// Room on the server.
    pub room: Room,
    /// Names of files that stay on this device.
    pub local_names: LocalNames,
    /// Places for which the server asked for another name: see [`super::alt_name`].
    pub contended: HashSet<Place>,
}

impl State {
    pub fn next_ino(&mut self) -> Ino {
        self.counters.ino += 1;
        Ino(self.counters.ino)
    }

    pub fn next_ticket(&mut self) -> Ticket {
        self.counters.ticket += 1;
        Ticket(self.counters.ticket)
    }

    pub fn next_content(&mut self) -> ContentNo {
        self.counters.content += 1;
        ContentNo(self.counters.content)
    }
}
