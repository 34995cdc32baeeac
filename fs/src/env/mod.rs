//! Owns the outside world: clock, randomness, disk, waiting and blocking work come from here and nowhere else, so that the
//! same code runs under the mount and under the simulation.

mod callers;
mod crash;
mod files;
mod kept_memory;
pub mod mounts;
mod players;
mod real;
mod shared_files;
mod sleep;
mod sockets;
mod spawn;
mod tasks;
mod watchers;

pub use callers::{groups_of, program_of};
pub use crash::{CrashDisk, Fault};
pub use files::{copy_file, is_there, remove_if_there};
pub use kept_memory::KeptMemory;
pub use players::{MESSENGER, PLAYER, end_players_of, is_player};
pub use real::{RealClock, RealDisk, RealRng};
pub use shared_files::{ChangedAt, FileId, file_id, is_open_elsewhere, last_change, settled_change};
pub use sleep::{Logind, SleepDelay, SleepSign, SleepTeller};
pub use sockets::message_pair;
pub use spawn::{close_on_exec, end_with_parent};
pub use tasks::{BrokenOff, Elapsed, RealTasks, Tasks};
pub use watchers::{Watched, watched};

use std::ffi::CStr;
use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::node::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + Debug {
    /// Wall-clock time. Shown to people; decides nothing.
    fn wall(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// Gives random bytes.
pub trait Rng: Send + Sync + Debug {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// 16 random bytes: an id.
    fn id(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }
}

/// How a file is opened. Always for reading and writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist.
    Existing,
    /// Made if it does not exist.
    Create,
    /// It must not exist.
    CreateNew,
}

/// How SQLite opens a file of a disk.
#[derive(Debug, Clone)]
pub struct DatabasePath {
    /// What SQLite calls the file.
    pub path: PathBuf,
    /// The VFS that knows it.
    pub vfs: &'static CStr,
}

/// The local file system. Every durable byte of the client passes here, or through the VFS that it names to SQLite.
pub trait Disk: Send + Sync + Debug {
    /// Opens a regular file; one that is on a read-only file system only to be read.
    ///
    /// # Errors
    /// What the file system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory and its parents, mode 0700.
    ///
    /// # Errors
    /// What the file system says.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory.
    ///
    /// # Errors
    /// What the file system says.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Renames a file over another.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// What the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory's entries durable.
    ///
    /// # Errors
    /// What the file system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that an ordinary user may still allocate.
    ///
    /// # Errors
    /// What the file system says.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// How SQLite opens a file: one that only this process has open.
    fn database(&self, path: &Path) -> DatabasePath;
}

/// One open file of the local disk.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// What the file system says; some of `data` may have been written.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// fdatasync.
    ///
    /// # Errors
    /// What the file system says. After an error the file's unsynced content counts as lost.
    fn sync_data(&self) -> io::Result<()>;
    /// Has the disk begin to write what it must, without waiting. A hint: it makes nothing durable, and tells of no error.
    fn start_writing(&self) {}
    /// Sets the size.
    ///
    /// # Errors
    /// What the file system says.
    fn set_len(&self, len_bytes: u64) -> io::Result<()>;
    /// The size.
    ///
    /// # Errors
    /// What the file system says.
    fn len_bytes(&self) -> io::Result<u64>;
    /// Allocated bytes (blocks).
    ///
    /// # Errors
    /// What the file system says.
    fn allocated_bytes(&self) -> io::Result<u64>;
    /// Frees the whole blocks inside a range; the range then reads as zeros.
    ///
    /// # Errors
    /// What the file system says.
    fn punch_hole(&self, offset: u64, len_bytes: u64) -> io::Result<()>;
    /// Allocates a range without changing what it reads as; grows the file unless `keep_size`.
    ///
    /// # Errors
    /// What the file system says.
    fn allocate(&self, offset: u64, len_bytes: u64, keep_size: bool) -> io::Result<()>;
    /// The descriptor, where there is one (passthrough).
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}

/// Everything ambient, in one place.
#[derive(Debug, Clone)]
pub struct Env {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Waiting, and work that blocks.
    pub tasks: Arc<dyn Tasks>,
}

impl Env {
    /// The real world.
    pub fn real() -> Self {
        Self {
            clock: Arc::new(RealClock::new()),
            rng: Arc::new(RealRng),
            disk: Arc::new(RealDisk),
            tasks: Arc::new(RealTasks),
        }
    }
}
