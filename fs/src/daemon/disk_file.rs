//! Owns small files that are read and replaced whole: a reader sees the old one or the new one, nothing between.

use crate::env::{Env, OpenMode, remove_if_there};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;

/// A file of this kind is never larger.
const BYTES_MAX: u64 = 1 << 20;

/// The file's bytes; `None` if there is none.
pub(super) fn read(env: &Env, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match env.disk.open(path, OpenMode::Existing) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let len = file.len_bytes()?;
    if len > BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{len} bytes")));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(Some(bytes))
}

/// What the file says; `None` if there is none.
pub(super) fn read_json<T: DeserializeOwned>(env: &Env, path: &Path) -> io::Result<Option<T>> {
    Ok(read(env, path)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
}

/// Replaces the file by one that says this, as [`replace`].
pub(super) fn replace_json<T: Serialize>(env: &Env, path: &Path, value: &T) -> io::Result<()> {
    replace(env, path, &serde_json::to_vec_pretty(value)?)
}

/// Replaces the file (mode 0600), durably.
pub(super) fn replace(env: &Env, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidFilename)?;
    let new = path.with_extension("new");
    env.disk.create_dir_all(dir)?;
    // What an interrupted attempt left may belong to nobody any more, but it keeps its mode: begin afresh.
    remove(env, &new)?;
    let file = env.disk.open(&new, OpenMode::CreateNew)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    env.disk.rename(&new, path)?;
    env.disk.sync_dir(dir)
}

/// Removes the file if there is one.
pub(super) fn remove(env: &Env, path: &Path) -> io::Result<()> {
    remove_if_there(env.disk.as_ref(), path)
}
