//! Owns what the chunk calls do: `missing`, uploads, fetches, the plaintext of whole files.
//!
//! All ordinary spaces are one dedup domain. Start at [`Chunks`].

mod arriving;
mod cache;
mod check;
mod content;
mod fetch;
mod plan;
mod putlog;
mod upload;

pub use check::{Report, check};
pub use content::ByteStream;
pub use putlog::PutLog;

use super::{Failure, Identity, spaces};
use crate::env::Env;
use crate::limits;
use crate::packs::PackStore;
use crate::store::Database;
use crate::store::chunks::{self, ORDINARY};
use arriving::Arriving;
use cache::Cache;
use std::collections::HashSet;
use std::sync::Arc;
use tarn_proto::api::MissingResponse;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, SpaceId, UserId};
use tarn_proto::limits::{CHUNKS_PER_CALL_MAX, LEASE_HOURS};
use tokio::sync::Semaphore;

const LEASE_MS: i64 = LEASE_HOURS as i64 * 60 * 60 * 1_000;

/// Chunks: their index, their bytes, and what is remembered of both.
#[derive(Debug, Clone)]
pub struct Chunks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Database,
    env: Env,
    packs: Arc<dyn PackStore>,
    cache: Cache,
    uploads: Arc<Semaphore>,
    arriving: Arc<Arriving>,
    put_log: Option<PutLog>,
}

impl Chunks {
    /// Joins the index and the packs.
    pub fn new(db: Database, env: Env, packs: Arc<dyn PackStore>, put_log: Option<PutLog>) -> Self {
        let uploads = Arc::new(Semaphore::new(limits::UPLOADS_AT_ONCE_MAX));
        let arriving = Arc::new(Arriving::default());
        Self(Arc::new(Inner { db, env, packs, cache: Cache::default(), uploads, arriving, put_log }))
    }

    /// Checks that a space is one of the caller's; believed for a few seconds.
    ///
    /// # Errors
    /// It is not, or the database fails.
    pub async fn own(&self, who: Identity, space: SpaceId) -> Result<(), Failure> {
        let now = self.0.env.instant();
        if !self.0.cache.owns(who.user, space, now) {
            spaces::own(&mut *self.0.db.reader().await?, who, space).await?;
            self.0.cache.put_owner(who.user, space, now);
        }
        Ok(())
    }

    /// Which of these chunks must be sent. Lengthens the lease of the others.
    ///
    /// # Errors
    /// Too many ids, or the database fails.
    pub async fn missing(&self, who: Identity, ids: Vec<ChunkId>) -> Result<MissingResponse, Failure> {
        if ids.len() > CHUNKS_PER_CALL_MAX {
            return Err(Failure::refused(ErrorCode::TooLarge, format!("at most {CHUNKS_PER_CALL_MAX} ids")));
        }
        self.0.arriving.settled(who.user, &ids).await;
        let now_ms = self.0.env.now_ms();
        let reached = chunks::reached(&mut *self.0.db.reader().await?, who.user, ORDINARY, &ids).await?;
        let ending: Vec<ChunkId> =
            reached.iter().filter(|(_, lease)| **lease < now_ms + LEASE_MS / 2).map(|(id, _)| *id).collect();
        if !ending.is_empty() {
            self.lengthen(who.user, ending, now_ms + LEASE_MS).await?;
        }
        let mut seen = HashSet::new();
        let missing = ids.into_iter().filter(|id| !reached.contains_key(id) && seen.insert(*id)).collect();
        Ok(MissingResponse { missing })
    }

    async fn lengthen(&self, user: UserId, mut ids: Vec<ChunkId>, lease_ms: i64) -> Result<(), Failure> {
        ids.sort_unstable();
        let db = &self.0.db;
        db.retry(|| async {
            let mut tx = db.begin().await?;
            chunks::record_reach(&mut tx, user, ORDINARY, &ids, lease_ms).await?;
            tx.commit().await
        })
        .await?;
        Ok(())
    }

    /// Whether the object store answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), Failure> {
        Ok(self.0.packs.ping().await?)
    }
}

#[cfg(test)]
mod tests;
