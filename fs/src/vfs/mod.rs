//! Owns what POSIX says of each call: inodes as the kernel knows them, open handles, the rules of privileges. One
//! file per family of calls. Must never wait for the network: a call answers at once or says what it waits for
//! ([`Stop::Wait`]), and is made again. Knows no kernel protocol and no errno number.
//!
//! Start reading at [`files`] and [`names`]; what stands below is in [`ports`].

mod acl;
mod again;
mod attrs;
mod data;
mod dirs;
#[cfg(test)]
pub(crate) mod fake;
pub mod files;
mod flags;
mod handles;
mod inherit;
mod live;
mod make;
pub mod names;
mod open_table;
mod passthrough;
pub mod ports;
mod programs;
mod replay;
mod space;
mod stale;
mod stop;
#[cfg(test)]
mod tests;
mod view;
mod walks;
mod xattrs;

pub use attrs::{NewTime, SetAttr};
pub use dirs::{DirItem, OpenedDir};
pub use files::{OpenFlags, Opened, Serve};
pub use inherit::{TakenUp, Through};
pub use live::LiveTree;
pub use make::NewMode;
pub use names::RenameFlags;
pub use open_table::{ExchangeRecord, Left, LentRecord, OpenRecord, OpenTable};
pub use passthrough::{Lending, Passage};
pub use programs::{Caused, SCANNED_BYTES, SCANNERS_DEFAULT};
pub use replay::{Act, Ghost, Part, Place, Replay};
pub use stale::{Forget, Old, Stale};
pub use stop::{Answer, Stop, VfsError, WaitFor};
pub use view::{Caller, Options, Shown};
pub use xattrs::{STATE, XattrMode};

use crate::env::Clock;
use crate::meta::rows::Ino;
use dirs::OpenDir;
use files::OpenFile;
use handles::Handles;
use inherit::Doubtful;
use lru::LruCache;
use parking_lot::Mutex;
use passthrough::Passthrough;
use ports::{Lister, Space, TreePort};
use programs::Programs;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tarn_proto::node::Timestamp;

/// Times of reading that are remembered.
const ATIMES_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// What stands below the file system.
#[derive(Debug, Clone)]
pub struct Ports {
    /// The tree.
    pub tree: Arc<dyn TreePort>,
    /// Who brings listings.
    pub lister: Arc<dyn Lister>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Which inodes have invalidations on their way; who sends them keeps it.
    pub stale: Arc<Stale>,
    /// The player of changes from elsewhere; who starts it keeps it.
    pub replay: Arc<Replay>,
}

/// The file system behind one mount.
///
/// Lock order: each lock here is taken alone and released before a call on a port, but for `space`, which is held
/// across [`TreePort::space`] so that one caller asks for all, `inheriting` while a handle is opened, and that of `passthrough`, under which a lent file is asked
/// whether it is in use.
#[derive(Debug)]
pub struct Vfs {
    tree: Arc<dyn TreePort>,
    lister: Arc<dyn Lister>,
    clock: Arc<dyn Clock>,
    options: Options,
    files: Handles<OpenFile>,
    dirs: Handles<OpenDir>,
    inheriting: Mutex<()>,
    /// Handles that an earlier daemon gave, by the numbers of the calls.
    given: Mutex<HashMap<u64, u64>>,
    /// Exchanges that an earlier daemon began, by the numbers of the calls.
    exchanges: HashMap<u64, ExchangeRecord>,
    /// The record of what is open, for the next daemon.
    table: Option<Arc<OpenTable>>,
    doubtful: Doubtful,
    atimes: Mutex<LruCache<Ino, Timestamp>>,
    space: Mutex<Option<(Duration, Space)>>,
    stale: Arc<Stale>,
    replay: Arc<Replay>,
    passthrough: Passthrough,
    programs: Programs,
    read_requests: AtomicU64,
}

impl Vfs {
    /// A file system that shows `tree`.
    pub fn new(ports: Ports, options: Options) -> Self {
        let Ports { tree, lister, clock, stale, replay } = ports;
        let programs = Programs::new(options.scanners.clone());
        Self {
            tree,
            lister,
            clock,
            options,
            files: Handles::default(),
            dirs: Handles::default(),
            inheriting: Mutex::default(),
            given: Mutex::default(),
            exchanges: HashMap::new(),
            table: None,
            doubtful: Doubtful::default(),
            atimes: Mutex::new(LruCache::new(ATIMES_MAX)),
            space: Mutex::default(),
            stale,
            replay,
            passthrough: Passthrough::default(),
            programs,
            read_requests: AtomicU64::new(0),
        }
    }

    /// The time by which waits are measured.
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Who brings listings.
    pub fn lister(&self) -> &Arc<dyn Lister> {
        &self.lister
    }

    /// Says whether the kernel can serve complete files by itself, or why not; before anything is opened.
    pub fn agree_passthrough(&self, agreed: Result<(), String>) {
        self.passthrough.agree(agreed);
    }

    /// Why all reads come here, if they do.
    pub fn why_no_passthrough(&self) -> Option<String> {
        self.passthrough.why_not()
    }

    /// Which programs had what fetched, most first.
    pub fn caused(&self) -> Vec<Caused> {
        self.programs.all()
    }

    /// Counts a request of the kernel to read.
    pub fn count_read_request(&self) {
        self.read_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn read_requests(&self) -> u64 {
        self.read_requests.load(Ordering::Relaxed)
    }

    /// The directory that something lies in.
    pub fn parent_of(&self, ino: Ino) -> Option<Ino> {
        self.tree.parent_of(ino)
    }

    /// One of the paths of something, from the root, with a leading `/`.
    pub fn path_of(&self, ino: Ino) -> Option<Vec<u8>> {
        self.tree.path_of(ino)
    }

    /// Whether the kernel may take a folder for gone for ever.
    pub fn is_gone(&self, ino: Ino) -> bool {
        self.tree.is_gone(ino)
    }

    /// How this mount shows the tree.
    pub fn options(&self) -> &Options {
        &self.options
    }
}
