//! Owns renaming: what moves, what is displaced, and when a renamed file becomes a version of the one it replaces.

use super::Tree;
use super::error::TreeError;
use super::halves::{Away, Origin, Successor};
use super::load::Session;
use super::types::RenameRequest;
use super::work::Work;
use crate::meta::rows::{Ino, InodeRow, LocalOp, Ticket};
use tarn_proto::node::NodeKind;
use tarn_proto::op::RenameMode;

type Result<T> = std::result::Result<T, TreeError>;

/// What a rename that passed all checks will do.
#[derive(Debug)]
enum Plan {
    /// A never sent file takes a free name, or that of another never sent file.
    MoveCreation { create: Ticket, displaced: Option<(Ino, Ticket)> },
    /// A never sent file takes the name of a published one: that one's next version.
    BecomeVersion { create: Ticket, target: Ino },
    /// A never sent file takes the name from which a published one was renamed: that one's next version.
    Succeed { create: Ticket, away: Away },
    /// The server is to do the same.
    Send { target: Option<Ino> },
}

impl Session<'_> {
    fn rename(&mut self, request: &RenameRequest) -> Result<()> {
        let RenameRequest { parent, name, to_parent, to_name, mode } = request;
        self.live_dir(*to_parent)?;
        let source = self.child(*parent, name)?.ok_or(TreeError::NotFound)?;
        let target = self.child(*to_parent, to_name)?;
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(TreeError::Exists),
            (RenameMode::Exchange, None) => return Err(TreeError::NotFound),
            _ => {}
        }
        self.check_loops(request, source, target)?;
        if target == Some(source) {
            return Ok(()); // two names of one node: POSIX leaves both
        }
        if *mode != RenameMode::Exchange {
            self.check_kinds(source, target)?;
        }
        let plan = self.plan_rename(request, source, target)?;
        if matches!(plan, Plan::Send { .. }) {
            self.send_after_all(source)?;
            target.filter(|_| *mode == RenameMode::Exchange).map_or(Ok(()), |target| self.send_after_all(target))?;
        }
        self.run_rename(request, source, plan)?;
        for dir in [*parent, *to_parent] {
            self.touch(dir)?;
        }
        for ino in [Some(source), target].into_iter().flatten() {
            self.touch_relinked(ino)?;
        }
        if let Some(target) = target {
            self.release_if_idle(target);
        }
        Ok(())
    }

    fn check_loops(&mut self, request: &RenameRequest, source: Ino, target: Option<Ino>) -> Result<()> {
        if self.inode(source)?.is_dir() && self.is_below(request.to_parent, source)? {
            return Err(TreeError::Invalid);
        }
        let Some(target) = target else { return Ok(()) };
        if request.mode == RenameMode::Exchange
            && self.inode(target)?.is_dir()
            && self.is_below(request.parent, target)?
        {
            return Err(TreeError::Invalid);
        }
        Ok(())
    }

    fn check_kinds(&mut self, source: Ino, target: Option<Ino>) -> Result<()> {
        let Some(target) = target else { return Ok(()) };
        match (self.inode(source)?.is_dir(), self.inode(target)?.is_dir()) {
            (true, false) => Err(TreeError::NotADirectory),
            (false, true) => Err(TreeError::IsADirectory),
            (true, true) if self.has_names(target)? => Err(TreeError::NotEmpty),
            _ => Ok(()),
        }
    }

    fn plan_rename(&mut self, request: &RenameRequest, source: Ino, target: Option<Ino>) -> Result<Plan> {
        let mode = request.mode;
        let send = Plan::Send { target };
        let alone = self.links(source)?.len() == 1;
        let file = self.inode(source)?.kind().is_some_and(NodeKind::is_file);
        let Some(create) = self.own_create(source)?.filter(|_| alone && file) else { return Ok(send) };
        if mode == RenameMode::Exchange || self.is_prepared(create) {
            return Ok(send);
        }
        let Some(target) = target else {
            let away = self.moved_away(request.to_parent, &request.to_name)?;
            let moved = Plan::MoveCreation { create, displaced: None };
            return Ok(away.map_or(moved, |away| Plan::Succeed { create, away }));
        };
        if self.links(target)?.len() != 1 || !self.inode(target)?.kind().is_some_and(NodeKind::is_file) {
            return Ok(send);
        }
        if let Some(other) = self.own_create(target)? {
            return Ok(if self.is_prepared(other) {
                send
            } else {
                Plan::MoveCreation { create, displaced: Some((target, other)) }
            });
        }
        let published = self.inode(target)?.remote.is_some();
        Ok(if published && self.only_contents_queued(target) { Plan::BecomeVersion { create, target } } else { send })
    }

    fn is_prepared(&self, ticket: Ticket) -> bool {
        self.state.queue.ops.get(&ticket).is_some_and(|queued| queued.prepared.is_some())
    }

    /// Whether nothing is queued for a node but unsent contents and attributes, which a new version replaces.
    fn only_contents_queued(&self, ino: Ino) -> bool {
        let replaceable = |op: &LocalOp| matches!(op, LocalOp::Write { .. } | LocalOp::SetAttr { .. });
        self.state
            .queue
            .of_ino(ino)
            .all(|(_, queued)| queued.op.frozen.is_none() && queued.prepared.is_none() && replaceable(&queued.op.op))
    }

    fn run_rename(&mut self, request: &RenameRequest, source: Ino, plan: Plan) -> Result<()> {
        let mut work = Work::default();
        let ticket = self.state.next_ticket();
        match plan {
            Plan::MoveCreation { create, displaced } => {
                self.move_creation(&mut work, request, source, ticket, create, displaced)?
            }
            Plan::BecomeVersion { create, target } => {
                self.become_version(&mut work, request, (source, create), target, ticket)?
            }
            Plan::Succeed { create, away } => {
                self.succeed_by_rename(&mut work, request, (source, create), away, ticket)?
            }
            Plan::Send { target } => self.send_rename(&mut work, request, source, target, ticket)?,
        }
        self.commit(work).map(drop)
    }

    fn move_creation(
        &mut self,
        work: &mut Work,
        request: &RenameRequest,
        source: Ino,
        ticket: Ticket,
        create: Ticket,
        displaced: Option<(Ino, Ticket)>,
    ) -> Result<()> {
        let mut dropped = vec![create];
        dropped.extend(displaced.map(|(_, ticket)| ticket));
        for &ticket in &dropped {
            work.dequeue(ticket);
        }
        displaced.map_or(Ok(()), |(target, _)| self.orphan_unsent(work, target))?;
        let op = LocalOp::Create { ino: source, parent: request.to_parent, name: request.to_name.clone() };
        self.enqueue_creation(work, ticket, op, true);
        self.move_entry(work, request, source, ticket, &dropped);
        let local = self.local_node(source, ticket)?;
        let row = InodeRow { local: Some(local), ..self.inode(source)?.row() };
        work.inode(source, row);
        Ok(())
    }

    fn move_entry(
        &mut self,
        work: &mut Work,
        request: &RenameRequest,
        source: Ino,
        ticket: Ticket,
        dropped: &[Ticket],
    ) {
        let rest = self.rest_of_place(request.parent, &request.name, dropped);
        work.entry_row(request.parent, &request.name, rest);
        work.entry(request.to_parent, &request.to_name, Some(source), ticket);
    }

    fn become_version(
        &mut self,
        work: &mut Work,
        request: &RenameRequest,
        (source, create): (Ino, Ticket),
        target: Ino,
        ticket: Ticket,
    ) -> Result<()> {
        let over = Some(self.seen_vector(target)?);
        let node = self.inode(target)?.node;
        let mut dropped = self.drop_unsent(work, target, true);
        work.dequeue(create);
        dropped.push(create);
        let local = self.local_node(source, ticket)?;
        let attrs = self.full_change(target, &local.attrs)?;
        let pinned = self.inode(target)?.pinned;
        let orphan = InodeRow { node: None, pinned: false, ..self.kept_row(target)? };
        work.inode(target, orphan);
        self.hide_as(target, source);
        let row = InodeRow { node, local: Some(local), pinned, ..self.inode(source)?.row() };
        work.inode(source, row);
        let (parent, name) = (request.to_parent, request.to_name.clone());
        self.enqueue(work, ticket, LocalOp::Write { ino: source, parent, name, attrs, over });
        self.move_entry(work, request, source, ticket, &dropped);
        Ok(())
    }

    fn succeed_by_rename(
        &mut self,
        work: &mut Work,
        request: &RenameRequest,
        (source, create): (Ino, Ticket),
        away: Away,
        ticket: Ticket,
    ) -> Result<()> {
        work.dequeue(create);
        let local = self.local_node(source, ticket)?;
        let place = (request.to_parent, request.to_name.clone());
        let to = Successor { ino: source, ticket, place, attrs: local.attrs.clone() };
        let Origin { node, pinned, .. } = self.succeed(work, away, &to)?;
        let row = InodeRow { node: Some(node), local: Some(local), pinned, ..self.inode(source)?.row() };
        work.inode(source, row);
        self.move_entry(work, request, source, ticket, &[create]);
        Ok(())
    }

    fn send_rename(
        &mut self,
        work: &mut Work,
        request: &RenameRequest,
        source: Ino,
        target: Option<Ino>,
        ticket: Ticket,
    ) -> Result<()> {
        let RenameRequest { parent, name, to_parent, to_name, mode } = request.clone();
        let seen = self.seen(source)?;
        let displaced = target.map(|target| Ok::<_, TreeError>((target, self.seen(target)?))).transpose()?;
        if let Some(target) = target
            && mode != RenameMode::Exchange
            && self.is_last_name(target)?
        {
            // Its creation stays queued if it has one: the server is told of the displacement.
            let create = self.own_create(target)?;
            let dropped = self.drop_unsent(work, target, true);
            if create.is_some_and(|create| dropped.contains(&create)) {
                self.orphan_unsent(work, target)?;
                return self.send_rename_over_unsent(work, request, source, ticket, seen, &dropped);
            }
            self.hand_over(work, target, &dropped, ticket)?;
        }
        let exchanged = target.filter(|_| mode == RenameMode::Exchange);
        work.entry(parent, &name, exchanged, ticket);
        work.entry(to_parent, &to_name, Some(source), ticket);
        let place = to_name.clone();
        self.enqueue(
            work,
            ticket,
            LocalOp::Rename { ino: source, parent, name, to_parent, to_name, seen, displaced, mode },
        );
        match target.filter(|_| mode != RenameMode::Exchange) {
            Some(target) => self.write_behind(work, target, (to_parent, &place)),
            None => Ok(()),
        }
    }

    fn send_rename_over_unsent(
        &mut self,
        work: &mut Work,
        request: &RenameRequest,
        source: Ino,
        ticket: Ticket,
        seen: tarn_proto::op::Seen,
        dropped: &[Ticket],
    ) -> Result<()> {
        let RenameRequest { parent, name, to_parent, to_name, mode } = request.clone();
        debug_assert!(!dropped.is_empty());
        work.entry(parent, &name, None, ticket);
        work.entry(to_parent, &to_name, Some(source), ticket);
        let op = LocalOp::Rename { ino: source, parent, name, to_parent, to_name, seen, displaced: None, mode };
        self.enqueue(work, ticket, op);
        Ok(())
    }
}

impl Tree {
    /// Moves a name.
    ///
    /// # Errors
    /// Those of rename(2), also for what is immutable or append-only; `Unlisted` if a folder must be listed first; `Disk`.
    pub fn rename(&self, request: &RenameRequest) -> Result<()> {
        self.edit(|session| {
            session.may_rename(request)?;
            session.rename(request)
        })
    }
}
