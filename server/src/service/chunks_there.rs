//! Owns the question that comes before a push: are the chunks of its contents there, and as long as said?

use super::Failure;
use crate::rules::check_content;
use crate::store::Database;
use crate::store::chunks::{self, Judgement, ORDINARY};
use std::collections::{HashMap, HashSet};
use tarn_proto::api::Outcome;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, UserId};
use tarn_proto::node::Content;
use tarn_proto::op::{OpKind, Operation};

/// What was found out about the contents of a push, by counter; those that are well are not in it.
#[derive(Debug, Default)]
pub(super) struct Chunks(HashMap<u64, Outcome>);

impl Chunks {
    /// What was found out about a content.
    pub(super) fn of(&self, number: u64) -> Option<&Outcome> {
        self.0.get(&number)
    }

    /// The answer to an operation whose content cannot be taken now, or ever.
    pub(super) fn outcome(&self, op: &Operation) -> Option<Outcome> {
        self.0.get(&op.counter).cloned()
    }
}

fn content(op: &Operation) -> Option<&Content> {
    match &op.kind {
        OpKind::Create { content, .. } => content.as_ref(),
        OpKind::Write { content, .. } => Some(content),
        _ => None,
    }
}

/// Asks for all contents of a push at once. One level of a manifest is enough: its nodes were judged
/// when they were taken.
///
/// # Errors
/// The database fails.
pub(super) async fn ask(db: &Database, user: UserId, ops: &[Operation]) -> Result<Chunks, Failure> {
    judge(db, user, ops.iter().filter_map(|op| content(op).map(|content| (op.counter, content))).collect()).await
}

/// Refuses a content that cannot be taken now, or ever.
///
/// # Errors
/// Chunks are missing, or not as long as said; or the database fails.
pub(super) async fn check(db: &Database, user: UserId, content: &Content) -> Result<(), Failure> {
    match judge(db, user, vec![(0, content)]).await?.0.remove(&0) {
        None => Ok(()),
        Some(Outcome::Refused { code, detail }) => Err(Failure::refused(code, detail)),
        Some(_) => Err(Failure::refused(ErrorCode::MissingChunks, "send the chunks of the content first")),
    }
}

/// Asks for contents by numbers of the caller's.
///
/// # Errors
/// The database fails.
pub(super) async fn judge(db: &Database, user: UserId, mut contents: Vec<(u64, &Content)>) -> Result<Chunks, Failure> {
    // What is malformed is the rules' to refuse.
    contents.retain(|(_, content)| check_content(content).is_ok());
    let ids: HashSet<ChunkId> =
        contents.iter().flat_map(|(_, content)| content.manifest.entries.iter().map(|entry| entry.id)).collect();
    if ids.is_empty() {
        return Ok(Chunks::default());
    }
    let ids: Vec<ChunkId> = ids.into_iter().collect();
    let mut conn = db.reader().await?;
    let rows = chunks::find_reached(&mut conn, user, ORDINARY, &ids).await?;
    let judged = contents.into_iter().filter_map(|(counter, content)| {
        let outcome = match chunks::judge(content.manifest.level, &content.manifest.entries, &rows) {
            Judgement::Good => return None,
            Judgement::Missing(missing) => Outcome::RetryLater { code: ErrorCode::MissingChunks, missing },
            Judgement::Bad(detail) => Outcome::Refused { code: ErrorCode::BadManifest, detail },
        };
        Some((counter, outcome))
    });
    Ok(Chunks(judged.collect()))
}
