//! A program that watches folders with inotify, as the kernel tells it.

use crate::wait::within;
use anyhow::Result;
use std::collections::HashMap;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const HEADER_BYTES: usize = 16;

/// What the kernel told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What is watched.
    pub watched: PathBuf,
    /// The name in it; empty when it is about what is watched itself.
    pub name: String,
    /// What happened.
    pub mask: u32,
    /// Joins both halves of a move.
    pub cookie: u32,
}

impl Event {
    /// Whether it tells that `mask` happened to a name.
    pub fn is(&self, mask: u32, name: &str) -> bool {
        self.mask & mask == mask && self.name == name
    }
}

/// A program that watches.
#[derive(Debug)]
pub struct Watcher {
    file: File,
    watches: HashMap<i32, PathBuf>,
    seen: Vec<Event>,
}

impl Watcher {
    /// Watches these.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(paths: &[&Path]) -> Result<Self> {
        // SAFETY: takes no memory of ours.
        let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
        anyhow::ensure!(fd >= 0, "inotify_init1: {}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new and nobody else's.
        let file = unsafe { File::from_raw_fd(fd) };
        let mut watcher = Self { file, watches: HashMap::new(), seen: Vec::new() };
        paths.iter().try_for_each(|path| watcher.add(path))?;
        Ok(watcher)
    }

    /// Watches one more.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add(&mut self, path: &Path) -> Result<()> {
        let named = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the path lives as long as the call.
        let watch = unsafe { libc::inotify_add_watch(self.file.as_raw_fd(), named.as_ptr(), libc::IN_ALL_EVENTS) };
        anyhow::ensure!(watch >= 0, "{}: {}", path.display(), std::io::Error::last_os_error());
        self.watches.insert(watch, path.to_owned());
        Ok(())
    }

    /// All that was told so far.
    ///
    /// # Panics
    /// If the kernel says something else than it promises.
    pub fn seen(&mut self) -> &[Event] {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count) = self.file.read(&mut bytes) {
            let mut rest = &bytes[..count];
            while !rest.is_empty() {
                let number = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().expect("four bytes"));
                let (watch, mask, cookie, length) = (number(0) as i32, number(4), number(8), number(12) as usize);
                let name = &rest[HEADER_BYTES..HEADER_BYTES + length];
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                let name = OsString::from_vec(name.to_vec()).to_string_lossy().into_owned();
                let watched = self.watches.get(&watch).cloned().unwrap_or_default();
                self.seen.push(Event { watched, name, mask, cookie });
                rest = &rest[HEADER_BYTES + length..];
            }
        }
        &self.seen
    }

    /// Waits until all these were told, in whatever order, and forgets what was told so far.
    ///
    /// # Errors
    /// Says what was told instead.
    pub fn expect(&mut self, deadline: Duration, wanted: &[(&Path, u32, &str)]) -> Result<Vec<Event>> {
        let is_told = |seen: &[Event], (watched, mask, name): &(&Path, u32, &str)| {
            seen.iter().any(|event| event.watched == *watched && event.is(*mask, name))
        };
        let is_all = within(deadline, || {
            let seen = self.seen();
            wanted.iter().all(|one| is_told(seen, one))
        });
        let missing: Vec<_> = wanted.iter().filter(|one| !is_told(&self.seen, one)).collect();
        anyhow::ensure!(is_all, "not told: {missing:x?}; told: {:x?}", self.seen);
        Ok(std::mem::take(&mut self.seen))
    }
}
