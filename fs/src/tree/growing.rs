//! Owns folders whose names are still coming in: those that have come can be read and looked up before the rest has. Never says
//! that a name is absent, or that a listing is at its end, before the server has said so; a cookie that was given stays until
//! the listing is let go of, also when it has become a whole one.

use super::error::TreeError;
use super::listing::Dir;
use super::load::Session;
use super::notify::Invalidation;
use super::types::{DirEntry, Unlisted};
use crate::meta::rows::Ino;
use tarn_proto::name::Name;

type Result<T> = std::result::Result<T, TreeError>;

/// What has come of a folder's names, with local ones laid over.
#[derive(Debug, Clone)]
pub(super) struct Growing {
    pub dir: Dir,
    /// The present listing has brought all names up to this one.
    upto: Option<Name>,
    /// Some listing had: programs may have been told which names there are up to here, and which there are not.
    told_upto: Option<Name>,
    /// See [`Unlisted`]; 0 until a page has been taken in.
    progress: u64,
}

impl Growing {
    fn new() -> Self {
        Self { dir: Dir::growing(), upto: None, told_upto: None, progress: 0 }
    }

    /// Whether programs may know whether there is such a name.
    fn has_told(&self, name: &Name) -> bool {
        self.told_upto.as_ref().is_some_and(|upto| name <= upto) || self.dir.get(name).is_some()
    }
}

impl Session<'_> {
    /// A listing of the folder begins, perhaps once more: what an earlier one brought stays, with its cookies.
    pub(super) fn begin_growing(&mut self, ino: Ino) -> Result<()> {
        if !self.inode(ino)?.is_dir() || self.is_whole(ino)? {
            return Ok(());
        }
        if let Some(growing) = &mut self.inode(ino)?.growing {
            growing.upto = None;
            return Ok(());
        }
        let mut growing = Box::new(Growing::new());
        self.lay_local(ino, &mut growing.dir)?;
        self.inode(ino)?.growing = Some(growing);
        Ok(())
    }

    /// Whether all names of a directory can be had here.
    fn is_whole(&mut self, ino: Ino) -> Result<bool> {
        Ok(self.inode(ino)?.dir.is_some() || self.is_listed(ino)?)
    }

    /// A folder must be listed further.
    pub(super) fn unlisted(&mut self, ino: Ino) -> Result<TreeError> {
        let inode = self.inode(ino)?;
        let Some(node) = inode.node else { return Ok(TreeError::NotFound) };
        let progress = match inode.growing.as_ref().map(|growing| growing.progress) {
            Some(progress) => progress,
            // It is being listed, and what has come is not kept: nothing is known before the end.
            None if self.state.listings.is_under_way(node) => u64::MAX,
            None => 0,
        };
        Ok(TreeError::Unlisted(Unlisted { node, progress }))
    }

    /// Refuses to open what of which there is nothing to read yet.
    pub(super) fn readable(&mut self, ino: Ino) -> Result<()> {
        match &self.inode(ino)?.growing {
            Some(growing) if growing.progress > 0 => Ok(()),
            _ => self.listable(ino),
        }
    }

    /// Entries after a cookie of a folder that is not listed yet; `None` if all of it is known, or nothing.
    pub(super) fn read_growing(&mut self, ino: Ino, after: u64, max: usize) -> Result<Option<Vec<DirEntry>>> {
        if self.inode(ino)?.growing.is_none() || self.is_whole(ino)? {
            return Ok(None);
        }
        let growing = self.inode(ino)?.growing.as_ref();
        let page = growing.map_or_else(Vec::new, |growing| growing.dir.entries(after, max));
        if page.is_empty() { Err(self.unlisted(ino)?) } else { Ok(Some(page)) }
    }

    /// What a name stands for in a folder that is not listed yet; `None` if that is not known, or the folder is listed.
    pub(super) fn known_child(&mut self, parent: Ino, name: &Name) -> Result<Option<Option<Ino>>> {
        if self.is_whole(parent)? {
            return Ok(None);
        }
        if let Some(row) = self.state.overlay.get(parent, name) {
            return Ok(Some(row.ino));
        }
        let Some(growing) = &self.inode(parent)?.growing else { return Ok(None) };
        let child = growing.dir.get(name).map(|child| child.ino);
        let is_known = child.is_some() || growing.upto.as_ref().is_some_and(|upto| name <= upto);
        Ok(is_known.then_some(child))
    }

    /// A directory's listing, or what has come of it.
    pub(super) fn as_far_as_known(&mut self, ino: Ino) -> Result<&Dir> {
        if self.inode(ino)?.growing.is_none() || self.is_whole(ino)? {
            return Ok(self.dir(ino)?);
        }
        self.inode(ino)?.listing().ok_or(TreeError::NotADirectory)
    }

    /// Whether a directory has names in it.
    pub(super) fn has_names(&mut self, ino: Ino) -> Result<bool> {
        Ok(self.as_far_as_known(ino)?.len() > 0 || self.dir(ino)?.len() > 0)
    }

    /// Whether programs may know whether there is such a name in a folder that somebody has seen inside.
    pub(super) fn may_be_seen(&self, folder: Ino, name: &Name) -> bool {
        let growing = self.state.inodes.get(&folder).filter(|_| self.state.cursor.is_none());
        let growing = growing.filter(|inode| inode.dir.is_none()).and_then(|inode| inode.growing.as_ref());
        growing.is_none_or(|growing| growing.has_told(name)) || self.state.overlay.get(folder, name).is_some()
    }

    /// Brings names of a growing folder to what the rows say. No program knows of this yet, and none is told.
    pub(super) fn grow_from_rows<'a>(&mut self, ino: Ino, names: impl IntoIterator<Item = &'a Name>) -> Result<()> {
        if self.inode(ino)?.growing.is_none() {
            return Ok(());
        }
        for name in names {
            let child = self.effective(ino, name)?;
            let child = child.map(|child| Ok::<_, TreeError>((child, self.node_type(child)?))).transpose()?;
            let Some(growing) = &mut self.inode(ino)?.growing else { break };
            match child {
                Some((child, node_type)) => growing.dir.grow(name, child, node_type),
                None => growing.dir.remove(name),
            }
        }
        Ok(())
    }

    /// All names up to this one have come.
    pub(super) fn note_grown(&mut self, ino: Ino, upto: Option<&Name>, progress: u64) -> Result<()> {
        if let Some(growing) = &mut self.inode(ino)?.growing {
            growing.upto = upto.cloned().or(growing.upto.take());
            growing.told_upto = growing.told_upto.take().max(growing.upto.clone());
            growing.progress = progress;
        }
        Ok(())
    }

    /// The whole listing has come: it is what has grown. Once the whole tree was taken in, what grew may lack what came with
    /// that, and is held against the rows when it is next wanted.
    pub(super) fn end_growing(&mut self, ino: Ino) -> Result<()> {
        if self.state.cursor.is_some() || self.inode(ino)?.dir.is_some() {
            return Ok(());
        }
        let has_local = self.state.overlay.of_parent(ino).next().is_some();
        let inode = self.inode(ino)?;
        let Some(mut growing) = inode.growing.take() else { return Ok(()) };
        if has_local {
            growing.dir.note_local();
        }
        inode.dir = Some(Box::new(growing.dir));
        Ok(())
    }

    /// A listing was loaded: what had grown goes on as that, with its cookies.
    pub(super) fn grown_into(&mut self, ino: Ino, dir: Dir) -> Result<Dir> {
        let Some(mut growing) = self.inode(ino)?.growing.take() else { return Ok(dir) };
        self.state.listed_names = self.state.listed_names.saturating_sub(growing.dir.len());
        if growing.dir.become_like(&dir) {
            self.invalidations.push(Invalidation::Content(ino));
        }
        Ok(growing.dir)
    }

    /// What has grown goes if the whole tree was taken in since, and nobody reads it.
    pub(super) fn let_go_of_growing(&mut self, ino: Ino) {
        let is_overtaken = self.state.cursor.is_some();
        let Some(inode) = self.state.inodes.get_mut(&ino) else { return };
        let Some(growing) = &inode.growing else { return };
        if !is_overtaken || inode.dir_handles > 0 {
            self.state.listed_names += growing.dir.len();
            return;
        }
        inode.subdir_count = growing.dir.subdir_count();
        inode.growing = None;
        self.invalidations.push(Invalidation::Content(ino));
    }
}
