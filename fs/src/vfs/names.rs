//! Owns the calls on names: lookup, forget, link, unlink, rmdir, rename.

use super::{Answer, Shown, Stop, Vfs};
use crate::limits::NAME_BYTES_MAX;
use crate::meta::rows::Ino;
use crate::tree::{RenameRequest, TreeError};
use tarn_proto::name::Name;
use tarn_proto::op::RenameMode;

/// The flags of `renameat2` that mean something here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RenameFlags {
    /// Nothing may stand at the target.
    pub no_replace: bool,
    /// Both swap.
    pub exchange: bool,
    /// Anything else was asked for.
    pub others: bool,
}

impl RenameFlags {
    fn mode(self) -> Answer<RenameMode> {
        match (self.no_replace, self.exchange, self.others) {
            (false, false, false) => Ok(RenameMode::Replace),
            (true, false, false) => Ok(RenameMode::NoReplace),
            (false, true, false) => Ok(RenameMode::Exchange),
            _ => Err(TreeError::Invalid.into()),
        }
    }
}

/// Makes bytes a name of this mount.
pub(super) fn checked(name: &[u8]) -> Answer<Name> {
    if name.len() > NAME_BYTES_MAX {
        return Err(TreeError::NameTooLong.into());
    }
    Ok(Name::new(name)?)
}

impl Vfs {
    /// Finds a name and counts that the kernel knows of it. `None`: there is no such name, which the kernel may
    /// remember too.
    ///
    /// # Errors
    /// As the tree says; a name that is too long is an error, not an absence.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Answer<Option<Shown>> {
        match self.tree.lookup(parent, &checked(name)?) {
            Ok(stat) => Ok(Some(self.entered(stat))),
            Err(TreeError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes back `count` of what `lookup` and its kin counted.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.tree.forget(ino, count);
    }

    /// Gives a node one more name.
    ///
    /// # Errors
    /// As the tree says.
    pub fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Answer<Shown> {
        self.writable()?;
        let stat = self.tree.link(ino, parent, &checked(name)?)?;
        Ok(self.entered(stat))
    }

    /// Removes a name of anything but a directory.
    ///
    /// # Errors
    /// As the tree says.
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> Answer<()> {
        self.writable()?;
        Ok(self.tree.unlink(parent, &checked(name)?)?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As the tree says.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> Answer<()> {
        self.writable()?;
        Ok(self.tree.rmdir(parent, &checked(name)?)?)
    }

    /// Moves a name.
    ///
    /// # Errors
    /// `Invalid` for flags that contradict each other or are unknown (WHITEOUT); else as the tree says.
    pub fn rename(&self, from: (Ino, &[u8]), to: (Ino, &[u8]), flags: RenameFlags) -> Answer<()> {
        self.writable()?;
        let request = RenameRequest {
            parent: from.0,
            name: checked(from.1)?,
            to_parent: to.0,
            to_name: checked(to.1)?,
            mode: flags.mode()?,
        };
        Ok(self.tree.rename(&request)?)
    }

    /// Refuses on a read-only mount.
    pub(super) fn writable(&self) -> Result<(), Stop> {
        if self.options.read_only { Err(TreeError::ReadOnly.into()) } else { Ok(()) }
    }

    /// Shows a node and counts that the kernel is told of it.
    pub(super) fn entered(&self, stat: crate::tree::Stat) -> Shown {
        self.tree.refer(stat.ino);
        self.show(stat)
    }
}
