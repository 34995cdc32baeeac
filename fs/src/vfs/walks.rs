//! Owns noticing that a program reads one small file after another, and fetching ahead of it. Whoever opens a single
//! file here and there causes nothing; a walk causes one request for many files, and the next one before they are used up.

use crate::content::LocalContent;
use crate::hydrate::Hydrator;
use crate::limits::GUESSED_SHARE;
use crate::meta::rows::Ino;
use crate::tree::{Ahead, Tree};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Handle;

/// Only files up to this size are fetched ahead: they have one chunk.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Files of the first and of the widest window.
const FILES_MIN: usize = 32;
const FILES_MAX: usize = 512;
/// Bytes of one window, where the cache is not small.
const BYTES_MAX: u64 = 8 << 20;
/// A smaller cache keeps what was read rather than what may be wanted.
const CACHE_BYTES_MIN: u64 = 256 << 20;
/// Files missed one after another in the order of their folder's listing before anything is fetched ahead.
const MISSES_MIN: u32 = 2;
/// Whoever reads in the order of the listing leaves out fewer files than this.
const STRIDE_MAX: usize = 8;
/// From this window on it is a walk through many folders.
const BEYOND_FROM: usize = 64;

/// Where the last reader of small files is.
#[derive(Debug, Default)]
struct Walk {
    folder: Option<Ino>,
    /// The file missed last.
    missed: Option<Ino>,
    miss_count: u32,
    files: usize,
    /// Up to where files were fetched ahead.
    last: Option<Ino>,
    is_looking: bool,
}

/// Notices walks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Walks(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    walk: Mutex<Walk>,
    /// Reading this inode asks for the next window; 0: none.
    mark: AtomicU64,
}

/// What fetching ahead needs.
#[derive(Debug, Clone)]
pub(super) struct Means {
    pub tree: Arc<Tree>,
    pub hydrator: Hydrator,
    pub runtime: Handle,
    /// Budget of the cache: what is fetched ahead stays small beside it.
    pub cache_bytes: u64,
}

impl Walks {
    /// A program waits for a file that is not here.
    pub fn missed(&self, means: &Means, content: &LocalContent) {
        if content.size_bytes() > FILE_BYTES_MAX || means.cache_bytes < CACHE_BYTES_MIN {
            return;
        }
        let ino = content.ino();
        let Ok(Some(folder)) = means.tree.parent_of(ino) else { return };
        let before = self.0.walk.lock().missed.replace(ino);
        let is_next = |before| means.tree.is_next_behind(before, ino, STRIDE_MAX).unwrap_or(false);
        let goes_on = before.is_some_and(is_next);
        let mut walk = self.0.walk.lock();
        if walk.folder == Some(folder) {
            walk.miss_count = if goes_on { walk.miss_count + 1 } else { 1 };
        } else {
            let was_walk = walk.files >= BEYOND_FROM;
            // Another folder than was foreseen: begin again, but believe in it sooner.
            let miss_count = u32::from(was_walk) + 1;
            *walk = Walk { folder: Some(folder), missed: Some(ino), miss_count, ..Walk::default() };
        }
        let is_walk = walk.miss_count >= MISSES_MIN && !walk.is_looking;
        walk.is_looking |= is_walk;
        drop(walk);
        if is_walk {
            self.go_on(means.clone(), ino);
        }
    }

    /// A file is read, from wherever its bytes are.
    pub fn read(&self, means: &Means, ino: Ino) {
        let mark = &self.0.mark;
        if mark.load(Ordering::Relaxed) != ino.0 || mark.swap(0, Ordering::Relaxed) != ino.0 {
            return;
        }
        let mut walk = self.0.walk.lock();
        let from = walk.last.filter(|_| !walk.is_looking);
        walk.is_looking |= from.is_some();
        drop(walk);
        if let Some(from) = from {
            self.go_on(means.clone(), from);
        }
    }

    /// Fetches the next window, behind `from`.
    fn go_on(&self, means: Means, from: Ino) {
        let this = self.clone();
        means.runtime.clone().spawn_blocking(move || {
            let files_max = {
                let mut walk = this.0.walk.lock();
                walk.files = (walk.files * 4).clamp(FILES_MIN, FILES_MAX);
                walk.files
            };
            let beyond = files_max >= BEYOND_FROM;
            // Two windows are what is kept of guesses when room is short.
            let bytes_max = (means.cache_bytes / (2 * GUESSED_SHARE)).min(BYTES_MAX);
            let ahead = Ahead { files_max, bytes_max, file_bytes_max: FILE_BYTES_MAX, beyond };
            let files = means.tree.absent_behind(from, ahead).unwrap_or_default();
            // The next window is asked for when a quarter of this one has been read.
            let mark = files.get(files.len() / 4).map(|content| content.ino());
            means.hydrator.siblings(&files);
            let mut walk = this.0.walk.lock();
            walk.is_looking = false;
            walk.last = files.last().map(|content| content.ino());
            walk.folder = walk.last.and_then(|ino| means.tree.parent_of(ino).ok().flatten()).or(walk.folder);
            this.0.mark.store(mark.map_or(0, |ino| ino.0), Ordering::Relaxed);
        });
    }
}
