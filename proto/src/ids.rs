//! Owns the identifiers: 128-bit random ones for things that are made, 256-bit hashes for content.
//!
//! No id is ever parsed for meaning. Random ids come from the caller, which owns randomness.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The error of parsing an id from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is {expected} hexadecimal digits")]
pub struct ParseIdError {
    /// How many digits the id has.
    pub expected: usize,
}

fn hex_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

fn hex_into(text: &str, out: &mut [u8]) -> Result<(), ParseIdError> {
    let error = ParseIdError { expected: out.len() * 2 };
    let digits = text.as_bytes();
    if digits.len() != out.len() * 2 {
        return Err(error);
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16).ok_or(error)?;
        let low = char::from(pair[1]).to_digit(16).ok_or(error)?;
        *byte = (high * 16 + low) as u8;
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Number of bytes.
            pub const LEN: usize = $len;

            /// Takes an id from a slice of exactly [`Self::LEN`] bytes.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex_of(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex_of(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; $len];
                hex_into(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct IdVisitor;
                impl<'de> serde::de::Visitor<'de> for IdVisitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} bytes or their hexadecimal digits", $len)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        $name::from_slice(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(IdVisitor)
                } else {
                    deserializer.deserialize_bytes(IdVisitor)
                }
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::__dev::ComposeSchema for $name {
            fn compose(_: Vec<utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>>) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let length = $len * 2;
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some(format!("^[0-9a-f]{{{length}}}$")))
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

id!(
    /// A person's account.
    UserId, 16
);
id!(
    /// An enrolled device; the key of version vectors.
    DeviceId, 16
);
id!(
    /// A tree that is owned, shared and synchronised as a whole.
    SpaceId, 16
);
id!(
    /// A file, directory, symlink, … : made by the client, globally unique, never changed.
    NodeId, 16
);
id!(
    /// One immutable content of a file node; made by the client with the operation that brings it.
    VersionId, 16
);
id!(
    /// A record of two versions neither of which has seen the other.
    ConflictId, 16
);
id!(
    /// The identity of a journal's history; a restored server opens a new one.
    EpochId, 16
);
id!(
    /// BLAKE3 of a chunk's plaintext (keyed in sealed spaces); also names manifest tree nodes.
    ChunkId, 32
);
id!(
    /// Keyed BLAKE3 of a version's whole plaintext; all that the server compares.
    ContentId, 32
);
id!(
    /// Running hash of a space's journal at one seq.
    JournalHash, 32
);

impl NodeId {
    /// The root directory of a space: the space's own id.
    pub fn root_of(space: SpaceId) -> Self {
        Self(space.0)
    }
}
