//! Owns bearer tokens: making them, and knowing whose one is.
//!
//! A token is 256 random bits; the database holds only its hash, so looking it up by hash compares
//! no secret byte by byte. A verified token is believed for a few seconds without asking again;
//! revoking through this process ends that at once.

use super::{Failure, Identity};
use crate::env::Env;
use crate::limits;
use crate::store::{Database, devices};
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::time::Instant;
use tarn_proto::bytes64;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::DeviceId;

const PREFIX: &str = "tarn1_";
/// Between two notes of when a device was last seen.
const SEEN_INTERVAL_MS: i64 = 5 * 60 * 1_000;

type Hash = [u8; 32];

/// Makes a token and its hash.
pub fn make(env: &Env) -> (String, Hash) {
    let secret: [u8; 32] = env.random();
    let token = format!("{PREFIX}{}", bytes64::encode(&secret));
    let hash = hash(&token);
    (token, hash)
}

fn hash(token: &str) -> Hash {
    *blake3::hash(token.as_bytes()).as_bytes()
}

/// Verified tokens, for a few seconds.
#[derive(Debug)]
pub struct Tokens(Mutex<Cache>);

#[derive(Debug)]
struct Cache {
    known: LruCache<Hash, (Identity, Instant)>,
    /// Counts revocations: what was read before one may not be remembered after it.
    generation: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        let capacity = NonZeroUsize::new(limits::TOKEN_CACHE_COUNT_MAX).unwrap_or(NonZeroUsize::MIN);
        Self(Mutex::new(Cache { known: LruCache::new(capacity), generation: 0 }))
    }
}

impl Tokens {
    /// Whose token this is.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthenticated`] if it is nobody's, or was revoked.
    pub async fn verify(&self, db: &Database, env: &Env, token: &str) -> Result<Identity, Failure> {
        let hash = hash(token);
        let now = env.instant();
        let generation = {
            let mut cache = self.0.lock();
            if let Some((identity, until)) = cache.known.get(&hash)
                && *until > now
            {
                return Ok(*identity);
            }
            cache.generation
        };
        let identity = look_up(db, env, &hash).await?;
        let mut cache = self.0.lock();
        if cache.generation == generation {
            cache.known.put(hash, (identity, now + limits::TOKEN_CACHE_TIME_MAX));
        }
        Ok(identity)
    }

    /// Forgets what is known of a device's tokens. Call it after the database knows.
    pub fn forget(&self, device: DeviceId) {
        let mut cache = self.0.lock();
        cache.generation += 1;
        let stale: Vec<Hash> =
            cache.known.iter().filter(|(_, (identity, _))| identity.device == device).map(|(hash, _)| *hash).collect();
        for hash in stale {
            cache.known.pop(&hash);
        }
    }
}

async fn look_up(db: &Database, env: &Env, hash: &Hash) -> Result<Identity, Failure> {
    let found = devices::by_token(&mut *db.reader().await?, hash).await?;
    let device =
        found.ok_or_else(|| Failure::refused(ErrorCode::Unauthenticated, "the token is unknown or revoked"))?;
    let now_ms = env.now_ms();
    if device.last_seen_ms.is_none_or(|seen| seen + SEEN_INTERVAL_MS < now_ms) {
        let mut tx = db.begin().await?;
        devices::touch(&mut tx, device.device, now_ms).await?;
        tx.commit().await?;
    }
    Ok(Identity { user: device.user, device: device.device })
}
