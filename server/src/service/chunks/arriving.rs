//! Owns which chunks are arriving right now, from their last byte until they are stored: who asks what is missing meanwhile waits for the outcome and is not told
//! to send them too. A client that was killed and started again asks just then.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::ids::{ChunkId, UserId};
use tokio::sync::Notify;

/// Storing that takes longer is not waited for: sending twice is no harm, only a waste.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Chunks that are arriving, with how often.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    counts: Mutex<HashMap<(UserId, ChunkId), u32>>,
    ended: Notify,
}

/// The chunks of one upload, as long as this lives.
#[derive(Debug)]
pub(super) struct Arrival {
    all: Arc<Arriving>,
    user: UserId,
    ids: Vec<ChunkId>,
}

impl Arriving {
    /// An upload begins.
    pub(super) fn begin(self: &Arc<Self>, user: UserId) -> Arrival {
        Arrival { all: Arc::clone(self), user, ids: Vec::new() }
    }

    /// Returns once none of these is arriving, or after [`WAIT_MAX`].
    pub(super) async fn settled(&self, user: UserId, ids: &[ChunkId]) {
        let all_ended = async {
            loop {
                let ended = self.ended.notified();
                tokio::pin!(ended);
                // From here on no end is overheard.
                ended.as_mut().enable();
                if !self.holds_any(user, ids) {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(WAIT_MAX, all_ended).await.is_err() {
            tracing::debug!("chunks that are being stored for a long time were called missing");
        }
    }

    pub(super) fn holds_any(&self, user: UserId, ids: &[ChunkId]) -> bool {
        let counts = self.counts.lock();
        !counts.is_empty() && ids.iter().any(|id| counts.contains_key(&(user, *id)))
    }
}

impl Arrival {
    /// This one is here and will be stored.
    pub(super) fn add(&mut self, id: ChunkId) {
        *self.all.counts.lock().entry((self.user, id)).or_default() += 1;
        self.ids.push(id);
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut counts = self.all.counts.lock();
        for id in &self.ids {
            if let Some(count) = counts.get_mut(&(self.user, *id)) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&(self.user, *id));
                }
            }
        }
        drop(counts);
        self.all.ended.notify_waiters();
    }
}
