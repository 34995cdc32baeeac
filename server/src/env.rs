//! Owns the outside world: clock and randomness. The only caller of the ambient ones.
//!
//! Everything else takes an [`Env`], so that a test can hold time still and replay randomness.

#![allow(clippy::disallowed_methods)]

pub mod disk;

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tarn_proto::node::Timestamp;

/// What time it is.
pub trait Clock: Send + Sync {
    /// Time of day, for people and leases; it may jump.
    fn now(&self) -> Timestamp;
    /// A clock that never goes back, for durations.
    fn instant(&self) -> Instant;
}

/// Unpredictable bytes.
pub trait Rng: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, bytes: &mut [u8]);
}

/// Clock and randomness together; cheap to clone.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl Env {
    /// The real world.
    pub fn real() -> Self {
        Self { clock: Arc::new(SystemClock), rng: Arc::new(OsRng) }
    }

    /// A world made of parts.
    pub fn new(clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self { clock, rng }
    }

    /// Time of day.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Time of day as milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        let now = self.now();
        now.secs.saturating_mul(1_000).saturating_add(i64::from(now.nanos / 1_000_000))
    }

    /// The clock for durations.
    pub fn instant(&self) -> Instant {
        self.clock.instant()
    }

    /// Fresh random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill(&mut bytes);
        bytes
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}

/// The machine's clock.
#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp { secs: since.as_secs() as i64, nanos: since.subsec_nanos() },
            Err(_) => Timestamp::default(),
        }
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// The kernel's randomness.
#[derive(Debug)]
struct OsRng;

impl Rng for OsRng {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the kernel gives random bytes once it has booted");
    }
}
