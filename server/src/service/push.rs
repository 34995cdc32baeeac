//! Owns what a push does: an ordered batch of operations in one transaction under the space's lock.
//!
//! Which chunks are there is asked before the lock is taken; the rules decide; the store writes all
//! rows of the batch at once. A retry gets the answers that were given the first time.

use super::cursor::check_cursor;
use super::spaces::lock_own;
use super::{Failure, Identity, chunks_there};
use crate::env::Env;
use crate::rules::{self, Author, Effects, Key, Missing, Snapshot};
use crate::store::batch::Batch;
use crate::store::journal::{self, Marks, StoredAnswer};
use crate::store::{Conn, Database, devices, load, spaces};
use chunks_there::Chunks;
use std::collections::HashMap;
use tarn_proto::api::{Answer, Outcome, PushRequest, PushResponse, Usage, to_binary};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{DeviceId, SpaceId};
use tarn_proto::limits;
use tarn_proto::node::Timestamp;
use tarn_proto::op::{OpKind, Operation};

/// Applies a device's operations. If `after` is beyond `before`, the route tells who waits.
///
/// # Errors
/// The space is not the caller's, the cursor or the counters do not fit, or the database fails;
/// then nothing has happened.
pub async fn push(
    db: &Database,
    env: &Env,
    identity: Identity,
    space: SpaceId,
    request: PushRequest,
) -> Result<PushResponse, Failure> {
    check_request(identity.device, &request)?;
    let chunks = chunks_there::ask(db, identity.user, &request.ops).await?;
    let push = Push { identity, space, request: &request, chunks: &chunks, now: env.now(), now_ms: env.now_ms() };
    db.retry(|| push.attempt(db)).await
}

/// What can be said without looking at the state.
fn check_request(device: DeviceId, request: &PushRequest) -> Result<(), Failure> {
    if request.ops.len() > limits::PUSH_OPS_MAX {
        return Err(Failure::refused(ErrorCode::TooLarge, "too many operations in one push"));
    }
    let mut before = 0;
    for op in &request.ops {
        if op.counter <= before || i64::try_from(op.counter).is_err() {
            return Err(Failure::refused(ErrorCode::BadCounter, "the counters of a push increase from 1"));
        }
        before = op.counter;
        if let OpKind::Write { base, .. } = &op.kind
            && base.get(device) >= op.counter
        {
            return Err(rolled_back("a vector names an operation of this device that is still to come"));
        }
    }
    Ok(())
}

fn rolled_back(detail: &str) -> Failure {
    Failure::refused(ErrorCode::DeviceRolledBack, detail)
}

/// What the digest covers says whether a retry is the same operation. The `alt_name` is not part of
/// it, nor are those of earlier operations: a client that never saw the answer may offer another one. Nor is the seq up to
/// which a removed folder had been seen: of a history that the server lost it says less.
fn digest(op: &Operation) -> [u8; 32] {
    let mut lifts = None;
    if let OpKind::Unlink { .. } | OpKind::Rename { .. } = &op.kind {
        let mut kind = op.kind.clone();
        kind.seen_mut().for_each(|seen| (seen.alt_name, seen.seq) = (None, None));
        lifts = Some(kind);
    }
    *blake3::hash(&to_binary(&(op.counter, lifts.as_ref().unwrap_or(&op.kind)))).as_bytes()
}

/// One push, however often the transaction is tried.
struct Push<'a> {
    identity: Identity,
    space: SpaceId,
    request: &'a PushRequest,
    chunks: &'a Chunks,
    now: Timestamp,
    now_ms: i64,
}

impl Push<'_> {
    async fn attempt(&self, db: &Database) -> Result<PushResponse, Failure> {
        let mut tx = db.begin().await?;
        let row = lock_own(&mut tx, self.identity, self.space).await?;
        check_cursor(&mut tx, &row, &self.request.cursor).await?;
        let device = self.identity.device;
        let marks = journal::marks(&mut tx, self.space, device).await?;
        let stored = self.stored_answers(&mut tx, marks).await?;
        let fresh = self.request.ops.partition_point(|op| op.counter <= marks.highest);
        let mut answers = replay(&self.request.ops[..fresh], stored)?;
        let author = self.author(&mut tx).await?;
        let mut batch = Batch::new(self.space, row.cursor, self.now_ms);
        let settled = self.settle(&mut tx, &author, (&mut batch, row.usage()), &self.request.ops[fresh..]).await?;
        batch.write(&mut tx).await?;
        let usage = after(row.usage(), batch.bytes_grown());
        if batch.cursor().seq > row.cursor.seq {
            spaces::advance(&mut tx, self.space, &batch.cursor(), usage.bytes_used).await?;
        }
        self.keep(&mut tx, marks, &settled).await?;
        tx.commit().await?;
        answers.extend(settled.into_iter().map(|(_, answer)| answer));
        Ok(PushResponse { answers, before: row.cursor, after: batch.cursor(), usage: Some(usage) })
    }

    async fn stored_answers(&self, conn: &mut Conn, marks: Marks) -> Result<HashMap<u64, StoredAnswer>, Failure> {
        let known = self.request.ops.iter().filter(|op| op.counter <= marks.highest).map(|op| op.counter);
        let (Some(first), Some(last)) = (known.clone().min(), known.max()) else { return Ok(HashMap::new()) };
        let stored = journal::answers(conn, self.space, self.identity.device, first, last).await?;
        Ok(stored.into_iter().map(|stored| (stored.answer.counter, stored)).collect())
    }

    async fn author(&self, conn: &mut Conn) -> Result<Author, Failure> {
        let device = devices::by_id(conn, self.identity.device).await?;
        let device_name = device.map(|device| device.name).unwrap_or_default();
        Ok(Author {
            space: self.space,
            device: self.identity.device,
            shown_as: self.identity.device,
            device_name,
            cursor_seq: self.request.cursor.seq,
            now: self.now,
        })
    }

    /// Decides the operations that were not answered before, in order, up to the first that is not settled.
    async fn settle(
        &self,
        conn: &mut Conn,
        author: &Author,
        (batch, usage): (&mut Batch, Usage),
        ops: &[Operation],
    ) -> Result<Vec<([u8; 32], Answer)>, Failure> {
        let mut snapshot = Snapshot::empty(self.space);
        preload(conn, &mut snapshot, ops).await?;
        let mut answers: Vec<([u8; 32], Answer)> = Vec::with_capacity(ops.len());
        for op in ops {
            let stopped = answers.last().is_some_and(|(_, answer)| !answer.outcome.is_settled());
            let (answer, effects) = if stopped {
                (Answer { counter: op.counter, outcome: Outcome::Skipped, changes: Vec::new() }, None)
            } else if let Some(outcome) = self.chunks.outcome(op) {
                (Answer { counter: op.counter, outcome, changes: Vec::new() }, None)
            } else {
                let decided = decide(conn, &mut snapshot, author, op, batch.cursor().seq + 1).await?;
                if fits(op, after(usage, batch.bytes_grown()), decided.1.as_ref()) { decided } else { no_room(op) }
            };
            if let Some(effects) = effects {
                snapshot.apply(&effects);
                batch.add(effects);
            }
            answers.push((digest(op), answer));
        }
        Ok(answers)
    }

    /// Remembers what was settled, and forgets what the device has applied.
    async fn keep(&self, conn: &mut Conn, marks: Marks, settled: &[([u8; 32], Answer)]) -> Result<(), Failure> {
        let device = self.identity.device;
        let kept: Vec<StoredAnswer> = settled
            .iter()
            .filter(|(_, answer)| answer.outcome.is_settled())
            .map(|(digest, answer)| StoredAnswer { digest: *digest, answer: answer.clone() })
            .collect();
        journal::keep_answers(conn, self.space, device, &kept).await?;
        let highest = kept.last().map_or(marks.highest, |last| last.answer.counter.max(marks.highest));
        let answered = self.request.answered.min(highest).max(marks.answered);
        if answered > marks.answered {
            journal::forget_answers(conn, self.space, device, answered).await?;
        }
        if (Marks { highest, answered }) != marks {
            journal::set_marks(conn, self.space, device, Marks { highest, answered }).await?;
        }
        Ok(())
    }
}

/// How full a space is when its contents have grown by so much.
fn after(usage: Usage, bytes_grown: i64) -> Usage {
    Usage { bytes_used: usage.bytes_used.saturating_add_signed(bytes_grown), ..usage }
}

/// Whether there is room for an operation. What brings no bytes, or takes some away, is never refused for it: neither is what
/// has a removed file come back, for a person may need that to make room.
fn fits(op: &Operation, usage: Usage, effects: Option<&Effects>) -> bool {
    let brings = matches!(&op.kind, OpKind::Create { content: Some(_), .. } | OpKind::Write { .. });
    let bytes_grown = effects.map_or(0, |effects| u64::try_from(effects.bytes_grown).unwrap_or(0));
    !brings || bytes_grown == 0 || usage.bytes_free().is_none_or(|bytes_free| bytes_grown <= bytes_free)
}

/// It is not settled: its device keeps it, sends the others, and sends it again when there is room.
fn no_room(op: &Operation) -> (Answer, Option<Effects>) {
    let outcome = Outcome::RetryLater { code: ErrorCode::QuotaExceeded, missing: Vec::new() };
    (Answer { counter: op.counter, outcome, changes: Vec::new() }, None)
}

/// Gives the answers that were given before.
fn replay(ops: &[Operation], mut stored: HashMap<u64, StoredAnswer>) -> Result<Vec<Answer>, Failure> {
    let first_answer = |op: &Operation| match stored.remove(&op.counter) {
        Some(stored) if stored.digest == digest(op) => Ok(stored.answer),
        Some(_) => Err(rolled_back("this counter was used for another operation")),
        None => Err(rolled_back("this counter was used before")),
    };
    ops.iter().map(first_answer).collect()
}

/// Loads what the batch surely needs; what is found may show that more is.
async fn preload(conn: &mut Conn, snapshot: &mut Snapshot, ops: &[Operation]) -> Result<(), Failure> {
    const ROUNDS_MAX: usize = 4;
    for _ in 0..ROUNDS_MAX {
        let keys: Vec<Key> = ops.iter().flat_map(|op| rules::wanted(snapshot, op)).collect();
        if keys.is_empty() {
            break;
        }
        load::load(conn, snapshot, keys).await?;
    }
    Ok(())
}

/// Decides one operation, loading what it asks for.
pub(super) async fn decide(
    conn: &mut Conn,
    snapshot: &mut Snapshot,
    author: &Author,
    op: &Operation,
    seq: u64,
) -> Result<(Answer, Option<Effects>), Failure> {
    let decided = ask(conn, snapshot, |snapshot| rules::decide(snapshot, author, op, seq)).await?;
    let rules::Decision { outcome, changes, effects } = decided;
    Ok((Answer { counter: op.counter, outcome, changes }, effects))
}

/// Asks the rules, loading what they miss.
pub(super) async fn ask(
    conn: &mut Conn,
    snapshot: &mut Snapshot,
    rule: impl Fn(&Snapshot) -> Result<rules::Decision, Missing>,
) -> Result<rules::Decision, Failure> {
    let mut asked: Option<Vec<Key>> = None;
    loop {
        match rule(snapshot) {
            Ok(decision) => return Ok(decision),
            Err(Missing(keys)) if asked.as_ref() == Some(&keys) => {
                return Err(Failure::Internal(format!("loading {keys:?} did not bring them")));
            }
            Err(Missing(keys)) => {
                load::load(conn, snapshot, keys.clone()).await?;
                asked = Some(keys);
            }
        }
    }
}

#[cfg(test)]
mod tests;
