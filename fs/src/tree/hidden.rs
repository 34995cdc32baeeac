//! Owns what unsent work hides of others' changes: versions of a file that has bytes or a removal of its own here, and names that
//! stand for something else here, or in a folder that was removed here. Whoever removes a folder has not seen them, and its removal
//! says so.

use super::error::TreeError;
use super::load::Session;
use crate::meta::rows::{Ino, LocalOp, QueuedOp};
use std::collections::BTreeSet;
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    /// A version of this file has come, and does not show.
    pub(super) fn note_hidden(&mut self, ino: Ino) {
        let seq = self.state.cursor.map_or(0, |cursor| cursor.seq);
        self.state.hidden.entry(ino).or_insert(seq);
    }

    /// What the unsent bytes of one inode hid of others' versions was not seen either when another one stands for the file, as its
    /// next version.
    pub(super) fn hide_as(&mut self, ino: Ino, next: Ino) {
        if let Some(&before) = self.state.hidden.get(&ino) {
            self.hide_since(next, before);
        }
    }

    fn hide_since(&mut self, ino: Ino, before: u64) {
        let seq = self.state.hidden.entry(ino).or_insert(before);
        *seq = before.min(*seq);
    }

    /// What others put under a name that a local row keeps for something else is not seen by anybody here.
    pub(super) fn note_hidden_names(&mut self, changes: &[Change]) -> Result<()> {
        if self.state.overlay.is_empty() {
            return Ok(());
        }
        let seq = self.state.cursor.map_or(0, |cursor| cursor.seq);
        for change in changes {
            let Row::Entry { parent: folder, name, node: Some(node) } = &change.row else { continue };
            let Some(parent) = self.known_ino(*folder)? else { continue };
            let shown = self.known_ino(*node)?;
            self.note_hidden_name((parent, name), shown, seq);
            if self.seen_when_removed(parent).is_some() {
                self.note_hidden_inside((parent, *folder), name, seq)?;
            }
        }
        Ok(())
    }

    /// What others put in a folder after a person removed it here shows nowhere, if it is there still and not what was removed.
    fn note_hidden_inside(&mut self, (dir, node): (Ino, NodeId), name: &Name, before: u64) -> Result<()> {
        if let Some((_, Some(child))) = self.known_entry(node, name)? {
            let there = self.known_ino(child)?;
            if !self.is_own((dir, name), there) {
                self.hide_since(dir, before);
            }
        }
        Ok(())
    }

    /// Whether something queued for a place is about what others have there.
    fn is_own(&self, (parent, name): (Ino, &Name), there: Option<Ino>) -> bool {
        let mut ops = self.state.queue.of_place(parent, name);
        ops.any(|(_, queued)| queued.op.op.inodes().any(|other| Some(other) == there))
    }

    /// `there`: what others have at a place, if it has an inode.
    fn note_hidden_name(&mut self, (parent, name): (Ino, &Name), there: Option<Ino>, before: u64) {
        let Some(row) = self.state.overlay.get(parent, name) else { return };
        if !self.is_own((parent, name), there) && (there.is_none() || row.ino != there) {
            self.state.overlay.note_hiding(parent, name, before);
        }
    }

    /// Whether a node's only name here means all of it. A file that has another one, which something else hides here, stays by that,
    /// and its unsent bytes are in no version yet.
    pub(super) fn is_last_name(&mut self, ino: Ino) -> Result<bool> {
        if self.links(ino)?.len() != 1 {
            return Ok(false);
        }
        let is_unsent = |op: &QueuedOp| op.frozen.is_none() && matches!(op.op, LocalOp::Write { .. });
        let is_unsent = self.state.queue.of_ino(ino).any(|(_, queued)| is_unsent(&queued.op));
        Ok(!is_unsent || self.hidden_links(ino)?.is_empty())
    }

    /// Names that a file has by what the server has said, where something else shows here, and that nothing queued takes from it.
    pub(super) fn hidden_links(&mut self, ino: Ino) -> Result<Vec<(Ino, Name)>> {
        let Some(node) = self.inode(ino)?.node else { return Ok(Vec::new()) };
        let mut hidden = Vec::new();
        for (folder, name) in self.remote_places(node)? {
            let Some(parent) = self.known_ino(folder)? else { continue };
            let is_hidden = self.state.overlay.get(parent, &name).is_some_and(|row| row.ino != Some(ino));
            let mut lifted = self.state.queue.of_ino(ino).flat_map(|(_, queued)| queued.op.op.lifted());
            if is_hidden && !lifted.any(|standing| standing == (ino, parent, &name)) {
                hidden.push((parent, name));
            }
        }
        Ok(hidden)
    }

    /// The seq up to which a person can have seen all that is known: what came after it may have been hidden by what waits
    /// to be sent.
    pub(super) fn shown_seq(&mut self) -> Result<u64> {
        if !self.state.is_hidden_known {
            self.find_hidden()?;
            self.state.is_hidden_known = true;
        }
        let known = self.state.cursor.map_or(0, |cursor| cursor.seq);
        let mut seq = self.state.overlay.hiding_since().map_or(known, |before| known.min(before));
        let hidden: Vec<(Ino, u64)> = self.state.hidden.iter().map(|(ino, seq)| (*ino, *seq)).collect();
        for (ino, before) in hidden {
            let is_queued = self.state.queue.of_ino(ino).next().is_some();
            let is_dirty = match self.local_content(ino) {
                Err(TreeError::NotFound) => false,
                content => content?.is_some_and(|content| content.is_dirty()),
            };
            if is_queued || is_dirty {
                seq = seq.min(before);
            } else {
                self.state.hidden.remove(&ino);
            }
        }
        Ok(seq)
    }

    /// What was hidden before this start, or by what a full pull brought, and is so still. The rows say since when they are as they
    /// are: that is when it came, unless somebody has changed a file's attributes since.
    fn find_hidden(&mut self) -> Result<()> {
        let queued: BTreeSet<Ino> = self.state.queue.ops.values().flat_map(|queued| queued.op.op.inodes()).collect();
        for ino in queued {
            self.find_hidden_version(ino)?;
            self.find_hidden_inside(ino)?;
        }
        for (parent, name) in self.state.overlay.places() {
            let folder = match self.inode(parent) {
                Err(TreeError::NotFound) => continue,
                inode => inode?.node,
            };
            let Some(folder) = folder else { continue };
            if let Some((seq, Some(node))) = self.known_entry(folder, &name)? {
                let there = self.known_ino(node)?;
                self.note_hidden_name((parent, &name), there, seq.saturating_sub(1));
            }
        }
        Ok(())
    }

    fn find_hidden_inside(&mut self, dir: Ino) -> Result<()> {
        let Some(seen) = self.seen_when_removed(dir).and_then(|seen| seen.seq) else { return Ok(()) };
        let node = match self.inode(dir) {
            Err(TreeError::NotFound) => return Ok(()),
            inode => inode?.node,
        };
        let Some(node) = node else { return Ok(()) };
        for name in self.remote_children(node)?.into_keys() {
            if let Some((seq, _)) = self.known_entry(node, &name)?.filter(|(seq, _)| *seq > seen) {
                self.note_hidden_inside((dir, node), &name, seq.saturating_sub(1))?;
            }
        }
        Ok(())
    }

    fn find_hidden_version(&mut self, ino: Ino) -> Result<()> {
        let node = match self.inode(ino) {
            Err(TreeError::NotFound) => return Ok(()),
            inode => inode?.node,
        };
        let Some(node) = node else { return Ok(()) };
        let (state, seq) = (self.remote_node(node)?, self.remote_seq(node)?);
        let file = state.as_ref().and_then(|state| state.file.as_ref());
        let Some((file, seq)) = file.zip(seq) else { return Ok(()) };
        let seen = match self.seen_when_removed(ino) {
            Some(seen) => seen.vector,
            None => self.seen_vector(ino)?,
        };
        if !seen.has_seen(&file.vector) {
            self.hide_since(ino, seq.saturating_sub(1));
        }
        Ok(())
    }
}
