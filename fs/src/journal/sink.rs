//! Owns the seam to whoever keeps the bytes of contents.

use crate::meta::rows::{ContentNo, ContentRow};
use std::io;

/// Keeps contents. Called by the materialiser only, under no lock of the journal; it may take locks that
/// are held across a commit (commits never wait for it), not those held across
/// [`super::Journal::wait_room`] or [`super::Journal::drain`].
///
/// Two rules hold it all together. A content's new bytes and the record that says so are made under
/// one lock that [`ContentSink::materialise`] takes too: else a batch could claim a write it has not
/// seen. And bytes that durable rows refer to are never overwritten (new bytes go to new places, the
/// old ones are free once `committed`): else a power cut would leave a mixture.
pub trait ContentSink: Send {
    /// Makes the present bytes of these small contents durable outside the log and gives the rows that
    /// then describe them. `touched` are all contents that records of the batch wrote, resized or
    /// described, and did not remove. What is left out keeps the row that the batch itself brings,
    /// or none. A batch holds everything that was logged before it was taken, so replay never starts
    /// before a record that was there when an earlier call of this began. May be called again with the same ones if anything fails.
    ///
    /// # Errors
    /// The batch is tried again later; nothing is lost.
    fn materialise(&mut self, touched: &[ContentNo]) -> io::Result<Vec<(ContentNo, ContentRow)>>;

    /// The rows that the last [`ContentSink::materialise`] gave are durable now, and these contents
    /// were removed: what they held before may be used again.
    fn committed(&mut self, removed: &[ContentNo]);
}

/// Takes contents back from the log when the journal is opened, before anything is materialised.
/// Calls come in the order of the records; each may be one that was carried out before.
pub trait RecoverySink: ContentSink {
    /// A unit of work set or removed a content's row.
    ///
    /// # Errors
    /// Opening fails; the log stays as it is.
    fn recover_row(&mut self, no: ContentNo, row: Option<&ContentRow>) -> io::Result<()>;

    /// Bytes were written to a small content.
    ///
    /// # Errors
    /// Opening fails; the log stays as it is.
    fn recover_write(&mut self, no: ContentNo, offset: u64, data: &[u8]) -> io::Result<()>;

    /// A small content got a new size.
    ///
    /// # Errors
    /// Opening fails; the log stays as it is.
    fn recover_resize(&mut self, no: ContentNo, size_bytes: u64) -> io::Result<()>;

    /// Whether the backing file of `no` has at least `len_bytes`. If not, the record that refers to
    /// it and all later ones never happened.
    ///
    /// # Errors
    /// Opening fails; the log stays as it is.
    fn backing_has(&mut self, no: ContentNo, len_bytes: u64) -> io::Result<bool>;
}

/// Keeps nothing: for tests that have no contents.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoContents;

impl ContentSink for NoContents {
    fn materialise(&mut self, _touched: &[ContentNo]) -> io::Result<Vec<(ContentNo, ContentRow)>> {
        Ok(Vec::new())
    }

    fn committed(&mut self, _removed: &[ContentNo]) {}
}

impl RecoverySink for NoContents {
    fn recover_row(&mut self, _no: ContentNo, _row: Option<&ContentRow>) -> io::Result<()> {
        Ok(())
    }

    fn recover_write(&mut self, _no: ContentNo, _offset: u64, _data: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn recover_resize(&mut self, _no: ContentNo, _size_bytes: u64) -> io::Result<()> {
        Ok(())
    }

    fn backing_has(&mut self, _no: ContentNo, _len_bytes: u64) -> io::Result<bool> {
        Ok(true)
    }
}
