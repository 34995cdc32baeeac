//! Owns what follows from the server's answers: the operation leaves the queue, the local rows that it
//! needed go, and the remote state shows. One unit of work for a whole batch.

use super::Tree;
use super::acknowledge::is_gone;
use super::error::TreeError;
use super::load::Session;
use super::notify::Invalidation;
use super::versions::staged_row;
use crate::content::LocalContent;
use crate::meta::RemoteWork;
use crate::meta::rows::{Ino, InodeRow, LocalNode, LocalOp, RowChange, Ticket};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{ByteString, NodeKind};
use tarn_proto::op::Seen;

type Result<T> = std::result::Result<T, TreeError>;

/// Where the highest counter whose answer was applied is kept.
pub(super) const ANSWERED: &str = "answered";

/// What settling a batch changes.
#[derive(Debug, Default)]
pub(super) struct Settling {
    pub work: RemoteWork,
    names: Vec<(Ino, Name)>,
    /// Files of which more was written since they were sent, as far as anybody knows.
    pub dirty: Vec<Ino>,
    /// Names that the server does not give.
    refused: Vec<(Ino, Name)>,
    /// What the settled operations were about.
    inodes: BTreeSet<Ino>,
    /// Those whose node was gone when the last operation about them was answered.
    without_node: Vec<(Ino, NodeId)>,
}

impl Settling {
    pub fn set_inode(&mut self, ino: Ino, row: InodeRow) {
        self.work.rows.push(RowChange::Inode(ino, Some(row)));
    }
}

impl Session<'_> {
    fn settle_one(&mut self, ticket: Ticket, answer: &Answer, all: &mut Settling) -> Result<()> {
        let Some(queued) = self.state.queue.ops.get(&ticket) else { return Ok(()) };
        let (op, sent, frozen) = (queued.op.op.clone(), queued.sent, queued.op.frozen.clone());
        all.work.rows.push(RowChange::Queue(ticket, None));
        all.work.changes.extend(self.news_of(answer).cloned());
        for (parent, name) in op.places() {
            if self.state.overlay.get(parent, name).is_some_and(|row| row.ticket == ticket) {
                all.work.rows.push(RowChange::Entry(parent, name.clone(), None));
                all.names.push((parent, name.clone()));
            }
        }
        let refused = matches!(answer.outcome, Outcome::Refused { .. });
        if let (Outcome::Refused { code, detail }, Some(ino)) = (&answer.outcome, op.content_of()) {
            // The answer to what was on its way while it was rescued.
            let is_rescued = self.is_created_by_another(ino, ticket);
            let is_file = self.inode(ino)?.kind().is_some_and(NodeKind::is_file);
            if is_file && !is_rescued && !self.is_there_already((ticket, ino), sent, frozen.as_ref(), all)? {
                tracing::warn!(?code, detail, ino = ino.0, "the server refused a change; its content is kept");
                // Under its names is from now on what the server has.
                all.names.extend(self.links(ino)?);
                let name = op.places().next().map(|(_, name)| name);
                all.names.push(self.rescue_content(ino, name, &mut all.work.rows)?);
                if matches!(op, LocalOp::Write { .. }) {
                    self.leave_names(ino, &mut all.work.rows)?;
                }
                return Ok(());
            }
        }
        if matches!(answer.outcome, Outcome::Refused { code, .. } if is_about_folder(code)) {
            all.names.extend(self.rescue_name(&op, &mut all.refused, &mut all.work)?);
        }
        if !refused && let Some(ino) = op.content_of() {
            self.acknowledge((ticket, ino), sent, frozen.as_ref().map(|f| &f.kind), answer, all)?;
        }
        for ino in op.inodes() {
            self.drop_local(ino, ticket, answer, all)?;
            all.inodes.insert(ino);
        }
        self.note_names_beside(ticket, answer, &mut all.work);
        self.note_survivor((ticket, &op), answer, all)?;
        self.mark_listed(&op, answer, all)
    }

    /// What an answer tells beyond the cursor: a pull that overtook it has brought the rest, or what followed, be it that
    /// nothing is there any more.
    fn news_of<'a>(&self, answer: &'a Answer) -> impl DoubleEndedIterator<Item = &'a Change> {
        let known = self.state.cursor.map_or(0, |cursor| cursor.seq);
        answer.changes.iter().filter(move |change| change.seq > known)
    }

    fn is_created_by_another(&self, ino: Ino, ticket: Ticket) -> bool {
        let mut ops = self.state.queue.of_ino(ino);
        ops.any(|(other, queued)| other > ticket && matches!(queued.op.op, LocalOp::Create { .. }))
    }

    /// What was to go takes its unsent bytes with it, unless others keep the node: then they are sent after all.
    fn note_survivor(&mut self, (ticket, op): (Ticket, &LocalOp), answer: &Answer, all: &mut Settling) -> Result<()> {
        let (ino, seen) = match op {
            LocalOp::Unlink { ino, seen, .. } => (*ino, seen),
            LocalOp::Rename { displaced: Some((ino, seen)), .. } => (*ino, seen),
            _ => return Ok(()),
        };
        let content = match self.local_content(ino) {
            Err(TreeError::NotFound) => return Ok(()),
            other => other?,
        };
        if content.is_some_and(|content| content.is_dirty()) {
            all.dirty.push(ino);
            self.inode(ino)?.made_over.get_or_insert_with(|| seen.vector.clone());
        }
        if is_gone(answer, seen.node) {
            self.send_again(ino, ticket, seen, all);
        }
        Ok(())
    }

    /// Only one name of a file was taken here, others took the rest, and so the last one went with all that was sent: what was
    /// queued behind that for a name that stays is sent in any case, as made of what was seen.
    fn send_again(&self, ino: Ino, taken: Ticket, seen: &Seen, all: &mut Settling) {
        let later =
            self.state.queue.of_ino(ino).filter(|(ticket, queued)| *ticket > taken && queued.op.frozen.is_none());
        for (ticket, queued) in later {
            let mut queued = queued.op.clone();
            if let LocalOp::Write { over: over @ None, .. } = &mut queued.op {
                *over = Some(seen.vector.clone());
                all.work.rows.push(RowChange::Queue(ticket, Some(Box::new(queued))));
            }
        }
    }

    /// Forgets an inode's local attributes if this was the last operation that needed them. While the node is gone they
    /// go on with the next operation, which may bring it back.
    fn drop_local(&mut self, ino: Ino, ticket: Ticket, answer: &Answer, all: &mut Settling) -> Result<()> {
        let inode = match self.inode(ino) {
            Err(TreeError::NotFound) => return Ok(()),
            other => other?,
        };
        let (row, node, has_times) = (inode.row(), inode.node, inode.times.is_some());
        let row = staged_row(&all.work, ino).unwrap_or(row);
        if row.local.is_none() && has_times && self.state.queue.of_ino(ino).all(|(other, _)| other <= ticket) {
            // Its attributes went with an earlier answer, and with them what tells the kernel.
            self.forget_times(ino);
            self.invalidations.push(Invalidation::Attributes(ino));
        }
        let Some(local) = row.local.clone().filter(|local| local.ticket == ticket) else { return Ok(()) };
        let Some(node) = node else { return Ok(()) };
        if self.exists_after(self.news_of(answer), node)? {
            all.set_inode(ino, InodeRow { local: None, ..row });
            self.forget_times(ino);
        } else if let Some((next, _)) = self.state.queue.of_ino(ino).find(|(other, _)| *other > ticket) {
            all.set_inode(ino, InodeRow { local: Some(Box::new(LocalNode { ticket: next, ..*local })), ..row });
        } else {
            all.without_node.push((ino, node));
        }
        Ok(())
    }

    /// A folder's times go on changing with its names; a file's are those that were sent.
    fn forget_times(&mut self, ino: Ino) {
        if let Some(inode) = self.state.inodes.get_mut(&ino).filter(|inode| inode.dir.is_none()) {
            inode.times = None;
        }
    }

    /// What one answer of a push says is gone a later one may have brought back: then its local attributes go as well.
    fn drop_local_of_revived(&self, all: &mut Settling) -> Result<()> {
        for (ino, node) in std::mem::take(&mut all.without_node) {
            let known = self.state.inodes.get(&ino).map(|inode| inode.row());
            let Some(row) = staged_row(&all.work, ino).or(known) else { continue };
            if self.exists_after(all.work.changes.iter(), node)? {
                all.set_inode(ino, InodeRow { local: None, ..row });
            }
        }
        Ok(())
    }

    /// A folder made here is fully known; a folder that turned out to be another's is that one from now on.
    fn mark_listed(&mut self, op: &LocalOp, answer: &Answer, all: &mut Settling) -> Result<()> {
        let LocalOp::Create { ino, .. } = op else { return Ok(()) };
        if !self.inode(*ino)?.is_dir() {
            return Ok(());
        }
        let Some(node) = self.inode(*ino)?.node else { return Ok(()) };
        let alias = answer.changes.iter().find_map(|change| match &change.row {
            Row::Alias { node: from, target } if *from == node => Some(*target),
            _ => None,
        });
        match alias {
            Some(target) => self.become_alias(*ino, target, all),
            None => {
                let seq = answer.changes.iter().map(|change| change.seq).max().unwrap_or(0);
                if self.state.cursor.is_none() && matches!(answer.outcome, Outcome::Applied) {
                    all.work.listed.push((node, seq));
                }
                Ok(())
            }
        }
    }

    /// The folder that was made here is `target`: what is queued under it goes there.
    fn become_alias(&mut self, ino: Ino, target: NodeId, all: &mut Settling) -> Result<()> {
        match self.known_ino(target)? {
            None => {
                let row = self.inode(ino)?.row();
                all.set_inode(ino, InodeRow { node: Some(target), local: None, ..row });
                // All that is in the other's folder appears in this one, what this answer tells of included.
                all.names.extend(self.remote_children(target)?.into_keys().map(|name| (ino, name)));
                let told = all.work.changes.iter().filter_map(|change| match &change.row {
                    Row::Entry { parent, name, .. } if *parent == target => Some((ino, name.clone())),
                    _ => None,
                });
                all.names.extend(told);
            }
            Some(existing) if existing != ino => self.move_children(ino, existing, all)?,
            Some(_) => {}
        }
        if let Some(inode) = self.state.inodes.get_mut(&ino) {
            (inode.dir, inode.growing) = (None, None);
        }
        Ok(())
    }

    fn move_children(&mut self, from: Ino, to: Ino, all: &mut Settling) -> Result<()> {
        let entries: Vec<_> = self.state.overlay.of_parent(from).map(|(name, row)| (name.clone(), *row)).collect();
        for (name, row) in entries {
            all.work.rows.push(RowChange::Entry(from, name.clone(), None));
            all.work.rows.push(RowChange::Entry(to, name.clone(), Some(row)));
            all.names.push((from, name.clone()));
            all.names.push((to, name));
        }
        let tickets: Vec<Ticket> = self.state.queue.ops.keys().copied().collect();
        for ticket in tickets {
            let Some(queued) = self.state.queue.ops.get(&ticket) else { continue };
            let mut queued = queued.op.clone();
            if queued.op.move_dir(from, to) {
                all.work.rows.push(RowChange::Queue(ticket, Some(Box::new(queued))));
            }
        }
        Ok(())
    }
}

/// Whether the folder is why an operation was refused: elsewhere it can be done.
fn is_about_folder(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::ParentGone | ErrorCode::UnknownParent | ErrorCode::NotADirectory)
}

fn has_alias(answer: &Answer) -> bool {
    answer.changes.iter().any(|change| matches!(change.row, Row::Alias { .. }))
}

impl Tree {
    /// Applies the answers to one push, in order, as one unit of work (one more for each folder that turned out to be
    /// another); unsettled ones stay queued. The cursor moves on if nothing of others came between.
    ///
    /// # Errors
    /// What the disk and the database say; the answers can be applied again then.
    pub fn settle(&self, answers: &[(Ticket, Answer)], before: Cursor, after: Cursor) -> Result<()> {
        self.sync_answered(answers)?;
        let mut rest = answers;
        // What is queued in a folder that turns out to be another one is about that one from then on.
        while let Some(alias) = rest.iter().position(|(_, answer)| has_alias(answer)).filter(|at| at + 1 < rest.len()) {
            let (first, others) = rest.split_at(alias + 1);
            self.settle_all(first, None)?;
            rest = others;
        }
        self.settle_all(rest, Some((before, after)))?;
        // One that is larger than the budget is over it only now.
        if let Err(error) = self.core.contents.trim() {
            tracing::warn!(%error, "what was sent could not be dropped to keep within the budget; it is tried again");
        }
        Ok(())
    }

    fn settle_all(&self, answers: &[(Ticket, Answer)], cursors: Option<(Cursor, Cursor)>) -> Result<()> {
        self.edit(|session| {
            let mut all = Settling::default();
            let settled = answers.iter().filter(|(_, answer)| answer.outcome.is_settled());
            let news: Vec<&Change> = settled.clone().flat_map(|(_, answer)| session.news_of(answer)).collect();
            session.keep_what_goes(news)?;
            let mut answered = session.state.counters.answered;
            for (ticket, answer) in settled {
                session.settle_one(*ticket, answer, &mut all)?;
                answered = answered.max(answer.counter);
            }
            session.drop_local_of_revived(&mut all)?;
            let moved = cursors.filter(|(before, _)| session.state.cursor == Some(*before)).map(|(_, after)| after);
            all.work.cursor = moved.map(|after| (self.identity().space, after));
            all.work.kv.push((ANSWERED.to_owned(), Some(ByteString(answered.to_be_bytes().to_vec()))));
            session.absorb(all.work, all.names)?;
            session.state.counters.answered = answered;
            session.state.cursor = moved.or(session.state.cursor);
            for ino in all.dirty {
                match session.requeue_if_kept(ino) {
                    Ok(()) | Err(TreeError::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
            for ino in all.inodes {
                session.part_from_removed(ino)?;
                session.bring_written_again(ino, self)?;
            }
            for (ticket, _) in answers {
                session.unprepare(*ticket);
            }
            session.tidy();
            Ok(())
        })
    }

    /// The bytes that an operation would bring turned out to be those of the version that they were made from, as
    /// after a restart that forgot what had been sent: then nothing is sent but attributes. Whether that is so still.
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn settle_unchanged(&self, ticket: Ticket) -> Result<bool> {
        let content_of = |session: &mut Session<'_>| {
            let Some(queued) = session.state.queue.ops.get(&ticket) else { return Ok(None) };
            // A file's first version, and one that replaces another, are news whatever their bytes were before.
            let LocalOp::Write { ino, over: None, .. } = queued.op.op else { return Ok(None) };
            let Some(prepared) = queued.prepared.filter(|_| queued.op.frozen.is_none()) else { return Ok(None) };
            Ok(session.local_content(ino)?.map(|content| (ino, prepared, content)))
        };
        let Some((_, _, content)) = self.look(content_of)? else { return Ok(false) };
        content.sync_undoubted()?;
        self.core.contents.make_room(content.dirty_bytes())?;
        self.edit(|session| {
            let Some((ino, prepared, content)) = content_of(session)? else { return Ok(false) };
            let Some(base) = content.base() else { return Ok(false) };
            content.acknowledged(Some(prepared), base)?;
            session.unprepare(ticket);
            session.drop_unchanged(ticket, ino, &content)
        })
    }

    /// Makes the contents durable that will count as clean, and room for them, before the lock is taken.
    fn sync_answered(&self, answers: &[(Ticket, Answer)]) -> Result<()> {
        let contents: Vec<Arc<LocalContent>> = self.look(|session| {
            let ops = answers.iter().filter_map(|(ticket, _)| session.state.queue.ops.get(ticket)?.op.op.content_of());
            let inos: Vec<Ino> = ops.collect();
            Ok(inos.into_iter().filter_map(|ino| session.local_content(ino).ok().flatten()).collect())
        })?;
        let dirty_bytes: u64 = contents.iter().map(|content| content.dirty_bytes()).sum();
        for content in &contents {
            content.sync_undoubted()?;
        }
        Ok(self.core.contents.make_room(dirty_bytes)?)
    }

    /// All answers up to this counter have been applied, durably: the server forgets them once it is told, and gives them
    /// again to a device that lost them in a power cut only if it has not been.
    pub fn answered(&self) -> u64 {
        self.core.answered.load(Ordering::Acquire)
    }
}
