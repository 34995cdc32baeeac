//! Owns the calls on extended attributes: which may be stored, those that are ACLs, and `user.tarn.state`.

use super::acl::{ACCESS, Acl, DEFAULT};
use super::{Answer, Caller, Vfs};
use crate::env::groups_of;
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
    /// `NotPermitted` for this program's own and for what is immutable or append-only, `NotSupported` for namespaces that are
    /// not stored, `Invalid` for an ACL that cannot be, `Exists` or `NoAttribute` as the mode says, `TooLarge` when a node's
    /// attributes would be more than it can have.
    pub fn setxattr(&self, caller: Caller, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Answer<()> {
        self.writable()?;
        let name = self.storable(name)?;
        let attrs = self.tree.stat(ino)?.attrs;
        Self::changeable(attrs.flags)?;
        let is_set_before = caller.is_again && attrs.xattrs.get(name).is_some_and(|set| set.0 == value);
        match (mode, attrs.xattrs.contains_key(name)) {
            (XattrMode::Create, true) if !is_set_before => return Err(TreeError::Exists.into()),
            (XattrMode::Replace, false) => return Err(TreeError::NoAttribute.into()),
            _ => {}
        }
        if size_of_others(&attrs, name) + name.len() + value.len() > XATTRS_BYTES_MAX {
            return Err(TreeError::TooLarge.into());
        }
        match name {
            ACCESS => self.set_access_acl(caller, ino, &attrs, value),
            DEFAULT if Acl::read(value).is_none() => Err(TreeError::Invalid.into()),
            _ => self.change_xattr(ino, name, Some(ByteString(value.to_vec()))),
        }
    }

    /// An extended attribute's value.
    ///
    /// # Errors
    /// `NoAttribute`, or `NotSupported` for namespaces that are not stored.
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> Answer<Vec<u8>> {
        if name == STATE.as_bytes() {
            return Ok(self.state(ino)?.as_bytes().to_vec());
        }
        let name = self.readable(name)?;
        let mut attrs = self.tree.stat(ino)?.attrs;
        let value = attrs.xattrs.remove(name).ok_or(TreeError::NoAttribute)?.0;
        if name == ACCESS {
            return Ok(Acl::read(&value).ok_or(TreeError::NoAttribute)?.with_mode(attrs.mode).value());
        }
        Ok(value)
    }

    /// The names of a node's extended attributes, each ended by NUL. `trusted.*` is root's to see.
    ///
    /// # Errors
    /// As the tree says.
    pub fn listxattr(&self, caller: Caller, ino: Ino) -> Answer<Vec<u8>> {
        let attrs = self.tree.stat(ino)?.attrs;
        let shows = |name: &str| match name {
            ACCESS | DEFAULT => self.options.posix,
            _ => caller.uid == 0 || !name.starts_with("trusted."),
        };
        let seen = attrs.xattrs.keys().filter(|name| shows(name));
        Ok(seen.flat_map(|name| name.bytes().chain([0])).collect())
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// As `setxattr` in mode `Replace`.
    pub fn removexattr(&self, ino: Ino, name: &[u8]) -> Answer<()> {
        self.writable()?;
        let name = self.storable(name)?;
        let attrs = self.tree.stat(ino)?.attrs;
        Self::changeable(attrs.flags)?;
        if !attrs.xattrs.contains_key(name) {
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

    /// Sets who may do what. Its entries of owner, mask and others become the mode; an ACL that says no more is none.
    fn set_access_acl(&self, caller: Caller, ino: Ino, attrs: &Attrs, value: &[u8]) -> Answer<()> {
        let acl = Acl::read(value).ok_or(TreeError::Invalid)?;
        let is_member = || caller.gid == attrs.gid || groups_of(caller.tid).contains(&attrs.gid);
        let kept = match attrs.mode & !0o777 {
            special if special & libc::S_ISGID != 0 && !caller.keeps_setid() && !is_member() => {
                special & !libc::S_ISGID
            }
            special => special,
        };
        let mode = Some(kept | acl.mode());
        let mut change = AttrChange { mode, ctime: Some(self.clock.wall()), ..AttrChange::default() };
        let stored = (!acl.is_a_mode()).then(|| ByteString(value.to_vec()));
        if stored.is_some() || attrs.xattrs.contains_key(ACCESS) {
            change.xattrs.insert(ACCESS.into(), stored);
        }
        self.tree.set_attrs(ino, &change)?;
        self.stale.note_attributes();
        Ok(())
    }

    /// The name, if there can be attributes of its namespace. ACLs name stored owners: only a mount that shows those has them.
    fn readable<'n>(&self, name: &'n [u8]) -> Answer<&'n str> {
        let name = str::from_utf8(name).map_err(|_| TreeError::NotSupported)?;
        let known = ["user.", "trusted.", "security."].iter().any(|namespace| name.starts_with(namespace));
        if known || (is_acl(name) && self.options.posix) { Ok(name) } else { Err(TreeError::NotSupported.into()) }
    }

    /// The name, if attributes of its namespace are stored here.
    fn storable<'n>(&self, name: &'n [u8]) -> Answer<&'n str> {
        let name = self.readable(name)?;
        let of_root = name.starts_with("trusted.") || name.starts_with("security.");
        match () {
            () if name.starts_with(OWN) => Err(TreeError::NotPermitted.into()),
            () if is_acl(name) || name.starts_with("user.") || (of_root && self.options.privileged) => Ok(name),
            () => Err(TreeError::NotSupported.into()),
        }
    }

    fn state(&self, ino: Ino) -> Answer<&'static str> {
        let stat = self.tree.stat(ino)?;
        Ok(match self.tree.sync_state(ino)? {
            SyncState::Dirty => "dirty",
            SyncState::Uploading => "uploading",
            SyncState::LocalOnly => "local-only",
            SyncState::InSync if stat.kind.is_file() && stat.size_bytes > 0 => self.presence(ino)?,
            SyncState::InSync => "hydrated",
        })
    }
}

fn is_acl(name: &str) -> bool {
    matches!(name, ACCESS | DEFAULT)
}

fn size_of_others(attrs: &Attrs, name: &str) -> usize {
    let others = attrs.xattrs.iter().filter(|(other, _)| other.as_str() != name);
    others.map(|(other, value)| other.len() + value.0.len()).sum()
}
