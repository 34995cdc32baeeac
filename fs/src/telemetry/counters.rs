//! Owns the names of the counters that `tarn status` shows. Those who move bytes count; this is what they are called.

use serde::{Deserialize, Serialize};

/// What went over the network since the mount, under the names that `tarn status --json` gives it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterValues {
    /// Chunks of which frames arrived, once for each answer that held some.
    pub chunks_fetched: u64,
    /// Frames that arrived.
    pub frames_fetched: u64,
    /// Bytes of chunk headers and frames that arrived, in stored form.
    pub bytes_fetched: u64,
    /// Bytes that were copied from other local contents instead of being fetched.
    #[serde(default)]
    pub bytes_copied: u64,
    /// Chunks and manifest nodes whose upload was acknowledged.
    pub chunks_sent: u64,
    /// Bytes of all request bodies.
    pub bytes_sent: u64,
}

/// Bytes per second, lately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Received.
    pub fetched_bytes_per_s: u64,
    /// Sent.
    pub sent_bytes_per_s: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_carry_the_names_of_the_contract() {
        let json = serde_json::to_value(CounterValues { frames_fetched: 3, ..Default::default() }).unwrap();
        let expected = serde_json::json!({
            "chunks_fetched": 0, "frames_fetched": 3, "bytes_fetched": 0, "bytes_copied": 0, "chunks_sent": 0, "bytes_sent": 0
        });
        assert_eq!(json, expected);
    }
}
