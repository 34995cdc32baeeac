//! Owns the local database: remote rows, local rows, queue, cursor, contents. One unit of work is one
//! transaction. Knows nothing of the kernel, the network or files' bytes.
//!
//! Many [`Reader`]s, one [`Writer`]; the writer belongs to the journal's materialiser and nobody else
//! ever changes the database. Start reading at [`rows`] (what is stored) and `schema` (where).

mod codec;
mod error;
mod faults;
mod local;
pub mod ranges;
mod read_known;
mod read_listing;
mod read_local;
mod read_lost;
mod read_remote;
mod read_staged;
mod readers;
mod remote;
pub mod rows;
mod salvage;
mod schema;
mod work;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

pub use error::MetaError;
pub use faults::RowFault;
pub use read_known::KnownFolder;
pub use read_listing::{ChildRow, EntryBrief, KnownInode};
pub use read_remote::{ConflictRecord, RemoteEntry, RemoteNode};
pub use read_staged::StagedChanges;
pub use readers::{Reader, Readers};
pub use salvage::{MARK, Salvaged, finish_rebuild, forget_server, salvage};
pub use schema::{Check, FILE_NAME};
pub use work::{RemoteWork, Staged};
pub use writer::{Marks, Unit, Writer};

/// A result of the database.
pub type Result<T> = std::result::Result<T, MetaError>;
