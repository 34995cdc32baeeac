//! Owns handing contents to the journal: what the materialiser asks, and what recovery brings back.

use crate::content::{Contents, Materialised};
use crate::journal::{ContentSink, RecoverySink};
use crate::meta::rows::{ContentNo, ContentRow};
use std::io;
use std::sync::Arc;

/// The contents of one mount as the journal sees them.
#[derive(Debug)]
pub(super) struct TreeSink {
    contents: Arc<Contents>,
    done: Option<Materialised>,
    /// Whether records of an earlier run are still coming in.
    replays: bool,
}

impl TreeSink {
    /// The sink of a content store.
    pub fn new(contents: Arc<Contents>) -> Self {
        Self { contents, done: None, replays: true }
    }
}

impl ContentSink for TreeSink {
    fn materialise(&mut self, touched: &[ContentNo]) -> io::Result<Vec<(ContentNo, ContentRow)>> {
        if std::mem::take(&mut self.replays) {
            self.contents.replayed_all()?;
        }
        let mut done = self.contents.materialise(touched)?;
        let rows = std::mem::take(&mut done.rows);
        self.done = Some(done);
        Ok(rows)
    }

    fn committed(&mut self, removed: &[ContentNo]) {
        if let Some(done) = self.done.take()
            && let Err(error) = self.contents.after_commit(done)
        {
            tracing::warn!(%error, "space of old contents could not be freed; the next start does it");
        }
        for &no in removed {
            if let Err(error) = self.contents.remove(no) {
                tracing::warn!(%error, content = no.0, "a removed content is still on the disk");
            }
        }
    }
}

impl RecoverySink for TreeSink {
    fn recover_row(&mut self, no: ContentNo, row: Option<&ContentRow>) -> io::Result<()> {
        match row {
            Some(row) => self.contents.replay_row(no, row.clone()),
            None => Ok(()), // its bytes go once the database has forgotten it
        }
    }

    fn recover_write(&mut self, no: ContentNo, offset: u64, data: &[u8]) -> io::Result<()> {
        self.contents.replay_write(no, offset, data)
    }

    fn recover_resize(&mut self, no: ContentNo, size_bytes: u64) -> io::Result<()> {
        self.contents.replay_resize(no, size_bytes)
    }

    fn backing_has(&mut self, no: ContentNo, len_bytes: u64) -> io::Result<bool> {
        Ok(self.contents.backing_has(no, len_bytes))
    }
}
