//! Owns changes: rows of a space's state as of a seq. Pull, listing and answers speak in these.
//!
//! A row is a whole state, never a difference: applying it twice, or in any order with the higher
//! seq winning, gives the same. A row never overwrites one of a higher seq.

use crate::ids::{ConflictId, DeviceId, EpochId, JournalHash, NodeId, VersionId};
use crate::name::Name;
use crate::node::{FileVersion, NodeState, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where a device stands in a space's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cursor {
    /// Which history.
    pub epoch: EpochId,
    /// How far; 0 before the first change.
    pub seq: u64,
    /// The journal's running hash at `seq`.
    pub hash: JournalHash,
}

/// One row with the seq at which it came to be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// Since when.
    pub seq: u64,
    /// Which row, and its state.
    pub row: Row,
}

/// A row of a space's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// A node; `None` once it is gone.
    Node {
        /// Its id.
        node: NodeId,
        /// Its state.
        #[cfg_attr(feature = "openapi", schema(value_type = Option<NodeState>))]
        state: Option<Arc<NodeState>>,
    },
    /// An entry; `None` once the name is free.
    Entry {
        /// The directory.
        parent: NodeId,
        /// The name.
        name: Name,
        /// What it names.
        node: Option<NodeId>,
    },
    /// `node` was made at the same time as `target` under the same name: one folder, for ever.
    Alias {
        /// The id that was never made.
        node: NodeId,
        /// The folder that stands for it.
        target: NodeId,
    },
    /// A conflict record; `None` once resolved.
    Conflict {
        /// Its id.
        conflict: ConflictId,
        /// Its state.
        state: Option<Box<ConflictState>>,
    },
}

/// An open conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConflictState {
    /// The node whose content was contended.
    pub node: NodeId,
    /// The device whose content did not stay.
    pub device: DeviceId,
    /// That device's name when it happened.
    pub device_name: String,
    /// When, by the server's clock.
    pub time: Timestamp,
    /// The content that did not stay.
    pub theirs: FileVersion,
    /// The content that stayed, as of the conflict.
    pub stayed: VersionId,
    /// The node that shows the content beside the other, if there is one.
    pub sibling: Option<NodeId>,
}
