//! Owns setting aside what a rebuilt database may know nothing of: backing files that no row names, and the slab.

use super::layout::Layout;
use crate::env::{Disk, copy_file, is_there};
use crate::meta::rows::ContentNo;
use std::collections::HashSet;
use std::io;
use std::path::Path;

/// Moves the backing files in `dir` that are not `named` into `aside`, and copies the slab there. Nobody has them open.
///
/// # Errors
/// The disk's; can be tried again.
pub fn set_aside(disk: &dyn Disk, dir: &Path, named: &HashSet<ContentNo>, aside: &Path) -> io::Result<()> {
    set_files_aside(disk, dir, named, aside)?;
    let (from, to) = (Layout::at(dir), Layout::at(aside));
    if is_there(disk, &from.slab())? { copy_file(disk, &from.slab(), &to.slab()) } else { Ok(()) }
}

/// Moves the backing files in `dir` that are not `named` into `aside`.
///
/// # Errors
/// The disk's; can be tried again.
pub fn set_files_aside(disk: &dyn Disk, dir: &Path, named: &HashSet<ContentNo>, aside: &Path) -> io::Result<()> {
    set_those_aside(disk, dir, |no| !named.contains(&no), aside)
}

/// Moves the backing files in `dir` that are `chosen` into `aside`.
///
/// # Errors
/// The disk's; can be tried again.
pub fn set_those_aside(
    disk: &dyn Disk,
    dir: &Path,
    chosen: impl Fn(ContentNo) -> bool,
    aside: &Path,
) -> io::Result<()> {
    let (from, to) = (Layout::at(dir), Layout::at(aside));
    disk.create_dir_all(&to.contents())?;
    for no in from.backed(disk)?.into_iter().filter(|no| chosen(*no)) {
        let path = from.backing_path(no);
        disk.rename(&path, &to.contents().join(path.file_name().unwrap_or_default()))?;
    }
    disk.sync_dir(&to.contents())
}
