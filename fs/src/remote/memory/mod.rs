//! Owns a server in memory, for tests and simulations: the same calls, one space, stricter than the real
//! one. It checks what a client must keep to (counters, cursors, chunks before operations, answers of
//! repeated operations) and says so in its error; pages are tiny so that paging is always met.

mod rules;
mod state;

use super::{FetchedFrames, NoticeEvent, ReceiptSender, Remote, RemoteError, UploadItem};
use async_trait::async_trait;
use parking_lot::Mutex;
use state::{DeviceState, State};
use std::sync::Arc;
use tarn_proto::api::{
    Answer, ChildEntry, ChildrenResponse, ChunkRange, MissingResponse, Notice, Outcome, PullResponse, PushRequest,
    PushResponse, Receipt, SpaceInfo, SpacesResponse, UploadResponse,
};
use tarn_proto::change::{Change, Cursor};
use tarn_proto::chunk::{ContentKey, Header, decode};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, DeviceId, EpochId, NodeId, SpaceId};
use tarn_proto::limits::{CHUNKS_PER_CALL_MAX, FETCH_RANGES_MAX, PUSH_OPS_MAX, UPLOAD_BODY_BYTES_MAX};
use tarn_proto::lost::{EpochStart, RecoverRequest, RecoverResponse, Recovered};
use tarn_proto::op::Operation;
use tokio::sync::{broadcast, mpsc};

/// Rows in a page.
const PAGE_ROWS: usize = 3;

/// The server; any number of devices talk to it through [`MemoryServer::device`].
#[derive(Debug)]
pub struct MemoryServer {
    state: Mutex<State>,
    receipts: Mutex<Vec<(DeviceId, Receipt)>>,
    recovered: Mutex<Vec<RecoverRequest>>,
    notices: broadcast::Sender<Notice>,
}

impl MemoryServer {
    /// A server with one empty space.
    pub fn new(space: SpaceId) -> Arc<Self> {
        let (notices, _) = broadcast::channel(1_024);
        let state = Mutex::new(State::new(space));
        Arc::new(Self { state, receipts: Mutex::default(), recovered: Mutex::default(), notices })
    }

    /// The server as a device sees it.
    pub fn device(self: &Arc<Self>, device: DeviceId) -> MemoryRemote {
        self.state.lock().devices.entry(device).or_default();
        MemoryRemote { server: Arc::clone(self), device }
    }

    /// Where the journal stands.
    pub fn cursor(&self) -> Cursor {
        self.state.lock().cursor()
    }

    /// All rows.
    pub fn rows(&self) -> Vec<Change> {
        self.state.lock().changes_since(0)
    }

    /// How many pages were made that another one follows.
    pub fn page_count(&self) -> u64 {
        self.state.lock().next_page
    }

    /// The highest counter of a device that was settled.
    pub fn highest_counter(&self, device: DeviceId) -> u64 {
        self.state.lock().devices.get(&device).map_or(0, |known| known.highest)
    }

    /// Receipts so far.
    pub fn receipts(&self) -> Vec<(DeviceId, Receipt)> {
        self.receipts.lock().clone()
    }

    /// What devices brought back so far.
    pub fn recovered(&self) -> Vec<RecoverRequest> {
        self.recovered.lock().clone()
    }

    /// Opens a new epoch, as a restore does.
    pub fn open_epoch(&self, epoch: EpochId) {
        let mut state = self.state.lock();
        let seq = state.seq();
        state.epochs.push(EpochStart { epoch, seq });
        state.epoch = epoch;
    }

    /// Makes a device's token void.
    pub fn revoke(&self, device: DeviceId) {
        self.state.lock().devices.entry(device).or_default().is_revoked = true;
        let _ = self.notices.send(Notice::Revoked);
    }

    /// Loses all chunks, as a garbage collection that went too far would.
    pub fn forget_chunks(&self) {
        self.state.lock().chunks.clear();
    }

    fn tell(&self) {
        let (space, seq) = {
            let state = self.state.lock();
            (state.space, state.seq())
        };
        // Nobody listens: then nobody needs to know.
        let _ = self.notices.send(Notice::Changed { space, seq });
    }
}

/// The server as one device sees it.
#[derive(Debug, Clone)]
pub struct MemoryRemote {
    server: Arc<MemoryServer>,
    device: DeviceId,
}

fn refused(code: ErrorCode, detail: &str) -> RemoteError {
    RemoteError::Refused { code, detail: detail.into() }
}

impl MemoryRemote {
    /// The state, if this device may use that space.
    fn enter(&self, space: SpaceId) -> Result<parking_lot::MutexGuard<'_, State>, RemoteError> {
        let state = self.server.state.lock();
        match state.devices.get(&self.device) {
            Some(device) if !device.is_revoked => {}
            _ => return Err(refused(ErrorCode::Unauthenticated, "revoked")),
        }
        if state.space == space { Ok(state) } else { Err(refused(ErrorCode::NotFound, "no such space")) }
    }

    fn space(&self) -> SpaceId {
        self.server.state.lock().space
    }

    fn push_now(&self, space: SpaceId, request: &PushRequest) -> Result<PushResponse, RemoteError> {
        let mut state = self.enter(space)?;
        if request.ops.is_empty() || request.ops.len() > PUSH_OPS_MAX {
            return Err(refused(ErrorCode::TooLarge, "operations"));
        }
        if !request.ops.is_sorted_by(|a, b| a.counter < b.counter) {
            return Err(refused(ErrorCode::BadCounter, "counters must increase"));
        }
        if !state.knows(&request.cursor) {
            return Err(refused(ErrorCode::EpochChanged, "cursor"));
        }
        let before = state.cursor();
        let answers = answer_all(&mut state, self.device, request)?;
        Ok(PushResponse { answers, before, after: state.cursor(), usage: None })
    }
}

/// Answers a batch: what was answered before gets its first answer.
fn answer_all(state: &mut State, device: DeviceId, request: &PushRequest) -> Result<Vec<Answer>, RemoteError> {
    let known = state.devices.entry(device).or_default();
    known.answers.retain(|counter, _| *counter > request.answered);
    let reused = |op: &Operation, known: &DeviceState| match known.answers.get(&op.counter) {
        Some((first, _)) => first != op,
        None => op.counter <= known.highest,
    };
    if request.ops.iter().any(|op| reused(op, known)) {
        return Err(refused(ErrorCode::DeviceRolledBack, "counter reused"));
    }
    let mut answers: Vec<Answer> = Vec::new();
    for op in &request.ops {
        let is_held = answers.last().is_some_and(|last| !last.outcome.is_settled());
        let first = state.devices.get(&device).and_then(|known| known.answers.get(&op.counter)).cloned();
        let answer = match first {
            Some((_, first)) => first,
            None if is_held => Answer { counter: op.counter, outcome: Outcome::Skipped, changes: Vec::new() },
            None => rules::apply(state, device, op),
        };
        if answer.outcome.is_settled() {
            let known = state.devices.entry(device).or_default();
            known.highest = known.highest.max(op.counter);
            known.answers.insert(op.counter, (op.clone(), answer.clone()));
        }
        answers.push(answer);
    }
    Ok(answers)
}

/// Cuts the first page off and keeps the rest under a token.
fn page_of(state: &mut State, upto: Cursor, mut changes: Vec<Change>) -> PullResponse {
    let rest = changes.split_off(changes.len().min(PAGE_ROWS));
    let next = (!rest.is_empty()).then(|| {
        state.next_page += 1;
        let token = state.next_page.to_string();
        state.pages.insert(token.clone(), (upto, rest));
        token
    });
    PullResponse { upto, changes, next, usage: None }
}

#[async_trait]
impl Remote for MemoryRemote {
    async fn spaces(&self) -> Result<SpacesResponse, RemoteError> {
        let space = self.space();
        let state = self.enter(space)?;
        let root = NodeId::root_of(space);
        let cursor = state.cursor();
        let epochs = state.epochs.clone();
        let info = SpaceInfo { space, home: true, root, cursor, epochs, bytes_used: 0, bytes_max: None };
        Ok(SpacesResponse { spaces: vec![info] })
    }

    async fn push(&self, space: SpaceId, request: &PushRequest) -> Result<PushResponse, RemoteError> {
        let response = self.push_now(space, request)?;
        if response.after != response.before {
            self.server.tell();
        }
        Ok(response)
    }

    /// This server forgets nothing, so whatever it is told it has.
    async fn recover(&self, space: SpaceId, request: &RecoverRequest) -> Result<RecoverResponse, RemoteError> {
        let state = self.enter(space)?;
        if request.epoch != state.epoch {
            return Err(refused(ErrorCode::EpochChanged, "another epoch"));
        }
        self.server.recovered.lock().push(request.clone());
        Ok(RecoverResponse { answers: vec![Recovered::Done; request.rows.len()], seq: state.seq() })
    }

    async fn pull(&self, space: SpaceId, cursor: &Cursor, page: Option<&str>) -> Result<PullResponse, RemoteError> {
        let mut state = self.enter(space)?;
        if let Some(page) = page {
            let kept = state.pages.get(page).cloned();
            let (upto, changes) = kept.ok_or_else(|| refused(ErrorCode::BadRequest, "no such page"))?;
            return Ok(page_of(&mut state, upto, changes));
        }
        if !state.knows(cursor) {
            return Err(refused(ErrorCode::EpochChanged, "cursor"));
        }
        let (upto, changes) = (state.cursor(), state.changes_since(cursor.seq));
        Ok(page_of(&mut state, upto, changes))
    }

    async fn children(
        &self,
        space: SpaceId,
        node: NodeId,
        after: Option<&str>,
    ) -> Result<ChildrenResponse, RemoteError> {
        let state = self.enter(space)?;
        let folder = state.node(node).cloned().ok_or_else(|| refused(ErrorCode::NotFound, "no such folder"))?;
        let skip: usize = after.map_or(Ok(0), str::parse).map_err(|_| refused(ErrorCode::BadRequest, "page"))?;
        let all = state.entries.iter().filter(|((parent, _), _)| *parent == node);
        let all: Vec<ChildEntry> =
            all.filter_map(|((_, name), (seq, node))| child(&state, name, *seq, *node)).collect();
        let next = (all.len() > skip + PAGE_ROWS).then(|| (skip + PAGE_ROWS).to_string());
        let children = all.into_iter().skip(skip).take(PAGE_ROWS).collect();
        let node_seq = state.nodes.get(&node).map_or(0, |(seq, _)| *seq);
        Ok(ChildrenResponse { seq: state.seq(), node: folder, node_seq, children, next, epoch: Some(state.epoch) })
    }

    async fn missing(&self, space: SpaceId, ids: &[ChunkId]) -> Result<MissingResponse, RemoteError> {
        let state = self.enter(space)?;
        if ids.len() > CHUNKS_PER_CALL_MAX {
            return Err(refused(ErrorCode::TooLarge, "ids"));
        }
        Ok(MissingResponse { missing: ids.iter().filter(|id| !state.chunks.contains_key(id)).copied().collect() })
    }

    async fn upload(&self, space: SpaceId, items: Vec<UploadItem>) -> Result<UploadResponse, RemoteError> {
        let mut state = self.enter(space)?;
        let bytes: usize = items.iter().map(|item| item.stored.len() + 37).sum();
        if items.is_empty() || items.len() > CHUNKS_PER_CALL_MAX || bytes > UPLOAD_BODY_BYTES_MAX {
            return Err(refused(ErrorCode::TooLarge, "upload"));
        }
        let accepted = items.len() as u64;
        let mut stored = 0;
        for item in items {
            decode(&ContentKey::Ordinary, item.id, &item.stored)
                .map_err(|e| refused(ErrorCode::BadChunk, &e.to_string()))?;
            stored += u64::from(state.chunks.insert(item.id, item.stored).is_none());
        }
        Ok(UploadResponse { accepted, stored })
    }

    async fn fetch(
        &self,
        space: SpaceId,
        ranges: &[ChunkRange],
        sink: mpsc::Sender<FetchedFrames>,
    ) -> Result<(), RemoteError> {
        if ranges.len() > FETCH_RANGES_MAX {
            return Err(refused(ErrorCode::TooLarge, "ranges"));
        }
        for range in ranges {
            let stored = self.enter(space)?.chunks.get(&range.id).cloned();
            let stored = stored.ok_or_else(|| refused(ErrorCode::NotFound, "no such chunk"))?;
            let header = Header::parse(&stored).map_err(|e| RemoteError::Malformed(e.to_string()))?;
            let frames = header.frames_stored_range(range.first_frame, range.frame_count);
            let frames = frames.ok_or_else(|| refused(ErrorCode::BadRequest, "no such frame"))?;
            let fetched = FetchedFrames {
                id: range.id,
                first_frame: range.first_frame,
                frame_count: range.frame_count.min(header.frame_count() - range.first_frame),
                header: stored.slice(..header.header_len()),
                frames: stored.slice(frames),
            };
            if sink.send(fetched).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn notify(&self, events: mpsc::Sender<NoticeEvent>) -> Result<ReceiptSender, RemoteError> {
        drop(self.enter(self.space())?);
        let (sender, receipts) = mpsc::unbounded_channel();
        let notices = self.server.notices.subscribe();
        tokio::spawn(serve(Arc::clone(&self.server), self.device, events, receipts, notices));
        Ok(sender)
    }
}

fn child(state: &State, name: &tarn_proto::name::Name, entry_seq: u64, node: Option<NodeId>) -> Option<ChildEntry> {
    let node = node?;
    let (node_seq, node_state) = state.nodes.get(&node)?;
    let state = node_state.clone()?;
    Some(ChildEntry { name: name.clone(), entry_seq, node, node_seq: *node_seq, state })
}

async fn serve(
    server: Arc<MemoryServer>,
    device: DeviceId,
    events: mpsc::Sender<NoticeEvent>,
    mut receipts: mpsc::UnboundedReceiver<Receipt>,
    mut notices: broadcast::Receiver<Notice>,
) {
    let mut said = Some(NoticeEvent::Connected);
    loop {
        if let Some(event) = said.take()
            && events.send(event).await.is_err()
        {
            return;
        }
        tokio::select! {
            notice = notices.recv() => said = notice.ok().map(NoticeEvent::Notice),
            receipt = receipts.recv() => match receipt {
                Some(receipt) => server.receipts.lock().push((device, receipt)),
                None => break,
            },
        }
    }
    let _ = events.send(NoticeEvent::Disconnected("closed".into())).await;
}
