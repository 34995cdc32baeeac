//! Owns contents whose rows may be older than what is there, because nobody knows how much of the log was in the database:
//! bytes that such a row calls present may have been dropped since, and what is left of them are zeros.

use super::mend::{Rows, copy_as};
use crate::content::{LocalContent, Read};
use crate::env::Disk;
use crate::meta::rows::{ContentNo, ContentPlace, ContentRow, Ino, RowChange};
use crate::tree::assemble::{Ground, OpenError};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// What is dropped is freed in such blocks.
const BLOCK_BYTES: u64 = 4096;
/// Blocks that are looked at together.
const PIECE_BLOCKS: u64 = 256;

/// What became of them.
#[derive(Default)]
pub(super) struct Doubts {
    pub changes: Vec<RowChange>,
    /// Copies of files, for the person to judge.
    pub files: Vec<PathBuf>,
    /// Whose they are.
    pub copied: HashSet<Ino>,
}

impl Doubts {
    /// Takes out of `rows` what cannot be believed: contents that recovery gave up, bytes that the server has, and files that
    /// were open for writing and have holes, which are copied out into `to`.
    pub fn resolve(rows: &mut Rows, ground: &Ground, disk: &dyn Disk, to: &Path) -> Result<Self, OpenError> {
        let mut doubts = Self::default();
        let queued: HashSet<Ino> = rows.queue.iter().filter_map(|(_, queued)| queued.op.content_of()).collect();
        for (no, row) in rows.contents.clone() {
            let is_file = row.place == ContentPlace::File;
            if ground.recovered.given_up.contains(&no) || (is_file && !row.is_dirty && !queued.contains(&row.ino)) {
                doubts.forget(rows, no);
            } else if let (true, Some(base)) = (is_file && row.is_dirty, &row.base) {
                if !row.open_for_writing {
                    doubts.forget_clean(rows, no, row.clone(), base.content.size);
                    continue;
                }
                // All of it counts as written, what was dropped too.
                let content = ground.contents.get(no).map_err(io::Error::other)?;
                if has_empty_block(&content, base.content.size)? {
                    doubts.files.push(copy_as(disk, &content, to, "incomplete ", rows.name_of(row.ino))?);
                    doubts.copied.insert(row.ino);
                    doubts.forget(rows, no);
                }
            }
        }
        Ok(doubts)
    }

    fn forget(&mut self, rows: &mut Rows, no: ContentNo) {
        rows.contents.remove(&no);
        self.changes.push(RowChange::Content(no, None));
    }

    fn forget_clean(&mut self, rows: &mut Rows, no: ContentNo, mut row: ContentRow, base_bytes: u64) {
        row.present.remove(0..base_bytes);
        row.dirty.iter().for_each(|range| row.present.insert(range));
        if rows.contents.insert(no, row.clone()).is_some_and(|before| before.present != row.present) {
            self.changes.push(RowChange::Content(no, Some(Box::new(row))));
        }
    }
}

/// Whether a block below `end` has nothing but zeros.
fn has_empty_block(content: &LocalContent, end: u64) -> io::Result<bool> {
    let end = end.min(content.size_bytes());
    let mut at = 0;
    while at < end {
        let len = (end - at).min(PIECE_BLOCKS * BLOCK_BYTES);
        let Read::Bytes(bytes) = content.read(at, len as usize)? else { return Ok(true) };
        if bytes.is_empty() || bytes.chunks(BLOCK_BYTES as usize).any(|block| block.iter().all(|byte| *byte == 0)) {
            return Ok(true);
        }
        at += len;
    }
    Ok(false)
}
