//! Owns what is checked of an operation by itself, whatever the state.

use super::{Rule, refuse};
use std::collections::BTreeMap;
use tarn_proto::error::ErrorCode;
use tarn_proto::limits;
use tarn_proto::node::{AttrChange, Attrs, ByteString, Content, NodeKind, Timestamp};
use tarn_proto::version::VersionVector;

/// Longest name of an xattr (Linux's own bound).
const XATTR_NAME_BYTES_MAX: usize = 255;
/// All bits a mode may have.
const MODE_MASK: u32 = 0o7777;

/// Checks a content: its manifest adds up and its size is possible.
///
/// # Errors
/// Says what is wrong.
pub fn check_content(content: &Content) -> Result<(), &'static str> {
    if content.size > limits::FILE_BYTES_MAX {
        return Err("the file is larger than any may be");
    }
    match content.manifest.check(content.size) {
        Ok(()) => Ok(()),
        Err(_) => Err("the manifest is malformed, or its lengths do not add up to the size"),
    }
}

pub(super) fn content(content: &Content) -> Rule<()> {
    check_content(content).or_else(|why| refuse(ErrorCode::BadManifest, why))
}

pub(super) fn vector(vector: &VersionVector) -> Rule<()> {
    if vector.device_count() > limits::VECTOR_DEVICES_MAX {
        return refuse(ErrorCode::BadRequest, "the version vector has too many devices");
    }
    Ok(())
}

pub(super) fn kind(kind: &NodeKind, content: Option<&Content>) -> Rule<()> {
    if kind.is_file() != content.is_some() {
        return refuse(ErrorCode::WrongKind, "exactly regular files have a content");
    }
    match kind {
        NodeKind::Mount { .. } => refuse(ErrorCode::Forbidden, "spaces cannot be attached yet"),
        NodeKind::Symlink { target } if target.is_empty() || target.len() > limits::SYMLINK_BYTES_MAX => {
            refuse(ErrorCode::BadAttributes, "a symlink's target has 1 to 4,095 bytes")
        }
        NodeKind::Symlink { target } if target.contains(&0) => {
            refuse(ErrorCode::BadAttributes, "a symlink's target holds no NUL")
        }
        _ => Ok(()),
    }
}

pub(super) fn attrs(attrs: &Attrs) -> Rule<()> {
    if attrs.mode & !MODE_MASK != 0 {
        return refuse(ErrorCode::BadAttributes, "the mode has bits beyond 07777");
    }
    for time in [attrs.mtime, attrs.ctime, attrs.btime] {
        timestamp(time)?;
    }
    xattrs(&attrs.xattrs)
}

pub(super) fn attr_change(change: &AttrChange) -> Rule<()> {
    if change.mode.is_some_and(|mode| mode & !MODE_MASK != 0) {
        return refuse(ErrorCode::BadAttributes, "the mode has bits beyond 07777");
    }
    for time in [change.mtime, change.ctime, change.btime].into_iter().flatten() {
        timestamp(time)?;
    }
    change.xattrs.keys().try_for_each(|name| xattr_name(name))
}

fn timestamp(time: Timestamp) -> Rule<()> {
    if time.nanos > 999_999_999 {
        return refuse(ErrorCode::BadAttributes, "a time's nanoseconds are below a second");
    }
    Ok(())
}

fn xattr_name(name: &str) -> Rule<()> {
    if name.is_empty() || name.len() > XATTR_NAME_BYTES_MAX || name.contains('\0') {
        return refuse(ErrorCode::BadAttributes, "an extended attribute's name has 1 to 255 bytes and no NUL");
    }
    Ok(())
}

fn xattrs(xattrs: &BTreeMap<String, ByteString>) -> Rule<()> {
    let mut total = 0usize;
    for (name, value) in xattrs {
        xattr_name(name)?;
        total = total.saturating_add(name.len()).saturating_add(value.0.len());
    }
    if total > limits::XATTRS_BYTES_MAX {
        return refuse(ErrorCode::BadAttributes, "the extended attributes are too large together");
    }
    Ok(())
}
