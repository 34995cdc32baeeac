//! Owns a disk in memory that can be cut off: for tests and the simulation, never for people's data.
//!
//! It is stricter than real ones. Written bytes are durable only after `sync_data`, names only after
//! `sync_dir`; a power cut keeps any subset of what was not synced, sector by sector. What a sync that failed
//! should have written is read back as if nothing had happened, and no later sync writes it. The n-th change
//! can be made to fail or to be the last. SQLite's databases are files of it too.

mod database;
#[cfg(test)]
mod tests;
mod vfs;

use super::{DatabasePath, Disk, DiskFile, OpenMode};
use database::Shared;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

const SECTOR_BYTES: usize = 512;
const BLOCK_BYTES: u64 = 4096;

/// What happens at the chosen change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This change and all later ones fail: the power is gone. See [`CrashDisk::power_cut`].
    Off,
    /// This one change fails with this error; a write may have been done in part.
    Error(io::ErrorKind),
    /// This change and all later ones fail so, until [`CrashDisk::mend`]: the disk has become read-only.
    Stuck(io::ErrorKind),
}

/// A disk in memory; clones share it.
#[derive(Debug, Clone, Default)]
pub struct CrashDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: Vec<FileState>,
    names: BTreeMap<PathBuf, usize>,
    names_durable: BTreeMap<PathBuf, usize>,
    change_count: u64,
    sync_count: u64,
    fault: Option<(u64, Fault)>,
    is_off: bool,
    space_bytes: Option<u64>,
    counts: Option<fn(&Path) -> bool>,
    lied_about: Option<fn(&Path) -> bool>,
    /// What SQLite calls this disk, once it knows it.
    number: Option<u64>,
    /// What the connections of files that SQLite has open share.
    opened: BTreeMap<usize, Weak<Shared>>,
}

#[derive(Debug, Clone, Default)]
struct FileState {
    bytes: Vec<u8>,
    blocks: BTreeSet<u64>,
    durable: Vec<u8>,
    unsynced: Vec<Edit>,
}

#[derive(Debug, Clone)]
enum Edit {
    Write(u64, Vec<u8>),
    Len(u64),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let start = *offset as usize;
                if bytes.len() < start + data.len() {
                    bytes.resize(start + data.len(), 0);
                }
                bytes[start..start + data.len()].copy_from_slice(data);
            }
            Self::Len(len) => bytes.resize(*len as usize, 0),
        }
    }
}

impl CrashDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes, syncs and changes of names so far.
    pub fn change_count(&self) -> u64 {
        self.0.lock().change_count
    }

    /// Calls of `sync_data` so far.
    pub fn sync_count(&self) -> u64 {
        self.0.lock().sync_count
    }

    /// Makes the change after `skip_count` more ones meet `fault`.
    pub fn fail_after(&self, skip_count: u64, fault: Fault) {
        let mut state = self.0.lock();
        state.fault = Some((state.change_count + skip_count, fault));
    }

    /// Nothing fails any more.
    pub fn mend(&self) {
        self.0.lock().fault = None;
    }

    /// From now on counts changes, and lets them fail, only where `of` holds.
    pub fn count_only(&self, of: fn(&Path) -> bool) {
        self.0.lock().counts = Some(of);
    }

    /// From now on says of the files for which `of` holds that they are synced, and does nothing for it.
    pub fn lie_about(&self, of: fn(&Path) -> bool) {
        self.0.lock().lied_about = Some(of);
    }

    /// Leaves room for so many bytes more than are allocated now; `None`: for all.
    pub fn leave(&self, bytes_free: Option<u64>) {
        let mut state = self.0.lock();
        state.space_bytes = bytes_free.map(|bytes_free| state.used_bytes() + bytes_free);
    }

    /// Whether the power is gone.
    pub fn is_off(&self) -> bool {
        self.0.lock().is_off
    }

    /// Whether there is room for so much only.
    pub fn is_bounded(&self) -> bool {
        self.0.lock().space_bytes.is_some()
    }

    /// Bounds the allocated bytes of all files together.
    pub fn set_space_bytes(&self, space_bytes: Option<u64>) {
        self.0.lock().space_bytes = space_bytes;
    }

    /// What is on the disk when the power comes back; this one is off for ever. `choose` decides for
    /// each sector (and name) that was not synced whether it made it.
    pub fn power_cut(&self, mut choose: impl FnMut() -> bool) -> Self {
        let mut state = self.0.lock();
        state.is_off = true;
        let mut after = State { space_bytes: state.space_bytes, ..State::default() };
        let mut names = state.names_durable.clone();
        for (path, &file) in &state.names {
            if !names.contains_key(path) && choose() {
                names.insert(path.clone(), file);
            }
        }
        for (path, file) in names {
            let bytes = state.files[file].after_cut(&mut choose);
            let blocks = state.files[file].blocks.clone();
            after.files.push(FileState { durable: bytes.clone(), bytes, blocks, unsynced: Vec::new() });
            after.names.insert(path, after.files.len() - 1);
        }
        after.names_durable = after.names.clone();
        Self(Arc::new(Mutex::new(after)))
    }

    /// Changes a file's bytes behind everybody's back.
    ///
    /// # Errors
    /// There is no such file.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.0.lock();
        let file = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let file = &mut state.files[file];
        change(&mut file.bytes);
        file.durable = file.bytes.clone();
        file.unsynced.clear();
        Ok(())
    }

    fn open_file(&self, path: &Path, mode: OpenMode) -> io::Result<CrashFile> {
        let mut state = self.0.lock();
        let file = match (state.names.get(path).copied(), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, OpenMode::Existing) => return Err(io::ErrorKind::NotFound.into()),
            (Some(file), _) => file,
            (None, _) => {
                state.change(path)?;
                state.files.push(FileState::default());
                let file = state.files.len() - 1;
                state.names.insert(path.to_owned(), file);
                file
            }
        };
        Ok(CrashFile { disk: self.clone(), file, path: path.to_owned() })
    }

    /// A disk with the same content that shares nothing with this one.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.0.lock();
        let copy = State {
            files: state.files.clone(),
            names: state.names.clone(),
            names_durable: state.names_durable.clone(),
            space_bytes: state.space_bytes,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(copy)))
    }
}

impl FileState {
    fn after_cut(&self, choose: &mut impl FnMut() -> bool) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for edit in &self.unsynced {
            match edit {
                Edit::Len(_) => edit.apply(&mut bytes),
                Edit::Write(offset, data) => {
                    for (start, sector) in sectors(*offset, data) {
                        if choose() {
                            Edit::Write(start, sector.to_vec()).apply(&mut bytes);
                        }
                    }
                }
            }
        }
        bytes
    }

    fn edit(&mut self, edit: Edit) {
        edit.apply(&mut self.bytes);
        self.unsynced.push(edit);
    }
}

fn sectors(offset: u64, data: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let first = (SECTOR_BYTES - offset as usize % SECTOR_BYTES).min(data.len());
    let (head, rest) = data.split_at(first);
    let head = std::iter::once((offset, head));
    let rest = rest.chunks(SECTOR_BYTES).enumerate();
    head.chain(rest.map(move |(at, sector)| (offset + (first + at * SECTOR_BYTES) as u64, sector)))
}

impl State {
    /// Counts a change; fails if it is the one that shall.
    fn change(&mut self, path: &Path) -> io::Result<()> {
        if self.is_off {
            return Err(io::Error::other("the power is off"));
        }
        if self.counts.is_some_and(|of| !of(path)) {
            return Ok(());
        }
        let at = self.change_count;
        self.change_count += 1;
        match self.fault {
            Some((when, Fault::Off)) if at >= when => {
                self.is_off = true;
                Err(io::Error::other("the power went off"))
            }
            Some((when, Fault::Error(kind))) if at == when => Err(kind.into()),
            Some((when, Fault::Stuck(kind))) if at >= when => Err(kind.into()),
            _ => Ok(()),
        }
    }

    fn used_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.blocks.len() as u64 * BLOCK_BYTES).sum()
    }

    fn allocate(&mut self, file: usize, offset: u64, len_bytes: u64) -> io::Result<()> {
        let blocks = offset / BLOCK_BYTES..(offset + len_bytes).div_ceil(BLOCK_BYTES);
        let fresh: Vec<u64> = blocks.filter(|block| !self.files[file].blocks.contains(block)).collect();
        if let Some(space_bytes) = self.space_bytes
            && !fresh.is_empty()
            && self.used_bytes() + fresh.len() as u64 * BLOCK_BYTES > space_bytes
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.files[file].blocks.extend(fresh);
        Ok(())
    }

    fn free_if_unnamed(&mut self, file: usize) {
        if !self.names.values().any(|&named| named == file) {
            self.files[file].blocks.clear();
        }
    }
}

impl Disk for CrashDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.open_file(path, mode)?))
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.0.lock();
        Ok(state.names.keys().filter(|name| name.parent() == Some(path)).cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.change(from)?;
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        if let Some(old) = state.names.insert(to.to_owned(), file) {
            state.free_if_unnamed(old);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.change(path)?;
        let file = state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.free_if_unnamed(file);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.change(path)?;
        let State { names, names_durable, .. } = &mut *state;
        let inside = |name: &PathBuf| name.parent() == Some(path);
        names_durable.retain(|name, _| !inside(name) || names.contains_key(name));
        names_durable.extend(names.iter().filter(|(name, _)| inside(name)).map(|(name, &file)| (name.clone(), file)));
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        Ok(state.space_bytes.unwrap_or(1 << 40).saturating_sub(state.used_bytes()))
    }

    fn database(&self, path: &Path) -> DatabasePath {
        self.for_sqlite(path)
    }
}

#[derive(Debug)]
struct CrashFile {
    disk: CrashDisk,
    file: usize,
    path: PathBuf,
}

impl CrashFile {
    fn edit(&self, edit: Edit) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.change(&self.path)?;
        if let Edit::Write(offset, data) = &edit {
            state.allocate(self.file, *offset, data.len() as u64)?;
        }
        state.files[self.file].edit(edit);
        Ok(())
    }
}

impl DiskFile for CrashFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.0.lock();
        let bytes = state.files[self.file].bytes.get(offset as usize..).unwrap_or_default();
        let count = bytes.len().min(buf.len());
        buf[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let written = self.edit(Edit::Write(offset, data.to_vec()));
        if written.is_err() {
            // What was being written when it failed may be there in part.
            let mut state = self.disk.0.lock();
            let part = data[..data.len() / 2].to_vec();
            if state.allocate(self.file, offset, part.len() as u64).is_ok() {
                state.files[self.file].edit(Edit::Write(offset, part));
            }
        }
        written
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let outcome = state.change(&self.path);
        if state.is_off || state.lied_about.is_some_and(|of| of(&self.path)) {
            return outcome;
        }
        // Failed or not, to the kernel these are written now. Sizes are in the file system's own journal.
        let FileState { durable, unsynced, .. } = &mut state.files[self.file];
        let edits = std::mem::take(unsynced);
        if outcome.is_err() {
            unsynced.extend(edits.into_iter().filter(|edit| matches!(edit, Edit::Len(_))));
            return outcome;
        }
        edits.iter().for_each(|edit| edit.apply(durable));
        state.sync_count += 1;
        Ok(())
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.edit(Edit::Len(len_bytes))?;
        self.disk.0.lock().files[self.file].blocks.retain(|block| block * BLOCK_BYTES < len_bytes);
        Ok(())
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files[self.file].bytes.len() as u64)
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files[self.file].blocks.len() as u64 * BLOCK_BYTES)
    }

    fn punch_hole(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.change(&self.path)?;
        let file = &mut state.files[self.file];
        let end = (offset + len_bytes).min(file.bytes.len() as u64);
        if offset < end {
            file.edit(Edit::Write(offset, vec![0; (end - offset) as usize]));
        }
        let whole = offset.div_ceil(BLOCK_BYTES)..(offset + len_bytes) / BLOCK_BYTES;
        file.blocks.retain(|block| !whole.contains(block));
        Ok(())
    }

    fn allocate(&self, offset: u64, len_bytes: u64, keep_size: bool) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.change(&self.path)?;
        state.allocate(self.file, offset, len_bytes)?;
        let file = &mut state.files[self.file];
        if !keep_size && (file.bytes.len() as u64) < offset + len_bytes {
            file.edit(Edit::Len(offset + len_bytes));
        }
        Ok(())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
