//! Owns the calls that make and remove names: each checks, queues what the server must do, and shows it at once.
//!
//! What has not been sent yet may still change: a file that was never sent and goes again leaves no
//! trace, and one that takes over a published file's name becomes that file's next version.

use super::Tree;
use super::error::TreeError;
use super::halves::{Origin, Successor};
use super::load::Session;
use super::state::Inode;
use super::types::{NewNode, Stat};
use super::work::Work;
use crate::log::Lsn as Position;
use crate::meta::rows::{EntryRow, Ino, InodeRow, LocalNode, LocalOp, ROOT, Ticket};
use tarn_proto::ids::{DeviceId, NodeId};
use tarn_proto::name::Name;
use tarn_proto::node::{AttrChange, Attrs, NodeKind};
use tarn_proto::op::{RenameMode, Seen};
use tarn_proto::version::VersionVector;

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    /// What an operation on a node says that its author saw.
    pub(super) fn seen(&mut self, ino: Ino) -> Result<Seen> {
        let inode = self.inode(ino)?;
        let node = inode.node.ok_or(TreeError::NotFound)?;
        let is_dir = inode.is_dir();
        // What comes into a folder later was not seen, however late the operation is sent.
        let seq = if is_dir { Some(self.shown_seq()?) } else { None };
        Ok(Seen { node, vector: self.seen_vector(ino)?, seq, alt_name: None })
    }

    /// The vector of the content that programs see: the one it was made from, or shows.
    pub(super) fn seen_vector(&mut self, ino: Ino) -> Result<VersionVector> {
        if let Some(content) = self.local_content(ino)?
            && let Some(base) = content.base().filter(|base| !base.is_borrowed())
        {
            return Ok(base.vector.clone());
        }
        if let Some(over) = self.queued_over(ino).or_else(|| self.inode(ino).ok()?.made_over.clone()) {
            return Ok(over);
        }
        if self.is_created_here(ino) {
            // What the server has of it is from before this machine became an older copy of itself: nobody here has seen that.
            return Ok(VersionVector::default());
        }
        let remote = self.remote_of(ino)?;
        Ok(remote.as_ref().and_then(|r| r.file.as_ref()).map(|file| file.vector.clone()).unwrap_or_default())
    }

    /// What a content without a base is to replace: others may have made another version since.
    fn queued_over(&self, ino: Ino) -> Option<VersionVector> {
        self.state.queue.of_ino(ino).rev().find_map(|(_, queued)| match &queued.op.op {
            LocalOp::Write { over, .. } => over.clone(),
            _ => None,
        })
    }

    /// What had been seen of a node when a person removed it, as long as the server has not answered that: memory may have
    /// begun anew since.
    pub(super) fn seen_when_removed(&self, ino: Ino) -> Option<Seen> {
        self.state.queue.of_ino(ino).rev().find_map(|(_, queued)| match &queued.op.op {
            LocalOp::Unlink { ino: gone, seen, .. } if *gone == ino => Some(seen.clone()),
            LocalOp::Rename { displaced: Some((gone, seen)), mode, .. }
                if *gone == ino && *mode != RenameMode::Exchange =>
            {
                Some(seen.clone())
            }
            _ => None,
        })
    }

    /// The operation that brings a node to the server, while it has not been sent and nothing else is queued for it.
    pub(super) fn unsent_create(&self, ino: Ino) -> Option<Ticket> {
        let mut ops = self.state.queue.of_ino(ino);
        let (ticket, queued) = ops.next()?;
        let alone = ops.next().is_none();
        let create = matches!(queued.op.op, LocalOp::Create { .. });
        (alone && create && queued.op.frozen.is_none()).then_some(ticket)
    }

    fn is_created_here(&self, ino: Ino) -> bool {
        self.state
            .queue
            .of_ino(ino)
            .any(|(_, queued)| matches!(&queued.op.op, LocalOp::Create { ino: made, .. } if *made == ino))
    }

    /// The same, if the server does not have the node: it may, from before this machine became an older copy of itself.
    pub(super) fn own_create(&mut self, ino: Ino) -> Result<Option<Ticket>> {
        let is_unknown = self.inode(ino)?.remote.is_none();
        Ok(self.unsent_create(ino).filter(|_| is_unknown))
    }

    /// What stays at a place when the operation `except` is taken out of the queue.
    pub(super) fn rest_of_place(&self, parent: Ino, name: &Name, except: &[Ticket]) -> Option<EntryRow> {
        let mut others = self.state.queue.of_place(parent, name).rev();
        let (ticket, queued) = others.find(|(ticket, _)| !except.contains(ticket))?;
        queued.op.op.frees(parent, name).then_some(EntryRow { ino: None, ticket })
    }

    /// Refuses a directory that has no name any more.
    pub(super) fn live_dir(&mut self, ino: Ino) -> Result<()> {
        if !self.inode(ino)?.is_dir() {
            return Err(TreeError::NotADirectory);
        }
        if ino != ROOT && self.links(ino)?.is_empty() { Err(TreeError::NotFound) } else { Ok(()) }
    }

    /// A directory's times change with its names.
    pub(super) fn touch(&mut self, ino: Ino) -> Result<()> {
        let now = self.core.env.clock.wall();
        self.inode(ino)?.times = Some(now);
        Ok(())
    }

    /// A node's ctime changes with its names.
    pub(super) fn touch_relinked(&mut self, ino: Ino) -> Result<()> {
        let now = self.core.env.clock.wall();
        self.inode(ino)?.relinked = Some(now);
        Ok(())
    }

    fn create(&mut self, parent: Ino, name: &Name, new: NewNode) -> Result<Ino> {
        self.live_dir(parent)?;
        if self.child(parent, name)?.is_some() {
            return Err(TreeError::Exists);
        }
        let (ino, ticket) = (self.state.next_ino(), self.state.next_ticket());
        let now = self.core.env.clock.wall();
        let mut attrs = Attrs { mode: new.mode, uid: new.uid, gid: new.gid, xattrs: new.xattrs, ..Attrs::default() };
        (attrs.mtime, attrs.ctime, attrs.btime) = (now, now, now);
        let mut work = Work::default();
        let revived = self.revived(parent, name, &new.kind)?;
        let Origin { node, pinned, is_fresh } = match revived {
            Some((unlink, old, node)) => {
                self.queue_revival(&mut work, (parent, name), (unlink, old), (ino, ticket, &attrs))?;
                Origin { node, pinned: false, is_fresh: false }
            }
            None => self.queue_creation(&mut work, (ino, ticket), (parent, name), (&new.kind, &attrs))?,
        };
        let content = new.kind.is_file().then(|| self.state.next_content());
        if let Some(no) = content {
            let fresh = self.core.contents.create(no, ino);
            work.rows.push(crate::meta::rows::RowChange::Content(no, Some(Box::new(fresh.row()))));
        }
        let local = Some(Box::new(LocalNode { kind: new.kind, attrs, ticket }));
        work.inode(ino, InodeRow { node: Some(node), local, content, pinned, taken: None });
        work.entry(parent, name, Some(ino), ticket);
        if is_fresh {
            self.commit_fresh(work, ino, node)?
        } else {
            self.commit(work)?
        };
        self.adopt_fresh(ino, content, new.open)?;
        self.touch(parent)?;
        Ok(ino)
    }

    /// Queues a new node, or the next version of a file that was just renamed away from its name.
    fn queue_creation(
        &mut self,
        work: &mut Work,
        (ino, ticket): (Ino, Ticket),
        (parent, name): (Ino, &Name),
        (kind, attrs): (&NodeKind, &Attrs),
    ) -> Result<Origin> {
        let away = if kind.is_file() { self.moved_away(parent, name)? } else { None };
        if let Some(away) = away {
            let to = Successor { ino, ticket, place: (parent, name.clone()), attrs: attrs.clone() };
            return self.succeed(work, away, &to);
        }
        let op = LocalOp::Create { ino, parent, name: name.clone() };
        self.enqueue_creation(work, ticket, op, kind.is_file());
        Ok(Origin { node: NodeId(self.core.env.rng.id()), pinned: false, is_fresh: true })
    }

    /// Commits the rows of a node that was made just now: nobody can have spoken of it, so the database is not asked.
    fn commit_fresh(&mut self, work: Work, ino: Ino, node: NodeId) -> Result<Position> {
        let inode = Inode { node: Some(node), links: Some(Vec::new()), ..Inode::default() };
        self.state.inodes.insert(ino, Box::new(inode));
        self.state.by_node.insert(node, ino);
        self.commit(work).inspect_err(|_| {
            self.state.inodes.remove(&ino);
            self.state.by_node.remove(&node);
        })
    }

    fn adopt_fresh(
        &mut self,
        ino: Ino,
        content: Option<crate::meta::rows::ContentNo>,
        open: Option<bool>,
    ) -> Result<()> {
        let loaded = content.and_then(|no| self.core.contents.get_loaded(no));
        let now = self.core.env.clock.monotonic();
        let inode = self.inode(ino)?;
        inode.content = loaded;
        if let Some(writes) = open {
            inode.opens += 1;
            inode.writers += u32::from(writes);
            inode.last_write = now;
        }
        Ok(())
    }

    /// A file that was unlinked here, not sent yet, and whose name is taken again: the same file's next version.
    fn revived(&mut self, parent: Ino, name: &Name, kind: &NodeKind) -> Result<Option<(Ticket, Ino, NodeId)>> {
        let last = self.state.queue.of_place(parent, name).next_back();
        let Some((ticket, queued)) = last else { return Ok(None) };
        let LocalOp::Unlink { ino, seen, .. } = &queued.op.op else { return Ok(None) };
        let (ino, node, sent) = (*ino, seen.node, queued.op.frozen.is_some());
        let only = self.state.queue.of_ino(ino).count() == 1;
        if sent || !only || !kind.is_file() || !self.links(ino)?.is_empty() {
            return Ok(None);
        }
        let file = self.inode(ino)?.kind().is_some_and(NodeKind::is_file);
        let published = self.inode(ino)?.remote.is_some();
        Ok((file && published).then_some((ticket, ino, node)))
    }

    fn queue_revival(
        &mut self,
        work: &mut Work,
        (parent, name): (Ino, &Name),
        (unlink, old): (Ticket, Ino),
        (ino, ticket, attrs): (Ino, Ticket, &Attrs),
    ) -> Result<()> {
        let over = self.seen_vector(old)?;
        let change = self.full_change(old, attrs)?;
        work.dequeue(unlink);
        let orphan = InodeRow { node: None, ..self.kept_row(old)? };
        work.inode(old, orphan);
        work.orphans.push(old);
        self.hide_as(old, ino);
        let op = LocalOp::Write { ino, parent, name: name.clone(), attrs: change, over: Some(over) };
        self.enqueue(work, ticket, op);
        Ok(())
    }

    /// An inode's row with all that it shows made local, for when its node is taken from it.
    pub(super) fn kept_row(&mut self, ino: Ino) -> Result<InodeRow> {
        self.keep_opened(ino)?;
        let local = self.local_node(ino, Ticket(0))?;
        let inode = self.inode(ino)?;
        Ok(InodeRow { local: Some(local), ..inode.row() })
    }

    /// A file that is cancelled before it was sent leaves its node: if the server has that after all, from before this machine
    /// became an older copy of itself, it is not what a person just removed here.
    pub(super) fn orphan_unsent(&mut self, work: &mut Work, ino: Ino) -> Result<()> {
        if self.inode(ino)?.kind().is_some_and(NodeKind::is_file) {
            let orphan = InodeRow { node: None, pinned: false, ..self.kept_row(ino)? };
            work.inode(ino, orphan);
        }
        Ok(())
    }

    fn unlink(&mut self, parent: Ino, name: &Name, want_dir: bool, device: DeviceId) -> Result<()> {
        let ino = self.child(parent, name)?.ok_or(TreeError::NotFound)?;
        match (self.inode(ino)?.is_dir(), want_dir) {
            (true, false) => return Err(TreeError::IsADirectory),
            (false, true) => return Err(TreeError::NotADirectory),
            (true, true) if self.has_names(ino)? => return Err(TreeError::NotEmpty),
            _ => {}
        }
        let last = self.is_last_name(ino)?;
        let mut work = Work::default();
        let dropped = if last { self.drop_unsent(&mut work, ino, !want_dir) } else { Vec::new() };
        let mut noted = None;
        let cancelled = last && self.own_create(ino)?.is_some_and(|create| dropped.contains(&create));
        if cancelled {
            let rest = self.rest_of_place(parent, name, &dropped);
            work.entry_row(parent, name, rest);
            self.orphan_unsent(&mut work, ino)?;
        } else {
            let (ticket, seen) = (self.state.next_ticket(), self.seen(ino)?);
            self.hand_over(&mut work, ino, &dropped, ticket)?;
            self.enqueue(&mut work, ticket, LocalOp::Unlink { parent, name: name.clone(), ino, seen });
            self.write_behind(&mut work, ino, (parent, name))?;
            work.entry(parent, name, None, ticket);
            noted = last.then_some(ticket);
        }
        self.commit(work)?;
        if let Some(ticket) = noted {
            self.note_delete(ticket, ino, device)?;
        }
        self.touch_relinked(ino)?;
        self.touch(parent)?;
        self.release_if_idle(ino);
        Ok(())
    }

    /// Takes out of the queue what need not be sent for a node that goes: its creation if nothing of it
    /// was ever sent, unsent contents and attributes otherwise.
    pub(super) fn drop_unsent(&mut self, work: &mut Work, ino: Ino, is_file: bool) -> Vec<Ticket> {
        let busy_dir = !is_file && self.state.queue.touches_dir(ino);
        let create = self.unsent_create(ino).filter(|_| !busy_dir);
        let moot = |op: &LocalOp| matches!(op, LocalOp::Write { .. } | LocalOp::SetAttr { .. });
        let ops = self.state.queue.of_ino(ino);
        let unsent =
            ops.filter(|(_, queued)| queued.op.frozen.is_none() && moot(&queued.op.op)).map(|(ticket, _)| ticket);
        let dropped: Vec<Ticket> = unsent.chain(create).collect();
        let over = self.queued_over(ino);
        if let Some(inode) = self.state.inodes.get_mut(&ino) {
            inode.made_over = over.or(inode.made_over.take());
        }
        for &ticket in &dropped {
            work.dequeue(ticket);
        }
        dropped
    }

    /// Moves unsent bytes of a file behind the operation that takes one of its names, and to a name that stays: others may
    /// have taken that one meanwhile, and what is written to the file wins over that.
    pub(super) fn write_behind(&mut self, work: &mut Work, ino: Ino, leaving: (Ino, &Name)) -> Result<()> {
        let stays = |(parent, name): &(Ino, Name)| (*parent, name) != leaving;
        let mut staying: Vec<(Ino, Name)> = self.links(ino)?.into_iter().filter(stays).collect();
        let unsent = self.state.queue.of_ino(ino).filter(|(_, queued)| {
            queued.op.frozen.is_none() && queued.prepared.is_none() && matches!(queued.op.op, LocalOp::Write { .. })
        });
        let unsent: Vec<(Ticket, LocalOp)> = unsent.map(|(ticket, queued)| (ticket, queued.op.op.clone())).collect();
        if staying.is_empty() && !unsent.is_empty() {
            staying = self.hidden_links(ino)?;
        }
        let Some(first) = staying.first() else { return Ok(()) };
        if unsent.is_empty() && self.is_content_on_its_way(ino) {
            return self.write_once_more(work, ino, first.clone());
        }
        for (old, op) in unsent {
            let LocalOp::Write { parent, name, attrs, over, .. } = op else { continue };
            let place = (parent, name);
            let (parent, name) = if staying.contains(&place) { place } else { first.clone() };
            let ticket = self.state.next_ticket();
            work.dequeue(old);
            if self.state.overlay.get(parent, &name).is_some_and(|row| row.ticket == old) {
                work.entry(parent, &name, Some(ino), ticket);
            }
            self.enqueue(work, ticket, LocalOp::Write { ino, parent, name: name.clone(), attrs, over });
            self.hand_over(work, ino, &[old], ticket)?;
        }
        Ok(())
    }

    fn is_content_on_its_way(&self, ino: Ino) -> bool {
        let mut ops = self.state.queue.of_ino(ino);
        ops.any(|(_, queued)| matches!(queued.op.op, LocalOp::Write { .. }))
    }

    /// What may be on the server by a name that goes is sent by another as well. It brings nothing unless the file went with
    /// that name.
    fn write_once_more(&mut self, work: &mut Work, ino: Ino, (parent, name): (Ino, Name)) -> Result<()> {
        let ticket = self.state.next_ticket();
        let op = LocalOp::Write { ino, parent, name, attrs: AttrChange::default(), over: None };
        self.enqueue(work, ticket, op);
        let local = self.local_node(ino, ticket)?;
        let row = InodeRow { local: Some(local), ..self.inode(ino)?.row() };
        work.inode(ino, row);
        Ok(())
    }

    /// The local state that a dropped operation needed goes with the one that removes the node: the node may live on
    /// under another name.
    pub(super) fn hand_over(&mut self, work: &mut Work, ino: Ino, dropped: &[Ticket], to: Ticket) -> Result<()> {
        let row = self.inode(ino)?.row();
        if let Some(local) = row.local.clone().filter(|local| dropped.contains(&local.ticket)) {
            work.inode(ino, InodeRow { local: Some(Box::new(LocalNode { ticket: to, ..*local })), ..row });
        }
        Ok(())
    }

    fn link(&mut self, ino: Ino, parent: Ino, name: &Name) -> Result<()> {
        self.live_dir(parent)?;
        if self.inode(ino)?.is_dir() {
            return Err(TreeError::NotPermitted);
        }
        if self.inode(ino)?.node.is_none() || self.links(ino)?.is_empty() {
            return Err(TreeError::NotFound);
        }
        if self.child(parent, name)?.is_some() {
            return Err(TreeError::Exists);
        }
        self.send_after_all(ino)?;
        let (ticket, mut work) = (self.state.next_ticket(), Work::default());
        self.enqueue(&mut work, ticket, LocalOp::Link { ino, parent, name: name.clone() });
        work.entry(parent, name, Some(ino), ticket);
        self.commit(work)?;
        self.touch_relinked(ino)?;
        self.touch(parent)
    }
}

impl Tree {
    /// Makes a node of any kind.
    ///
    /// # Errors
    /// `Exists`, `NotFound` (the folder is gone), `NotADirectory`, `NotPermitted` (it is immutable), `Unlisted`, `Disk`.
    pub fn create(&self, parent: Ino, name: &Name, new: NewNode) -> Result<Stat> {
        self.edit(|session| {
            session.may_add(parent)?;
            let ino = session.create(parent, name, new)?;
            session.stat(ino)
        })
    }

    /// Removes a name of anything but a directory.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `NotPermitted` (it is immutable or append-only), `Unlisted`, `Disk`.
    pub fn unlink(&self, parent: Ino, name: &Name) -> Result<()> {
        let device = self.identity().device;
        self.edit(|session| {
            session.may_remove(parent, name)?;
            session.unlink(parent, name, false, device)
        })
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `NotEmpty`, `NotPermitted` (it is immutable or append-only), `Unlisted`, `Disk`.
    pub fn rmdir(&self, parent: Ino, name: &Name) -> Result<()> {
        let device = self.identity().device;
        self.edit(|session| {
            session.may_remove(parent, name)?;
            session.unlink(parent, name, true, device)
        })
    }

    /// Gives a node one more name.
    ///
    /// # Errors
    /// `Exists`, `NotFound`, `NotADirectory`, `NotPermitted` for a directory or what is immutable, `Unlisted`, `Disk`.
    pub fn link(&self, ino: Ino, parent: Ino, name: &Name) -> Result<Stat> {
        self.edit(|session| {
            session.may_link(ino, parent)?;
            session.link(ino, parent, name)?;
            session.stat(ino)
        })
    }
}
