//! Owns the plain types in which the tree answers.

use crate::meta::rows::{Ino, Ticket};
use std::collections::BTreeMap;
use std::time::Duration;
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, ByteString, NodeKind};
use tarn_proto::op::RenameMode;

/// What `stat` wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The inode.
    pub ino: Ino,
    /// What it is.
    pub kind: NodeKind,
    /// Its attributes (as stored; the mount may show another owner).
    pub attrs: Attrs,
    /// Size in bytes: of a file its content's, of a symlink its target's, else 0.
    pub size_bytes: u64,
    /// Allocated bytes on the local disk.
    pub allocated_bytes: u64,
    /// Number of names; of a directory 2 plus its subdirectories as far as known.
    pub link_count: u32,
}

/// What a new node is made of.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, ByteString>,
    /// Open from the start, and whether for writing: so it is not sent before its first bytes.
    pub open: Option<bool>,
}

impl NewNode {
    /// A node of root's, closed, without extended attributes.
    pub fn plain(kind: NodeKind, mode: u32) -> Self {
        Self { kind, mode, uid: 0, gid: 0, xattrs: BTreeMap::new(), open: None }
    }
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Where to go on after it.
    pub cookie: u64,
    /// Its name.
    pub name: Name,
    /// What it names.
    pub ino: Ino,
    /// What that is.
    pub node_type: NodeType,
}

/// What a node is, without what belongs to the single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeType {
    /// A regular file.
    File,
    /// A directory, or a space that is attached.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl From<&NodeKind> for NodeType {
    fn from(kind: &NodeKind) -> Self {
        match kind {
            NodeKind::File => Self::File,
            NodeKind::Dir | NodeKind::Mount { .. } => Self::Dir,
            NodeKind::Symlink { .. } => Self::Symlink,
            NodeKind::Fifo => Self::Fifo,
            NodeKind::Socket => Self::Socket,
            NodeKind::CharDevice { .. } => Self::CharDevice,
            NodeKind::BlockDevice { .. } => Self::BlockDevice,
        }
    }
}

/// A rename as a program asks for it.
#[derive(Debug, Clone)]
pub struct RenameRequest {
    /// The old directory.
    pub parent: Ino,
    /// The old name.
    pub name: Name,
    /// The new directory.
    pub to_parent: Ino,
    /// The new name.
    pub to_name: Name,
    /// Which kind.
    pub mode: RenameMode,
}

/// Why a queued operation cannot be sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It can be sent.
    Ready,
    /// Programs still write its file; `quiet` since the last write, `age` since the first unsent one.
    Open {
        /// Since the last write.
        quiet: Duration,
        /// Since the operation was queued.
        age: Duration,
    },
    /// An earlier operation on the same content has been sent and not been answered.
    InFlight,
    /// It is one of many deletes: they are looked at together when no further one comes.
    Quiet {
        /// When that may be.
        left: Duration,
    },
    /// It may be the first half of a save: the second one changes what is sent.
    Half {
        /// How long it waits for that.
        left: Duration,
    },
}

/// From which size on a delete is unusual: more than both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteLimits {
    /// Files.
    pub count: u64,
    /// Percent of what the space holds.
    pub percent: u8,
}

/// Deletes that are held until a person decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldDeletes {
    /// Operations, those that name the same nodes included.
    pub operations: u64,
    /// Deletes among them.
    pub deletes: u64,
    /// The path of one of them, below the root.
    pub sample: String,
}

/// A queued operation as the sync engine sees it.
#[derive(Debug, Clone)]
pub struct QueueItem {
    /// Its place in the queue.
    pub ticket: Ticket,
    /// The file whose content it brings, if it brings one.
    pub content_of: Option<Ino>,
    /// Bytes of that content.
    pub content_bytes: u64,
    /// Whether it can be sent.
    pub readiness: Readiness,
    /// Its counter, once it has been given its final wire form (it may have reached the server already).
    pub frozen: Option<u64>,
    /// What it touches: its node and the names that it makes, changes or removes. Of two operations of
    /// which one touches what the other touches or lies below, the later never overtakes the earlier.
    pub keys: Vec<QueueKey>,
    /// The directories above what it touches, up to the root, in any order.
    pub above: Vec<Ino>,
    /// Whether it lies in a tree that needs order (holds `.git`, or by setting).
    pub ordered_tree: Option<Ino>,
}

/// What a queued operation touches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum QueueKey {
    /// A node.
    Inode(Ino),
    /// A name.
    Entry(Ino, Name),
}

/// Operations that wait for room on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRoom {
    /// How many.
    pub operations: u64,
    /// Bytes that they need.
    pub bytes: u64,
    /// The first file of them, below the root.
    pub sample: String,
}

/// What is queued, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueTotals {
    /// Operations.
    pub operations: u64,
    /// Bytes of content that they bring.
    pub bytes: u64,
    /// Files that stay on this device.
    pub local_only: u64,
}

/// What a node is to the server, for status and `user.tarn.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncState {
    /// Nothing is queued for it.
    InSync,
    /// Something is queued for it.
    Dirty,
    /// It has been sent and not been answered.
    Uploading,
    /// It is a lock or a temporary file, which stays on this device.
    LocalOnly,
}

/// A folder of which not all is known that a call must know: list it (further) on the server, then call again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlisted {
    /// The folder.
    pub node: NodeId,
    /// What of its listing has been taken in: what is taken in later has a higher number.
    pub progress: u64,
}
