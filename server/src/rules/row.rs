//! Owns the rows that rules read and write, and the keys by which a rule asks for them.

use tarn_proto::change::ConflictState;
use tarn_proto::ids::{ConflictId, ContentId, DeviceId, NodeId, VersionId};
use tarn_proto::node::{FileVersion, NodeState};
use tarn_proto::op::Place;

/// What a rule may ask to be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The node, its present entries; if gone its last state; if an alias its target.
    Node(NodeId),
    /// The node and all folders above it.
    Chain(NodeId),
    /// The entry at a place, and the node that it names.
    Place(Place),
    /// A folder's entries and nodes, and those of all folders below it.
    Tree(NodeId),
    /// What the same operation took away with this folder.
    GoneTree(NodeId),
    /// Which node a version belongs to.
    Version(VersionId),
    /// The open conflicts of a node.
    Conflicts(NodeId),
    /// How much of a lost history was brought back for a node, or for the conflict of that id.
    Recovered(NodeId),
    /// Which of these devices were removed.
    Devices(Vec<DeviceId>),
}

/// A present node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRow {
    /// Since when it is so.
    pub seq: u64,
    /// Which device made it so.
    pub device: DeviceId,
    /// Since when its content is so.
    pub content_seq: u64,
    /// Which device's operation brought its content.
    pub content_device: DeviceId,
    /// The state.
    pub state: NodeState,
}

impl NodeRow {
    /// The content of a file.
    pub fn file(&self) -> Option<&FileVersion> {
        self.state.file.as_ref()
    }
}

/// A node that was removed, as long as it is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct GoneNode {
    /// What it was.
    pub row: NodeRow,
    /// When it went.
    pub seq: u64,
    /// The last entry that named it.
    pub place: Option<Place>,
}

/// What is known of a node id.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeSlot {
    /// Nothing: it was never seen, or is forgotten.
    Unknown,
    /// It belongs to another space.
    Foreign,
    /// It is there.
    Present(NodeRow),
    /// It was there.
    Gone(Box<GoneNode>),
    /// Another node stands for it.
    Alias(AliasRow),
}

/// One node stands for another, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AliasRow {
    /// The node that stands for it; never itself an alias.
    pub target: NodeId,
    /// Since when.
    pub seq: u64,
}

/// A present entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRow {
    /// What it names.
    pub node: NodeId,
    /// Since when.
    pub seq: u64,
    /// Which device made it so.
    pub device: DeviceId,
    /// The removed folder that its author put it in, if the one in which it stands took that one's name.
    pub meant_for: Option<NodeId>,
}

/// An open conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictRow {
    /// Its id.
    pub id: ConflictId,
    /// Since when it is so.
    pub seq: u64,
    /// Its state.
    pub state: ConflictState,
}

/// A version that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRow {
    /// Whose content it is.
    pub node: NodeId,
    /// Its bytes.
    pub content_id: ContentId,
}
