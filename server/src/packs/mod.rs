//! Owns packs: the objects that hold chunks' stored forms side by side. Knows no database and no chunk ids.
//!
//! A pack is written once, whole, and never changed. Start at [`PackStore`]; `local` and
//! `remote` are its two implementations, held to the same behaviour by `tests.rs`.

mod local;
mod remote;

use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Names a pack: random, made by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(pub [u8; 16]);

impl PackId {
    /// Reads what [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let id: tarn_proto::ids::NodeId = text.parse().ok()?;
        Some(Self(id.0))
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What can go wrong with packs, by what to do next.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// There is no such pack, or it ends before the range: what is stored is damaged.
    #[error("pack {pack} is absent or too short: {detail}")]
    Damaged {
        /// Which.
        pack: PackId,
        /// How.
        detail: String,
    },
    /// The store does not answer, or says no: later.
    #[error("the object store does not serve: {0}")]
    Unavailable(String),
    /// The address of the store means nothing.
    #[error("this is no address of an object store: {0}")]
    BadUrl(String),
}

/// Where packs are.
#[async_trait]
pub trait PackStore: Send + Sync + fmt::Debug {
    /// Stores a pack of these pieces side by side. Durable when it returns.
    async fn put(&self, pack: PackId, pieces: Vec<Bytes>) -> Result<(), PackError>;

    /// Reads a range, all of it.
    async fn read(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, PackError>;

    /// All packs there are and their sizes, in no order.
    async fn list(&self) -> Result<Vec<(PackId, u64)>, PackError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), PackError>;
}

/// Opens the store at an address: `file://DIR`, or `s3://bucket/prefix` with the usual `AWS_…`
/// environment variables.
///
/// # Errors
/// The address means nothing, or the folder cannot be made.
pub async fn open(url: &str) -> Result<Arc<dyn PackStore>, PackError> {
    match crate::config::local_objects_path(url) {
        Some(dir) => Ok(Arc::new(local::LocalPacks::open(dir).await?)),
        None => Ok(Arc::new(remote::RemotePacks::open(url)?)),
    }
}

/// Removes what interrupted writes left in a local folder. Only for the one process that writes there.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn clear_local(dir: &Path) -> std::io::Result<()> {
    local::clear(dir)
}

#[cfg(test)]
mod tests;
