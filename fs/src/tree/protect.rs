//! Owns what immutable and append-only nodes refuse: changes of their names, and of the names in them. What comes from
//! elsewhere is not refused.

use super::error::TreeError;
use super::load::Session;
use super::types::RenameRequest;
use crate::meta::rows::Ino;
use tarn_proto::name::Name;
use tarn_proto::op::RenameMode;

/// Nothing of it may change. (FS_IMMUTABLE_FL)
pub const IMMUTABLE: u32 = 0x10;
/// It may only be added to. (FS_APPEND_FL)
pub const APPEND_ONLY: u32 = 0x20;

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    fn refuse(&mut self, ino: Ino, flags: u32) -> Result<()> {
        let is_protected = self.inode(ino)?.flags() & flags != 0;
        if is_protected { Err(TreeError::NotPermitted) } else { Ok(()) }
    }

    /// Refuses a new name in a directory that nothing may be added to.
    pub(super) fn may_add(&mut self, parent: Ino) -> Result<()> {
        self.refuse(parent, IMMUTABLE)
    }

    /// Refuses one more name of a node that is protected.
    pub(super) fn may_link(&mut self, ino: Ino, parent: Ino) -> Result<()> {
        self.refuse(ino, IMMUTABLE | APPEND_ONLY)?;
        self.may_add(parent)
    }

    /// Refuses to take a name away where directory or node is protected.
    pub(super) fn may_remove(&mut self, parent: Ino, name: &Name) -> Result<()> {
        self.refuse(parent, IMMUTABLE | APPEND_ONLY)?;
        match self.child(parent, name)? {
            Some(ino) => self.refuse(ino, IMMUTABLE | APPEND_ONLY),
            None => Ok(()),
        }
    }

    /// Refuses to move a name as removing it and making the other would be.
    pub(super) fn may_rename(&mut self, request: &RenameRequest) -> Result<()> {
        self.may_remove(request.parent, &request.name)?;
        self.may_add(request.to_parent)?;
        let is_taken = self.child(request.to_parent, &request.to_name)?.is_some();
        if is_taken && request.mode != RenameMode::NoReplace {
            return self.may_remove(request.to_parent, &request.to_name);
        }
        Ok(())
    }
}
