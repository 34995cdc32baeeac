//! Owns calls that come a second time: the daemon that was asked first ended, and perhaps it had done already what was
//! asked. Such a call must succeed once, and be done once.
//!
//! The kernel keeps the folders of a call that changes names locked from its first coming until it is answered, and a file
//! that is appended to as well: no program of this mount can have come between. So what such a call finds done was done by
//! itself, unless a change from elsewhere did the very same in that moment.

use super::names::checked;
use super::{Answer, Caller, ExchangeRecord, RenameFlags, Shown, Stop, Vfs, VfsError};
use crate::meta::rows::Ino;
use crate::tree::{Stat, TreeError};
use tarn_proto::name::Name;
use tarn_proto::node::NodeKind;

impl Caller {
    /// The answer to what takes something away: for a second call, what is gone is done.
    fn removed(self, answer: Answer<()>) -> Answer<()> {
        match answer {
            Err(Stop::Fail(VfsError::Tree(TreeError::NotFound | TreeError::NoAttribute))) if self.is_again => Ok(()),
            answer => answer,
        }
    }
}

impl Vfs {
    /// Removes a name of anything but a directory, for a caller who may have asked before.
    ///
    /// # Errors
    /// As [`Self::unlink`].
    pub fn unlink_for(&self, caller: Caller, parent: Ino, name: &[u8]) -> Answer<()> {
        self.replayed_removal(caller, parent, name).unwrap_or_else(|| caller.removed(self.unlink(parent, name)))
    }

    /// Removes an empty directory, for a caller who may have asked before.
    ///
    /// # Errors
    /// As [`Self::rmdir`].
    pub fn rmdir_for(&self, caller: Caller, parent: Ino, name: &[u8]) -> Answer<()> {
        self.replayed_removal(caller, parent, name).unwrap_or_else(|| caller.removed(self.rmdir(parent, name)))
    }

    /// Removes an extended attribute, for a caller who may have asked before.
    ///
    /// # Errors
    /// As [`Self::removexattr`].
    pub fn removexattr_for(&self, caller: Caller, ino: Ino, name: &[u8]) -> Answer<()> {
        caller.removed(self.removexattr(ino, name))
    }

    /// Gives a node one more name, for a caller who may have asked before.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub fn link_for(&self, caller: Caller, ino: Ino, parent: Ino, name: &[u8]) -> Answer<Shown> {
        match self.link(ino, parent, name) {
            Err(Stop::Fail(VfsError::Tree(TreeError::Exists))) if caller.is_again => {
                let found = self.tree.lookup(parent, &checked(name)?)?;
                if found.ino == ino { Ok(self.entered(found)) } else { Err(TreeError::Exists.into()) }
            }
            answer => answer,
        }
    }

    /// Moves a name, for a caller who may have asked before.
    ///
    /// # Errors
    /// As [`Self::rename`]; `Interrupted` for a second call to exchange if nothing tells whether it was done: there is no record, or
    /// another device has changed the names since.
    pub fn rename_for(&self, caller: Caller, from: (Ino, &[u8]), to: (Ino, &[u8]), flags: RenameFlags) -> Answer<()> {
        if let Some(answer) = self.replayed_rename(caller, from, to, flags) {
            return answer;
        }
        if flags.exchange {
            return self.exchange(caller, from, to, flags);
        }
        match self.rename(from, to, flags) {
            Err(Stop::Fail(VfsError::Tree(error @ (TreeError::NotFound | TreeError::Exists)))) if caller.is_again => {
                let is_there = |(parent, name): (Ino, &[u8])| match self.tree.lookup(parent, &checked(name)?) {
                    Ok(_) => Ok(true),
                    Err(TreeError::NotFound) => Ok(false),
                    Err(error) => Err(Stop::from(error)),
                };
                if !is_there(from)? && is_there(to)? { Ok(()) } else { Err(error.into()) }
            }
            answer => answer,
        }
    }

    /// Exchanges two names, once.
    fn exchange(&self, caller: Caller, from: (Ino, &[u8]), to: (Ino, &[u8]), flags: RenameFlags) -> Answer<()> {
        let named = |(parent, name): (Ino, &[u8])| Ok::<_, Stop>(self.tree.lookup(parent, &checked(name)?)?.ino);
        let Some(table) = &self.table else {
            return if caller.is_again { Err(VfsError::Interrupted.into()) } else { self.rename(from, to, flags) };
        };
        let now = ExchangeRecord { unique: caller.unique, from: named(from)?, to: named(to)? };
        // What was not entered was not begun.
        let before = if caller.is_again { self.exchanges.get(&caller.unique) } else { None };
        match before {
            Some(before) if (before.from, before.to) == (now.to, now.from) => return Ok(()),
            Some(before) if *before != now => return Err(VfsError::Interrupted.into()),
            Some(_) => {}
            None => table.note_exchange(&now).map_err(TreeError::from)?,
        }
        self.rename(from, to, flags)
    }

    /// What a second call to make something finds: the same, or something else.
    pub(super) fn made_before(&self, parent: Ino, name: &Name, kind: &NodeKind) -> Answer<Stat> {
        let found = self.tree.lookup(parent, name)?;
        if found.kind == *kind { Ok(found) } else { Err(TreeError::Exists.into()) }
    }

    /// Appends what may have been appended already: where the caller said the end was, unless the file is another by now.
    pub(super) fn append_again(&self, ino: Ino, offset: u64, data: &[u8]) -> Answer<()> {
        let size = self.tree.stat(ino)?.size_bytes;
        let is_same = (offset..=offset.saturating_add(data.len() as u64)).contains(&size);
        let done = if is_same { self.tree.write(ino, offset, data) } else { self.tree.append(ino, data) };
        Ok(done?)
    }
}
