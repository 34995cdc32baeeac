//! Owns the server's own writes to the local disk: each durable when it returns.

#![allow(clippy::disallowed_methods)]

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;

/// Makes a directory and its parents, durable with their names.
///
/// # Errors
/// The disk says no.
pub fn create_dir_durable(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir_durable(parent)?;
    }
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_dir(dir.parent().unwrap_or(dir)),
    }
}

/// Writes a whole file so that under `path` there is all of it or nothing, whatever happens: the
/// bytes are synced under `temporary`, renamed, and the directory synced.
///
/// # Errors
/// The disk says no; the temporary file is removed if it can be.
pub fn write_durable(path: &Path, temporary: &Path, pieces: &[impl AsRef<[u8]>]) -> io::Result<()> {
    let written = write_synced(temporary, pieces).and_then(|()| std::fs::rename(temporary, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(temporary);
        return Err(error);
    }
    sync_dir(path.parent().unwrap_or(path))
}

fn write_synced(path: &Path, pieces: &[impl AsRef<[u8]>]) -> io::Result<()> {
    let mut file = File::create(path)?;
    for piece in pieces {
        file.write_all(piece.as_ref())?;
    }
    file.sync_all()
}

/// Opens a file to append lines to; not synced.
///
/// # Errors
/// The disk says no.
pub fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Takes a lock that ends with this process at the latest; `None` if another holds it.
///
/// # Errors
/// The disk says no.
pub fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes what an interrupted write left in a directory of temporary files.
///
/// # Errors
/// The directory cannot be read.
pub fn clear_dir(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let _ = std::fs::remove_file(entry?.path());
    }
    Ok(())
}

/// Makes the names in a directory durable.
///
/// # Errors
/// The disk says no.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}
