//! Owns the table of calls by which SQLite uses a [`super::CrashDisk`]. Nothing is decided here: each call turns what SQLite
//! gave into Rust, makes one call of [`OpenFile`], and turns the outcome into a code.

use super::database::{self, OpenFile};
use rusqlite::ffi;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Once;

/// What SQLite calls it.
pub(super) const NAME: &CStr = c"tarn-crash-disk";
const PATH_BYTES_MAX: c_int = 4096;

/// What SQLite keeps of an open file: the first member is what it knows of.
#[repr(C)]
struct VfsFile {
    base: ffi::sqlite3_file,
    open: *mut OpenFile,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Without the calls that map the database itself: like the client's databases it is only read and written.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(map_index),
    xShmLock: Some(lock_index),
    xShmBarrier: Some(index_barrier),
    xShmUnmap: Some(unmap_index),
    xFetch: None,
    xUnfetch: None,
};

/// Makes it known to SQLite, for as long as the process lives.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    // SAFETY: SQLite has a VFS of its own, whose table it never changes; ours is never freed, as it demands. The calls for
    // time and randomness that are taken over from there do not look at the table by which they are called.
    ONCE.call_once(|| unsafe {
        let system = ffi::sqlite3_vfs_find(std::ptr::null());
        let ours = Box::leak(Box::new(ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: size_of::<VfsFile>() as c_int,
            mxPathname: PATH_BYTES_MAX,
            pNext: null_mut(),
            zName: NAME.as_ptr(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            ..*system
        }));
        assert_eq!(ffi::sqlite3_vfs_register(ours, 0), ffi::SQLITE_OK, "a VFS can always be added");
    });
}

fn code(outcome: Result<(), c_int>) -> c_int {
    outcome.err().unwrap_or(ffi::SQLITE_OK)
}

/// # Safety
/// `name` is a C string that outlives the use of the path.
unsafe fn path<'a>(name: *const c_char) -> &'a Path {
    // SAFETY: as above.
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()))
}

/// # Safety
/// `file` was opened by [`open`] and not closed yet. SQLite never uses one from two threads at once.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut OpenFile {
    // SAFETY: as above.
    unsafe { &mut *(*file.cast::<VfsFile>()).open }
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives room for a `VfsFile`, and a name or none.
    unsafe {
        (*file).pMethods = std::ptr::null();
        let name = (!name.is_null()).then(|| path(name));
        match OpenFile::open(name, flags) {
            Ok(opened) => {
                let open = Box::into_raw(Box::new(opened));
                file.cast::<VfsFile>().write(VfsFile { base: ffi::sqlite3_file { pMethods: &METHODS }, open });
                if !out_flags.is_null() {
                    *out_flags = flags;
                }
                ffi::SQLITE_OK
            }
            Err(code) => code,
        }
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: `open` made the box; SQLite closes a file once.
    drop(unsafe { Box::from_raw((*file.cast::<VfsFile>()).open) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, out: *mut c_void, len: c_int, at: i64) -> c_int {
    // SAFETY: SQLite gives room for so many bytes, which nobody else uses, and a file that is open.
    unsafe {
        // What is beyond the end must read as zeros.
        out.cast::<u8>().write_bytes(0, len as usize);
        code(opened(file).read(std::slice::from_raw_parts_mut(out.cast(), len as usize), at as u64))
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, data: *const c_void, len: c_int, at: i64) -> c_int {
    // SAFETY: SQLite gives so many bytes, and a file that is open.
    unsafe { code(opened(file).write(std::slice::from_raw_parts(data.cast(), len as usize), at as u64)) }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    // SAFETY: the file is open.
    code(unsafe { opened(file) }.set_len(len as u64))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: the file is open.
    code(unsafe { opened(file) }.sync())
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: the file is open; there is room for the answer.
    unsafe {
        let len = opened(file).len();
        code(len.map(|len| *out = len as i64))
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    code(unsafe { opened(file) }.lock(level))
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    unsafe { opened(file) }.unlock(level);
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: the file is open; there is room for the answer.
    unsafe { *out = c_int::from(opened(file).is_reserved()) };
    ffi::SQLITE_OK
}

/// Has no special wishes to fulfil.
unsafe extern "C" fn file_control(_file: *mut ffi::sqlite3_file, _op: c_int, _arg: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    database::SECTOR_BYTES
}

/// What is not written does not change: SQLite takes this for granted of real disks too.
unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn map_index(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: the file is open; there is room for the answer, which is memory that lives until `unmap_index` or `close`.
    unsafe {
        let mapped = opened(file).map_index(region as usize, bytes as usize, extend != 0);
        *out = mapped.unwrap_or(null_mut());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock_index(file: *mut ffi::sqlite3_file, first: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: the file is open.
    code(unsafe { opened(file) }.lock_index(first, count, flags))
}

unsafe extern "C" fn index_barrier(_file: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn unmap_index(file: *mut ffi::sqlite3_file, _is_deleted: c_int) -> c_int {
    // SAFETY: the file is open.
    unsafe { opened(file) }.unmap_index();
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: SQLite gives a name.
    code(database::delete(unsafe { path(name) }, sync_dir != 0))
}

unsafe extern "C" fn access(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    // SAFETY: SQLite gives a name, and room for the answer.
    unsafe { *out = c_int::from(database::is_there(path(name), flags)) };
    ffi::SQLITE_OK
}

/// Every name is a full one.
unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite gives a name, and so much room.
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > room as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        out.copy_from_nonoverlapping(bytes.as_ptr().cast(), bytes.len());
    }
    ffi::SQLITE_OK
}
