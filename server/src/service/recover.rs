//! Owns life after the server was put back to an older copy of itself: a new epoch begins, and devices bring back what the
//! copy lacks.
//!
//! What a device sends is decided one by one by the rules, in one transaction, going round until nothing more finds its
//! place; then what is left goes where it can.

use super::chunks_there::{self, Chunks};
use super::push::ask;
use super::spaces::lock_own;
use super::versions::server_device;
use super::{Failure, Identity};
use crate::env::Env;
use crate::rules::{self, Author, Key, Recover, Since, Snapshot};
use crate::store::batch::Batch;
use crate::store::{Conn, Database, devices, epochs, load, spaces};
use std::collections::{BTreeSet, HashSet};
use tarn_proto::api::Outcome;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{EpochId, NodeId, SpaceId};
use tarn_proto::limits::RECOVER_ROWS_MAX;
use tarn_proto::lost::{EpochStart, Lost, RecoverRequest, RecoverResponse, Recovered};
use tarn_proto::node::Content;

/// Begins a new epoch in every space; says in how many.
///
/// # Errors
/// The database fails.
pub async fn begin_epochs(db: &Database, env: &Env) -> Result<usize, Failure> {
    let attempt = || async {
        let mut tx = db.begin().await?;
        let all = spaces::all(&mut tx).await?;
        for space in &all {
            let Some(row) = spaces::lock(&mut tx, space.space).await? else { continue };
            let start = EpochStart { epoch: EpochId(env.random()), seq: row.cursor.seq };
            let known = epochs::of_space(&mut tx, row.space).await?.len();
            epochs::begin(&mut tx, row.space, known, start).await?;
            epochs::forget_recovered(&mut tx, row.space).await?;
            spaces::set_epoch(&mut tx, row.space, start.epoch).await?;
        }
        tx.commit().await?;
        Ok::<_, Failure>(all.len())
    };
    db.retry(attempt).await
}

/// What a call did.
#[derive(Debug, Clone, PartialEq)]
pub struct Brought {
    /// The answer.
    pub response: RecoverResponse,
    /// Whether anything changed; then the route tells who waits.
    pub is_news: bool,
}

/// Brings back what a device has of a lost history.
///
/// # Errors
/// The space is not the caller's, it is in another epoch, or the database fails; then nothing has happened.
pub async fn recover(
    db: &Database,
    env: &Env,
    identity: Identity,
    space: SpaceId,
    request: &RecoverRequest,
) -> Result<Brought, Failure> {
    if request.rows.len() > RECOVER_ROWS_MAX {
        return Err(Failure::refused(ErrorCode::TooLarge, "too many rows in one call"));
    }
    let chunks = chunks_there::judge(db, identity.user, contents(&request.rows)).await?;
    db.retry(|| attempt(db, env, (identity, space), request, &chunks)).await
}

fn contents(rows: &[Lost]) -> Vec<(u64, &Content)> {
    (0..).zip(rows).filter_map(|(index, lost)| Some((index, content(lost)?))).collect()
}

fn content(lost: &Lost) -> Option<&Content> {
    match lost {
        Lost::Node(lost) => lost.state.as_ref()?.file.as_ref().map(|file| &file.content),
        Lost::Conflict { state, .. } => Some(&state.theirs.content),
        Lost::Freed { .. } | Lost::Alias { .. } => None,
    }
}

async fn attempt(
    db: &Database,
    env: &Env,
    (identity, space): (Identity, SpaceId),
    request: &RecoverRequest,
    chunks: &Chunks,
) -> Result<Brought, Failure> {
    let mut tx = db.begin().await?;
    let row = lock_own(&mut tx, identity, space).await?;
    if row.cursor.epoch != request.epoch {
        return Err(Failure::refused(ErrorCode::EpochChanged, "the server is in another epoch by now"));
    }
    let mut recovered = epochs::recoveries(&mut tx, space).await?;
    recovered.push((row.cursor.seq + 1, u64::MAX));
    let device_name = devices::by_id(&mut tx, identity.device).await?.map(|device| device.name).unwrap_or_default();
    let author = Author {
        space,
        // The server writes in its own name: the device's counters are the device's.
        device: server_device(&row.cursor),
        shown_as: identity.device,
        device_name,
        cursor_seq: row.cursor.seq,
        now: env.now(),
    };
    let mut work = Work {
        author,
        since: Since { fork: request.fork.min(row.cursor.seq), recovered },
        together: request.rows.iter().filter_map(node_of).collect(),
        snapshot: Snapshot::empty(space),
        batch: Batch::new(space, row.cursor, env.now_ms()),
        brought: Vec::new(),
        touched: BTreeSet::new(),
    };
    let answers = work.all(&mut tx, &request.rows, chunks).await?;
    let Work { batch, brought, .. } = work;
    epochs::set_recovered(&mut tx, space, brought, request.upto).await?;
    let is_news = batch.cursor().seq > row.cursor.seq;
    if is_news {
        batch.write(&mut tx).await?;
        let used = row.bytes_used.saturating_add_signed(batch.bytes_grown());
        spaces::advance(&mut tx, space, &batch.cursor(), used).await?;
        epochs::note_recovery(&mut tx, space, (row.cursor.seq + 1, batch.cursor().seq)).await?;
    }
    tx.commit().await?;
    Ok(Brought { response: RecoverResponse { answers, seq: batch.cursor().seq }, is_news })
}

fn node_of(lost: &Lost) -> Option<NodeId> {
    if let Lost::Node(lost) = lost { Some(lost.node) } else { None }
}

/// What is brought back, step by step.
struct Work {
    author: Author,
    since: Since,
    together: HashSet<NodeId>,
    snapshot: Snapshot,
    batch: Batch,
    brought: Vec<NodeId>,
    /// What changed, or may have lost its name.
    touched: BTreeSet<NodeId>,
}

impl Work {
    /// Goes round until nothing more finds its place.
    async fn all(&mut self, conn: &mut Conn, rows: &[Lost], chunks: &Chunks) -> Result<Vec<Recovered>, Failure> {
        let keys = rows.iter().flat_map(rules::wanted_to_recover);
        load::load(conn, &mut self.snapshot, keys.collect::<Vec<Key>>()).await?;
        let lacking = |index: usize| chunks.of(index as u64).map(lacking);
        let mut answers: Vec<Recovered> =
            (0..rows.len()).map(|index| lacking(index).unwrap_or(Recovered::Done)).collect();
        let mut todo: Vec<usize> = (0..rows.len()).filter(|index| lacking(*index).is_none()).collect();
        let mut is_last = false;
        while !todo.is_empty() {
            let mut left = Vec::new();
            for &index in &todo {
                let answer = self.one(conn, &rows[index], is_last).await?;
                if answer != Recovered::Done {
                    left.push(index);
                }
                answers[index] = answer;
            }
            if left.len() == todo.len() {
                if is_last {
                    break;
                }
                is_last = true;
            }
            todo = left;
        }
        self.make_reachable(conn).await?;
        Ok(answers)
    }

    /// Nothing stays without a name.
    async fn make_reachable(&mut self, conn: &mut Conn) -> Result<(), Failure> {
        for node in std::mem::take(&mut self.touched) {
            let seq = self.batch.cursor().seq + 1;
            let author = &self.author;
            let decision =
                ask(conn, &mut self.snapshot, |snapshot| rules::make_reachable(snapshot, author, node, seq)).await?;
            if let Some(effects) = decision.effects {
                self.snapshot.apply(&effects);
                self.batch.add(effects);
            }
        }
        Ok(())
    }

    async fn one(&mut self, conn: &mut Conn, lost: &Lost, is_last: bool) -> Result<Recovered, Failure> {
        let seq = self.batch.cursor().seq + 1;
        let (author, since, together) = (&self.author, &self.since, &self.together);
        let asked = Recover { lost, since, together, is_last, counter: seq };
        let decision = ask(conn, &mut self.snapshot, |snapshot| rules::recover(snapshot, author, &asked, seq)).await?;
        match decision.outcome {
            Outcome::Applied => {}
            Outcome::Refused { detail, .. } => return Ok(Recovered::Refused(detail)),
            other => return Err(Failure::Internal(format!("bringing back ended with {other:?}"))),
        }
        if let Some(effects) = decision.effects {
            self.touched.extend(effects.touched());
            self.snapshot.apply(&effects);
            self.batch.add(effects);
        }
        // The rules ask what was brought by others before: they hear of these marks the next time.
        self.brought.extend(rules::marks_of(lost));
        Ok(Recovered::Done)
    }
}

fn lacking(outcome: &Outcome) -> Recovered {
    match outcome {
        Outcome::Refused { detail, .. } => Recovered::Refused(detail.clone()),
        _ => Recovered::MissingChunks,
    }
}
