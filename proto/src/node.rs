//! Owns what a node is: its kind, its POSIX attributes, its content.

use crate::bytes64;
use crate::ids::{ContentId, DeviceId, SpaceId, VersionId};
use crate::manifest::Manifest;
use crate::version::VersionVector;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A point in time: whole seconds since 1970 (negative before) and nanoseconds after that second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub secs: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// What a node is. Fixed when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link and its target, any bytes but NUL.
    Symlink {
        /// Where it points.
        #[serde(with = "bytes64")]
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device and its `dev_t`.
    CharDevice {
        /// Device number as `stat` reports it.
        rdev: u64,
    },
    /// A block device and its `dev_t`.
    BlockDevice {
        /// Device number as `stat` reports it.
        rdev: u64,
    },
    /// Another space, attached here. Only home spaces hold these.
    Mount {
        /// The attached space.
        space: SpaceId,
    },
}

impl NodeKind {
    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self, Self::Dir)
    }

    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File)
    }
}

/// One xattr's value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteString(#[serde(with = "bytes64")] pub Vec<u8>);

#[cfg(feature = "openapi")]
impl utoipa::__dev::ComposeSchema for ByteString {
    fn compose(
        _: Vec<utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>>,
    ) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        <String as utoipa::PartialSchema>::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for ByteString {}

/// The POSIX attributes of a node. Size belongs to the content, the link count to the entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attrs {
    /// Permission bits, setuid, setgid, sticky: `07777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of anything.
    pub ctime: Timestamp,
    /// Birth.
    pub btime: Timestamp,
    /// `chattr` flags.
    #[serde(default)]
    pub flags: u32,
    /// Extended attributes by name (UTF-8: Linux's own are).
    #[serde(default)]
    pub xattrs: BTreeMap<String, ByteString>,
}

/// A change of attributes, field by field; `None` leaves a field alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct AttrChange {
    /// New permission bits.
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New mtime.
    pub mtime: Option<Timestamp>,
    /// New ctime.
    pub ctime: Option<Timestamp>,
    /// New birth time.
    pub btime: Option<Timestamp>,
    /// New `chattr` flags.
    pub flags: Option<u32>,
    /// Extended attributes to set, or with `None` to remove.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub xattrs: BTreeMap<String, Option<ByteString>>,
}

impl AttrChange {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Applies the change to `attrs`.
    pub fn apply_to(&self, attrs: &mut Attrs) {
        fn set<T: Copy>(field: &mut T, value: Option<T>) {
            *field = value.unwrap_or(*field);
        }
        set(&mut attrs.mode, self.mode);
        set(&mut attrs.uid, self.uid);
        set(&mut attrs.gid, self.gid);
        set(&mut attrs.mtime, self.mtime);
        set(&mut attrs.ctime, self.ctime);
        set(&mut attrs.btime, self.btime);
        set(&mut attrs.flags, self.flags);
        for (name, value) in &self.xattrs {
            match value {
                Some(value) => attrs.xattrs.insert(name.clone(), value.clone()),
                None => attrs.xattrs.remove(name),
            };
        }
    }

    /// Joins a later change into this one: where both set a field, the later wins.
    pub fn merge(&mut self, later: &Self) {
        fn set<T: Copy>(field: &mut Option<T>, value: Option<T>) {
            *field = value.or(*field);
        }
        set(&mut self.mode, later.mode);
        set(&mut self.uid, later.uid);
        set(&mut self.gid, later.gid);
        set(&mut self.mtime, later.mtime);
        set(&mut self.ctime, later.ctime);
        set(&mut self.btime, later.btime);
        set(&mut self.flags, later.flags);
        for (name, value) in &later.xattrs {
            self.xattrs.insert(name.clone(), value.clone());
        }
    }
}

/// A content as an operation brings it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Content {
    /// Names this content for ever.
    pub version: VersionId,
    /// Plaintext size in bytes; the manifest's lengths add up to it.
    pub size: u64,
    /// Keyed hash of the whole plaintext.
    pub content_id: ContentId,
    /// Where the bytes are.
    pub manifest: Manifest,
}

/// A content without the way to its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContentSummary {
    /// Plaintext size in bytes.
    pub size: u64,
    /// Keyed hash of the whole plaintext.
    pub content_id: ContentId,
}

/// A content as the server holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileVersion {
    /// The content itself.
    pub content: Content,
    /// What it has seen.
    pub vector: VersionVector,
    /// Which device made it.
    pub author: DeviceId,
}

/// The present state of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeState {
    /// What it is.
    pub kind: NodeKind,
    /// Its attributes.
    pub attrs: Attrs,
    /// Its content; `Some` exactly for regular files.
    pub file: Option<FileVersion>,
}
