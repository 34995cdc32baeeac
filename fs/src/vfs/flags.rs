//! Owns the flags of `chattr`: which there are, and what those that protect a file refuse. Names are protected by the
//! tree, which knows what a name stands for.

use super::{Answer, OpenFlags, Stop, Vfs};
use crate::meta::rows::Ino;
use crate::tree::{APPEND_ONLY, IMMUTABLE, TreeError};
use tarn_proto::node::AttrChange;

const SYNC: u32 = 0x08;
const NO_DUMP: u32 = 0x40;
const NO_ATIME: u32 = 0x80;
/// The flags that mean something here. Times of reading are not kept at all, and dumps are of others' making: these two
/// are only remembered.
const KNOWN: u32 = SYNC | IMMUTABLE | APPEND_ONLY | NO_DUMP | NO_ATIME;

impl Vfs {
    /// The flags of a file or directory, as FS_IOC_GETFLAGS tells them.
    ///
    /// # Errors
    /// As the tree says.
    pub fn flags(&self, ino: Ino) -> Answer<u32> {
        Ok(self.tree.flags(ino)?)
    }

    /// Sets the flags. Who may is the kernel's decision.
    ///
    /// # Errors
    /// `NotSupported` for flags that mean nothing here; else as the tree says.
    pub fn set_flags(&self, ino: Ino, flags: u32) -> Answer<()> {
        self.writable()?;
        if flags & !KNOWN != 0 {
            return Err(TreeError::NotSupported.into());
        }
        let change = AttrChange { flags: Some(flags), ctime: Some(self.clock.wall()), ..AttrChange::default() };
        self.tree.set_attrs(ino, &change)?;
        self.stale.note_attributes();
        Ok(())
    }

    /// Refuses what would change the attributes of a file that these flags protect.
    pub(super) fn changeable(flags: u32) -> Result<(), Stop> {
        if flags & (IMMUTABLE | APPEND_ONLY) == 0 { Ok(()) } else { Err(TreeError::NotPermitted.into()) }
    }

    /// Refuses to open a protected file for what it is protected from, and says how it is opened then.
    pub(super) fn protected_open(&self, ino: Ino, flags: OpenFlags) -> Answer<OpenFlags> {
        let of_file = self.tree.flags(ino)?;
        let appends = flags.append && !flags.truncate;
        if of_file & IMMUTABLE != 0 || (of_file & APPEND_ONLY != 0 && !appends) {
            return Err(TreeError::NotPermitted.into());
        }
        Ok(OpenFlags { sync: flags.sync || of_file & SYNC != 0, ..flags })
    }
}
