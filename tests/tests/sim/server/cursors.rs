//! Owns what the server says to where a device stands: in this history, ahead of it, in another one, or too far behind.

use super::{Backup, SimServer, is_gone, refused};
use tarn::remote::RemoteError;
use tarn_proto::change::Cursor;
use tarn_proto::error::ErrorCode;

impl SimServer {
    pub(super) fn check_cursor(&self, cursor: &Cursor) -> Result<(), RemoteError> {
        if cursor.epoch != self.epoch {
            return Err(refused(ErrorCode::EpochChanged, "the cursor is of another epoch"));
        }
        if (1..self.oldest_seq).contains(&cursor.seq) {
            return Err(refused(ErrorCode::CursorExpired, "what was gone then is forgotten"));
        }
        match self.hashes.get(cursor.seq as usize) {
            None => Err(refused(ErrorCode::LaggingReplica, "the cursor is ahead of this server")),
            Some(hash) if *hash != cursor.hash => {
                Err(refused(ErrorCode::EpochChanged, "the hash is of another history"))
            }
            Some(_) => Ok(()),
        }
    }

    /// Nobody is told any more of what is gone by now: who was away since before must pull everything.
    pub fn forget_gone(&mut self) {
        self.rows.retain(|_, change| !is_gone(&change.row));
        self.oldest_seq = self.seq();
    }

    /// Shows what it was once, as a replica does that has not caught up, or what it was shown instead of; gives back what it showed.
    pub fn lag(&mut self, other: Backup) -> Backup {
        let now = self.backup();
        self.show(other);
        now
    }

    /// How many pulls had a page more than one so far.
    pub fn pages_told(&self) -> u64 {
        self.next_page
    }
}
