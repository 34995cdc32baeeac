//! Owns how each answer of `vfs` is sent to the kernel, and for how long the kernel may keep it.

use super::attr::file_attr;
use crate::limits::NAME_BYTES_MAX;
use crate::meta::rows::Ino;
use crate::tree::Stat;
use crate::vfs::ports::Space;
use crate::vfs::{Opened, OpenedDir, Passage, Serve, Shown};
use bytes::Bytes;
use fuser::{
    BackingId, Errno, FileAttr, FileHandle, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};
use std::time::Duration;
use tarn_proto::node::{Attrs, NodeKind, Timestamp};

/// How long the kernel keeps names and attributes, absences too. They stay true that long because every change
/// from elsewhere is invalidated (`notifier`).
pub(super) const KEPT_FOR: Duration = Duration::from_secs(3600);
/// Inode numbers are never used again, so one generation does.
pub(super) const GENERATION: Generation = Generation(0);
const FRAGMENT_BYTES: u32 = 4096;
/// What is said of free inodes: there is no bound.
const FREE_NODES: u64 = 1 << 40;

/// Sends an answer of type `T`, or a refusal.
pub(super) trait Respond<T>: Send + 'static {
    fn answer(self, value: T);
    fn refuse(self, errno: Errno);
}

/// Implements [`Respond`] for a reply type of fuser.
macro_rules! respond {
    ($reply:ty, $value:ty, |$it:ident, $answer:pat_param| $send:expr) => {
        impl Respond<$value> for $reply {
            fn answer(self, $answer: $value) {
                let $it = self;
                $send
            }
            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        }
    };
}

respond!(ReplyEmpty, (), |reply, ()| reply.ok());
respond!(ReplyAttr, Shown, |reply, shown| reply.attr(&kept_for(&shown), &file_attr(&shown)));
respond!(ReplyEntry, Shown, |reply, shown| reply.entry(&kept_for(&shown), &file_attr(&shown), GENERATION));
respond!(ReplyEntry, Option<Shown>, |reply, shown| {
    let attr = shown.as_ref().map_or_else(absent, file_attr);
    reply.entry(&shown.as_ref().map_or(KEPT_FOR, kept_for), &attr, GENERATION);
});
respond!(ReplyData, Bytes, |reply, bytes| reply.data(&bytes));
respond!(ReplyData, Vec<u8>, |reply, bytes| reply.data(&bytes));
respond!(ReplyIoctl, Vec<u8>, |reply, bytes| reply.ioctl(0, &bytes));
respond!(ReplyWrite, u32, |reply, count| reply.written(count));
respond!(ReplyLseek, i64, |reply, offset| reply.offset(offset));
respond!(ReplyOpen, Opened, |reply, opened| {
    let handle = FileHandle(opened.handle);
    match opened.passage {
        Some(passage) => {
            // SAFETY: the kernel gave the number, and it is not closed before it was sent.
            let backing = unsafe { reply.wrap_backing(passage.number) };
            reply.opened_passthrough(handle, past_flags(passage), &backing);
            still_open(backing);
        }
        None => reply.opened(handle, open_flags(opened.serve)),
    }
});
respond!(ReplyOpen, OpenedDir, |reply, opened| {
    let keep = if opened.keep_cache { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::empty() };
    reply.opened(FileHandle(opened.handle), FopenFlags::FOPEN_CACHE_DIR | keep);
});
respond!(ReplyCreate, (Shown, Opened), |reply, (shown, opened)| {
    let (handle, attr) = (FileHandle(opened.handle), file_attr(&shown));
    match opened.passage {
        Some(passage) => {
            // SAFETY: as above.
            let backing = unsafe { reply.wrap_backing(passage.number) };
            reply.created_passthrough(&KEPT_FOR, &attr, GENERATION, handle, past_flags(passage), &backing);
            still_open(backing);
        }
        None => reply.created(&KEPT_FOR, &attr, GENERATION, handle, open_flags(opened.serve)),
    }
});
respond!(ReplyStatfs, Space, |reply, space| {
    let blocks = |bytes: u64| bytes / u64::from(FRAGMENT_BYTES);
    let free = blocks(space.free_bytes);
    let nodes = space.node_count + FREE_NODES;
    let name_bytes = NAME_BYTES_MAX as u32;
    reply.statfs(blocks(space.total_bytes), free, free, nodes, FREE_NODES, FRAGMENT_BYTES, name_bytes, FRAGMENT_BYTES);
});

/// A reply that is asked for its size first, and then for as many bytes.
pub(super) struct Sized {
    pub reply: ReplyXattr,
    pub size: u32,
}

respond!(Sized, Vec<u8>, |it, bytes| match u32::try_from(bytes.len()) {
    Ok(size) if it.size == 0 => it.reply.size(size),
    Ok(size) if size <= it.size => it.reply.data(&bytes),
    _ => it.reply.error(Errno::ERANGE),
});

impl Sized {
    fn error(self, errno: Errno) {
        self.reply.error(errno);
    }
}

/// What the kernel is told of a handle that passes this process by. Together with passthrough: reads and writes come here,
/// maps are the backing file's.
fn past_flags(passage: Passage) -> FopenFlags {
    if passage.maps_only { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::empty() }
}

/// Keeps fuser from taking back what is the file system's to take back.
fn still_open(backing: BackingId) {
    backing.into_raw();
}

fn open_flags(serve: Serve) -> FopenFlags {
    match serve {
        Serve::KeepCache => FopenFlags::FOPEN_KEEP_CACHE,
        Serve::FreshCache => FopenFlags::empty(),
        Serve::Direct => FopenFlags::FOPEN_DIRECT_IO,
        Serve::Aside => FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_KEEP_CACHE,
    }
}

fn kept_for(shown: &Shown) -> Duration {
    if shown.is_kept { KEPT_FOR } else { Duration::ZERO }
}

/// An entry of inode 0 tells the kernel to remember that there is none.
fn absent() -> FileAttr {
    let time = Timestamp::default();
    let stat = Stat {
        ino: Ino(0),
        kind: NodeKind::File,
        attrs: Attrs::default(),
        size_bytes: 0,
        allocated_bytes: 0,
        link_count: 0,
    };
    FileAttr { ino: INodeNo(0), ..file_attr(&Shown { stat, atime: time, is_kept: true }) }
}
