//! Owns the calls that make nodes: mkdir, mknod, symlink; `create` is with the files.

use super::acl::inherited;
use super::names::checked;
use super::{Answer, Caller, Shown, Vfs};
use crate::meta::rows::Ino;
use crate::tree::{NewNode, Stat, TreeError};
use tarn_proto::limits::SYMLINK_BYTES_MAX;
use tarn_proto::node::NodeKind;

const SETGID: u32 = libc::S_ISGID;
const PERMISSIONS: u32 = 0o7777;

/// With which permissions something is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewMode {
    /// What the program asked for, with the file type where that is asked for.
    pub mode: u32,
    /// What is taken from it, unless a default ACL says what may be.
    pub umask: u32,
}

impl From<u32> for NewMode {
    fn from(mode: u32) -> Self {
        Self { mode, umask: 0 }
    }
}

impl Vfs {
    /// Makes a directory.
    ///
    /// # Errors
    /// As the tree says.
    pub fn mkdir(&self, caller: Caller, parent: Ino, name: &[u8], mode: impl Into<NewMode>) -> Answer<Shown> {
        if let Some(answer) = self.replayed_make(caller, parent, name) {
            return answer;
        }
        let stat = self.make(caller, parent, name, NodeKind::Dir, mode.into(), None)?;
        Ok(self.entered(stat))
    }

    /// Makes a file, fifo, socket or device, as the file type in `mode` says.
    ///
    /// # Errors
    /// `Invalid` for another file type; else as the tree says.
    pub fn mknod(
        &self,
        caller: Caller,
        parent: Ino,
        name: &[u8],
        mode: impl Into<NewMode>,
        rdev: u32,
    ) -> Answer<Shown> {
        if let Some(answer) = self.replayed_make(caller, parent, name) {
            return answer;
        }
        let new = mode.into();
        // The kernel's 32-bit device number and the low half of user space's 64-bit one are the same bits.
        let rdev = u64::from(rdev);
        let kind = match new.mode & libc::S_IFMT {
            libc::S_IFREG | 0 => NodeKind::File,
            libc::S_IFIFO => NodeKind::Fifo,
            libc::S_IFSOCK => NodeKind::Socket,
            libc::S_IFCHR => NodeKind::CharDevice { rdev },
            libc::S_IFBLK => NodeKind::BlockDevice { rdev },
            _ => return Err(TreeError::Invalid.into()),
        };
        let stat = self.make(caller, parent, name, kind, new, None)?;
        Ok(self.entered(stat))
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As the tree says.
    pub fn symlink(&self, caller: Caller, parent: Ino, name: &[u8], target: &[u8]) -> Answer<Shown> {
        if let Some(answer) = self.replayed_make(caller, parent, name) {
            return answer;
        }
        if target.is_empty() || target.contains(&0) {
            return Err(TreeError::Invalid.into());
        }
        if target.len() > SYMLINK_BYTES_MAX {
            return Err(TreeError::NameTooLong.into());
        }
        let stat =
            self.make(caller, parent, name, NodeKind::Symlink { target: target.to_vec() }, 0o777.into(), None)?;
        Ok(self.entered(stat))
    }

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// `Invalid` for what is no link.
    pub fn readlink(&self, ino: Ino) -> Answer<Vec<u8>> {
        match self.tree.stat(ino)?.kind {
            NodeKind::Symlink { target } => Ok(target),
            _ => Err(TreeError::Invalid.into()),
        }
    }

    /// Makes a node; a setgid directory gives its group to what is made in it, and setgid to directories, and one with a
    /// default ACL that ACL.
    pub(super) fn make(
        &self,
        caller: Caller,
        parent: Ino,
        name: &[u8],
        kind: NodeKind,
        new: NewMode,
        open: Option<bool>,
    ) -> Answer<Stat> {
        self.writable()?;
        let name = checked(name)?;
        let above = self.tree.stat(parent)?.attrs;
        let inherits = above.mode & SETGID != 0;
        let gid = if inherits { above.gid } else { caller.gid };
        let (mode, acls) = if self.options.posix {
            inherited(&above, &kind, new.mode, new.umask)
        } else {
            (new.mode & !new.umask, Vec::new())
        };
        let mode = if inherits && kind.is_dir() { mode | SETGID } else { mode };
        let xattrs = acls.into_iter().map(|(name, acl)| (name.to_owned(), acl)).collect();
        let asked = kind.clone();
        let new = NewNode { kind, mode: mode & PERMISSIONS, uid: caller.uid, gid, xattrs, open };
        match self.tree.create(parent, &name, new) {
            Err(TreeError::Exists) if caller.is_again && open.is_none() => self.made_before(parent, &name, &asked),
            made => Ok(made?),
        }
    }
}
