//! Owns what SQLite asks of a file on a [`CrashDisk`], as its own `unix-excl` would answer.
//!
//! Locks, and the index of the write-ahead log, are the memory of one process: no disk has them, and a disk that was copied
//! or cut off begins without.

use super::{CrashDisk, CrashFile, State, vfs};
use crate::env::{DatabasePath, Disk, DiskFile, OpenMode};
use parking_lot::Mutex;
use rusqlite::ffi;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// How much SQLite is to think a disk writes as one.
pub(super) const SECTOR_BYTES: c_int = 4096;

/// The disks that have databases, by the first part of the names that SQLite has for them.
static DISKS: Mutex<BTreeMap<u64, Weak<Mutex<State>>>> = Mutex::new(BTreeMap::new());
static NUMBERS: AtomicU64 = AtomicU64::new(1);

fn fresh_number() -> u64 {
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

impl CrashDisk {
    /// Where SQLite finds a file of this disk.
    pub(super) fn for_sqlite(&self, path: &Path) -> DatabasePath {
        vfs::register();
        let number = *self.0.lock().number.get_or_insert_with(fresh_number);
        let mut disks = DISKS.lock();
        disks.retain(|_, disk| disk.strong_count() > 0);
        disks.entry(number).or_insert_with(|| Arc::downgrade(&self.0));
        let inside = path.strip_prefix("/").unwrap_or(path);
        DatabasePath { path: Path::new("/").join(number.to_string()).join(inside), vfs: vfs::NAME }
    }

    /// The disk and the name there of what SQLite calls so; none if the disk is gone.
    fn found(name: &Path) -> Option<(Self, PathBuf)> {
        let mut parts = name.components();
        let (Component::RootDir, Component::Normal(number)) = (parts.next()?, parts.next()?) else { return None };
        let disk = DISKS.lock().get(&number.to_str()?.parse().ok()?)?.upgrade()?;
        Some((Self(disk), Path::new("/").join(parts.as_path())))
    }
}

/// What the connections of one file have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    held: Mutex<BTreeMap<u64, Held>>,
    index: Mutex<Weak<WalIndex>>,
}

/// What one connection has locked: the file, and slots of the index, a bit for each.
#[derive(Debug, Default)]
struct Held {
    level: c_int,
    shared_slots: u16,
    exclusive_slots: u16,
}

/// Memory that goes when the last connection lets go of it.
#[derive(Debug, Default)]
struct WalIndex(Mutex<Vec<Arc<[AtomicU64]>>>);

/// A file that SQLite has open.
#[derive(Debug)]
pub(super) struct OpenFile {
    disk: CrashDisk,
    file: CrashFile,
    path: PathBuf,
    /// Whose locks are whose.
    number: u64,
    shared: Arc<Shared>,
    index: Option<Arc<WalIndex>>,
    /// Whether its folder is to be synced with it: SQLite does so once for each journal.
    is_name_unsynced: bool,
}

fn code_of(error: &io::Error, otherwise: c_int) -> c_int {
    if error.kind() == io::ErrorKind::StorageFull { ffi::SQLITE_FULL } else { otherwise }
}

impl OpenFile {
    pub fn open(name: Option<&Path>, flags: c_int) -> Result<Self, c_int> {
        let has = |flag| flags & flag != 0;
        // What has no name is nobody else's: so is its disk.
        let on = name.map_or_else(|| Some((CrashDisk::new(), PathBuf::from("/temporary"))), CrashDisk::found);
        let (disk, path) = on.ok_or(ffi::SQLITE_CANTOPEN)?;
        let mode = match (has(ffi::SQLITE_OPEN_CREATE), has(ffi::SQLITE_OPEN_EXCLUSIVE)) {
            (true, true) => OpenMode::CreateNew,
            (true, false) => OpenMode::Create,
            (false, _) => OpenMode::Existing,
        };
        let file = disk.open_file(&path, mode).map_err(|_| ffi::SQLITE_CANTOPEN)?;
        let shared = disk.shared(file.file);
        let journal = ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;
        let is_name_unsynced = has(ffi::SQLITE_OPEN_CREATE) && has(journal);
        Ok(Self { disk, file, path, number: fresh_number(), shared, index: None, is_name_unsynced })
    }

    /// Fills `out` as far as there is something; the rest of it was zeroed before.
    pub fn read(&self, out: &mut [u8], at: u64) -> Result<(), c_int> {
        let count = self.file.read_at(out, at).map_err(|_| ffi::SQLITE_IOERR_READ)?;
        if count == out.len() { Ok(()) } else { Err(ffi::SQLITE_IOERR_SHORT_READ) }
    }

    pub fn write(&self, data: &[u8], at: u64) -> Result<(), c_int> {
        self.file.write_at(data, at).map_err(|e| code_of(&e, ffi::SQLITE_IOERR_WRITE))
    }

    pub fn set_len(&self, len: u64) -> Result<(), c_int> {
        self.file.set_len(len).map_err(|_| ffi::SQLITE_IOERR_TRUNCATE)
    }

    pub fn sync(&mut self) -> Result<(), c_int> {
        self.file.sync_data().map_err(|e| code_of(&e, ffi::SQLITE_IOERR_FSYNC))?;
        if std::mem::take(&mut self.is_name_unsynced) {
            // SQLite does not look whether this one failed.
            let _ = self.disk.sync_dir(parent(&self.path));
        }
        Ok(())
    }

    pub fn len(&self) -> Result<u64, c_int> {
        self.file.len_bytes().map_err(|_| ffi::SQLITE_IOERR_FSTAT)
    }

    pub fn lock(&self, wanted: c_int) -> Result<(), c_int> {
        let mut held = self.shared.held.lock();
        let others = held.iter().filter(|(number, _)| **number != self.number).map(|(_, held)| held.level).max();
        let others = others.unwrap_or(ffi::SQLITE_LOCK_NONE);
        let mine = &mut held.entry(self.number).or_default().level;
        if *mine >= wanted {
            return Ok(());
        }
        let beside =
            if wanted == ffi::SQLITE_LOCK_SHARED { ffi::SQLITE_LOCK_RESERVED } else { ffi::SQLITE_LOCK_SHARED };
        if others > beside {
            return Err(ffi::SQLITE_BUSY);
        }
        if wanted == ffi::SQLITE_LOCK_EXCLUSIVE && others > ffi::SQLITE_LOCK_NONE {
            *mine = ffi::SQLITE_LOCK_PENDING;
            return Err(ffi::SQLITE_BUSY);
        }
        *mine = wanted;
        Ok(())
    }

    pub fn unlock(&self, level: c_int) {
        let mut held = self.shared.held.lock();
        let mine = &mut held.entry(self.number).or_default().level;
        *mine = level.min(*mine);
    }

    pub fn is_reserved(&self) -> bool {
        self.shared.held.lock().values().any(|held| held.level >= ffi::SQLITE_LOCK_RESERVED)
    }

    /// A part of the index; none where there is none yet and none is to be made.
    pub fn map_index(&mut self, region: usize, bytes: usize, extend: bool) -> Option<*mut c_void> {
        let index = self.index.get_or_insert_with(|| self.shared.index());
        let mut regions = index.0.lock();
        if regions.len() <= region && extend {
            regions.resize_with(region + 1, || (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect());
        }
        regions.get(region).map(|memory| memory.as_ptr().cast_mut().cast())
    }

    pub fn lock_index(&self, first: c_int, count: c_int, flags: c_int) -> Result<(), c_int> {
        let slots = ((1_u16 << count) - 1) << first;
        let mut held = self.shared.held.lock();
        let others = held.iter().filter(|(number, _)| **number != self.number);
        let (shared, exclusive) = others.fold((0, 0), |(shared, exclusive), (_, held)| {
            (shared | held.shared_slots, exclusive | held.exclusive_slots)
        });
        let mine = held.entry(self.number).or_default();
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            mine.shared_slots &= !slots;
            mine.exclusive_slots &= !slots;
        } else if flags & ffi::SQLITE_SHM_SHARED != 0 {
            if exclusive & slots != 0 {
                return Err(ffi::SQLITE_BUSY);
            }
            mine.shared_slots |= slots;
        } else {
            if (shared | exclusive) & slots != 0 {
                return Err(ffi::SQLITE_BUSY);
            }
            mine.exclusive_slots |= slots;
        }
        Ok(())
    }

    pub fn unmap_index(&mut self) {
        self.index = None;
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.shared.held.lock().remove(&self.number);
    }
}

impl Shared {
    fn index(&self) -> Arc<WalIndex> {
        let mut known = self.index.lock();
        known.upgrade().unwrap_or_else(|| {
            let fresh = Arc::default();
            *known = Arc::downgrade(&fresh);
            fresh
        })
    }
}

impl CrashDisk {
    fn shared(&self, file: usize) -> Arc<Shared> {
        let mut state = self.0.lock();
        let known = state.opened.entry(file).or_default();
        known.upgrade().unwrap_or_else(|| {
            let fresh = Arc::default();
            *known = Arc::downgrade(&fresh);
            fresh
        })
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

pub(super) fn delete(name: &Path, sync_dir: bool) -> Result<(), c_int> {
    let (disk, path) = CrashDisk::found(name).ok_or(ffi::SQLITE_IOERR_DELETE)?;
    disk.remove(&path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => ffi::SQLITE_IOERR_DELETE_NOENT,
        _ => ffi::SQLITE_IOERR_DELETE,
    })?;
    if sync_dir { disk.sync_dir(parent(&path)).map_err(|_| ffi::SQLITE_IOERR_DIR_FSYNC) } else { Ok(()) }
}

/// An empty file counts as none where it is asked whether there is one: so does SQLite where it is at home.
pub(super) fn is_there(name: &Path, flags: c_int) -> bool {
    let file = CrashDisk::found(name).and_then(|(disk, path)| disk.open_file(&path, OpenMode::Existing).ok());
    let len = file.and_then(|file| file.len_bytes().ok());
    len.is_some_and(|len| len > 0 || flags != ffi::SQLITE_ACCESS_EXISTS)
}
