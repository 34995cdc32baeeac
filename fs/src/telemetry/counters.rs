//! Owns the counters that `tarn status` shows: what went over the network for contents since the mount.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of one daemon since it started. Shared by all who count; never goes back.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[$doc])* pub $name: AtomicU64,)* }

        /// The counts at one moment, under the names that `tarn status --json` gives them.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct CounterValues { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            /// The counts now.
            pub fn values(&self) -> CounterValues {
                CounterValues { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Chunks of which at least one frame was fetched and verified; once for each flight.
    chunks_fetched,
    /// Frames fetched and verified.
    frames_fetched,
    /// Stored bytes of chunk headers and frames received.
    bytes_fetched,
    /// Chunks and manifest nodes whose upload was acknowledged.
    chunks_sent,
    /// Stored bytes of those.
    bytes_sent,
}

impl Counters {
    /// Adds `count` to one of the counters.
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_carry_the_names_of_the_contract() {
        let counters = Counters::default();
        Counters::add(&counters.frames_fetched, 3);
        let json = serde_json::to_value(counters.values()).unwrap();
        let expected = serde_json::json!({
            "chunks_fetched": 0, "frames_fetched": 3, "bytes_fetched": 0, "chunks_sent": 0, "bytes_sent": 0
        });
        assert_eq!(json, expected);
    }
}
