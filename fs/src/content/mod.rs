//! Owns the bytes of contents on the local disk: backing files and the slab, what of them is present,
//! which of it is dirty, the budget, and snapshots for upload.
//!
//! Never asks the network (level 2, `hydrate`, does and then calls [`LocalContent::fill`]), never decides
//! what is pushed, never writes the log or the database itself: those who own them stand behind
//! [`SmallLog`] and [`ContentRows`]. Never gives a byte that is not there: a read says `Missing`.
//!
//! Start at `state` (what is known of one content), then `local` (reads), `write`, `fill`, `store`.
//!
//! Lock order, outermost first: the gates of evictions and of recording, under which the materialiser is waited for; one
//! content's `sync_gate`; the map of loaded contents; one content's state, never two at a time; then,
//! each alone: the log (through [`SmallLog`]), a freeze, the slab's map, the budget, the order of use,
//! what is pinned, where chunks lie.
//! So nothing that evicts (fill, reserve, trim, evict, rebase, and every change by a program) is called
//! by the materialiser or with a lock that it needs, and no row is taken under the log's lock.
//!
//! A row that becomes part of a logged unit of work is taken while the content is held ([`Hold`]) until the
//! unit is appended: else an eviction in between would make it claim bytes that are gone.

mod aside;
mod borrow;
mod budget;
mod check;
mod evict;
mod fill;
mod inventory;
mod layout;
mod lend;
mod local;
mod materialise;
mod recover;
mod seams;
mod settle;
mod slab;
mod snapshot;
mod sources;
mod state;
mod store;
mod synced;
#[cfg(test)]
mod tests;
mod upload;
mod write;

pub use aside::{set_aside, set_files_aside, set_those_aside};
pub use budget::Reservation;
pub use check::ChunkCheck;
pub use fill::Filled;
pub use layout::Layout;
pub use lend::Lent;
pub use local::{Guard, Hold, LocalContent, LocalState, Read};
pub use materialise::Materialised;
pub use seams::{ContentError, ContentRows, Options, SmallLog, SnapshotError};
pub use settle::Acknowledged;
pub use snapshot::Snapshot;
pub use sources::{Copied, Former};
pub use store::{Contents, Usage};
pub use upload::{UploadPlan, unchanged_ranges};
pub use write::WriteEffect;

/// Unit in which the disk allocates.
pub const BLOCK_BYTES: u64 = 4096;
/// What is evicted of a large content at once: this much, aligned to it. Chunks end inside blocks; these never do.
pub const EXTENT_BYTES: u64 = 1 << 20;
