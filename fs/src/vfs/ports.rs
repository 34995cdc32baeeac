//! Owns the seams of `vfs`: what it asks of the tree, of a content, and of those who bring what is not local.
//! The tests stand fakes behind them.

use crate::content::Read;
use crate::env::FileId;
use crate::meta::rows::Ino;
use crate::tree::{DirEntry, NewNode, RenameRequest, Stat, SyncState, TreeError, Unlisted};
use async_trait::async_trait;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use tarn_proto::name::Name;
use tarn_proto::node::AttrChange;

/// What the tree answers. No call blocks on the network; errors are the tree's.
#[expect(clippy::missing_errors_doc, reason = "all errors are the tree's, and its error type says when")]
pub trait TreePort: Send + Sync + Debug {
    /// Finds a name. `Unlisted`: the folder must be listed first.
    fn lookup(&self, parent: Ino, name: &Name) -> Result<Stat, TreeError>;
    /// Counts that the kernel was told of an inode.
    fn refer(&self, ino: Ino);
    /// Takes back `count` of these.
    fn forget(&self, ino: Ino, count: u64);
    /// What an inode is.
    fn stat(&self, ino: Ino) -> Result<Stat, TreeError>;
    /// The flags of `chattr` of an inode, and nothing else of it.
    fn flags(&self, ino: Ino) -> Result<u32, TreeError>;
    /// The directory that a directory lies in.
    fn parent_of(&self, ino: Ino) -> Option<Ino>;
    /// One of the paths of a node: from the root, with a leading `/`.
    fn path_of(&self, ino: Ino) -> Option<Vec<u8>>;
    /// Whether nothing is left of a node but what programs hold: it never has a name again.
    fn is_gone(&self, ino: Ino) -> bool;
    /// Opens a directory, whose listing keeps its cookies until it is dropped.
    fn open_dir(&self, ino: Ino) -> Result<Box<dyn Listing>, TreeError>;
    /// Makes a node.
    fn create(&self, parent: Ino, name: &Name, new: NewNode) -> Result<Stat, TreeError>;
    /// Removes a name of what is no directory.
    fn unlink(&self, parent: Ino, name: &Name) -> Result<(), TreeError>;
    /// Removes an empty directory.
    fn rmdir(&self, parent: Ino, name: &Name) -> Result<(), TreeError>;
    /// Moves a name.
    fn rename(&self, request: &RenameRequest) -> Result<(), TreeError>;
    /// Adds a name.
    fn link(&self, ino: Ino, parent: Ino, name: &Name) -> Result<Stat, TreeError>;
    /// Changes attributes.
    fn set_attrs(&self, ino: Ino, change: &AttrChange) -> Result<Stat, TreeError>;
    /// Counts an open handle: its inode and version stay.
    fn opened(&self, ino: Ino, write: bool) -> Result<(), TreeError>;
    /// Takes that back.
    fn closed(&self, ino: Ino, write: bool);
    /// A file's content. The same one as long as a handle is open.
    fn content(&self, ino: Ino) -> Result<Arc<dyn FileContent>, TreeError>;
    /// A file that the kernel may serve by itself: complete, clean, and with a backing file of its own.
    fn lend(&self, ino: Ino) -> Option<Box<dyn LentFile>>;
    /// The same file once more, which an earlier daemon lent; whether programs may have maps of it that write.
    fn lend_again(&self, ino: Ino, file: FileId, is_exposed: bool) -> Option<Box<dyn LentFile>>;
    /// Writes; survives kill -9 when it returns.
    fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> Result<(), TreeError>;
    /// Writes at the end, wherever that is by then.
    fn append(&self, ino: Ino, data: &[u8]) -> Result<(), TreeError>;
    /// Sets the size.
    fn truncate(&self, ino: Ino, size_bytes: u64) -> Result<(), TreeError>;
    /// Makes the part of a range that lies in the file read as zeros, and frees it.
    fn punch(&self, ino: Ino, range: Range<u64>) -> Result<(), TreeError>;
    /// Makes a range read as zeros; the file grows to hold it unless `keep_size`.
    fn zero(&self, ino: Ino, range: Range<u64>, keep_size: bool) -> Result<(), TreeError>;
    /// Reserves space for a range, which reads as before; the file grows to hold it unless `keep_size`.
    fn allocate(&self, ino: Ino, range: Range<u64>, keep_size: bool) -> Result<(), TreeError>;
    /// Has one file go on with a range of another's bytes without moving any, from the same offset on: up to where. `None` if
    /// they must be copied.
    fn share(&self, from: Ino, to: Ino, range: Range<u64>) -> Result<Option<u64>, TreeError>;
    /// Makes a file durable.
    fn fsync(&self, ino: Ino) -> Result<(), TreeError>;
    /// The same but for its times.
    fn fdatasync(&self, ino: Ino) -> Result<(), TreeError>;
    /// Makes a directory durable.
    fn fsync_dir(&self, ino: Ino) -> Result<(), TreeError>;
    /// What a node is to the server.
    fn sync_state(&self, ino: Ino) -> Result<SyncState, TreeError>;
    /// How much there is and how much fits.
    fn space(&self) -> Result<Space, TreeError>;
}

/// An open directory of the tree.
pub trait Listing: Send + Sync + Debug {
    /// Up to `max` entries after a cookie, without "." and "..". An entry that is there all the while is seen
    /// once, whatever happens to others meanwhile. Cookies are higher than 2.
    ///
    /// # Errors
    /// The tree's.
    fn read(&self, after_cookie: u64, max: usize) -> Result<Vec<DirEntry>, TreeError>;
}

/// The bytes of a file, and the way to those that are not here.
#[async_trait]
pub trait FileContent: Send + Sync + Debug {
    /// Size in bytes.
    fn size_bytes(&self) -> u64;
    /// Reads up to `len` bytes from `offset` on.
    ///
    /// # Errors
    /// The tree's.
    fn read(&self, offset: u64, len: usize) -> Result<Read, TreeError>;
    /// Which parts of a range are not here.
    fn missing(&self, range: Range<u64>) -> Vec<Range<u64>>;
    /// How many bytes are here.
    fn present_bytes(&self) -> u64;
    /// Brings bytes, and, unless `alone`, what else this lets expect. Cancel-safe: a dropped call leaves nothing half done.
    ///
    /// # Errors
    /// Why they cannot be brought.
    async fn need(&self, ranges: &[Range<u64>], alone: bool) -> Result<(), BringError>;
    /// Tells that a program will likely read these bytes soon. Returns at once.
    fn soon(&self, ranges: Vec<Range<u64>>);
}

/// The backing file of a file that is complete. It stays so while this lives.
pub trait LentFile: Send + Sync + Debug {
    /// The descriptor for the kernel.
    fn fd(&self) -> BorrowedFd<'_>;
    /// Whether anybody but this process has it open or mapped.
    fn is_in_use(&self) -> bool;
    /// Notes durably that a program may write it through a map from now on.
    ///
    /// # Errors
    /// The tree's.
    fn expose(&self) -> Result<(), TreeError>;
    /// Takes that back, when it is in use no more, and queues what was written unseen.
    fn conceal(&self);
}

/// Gives backing files to the kernel, which calls them by numbers.
pub trait Backings: Send + Sync + Debug {
    /// Gives one; its number.
    ///
    /// # Errors
    /// The kernel does not take it.
    fn open(&self, fd: BorrowedFd<'_>) -> io::Result<u32>;
    /// Takes a number back. Handles and maps go on with the file.
    fn close(&self, number: u32);
}

/// What `statfs` tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// Nodes, as far as known here.
    pub node_count: u64,
}

/// Brings listings that are not local.
#[async_trait]
pub trait Lister: Send + Sync + Debug {
    /// Lists a folder on the server and gives the listing to the tree, page by page; returns when the tree has got more of
    /// it, or all. Cancel-safe.
    ///
    /// # Errors
    /// Why no more can be brought.
    async fn list(&self, folder: Unlisted) -> Result<(), BringError>;
}

/// Why something cannot be brought.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// Known to be offline, or the server cannot be reached.
    #[error("the server cannot be reached")]
    Unreachable,
    /// The server lacks it, refuses it, or sent something damaged.
    #[error("{0}")]
    Unreadable(String),
    /// The local disk has no room for it or failed.
    #[error(transparent)]
    Local(#[from] io::Error),
}
