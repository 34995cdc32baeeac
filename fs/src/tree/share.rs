//! Owns copies that move no data: a file goes on with the chunks of another's version.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::work::Work;
use crate::meta::rows::{Ino, LocalOp, QueuedOp, RowChange, Ticket};
use std::ops::Range;

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    fn share(&mut self, from: Ino, to: Ino, range: Range<u64>, tree: &Tree) -> Result<Option<u64>> {
        let Some((version, end)) = self.content(from)?.lends(&range) else { return Ok(None) };
        let content = self.begin_write(to, tree)?;
        if !self.keep_own_base(to)? {
            return Ok(None);
        }
        let is_shared = content.borrow(&version, &(range.start..end))?;
        Ok(is_shared.then_some(end))
    }

    /// Has the one queued operation that will bring the file's bytes say which version they replace: the content is about
    /// to forget it. False if what is queued cannot say that.
    fn keep_own_base(&mut self, ino: Ino) -> Result<bool> {
        let own = self.local_content(ino)?.and_then(|content| content.base()).filter(|base| !base.is_borrowed());
        let mut ops = self.state.queue.of_ino(ino);
        let (Some((ticket, queued)), None) = (ops.next(), ops.next()) else { return Ok(false) };
        let (ticket, mut queued): (Ticket, QueuedOp) = (ticket, queued.op.clone());
        drop(ops);
        match (&mut queued.op, own) {
            (LocalOp::Create { .. }, own) => return Ok(own.is_none()),
            (LocalOp::Write { .. }, None) => return Ok(true),
            (LocalOp::Write { over, .. }, Some(own)) => *over = Some(own.vector),
            _ => return Ok(false),
        }
        let mut work = Work::default();
        work.rows.push(RowChange::Queue(ticket, Some(Box::new(queued))));
        self.commit(work)?;
        Ok(true)
    }
}

impl Tree {
    /// Has `to` go on with the bytes of `from` in a range that begins where `to` ends, without moving any; up to where. They
    /// survive the end of this process when this returns. `None` if they must be copied.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `Invalid` for special files, `Disk`.
    pub fn share(&self, from: Ino, to: Ino, range: Range<u64>) -> Result<Option<u64>> {
        self.edit(|session| session.share(from, to, range, self))
    }
}
