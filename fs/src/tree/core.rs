//! Owns what every part of the tree needs beside its state: journal, database readers, contents, the
//! outside world. The lock order of the client is: a full pull that is to be shown, tree state, then a
//! content's own lock, then the journal's. Nothing is called back from below while one of them is held.

use super::error::TreeError;
use crate::content::Contents;
use crate::env::Env;
use crate::journal::{Journal, JournalError};
use crate::meta::rows::ContentNo;
use crate::meta::{MetaError, Reader, Readers};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tarn_proto::ids::{DeviceId, SpaceId};

/// Who this device is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The device's id.
    pub device: DeviceId,
    /// What people call it; stands in conflict names.
    pub device_name: String,
    /// The home space.
    pub space: SpaceId,
}

/// What the tree stands on.
#[derive(Debug)]
pub(super) struct Core {
    pub env: Env,
    pub journal: Arc<Journal>,
    pub readers: Readers,
    pub contents: Arc<Contents>,
    /// The highest counter whose answer was applied, as far as a power cut cannot take that back.
    pub answered: AtomicU64,
    /// How many rows about conflicts have come.
    pub conflict_news: AtomicU64,
    /// The highest content number of earlier runs.
    pub last_content: ContentNo,
}

impl Core {
    pub fn reader(&self) -> Result<Reader, TreeError> {
        Ok(self.readers.get()?)
    }
}

impl From<JournalError> for TreeError {
    fn from(error: JournalError) -> Self {
        let kind = if error.is_full() { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        Self::Disk(io::Error::new(kind, error))
    }
}

impl From<MetaError> for TreeError {
    fn from(error: MetaError) -> Self {
        Self::Database(error.to_string())
    }
}
