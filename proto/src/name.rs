//! Owns what a name is on the wire: an opaque byte string. The server never composes or parses one.

use crate::{bytes64, limits};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// The name of an entry: 1 to [`limits::NAME_BYTES_MAX`] bytes, none of them `/` or NUL, not `.` or `..`.
/// Compared and ordered as bytes; base64url in JSON. A clone is the same bytes: names are in many places at once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

/// Why bytes are not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes at all.
    #[error("a name has at least one byte")]
    Empty,
    /// More bytes than a name may have.
    #[error("a name has at most {} bytes", limits::NAME_BYTES_MAX)]
    TooLong,
    /// `/` or NUL inside.
    #[error("a name holds neither '/' nor NUL")]
    BadByte,
    /// `.` or `..`.
    #[error("'.' and '..' are not names")]
    Dots,
}

impl Name {
    /// Checks bytes and makes them a name.
    ///
    /// # Errors
    /// Says which rule the bytes break.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, NameError> {
        let bytes = bytes.into();
        match bytes.as_slice() {
            [] => Err(NameError::Empty),
            b"." | b".." => Err(NameError::Dots),
            b if b.len() > limits::NAME_BYTES_MAX => Err(NameError::TooLong),
            b if b.iter().any(|&c| c == b'/' || c == 0) => Err(NameError::BadByte),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bytes64::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(bytes64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::__dev::ComposeSchema for Name {
    fn compose(
        _: Vec<utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>>,
    ) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("a name's bytes as base64url without padding"))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Name {}
