//! Owns files that stay on this device: lock and temporary files of programs. Each is queued as any new file is and not
//! sent, until it gets another name or is left alone for a day. Decides nothing about what the server has already.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::work::Work;
use crate::meta::rows::{Ino, LocalOp, ROOT, Ticket, Verdict};
use globset::{Glob, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use tarn_proto::name::Name;

/// Names of files that stay here: locks first, then what editors, browsers and file managers write meanwhile.
pub const LOCAL_ONLY_DEFAULT: [&str; 11] = [
    ".~lock.*#",
    "~$*",
    ".nfs*",
    ".fuse_hidden*",
    ".*.sw?",
    "4913",
    "#*#",
    ".*.kate-swp",
    ".goutputstream-*",
    "lu[0-9]*.tmp",
    "*.crdownload",
];
/// Of these: what only says that something is in use. It never goes out by itself.
const LOCKS: [&str; 4] = [".~lock.*#", "~$*", ".nfs*", ".fuse_hidden*"];
/// What nobody had open for so long is no temporary file.
const LEFT_ALONE_SECS: i64 = 24 * 60 * 60;

type Result<T> = std::result::Result<T, TreeError>;

/// Names of files that stay on this device.
#[derive(Debug, Clone, Default)]
pub struct LocalNames {
    all: GlobSet,
    locks: GlobSet,
}

impl LocalNames {
    /// Those that match one of some patterns: `*` stands for any characters, `?` for one, `[ab]` for one of some.
    ///
    /// # Errors
    /// What is wrong with a pattern.
    pub fn matching<'a>(patterns: impl IntoIterator<Item = &'a str>) -> std::result::Result<Self, String> {
        let (mut all, mut locks) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let glob = Glob::new(pattern).map_err(|error| error.to_string())?;
            if LOCKS.contains(&pattern) {
                locks.add(glob.clone());
            }
            all.add(glob);
        }
        let built = |set: GlobSetBuilder| set.build().map_err(|error| error.to_string());
        Ok(Self { all: built(all)?, locks: built(locks)? })
    }

    fn has(&self, name: &Name) -> bool {
        self.all.is_match(OsStr::from_bytes(name.as_bytes()))
    }

    fn has_lock(&self, name: &Name) -> bool {
        self.locks.is_match(OsStr::from_bytes(name.as_bytes()))
    }
}

/// A file that stays here.
#[derive(Debug)]
struct Kept {
    ticket: Ticket,
    ino: Ino,
    parent: Ino,
    name: Name,
}

impl Session<'_> {
    /// Queues a new node; a regular file with the name of a temporary one stays here.
    pub(super) fn enqueue_creation(&mut self, work: &mut Work, ticket: Ticket, op: LocalOp, is_file: bool) {
        let stays = matches!(&op, LocalOp::Create { name, .. } if is_file && self.state.local_names.has(name));
        let verdict = if stays { Verdict::LocalOnly } else { Verdict::Open };
        self.enqueue_as(work, ticket, op, verdict);
    }

    /// Lets a file go to the server after all: something happens to it of which the server is told.
    pub(super) fn send_after_all(&mut self, ino: Ino) -> Result<()> {
        let ops = self.state.queue.of_ino(ino);
        let kept: Vec<Ticket> =
            ops.filter(|(_, queued)| queued.op.verdict == Verdict::LocalOnly).map(|(ticket, _)| ticket).collect();
        if kept.is_empty() { Ok(()) } else { self.set_verdicts(&kept, Verdict::Open) }
    }

    fn kept(&self) -> Vec<Kept> {
        let ops = self.state.queue.ops.iter().filter(|(_, queued)| queued.op.verdict == Verdict::LocalOnly);
        let kept = ops.filter_map(|(&ticket, queued)| match &queued.op.op {
            LocalOp::Create { ino, parent, name } => {
                Some(Kept { ticket, ino: *ino, parent: *parent, name: name.clone() })
            }
            _ => None,
        });
        kept.collect()
    }

    /// Lets those go whose time here is over.
    fn review_kept(&mut self) -> Result<()> {
        let mut over = Vec::new();
        for kept in self.kept() {
            if self.is_over(&kept)? {
                over.push(kept.ticket);
            }
        }
        if over.is_empty() { Ok(()) } else { self.set_verdicts(&over, Verdict::Open) }
    }

    /// Whether it is no temporary file any more, or can only be reached once the server has it: its folder went.
    fn is_over(&mut self, kept: &Kept) -> Result<bool> {
        let names = &self.state.local_names;
        if !names.has(&kept.name) || (kept.parent != ROOT && self.links(kept.parent)?.is_empty()) {
            return Ok(true);
        }
        if self.state.local_names.has_lock(&kept.name) {
            return Ok(false);
        }
        let now = self.core.env.clock.wall().secs;
        let inode = self.inode(kept.ino)?;
        let Some(attrs) = inode.attrs() else { return Ok(false) };
        Ok(inode.opens == 0 && attrs.mtime.secs.max(attrs.ctime.secs) <= now - LEFT_ALONE_SECS)
    }
}

impl Tree {
    /// Which files stay on this device. What stayed here under names that are no longer among these goes to the server.
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn keep_here(&self, names: LocalNames) -> Result<()> {
        self.edit(|session| {
            session.state.local_names = names;
            session.review_kept()
        })
    }

    /// Sends what has stayed here and is left alone for a day, locks apart. To be called now and then.
    ///
    /// # Errors
    /// What the disk and the database say.
    pub fn review_local_only(&self) -> Result<()> {
        self.edit(|session| session.review_kept())
    }
}
