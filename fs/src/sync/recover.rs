//! Owns bringing back what the server lost when it was put back to an older copy of itself: before this device loads the
//! tree anew, it sends what it has of the lost history, with the contents that are here.
//!
//! Nothing local changes meanwhile. Cut off at any moment it begins again, and so may any number of devices: the server
//! knows what it has been brought.

use super::event::Failure;
use super::ports::SyncTree;
use super::upload::Uploader;
use crate::env::Env;
use crate::remote::{Remote, RemoteError};
use crate::tree::TreeError;
use std::collections::HashSet;
use std::sync::Arc;
use tarn_proto::api::{SpaceInfo, to_binary};
use tarn_proto::change::Cursor;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, EpochId, NodeId, SpaceId};
use tarn_proto::limits::{PUSH_BODY_BYTES_MAX, RECOVER_ROWS_MAX};
use tarn_proto::lost::{EpochStart, Lost, RecoverRequest, Recovered, fork_of};
use tarn_proto::node::Content;

/// Ids asked about at once.
const ASK_COUNT: usize = 4_096;
/// Bytes of rows in one call: they are somewhat longer on their way.
const BODY_BYTES: usize = PUSH_BODY_BYTES_MAX / 2;

/// Brings back what a lost history had.
#[derive(Debug)]
pub(super) struct Recoverer {
    pub env: Env,
    pub space: SpaceId,
    pub tree: Arc<dyn SyncTree>,
    pub remote: Arc<dyn Remote>,
    pub uploader: Arc<Uploader>,
}

/// Rows that go together, and up to which seq of the lost history this device knew of what they are about.
#[derive(Debug, Default)]
struct Batch {
    rows: Vec<Lost>,
    bytes: usize,
    upto: u64,
}

impl Recoverer {
    /// Brings back what the server lost, if it lost anything; up to which seq its history is the one that this device
    /// followed.
    pub async fn recover(&self, info: &SpaceInfo) -> Result<Option<u64>, Failure> {
        let cursor = self.tree.cursor().filter(|cursor| cursor.seq > 0);
        let fork = match &cursor {
            Some(cursor) => self.fork(cursor, info).await?,
            None => self.fork_of_answers(info).await?,
        };
        let Some(fork) = fork else { return Ok(None) };
        let lost = self.local(move |tree| tree.lost_since(fork)).await?;
        tracing::warn!(
            fork,
            rows = lost.len(),
            "the server was put back to an older copy: bringing back what it lacks"
        );
        for batch in batches(self.with_contents(lost).await?, cursor.map_or(0, |cursor| cursor.seq)) {
            self.send(info.cursor.epoch, fork, batch).await?;
        }
        Ok(Some(fork))
    }

    /// Where the server's history leaves this device's; `None` if it does not.
    async fn fork(&self, cursor: &Cursor, info: &SpaceInfo) -> Result<Option<u64>, Failure> {
        let mut ours = self.local(|tree| tree.epochs()).await?;
        if ours.last().is_none_or(|start| start.epoch != cursor.epoch) {
            ours = vec![EpochStart { epoch: cursor.epoch, seq: 0 }];
        }
        if let Some(fork) = fork_of(&ours, &epochs_of(info)) {
            return Ok(Some(fork));
        }
        // The same, as far as the server knows: it may have been put back without having been told.
        match self.remote.pull(self.space, cursor, None).await {
            Err(RemoteError::Refused { code: ErrorCode::EpochChanged, .. }) => Ok(Some(0)),
            Err(RemoteError::Refused { .. }) | Ok(_) => Ok(None),
            Err(error) => Err(Failure::Remote(error)),
        }
    }

    /// Before the first full pull is complete a device knows only what it was answered: in the history that it then asked about,
    /// and in that of the first folder that it listed.
    pub async fn fork_of_answers(&self, info: &SpaceInfo) -> Result<Option<u64>, Failure> {
        let theirs = epochs_of(info);
        let (ours, listed) = self.local(|tree| Ok((tree.epochs()?, tree.listed_epoch()?))).await?;
        let listed = listed.and_then(|epoch| fork_of(&led_to(epoch, &theirs), &theirs));
        if !ours.is_empty() {
            return Ok(fork_of(&ours, &theirs).into_iter().chain(listed).min());
        }
        if listed.is_none() {
            self.local(move |tree| tree.note_epochs(&theirs)).await?;
        }
        Ok(listed)
    }

    /// Sends the contents that the server lacks and that are here; rows of others go without theirs.
    async fn with_contents(&self, lost: Vec<(u64, Lost)>) -> Result<Vec<(u64, Lost)>, Failure> {
        let ids: HashSet<ChunkId> = lost.iter().filter_map(|(_, lost)| content_of(lost)).flat_map(chunks_of).collect();
        let missing = self.missing(ids.into_iter().collect()).await?;
        let mut kept = Vec::with_capacity(lost.len());
        for (seq, mut lost) in lost {
            let is_lacking =
                content_of(&lost).is_some_and(|content| chunks_of(content).any(|id| missing.contains(&id)));
            if is_lacking && !self.send_content(&mut lost).await? {
                tracing::warn!(?seq, row = %named(&lost), "neither the server nor this device has its bytes any more");
                let Some(without) = without_content(lost) else { continue };
                lost = without;
            }
            kept.push((seq, lost));
        }
        Ok(kept)
    }

    async fn missing(&self, ids: Vec<ChunkId>) -> Result<HashSet<ChunkId>, Failure> {
        let mut missing = HashSet::new();
        for window in ids.chunks(ASK_COUNT) {
            missing.extend(self.remote.missing(self.space, window).await.map_err(Failure::Remote)?.missing);
        }
        Ok(missing)
    }

    /// Sends a content from what is local; whether all of it was here.
    async fn send_content(&self, lost: &mut Lost) -> Result<bool, Failure> {
        let (node, content) = match lost {
            Lost::Node(lost) => (lost.node, lost.state.as_mut().and_then(|state| state.file.as_mut())),
            Lost::Conflict { state, .. } => (state.sibling.unwrap_or(state.node), Some(&mut state.theirs)),
            Lost::Freed { .. } | Lost::Alias { .. } => return Ok(true),
        };
        let Some(content) = content.map(|file| &mut file.content) else { return Ok(true) };
        let version = content.version;
        let Some(source) = self.local(move |tree| tree.whole_content(node, version)).await? else { return Ok(false) };
        let plan = self.uploader.send_whole(source).await?;
        let is_it = (plan.size_bytes, plan.content_id) == (content.size, content.content_id);
        if is_it {
            content.manifest = plan.manifest.clone();
        }
        Ok(is_it)
    }

    async fn send(&self, epoch: EpochId, fork: u64, batch: Batch) -> Result<(), Failure> {
        let request = RecoverRequest { epoch, fork, upto: batch.upto, rows: batch.rows };
        let response = self.remote.recover(self.space, &request).await.map_err(Failure::Remote)?;
        let mut without = Vec::new();
        for (lost, answer) in request.rows.into_iter().zip(response.answers) {
            match answer {
                Recovered::Done => {}
                Recovered::Refused(why) => tracing::warn!(row = %named(&lost), why, "it cannot be brought back"),
                // They were there a moment ago.
                Recovered::MissingChunks => without.extend(without_content(lost)),
            }
        }
        if without.is_empty() {
            return Ok(());
        }
        let request = RecoverRequest { rows: without, ..request };
        self.remote.recover(self.space, &request).await.map(drop).map_err(Failure::Remote)
    }

    async fn local<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn SyncTree) -> Result<T, TreeError> + Send + 'static,
    ) -> Result<T, Failure> {
        let tree = Arc::clone(&self.tree);
        let done = self.env.blocking(move || work(tree.as_ref())).await;
        done.map_err(|e| Failure::Local(e.to_string()))?.map_err(|e| Failure::Local(e.to_string()))
    }
}

fn epochs_of(info: &SpaceInfo) -> Vec<EpochStart> {
    let first = || vec![EpochStart { epoch: info.cursor.epoch, seq: 0 }];
    if info.epochs.is_empty() { first() } else { info.epochs.clone() }
}

/// The histories that led to one of them, and that; none if it is not among them.
fn led_to(epoch: EpochId, epochs: &[EpochStart]) -> Vec<EpochStart> {
    let found = epochs.iter().position(|start| start.epoch == epoch);
    found.map_or_else(Vec::new, |at| epochs[..=at].to_vec())
}

fn content_of(lost: &Lost) -> Option<&Content> {
    match lost {
        Lost::Node(lost) => lost.state.as_ref()?.file.as_ref().map(|file| &file.content),
        Lost::Conflict { state, .. } => Some(&state.theirs.content),
        Lost::Freed { .. } | Lost::Alias { .. } => None,
    }
}

fn chunks_of(content: &Content) -> impl Iterator<Item = ChunkId> {
    content.manifest.entries.iter().map(|entry| entry.id)
}

/// What is left of a row whose bytes are nowhere.
fn without_content(lost: Lost) -> Option<Lost> {
    let Lost::Node(mut node) = lost else { return None };
    node.state.iter_mut().for_each(|state| state.file = None);
    Some(Lost::Node(node))
}

fn named(lost: &Lost) -> NodeId {
    match lost {
        Lost::Node(lost) => lost.node,
        Lost::Freed { place, .. } => place.parent,
        Lost::Alias { node, .. } => *node,
        Lost::Conflict { state, .. } => state.node,
    }
}

/// What this device knew up to its cursor, and then what it had been answered beyond that, in batches that one call takes.
fn batches(lost: Vec<(u64, Lost)>, cursor_seq: u64) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for (seq, lost) in lost {
        let (bytes, upto) = (to_binary(&lost).len(), seq.max(cursor_seq));
        let fits = |batch: &Batch| {
            batch.rows.len() < RECOVER_ROWS_MAX
                && batch.bytes + bytes <= BODY_BYTES
                && (batch.upto == upto || batch.upto > cursor_seq)
        };
        if batches.last().is_none_or(|batch| !fits(batch)) {
            batches.push(Batch::default());
        }
        if let Some(batch) = batches.last_mut() {
            batch.upto = upto;
            batch.bytes += bytes;
            batch.rows.push(lost);
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(seq: u64) -> (u64, Lost) {
        let node = NodeId([u8::try_from(seq % 256).unwrap_or_default(); 16]);
        let lost = tarn_proto::lost::LostNode { node, seq, state: None, places: Vec::new(), alt_name: None };
        (seq, Lost::Node(lost))
    }

    #[test]
    fn batches_say_how_much_was_known_of_what_is_in_them() {
        let made = batches([3, 5, 7, 9, 12].map(gone).to_vec(), 7);
        let look: Vec<_> = made.iter().map(|batch| (batch.rows.len(), batch.upto)).collect();
        assert_eq!(look, [(3, 7), (2, 12)]);
    }

    #[test]
    fn batches_are_no_larger_than_a_call_takes() {
        let many = batches((0..RECOVER_ROWS_MAX as u64 + 1).map(gone).collect(), u64::MAX);
        assert_eq!(many.iter().map(|batch| batch.rows.len()).collect::<Vec<_>>(), [RECOVER_ROWS_MAX, 1]);
    }

    #[test]
    fn batches_have_no_more_bytes_than_a_call_takes() {
        let node = NodeId([1; 16]);
        let name = |n: usize| tarn_proto::name::Name::new(format!("{n:01000}")).expect("a name of digits");
        let places: Vec<_> =
            (0..BODY_BYTES / 2_500).map(|n| tarn_proto::op::Place { parent: node, name: name(n) }).collect();
        let lost = tarn_proto::lost::LostNode { node, seq: 1, state: None, places, alt_name: None };
        let many = batches(vec![(1, Lost::Node(lost)); 5], 9);
        assert_eq!(many.iter().map(|batch| batch.rows.len()).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(many.iter().all(|batch| batch.bytes <= BODY_BYTES));
    }
}
