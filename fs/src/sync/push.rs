//! Owns one push: operations get their final form, are sent, and meet their answers.

use super::event::Failure;
use super::ports::SyncTree;
use super::pull::Puller;
use crate::env::Env;
use crate::meta::rows::Ticket;
use crate::remote::{Remote, RemoteError};
use parking_lot::Mutex;
use std::sync::Arc;
use tarn_proto::api::{Answer, PushRequest, to_binary};
use tarn_proto::change::Cursor;
use tarn_proto::ids::SpaceId;
use tarn_proto::limits::PUSH_BODY_BYTES_MAX;
use tarn_proto::node::Content;
use tarn_proto::op::Operation;

/// What is left of a body for everything but operations.
const BODY_RESERVE_BYTES: usize = 1 << 10;

/// Pushes operations.
#[derive(Debug)]
pub(super) struct Pusher {
    env: Env,
    space: SpaceId,
    tree: Arc<dyn SyncTree>,
    remote: Arc<dyn Remote>,
    /// What a device without a cursor pushes with.
    origin: Mutex<Option<Cursor>>,
}

/// What came of a push.
#[derive(Debug)]
pub(super) struct Pushed {
    pub answers: Vec<(Ticket, Answer)>,
    pub gone: Vec<Ticket>,
    pub cursors: Option<(Cursor, Cursor)>,
}

impl Pusher {
    pub fn new(env: Env, space: SpaceId, tree: Arc<dyn SyncTree>, remote: Arc<dyn Remote>) -> Self {
        Self { env, space, tree, remote, origin: Mutex::default() }
    }

    /// The history may have changed: ask for its beginning again.
    pub fn forget_origin(&self) {
        *self.origin.lock() = None;
    }

    /// Freezes and pushes as much of the batch as one body takes.
    pub async fn push(&self, puller: &Puller, batch: Vec<(Ticket, Option<Content>)>) -> Result<Pushed, Failure> {
        let asked: Vec<Ticket> = batch.iter().map(|(ticket, _)| *ticket).collect();
        let tree = Arc::clone(&self.tree);
        let frozen = self.env.blocking(move || tree.freeze(batch)).await;
        let frozen = frozen.map_err(|e| Failure::Local(e.to_string()))?.map_err(|e| Failure::Local(e.to_string()))?;
        let gone = asked.into_iter().filter(|ticket| !frozen.iter().any(|(kept, _)| kept == ticket)).collect();
        let (tickets, ops) = cut_to_body(frozen);
        if ops.is_empty() {
            return Ok(Pushed { answers: Vec::new(), gone, cursors: None });
        }
        let cursor = self.cursor(puller).await?;
        // Answers of the operations that are sent again must be kept.
        let before = ops.first().map_or(0, |op| op.counter.saturating_sub(1));
        let request = PushRequest { cursor, answered: self.tree.answered().min(before), ops };
        let response = self.remote.push(self.space, &request).await.map_err(Failure::Remote)?;
        if response.answers.len() != tickets.len() {
            return Err(Failure::Remote(RemoteError::Malformed("fewer answers than operations".into())));
        }
        if let Some(usage) = response.usage {
            self.tree.note_usage(usage);
        }
        let answers = tickets.into_iter().zip(response.answers).collect();
        Ok(Pushed { answers, gone, cursors: Some((response.before, response.after)) })
    }

    async fn cursor(&self, puller: &Puller) -> Result<Cursor, Failure> {
        let known = self.tree.cursor().or(*self.origin.lock());
        if let Some(cursor) = known {
            return Ok(cursor);
        }
        let origin = puller.origin().await?;
        *self.origin.lock() = Some(origin);
        Ok(origin)
    }
}

/// Takes operations from the front as long as they fit into one body; at least one.
fn cut_to_body(frozen: Vec<(Ticket, Operation)>) -> (Vec<Ticket>, Vec<Operation>) {
    let mut bytes = BODY_RESERVE_BYTES;
    let fits = |(_, op): &(Ticket, Operation)| {
        let is_first = bytes == BODY_RESERVE_BYTES;
        bytes += to_binary(op).len();
        is_first || bytes <= PUSH_BODY_BYTES_MAX
    };
    frozen.into_iter().take_while(fits).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarn_proto::ids::NodeId;
    use tarn_proto::node::{AttrChange, ByteString};
    use tarn_proto::op::OpKind;

    fn op(counter: u64, bytes: usize) -> (Ticket, Operation) {
        let attrs = AttrChange {
            xattrs: [("user.a".to_owned(), Some(ByteString(vec![7; bytes])))].into(),
            ..Default::default()
        };
        let kind = OpKind::SetAttr { node: NodeId([1; 16]), attrs };
        (Ticket(counter), Operation { counter, time: Default::default(), alt_name: None, kind })
    }

    #[test]
    fn a_body_has_one_operation_however_large_and_others_as_far_as_they_fit() {
        let count = |sizes: &[usize]| cut_to_body(sizes.iter().map(|bytes| op(1, *bytes)).collect()).0.len();
        let more_than_half = PUSH_BODY_BYTES_MAX / 2 + 1;
        assert_eq!(count(&[more_than_half, more_than_half, 10]), 1);
        assert_eq!(count(&[PUSH_BODY_BYTES_MAX * 2, 10]), 1);
        assert_eq!(count(&[more_than_half, 10, 10, more_than_half]), 3);
    }
}
