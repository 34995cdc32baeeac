//! Owns setting aside what a rebuilt database may know nothing of: backing files that no row names, and the slab.

use crate::env::{Disk, copy_file};
use crate::meta::rows::ContentNo;
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

const CONTENTS: &str = "contents";
const SLAB: &str = "slab";

/// Moves the backing files in `dir` that are not `named` into `aside`, and copies the slab there. Nobody has them open.
///
/// # Errors
/// The disk's; can be tried again.
pub fn set_aside(disk: &dyn Disk, dir: &Path, named: &HashSet<ContentNo>, aside: &Path) -> io::Result<()> {
    let to = aside.join(CONTENTS);
    disk.create_dir_all(&to)?;
    for folder in list(disk, &dir.join(CONTENTS))? {
        for path in list(disk, &folder)? {
            if let Some(name) = path.file_name()
                && number(name.to_str()).is_some_and(|no| !named.contains(&no))
            {
                disk.rename(&path, &to.join(name))?;
            }
        }
    }
    disk.sync_dir(&to)?;
    match copy_file(disk, &dir.join(SLAB), &aside.join(SLAB)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn number(name: Option<&str>) -> Option<ContentNo> {
    name.and_then(|name| u64::from_str_radix(name, 16).ok()).map(ContentNo)
}

fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<PathBuf>> {
    match disk.read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}
