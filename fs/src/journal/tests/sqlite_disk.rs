//! A disk under SQLite whose n-th change can fail: the system's own, watched from the calls that SQLite makes of it. What a
//! sync that failed should have written is gone after a power cut, as on [`crate::env::CrashDisk`].
#![allow(unsafe_code, non_snake_case)]

use parking_lot::Mutex;
use rusqlite::ffi;
use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Once, OnceLock};

/// One file as it is on the disk, and what was written since it was synced.
#[derive(Default)]
struct Shadow {
    durable: Vec<u8>,
    pending: Vec<Edit>,
}

enum Edit {
    Write(usize, Vec<u8>),
    Len(usize),
}

impl Shadow {
    fn sync(&mut self) {
        for edit in std::mem::take(&mut self.pending) {
            match edit {
                Edit::Write(at, bytes) => {
                    let len = self.durable.len().max(at + bytes.len());
                    self.durable.resize(len, 0);
                    self.durable[at..at + bytes.len()].copy_from_slice(&bytes);
                }
                Edit::Len(len) => self.durable.resize(len, 0),
            }
        }
    }
}

/// What SQLite keeps in one folder.
#[derive(Default)]
struct State {
    changes: u64,
    /// At which change, and the code that SQLite gets.
    fault: Option<(u64, c_int)>,
    files: HashMap<PathBuf, Shadow>,
}

impl State {
    fn change(&mut self) -> Option<c_int> {
        let at = self.changes;
        self.changes += 1;
        self.fault.filter(|(when, _)| *when == at).map(|(_, code)| code)
    }
}

/// The disk under the databases of one folder.
#[derive(Clone)]
pub struct SqliteDisk(Arc<Mutex<State>>);

impl SqliteDisk {
    /// Watches a folder.
    pub fn of(dir: &Path) -> Self {
        register();
        let disk = Self(Arc::default());
        WATCHED.lock().dirs.insert(dir.to_owned(), disk.clone());
        disk
    }

    /// Makes the change after `skip_count` more ones fail.
    pub fn fail_after(&self, skip_count: u64, code: c_int) {
        let mut state = self.0.lock();
        state.fault = Some((state.changes + skip_count, code));
    }

    /// Writes, cuts and syncs so far.
    pub fn change_count(&self) -> u64 {
        self.0.lock().changes
    }

    /// Puts what a power cut leaves into another folder.
    pub fn cut_into(&self, to: &Path) {
        for (path, shadow) in &self.0.lock().files {
            std::fs::write(to.join(path.file_name().unwrap()), &shadow.durable).unwrap();
        }
    }
}

#[derive(Default)]
struct Watched {
    dirs: HashMap<PathBuf, SqliteDisk>,
    /// Open files, by where SQLite keeps them.
    open: HashMap<usize, Open>,
    /// By the address of the system's own.
    methods: HashMap<usize, &'static Methods>,
}

#[derive(Clone)]
struct Open {
    disk: SqliteDisk,
    path: PathBuf,
    methods: &'static Methods,
}

/// Databases and their logs have tables of their own.
struct Methods {
    theirs: ffi::sqlite3_io_methods,
    ours: ffi::sqlite3_io_methods,
}

static WATCHED: LazyLock<Mutex<Watched>> = LazyLock::new(Mutex::default);

struct Real(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite's own tables, which it never changes nor frees.
unsafe impl Send for Real {}
unsafe impl Sync for Real {}

static REAL: OnceLock<Real> = OnceLock::new();

/// Puts itself before the system's disk, for the whole process; who does not watch a folder sees no difference.
fn register() {
    static ONCE: Once = Once::new();
    // SAFETY: the copy of SQLite's table lives for ever; only how files are opened differs.
    ONCE.call_once(|| unsafe {
        let vfs = ffi::sqlite3_vfs_find(c"unix-excl".as_ptr());
        REAL.get_or_init(|| Real(vfs));
        // Of two with one name the later one is found.
        let ours = Box::leak(Box::new(*vfs));
        ours.pNext = std::ptr::null_mut();
        ours.xOpen = Some(open);
        assert_eq!(ffi::sqlite3_vfs_register(ours, 1), ffi::SQLITE_OK);
    });
}

fn real() -> *mut ffi::sqlite3_vfs {
    REAL.get().expect("files are opened after registering").0
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: passes on what SQLite gave; the methods that are put in place are those of the same file.
    unsafe {
        let opened = (*real()).xOpen.unwrap()(real(), name, file, flags, out);
        let mut watched = WATCHED.lock();
        watched.open.remove(&(file as usize));
        if opened != ffi::SQLITE_OK || name.is_null() {
            return opened;
        }
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(CStr::from_ptr(name).to_bytes()));
        let disk = path.parent().and_then(|dir| watched.dirs.get(dir)).cloned();
        if let Some(disk) = disk {
            disk.0
                .lock()
                .files
                .entry(path.clone())
                .or_insert_with(|| Shadow { durable: std::fs::read(&path).unwrap_or_default(), pending: Vec::new() });
            let methods = *watched.methods.entry((*file).pMethods as usize).or_insert_with(|| {
                let theirs = *(*file).pMethods;
                let (xWrite, xTruncate, xSync) = (Some(write as _), Some(truncate as _), Some(sync as _));
                Box::leak(Box::new(Methods {
                    theirs,
                    ours: ffi::sqlite3_io_methods { xWrite, xTruncate, xSync, ..theirs },
                }))
            });
            watched.open.insert(file as usize, Open { disk, path, methods });
            (*file).pMethods = &methods.ours;
        }
        opened
    }
}

/// Counts a change of an open file: the code to fail with, or else the system's own way to make it.
fn changed(
    file: *mut ffi::sqlite3_file,
    edit: impl FnOnce(&mut Shadow, bool),
) -> Result<&'static ffi::sqlite3_io_methods, c_int> {
    let open = WATCHED.lock().open.get(&(file as usize)).cloned().expect("only watched files have these methods");
    let mut state = open.disk.0.lock();
    let fails = state.change();
    edit(state.files.entry(open.path).or_default(), fails.is_some());
    fails.map_or(Ok(&open.methods.theirs), Err)
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, data: *const c_void, len: c_int, at: i64) -> c_int {
    // SAFETY: SQLite gives so many bytes, and a file that is open.
    unsafe {
        let bytes = std::slice::from_raw_parts(data.cast::<u8>(), len as usize);
        let fails = changed(file, |shadow, fails| {
            if !fails {
                shadow.pending.push(Edit::Write(at as usize, bytes.to_vec()));
            }
        });
        fails.map_or_else(|code| code, |theirs| theirs.xWrite.unwrap()(file, data, len, at))
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    let fails = changed(file, |shadow, fails| {
        if !fails {
            shadow.pending.push(Edit::Len(len as usize));
        }
    });
    // SAFETY: passes on what SQLite gave.
    fails.map_or_else(|code| code, |theirs| unsafe { theirs.xTruncate.unwrap()(file, len) })
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let fails = changed(file, |shadow, fails| {
        // Failed or not, to the kernel these are written now.
        if fails { shadow.pending.retain(|edit| matches!(edit, Edit::Len(_))) } else { shadow.sync() }
    });
    // SAFETY: passes on what SQLite gave.
    fails.map_or_else(|code| code, |theirs| unsafe { theirs.xSync.unwrap()(file, flags) })
}
