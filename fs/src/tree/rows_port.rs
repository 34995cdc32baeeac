//! Owns what the content store asks of the journal: its log, and the recording of its rows. Exists before
//! the journal does, because recovery needs contents first.

use crate::content::{ContentRows, SmallLog};
use crate::journal::{Journal, JournalError};
use crate::log::Lsn;
use crate::meta::Readers;
use crate::meta::rows::{ContentNo, ContentRow, RowChange};
use std::io;
use std::sync::{Arc, OnceLock, Weak};

/// The journal as contents see it. They do not keep it alive: it keeps them, and its end is what brings
/// the last records into the database. The materialiser itself never comes here.
#[derive(Debug)]
pub(super) struct ContentPort {
    pub readers: Readers,
    pub journal: OnceLock<Weak<Journal>>,
}

fn io_error(error: JournalError) -> io::Error {
    let kind = if error.is_full() { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
    io::Error::new(kind, error)
}

impl ContentPort {
    fn journal(&self) -> io::Result<Arc<Journal>> {
        self.journal.get().and_then(Weak::upgrade).ok_or_else(|| io::Error::other("the journal is not open"))
    }
}

impl SmallLog for ContentPort {
    fn admit(&self) -> io::Result<()> {
        self.journal()?.wait_room().map_err(io_error)
    }

    fn write(&self, no: ContentNo, offset: u64, data: &[u8]) -> io::Result<u64> {
        Ok(self.journal()?.write_small(no, offset, data).map_err(io_error)?.0)
    }

    fn resize(&self, no: ContentNo, size_bytes: u64) -> io::Result<u64> {
        Ok(self.journal()?.resize_small(no, size_bytes).map_err(io_error)?.0)
    }

    fn flush(&self, place: u64) -> io::Result<()> {
        self.journal()?.flush(Lsn(place)).map_err(io_error)
    }

    fn left_behind(&self) -> u64 {
        self.journal().map_or(0, |journal| journal.materialised().0)
    }

    fn mark_open(&self, no: ContentNo, row: &ContentRow, durable: bool) -> io::Result<u64> {
        let journal = self.journal()?;
        // Of an empty file nothing is asked, not even that its name reached the disk.
        let unsynced = if durable || row.size_bytes == 0 { Vec::new() } else { vec![(no, row.size_bytes)] };
        let lsn =
            journal.commit(vec![RowChange::Content(no, Some(Box::new(row.clone())))], unsynced).map_err(io_error)?;
        if durable {
            journal.sync(lsn).map_err(io_error)?;
        }
        Ok(lsn.0)
    }

    fn ask_less(&self, no: ContentNo, size_bytes: u64) -> io::Result<u64> {
        let journal = self.journal()?;
        let lsn = journal.commit(Vec::new(), vec![(no, size_bytes)]).map_err(io_error)?;
        journal.sync(lsn).map_err(io_error)?;
        Ok(lsn.0)
    }

    fn note(&self, no: ContentNo, row: &ContentRow) -> io::Result<u64> {
        let rows = vec![RowChange::Content(no, Some(Box::new(row.clone())))];
        self.journal()?.commit(rows, Vec::new()).map(|lsn| lsn.0).map_err(io_error)
    }
}

impl ContentRows for ContentPort {
    fn load(&self, no: ContentNo) -> io::Result<Option<ContentRow>> {
        self.readers.get().and_then(|reader| reader.content(no)).map_err(io::Error::other)
    }

    fn record(&self, numbers: &[ContentNo]) -> io::Result<()> {
        self.journal()?.record_contents(numbers).map_err(io_error)
    }
}
