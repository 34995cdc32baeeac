//! Owns what the content store asks of those who own the log and the database, and its errors.

use crate::meta::rows::{ContentNo, ContentRow};
use std::fmt::Debug;
use std::io;
use tarn_proto::chunk::ContentKey;

/// The log, as far as contents need it. Every call but `admit` is made under the content's lock and in the
/// order in which the changes were made. It may write and sync, but must not wait for the
/// materialiser: that one takes the locks of contents.
pub trait SmallLog: Send + Sync + Debug {
    /// Waits while too much waits for the materialiser. Called before every change, with nothing locked.
    ///
    /// # Errors
    /// The log's or the database's; nothing was changed then.
    fn admit(&self) -> io::Result<()>;
    /// Appends written bytes, and returns the record's place in the log: places go up. They survive kill -9
    /// once [`Self::flush`] returned.
    ///
    /// # Errors
    /// The log's; nothing was written then.
    fn write(&self, no: ContentNo, offset: u64, data: &[u8]) -> io::Result<u64>;
    /// Appends a new size, as [`Self::write`].
    ///
    /// # Errors
    /// The log's; nothing was changed then.
    fn resize(&self, no: ContentNo, size_bytes: u64) -> io::Result<u64>;
    /// Makes records up to this place survive kill -9.
    ///
    /// # Errors
    /// The log's. They have their places all the same, so what they say must be so in memory too: they may become
    /// durable with later ones.
    fn flush(&self, place: u64) -> io::Result<()>;
    /// The place up to which recovery will never replay again. May lag behind, never run ahead.
    fn left_behind(&self) -> u64;
    /// Appends the row of a backing file that is about to be written. With `durable` it survives
    /// power loss when this returns: an older row says something about the file that stops being true.
    /// Without, it is to be flushed as [`Self::write`], and counts as unsynced: recovery stops before it if
    /// [`super::Contents::backing_has`] says that its bytes did not reach the disk. Returns the record's place.
    ///
    /// # Errors
    /// The log's; without `durable`, nothing was changed then.
    fn mark_open(&self, no: ContentNo, row: &ContentRow, durable: bool) -> io::Result<u64>;
    /// Says that all of a backing file reached the disk, which is about to be shortened to `size_bytes`: unsynced records
    /// before this one ask for no more of it. Survives power loss when this returns. Returns the record's place.
    ///
    /// # Errors
    /// The log's; nothing was changed then.
    fn ask_less(&self, no: ContentNo, size_bytes: u64) -> io::Result<u64>;
    /// Appends the row of a content that came to rest: what is written later is logged later. It survives
    /// kill -9 with whatever is flushed next. Returns its place in the log.
    ///
    /// # Errors
    /// The log's; the content is at rest all the same, and says so with its next row.
    fn note(&self, no: ContentNo, row: &ContentRow) -> io::Result<u64>;
}

/// The rows of contents, as far as contents need them.
pub trait ContentRows: Send + Sync + Debug {
    /// The row of a content.
    ///
    /// # Errors
    /// The database's.
    fn load(&self, no: ContentNo) -> io::Result<Option<ContentRow>>;
    /// Has the rows of these contents committed, as [`super::Contents::materialise`] gives them, and waits
    /// until they are durable against power loss. Everything logged before the call is committed first, so
    /// that replay does not bring older rows back. Rows that were removed meanwhile stay removed.
    ///
    /// # Errors
    /// The database's; they may have been committed all the same.
    fn record(&self, numbers: &[ContentNo]) -> io::Result<()>;
}

/// Bounds of a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most bytes of clean content, in allocated blocks.
    pub budget_bytes: u64,
    /// Free space of the disk that is left alone.
    pub floor_bytes: u64,
    /// What chunk ids depend on.
    pub key: ContentKey,
    /// Backing files are lent to the kernel, now or in an earlier life; that takes a file system with leases.
    pub lends: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            budget_bytes: crate::limits::CACHE_BYTES_DEFAULT,
            floor_bytes: crate::limits::FREE_FLOOR_BYTES,
            key: ContentKey::Ordinary,
            lends: false,
        }
    }
}

/// Why a content could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The disk said no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The free-space floor is reached and nothing clean is left to drop. ENOSPC.
    #[error("no space left above the free-space floor")]
    NoSpace,
    /// Larger than a file may be. EFBIG.
    #[error("a file cannot be that large")]
    TooLarge,
    /// The store has no such content.
    #[error("there is no local content {0:?}")]
    Unknown(ContentNo),
    /// Clean and dirty content do not fit what was asked: a dirty content was to be rebased.
    #[error("the content is dirty")]
    Dirty,
}

/// A range of a file read or written that is not there.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Later writes outgrew what may be set aside, or replaced what was not there yet. Take a new snapshot.
    #[error("the snapshot is gone, take another")]
    Stale,
    /// These ranges must be hydrated first.
    #[error("{} ranges are not local", .0.len())]
    Missing(Vec<std::ops::Range<u64>>),
    /// The disk said no.
    #[error(transparent)]
    Io(#[from] io::Error),
}
