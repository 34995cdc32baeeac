//! Owns the one table of errno numbers. No `_` arm: a new failure must be given its number here.

use crate::tree::TreeError;
use crate::vfs::VfsError;
use fuser::Errno;
use std::io;

/// The number that a program sees for a failure.
pub fn errno(error: &VfsError) -> Errno {
    match error {
        VfsError::Tree(error) => of_tree(error),
        VfsError::BadHandle => Errno::EBADF,
        VfsError::FileTooLarge => Errno::EFBIG,
        VfsError::BeyondEnd => Errno::ENXIO,
        VfsError::NotADevice => Errno::ENOTTY,
        VfsError::Unreachable => Errno::ENETUNREACH,
        VfsError::TimedOut | VfsError::Unreadable(_) | VfsError::Defect => Errno::EIO,
        VfsError::Interrupted => Errno::EINTR,
    }
}

fn of_tree(error: &TreeError) -> Errno {
    match error {
        TreeError::NotFound => Errno::ENOENT,
        TreeError::Exists => Errno::EEXIST,
        TreeError::NotADirectory => Errno::ENOTDIR,
        TreeError::IsADirectory => Errno::EISDIR,
        TreeError::NotEmpty => Errno::ENOTEMPTY,
        TreeError::Invalid => Errno::EINVAL,
        TreeError::NameTooLong => Errno::ENAMETOOLONG,
        TreeError::NotPermitted => Errno::EPERM,
        TreeError::NotSupported => Errno::EOPNOTSUPP,
        TreeError::NoAttribute => Errno::NO_XATTR,
        TreeError::TooLarge => Errno::E2BIG,
        TreeError::FileTooLarge => Errno::EFBIG,
        TreeError::ReadOnly => Errno::EROFS,
        TreeError::Unlisted(_) => Errno::ENETUNREACH,
        TreeError::Disk(error) => of_disk(error),
        TreeError::Database(_) => Errno::EIO,
    }
}

/// A full disk is the program's to know; all else that befalls the local disk is an I/O error to it.
fn of_disk(error: &io::Error) -> Errno {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => Errno::ENOSPC,
        Some(libc::EFBIG) => Errno::EFBIG,
        Some(libc::ENOMEM) => Errno::ENOMEM,
        Some(_) | None if error.kind() == io::ErrorKind::StorageFull => Errno::ENOSPC,
        Some(_) | None => Errno::EIO,
    }
}
