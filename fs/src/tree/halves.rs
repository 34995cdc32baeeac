//! Owns saves in two halves. A file is renamed or removed, and then a new one takes its name; or a new one is written beside a file, and
//! then takes that one's name. The first half waits a moment in the queue; when the second one comes, what goes to the server is the next
//! version of the file that people see, which so keeps its node, its history and its shares. What programs see here is decided
//! elsewhere: no inode changes for any of this, only which node it stands for.

use super::error::TreeError;
use super::load::Session;
use super::types::Readiness;
use super::work::Work;
use crate::limits::{SECOND_HALF_STEP, SECOND_HALF_WAIT, SECOND_HALF_WAIT_OPEN};
use crate::meta::rows::{Ino, InodeRow, LocalOp, Ticket};
use std::time::Duration;
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, NodeKind};
use tarn_proto::op::RenameMode;
use tarn_proto::version::VersionVector;

type Result<T> = std::result::Result<T, TreeError>;

/// A published file that an unsent rename took from its name.
#[derive(Debug)]
pub(super) struct Away {
    ino: Ino,
    node: NodeId,
    to: (Ino, Name),
    /// The published file that it displaced there.
    displaced: Option<(Ino, NodeId, VersionVector)>,
    /// What is queued for it: the rename, and contents and attributes that are not sent.
    queued: Vec<Ticket>,
}

/// A file that takes the name of one that is away.
#[derive(Debug)]
pub(super) struct Successor {
    /// The file.
    pub ino: Ino,
    /// Under which the new version is queued.
    pub ticket: Ticket,
    /// Where it stands.
    pub place: (Ino, Name),
    /// Its attributes.
    pub attrs: Attrs,
}

/// What a new file stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// Its node.
    pub node: NodeId,
    /// Whether a person pinned that.
    pub pinned: bool,
    /// Whether nobody can have heard of it.
    pub is_fresh: bool,
}

impl Session<'_> {
    /// The file that was renamed away from a name that is taken again, if it can leave its node to what takes it: it has one name,
    /// and nothing of all this has been sent.
    pub(super) fn moved_away(&mut self, parent: Ino, name: &Name) -> Result<Option<Away>> {
        let Some((ticket, queued)) = self.state.queue.of_place(parent, name).next_back() else { return Ok(None) };
        let LocalOp::Rename { ino, parent: from, name: old, to_parent, to_name, displaced, mode, .. } = &queued.op.op
        else {
            return Ok(None);
        };
        let is_first_half = (*from, old) == (parent, name) && *mode != RenameMode::Exchange;
        if !is_first_half || queued.op.frozen.is_some() {
            return Ok(None);
        }
        let (ino, to, displaced) = (*ino, (*to_parent, to_name.clone()), displaced.clone());
        if !self.is_published_file(ino)? || self.links(ino)? != [to.clone()] || !self.is_replaceable(ino, ticket) {
            return Ok(None);
        }
        let displaced = match displaced {
            None => None,
            Some((other, seen)) => {
                let is_gone = self.is_published_file(other)? && self.links(other)?.is_empty();
                if !is_gone || !self.is_replaceable(other, ticket) {
                    return Ok(None);
                }
                Some((other, seen.node, seen.vector))
            }
        };
        let queued = self.state.queue.of_ino(ino).map(|(ticket, _)| ticket).collect();
        let node = self.inode(ino)?.node;
        Ok(node.map(|node| Away { ino, node, to, displaced, queued }))
    }

    fn is_published_file(&mut self, ino: Ino) -> Result<bool> {
        let inode = self.inode(ino)?;
        Ok(inode.remote.is_some() && inode.kind().is_some_and(NodeKind::is_file))
    }

    /// Whether nothing is queued for a file, a rename aside, but contents and attributes that were not sent.
    fn is_replaceable(&self, ino: Ino, rename: Ticket) -> bool {
        self.state.queue.of_ino(ino).all(|(ticket, queued)| {
            let brings = matches!(queued.op.op, LocalOp::Write { .. } | LocalOp::SetAttr { .. });
            queued.op.frozen.is_none() && (brings || ticket == rename)
        })
    }

    /// Gives the node of a file that is away to the one that took its name. What is away goes on as a new file, or as the next
    /// version of what it displaced. The successor's row is the caller's.
    pub(super) fn succeed(&mut self, work: &mut Work, away: Away, to: &Successor) -> Result<Origin> {
        let over = self.seen_vector(away.ino)?;
        let attrs = self.full_change(away.ino, &to.attrs)?;
        self.hide_as(away.ino, to.ino);
        // From now on these bytes are all that is left of what the node was, and another file's.
        let content = self.content(away.ino)?;
        work.moved.push(content);
        away.queued.iter().for_each(|&ticket| work.dequeue(ticket));
        let ticket = self.state.next_ticket();
        let local = self.local_node(away.ino, ticket)?;
        let (parent, name) = away.to;
        let (node, op) = match away.displaced {
            None => (NodeId(self.core.env.rng.id()), LocalOp::Create { ino: away.ino, parent, name: name.clone() }),
            Some((other, node, seen)) => {
                let attrs = self.full_change(other, &local.attrs)?;
                let orphan = InodeRow { node: None, ..self.kept_row(other)? };
                work.inode(other, orphan);
                work.orphans.push(other);
                self.hide_as(other, away.ino);
                let op = LocalOp::Write { ino: away.ino, parent, name: name.clone(), attrs, over: Some(seen) };
                (node, op)
            }
        };
        let row = InodeRow { node: Some(node), local: Some(local), pinned: false, ..self.inode(away.ino)?.row() };
        work.inode(away.ino, row);
        work.entry(parent, &name, Some(away.ino), ticket);
        let is_new = matches!(op, LocalOp::Create { .. });
        self.enqueue_creation(work, ticket, op, is_new);
        let (parent, name) = to.place.clone();
        self.enqueue(work, to.ticket, LocalOp::Write { ino: to.ino, parent, name, attrs, over: Some(over) });
        let inode = self.inode(away.ino)?;
        inode.made_over = None;
        Ok(Origin { node: away.node, pinned: inode.pinned, is_fresh: false })
    }

    /// How long an operation still waits because it may be the first half of a save.
    pub(super) fn half_wait(&mut self, op: &LocalOp, since: Duration) -> Result<Option<Readiness>> {
        let due = match op {
            LocalOp::Create { ino, .. } => self.due_of_creation(*ino, since)?,
            _ => since + SECOND_HALF_WAIT,
        };
        // Many that were made one after the other are looked at together.
        let steps = due.as_millis().div_ceil(SECOND_HALF_STEP.as_millis());
        let due = SECOND_HALF_STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX));
        let left = due.saturating_sub(self.core.env.clock.monotonic());
        if left.is_zero() {
            return Ok(None);
        }
        let is_half = match op {
            LocalOp::Rename { ino, parent, name, mode, .. } => {
                *mode != RenameMode::Exchange && self.left_behind(*ino, *parent, name)?
            }
            LocalOp::Unlink { ino, parent, name, .. } => {
                self.left_behind(*ino, *parent, name)? && self.links(*ino)?.is_empty()
            }
            LocalOp::Create { ino, parent, name } => {
                self.inode(*ino)?.kind().is_some_and(NodeKind::is_file) && self.looks_temporary(*parent, name)?
            }
            _ => false,
        };
        Ok(is_half.then_some(Readiness::Half { left }))
    }

    /// Until when a new file may take the place of another: for some time from its last byte on.
    fn due_of_creation(&mut self, ino: Ino, since: Duration) -> Result<Duration> {
        let inode = self.inode(ino)?;
        let is_open = inode.writers > 0;
        Ok(if is_open { since + SECOND_HALF_WAIT_OPEN } else { since.max(inode.last_write) + SECOND_HALF_WAIT })
    }

    /// Whether a published file left a name that nothing has taken since.
    fn left_behind(&mut self, ino: Ino, parent: Ino, name: &Name) -> Result<bool> {
        let is_file = match self.is_published_file(ino) {
            Err(TreeError::NotFound) => false,
            known => known?,
        };
        Ok(is_file && self.shown(parent, name)?.is_none())
    }

    /// Whether a name is that of a temporary file: as `mkstemp` and others make them, or made of the name of a file beside it.
    fn looks_temporary(&mut self, parent: Ino, name: &Name) -> Result<bool> {
        if is_temporary_name(name.as_bytes()) {
            return Ok(true);
        }
        for original in originals(name.as_bytes()) {
            let Ok(original) = Name::new(original) else { continue };
            if let Some(other) = self.shown(parent, &original)?
                && self.inode(other)?.kind().is_some_and(NodeKind::is_file)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// `sedXXXXXX`, `tmpXXXXXX…`, `….tmp`, `….temp`.
fn is_temporary_name(name: &[u8]) -> bool {
    let random = |rest: &[u8]| rest.len() >= 6 && rest.iter().all(u8::is_ascii_alphanumeric);
    let ends = [b".tmp".as_slice(), b".temp"].iter().any(|end| name.to_ascii_lowercase().ends_with(end));
    let sed = name.strip_prefix(b"sed").is_some_and(|rest| rest.len() == 6 && random(rest));
    ends || sed || name.strip_prefix(b"tmp").is_some_and(random)
}

/// Names of which this one may be made: `.report.txt.Fb2PSY`, `report.txt~` and `report.txt.tmp1` are of `report.txt`.
fn originals(name: &[u8]) -> Vec<&[u8]> {
    let bare = name.strip_prefix(b".").or_else(|| name.strip_prefix(b"#"));
    let mut found = Vec::new();
    for whole in [Some(name), bare].into_iter().flatten() {
        let ends = (1..whole.len()).filter(|&end| matches!(whole[end], b'.' | b'~' | b'#'));
        found.extend(ends.map(|end| &whole[..end]));
    }
    found.extend(bare);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of(name: &str) -> Vec<&str> {
        originals(name.as_bytes()).into_iter().map(|name| std::str::from_utf8(name).unwrap()).collect()
    }

    #[test]
    fn names_are_made_of_what_stands_before_a_dot_or_a_tilde() {
        assert_eq!(made_of("report"), [""; 0]);
        assert_eq!(made_of("safe.kdbx.SFVAEi"), ["safe", "safe.kdbx"]);
        assert_eq!(made_of("report.txt~"), ["report", "report.txt"]);
        assert_eq!(made_of(".report.Fb2PSY"), [".report", "report", "report.Fb2PSY"]);
        assert_eq!(made_of(".profile"), ["profile"]);
    }

    #[test]
    fn temporary_names_are_known_by_their_form() {
        let are = ["sed55f5h8", "tmpMVwon0", "tmpab12cd34", "x.tmp", "lu29104qpja.tmp", "A.TMP"];
        let are_not = ["sedative", "sedimentary", "sed-files", "tmp", "tmp-file", "template", "x.tmpl", "report.txt"];
        assert!(are.iter().all(|name| is_temporary_name(name.as_bytes())));
        assert!(!are_not.iter().any(|name| is_temporary_name(name.as_bytes())), "{are_not:?}");
    }
}
