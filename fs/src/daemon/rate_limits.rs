//! Owns the limits of how fast content goes up and comes down, over restarts of the daemon too.

use super::{Home, disk_file};
use crate::control::messages::{RateChange, RateLimits};
use crate::env::Env;
use crate::remote::{RATE_MIN_BYTES, Rates};
use anyhow::{Context, Result};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// The limits of one mount.
#[derive(Debug)]
pub(super) struct KeptLimits {
    env: Env,
    file: PathBuf,
    rates: Arc<Rates>,
    /// One change at a time.
    changing: Mutex<()>,
}

impl KeptLimits {
    /// The limits that were kept, in force from now on.
    pub fn load(env: &Env, home: &Home, rates: Arc<Rates>) -> Self {
        let file = home.limits_file();
        let kept = disk_file::read_json(env, &file).unwrap_or_else(|error| {
            let file = file.display();
            tracing::warn!(%error, %file, "the limits that were kept cannot be read: there are none until `tarn limit` sets them");
            None
        });
        let limits = Self { env: env.clone(), file, rates, changing: Mutex::default() };
        limits.enforce(kept.unwrap_or_default());
        limits
    }

    fn enforce(&self, limits: RateLimits) {
        self.rates.up.set(limits.up_bytes_per_s);
        self.rates.down.set(limits.down_bytes_per_s);
    }

    /// What is in force.
    pub fn get(&self) -> RateLimits {
        let (up_bytes_per_s, down_bytes_per_s) = (self.rates.up.bytes_per_s(), self.rates.down.bytes_per_s());
        RateLimits { up_bytes_per_s, down_bytes_per_s }
    }

    /// Changes them, and keeps them.
    ///
    /// # Errors
    /// For one that is too low, or if they cannot be kept: then nothing is changed.
    pub fn change(&self, up: RateChange, down: RateChange) -> Result<RateLimits> {
        let _turn = self.changing.lock();
        let before = self.get();
        let (up_bytes_per_s, down_bytes_per_s) = (up.of(before.up_bytes_per_s), down.of(before.down_bytes_per_s));
        let after = RateLimits { up_bytes_per_s, down_bytes_per_s };
        if after == before {
            return Ok(after);
        }
        if [up_bytes_per_s, down_bytes_per_s].into_iter().flatten().any(|rate| rate < RATE_MIN_BYTES) {
            anyhow::bail!(
                "a limit is at least {} KiB a second: `tarn limit --off` takes it away",
                RATE_MIN_BYTES >> 10
            );
        }
        let kept = disk_file::replace_json(&self.env, &self.file, &after);
        kept.with_context(|| format!("{} cannot be written", self.file.display()))?;
        self.enforce(after);
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_that_cannot_be_read_are_none_until_new_ones_are_set() {
        let dir = tempfile::tempdir().unwrap();
        let (env, home) = (Env::real(), Home::at(dir.path()));
        std::fs::write(home.limits_file(), b"{\"up_bytes_per_s\": ").unwrap();
        let limits = KeptLimits::load(&env, &home, Arc::default());
        assert_eq!(limits.get(), RateLimits::default());
        let set = limits.change(RateChange::BytesPerS(1 << 20), RateChange::Keep).unwrap();
        assert_eq!((set.up_bytes_per_s, set.down_bytes_per_s), (Some(1 << 20), None));
        assert_eq!(KeptLimits::load(&env, &home, Arc::default()).get(), set);
    }
}
