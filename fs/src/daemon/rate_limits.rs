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
        let kept = disk_file::read(env, &file).ok().flatten().and_then(|json| serde_json::from_slice(&json).ok());
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
        let kept = disk_file::replace(&self.env, &self.file, &serde_json::to_vec_pretty(&after)?);
        kept.with_context(|| format!("{} cannot be written", self.file.display()))?;
        self.enforce(after);
        Ok(after)
    }
}
