//! A program that watches with fanotify, as root may.

use anyhow::{Result, ensure};
use std::ffi::CString;
use std::fs::{File, read_link};
use std::io::{Error, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const METADATA_BYTES: usize = 24;
/// Of a record of a folder and a name: its own header, the file system, and the handle's header.
const RECORD_BYTES: usize = 4 + 8 + 8;

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A folder, with the names in it.
    Folder,
    /// Files of the mount that are opened and written.
    Mount,
}

/// A program that watches.
#[derive(Debug)]
pub struct Marks {
    file: File,
    seen: Vec<(u64, String)>,
}

impl Marks {
    /// Watches a folder or its mount.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(path: &Path, scope: Scope, mask: u64) -> Result<Self> {
        let named = CString::new(path.as_os_str().as_bytes())?;
        let (reports, place) = match scope {
            Scope::Folder => (libc::FAN_REPORT_DFID_NAME, 0),
            Scope::Mount => (0, libc::FAN_MARK_MOUNT),
        };
        let flags = libc::FAN_CLASS_NOTIF | libc::FAN_NONBLOCK | libc::FAN_CLOEXEC | reports;
        // SAFETY: takes no memory of ours.
        let fd = unsafe { libc::fanotify_init(flags, (libc::O_RDONLY | libc::O_CLOEXEC) as u32) };
        ensure!(fd >= 0, "fanotify_init: {}", Error::last_os_error());
        // SAFETY: the descriptor is new and nobody else's.
        let file = unsafe { File::from_raw_fd(fd) };
        let add = libc::FAN_MARK_ADD | place;
        // SAFETY: the path lives as long as the call.
        let marked = unsafe { libc::fanotify_mark(file.as_raw_fd(), add, mask, libc::AT_FDCWD, named.as_ptr()) };
        ensure!(marked == 0, "fanotify_mark: {}", Error::last_os_error());
        Ok(Self { file, seen: Vec::new() })
    }

    /// Whether something was told of a name by now.
    ///
    /// # Panics
    /// If the kernel says something else than it promises.
    pub fn told(&mut self, mask: u64, name: &str) -> bool {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count) = self.file.read(&mut bytes) {
            let mut rest = &bytes[..count];
            while rest.len() >= METADATA_BYTES {
                let length = u32::from_ne_bytes(rest[..4].try_into().expect("four bytes")) as usize;
                let mask = u64::from_ne_bytes(rest[8..16].try_into().expect("eight bytes"));
                let fd = i32::from_ne_bytes(rest[16..20].try_into().expect("four bytes"));
                self.seen.push((mask, name_in(fd, &rest[METADATA_BYTES..length])));
                rest = &rest[length..];
            }
        }
        self.seen.iter().any(|(seen, of)| seen & mask == mask && of == name)
    }
}

/// The last name of the file that came with an event, or the name in its record.
fn name_in(fd: i32, record: &[u8]) -> String {
    if fd >= 0 {
        // SAFETY: the kernel has opened it for this event.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        let path = read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
        return path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    }
    let Some(handle) = record.get(12..16) else { return String::new() };
    let handle_bytes = u32::from_ne_bytes(handle.try_into().expect("four bytes")) as usize;
    let name = record.get(RECORD_BYTES + handle_bytes..).unwrap_or_default();
    String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}
