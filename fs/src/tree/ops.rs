//! Owns what a queued operation touches, and what it still may become before it is frozen.

use super::types::QueueKey;
use crate::meta::rows::{Ino, LocalOp};
use tarn_proto::name::Name;

impl LocalOp {
    /// The inodes that it is about (not the directories it happens in).
    pub fn inodes(&self) -> impl Iterator<Item = Ino> + '_ {
        let (first, second) = match self {
            Self::Create { ino, .. }
            | Self::Write { ino, .. }
            | Self::SetAttr { ino, .. }
            | Self::Link { ino, .. }
            | Self::Unlink { ino, .. } => (*ino, None),
            Self::Rename { ino, displaced, .. } => (*ino, displaced.as_ref().map(|(ino, _)| *ino)),
        };
        std::iter::once(first).chain(second)
    }

    /// The names that it changes, or needs to stay.
    pub fn places(&self) -> impl Iterator<Item = (Ino, &Name)> + '_ {
        let (first, second) = match self {
            Self::Create { parent, name, .. }
            | Self::Write { parent, name, .. }
            | Self::Link { parent, name, .. }
            | Self::Unlink { parent, name, .. } => (Some((*parent, name)), None),
            Self::SetAttr { .. } => (None, None),
            Self::Rename { parent, name, to_parent, to_name, .. } => {
                (Some((*parent, name)), Some((*to_parent, to_name)))
            }
        };
        first.into_iter().chain(second)
    }

    /// The file whose content it brings.
    pub fn content_of(&self) -> Option<Ino> {
        match self {
            Self::Create { ino, .. } | Self::Write { ino, .. } => Some(*ino),
            Self::SetAttr { .. } | Self::Link { .. } | Self::Unlink { .. } | Self::Rename { .. } => None,
        }
    }

    /// Whether it leaves this name free.
    pub fn frees(&self, parent: Ino, name: &Name) -> bool {
        match self {
            Self::Unlink { parent: p, name: n, .. } | Self::Rename { parent: p, name: n, .. } => {
                *p == parent && n == name
            }
            Self::Create { .. } | Self::Write { .. } | Self::SetAttr { .. } | Self::Link { .. } => false,
        }
    }

    /// What must not be overtaken, or overtake.
    pub fn keys(&self) -> Vec<QueueKey> {
        let inodes = self.inodes().map(QueueKey::Inode);
        inodes.chain(self.places().map(|(parent, name)| QueueKey::Entry(parent, name.clone()))).collect()
    }

    /// Makes it be about another node, where it is about this one.
    pub(super) fn be_about(&mut self, from: Ino, to: Ino) {
        let set = |ino: &mut Ino| *ino = if *ino == from { to } else { *ino };
        match self {
            Self::Create { ino, .. }
            | Self::Write { ino, .. }
            | Self::SetAttr { ino, .. }
            | Self::Link { ino, .. }
            | Self::Unlink { ino, .. } => set(ino),
            Self::Rename { ino, displaced, .. } => {
                set(ino);
                displaced.iter_mut().for_each(|(ino, _)| set(ino));
            }
        }
    }

    /// Makes every mention of a directory one of another; whether there was any.
    pub(super) fn move_dir(&mut self, from: Ino, to: Ino) -> bool {
        let mut moved = false;
        let mut set = |dir: &mut Ino| {
            if *dir == from {
                *dir = to;
                moved = true;
            }
        };
        match self {
            Self::Create { parent, .. }
            | Self::Write { parent, .. }
            | Self::Link { parent, .. }
            | Self::Unlink { parent, .. } => {
                set(parent);
            }
            Self::Rename { parent, to_parent, .. } => {
                set(parent);
                set(to_parent);
            }
            Self::SetAttr { .. } => {}
        }
        moved
    }
}
