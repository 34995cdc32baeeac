//! Bytes of files in memory, some of which may be missing, and the way to those.

use crate::content::Read;
use crate::meta::ranges::RangeSet;
use crate::tree::TreeError;
use crate::vfs::ports::{BringError, FileContent};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::Arc;

type Result<T> = std::result::Result<T, TreeError>;

#[derive(Debug, Default)]
pub(super) struct Bytes {
    pub bytes: Vec<u8>,
    pub missing: RangeSet,
}

/// Bytes of a file, some of which may be missing.
#[derive(Debug, Default)]
pub(crate) struct FakeContent(pub(super) Mutex<Bytes>, pub(super) Arc<FakeNetwork>);

/// What the bringer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// Brings everything at once.
    Up,
    /// Is known to be down.
    Down,
    /// Never answers.
    Silent,
}

/// The way to what is not here.
#[derive(Debug)]
pub(crate) struct FakeNetwork {
    pub state: Mutex<Network>,
    pub asked_soon: Mutex<Vec<Range<u64>>>,
    /// Who ever waited for it in silence.
    pub waited_count: Mutex<u32>,
}

impl Default for FakeNetwork {
    fn default() -> Self {
        Self { state: Mutex::new(Network::Up), asked_soon: Mutex::default(), waited_count: Mutex::default() }
    }
}

#[async_trait]
impl FileContent for FakeContent {
    fn size_bytes(&self) -> u64 {
        self.0.lock().bytes.len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> Result<Read> {
        let content = self.0.lock();
        let start = (offset as usize).min(content.bytes.len());
        let end = (start + len).min(content.bytes.len());
        let missing = content.missing.within(start as u64..end as u64);
        let bytes = || content.bytes[start..end].to_vec().into();
        Ok(if missing.is_empty() { Read::Bytes(bytes()) } else { Read::Missing(missing) })
    }

    fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.0.lock().missing.within(range)
    }

    fn present_bytes(&self) -> u64 {
        let content = self.0.lock();
        content.bytes.len() as u64 - content.missing.len_bytes()
    }

    async fn need(&self, ranges: &[Range<u64>], _: bool) -> std::result::Result<(), BringError> {
        self.1.reach().await?;
        ranges.iter().for_each(|range| self.0.lock().missing.remove(range.clone()));
        Ok(())
    }

    fn soon(&self, ranges: Vec<Range<u64>>) {
        self.1.asked_soon.lock().extend(ranges);
    }
}

impl FakeNetwork {
    pub(super) async fn reach(&self) -> std::result::Result<(), BringError> {
        let state = *self.state.lock();
        match state {
            Network::Up => Ok(()),
            Network::Down => Err(BringError::Unreachable),
            Network::Silent => {
                *self.waited_count.lock() += 1;
                std::future::pending().await
            }
        }
    }
}
