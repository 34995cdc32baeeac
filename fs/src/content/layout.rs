//! Owns where the store's files are in its directory.

use crate::env::{Disk, remove_if_there};
use crate::meta::rows::ContentNo;
use std::io;
use std::path::{Path, PathBuf};

/// A directory of the store's.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Of this directory.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// All backing files, in folders of their own.
    pub fn contents(&self) -> PathBuf {
        self.dir.join("contents")
    }

    /// The file of all small contents.
    pub fn slab(&self) -> PathBuf {
        self.dir.join("slab")
    }

    /// The folder of a content's backing file.
    pub(super) fn backing_dir(&self, no: ContentNo) -> PathBuf {
        self.contents().join(format!("{:02x}", no.0 & 0xff))
    }

    /// A content's backing file.
    pub(super) fn backing_path(&self, no: ContentNo) -> PathBuf {
        self.backing_dir(no).join(format!("{:016x}", no.0))
    }

    /// Removes a content's backing file, if there is one.
    pub(super) fn remove_backing(&self, disk: &dyn Disk, no: ContentNo) -> io::Result<()> {
        remove_if_there(disk, &self.backing_path(no))
    }

    /// The contents that have a backing file. What else lies there is passed over.
    pub(super) fn backed(&self, disk: &dyn Disk) -> io::Result<Vec<ContentNo>> {
        let mut backed = Vec::new();
        for folder in list(disk, &self.contents())? {
            for path in list(disk, &folder)? {
                let name = path.file_name().and_then(|name| name.to_str());
                let no = name.and_then(|name| u64::from_str_radix(name, 16).ok()).map(ContentNo);
                backed.extend(no.filter(|no| path == self.backing_path(*no)));
            }
        }
        Ok(backed)
    }
}

fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<PathBuf>> {
    match disk.read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}
