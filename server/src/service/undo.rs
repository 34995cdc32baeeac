//! Owns taking back what one device did since a moment: each node becomes what it was, all in one transaction. What others
//! have built on since stays, with an open conflict beside it.
//!
//! Names that are in each other's way are sorted out by going round until nothing moves any more. Start at [`undo`], then
//! `plan` (what each node was).

mod plan;

use super::push::ask;
use super::spaces::lock_own;
use super::versions::server_device;
use super::{Failure, Identity};
use crate::env::Env;
use crate::rules::{self, Author, Effects, Snapshot, Undo};
use crate::store::batch::Batch;
use crate::store::{Conn, Database, devices, entries, spaces, undo as found};
use plan::{Plan, plans};
use std::collections::HashSet;
use tarn_proto::api::{Outcome, UndoLeft, UndoRequest, UndoResponse};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{NodeId, SpaceId, VersionId};
use tarn_proto::node::Timestamp;

/// Nodes taken back at once: the space is locked meanwhile.
const NODES_MAX: usize = 20_000;

/// What a call did.
#[derive(Debug, Clone, PartialEq)]
pub struct Undone {
    /// The answer.
    pub response: UndoResponse,
    /// Whether anything changed; then the route tells who waits.
    pub is_news: bool,
}

/// Takes back what a device of the caller's did in a space since a moment.
///
/// # Errors
/// The space or the device is not the caller's, it is too much at once, or the database fails; then nothing has happened.
pub async fn undo(
    db: &Database,
    env: &Env,
    identity: Identity,
    space: SpaceId,
    request: &UndoRequest,
) -> Result<Undone, Failure> {
    db.retry(|| attempt(db, env, identity, space, request)).await
}

async fn attempt(
    db: &Database,
    env: &Env,
    identity: Identity,
    space: SpaceId,
    request: &UndoRequest,
) -> Result<Undone, Failure> {
    let mut tx = db.begin().await?;
    let row = lock_own(&mut tx, identity, space).await?;
    let device = devices::by_id(&mut tx, request.device).await?.filter(|device| device.user == identity.user);
    device.ok_or_else(|| Failure::not_found("device"))?;
    let plans = load_plans(&mut tx, space, request).await?;
    let own = devices::by_id(&mut tx, identity.device).await?.map(|device| device.name).unwrap_or_default();
    let author = Author {
        space,
        // The server writes in its own name: the device's counters are the device's.
        device: server_device(&row.cursor),
        shown_as: identity.device,
        device_name: own,
        cursor_seq: row.cursor.seq,
        now: env.now(),
    };
    let batch = Batch::new(space, row.cursor, env.now_ms());
    let mut work = Work { env, author, snapshot: Snapshot::empty(space), batch, undone: HashSet::new(), conflicts: 0 };
    let left = work.all(&mut tx, plans).await?;
    let Work { batch, undone, conflicts, .. } = work;
    let is_news = batch.cursor().seq > row.cursor.seq;
    if is_news {
        batch.write(&mut tx).await?;
        let used = row.bytes_used.saturating_add_signed(batch.bytes_grown());
        spaces::advance(&mut tx, space, &batch.cursor(), used).await?;
    }
    tx.commit().await?;
    let response = UndoResponse { undone: undone.len() as u64, conflicts, left, seq: batch.cursor().seq };
    Ok(Undone { response, is_news })
}

fn millis(at: Timestamp) -> i64 {
    at.secs.saturating_mul(1_000).saturating_add(i64::from(at.nanos / 1_000_000))
}

async fn load_plans(conn: &mut Conn, space: SpaceId, request: &UndoRequest) -> Result<Vec<Plan>, Failure> {
    let mine = found::seqs_since(conn, space, request.device, millis(request.since)).await?;
    let Some(&first) = mine.iter().min() else { return Ok(Vec::new()) };
    let touched = found::touched(conn, space, request.device, first).await?;
    if touched.len() > NODES_MAX {
        let detail = "the device changed too much since then to be taken back at once: name a later time first";
        return Err(Failure::refused(ErrorCode::TooLarge, detail));
    }
    let nodes = found::histories(conn, space, &touched).await?;
    let mut names = entries::naming(conn, &touched).await?;
    names.extend(entries::that_named(conn, &touched).await?);
    Ok(plans(nodes, names, &mine))
}

/// What is taken back, step by step.
struct Work<'a> {
    env: &'a Env,
    author: Author,
    snapshot: Snapshot,
    batch: Batch,
    undone: HashSet<NodeId>,
    conflicts: u64,
}

impl Work<'_> {
    /// Goes round until nothing moves any more. Returns what stays.
    async fn all(&mut self, conn: &mut Conn, mut todo: Vec<Plan>) -> Result<Vec<UndoLeft>, Failure> {
        loop {
            let (count, mut left) = (todo.len(), Vec::new());
            let mut stays = Vec::new();
            for plan in todo {
                if let Some(why) = self.one(conn, &plan.undo).await? {
                    left.push(UndoLeft { node: plan.undo.node, name: plan.name(), why });
                    stays.push(plan);
                }
            }
            if stays.is_empty() || stays.len() == count {
                self.contents(conn, stays).await?;
                return Ok(left);
            }
            todo = stays;
        }
    }

    /// What cannot go back to its place has its content again.
    async fn contents(&mut self, conn: &mut Conn, stays: Vec<Plan>) -> Result<(), Failure> {
        for plan in stays.into_iter().filter(|plan| plan.undo.before.is_some()) {
            self.one(conn, &Undo { moves: false, ..plan.undo }).await?;
        }
        Ok(())
    }

    /// Takes back what was done to one node; why not, if it cannot be.
    async fn one(&mut self, conn: &mut Conn, undo: &Undo) -> Result<Option<String>, Failure> {
        let seq = self.batch.cursor().seq + 1;
        let undo = Undo { counter: seq, version: VersionId(self.env.random()), ..undo.clone() };
        let author = &self.author;
        let decision = ask(conn, &mut self.snapshot, |snapshot| rules::undo(snapshot, author, &undo, seq)).await?;
        match decision.outcome {
            Outcome::Applied => {}
            Outcome::NeedsName => return Ok(Some("its name is taken".into())),
            Outcome::Refused { detail, .. } => return Ok(Some(detail)),
            other => return Err(Failure::Internal(format!("taking back ended with {other:?}"))),
        }
        if let Some(effects) = decision.effects {
            self.keep(undo.node, effects);
        }
        Ok(None)
    }

    fn keep(&mut self, node: NodeId, effects: Effects) {
        if effects.conflicts.is_empty() {
            self.undone.insert(node);
        }
        self.conflicts += effects.conflicts.len() as u64;
        self.snapshot.apply(&effects);
        self.batch.add(effects);
    }
}
