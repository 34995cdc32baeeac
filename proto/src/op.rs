//! Owns operations: what a device asks the server to do, and what its author had seen.
//!
//! An operation's id is (device, space, [`Operation::counter`]): the device is known from the token,
//! the space from the address. Counters of a device strictly increase; the counter is also the
//! device's component in the version vector of the content that the operation brings.

use crate::ids::{NodeId, SpaceId};
use crate::name::Name;
use crate::node::{AttrChange, Attrs, Content, NodeKind, Timestamp};
use crate::version::VersionVector;
use serde::{Deserialize, Serialize};

/// A place in the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Place {
    /// The directory.
    pub parent: NodeId,
    /// The name in it.
    pub name: Name,
}

/// A node as the author of an operation saw it, about to be displaced or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Seen {
    /// Which node stood there.
    pub node: NodeId,
    /// The vector of its content; empty for what has no content.
    #[serde(default)]
    pub vector: VersionVector,
    /// How much of the journal its author had applied when it removed a folder: what came later is not removed with it.
    /// `None`: as much as the push says.
    // Never left out: in the binary form a field is known by its place, and another one follows.
    #[serde(default)]
    pub seq: Option<u64>,
    /// The `alt_name` of the author's own operation that brought it to its place and whose answer was not known yet: if that
    /// name was taken, the node stands beside it under this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alt_name: Option<Name>,
}

impl OpKind {
    /// What it says of nodes that it lifts from their places: the one that goes or moves, then the displaced one.
    pub fn seen_mut(&mut self) -> impl Iterator<Item = &mut Seen> {
        let (first, second) = match self {
            Self::Unlink { seen, .. } => (Some(seen), None),
            Self::Rename { seen, displaced, .. } => (Some(seen), displaced.as_mut()),
            Self::Create { .. }
            | Self::Write { .. }
            | Self::SetAttr { .. }
            | Self::Link { .. }
            | Self::Attach { .. } => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Where it brings a node, or bytes, as its author knew it.
    pub fn brings_to(&self) -> Option<&Place> {
        match self {
            Self::Create { place, .. }
            | Self::Write { place, .. }
            | Self::Link { place, .. }
            | Self::Attach { place, .. }
            | Self::Rename { to: place, .. } => Some(place),
            Self::SetAttr { .. } | Self::Unlink { .. } => None,
        }
    }
}

/// One change, as its author made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Operation {
    /// Strictly increasing per device and space, from 1.
    pub counter: u64,
    /// When, by the author's clock. Shown to people; decides nothing.
    pub time: Timestamp,
    /// The name to take if the wanted one is taken.
    pub alt_name: Option<Name>,
    /// What to do.
    pub kind: OpKind,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OpKind {
    /// Makes a node and its first entry; a file with its first version. The author saw the place empty.
    Create {
        /// The new node's id.
        node: NodeId,
        /// Where.
        place: Place,
        /// What.
        kind: NodeKind,
        /// With which attributes.
        attrs: Attrs,
        /// The first content; `Some` exactly for regular files.
        content: Option<Content>,
    },
    /// Brings a new content of a file.
    Write {
        /// Which file.
        node: NodeId,
        /// Where the author saw it; used to bring it back if it is gone by now.
        place: Place,
        /// The vector of the content that it was made from.
        base: VersionVector,
        /// The new content.
        content: Content,
        /// Attributes that change with it (mtime, ctime, dropped setuid bits).
        attrs: AttrChange,
    },
    /// Changes attributes and xattrs.
    SetAttr {
        /// Which node.
        node: NodeId,
        /// What changes.
        attrs: AttrChange,
    },
    /// Adds an entry for a node that is no directory. The author saw the place empty.
    Link {
        /// Which node.
        node: NodeId,
        /// Where.
        place: Place,
    },
    /// Removes an entry; the node goes with its last one. A directory takes along only what the
    /// author's cursor covers.
    Unlink {
        /// Which entry.
        place: Place,
        /// What stood there.
        seen: Seen,
    },
    /// Moves an entry.
    Rename {
        /// From where.
        from: Place,
        /// To where.
        to: Place,
        /// Which node moves, and its content's vector.
        seen: Seen,
        /// What stood at `to`, and is displaced (or exchanged).
        displaced: Option<Seen>,
        /// Replace, do not replace, or exchange.
        mode: RenameMode,
    },
    /// Attaches a space at a place of a home space (sharing; refused until it exists).
    Attach {
        /// The mount node's id.
        node: NodeId,
        /// Where.
        place: Place,
        /// Which space.
        space: SpaceId,
    },
}

/// The flags of `renameat2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RenameMode {
    /// What stands at the target goes.
    Replace,
    /// Nothing may stand at the target.
    NoReplace,
    /// Both entries swap their nodes.
    Exchange,
}
