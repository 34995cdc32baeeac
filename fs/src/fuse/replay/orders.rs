//! Owns what the daemon and its player say to each other: an order on a line of JSON, an answer on another.

use serde::{Deserialize, Serialize};
use tarn_proto::node::{ByteString, NodeKind};

/// A folder of the mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Its path from the mount's root, with a leading `/`.
    pub path: ByteString,
    /// Its inode: if something else is there, nothing is done.
    pub ino: u64,
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The folder.
    pub folder: Folder,
    /// The name.
    pub name: ByteString,
}

/// A change to be made a second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Make a name.
    Make {
        /// Which.
        at: Place,
        /// Of what kind.
        kind: NodeKind,
    },
    /// Remove a name.
    Remove {
        /// Which.
        at: Place,
        /// What it stands for.
        ino: u64,
        /// It is a folder.
        is_dir: bool,
    },
    /// Move a name.
    Rename {
        /// Which.
        from: Place,
        /// Where to.
        to: Place,
        /// What it stands for.
        ino: u64,
    },
    /// Say that something changed.
    Touch {
        /// Which.
        at: Place,
        /// What it stands for.
        ino: u64,
        /// How.
        change: Change,
    },
}

/// How something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Its attributes.
    Attributes,
    /// Its content, of a file that nobody may open to be written: a program that runs cannot be, and must not fail to start.
    Content,
    /// Its content.
    Written,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It is done.
    Done,
    /// The kernel knows a name otherwise than it was said to be.
    Stale,
    /// The kernel refused it, with this errno.
    Failed(i32),
}
