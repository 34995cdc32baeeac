//! Owns what was fetched, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start of the process.
#[derive(Debug, Default)]
pub struct Counters {
    chunks: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    calls: AtomicU64,
    damaged: AtomicU64,
    copied: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CounterValues {
    /// Chunks of which frames arrived, once for each answer that held some.
    pub chunks_fetched: u64,
    /// Frames that arrived.
    pub frames_fetched: u64,
    /// Bytes of headers and frames in stored form.
    pub bytes_fetched: u64,
    /// Calls to the server.
    pub calls: u64,
    /// Answers that were refused because they are not what was asked for.
    pub damaged: u64,
    /// Bytes that were copied from other local contents instead of being fetched.
    pub bytes_copied: u64,
}

impl Counters {
    pub(super) fn arrived(&self, frames: u64, bytes: u64) {
        self.chunks.fetch_add(1, Ordering::Relaxed);
        self.frames.fetch_add(frames, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn damaged(&self) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn copied(&self, bytes: u64) {
        self.copied.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn values(&self) -> CounterValues {
        CounterValues {
            chunks_fetched: self.chunks.load(Ordering::Relaxed),
            frames_fetched: self.frames.load(Ordering::Relaxed),
            bytes_fetched: self.bytes.load(Ordering::Relaxed),
            calls: self.calls.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
            bytes_copied: self.copied.load(Ordering::Relaxed),
        }
    }
}
