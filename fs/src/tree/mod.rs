//! Owns what programs see: the remote state and the queue laid over each other. Knows no kernel and no network.

mod error;
mod notify;
mod types;

pub use error::TreeError;
pub use notify::{Invalidation, Notifier};
pub use types::{
    DirEntry, NewNode, NodeType, QueueItem, QueueKey, QueueTotals, Readiness, RenameRequest, Stat, SyncState, Unlisted,
};
