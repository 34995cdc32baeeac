//! Owns why bytes cannot be brought.

use std::sync::Arc;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::ChunkId;

/// Why bytes cannot be brought. Cloned to all who wait for the same frame.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HydrateError {
    /// The device is known to be offline: nothing was tried. Try when it is online.
    #[error("offline")]
    Offline,
    /// The server did not answer in time. Try again.
    #[error("the server cannot be reached")]
    Unreachable,
    /// The server refused for good.
    #[error("the server refused ({code:?}): {detail}")]
    Refused {
        /// Stable code.
        code: ErrorCode,
        /// For people.
        detail: String,
    },
    /// What the server sent is not the chunk, twice. Report.
    #[error("chunk {chunk} is damaged: {detail}")]
    Damaged {
        /// Which chunk.
        chunk: ChunkId,
        /// What is wrong with it.
        detail: String,
    },
    /// The version's manifest cannot be. Report.
    #[error("the manifest of a version is damaged: {0}")]
    Manifest(String),
    /// The content changes faster than its bytes can be fetched, or shows nothing to fetch.
    #[error("the content has no version to fetch from")]
    NoVersion,
    /// The local disk or database failed.
    #[error("the local disk: {0}")]
    Local(Arc<std::io::Error>),
}

impl HydrateError {
    /// Whether the same request may succeed later without anything else being done.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Offline | Self::Unreachable => true,
            Self::Refused { .. } | Self::Damaged { .. } | Self::Manifest(_) | Self::NoVersion | Self::Local(_) => false,
        }
    }
}

impl From<std::io::Error> for HydrateError {
    fn from(e: std::io::Error) -> Self {
        Self::Local(Arc::new(e))
    }
}
