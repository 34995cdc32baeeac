//! Owns queueing contents again as new files, for what the server refused: bytes are never dropped.

use super::error::TreeError;
use super::kept_dirs::KEPT;
use super::load::Session;
use super::names::{conflict_name, date};
use super::versions::staged_row;
use super::work::{NameChange, Work};
use crate::meta::RemoteWork;
use crate::meta::rows::{EntryRow, Ino, InodeRow, LocalNode, LocalOp, QueuedOp, ROOT, RowChange, Ticket};
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, NodeKind};
use tarn_proto::op::Seen;

/// Where refused contents go, in a folder for each day.
const RESCUED: &str = "Tarn rescued";
/// Names tried before one that is taken is taken all the same (the server then asks for another).
const NAME_TRIES: u32 = 1_000;
/// Whose a name is that was taken among what was rescued: it is of no other device.
const HERE: &str = "here";

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    /// Queues refused contents again under `Tarn rescued/DATE/`, where nobody else's changes meet them. Returns the
    /// folder, and the name that it got there.
    pub(super) fn rescue_content(
        &mut self,
        ino: Ino,
        name: Option<&Name>,
        rows: &mut Vec<RowChange>,
    ) -> Result<(Ino, Name)> {
        let path = self.path(ino)?.unwrap_or_default();
        let shown = path.rsplit(|&c| c == b'/').next().and_then(|name| Name::new(name).ok());
        let name = match shown.or_else(|| name.cloned()) {
            Some(name) => name,
            None => name_of("unnamed")?,
        };
        let dir = self.rescue_dir()?;
        let name = self.requeue_as_new(ino, (dir, &name), HERE, rows)?;
        Ok((dir, name))
    }

    /// The bytes of a file's new version are another file's from now on. Names that wait to be sent are still the file's, as the
    /// server has it: another inode shows it there.
    pub(super) fn leave_names(&mut self, ino: Ino, rows: &mut Vec<RowChange>) -> Result<()> {
        let names = |op: &LocalOp| matches!(op, LocalOp::Rename { .. } | LocalOp::Link { .. });
        let waiting = self.state.queue.of_ino(ino).filter(|(_, queued)| names(&queued.op.op));
        let waiting: Vec<(Ticket, QueuedOp)> =
            waiting.filter_map(|(ticket, _)| Some((ticket, self.op_after(rows, ticket)?))).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let (node, pinned) = (self.inode(ino)?.node, self.inode(ino)?.pinned);
        let shown = self.state.next_ino();
        rows.push(RowChange::Inode(shown, Some(InodeRow { node, pinned, ..InodeRow::default() })));
        for (ticket, mut queued) in waiting {
            for (parent, name) in queued.op.places() {
                let row =
                    self.state.overlay.get(parent, name).filter(|row| row.ino == Some(ino) && row.ticket == ticket);
                let moved = row.map(|row| EntryRow { ino: Some(shown), ..row });
                rows.extend(moved.map(|row| RowChange::Entry(parent, name.clone(), Some(row))));
            }
            queued.op.be_about(ino, shown);
            rows.push(RowChange::Queue(ticket, Some(Box::new(queued))));
        }
        Ok(())
    }

    /// A name was refused because of its folder. If its file has no other here, it gets one under `Tarn rescued/DATE/`: on
    /// the server the others may be gone by now, and the file with them. `refused`: what else was refused. Returns the new name.
    pub(super) fn rescue_name(
        &mut self,
        op: &LocalOp,
        refused: &mut Vec<(Ino, Name)>,
        work: &mut RemoteWork,
    ) -> Result<Option<(Ino, Name)>> {
        let (ino, from, (parent, name)) = match op {
            LocalOp::Link { ino, parent, name } => (*ino, None, (*parent, name)),
            LocalOp::Rename { ino, parent, name, to_parent, to_name, .. } => {
                (*ino, Some((*parent, name)), (*to_parent, to_name))
            }
            _ => return Ok(None),
        };
        if let Some(from) = from
            && self.stands(ino, from, &work.changes)?
        {
            return self.remove_where_it_stays(ino, from, work);
        }
        if self.inode(ino)?.is_dir() {
            return Ok(None);
        }
        refused.push((parent, name.clone()));
        let links = self.links(ino)?;
        let is_removed = links.is_empty() && self.seen_when_removed(ino).is_some();
        if is_removed || links.iter().any(|link| !refused.contains(link)) {
            return Ok(None);
        }
        let local = match self.local_node(ino, Ticket(0)) {
            // Others removed it, and nothing of it is left here.
            Err(TreeError::NotFound) => return Ok(None),
            local => local?,
        };
        let dir = self.rescue_dir()?;
        let name = self.free_name((dir, name), HERE)?;
        let ticket = self.state.next_ticket();
        let local = Box::new(LocalNode { ticket, ..*local });
        let row = staged_row(work, ino).unwrap_or(self.inode(ino)?.row());
        let mut queued = Work::default();
        queued.inode(ino, InodeRow { local: Some(local), ..row });
        queued.entry(dir, &name, Some(ino), ticket);
        self.enqueue(&mut queued, ticket, LocalOp::Link { ino, parent: dir, name: name.clone() });
        work.rows.append(&mut queued.rows);
        Ok(Some((dir, name)))
    }

    /// What a person removed where it was to be goes from where it stays. Returns the name that it had there.
    fn remove_where_it_stays(
        &mut self,
        ino: Ino,
        (parent, name): (Ino, &Name),
        work: &mut RemoteWork,
    ) -> Result<Option<(Ino, Name)>> {
        let Some(seen) = self.seen_when_removed(ino) else { return Ok(None) };
        if !self.links(ino)?.is_empty() || self.is_taken_since(ino, (parent, name)) {
            return Ok(None);
        }
        let (ticket, mut queued) = (self.state.next_ticket(), Work::default());
        let seen = Seen { alt_name: None, ..seen };
        self.enqueue(&mut queued, ticket, LocalOp::Unlink { parent, name: name.clone(), ino, seen });
        queued.entry(parent, name, None, ticket);
        work.rows.append(&mut queued.rows);
        Ok(Some((parent, name.clone())))
    }

    /// Whether something else is queued for a place that a node left.
    fn is_taken_since(&self, ino: Ino, (parent, name): (Ino, &Name)) -> bool {
        let mut ops = self.state.queue.of_place(parent, name);
        ops.any(|(_, queued)| !queued.op.op.inodes().any(|about| about == ino))
    }

    /// Whether the server has a node at a place after these changes.
    fn stands(&mut self, ino: Ino, (parent, name): (Ino, &Name), changes: &[Change]) -> Result<bool> {
        let (Some(node), Some(folder)) = (self.inode(ino)?.node, self.inode(parent)?.node) else { return Ok(false) };
        let told = changes.iter().rev().find_map(|change| match &change.row {
            Row::Entry { parent, name: told, node } if *parent == folder && told == name => Some(*node),
            _ => None,
        });
        let there = told.map_or_else(|| self.remote_entry(folder, name), Ok)?;
        Ok(there == Some(node))
    }

    fn rescue_dir(&mut self) -> Result<Ino> {
        let top = self.ensure_dir(ROOT, RESCUED)?;
        self.ensure_dir(top, &date(self.core.env.clock.wall()))
    }

    /// A folder of this name, made if there is none. Where something else has the name, the folder gets a number.
    fn ensure_dir(&mut self, parent: Ino, name: &str) -> Result<Ino> {
        for tries in 1..=NAME_TRIES {
            let name = if tries == 1 { name_of(name)? } else { name_of(&format!("{name} {tries}"))? };
            match self.effective(parent, &name)? {
                None => return self.make_dir(parent, &name),
                Some(existing) if self.takes_rescued(existing)? => return Ok(existing),
                Some(_) => {}
            }
        }
        Err(TreeError::Exists)
    }

    /// Whether what is brought to it arrives: it is a folder, and none that others removed and that is only kept here.
    pub(super) fn takes_rescued(&mut self, ino: Ino) -> Result<bool> {
        let inode = self.inode(ino)?;
        let is_kept = inode.remote.is_none() && inode.local.as_ref().is_some_and(|local| local.ticket == KEPT);
        Ok(inode.is_dir() && !is_kept)
    }

    fn make_dir(&mut self, parent: Ino, name: &Name) -> Result<Ino> {
        let (ino, ticket) = (self.state.next_ino(), self.state.next_ticket());
        let now = self.core.env.clock.wall();
        let attrs =
            Attrs { mode: 0o755, mtime: now, ctime: now, btime: now, ..self.inode(ROOT)?.attrs().unwrap_or_default() };
        let mut work = Work::default();
        self.enqueue(&mut work, ticket, LocalOp::Create { ino, parent, name: name.clone() });
        let node = NodeId(self.core.env.rng.id());
        let local = Some(Box::new(LocalNode { kind: NodeKind::Dir, attrs, ticket }));
        work.inode(ino, InodeRow { node: Some(node), local, ..InodeRow::default() });
        work.entry(parent, name, Some(ino), ticket);
        self.commit(work)?;
        self.invalidate_name(parent, name);
        self.note_renamed(parent, name, NameChange { old: None, new: Some(ino) }, None);
        Ok(ino)
    }

    /// Makes an inode with all its bytes a new file at a place, under a node of its own. Returns the name it got: if it was
    /// taken, one that says whose it is.
    pub(super) fn requeue_as_new(
        &mut self,
        ino: Ino,
        (parent, name): (Ino, &Name),
        whose: &str,
        rows: &mut Vec<RowChange>,
    ) -> Result<Name> {
        let free = self.free_name((parent, name), whose)?;
        let ticket = self.state.next_ticket();
        let local = self.local_node(ino, ticket)?;
        let mut work = Work::default();
        let node = NodeId(self.core.env.rng.id());
        let row = InodeRow { node: Some(node), local: Some(local), ..self.inode(ino)?.row() };
        work.inode(ino, row);
        work.entry(parent, &free, Some(ino), ticket);
        self.enqueue(&mut work, ticket, LocalOp::Create { ino, parent, name: free.clone() });
        if let Some(content) = self.local_content(ino)? {
            content.leave_file().map_err(TreeError::Disk)?;
        }
        rows.append(&mut work.rows);
        Ok(free)
    }

    /// The name, or one beside it that nothing has.
    fn free_name(&mut self, (parent, name): (Ino, &Name), whose: &str) -> Result<Name> {
        let mut free = name.clone();
        for tries in 0..NAME_TRIES {
            if self.effective(parent, &free)?.is_none() {
                break;
            }
            free = conflict_name(name, whose, self.core.env.clock.wall(), tries);
        }
        Ok(free)
    }

    pub(super) fn invalidate_name(&mut self, parent: Ino, name: &Name) {
        self.invalidations.push(super::notify::Invalidation::Entry { parent, name: name.clone() });
        self.invalidations.push(super::notify::Invalidation::Content(parent));
    }
}

fn name_of(text: &str) -> Result<Name> {
    Name::new(text).map_err(|_| TreeError::Invalid)
}
