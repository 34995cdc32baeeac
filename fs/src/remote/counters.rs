//! Owns the counts of what went over the network, for status and tests. Decides nothing.

use std::sync::atomic::{AtomicU64, Ordering};

/// What went over the network since the start, counted as it goes.
#[derive(Debug, Default)]
pub struct TransferCounters {
    requests: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    chunks_sent: AtomicU64,
    frames_received: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Requests made.
    pub requests: u64,
    /// Bytes of bodies and notices sent.
    pub bytes_sent: u64,
    /// Bytes of bodies and notices received.
    pub bytes_received: u64,
    /// Chunks and manifest nodes sent in uploads that were answered.
    pub chunks_sent: u64,
    /// Frames received.
    pub frames_received: u64,
}

impl TransferCounters {
    /// Counts a request.
    pub fn add_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes sent.
    pub fn add_sent(&self, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes received.
    pub fn add_received(&self, bytes: usize) {
        self.bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts chunks whose upload was answered.
    pub fn add_chunks_sent(&self, count: usize) {
        self.chunks_sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Counts frames received.
    pub fn add_frames_received(&self, count: u32) {
        self.frames_received.fetch_add(u64::from(count), Ordering::Relaxed);
    }

    /// The counts now.
    pub fn get(&self) -> Transferred {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Transferred {
            requests: load(&self.requests),
            bytes_sent: load(&self.bytes_sent),
            bytes_received: load(&self.bytes_received),
            chunks_sent: load(&self.chunks_sent),
            frames_received: load(&self.frames_received),
        }
    }
}
