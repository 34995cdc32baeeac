//! Owns what becomes of queued operations: their order as the sync engine sees it, the freeze point of
//! their contents, and their final form for the server.
//!
//! A frozen operation never changes again: the server may have it. It is durable, with its counter,
//! before anybody sends it.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::state::{Queued, sent_content};
use super::work::Work;
use crate::content::{LocalContent, Snapshot};
use crate::meta::rows::{Ino, LocalOp, QueuedOp, RowChange, Ticket};
use std::collections::HashMap;
use std::sync::Arc;
use tarn_proto::ids::{NodeId, VersionId};
use tarn_proto::name::Name;
use tarn_proto::node::{AttrChange, Content, NodeKind};
use tarn_proto::op::{OpKind, Operation, Place, Seen};
use tarn_proto::version::VersionVector;

type Result<T> = std::result::Result<T, TreeError>;

/// The freeze point of an operation's content.
#[derive(Debug)]
pub struct Prepared {
    /// Which operation.
    pub ticket: Ticket,
    /// The content.
    pub content: Arc<LocalContent>,
    /// Its bytes as they were at this moment.
    pub snapshot: Snapshot,
}

/// What operations earlier in the same batch will have done.
#[derive(Debug, Default)]
struct Expected {
    /// Vectors that contents will have then.
    vectors: HashMap<Ino, VersionVector>,
    /// What they bring.
    contents: HashMap<Ticket, Content>,
}

impl Session<'_> {
    fn prepare(&mut self, ticket: Ticket) -> Result<Option<Prepared>> {
        let Some(queued) = self.state.queue.ops.get(&ticket) else { return Ok(None) };
        let frozen = queued.op.frozen.is_some();
        let Some(ino) = queued.op.op.content_of() else { return Ok(None) };
        if !self.inode(ino)?.kind().is_some_and(tarn_proto::node::NodeKind::is_file) {
            return Ok(None);
        }
        let content = self.content(ino)?;
        if !frozen && self.drop_unchanged(ticket, ino, &content)? {
            return Ok(None);
        }
        let snapshot = content.snapshot()?;
        if let Some(queued) = self.state.queue.ops.get_mut(&ticket) {
            queued.prepared = Some(snapshot.generation());
        }
        Ok(Some(Prepared { ticket, content, snapshot }))
    }

    pub(super) fn unprepare(&mut self, ticket: Ticket) {
        if let Some(queued) = self.state.queue.ops.get_mut(&ticket) {
            queued.prepared = None;
        }
    }

    /// A write whose bytes are all on the server by now only brings attributes.
    pub(super) fn drop_unchanged(&mut self, ticket: Ticket, ino: Ino, content: &LocalContent) -> Result<bool> {
        let Some(queued) = self.state.queue.ops.get(&ticket) else { return Ok(true) };
        let LocalOp::Write { over: None, attrs, .. } = &queued.op.op else { return Ok(false) };
        if content.is_dirty() {
            return Ok(false);
        }
        let mut queued: QueuedOp = queued.op.clone();
        let attrs = self.written_attrs(ino, attrs.clone())?;
        queued.op = LocalOp::SetAttr { ino, attrs };
        let mut work = Work::default();
        work.rows.push(RowChange::Queue(ticket, Some(Box::new(queued))));
        self.commit(work)?;
        Ok(true)
    }

    fn written_attrs(&mut self, ino: Ino, attrs: AttrChange) -> Result<AttrChange> {
        let now = self.inode(ino)?.attrs().ok_or(TreeError::NotFound)?;
        Ok(AttrChange { mtime: Some(now.mtime), ctime: Some(now.ctime), ..attrs })
    }

    fn freeze_one(
        &mut self,
        ticket: Ticket,
        content: Option<Content>,
        expected: &mut Expected,
        tree: &Tree,
    ) -> Result<Option<(Option<Operation>, RowChange)>> {
        let queued = self.state.queue.ops.get(&ticket).filter(|queued| queued.op.verdict.may_go());
        let Some(queued) = queued else { return Ok(None) };
        let mut queued = queued.op.clone();
        if let Some(operation) = &queued.frozen {
            return Ok(Some((Some(operation.clone()), RowChange::Counter(operation.counter))));
        }
        self.state.counters.operation += 1;
        let counter = self.state.counters.operation;
        let content = content.map(|content| self.not_older(ticket, &queued.op, content, expected));
        let mut kind = match self.wire_kind(&queued.op, content, expected) {
            Err(TreeError::NotFound) => {
                tracing::warn!(op = ?queued.op, "a queued change lost what it was about; it is dropped");
                return Ok(Some((None, RowChange::Queue(ticket, None))));
            }
            other => other?,
        };
        self.tell_names_beside(ticket, &queued.op, &mut kind, tree)?;
        let alt_name = self.alt_name(&mut queued, tree)?;
        let operation = Operation { counter, time: queued.time, alt_name, kind };
        self.expect((ticket, &queued.op), &operation, expected, tree);
        queued.frozen = Some(operation.clone());
        Ok(Some((Some(operation), RowChange::Queue(ticket, Some(Box::new(queued))))))
    }

    /// Of two operations that bring a file's content the later one never brings older bytes: the earlier one may have been
    /// prepared again after it, and has all that the later one has.
    fn not_older(&self, ticket: Ticket, op: &LocalOp, content: Content, expected: &Expected) -> Content {
        let generation = |queued: &Queued| queued.prepared.or(queued.sent);
        let Some(ino) = op.content_of() else { return content };
        let own = self.state.queue.ops.get(&ticket).and_then(generation);
        let newer = self.state.queue.of_ino(ino).filter(|(other, queued)| {
            *other < ticket && queued.op.op.content_of() == Some(ino) && generation(queued) > own
        });
        let Some((other, queued)) = newer.max_by_key(|(_, queued)| generation(queued)) else { return content };
        expected.contents.get(&other).or(sent_content(&queued.op)).cloned().unwrap_or(content)
    }

    /// Gives operations behind a frozen one whose content is sent anew that content too: theirs were prepared before.
    fn bring_along(&self, ticket: Ticket, op: &LocalOp, content: &Content) -> Vec<RowChange> {
        let Some(ino) = op.content_of() else { return Vec::new() };
        let later = self.state.queue.of_ino(ino).filter(|(other, queued)| {
            *other > ticket && queued.op.op.content_of() == Some(ino) && queued.op.frozen.is_some()
        });
        let patched = later.filter_map(|(other, queued)| {
            let mut queued = queued.op.clone();
            set_content(queued.frozen.as_mut()?, content.clone()).ok()?;
            Some(RowChange::Queue(other, Some(Box::new(queued))))
        });
        patched.collect()
    }

    /// Notes which vector the content of a file will have after an operation.
    fn expect(&self, (ticket, op): (Ticket, &LocalOp), operation: &Operation, expected: &mut Expected, tree: &Tree) {
        let (base, content) = match &operation.kind {
            OpKind::Create { content: Some(content), .. } => (VersionVector::default(), content),
            OpKind::Write { base, content, .. } => (base.clone(), content),
            _ => return,
        };
        if let Some(ino) = op.content_of() {
            expected.vectors.insert(ino, base.with(tree.identity().device, operation.counter));
            expected.contents.insert(ticket, content.clone());
        }
    }

    fn node_of(&mut self, ino: Ino) -> Result<NodeId> {
        self.inode(ino)?.node.ok_or(TreeError::NotFound)
    }

    pub(super) fn place(&mut self, parent: Ino, name: &Name) -> Result<Place> {
        Ok(Place { parent: self.node_of(parent)?, name: name.clone() })
    }

    /// The name by which a write is sent: should others have removed the file, it comes back under that. One that an operation
    /// behind it takes away would take the bytes along.
    pub(super) fn name_that_stays(&mut self, ino: Ino, (parent, name): (Ino, &Name)) -> Result<(Ino, Name)> {
        let queued = (parent, name.clone());
        let links = self.links(ino)?;
        if links.contains(&queued) { Ok(queued) } else { Ok(links.into_iter().next().unwrap_or(queued)) }
    }

    /// What was seen, with the vector that the content has by the time the operation is looked at: what others made since
    /// the operation was queued was not seen, whoever has opened it here meanwhile.
    fn seen_then(ino: Ino, seen: &Seen, expected: &Expected) -> Seen {
        let vector = expected.vectors.get(&ino).unwrap_or(&seen.vector).clone();
        Seen { vector, ..seen.clone() }
    }

    fn wire_kind(&mut self, op: &LocalOp, content: Option<Content>, expected: &Expected) -> Result<OpKind> {
        Ok(match op {
            LocalOp::Create { ino, parent, name } => {
                let (node, place) = (self.node_of(*ino)?, self.place(*parent, name)?);
                let inode = self.inode(*ino)?;
                let kind = inode.kind().cloned().ok_or(TreeError::NotFound)?;
                let mut attrs = inode.attrs().ok_or(TreeError::NotFound)?;
                if kind == NodeKind::Dir && self.are_times_set_later(*ino) {
                    // By the change others tell that it was set after names were made in it.
                    attrs.mtime = attrs.btime;
                }
                let content =
                    if kind.is_file() { Some(content.map_or_else(|| self.empty_content(), Ok)?) } else { None };
                OpKind::Create { node, place, kind, attrs, content }
            }
            LocalOp::Write { ino, parent, name, attrs, over } => {
                let (parent, name) = self.name_that_stays(*ino, (*parent, name))?;
                let (node, place) = (self.node_of(*ino)?, self.place(parent, &name)?);
                let base = match (expected.vectors.get(ino), over) {
                    (Some(vector), _) => vector.clone(),
                    (None, Some(over)) => over.clone(),
                    (None, None) => self.seen_vector(*ino)?,
                };
                let attrs = self.written_attrs(*ino, attrs.clone())?;
                let content = content.map_or_else(|| self.empty_content(), Ok)?;
                OpKind::Write { node, place, base, content, attrs }
            }
            LocalOp::SetAttr { ino, attrs } => OpKind::SetAttr { node: self.node_of(*ino)?, attrs: attrs.clone() },
            LocalOp::Link { ino, parent, name } => {
                OpKind::Link { node: self.node_of(*ino)?, place: self.place(*parent, name)? }
            }
            LocalOp::Unlink { parent, name, ino, seen } => {
                OpKind::Unlink { place: self.place(*parent, name)?, seen: Self::seen_then(*ino, seen, expected) }
            }
            LocalOp::Rename { ino, parent, name, to_parent, to_name, seen, displaced, mode } => OpKind::Rename {
                from: self.place(*parent, name)?,
                to: self.place(*to_parent, to_name)?,
                seen: Self::seen_then(*ino, seen, expected),
                displaced: displaced.as_ref().map(|(ino, seen)| Self::seen_then(*ino, seen, expected)),
                mode: *mode,
            },
        })
    }

    /// Whether another operation brings the time that a new folder shows.
    fn are_times_set_later(&self, ino: Ino) -> bool {
        self.state.queue.of_ino(ino).any(
            |(_, queued)| matches!(&queued.op.op, LocalOp::SetAttr { ino: of, attrs } if *of == ino && attrs.mtime.is_some()),
        )
    }

    fn empty_content(&self) -> Result<Content> {
        let manifest = tarn_proto::manifest::Manifest::default();
        let content_id = tarn_proto::chunk::content_id(&tarn_proto::chunk::ContentKey::Ordinary, &[]);
        Ok(Content { version: VersionId(self.core.env.rng.id()), size: 0, content_id, manifest })
    }
}

fn set_content(operation: &mut Operation, content: Content) -> Result<()> {
    match &mut operation.kind {
        OpKind::Create { content: old, .. } => *old = Some(content),
        OpKind::Write { content: old, .. } => *old = content,
        _ => return Err(TreeError::Invalid),
    }
    Ok(())
}

impl Tree {
    /// The last operation queued so far: what `wait` waits for.
    pub fn last_ticket(&self) -> Option<Ticket> {
        self.with(|session| session.state.queue.last_ticket())
    }

    /// The first operation still to be sent.
    pub fn first_ticket(&self) -> Option<Ticket> {
        self.with(|session| session.state.queue.to_send().next().map(|(ticket, _)| ticket))
    }

    /// Takes the freeze point of an operation's content. `None`: it brings none, or is gone. A frozen one
    /// may be prepared again, for [`Tree::refreeze_with_content`].
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn prepare(&self, ticket: Ticket) -> Result<Option<Prepared>> {
        self.edit(|session| session.prepare(ticket))
    }

    /// Gives up a freeze point (the upload failed); later writes count into the operation again.
    pub fn unprepare(&self, ticket: Ticket) {
        self.with(|session| session.unprepare(ticket));
    }

    /// Gives operations their final form, durable when this returns. What is gone meanwhile is left out;
    /// what was frozen before comes back as it was.
    ///
    /// # Errors
    /// What the disk and the database say; nothing was frozen then.
    pub fn freeze(&self, batch: Vec<(Ticket, Option<Content>)>) -> Result<Vec<(Ticket, Operation)>> {
        let frozen = self.edit(|session| {
            let (mut work, mut frozen, mut expected) = (Work::default(), Vec::new(), Expected::default());
            for (ticket, content) in batch {
                if let Some((operation, row)) = session.freeze_one(ticket, content, &mut expected, self)? {
                    frozen.extend(operation.map(|operation| (ticket, operation)));
                    work.rows.push(row);
                }
            }
            work.rows.push(RowChange::Counter(session.state.counters.operation));
            session.commit(work)?;
            Ok(frozen)
        })?;
        self.sync_log()?;
        Ok(frozen)
    }

    /// Gives a frozen operation the content as it is now, after the server said that chunks are missing.
    ///
    /// # Errors
    /// `NotFound` if it is gone; what the disk says.
    pub fn refreeze_with_content(&self, ticket: Ticket, content: Content) -> Result<()> {
        self.refreeze(ticket, |session, queued| {
            let later = session.bring_along(ticket, &queued.op, &content);
            set_content(queued.frozen.as_mut().ok_or(TreeError::NotFound)?, content)?;
            Ok(later)
        })
    }

    fn refreeze(
        &self,
        ticket: Ticket,
        change: impl FnOnce(&mut Session<'_>, &mut QueuedOp) -> Result<Vec<RowChange>>,
    ) -> Result<()> {
        self.edit(|session| {
            let queued = session.state.queue.ops.get(&ticket).ok_or(TreeError::NotFound)?;
            let mut queued = queued.op.clone();
            let mut work = Work { rows: change(session, &mut queued)?, ..Work::default() };
            work.rows.push(RowChange::Queue(ticket, Some(Box::new(queued))));
            session.commit(work).map(drop)
        })?;
        self.sync_log()
    }
}
