//! Owns files whose last name others took away while a program had them open: a removal, a folder's removal, a new version
//! that another inode shows. Who reads goes on reading; what is written then is nobody's but this device's, and has
//! nowhere to arrive. So with the first write the file is a new one: under the name that was taken if that is free, beside
//! it if not, under `Tarn rescued/` if the folder went as well.
//!
//! What a person of this device removed or replaced is not concerned: its bytes go with its last handle, as POSIX says.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::work::{NameChange, Work};
use crate::meta::rows::Ino;
use tarn_proto::name::Name;

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    /// Brings a name to what the rows say after others changed it.
    pub(super) fn refresh_by_others(&mut self, parent: Ino, name: &Name, old: Option<Ino>) -> Result<NameChange> {
        let change = self.refresh_name(parent, name, old)?;
        if let Some(old) = change.old.filter(|_| change.old != change.new) {
            self.note_taken(old, (parent, name));
        }
        Ok(change)
    }

    /// Others took a name of a file away; it counts if it was the last one.
    pub(super) fn note_taken(&mut self, ino: Ino, place: (Ino, &Name)) {
        self.set_taken(ino, Some(place));
    }

    /// Names came and went here: whatever others took before is told by that.
    pub(super) fn forget_taken(&mut self, ino: Ino) {
        self.set_taken(ino, None);
    }

    /// Of an orphan its row says it, for good.
    fn set_taken(&mut self, ino: Ino, taken: Option<(Ino, &Name)>) {
        if let Some(inode) = self.state.inodes.get_mut(&ino).filter(|inode| inode.node.is_some()) {
            inode.taken = taken.map(|(parent, name)| (parent, name.clone()));
        }
    }

    /// Makes a file that others took away a new one, if it is about to be written.
    pub(super) fn bring_again(&mut self, ino: Ino, tree: &Tree) -> Result<()> {
        if self.inode(ino)?.taken.is_none() {
            return Ok(());
        }
        // After a full pull nobody may have asked yet.
        self.part_from_removed(ino)?;
        let inode = self.inode(ino)?;
        let Some((parent, name)) = inode.taken.clone().filter(|_| inode.node.is_none()) else { return Ok(()) };
        self.state.formers.forget(ino);
        let mut work = Work::default();
        let (dir, name) = if self.takes_files(parent)? {
            let device = tree.identity().device_name;
            (parent, self.requeue_as_new(ino, (parent, &name), &device, &mut work.rows)?)
        } else {
            self.rescue_content(ino, Some(&name), &mut work.rows)?
        };
        self.commit(work)?;
        self.invalidate_name(dir, &name);
        self.note_renamed(dir, &name, NameChange { old: None, new: Some(ino) }, None);
        Ok(())
    }

    /// The same for what was written while a removal or a replacement of another of its names waited to be answered: until then
    /// the file was the one that this was about.
    pub(super) fn bring_written_again(&mut self, ino: Ino, tree: &Tree) -> Result<()> {
        if self.is_written_since_taken(ino)? && self.inode(ino)?.node.is_none() {
            self.bring_again(ino, tree)?;
        }
        Ok(())
    }

    /// Whether others took a file's last name, and what is written to it has nowhere to arrive.
    pub(super) fn is_written_since_taken(&mut self, ino: Ino) -> Result<bool> {
        let is_taken = match self.inode(ino) {
            Err(TreeError::NotFound) => false,
            inode => inode?.taken.is_some(),
        };
        Ok(is_taken && self.local_content(ino)?.is_some_and(|content| content.is_dirty()))
    }

    /// Whether what is made in a folder arrives: others have it, or it waits to be sent.
    fn takes_files(&mut self, dir: Ino) -> Result<bool> {
        let is_there = match self.inode(dir) {
            Err(TreeError::NotFound) => false,
            inode => inode?.node.is_some(),
        };
        Ok(is_there && self.takes_rescued(dir)? && self.path(dir)?.is_some())
    }
}
