//! Owns what is done to files as wholes, seldom and of few: copying, removing, looking whether one is there.

use super::{Disk, OpenMode};
use std::io;
use std::path::Path;

/// Copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// Copies a file over whatever is at `to`, durably; pieces of zeros become holes.
///
/// # Errors
/// What the file system says; `to` may then be part of it.
pub fn copy_file(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    let source = disk.open(from, OpenMode::Existing)?;
    let copy = disk.open(to, OpenMode::Create)?;
    copy.set_len(0)?;
    copy.set_len(source.len_bytes()?)?;
    let (mut buf, mut at) = (vec![0; PIECE_BYTES], 0);
    loop {
        let got = source.read_at(&mut buf, at)?;
        if got == 0 {
            return copy.sync_data();
        }
        if buf[..got].iter().any(|byte| *byte != 0) {
            copy.write_at(&buf[..got], at)?;
        }
        at += got as u64;
    }
}

/// Removes a file that may not be there.
///
/// # Errors
/// What the file system says.
pub fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether there is a file at `path`.
///
/// # Errors
/// What the file system says, except that there is none.
pub fn is_there(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    match disk.open(path, OpenMode::Existing) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
