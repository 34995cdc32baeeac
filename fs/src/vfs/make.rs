//! Owns the calls that make nodes: mkdir, mknod, symlink; `create` is with the files.

use super::names::checked;
use super::{Answer, Caller, Shown, Vfs};
use crate::meta::rows::Ino;
use crate::tree::{NewNode, Stat, TreeError};
use tarn_proto::limits::SYMLINK_BYTES_MAX;
use tarn_proto::node::NodeKind;

const SETGID: u32 = libc::S_ISGID;
const PERMISSIONS: u32 = 0o7777;

impl Vfs {
    /// Makes a directory. `mode` comes with the umask applied.
    ///
    /// # Errors
    /// As the tree says.
    pub fn mkdir(&self, caller: Caller, parent: Ino, name: &[u8], mode: u32) -> Answer<Shown> {
        let stat = self.make(caller, parent, name, NodeKind::Dir, mode, None)?;
        Ok(self.entered(stat))
    }

    /// Makes a file, fifo, socket or device, as the file type in `mode` says.
    ///
    /// # Errors
    /// `Invalid` for another file type; else as the tree says.
    pub fn mknod(&self, caller: Caller, parent: Ino, name: &[u8], mode: u32, rdev: u32) -> Answer<Shown> {
        // The kernel's 32-bit device number and the low half of user space's 64-bit one are the same bits.
        let rdev = u64::from(rdev);
        let kind = match mode & libc::S_IFMT {
            libc::S_IFREG | 0 => NodeKind::File,
            libc::S_IFIFO => NodeKind::Fifo,
            libc::S_IFSOCK => NodeKind::Socket,
            libc::S_IFCHR => NodeKind::CharDevice { rdev },
            libc::S_IFBLK => NodeKind::BlockDevice { rdev },
            _ => return Err(TreeError::Invalid.into()),
        };
        let stat = self.make(caller, parent, name, kind, mode, None)?;
        Ok(self.entered(stat))
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As the tree says.
    pub fn symlink(&self, caller: Caller, parent: Ino, name: &[u8], target: &[u8]) -> Answer<Shown> {
        if target.is_empty() || target.contains(&0) {
            return Err(TreeError::Invalid.into());
        }
        if target.len() > SYMLINK_BYTES_MAX {
            return Err(TreeError::NameTooLong.into());
        }
        let stat = self.make(caller, parent, name, NodeKind::Symlink { target: target.to_vec() }, 0o777, None)?;
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

    /// Makes a node; a setgid directory gives its group to what is made in it, and setgid to directories.
    pub(super) fn make(
        &self,
        caller: Caller,
        parent: Ino,
        name: &[u8],
        kind: NodeKind,
        mode: u32,
        open: Option<bool>,
    ) -> Answer<Stat> {
        self.writable()?;
        let name = checked(name)?;
        let above = self.tree.stat(parent)?.attrs;
        let inherits = above.mode & SETGID != 0;
        let gid = if inherits { above.gid } else { caller.gid };
        let mode = if inherits && kind.is_dir() { mode | SETGID } else { mode };
        let new = NewNode { kind, mode: mode & PERMISSIONS, uid: caller.uid, gid, open };
        Ok(self.tree.create(parent, &name, new)?)
    }
}
