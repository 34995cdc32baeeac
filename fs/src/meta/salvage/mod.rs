//! Owns making a damaged database anew: what only this device knows is taken over row by row, what the server knows is
//! left out and pulled again.
//!
//! The damaged files are copied aside first and never changed again. The new database takes their place in two steps:
//! it is complete under another name before the old one goes, and whoever opens the folder next ends the exchange.

mod read;
#[cfg(test)]
mod tests;

use super::rows::{ContentNo, RowChange};
use super::schema::{Check, FILE_NAME};
use super::work::RemoteWork;
use super::writer::Writer;
use super::{MetaError, Result};
use crate::env::{Disk, OpenMode, copy_file, is_there, remove_if_there};
use read::Source;
use std::io;
use std::path::{Path, PathBuf};
use tarn_proto::node::ByteString;

const MAKING: &str = "state.db.making";
const READY: &str = "state.db.ready";
/// What SQLite keeps beside a database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];
/// The table that says how much of the log is in the database.
pub const MARK: &str = "mark";
/// Rows of one transaction.
const ROWS_AT_ONCE: usize = 10_000;

/// What was taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Operations that wait for the server.
    pub queued_count: usize,
    /// Contents whose rows were read; the bytes of others may be on the disk all the same.
    pub contents: Vec<ContentNo>,
    /// Tables of which something could not be read.
    pub unreadable: Vec<&'static str>,
}

/// Makes the database in `dir` anew from what can be read of it, after copying it into `aside`. `applied` is what to take
/// for the last record of the log that is in it, if it does not say so itself. `before_exchange` sees what was taken over
/// before that counts. Nobody has the database open.
///
/// # Errors
/// What the disk or `before_exchange` says. The old one is in its place then.
pub fn salvage(
    disk: &dyn Disk,
    dir: &Path,
    aside: &Path,
    applied: u64,
    before_exchange: impl FnOnce(&Salvaged) -> io::Result<()>,
) -> Result<Salvaged> {
    finish_rebuild(disk, dir)?;
    copy_aside(disk, dir, aside)?;
    let source = Source::open(&disk.database(&aside.join(FILE_NAME)))?;
    let making = dir.join(MAKING);
    remove_database(disk, &making)?;
    let salvaged = take_over(disk, &source, &making, applied)?;
    disk.open(&making, OpenMode::Existing)?.sync_data()?;
    before_exchange(&salvaged)?;
    disk.rename(&making, &dir.join(READY))?;
    disk.sync_dir(dir)?;
    finish_rebuild(disk, dir)?;
    Ok(salvaged)
}

/// Forgets all that the server said, once the log was replayed: its records tell of pulls whose pages were never in it, and
/// where they ended. Nobody has the database in `dir` open.
///
/// # Errors
/// What the database says.
pub fn forget_server(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let (mut writer, _) = Writer::open(disk, &dir.join(FILE_NAME), Check::Quick)?;
    writer.forget_server()?;
    writer.close()
}

/// Ends the exchange of a rebuild that was cut short. To be called before the database of `dir` is opened.
///
/// # Errors
/// What the disk says.
pub fn finish_rebuild(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let ready = dir.join(READY);
    if !is_there(disk, &ready)? {
        return Ok(());
    }
    // The old one's write-ahead log would be taken for the new one's.
    for suffix in BESIDE {
        remove_if_there(disk, &beside(&dir.join(FILE_NAME), suffix))?;
    }
    disk.sync_dir(dir)?;
    disk.rename(&ready, &dir.join(FILE_NAME))?;
    disk.sync_dir(dir)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove_database(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    remove_if_there(disk, path)?;
    BESIDE.iter().try_for_each(|suffix| remove_if_there(disk, &beside(path, suffix)))
}

fn copy_aside(disk: &dyn Disk, dir: &Path, aside: &Path) -> io::Result<()> {
    disk.create_dir_all(aside)?;
    let (from, to) = (dir.join(FILE_NAME), aside.join(FILE_NAME));
    copy_file(disk, &from, &to)?;
    if is_there(disk, &beside(&from, "-wal"))? {
        copy_file(disk, &beside(&from, "-wal"), &beside(&to, "-wal"))?;
    }
    disk.sync_dir(aside)?;
    disk.sync_dir(dir)
}

fn take_over(disk: &dyn Disk, source: &Source, making: &Path, applied: u64) -> Result<Salvaged> {
    let (mut writer, _) = Writer::open(disk, making, Check::Quick)?;
    let mut salvaged = Salvaged::default();
    let mut batch = Vec::new();
    let applied = source.applied().unwrap_or_else(|| {
        salvaged.unreadable.push(MARK);
        applied
    });
    writer.raise(source.marks());
    salvaged.unreadable.extend(source.rows(&mut |row| {
        match &row {
            RowChange::Content(no, _) => salvaged.contents.push(*no),
            RowChange::Queue(..) => salvaged.queued_count += 1,
            _ => {}
        }
        batch.push(row);
        if batch.len() < ROWS_AT_ONCE { Ok(()) } else { write(&mut writer, &mut batch, applied) }
    })?);
    write(&mut writer, &mut batch, applied)?;
    let kv = source.values().into_iter().map(|(key, value)| (key, Some(ByteString(value)))).collect();
    let mut unit = writer.unit()?;
    unit.apply_remote(&RemoteWork { kv, ..RemoteWork::default() })?;
    unit.commit(applied)?;
    writer.close()?;
    salvaged.contents.sort_unstable();
    Ok(salvaged)
}

fn write(writer: &mut Writer, batch: &mut Vec<RowChange>, applied: u64) -> Result<()> {
    let mut unit = writer.unit()?;
    unit.apply_rows(&std::mem::take(batch))?;
    unit.commit(applied)
}

/// What a row of the damaged database is read for: a malformed one is passed over and said.
fn skip_malformed<T>(read: Result<T>, is_whole: &mut bool) -> Result<Option<T>> {
    match read {
        Ok(row) => Ok(Some(row)),
        Err(MetaError::Malformed { .. }) => {
            *is_whole = false;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
