//! Owns how listings fill the kernel's buffers.

use super::attr::{file_attr, file_type};
use super::reply::{GENERATION, KEPT_FOR};
use crate::vfs::{Answer, DirItem, Vfs};
use fuser::{INodeNo, ReplyDirectory, ReplyDirectoryPlus};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Entries asked of the tree at once: about what one buffer of the kernel takes.
const BATCH: usize = 128;

/// Calls `add` with entries after a cookie until it says that no more fits. A failure after the first entry ends
/// the buffer there: what it holds has been counted, and the next call meets the failure again.
pub(super) fn fill(vfs: &Vfs, handle: u64, after: u64, mut add: impl FnMut(&DirItem) -> Answer<bool>) -> Answer<()> {
    let start = after;
    let mut after = after;
    loop {
        let items = match vfs.readdir(handle, after, BATCH) {
            Err(_) if after != start => return Ok(()),
            items => items?,
        };
        if items.is_empty() {
            return Ok(());
        }
        for item in &items {
            match add(item) {
                Ok(false) => after = item.cookie,
                Err(stop) if after == start => return Err(stop),
                Ok(true) | Err(_) => return Ok(()),
            }
        }
    }
}

/// Adds an entry by name; whether the buffer was full already.
pub(super) fn add_plain(reply: &mut ReplyDirectory, item: &DirItem) -> bool {
    reply.add(INodeNo(item.ino.0), item.cookie, file_type(item.node_type), OsStr::from_bytes(&item.name))
}

/// Adds an entry with its attributes, and counts that the kernel knows it; whether the buffer was full already.
pub(super) fn add_plus(vfs: &Vfs, reply: &mut ReplyDirectoryPlus, item: &DirItem) -> Answer<bool> {
    // What has gone meanwhile is left out.
    let Some(shown) = vfs.attrs_of(item)? else { return Ok(false) };
    let name = OsStr::from_bytes(&item.name);
    let full = reply.add(INodeNo(item.ino.0), item.cookie, name, &KEPT_FOR, &file_attr(&shown), GENERATION);
    if !full && !item.is_dots() {
        vfs.refer(item);
    }
    Ok(full)
}
