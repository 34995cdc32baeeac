//! Owns the calls on extended attributes: which may be stored, and `user.tarn.state`.

use super::{Answer, Caller, Vfs};
use crate::meta::rows::Ino;
use crate::tree::{SyncState, TreeError};
use tarn_proto::limits::XATTRS_BYTES_MAX;
use tarn_proto::node::{AttrChange, Attrs, ByteString};

/// Tells what a node is to the server and to the local disk; readable, never listed.
pub const STATE: &str = "user.tarn.state";
/// What this program keeps for itself.
const OWN: &str = "user.tarn.";

/// Whether `setxattr` makes or replaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum XattrMode {
    /// Either.
    #[default]
    Either,
    /// It must not be there (XATTR_CREATE).
    Create,
    /// It must be there (XATTR_REPLACE).
    Replace,
}

impl Vfs {
    /// Sets an extended attribute.
    ///
    /// # Errors
    /// `NotPermitted` for this program's own, `NotSupported` for namespaces that are not stored, `Exists` or
    /// `NoAttribute` as the mode says, `TooLarge` when a node's attributes would be more than it can have.
    pub fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Answer<()> {
        self.writable()?;
        let name = self.storable(name)?;
        let attrs = self.tree.stat(ino)?.attrs;
        match (mode, attrs.xattrs.contains_key(name)) {
            (XattrMode::Create, true) => return Err(TreeError::Exists.into()),
            (XattrMode::Replace, false) => return Err(TreeError::NoAttribute.into()),
            _ => {}
        }
        if size_of_others(&attrs, name) + name.len() + value.len() > XATTRS_BYTES_MAX {
            return Err(TreeError::TooLarge.into());
        }
        self.change_xattr(ino, name, Some(ByteString(value.to_vec())))
    }

    /// An extended attribute's value.
    ///
    /// # Errors
    /// `NoAttribute`, or `NotSupported` for namespaces that are not stored.
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> Answer<Vec<u8>> {
        if name == STATE.as_bytes() {
            return Ok(self.state(ino)?.as_bytes().to_vec());
        }
        let name = readable(name)?;
        let value = self.tree.stat(ino)?.attrs.xattrs.remove(name);
        Ok(value.ok_or(TreeError::NoAttribute)?.0)
    }

    /// The names of a node's extended attributes, each ended by NUL. `trusted.*` is root's to see.
    ///
    /// # Errors
    /// As the tree says.
    pub fn listxattr(&self, caller: Caller, ino: Ino) -> Answer<Vec<u8>> {
        let attrs = self.tree.stat(ino)?.attrs;
        let seen = attrs.xattrs.keys().filter(|name| caller.uid == 0 || !name.starts_with("trusted."));
        Ok(seen.flat_map(|name| name.bytes().chain([0])).collect())
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// As `setxattr` in mode `Replace`.
    pub fn removexattr(&self, ino: Ino, name: &[u8]) -> Answer<()> {
        self.writable()?;
        let name = self.storable(name)?;
        if !self.tree.stat(ino)?.attrs.xattrs.contains_key(name) {
            return Err(TreeError::NoAttribute.into());
        }
        self.change_xattr(ino, name, None)
    }

    fn change_xattr(&self, ino: Ino, name: &str, value: Option<ByteString>) -> Answer<()> {
        let mut change = AttrChange { ctime: Some(self.clock.wall()), ..AttrChange::default() };
        change.xattrs.insert(name.into(), value);
        self.tree.set_attrs(ino, &change)?;
        self.stale.note_attributes();
        Ok(())
    }

    /// The name, if attributes of its namespace are stored here.
    fn storable<'n>(&self, name: &'n [u8]) -> Answer<&'n str> {
        let name = readable(name)?;
        let of_root = name.starts_with("trusted.") || name.starts_with("security.");
        match () {
            () if name.starts_with(OWN) => Err(TreeError::NotPermitted.into()),
            () if name.starts_with("user.") || (of_root && self.options.privileged) => Ok(name),
            () => Err(TreeError::NotSupported.into()),
        }
    }

    fn state(&self, ino: Ino) -> Answer<&'static str> {
        let stat = self.tree.stat(ino)?;
        Ok(match self.tree.sync_state(ino)? {
            SyncState::Dirty => "dirty",
            SyncState::Uploading => "uploading",
            SyncState::InSync if stat.kind.is_file() && stat.size_bytes > 0 => self.presence(ino)?,
            SyncState::InSync => "hydrated",
        })
    }
}

/// The name, if there can be attributes of its namespace. ACLs are not stored yet.
fn readable(name: &[u8]) -> Answer<&str> {
    let name = str::from_utf8(name).map_err(|_| TreeError::NotSupported)?;
    let known = ["user.", "trusted.", "security."].iter().any(|namespace| name.starts_with(namespace));
    if known { Ok(name) } else { Err(TreeError::NotSupported.into()) }
}

fn size_of_others(attrs: &Attrs, name: &str) -> usize {
    let others = attrs.xattrs.iter().filter(|(other, _)| other.as_str() != name);
    others.map(|(other, value)| other.len() + value.0.len()).sum()
}
