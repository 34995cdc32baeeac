//! Owns the record of what happened: a hash over all of it, and its last lines for people.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Default)]
struct Lines {
    hasher: blake3::Hasher,
    kept: VecDeque<String>,
    keep: usize,
    count: u64,
}

/// The record; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Lines>>);

impl Trace {
    /// A record that keeps its last lines.
    pub fn keeping(keep: usize) -> Self {
        Self(Arc::new(Mutex::new(Lines { keep, ..Lines::default() })))
    }

    pub fn note(&self, at: Duration, who: usize, text: &str) {
        let mut lines = self.0.lock();
        lines.count += 1;
        lines.hasher.update(&at.as_nanos().to_le_bytes());
        lines.hasher.update(&[who as u8]);
        lines.hasher.update(text.as_bytes());
        if lines.keep > 0 {
            if lines.kept.len() >= lines.keep {
                lines.kept.pop_front();
            }
            let line = format!("{:>11.4} {who} {text}", at.as_secs_f64());
            lines.kept.push_back(line);
        }
    }

    /// The hash of everything so far, and how many events that were.
    pub fn hash(&self) -> (String, u64) {
        let lines = self.0.lock();
        (lines.hasher.finalize().to_hex().to_string(), lines.count)
    }

    pub fn tail(&self) -> String {
        self.0.lock().kept.iter().fold(String::new(), |all, line| all + line + "\n")
    }
}
