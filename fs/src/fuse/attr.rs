//! Owns how attributes and times go to the kernel and come from it.

use crate::tree::NodeType;
use crate::vfs::{NewTime, Shown};
use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tarn_proto::node::{NodeKind, Timestamp};

const BLOCK_BYTES: u32 = 4096;
/// What `st_blocks` counts in.
const SECTOR_BYTES: u64 = 512;

pub(super) fn file_attr(shown: &Shown) -> FileAttr {
    let (stat, attrs) = (&shown.stat, &shown.stat.attrs);
    FileAttr {
        ino: INodeNo(stat.ino.0),
        size: stat.size_bytes,
        blocks: stat.allocated_bytes.div_ceil(SECTOR_BYTES),
        atime: to_system(shown.atime),
        mtime: to_system(attrs.mtime),
        ctime: to_system(attrs.ctime),
        crtime: to_system(attrs.btime),
        kind: file_type(NodeType::from(&stat.kind)),
        perm: (attrs.mode & 0o7777) as u16,
        nlink: stat.link_count,
        uid: attrs.uid,
        gid: attrs.gid,
        rdev: rdev(&stat.kind),
        blksize: BLOCK_BYTES,
        // Not chattr's: the kernel has other meanings for these bits here.
        flags: 0,
    }
}

pub(super) fn file_type(node_type: NodeType) -> FileType {
    match node_type {
        NodeType::File => FileType::RegularFile,
        NodeType::Dir => FileType::Directory,
        NodeType::Symlink => FileType::Symlink,
        NodeType::Fifo => FileType::NamedPipe,
        NodeType::Socket => FileType::Socket,
        NodeType::CharDevice => FileType::CharDevice,
        NodeType::BlockDevice => FileType::BlockDevice,
    }
}

/// The kernel's 32-bit number is the low half of user space's.
fn rdev(kind: &NodeKind) -> u32 {
    match kind {
        NodeKind::CharDevice { rdev } | NodeKind::BlockDevice { rdev } => *rdev as u32,
        _ => 0,
    }
}

fn to_system(time: Timestamp) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(time.nanos));
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let second = if time.secs < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    second.and_then(|second| second.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

/// A time that a program sets. fuser decodes a time (s, n) before 1970 as `EPOCH - (|s| + n)`; the kernel means
/// `EPOCH - |s| + n`.
pub(super) fn new_time(time: TimeOrNow) -> NewTime {
    let TimeOrNow::SpecificTime(time) = time else { return NewTime::Now };
    let (sign, distance) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (1, after),
        Err(before) => (-1, before.duration()),
    };
    let secs = i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
    NewTime::At(Timestamp { secs: sign * secs, nanos: distance.subsec_nanos() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_come_in_as_the_kernel_means_them() {
        // utimensat with (-2, 300 ms) is 1.7 s before 1970; fuser makes 2.3 s before of it.
        let from_fuser = UNIX_EPOCH - Duration::new(2, 300_000_000);
        let time = Timestamp { secs: -2, nanos: 300_000_000 };
        assert_eq!(new_time(TimeOrNow::SpecificTime(from_fuser)), NewTime::At(time));
        assert_eq!(to_system(time), UNIX_EPOCH - Duration::new(1, 700_000_000));
    }

    #[test]
    fn times_after_1970_come_in_and_go_out_unchanged() {
        let time = Timestamp { secs: 1_700_000_000, nanos: 999_999_999 };
        assert_eq!(new_time(TimeOrNow::SpecificTime(to_system(time))), NewTime::At(time));
    }

    #[test]
    fn a_time_beyond_what_the_system_can_say_does_not_panic() {
        to_system(Timestamp { secs: i64::MIN, nanos: 1 });
        to_system(Timestamp { secs: i64::MAX, nanos: 999_999_999 });
    }
}
