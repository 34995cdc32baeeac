//! Owns the rows of the local state. The local tables speak inode numbers, the remote ones node ids;
//! an inode's row joins the two.
//!
//! What programs see is the remote rows with the local ones laid over them: an entry row of the local
//! side hides the remote entry of that name, an inode's `local` part hides the remote attributes, its
//! dirty content the remote one. Each local row names the last queued operation (its ticket) that
//! needs it; when that operation is settled the row goes, and the remote state shows.

use crate::meta::ranges::RangeSet;
use serde::{Deserialize, Serialize};
use tarn_proto::ids::{NodeId, VersionId};
use tarn_proto::name::Name;
use tarn_proto::node::{AttrChange, Attrs, Content, NodeKind, Timestamp};
use tarn_proto::op::{Operation, RenameMode, Seen};
use tarn_proto::version::VersionVector;

/// An inode number: what the kernel sees. Never used again, stable across mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ino(pub u64);

/// The root of the mount.
pub const ROOT: Ino = Ino(1);

/// A place in the queue: later operations have higher tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub u64);

/// Names a local content (a slab slot or a backing file). Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentNo(pub u64);

/// An inode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InodeRow {
    /// Which node it shows; `None` once it is an orphan (unlinked or displaced while open).
    pub node: Option<NodeId>,
    /// Its state as far as it differs from the node's remote row, or has none.
    pub local: Option<Box<LocalNode>>,
    /// Its local content, if there is any.
    pub content: Option<ContentNo>,
    /// Whether it was pinned by a person.
    pub pinned: bool,
    /// Of an orphan: where it had its last name, if others took that away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<(Ino, Name)>,
}

/// A node's local state, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalNode {
    /// What it is.
    pub kind: NodeKind,
    /// Its attributes.
    pub attrs: Attrs,
    /// The last operation that needs this row.
    pub ticket: Ticket,
}

/// A local entry: hides the remote entry of the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRow {
    /// What the name stands for; `None`: the name is free.
    pub ino: Option<Ino>,
    /// The last operation that needs this row.
    pub ticket: Ticket,
}

/// Where the bytes of a local content are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentPlace {
    /// Nowhere yet: all present bytes are in the log (or there are none).
    None,
    /// A slot of the slab, starting at this byte; 4 KiB blocks.
    Slab {
        /// First byte in the slab.
        offset: u64,
        /// Bytes of the slot.
        capacity_bytes: u32,
    },
    /// The sparse backing file named by the content's number.
    File,
}

/// The version that a local content shows or was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseVersion {
    /// The content.
    pub content: Content,
    /// What it has seen.
    pub vector: VersionVector,
}

impl ContentRow {
    /// Whether it was open for writing, and nothing of it is said to be here.
    pub fn says_no_bytes_of_open(&self) -> bool {
        self.open_for_writing && self.present.is_empty() && self.dirty.is_empty()
    }
}

impl BaseVersion {
    /// Whether it is a version of another file, from which the bytes were taken over: a file's own has seen its author.
    pub fn is_borrowed(&self) -> bool {
        self.vector.is_empty()
    }
}

/// A local content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentRow {
    /// Its inode.
    pub ino: Ino,
    /// Size in bytes as programs see it.
    pub size_bytes: u64,
    /// Where its bytes are.
    pub place: ContentPlace,
    /// What it was made from; `None` for what was made here.
    pub base: Option<BaseVersion>,
    /// Byte ranges that are there and durable. Bytes of `dirty` ranges are always there.
    pub present: RangeSet,
    /// Byte ranges that differ from `base`; empty and `base` set: clean.
    pub dirty: RangeSet,
    /// Whether anything (a size change, too) differs from `base`.
    pub is_dirty: bool,
    /// Set before the first write of a backing file, cleared when its size and dirty ranges are
    /// recorded: recovery takes the size from the file and counts all of it as dirty.
    pub open_for_writing: bool,
}

/// A queued operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedOp {
    /// What was done.
    pub op: LocalOp,
    /// When, by the local clock.
    pub time: Timestamp,
    /// What will be or was sent, once decided: from then on nothing changes it.
    pub frozen: Option<Operation>,
    /// How often the server asked for another name.
    pub name_tries: u32,
    /// Whether it may be sent.
    #[serde(default)]
    pub verdict: Verdict,
}

/// Whether an operation may be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Nobody has said otherwise.
    #[default]
    Open,
    /// It is one of unusually many deletes, or touches what they touch: a person decides.
    Held,
    /// A person has let it go.
    Confirmed,
    /// It makes a lock or a temporary file, which stays on this device.
    LocalOnly,
}

impl Verdict {
    /// Whether it is to be sent as things stand.
    pub fn may_go(self) -> bool {
        matches!(self, Self::Open | Self::Confirmed)
    }
}

/// A change that a program made, in terms of inodes and of what was seen when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocalOp {
    /// A new node; kind, attributes and content are the inode's when it is frozen.
    Create {
        /// The new inode.
        ino: Ino,
        /// Its directory.
        parent: Ino,
        /// Its name.
        name: Name,
    },
    /// New content of a file; the content is the inode's when it is frozen.
    Write {
        /// The file.
        ino: Ino,
        /// Where it was seen.
        parent: Ino,
        /// Its name there.
        name: Name,
        /// Attributes that change with it.
        attrs: AttrChange,
        /// What the content replaces, where it was not made from it (a temporary file renamed over).
        over: Option<VersionVector>,
    },
    /// New attributes.
    SetAttr {
        /// The node.
        ino: Ino,
        /// What changes.
        attrs: AttrChange,
    },
    /// One more name.
    Link {
        /// The node.
        ino: Ino,
        /// The new name's directory.
        parent: Ino,
        /// The new name.
        name: Name,
    },
    /// A name less.
    Unlink {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Name,
        /// What stood there.
        ino: Ino,
        /// The same, for the server.
        seen: Seen,
    },
    /// A moved name.
    Rename {
        /// What moved.
        ino: Ino,
        /// The old directory.
        parent: Ino,
        /// The old name.
        name: Name,
        /// The new directory.
        to_parent: Ino,
        /// The new name.
        to_name: Name,
        /// The moved node, for the server.
        seen: Seen,
        /// What stood at the new place: inode and node.
        displaced: Option<(Ino, Seen)>,
        /// Which kind of rename.
        mode: RenameMode,
    },
}

/// One change of the local state. A unit of work is a list of these, applied together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowChange {
    /// Sets or removes an inode.
    Inode(Ino, Option<InodeRow>),
    /// Sets or removes a local entry.
    Entry(Ino, Name, Option<EntryRow>),
    /// Sets or removes a content.
    Content(ContentNo, Option<Box<ContentRow>>),
    /// Sets or removes a queued operation.
    Queue(Ticket, Option<Box<QueuedOp>>),
    /// Raises the highest counter used in operations.
    Counter(u64),
    /// Forgets a version's place in the rescue list, or adds it: (version, path it had).
    Rescue(VersionId, Option<String>),
}

// A folder of many names brings one for each of them.
const _: () = assert!(size_of::<RowChange>() <= 96);
