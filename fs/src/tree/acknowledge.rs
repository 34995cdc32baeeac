//! Owns what the server's answer to an operation that brought a content means for the local bytes: they are clean, they are the
//! conflict's sibling's from now on, or more of them is to be sent.

use super::error::TreeError;
use super::load::Session;
use super::settle::Settling;
use super::versions::staged_row;
use crate::content::{Acknowledged, LocalContent};
use crate::meta::rows::{BaseVersion, Ino, InodeRow, RowChange, Ticket};
use std::sync::Arc;
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::Row;
use tarn_proto::ids::{ConflictId, NodeId};
use tarn_proto::node::FileVersion;
use tarn_proto::op::{OpKind, Operation};
use tarn_proto::version::VersionVector;

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    /// The server has a content: what was not written since is clean now.
    pub(super) fn acknowledge(
        &mut self,
        (ticket, ino): (Ticket, Ino),
        snapshot: Option<u64>,
        sent: Option<&OpKind>,
        answer: &Answer,
        all: &mut Settling,
    ) -> Result<()> {
        let (node, sent, seen) = match sent {
            Some(OpKind::Create { node, content: Some(sent), .. }) => (node, sent, VersionVector::default()),
            Some(OpKind::Write { node, content: sent, base, .. }) => (node, sent, base.clone()),
            _ => return Ok(()),
        };
        let Some(content) = self.local_content(ino)? else { return Ok(()) };
        if let Outcome::Conflicted { conflict } = answer.outcome {
            return self.give_to_sibling((ticket, ino), conflict, answer, snapshot, all);
        }
        let base = match self.version_after(*node, answer)? {
            Some(file) if file.content.content_id == sent.content_id => {
                BaseVersion { content: file.content, vector: file.vector }
            }
            // Others had brought it already, after the server was put back, and somebody wrote to the file or removed it since.
            shown if answer.outcome == Outcome::Merged && (shown.is_some() || is_gone(answer, *node)) => {
                BaseVersion { content: sent.clone(), vector: seen }
            }
            _ => return Ok(()), // newer than what was sent; the dirty content meets it with its next operation
        };
        self.acknowledge_content((ticket, ino), &content, snapshot, base, all)
    }

    fn acknowledge_content(
        &mut self,
        (ticket, ino): (Ticket, Ino),
        content: &Arc<LocalContent>,
        snapshot: Option<u64>,
        base: BaseVersion,
        all: &mut Settling,
    ) -> Result<()> {
        self.note_seen_later(ino, ticket, &base.vector, &mut all.work.rows);
        let left = content.acknowledged(snapshot, base)?;
        if left == Acknowledged::Dirty {
            all.dirty.push(ino);
        }
        Ok(())
    }

    fn version_after(&self, node: NodeId, answer: &Answer) -> Result<Option<FileVersion>> {
        if let Some(file) = Self::version_in(&answer.changes, node) {
            return Ok(Some(file));
        }
        Ok(self.remote_node(node)?.and_then(|state| state.file.clone()))
    }

    /// The content did not stay: its bytes move to the inode that shows the sibling, and the file shows
    /// what stayed. With later writes under way they stay where they are.
    fn give_to_sibling(
        &mut self,
        (ticket, ino): (Ticket, Ino),
        conflict: ConflictId,
        answer: &Answer,
        snapshot: Option<u64>,
        all: &mut Settling,
    ) -> Result<()> {
        let Some(content) = self.local_content(ino)? else { return Ok(()) };
        let record = answer.changes.iter().find_map(|change| match &change.row {
            Row::Conflict { conflict: id, state: Some(state) } if *id == conflict => Some(state.clone()),
            _ => None,
        });
        let Some(record) = record else { return Ok(()) };
        let base = BaseVersion { content: record.theirs.content.clone(), vector: record.theirs.vector.clone() };
        self.acknowledge_content((ticket, ino), &content, snapshot, base, all)?;
        if content.is_dirty() || self.is_content_queued(ino, all) {
            return Ok(());
        }
        let inode = self.inode(ino)?;
        if inode.opens > 0 {
            return Ok(()); // open handles keep their bytes; the next version takes the usual way
        }
        // An earlier answer of the same push may have changed it.
        let row = staged_row(&all.work, ino).unwrap_or(inode.row());
        all.set_inode(ino, InodeRow { content: None, ..row });
        let kept = match record.sibling {
            Some(sibling) => self.show_as_sibling(sibling, &content, &mut all.work)?,
            None => false,
        };
        if !kept {
            // The server has them; the record says where.
            all.work.rows.push(RowChange::Content(content.no(), None));
        }
        Ok(())
    }

    /// Whether more of a file's content is to be sent: perhaps it is on its way already, with what it was made from.
    fn is_content_queued(&self, ino: Ino, all: &Settling) -> bool {
        let is_settled = |ticket| all.work.rows.contains(&RowChange::Queue(ticket, None));
        let mut ops = self.state.queue.of_ino(ino).filter(|(_, queued)| queued.op.op.content_of() == Some(ino));
        ops.any(|(ticket, _)| !is_settled(ticket))
    }

    /// Whether the server has the bytes that it refused as this file's: an operation before this one had brought them.
    pub(super) fn is_there_already(
        &mut self,
        (ticket, ino): (Ticket, Ino),
        snapshot: Option<u64>,
        sent: Option<&Operation>,
        all: &mut Settling,
    ) -> Result<bool> {
        let Some(OpKind::Write { node, content: sent, .. }) = sent.map(|sent| &sent.kind) else { return Ok(false) };
        let (file, content) = (self.newest(*node, &all.work.changes)?, self.local_content(ino)?);
        let Some((file, content)) = file.zip(content) else { return Ok(false) };
        if file.content.content_id != sent.content_id {
            return Ok(false);
        }
        let base = BaseVersion { content: file.content, vector: file.vector };
        self.acknowledge_content((ticket, ino), &content, snapshot, base, all)?;
        Ok(true)
    }
}

/// Whether an answer says that a node is gone.
pub(super) fn is_gone(answer: &Answer, node: NodeId) -> bool {
    answer.changes.iter().any(|change| matches!(&change.row, Row::Node { node: gone, state: None } if *gone == node))
}
