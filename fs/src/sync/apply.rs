//! Owns the order in which the server's words are applied: one after another, on a blocking thread, in
//! the order in which they were handed in. A cut that the answers have overtaken is dropped.

use super::ports::SyncTree;
use crate::env::Env;
use crate::meta::rows::Ticket;
use crate::tree::{Loaded, TreeError};
use std::sync::Arc;
use tarn_proto::api::Answer;
use tarn_proto::change::{Change, Cursor};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Something to be applied.
#[derive(Debug)]
pub(super) enum Job {
    /// Final answers to a push.
    Settle { answers: Vec<(Ticket, Answer)>, before: Cursor, after: Cursor },
    /// What changed up to a cut.
    Cut { changes: Vec<Change>, upto: Cursor },
    /// The end of a full pull.
    FinishLoad { loaded: Loaded },
    /// What an earlier full pull could not show when it ended.
    ShowLoaded,
    /// Nothing: when it is done all before it is.
    Nothing,
}

impl Job {
    fn run(self, tree: &dyn SyncTree) -> Result<(), TreeError> {
        match self {
            Self::Settle { answers, before, after } => tree.settle(answers, before, after),
            Self::Cut { upto, .. } if is_overtaken(tree.cursor(), upto) => Ok(()),
            Self::Cut { changes, upto } => tree.apply_cut(changes, upto),
            Self::FinishLoad { loaded } => tree.finish_load(loaded),
            Self::ShowLoaded => tree.show_loaded(),
            Self::Nothing => Ok(()),
        }
    }
}

/// Whether the device already stands at or beyond a cut of the same history.
fn is_overtaken(cursor: Option<Cursor>, upto: Cursor) -> bool {
    cursor.is_some_and(|cursor| cursor.epoch == upto.epoch && cursor.seq >= upto.seq)
}

type Queued = (Job, oneshot::Sender<Result<(), String>>);

/// Applies jobs in order.
#[derive(Debug, Clone)]
pub(super) struct Applier(mpsc::UnboundedSender<Queued>);

impl Applier {
    /// Starts it; it ends when the last clone is gone.
    pub fn start(env: &Env, tree: Arc<dyn SyncTree>) -> (Self, JoinHandle<()>) {
        let (sender, jobs) = mpsc::unbounded_channel();
        (Self(sender), tokio::spawn(serve(env.clone(), tree, jobs)))
    }

    /// Hands a job in now; the future says how it ended.
    pub fn run(&self, job: Job) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let (sender, done) = oneshot::channel();
        // If nobody takes it the receiver hears that the sender is gone.
        let _ = self.0.send((job, sender));
        async move { done.await.unwrap_or_else(|_| Err("applying was broken off".into())) }
    }
}

async fn serve(env: Env, tree: Arc<dyn SyncTree>, mut jobs: mpsc::UnboundedReceiver<Queued>) {
    while let Some((job, reply)) = jobs.recv().await {
        let tree = Arc::clone(&tree);
        let result = env.blocking(move || job.run(tree.as_ref())).await;
        let result = result.map_err(|e| e.to_string()).and_then(|done| done.map_err(|e| e.to_string()));
        // Whoever handed it in may be gone; it is applied all the same.
        let _ = reply.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::FakeTree;
    use super::*;
    use tarn_proto::ids::{EpochId, JournalHash};

    fn at(epoch: u8, seq: u64) -> Cursor {
        Cursor { epoch: EpochId([epoch; 16]), seq, hash: JournalHash([0; 32]) }
    }

    #[test]
    fn a_cut_that_answers_have_overtaken_does_not_lead_back() {
        let tree = FakeTree::default();
        for (upto, stands) in [(at(1, 6), at(1, 6)), (at(1, 5), at(1, 6)), (at(2, 5), at(2, 5))] {
            Job::Cut { changes: Vec::new(), upto }.run(&tree).expect("the fake fails not here");
            assert_eq!(tree.cursor(), Some(stands));
        }
    }

    #[test]
    fn a_cut_is_overtaken_where_the_same_history_is_known_as_far() {
        for (stands, is_overtaken_by_it) in [(at(1, 4), false), (at(1, 5), true), (at(1, 6), true), (at(2, 6), false)] {
            assert_eq!(is_overtaken(Some(stands), at(1, 5)), is_overtaken_by_it, "{stands:?}");
        }
        assert!(!is_overtaken(None, at(1, 5)), "a full pull is under way");
    }
}
