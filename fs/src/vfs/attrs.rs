//! Owns the calls on attributes: getattr, setattr, access, and the rules of setuid and setgid bits.

use super::files::OpenFile;
use super::{Answer, Caller, Shown, Stop, Through, Vfs, VfsError};
use crate::meta::rows::Ino;
use crate::tree::{APPEND_ONLY, Stat, TreeError};
use std::sync::atomic::Ordering;
use tarn_proto::limits::FILE_BYTES_MAX;
use tarn_proto::node::{AttrChange, Attrs, Timestamp};

const SETUID: u32 = libc::S_ISUID;
const SETGID: u32 = libc::S_ISGID;
const GROUP_EXECUTE: u32 = libc::S_IXGRP;
const PERMISSIONS: u32 = 0o7777;
/// The extended attribute with a program's file capabilities; it goes with the setuid bits.
const CAPABILITIES: &str = "security.capability";

/// A time as `utimensat` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewTime {
    /// The present.
    Now,
    /// This one.
    At(Timestamp),
}

/// What `setattr` is to change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size_bytes: Option<u64>,
    /// Last read.
    pub atime: Option<NewTime>,
    /// Last change of content.
    pub mtime: Option<NewTime>,
    /// The handle through which a size is set.
    pub handle: Option<u64>,
}

impl SetAttr {
    /// Whether it only says that something was read or written just now.
    fn is_touch(&self) -> bool {
        let times = [self.atime, self.mtime];
        times.into_iter().flatten().all(|time| time == NewTime::Now)
            && (self.mode, self.uid, self.gid, self.size_bytes) == (None, None, None, None)
    }
}

impl Vfs {
    /// What a node is.
    ///
    /// # Errors
    /// As the tree says.
    pub fn getattr(&self, ino: Ino) -> Answer<Shown> {
        Ok(self.show(self.tree.stat(ino)?))
    }

    /// Changes attributes. Who may is the kernel's decision (`default_permissions`).
    ///
    /// # Errors
    /// `NotPermitted` for an owner that this mount cannot mean, and for what is immutable or append-only; else as the tree
    /// says.
    pub fn setattr(&self, caller: Caller, ino: Ino, set: SetAttr) -> Answer<Shown> {
        if let Some(answer) = self.replayed_change(caller, ino, &set) {
            return answer;
        }
        self.writable()?;
        let flags = self.tree.flags(ino)?;
        Self::changeable(if set.is_touch() { flags & !APPEND_ONLY } else { flags })?;
        if let Some(size_bytes) = set.size_bytes {
            self.truncate(caller, ino, size_bytes, set.handle)?;
        }
        let stat = self.tree.stat(ino)?;
        let change = self.attr_change(caller, &stat, set)?;
        if let Some(time) = set.atime {
            self.set_atime(ino, self.time_of(time));
        }
        let stat = if change.is_empty() { stat } else { self.tree.set_attrs(ino, &change)? };
        self.stale.note_attributes();
        Ok(self.show(stat))
    }

    /// Whether a node is there; who may do what is the kernel's decision.
    ///
    /// # Errors
    /// As the tree says.
    pub fn access(&self, ino: Ino) -> Answer<()> {
        self.tree.stat(ino)?;
        Ok(())
    }

    fn attr_change(&self, caller: Caller, stat: &Stat, set: SetAttr) -> Answer<AttrChange> {
        // A truncation has set mtime; saying so again would be one more operation to push.
        let sets_mtime = set.mtime.filter(|time| set.size_bytes.is_none() || *time != NewTime::Now);
        let mut change = AttrChange {
            mode: set.mode.map(|mode| mode & PERMISSIONS),
            mtime: sets_mtime.map(|time| self.time_of(time)),
            ..AttrChange::default()
        };
        if set.uid.is_some() || set.gid.is_some() {
            (change.uid, change.gid) = self.stored_owner(caller, set)?;
            if !stat.kind.is_dir() {
                let mode = change.mode.unwrap_or(stat.attrs.mode);
                drop_privileges(&stat.attrs, mode, false, &mut change);
            }
        }
        let sets_atime = set.atime.is_some() && set.size_bytes.is_none();
        if !change.is_empty() || set.uid.is_some() || set.gid.is_some() || sets_atime {
            change.ctime = Some(self.clock.wall());
        }
        Ok(change)
    }

    /// Which owner to store. Where everything is shown as the mounting user's, only root's word goes beyond
    /// that: another's `chown` to the shown owner changes nothing, to any other is refused.
    fn stored_owner(&self, caller: Caller, set: SetAttr) -> Result<(Option<u32>, Option<u32>), Stop> {
        if self.options.posix || (caller.uid == 0 && self.options.privileged) {
            return Ok((set.uid, set.gid));
        }
        match set.uid {
            Some(uid) if uid != self.options.uid => Err(TreeError::NotPermitted.into()),
            _ => Ok((None, set.gid.filter(|gid| *gid != self.options.gid))),
        }
    }

    fn truncate(&self, caller: Caller, ino: Ino, size_bytes: u64, handle: Option<u64>) -> Answer<()> {
        if size_bytes > FILE_BYTES_MAX {
            return Err(VfsError::FileTooLarge.into());
        }
        if let Some(handle) = handle
            && self.file(self.inherited(Through::writing(handle, ino))?)?.ino != ino
        {
            return Err(VfsError::BadHandle.into());
        }
        self.tree.truncate(ino, size_bytes)?;
        self.drop_privileges_on_write(caller, ino).map(drop)
    }

    /// Clears what a change of content clears, for all but the first write of a handle without asking again.
    pub(super) fn drop_privileges_once(&self, caller: Caller, file: &OpenFile) -> Answer<()> {
        let as_of = self.stale.attribute_changes() + 1;
        if file.unprivileged_at.load(Ordering::Acquire) == as_of {
            return Ok(());
        }
        if self.drop_privileges_on_write(caller, file.ino)? {
            file.unprivileged_at.store(as_of, Ordering::Release);
        }
        Ok(())
    }

    /// Clears what a change of content clears: setuid, setgid of group-executable files, capabilities. Whether
    /// nothing of that kind was there.
    pub(super) fn drop_privileges_on_write(&self, caller: Caller, ino: Ino) -> Answer<bool> {
        let attrs = self.tree.stat(ino)?.attrs;
        let mut change = AttrChange::default();
        drop_privileges(&attrs, attrs.mode, caller.keeps_setid(), &mut change);
        if !change.is_empty() {
            change.ctime = Some(self.clock.wall());
            self.tree.set_attrs(ino, &change)?;
            // After a write it asks for sizes and times anew, not for the mode, by which it would start a program.
            self.stale.forget_attributes(ino);
        }
        Ok(attrs.mode & (SETUID | SETGID) == 0 && !attrs.xattrs.contains_key(CAPABILITIES))
    }

    pub(super) fn time_of(&self, time: NewTime) -> Timestamp {
        match time {
            NewTime::Now => self.clock.wall(),
            NewTime::At(time) => time,
        }
    }
}

/// Adds to `change` what takes the privileges of `attrs` away, for a file that is to have `mode`.
fn drop_privileges(attrs: &Attrs, mode: u32, keeps_setid: bool, change: &mut AttrChange) {
    let setgid = if mode & GROUP_EXECUTE == 0 { 0 } else { SETGID };
    let dropped = if keeps_setid { 0 } else { mode & (SETUID | setgid) };
    if dropped != 0 {
        change.mode = Some(mode & !dropped);
    }
    if attrs.xattrs.contains_key(CAPABILITIES) {
        change.xattrs.insert(CAPABILITIES.into(), None);
    }
}
