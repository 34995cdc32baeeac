//! Owns how contents get to the server: freeze, cut, ask what is missing, encode, send.
//!
//! Ids name bytes, so an upload that was cut off just begins again: the server says what it has. Memory
//! is bounded by one budget for all bodies that are under way.

use super::event::{Failure, UploadResult};
use super::ports::{PlanStep, PlannedChunk, SourceError, SyncTree, UploadPlan, UploadSource};
use crate::env::{BrokenOff, Env};
use crate::limits;
use crate::meta::rows::Ticket;
use crate::remote::{Remote, RemoteError, UploadItem};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use tarn_proto::ids::{ChunkId, SpaceId, VersionId};
use tarn_proto::limits::{CHUNK_BYTES_MAX, CHUNKS_PER_CALL_MAX};
use tarn_proto::node::Content;
use tokio::sync::{Semaphore, mpsc};

/// The memory budget is counted in these.
const PERMIT_BYTES: u64 = 1 << 10;
/// Ids asked about before their chunks are sent.
const ASK_COUNT: usize = 4_096;
/// Rounds of fetching what planning needs.
const PLAN_ROUNDS_MAX: u32 = 64;

/// Sends contents and keeps what their operations say of them.
#[derive(Debug)]
pub(super) struct Uploader {
    env: Env,
    space: SpaceId,
    tree: Arc<dyn SyncTree>,
    remote: Arc<dyn Remote>,
    memory: Arc<Semaphore>,
    prepared: Mutex<HashMap<Ticket, Content>>,
}

/// A content that is being sent.
#[derive(Debug, Clone)]
struct Planned {
    ticket: Ticket,
    source: Arc<dyn UploadSource>,
    plan: Arc<UploadPlan>,
}

/// One chunk to send, and which of the contents gives it.
#[derive(Debug, Clone)]
struct Piece {
    chunk: PlannedChunk,
    source: Arc<dyn UploadSource>,
}

/// What went wrong in one group.
#[derive(Debug, Default)]
struct Losses {
    /// Chunks whose source failed, and how.
    chunks: HashMap<ChunkId, SourceError>,
    remote: Option<RemoteError>,
}

type LostChunks = HashMap<ChunkId, SourceError>;

/// What came of sending so far.
#[derive(Debug, Default)]
struct Sent {
    /// Chunks that need no second look.
    ids: HashSet<ChunkId>,
    losses: Losses,
}

/// Bodies on the wire while a content is still being cut.
const BODIES_AHEAD: usize = 3;

impl Uploader {
    pub fn new(env: Env, space: SpaceId, tree: Arc<dyn SyncTree>, remote: Arc<dyn Remote>) -> Self {
        let permits = limits::UPLOAD_MEMORY_BYTES_MAX as u64 / PERMIT_BYTES;
        let memory = Arc::new(Semaphore::new(permits as usize));
        Self { env, space, tree, remote, memory, prepared: Mutex::default() }
    }

    /// What an operation says of its content, once that is on the server.
    pub fn content_of(&self, ticket: Ticket) -> Option<Content> {
        self.prepared.lock().get(&ticket).cloned()
    }

    /// Forgets operations that are settled or gone.
    pub fn forget<'a>(&self, tickets: impl IntoIterator<Item = &'a Ticket>) {
        let mut prepared = self.prepared.lock();
        tickets.into_iter().for_each(|ticket| drop(prepared.remove(ticket)));
    }

    /// Forgets everything before the queue's front; all if the queue is empty.
    pub fn forget_before(&self, front: Option<Ticket>) {
        self.prepared.lock().retain(|ticket, _| front.is_some_and(|front| *ticket >= front));
    }

    /// Sends contents together. `resend`: the server lacks chunks of what was frozen, which gets the contents as
    /// they are now.
    pub async fn upload(&self, tickets: Vec<Ticket>, resend: bool) -> Vec<(Ticket, UploadResult)> {
        let mut results = Vec::new();
        let mut planned = Vec::new();
        let (found, pieces) = mpsc::unbounded_channel();
        let (outcomes, mut sent) = tokio::join!(self.plan_all(tickets, found), self.send_ahead(pieces));
        for (ticket, outcome) in outcomes {
            match outcome {
                Ok(Some(one)) => planned.push(one),
                Ok(None) => results.push((ticket, UploadResult::Gone)),
                Err(result) => results.push((ticket, result)),
            }
        }
        if sent.losses.remote.is_none() {
            self.send_rest(&planned, &mut sent).await;
        }
        for one in &planned {
            let result = self.conclude(one, &sent.losses, resend).await;
            results.push((one.ticket, result));
        }
        let is_sent = |result: &UploadResult| matches!(result, UploadResult::Done | UploadResult::Gone);
        for (ticket, _) in results.iter().filter(|(_, result)| !is_sent(result)) {
            self.tree.unprepare(*ticket);
        }
        results
    }

    /// Freezes and cuts; small contents all on one blocking thread.
    async fn plan_all(
        &self,
        tickets: Vec<Ticket>,
        found: mpsc::UnboundedSender<Piece>,
    ) -> Vec<(Ticket, Result<Option<Planned>, UploadResult>)> {
        let (tree, tell) = (Arc::clone(&self.tree), found.clone());
        let all = tickets.clone();
        let steps = self.env.blocking(move || {
            all.into_iter().map(|ticket| (ticket, first_step(tree.as_ref(), ticket, &tell))).collect::<Vec<_>>()
        });
        let Ok(steps) = steps.await else {
            let failure = || UploadResult::Failed(Failure::Local("freezing failed".into()));
            return tickets.into_iter().map(|ticket| (ticket, Err(failure()))).collect();
        };
        let mut results = Vec::new();
        for (ticket, step) in steps {
            let result = match step {
                Ok(Some((source, step))) => match self.finish_plan(ticket, source, step, &found).await {
                    Ok(planned) if planned.plan.is_base => self.settle_unchanged(planned).await,
                    planned => planned.map(Some),
                },
                Ok(None) => Ok(None),
                Err(error) => Err(not_read(error)),
            };
            results.push((ticket, result));
        }
        results
    }

    /// What is on the server already needs no operation that brings it, if none was frozen.
    async fn settle_unchanged(&self, planned: Planned) -> Result<Option<Planned>, UploadResult> {
        let (tree, ticket) = (Arc::clone(&self.tree), planned.ticket);
        let settled = self.env.blocking(move || tree.settle_unchanged(ticket)).await;
        let failed = |failure| UploadResult::Failed(failure);
        let is_settled = settled.map_err(|e| failed(lost_task(e)))?;
        let is_settled = is_settled.map_err(|e| failed(Failure::Local(e.to_string())))?;
        Ok((!is_settled).then_some(planned))
    }

    /// Fetches what cutting needs, until it needs nothing more.
    async fn finish_plan(
        &self,
        ticket: Ticket,
        source: Arc<dyn UploadSource>,
        mut step: PlanStep,
        found: &mpsc::UnboundedSender<Piece>,
    ) -> Result<Planned, UploadResult> {
        for _ in 0..PLAN_ROUNDS_MAX {
            match step {
                PlanStep::Ready(plan) => return Ok(Planned { ticket, source, plan: Arc::new(plan) }),
                PlanStep::Needs(ranges) => {
                    source.fetch(ranges).await.map_err(UploadResult::Failed)?;
                }
            }
            let (again, found) = (Arc::clone(&source), found.clone());
            let planned = self.env.blocking(move || plan(&again, &found)).await;
            step = planned.map_err(|e| UploadResult::Failed(lost_task(e)))?.map_err(not_read)?;
        }
        Err(UploadResult::Failed(Failure::Local("cutting needs ever more of the file".into())))
    }

    /// Sends chunks while those behind them are still being cut, whole bodies at a time; what does not fill one
    /// goes with the rest.
    async fn send_ahead(&self, pieces: mpsc::UnboundedReceiver<Piece>) -> Sent {
        let bodies = stream::unfold((pieces, HashSet::new()), |(mut pieces, mut seen)| async move {
            let body = full_body(&mut pieces, &mut seen).await?;
            Some((body, (pieces, seen)))
        });
        let mut running = pin!(bodies.map(|body| self.send_missing(body)).buffer_unordered(BODIES_AHEAD));
        let mut sent = Sent::default();
        while let Some((ids, result, lost)) = running.next().await {
            sent.ids.extend(ids);
            sent.losses.chunks.extend(lost);
            if let Err(error) = result {
                sent.losses.remote = Some(error);
                break;
            }
        }
        sent
    }

    async fn send_missing(&self, body: Vec<Piece>) -> (Vec<ChunkId>, Result<(), RemoteError>, LostChunks) {
        let ids = body.iter().map(|piece| piece.chunk.id).collect();
        match self.missing(&body).await {
            Ok(body) if body.is_empty() => (ids, Ok(()), LostChunks::new()),
            Ok(body) => {
                let (result, lost) = self.send_body(body).await;
                (ids, result, lost)
            }
            Err(error) => (ids, Err(error), LostChunks::new()),
        }
    }

    /// Sends a content that no operation brings: all of it that the server lacks.
    pub async fn send_whole(&self, source: Arc<dyn UploadSource>) -> Result<Arc<UploadPlan>, Failure> {
        // Nobody hears of chunks before all are known.
        let (found, _) = mpsc::unbounded_channel();
        let (tell, first) = (found.clone(), Arc::clone(&source));
        let step = self.env.blocking(move || plan(&first, &tell)).await.map_err(lost_task)?.map_err(unreadable)?;
        let planned = match self.finish_plan(Ticket(0), source, step, &found).await {
            Ok(planned) => planned,
            Err(UploadResult::Failed(failure)) => return Err(failure),
            Err(_) => return Err(Failure::NotYet("the file changed while it was being sent".into())),
        };
        let mut sent = Sent::default();
        self.send_rest(std::slice::from_ref(&planned), &mut sent).await;
        match (sent.losses.remote, sent.losses.chunks.into_values().next()) {
            (Some(error), _) => Err(Failure::Remote(error)),
            (None, Some(error)) => Err(unreadable(error)),
            (None, None) => Ok(planned.plan),
        }
    }

    /// Sends what was not sent while it was cut.
    async fn send_rest(&self, planned: &[Planned], sent: &mut Sent) {
        let Sent { ids, losses } = sent;
        let mut seen = std::mem::take(ids);
        let all = planned.iter().flat_map(|one| {
            one.plan.chunks.iter().map(|chunk| Piece { chunk: chunk.clone(), source: Arc::clone(&one.source) })
        });
        let pieces: Vec<Piece> = all.filter(|piece| seen.insert(piece.chunk.id)).collect();
        for window in pieces.chunks(ASK_COUNT) {
            let window = match self.missing(window).await {
                Ok(window) => window,
                Err(error) => {
                    losses.remote = Some(error);
                    return;
                }
            };
            self.send_window(window, losses).await;
            if losses.remote.is_some() {
                return;
            }
        }
    }

    /// Asks always: what an earlier run, or another file, has sent is never sent again.
    async fn missing(&self, pieces: &[Piece]) -> Result<Vec<Piece>, RemoteError> {
        if pieces.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<ChunkId> = pieces.iter().map(|piece| piece.chunk.id).collect();
        let missing: HashSet<ChunkId> = self.remote.missing(self.space, &ids).await?.missing.into_iter().collect();
        Ok(pieces.iter().filter(|piece| missing.contains(&piece.chunk.id)).cloned().collect())
    }

    async fn send_window(&self, pieces: Vec<Piece>, losses: &mut Losses) {
        let bodies = stream::iter(bodies_of(pieces)).map(|body| self.send_body(body));
        let mut sent = bodies.buffer_unordered(limits::BODIES_PER_UPLOAD_MAX);
        while let Some((result, lost)) = sent.next().await {
            losses.chunks.extend(lost);
            if let Err(error) = result {
                // The other bodies end here: what they had sent is asked for again.
                losses.remote = Some(error);
                return;
            }
        }
    }

    /// Encodes and sends one body; also says which chunks could not be read.
    async fn send_body(&self, body: Vec<Piece>) -> (Result<(), RemoteError>, LostChunks) {
        let bytes: u64 = body.iter().map(|piece| piece.chunk.plain_bytes()).sum();
        let wanted = bytes.div_ceil(PERMIT_BYTES).min(limits::UPLOAD_MEMORY_BYTES_MAX as u64 / PERMIT_BYTES);
        let _permit = self.memory.acquire_many(wanted as u32).await.expect("the budget is never closed");
        let ids: Vec<ChunkId> = body.iter().map(|piece| piece.chunk.id).collect();
        let Ok((items, lost)) = self.env.blocking(move || encode(&body)).await else {
            return (Ok(()), ids.into_iter().map(|id| (id, SourceError::Local("encoding failed".into()))).collect());
        };
        if items.is_empty() {
            return (Ok(()), lost);
        }
        (self.remote.upload(self.space, items).await.map(drop), lost)
    }

    async fn conclude(&self, one: &Planned, losses: &Losses, resend: bool) -> UploadResult {
        let lost = one.plan.chunks.iter().find_map(|chunk| losses.chunks.get(&chunk.id));
        if let Some(reason) = lost {
            return not_read(reason.clone());
        }
        if let Some(error) = &losses.remote {
            return UploadResult::Failed(Failure::Remote(error.clone()));
        }
        let content = Content {
            version: VersionId(self.env.rng.id()),
            size: one.plan.size_bytes,
            content_id: one.plan.content_id,
            manifest: one.plan.manifest.clone(),
        };
        if resend && let Err(failure) = self.replace(one.ticket, content.clone()).await {
            return UploadResult::Failed(failure);
        }
        self.prepared.lock().insert(one.ticket, content);
        UploadResult::Done
    }

    async fn replace(&self, ticket: Ticket, content: Content) -> Result<(), Failure> {
        let tree = Arc::clone(&self.tree);
        let replaced = self.env.blocking(move || tree.refreeze_with_content(ticket, content)).await;
        replaced.map_err(lost_task)?.map_err(|e| Failure::Local(e.to_string()))
    }
}

type FirstStep = Result<Option<(Arc<dyn UploadSource>, PlanStep)>, SourceError>;

fn first_step(tree: &dyn SyncTree, ticket: Ticket, found: &mpsc::UnboundedSender<Piece>) -> FirstStep {
    let source = tree.prepare(ticket).map_err(|e| SourceError::Local(e.to_string()))?;
    let Some(source) = source else { return Ok(None) };
    let step = plan(&source, found)?;
    Ok(Some((source, step)))
}

fn plan(source: &Arc<dyn UploadSource>, found: &mpsc::UnboundedSender<Piece>) -> Result<PlanStep, SourceError> {
    source.plan(&mut |chunk| {
        // Sending has ended already if it failed: the plan is wanted all the same.
        let _ = found.send(Piece { chunk, source: Arc::clone(source) });
    })
}

/// Gathers chunks for one body; `None` at the end, or if too few are left for one.
async fn full_body(pieces: &mut mpsc::UnboundedReceiver<Piece>, seen: &mut HashSet<ChunkId>) -> Option<Vec<Piece>> {
    let (mut body, mut bytes) = (Vec::new(), 0);
    loop {
        let piece = pieces.recv().await?;
        if !seen.insert(piece.chunk.id) {
            continue;
        }
        bytes += piece.chunk.plain_bytes();
        body.push(piece);
        if bytes + CHUNK_BYTES_MAX as u64 > limits::UPLOAD_BODY_BYTES as u64 || body.len() >= CHUNKS_PER_CALL_MAX {
            return Some(body);
        }
    }
}

fn encode(body: &[Piece]) -> (Vec<UploadItem>, HashMap<ChunkId, SourceError>) {
    let (mut items, mut lost) = (Vec::with_capacity(body.len()), HashMap::new());
    for Piece { chunk, source } in body {
        match source.encode(chunk) {
            Ok(stored) => {
                let manifest_node = matches!(chunk.source, super::ports::ChunkSource::Node(_));
                items.push(UploadItem { id: chunk.id, manifest_node, stored });
            }
            Err(error) => drop(lost.insert(chunk.id, error)),
        }
    }
    (items, lost)
}

/// Packs pieces, in order, into bodies of about [`limits::UPLOAD_BODY_BYTES`].
fn bodies_of(pieces: Vec<Piece>) -> Vec<Vec<Piece>> {
    let mut bodies: Vec<Vec<Piece>> = Vec::new();
    let mut bytes = u64::MAX;
    for piece in pieces {
        let length = piece.chunk.plain_bytes();
        let is_full = bodies.last().is_none_or(|body| body.len() >= CHUNKS_PER_CALL_MAX);
        if is_full || bytes.saturating_add(length) > limits::UPLOAD_BODY_BYTES as u64 {
            bodies.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(body) = bodies.last_mut() {
            body.push(piece);
        }
    }
    bodies
}

fn not_read(error: SourceError) -> UploadResult {
    match error {
        SourceError::Changed => UploadResult::Changed,
        SourceError::Local(reason) => UploadResult::Failed(Failure::Local(reason)),
    }
}

fn unreadable(error: SourceError) -> Failure {
    Failure::Local(error.to_string())
}

fn lost_task(error: BrokenOff) -> Failure {
    Failure::Local(error.to_string())
}
