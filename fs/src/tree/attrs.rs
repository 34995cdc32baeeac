//! Owns changes of attributes: folded into what is queued for the node where it has not been sent.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::types::Stat;
use super::work::Work;
use crate::meta::rows::{Ino, InodeRow, LocalOp, QueuedOp, RowChange, Ticket};
use std::collections::BTreeMap;
use tarn_proto::limits::XATTRS_BYTES_MAX;
use tarn_proto::node::{AttrChange, Attrs, ByteString};

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    /// The change that makes the attributes of `ino` on the server into `attrs`, field by field.
    pub(super) fn full_change(&mut self, ino: Ino, attrs: &Attrs) -> Result<AttrChange> {
        let old = self.remote_of(ino)?.map(|remote| remote.attrs.xattrs.clone()).unwrap_or_default();
        let gone = old.keys().filter(|name| !attrs.xattrs.contains_key(*name)).map(|name| (name.clone(), None));
        let set = attrs.xattrs.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
        Ok(AttrChange {
            mode: Some(attrs.mode),
            uid: Some(attrs.uid),
            gid: Some(attrs.gid),
            mtime: Some(attrs.mtime),
            ctime: Some(attrs.ctime),
            btime: None,
            flags: Some(attrs.flags),
            xattrs: gone.chain(set).collect(),
        })
    }

    fn set_attrs(&mut self, ino: Ino, change: &AttrChange) -> Result<()> {
        let now = self.core.env.clock.wall();
        let change = AttrChange { ctime: change.ctime.or(Some(now)), ..change.clone() };
        let (mut work, folded) = self.fold_attrs(ino, &change);
        let ticket = folded.unwrap_or_else(|| self.state.next_ticket());
        let mut local = self.local_node(ino, ticket)?;
        change.apply_to(&mut local.attrs);
        let xattr_bytes: usize = local.attrs.xattrs.iter().map(|(name, value)| name.len() + value.0.len()).sum();
        if xattr_bytes > XATTRS_BYTES_MAX {
            return Err(TreeError::TooLarge);
        }
        let orphan = self.inode(ino)?.node.is_none();
        if folded.is_none() && !orphan {
            self.enqueue(&mut work, ticket, LocalOp::SetAttr { ino, attrs: change });
        }
        let row = InodeRow { local: Some(local), ..self.inode(ino)?.row() };
        work.inode(ino, row);
        self.commit(work)?;
        self.inode(ino)?.times = None;
        Ok(())
    }

    /// Joins a change into the last unsent operation of the node, if that can carry it.
    fn fold_attrs(&mut self, ino: Ino, change: &AttrChange) -> (Work, Option<Ticket>) {
        let mut work = Work::default();
        let Some((ticket, queued)) = self.state.queue.of_ino(ino).next_back() else { return (work, None) };
        // Names that were made in a folder before its time was set arrive before that, too.
        let is_later = change.mtime.is_some() && self.state.queue.last_in_dir(ino).is_some_and(|last| last > ticket);
        if is_later || queued.op.frozen.is_some() || queued.prepared.is_some() {
            return (work, None);
        }
        let mut queued: QueuedOp = queued.op.clone();
        match &mut queued.op {
            LocalOp::Create { .. } => {}
            LocalOp::Write { attrs, .. } | LocalOp::SetAttr { attrs, .. } => attrs.merge(change),
            LocalOp::Link { .. } | LocalOp::Unlink { .. } | LocalOp::Rename { .. } => return (work, None),
        }
        if !matches!(queued.op, LocalOp::Create { .. }) {
            work.rows.push(RowChange::Queue(ticket, Some(Box::new(queued))));
        }
        (work, Some(ticket))
    }

    /// Records times that so far are only in memory.
    pub(super) fn record_times(&mut self, ino: Ino) -> Result<()> {
        let inode = self.inode(ino)?;
        if inode.times.is_none() || inode.local.is_none() {
            return Ok(());
        }
        let ticket = inode.local.as_ref().map_or(Ticket(0), |local| local.ticket);
        let local = self.local_node(ino, ticket)?;
        let mut work = Work::default();
        let row = InodeRow { local: Some(local), ..self.inode(ino)?.row() };
        work.inode(ino, row);
        self.commit(work)?;
        self.inode(ino)?.times = None;
        Ok(())
    }
}

impl Tree {
    /// Changes attributes and extended attributes.
    ///
    /// # Errors
    /// `NotFound`, `TooLarge` (extended attributes), `Disk`.
    pub fn set_attrs(&self, ino: Ino, change: &AttrChange) -> Result<Stat> {
        self.edit(|session| {
            session.set_attrs(ino, change)?;
            session.stat(ino)
        })
    }

    /// The extended attributes of a node.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn xattrs(&self, ino: Ino) -> Result<BTreeMap<String, ByteString>> {
        self.look(|session| Ok(session.inode(ino)?.attrs().ok_or(TreeError::NotFound)?.xattrs))
    }

    /// Number of nodes that are or were known here, for statfs.
    pub fn node_count(&self) -> u64 {
        self.with(|session| session.state.counters.ino)
    }
}
