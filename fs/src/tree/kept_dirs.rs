//! Owns folders that others removed or moved while something queued here needs them: each is kept in its place by a
//! local row, until nothing is queued in or below it any more.

use super::error::TreeError;
use super::load::Session;
use crate::meta::RemoteWork;
use crate::meta::rows::{EntryRow, Ino, InodeRow, ROOT, RowChange, Ticket};
use std::collections::HashSet;
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;

type Result<T> = std::result::Result<T, TreeError>;

/// The ticket of rows that keep a folder: no operation has it, so no answer takes them away.
pub(super) const KEPT: Ticket = Ticket(0);

impl Session<'_> {
    /// Folders in or below which something is queued, up to the root.
    fn busy_dirs(&mut self) -> Result<HashSet<Ino>> {
        let mut starts: Vec<Ino> = self.state.overlay.parents_needed().chain(self.state.queue.dirs()).collect();
        starts.sort_unstable();
        starts.dedup();
        let mut busy = HashSet::new();
        for start in starts {
            let mut at = Some(start);
            while let Some(here) = at {
                if !busy.insert(here) || here == ROOT {
                    break;
                }
                at = match self.parent(here) {
                    Err(TreeError::NotFound) => None,
                    other => other?,
                };
            }
        }
        Ok(busy)
    }

    /// Keeps folders that others removed, or moved below themselves, while something queued here needs them:
    /// a local row holds each in its place until nothing is queued in or below it any more.
    pub(super) fn protect(&mut self, work: &mut RemoteWork) -> Result<Vec<(Ino, Name)>> {
        let entries: Vec<(NodeId, Name, Option<NodeId>)> = work.changes.iter().filter_map(entry_of).collect();
        let busy = self.busy_dirs()?;
        let mut names = Vec::new();
        for (parent, name, new) in &entries {
            let Some(parent) = self.known_ino(*parent)? else { continue };
            if self.is_queued_here(parent, name) {
                continue;
            }
            let Some(child) = self.shown(parent, name)?.filter(|child| busy.contains(child)) else { continue };
            let node = self.inode(child)?.node;
            let stays = *new == node;
            let moves = entries.iter().any(|(_, _, moved)| moved.is_some() && *moved == node);
            if !stays && (!moves || self.would_close_cycle(child, node, &entries)?) {
                self.keep_dir(work, (parent, name), child)?;
                names.push((parent, name.clone()));
            }
        }
        Ok(names)
    }

    /// Whether what a name shows is a queued operation's doing: its row stays as long as the operation is queued, and a row
    /// of ours in its place would be let go of sooner.
    fn is_queued_here(&self, parent: Ino, name: &Name) -> bool {
        self.state.overlay.get(parent, name).is_some_and(|row| row.ticket != KEPT)
    }

    fn would_close_cycle(
        &mut self,
        dir: Ino,
        node: Option<NodeId>,
        entries: &[(NodeId, Name, Option<NodeId>)],
    ) -> Result<bool> {
        for (parent, _, moved) in entries {
            if moved.is_some()
                && *moved == node
                && let Some(parent) = self.known_ino(*parent)?
                && self.is_below(parent, dir)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn keep_dir(&mut self, work: &mut RemoteWork, (parent, name): (Ino, &Name), child: Ino) -> Result<()> {
        let local = self.local_node(child, KEPT)?;
        let row = InodeRow { local: Some(local), ..self.inode(child)?.row() };
        let node = row.node;
        work.rows.push(RowChange::Inode(child, Some(row)));
        work.rows.push(RowChange::Entry(parent, name.clone(), Some(EntryRow { ino: Some(child), ticket: KEPT })));
        // Its new place, if it has one, must not show it a second time.
        let elsewhere: Vec<_> =
            work.changes.iter().filter_map(entry_of).filter(|(_, _, n)| n.is_some() && *n == node).collect();
        for (other, other_name, _) in elsewhere {
            if let Some(other) = self.known_ino(other)? {
                work.rows.push(RowChange::Entry(other, other_name, Some(EntryRow { ino: None, ticket: KEPT })));
            }
        }
        Ok(())
    }

    /// After a change of the queue: lets go of what nothing needs any more.
    pub(super) fn settle_kept_dirs<T>(&mut self, generation: u64, result: Result<T>) -> Result<T> {
        let done = result?;
        if self.state.queue.generation != generation {
            self.release_kept_dirs()?;
        }
        Ok(done)
    }

    /// Lets go of what nothing needs any more: what the server has shows.
    fn release_kept_dirs(&mut self) -> Result<()> {
        let kept = self.state.overlay.kept_dirs();
        if kept.is_empty() {
            return Ok(());
        }
        let busy = self.busy_dirs()?;
        let is_needed = |child: &Option<Ino>| child.is_some_and(|child| busy.contains(&child));
        let is_any_needed = kept.iter().any(|(_, _, child)| is_needed(child));
        let (mut work, mut names) = (RemoteWork::default(), Vec::new());
        for (parent, name, child) in kept {
            if is_needed(&child) || (child.is_none() && is_any_needed) {
                continue;
            }
            work.rows.push(RowChange::Entry(parent, name.clone(), None));
            names.push((parent, name));
            let Some(child) = child else { continue };
            let inode = self.inode(child)?;
            let row = inode.row();
            if inode.remote.is_some() && row.local.as_ref().is_some_and(|local| local.ticket == KEPT) {
                work.rows.push(RowChange::Inode(child, Some(InodeRow { local: None, ..row })));
            }
        }
        if !work.rows.is_empty() {
            self.absorb(work, names)?;
        }
        Ok(())
    }
}

fn entry_of(change: &Change) -> Option<(NodeId, Name, Option<NodeId>)> {
    match &change.row {
        Row::Entry { parent, name, node } => Some((*parent, name.clone(), *node)),
        _ => None,
    }
}
