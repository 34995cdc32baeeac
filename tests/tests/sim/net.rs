//! Owns the network between a device and the server: delay, loss before and after the server acts, late and double
//! delivery, cuts that are noticed and such that are not (half-open connections).

use super::dice::Dice;
use super::server::{SPACE, SimServer};
use super::time::Time;
use super::trace::Trace;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tarn::env::Clock;
use tarn::limits::IDLE_TIMEOUT;
use tarn::remote::{FetchedFrames, NoticeEvent, ReceiptSender, Remote, RemoteError, UploadItem};
use tarn_proto::api::{
    ChildrenResponse, ChunkRange, MissingResponse, Notice, PullResponse, PushRequest, PushResponse, Receipt,
    SpacesResponse, UploadResponse,
};
use tarn_proto::change::Cursor;
use tarn_proto::ids::{ChunkId, DeviceId, NodeId, SpaceId};
use tarn_proto::lost::{Lost, LostNode, RecoverRequest, RecoverResponse};
use tarn_proto::op::{OpKind, Operation, Place};
use tokio::sync::{mpsc, watch};

/// Silence after which a notice socket counts as dead.
const SILENCE: Duration = Duration::from_secs(42);

/// The state of a device's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Bytes pass.
    Up,
    /// Nothing passes, and both ends know.
    Down,
    /// Nothing passes, and nobody is told.
    Silent,
}

/// The server, and who waits for news of it.
#[derive(Debug)]
pub struct Centre {
    pub server: Mutex<SimServer>,
    pub seq: watch::Sender<u64>,
    pub clock: Arc<dyn Clock>,
}

/// One device's way to the server. Of a dead one nothing arrives any more.
#[derive(Debug)]
pub struct SimRemote {
    pub centre: Arc<Centre>,
    pub device: Mutex<DeviceId>,
    pub who: usize,
    pub time: Time,
    pub line: watch::Sender<Line>,
    pub is_dead: AtomicBool,
    /// Of a thousand calls so many meet something odd.
    pub oddness: Mutex<u64>,
    /// Bytes that the line carries in a second; no bound if 0.
    pub line_bytes: AtomicU64,
    pub dice: Mutex<Dice>,
    pub trace: Trace,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Through,
    Lost,
    Late(Duration),
    Unanswered,
    Twice(Duration),
    Busy,
}

fn unreachable(why: &str) -> RemoteError {
    RemoteError::Unreachable(why.into())
}

impl SimRemote {
    fn line_now(&self) -> Line {
        *self.line.borrow()
    }

    fn travel(&self) -> Duration {
        let mut dice = self.dice.lock();
        let micros = if dice.chance(50) { dice.between(20_000, 2_000_000) } else { dice.between(300, 20_000) };
        Duration::from_micros(micros)
    }

    /// Contents take their time.
    async fn carry(&self, bytes: usize) {
        let micros = (bytes as u64 * 1_000_000).checked_div(self.line_bytes.load(Ordering::Relaxed));
        self.time.sleep(Duration::from_micros(micros.unwrap_or(0))).await;
    }

    fn fate(&self) -> Fate {
        let oddness = *self.oddness.lock();
        let mut dice = self.dice.lock();
        if !dice.chance(oddness) {
            return Fate::Through;
        }
        match dice.below(6) {
            0 => Fate::Lost,
            1 => Fate::Late(Duration::from_millis(dice.between(100, 120_000))),
            2 | 3 => Fate::Unanswered,
            4 => Fate::Twice(Duration::from_millis(dice.between(1, 60_000))),
            _ => Fate::Busy,
        }
    }

    /// Makes one call; `work` is what the server does.
    async fn call<T, W>(&self, what: &str, work: W) -> Result<T, RemoteError>
    where
        T: Send + 'static,
        W: Fn(&mut SimServer, DeviceId) -> Result<T, RemoteError> + Send + Sync + 'static,
    {
        let (fate, device) = (self.fate(), *self.device.lock());
        let result = self.meet(fate, device, work).await;
        let said = match &result {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        self.trace.note(self.time.now(), self.who, &format!("{what}: {fate:?}: {said}"));
        if self.is_dead.load(Ordering::Relaxed) { Err(unreachable("this machine is off")) } else { result }
    }

    async fn meet<T, W>(&self, fate: Fate, device: DeviceId, work: W) -> Result<T, RemoteError>
    where
        T: Send + 'static,
        W: Fn(&mut SimServer, DeviceId) -> Result<T, RemoteError> + Send + Sync + 'static,
    {
        self.time.sleep(self.travel()).await;
        match (self.line_now(), fate) {
            (Line::Down, _) => return Err(unreachable("no network")),
            (Line::Silent, _) | (_, Fate::Lost) => return self.wait_in_vain().await,
            (Line::Up, Fate::Busy) => return Err(RemoteError::Busy("try again".into())),
            (Line::Up, Fate::Late(wait)) => {
                self.later(wait, device, work);
                return self.wait_in_vain().await;
            }
            (Line::Up, Fate::Through | Fate::Unanswered | Fate::Twice(_)) => {}
        }
        let result = act(&self.centre, device, &work);
        match fate {
            Fate::Unanswered => return self.wait_in_vain().await,
            Fate::Twice(wait) => self.later(wait, device, work),
            _ => {}
        }
        self.time.sleep(self.travel()).await;
        match self.line_now() {
            Line::Up => result,
            Line::Down => Err(unreachable("cut off")),
            Line::Silent => self.wait_in_vain().await,
        }
    }

    async fn wait_in_vain<T>(&self) -> Result<T, RemoteError> {
        self.time.sleep(IDLE_TIMEOUT).await;
        Err(unreachable("timed out"))
    }

    /// The request arrives once (more) when nobody waits for its answer.
    fn later<T, W>(&self, wait: Duration, device: DeviceId, work: W)
    where
        T: Send + 'static,
        W: Fn(&mut SimServer, DeviceId) -> Result<T, RemoteError> + Send + Sync + 'static,
    {
        let (centre, time) = (self.centre.clone(), self.time.clone());
        tokio::spawn(async move {
            time.sleep(wait).await;
            drop(act(&centre, device, &work));
        });
    }
}

fn act<T>(
    centre: &Centre,
    device: DeviceId,
    work: &impl Fn(&mut SimServer, DeviceId) -> Result<T, RemoteError>,
) -> Result<T, RemoteError> {
    let (result, seq, is_mute) = {
        let mut server = centre.server.lock();
        let result = work(&mut server, device);
        (result, server.seq(), server.is_mute)
    };
    if !is_mute {
        centre.seq.send_if_modified(|known| std::mem::replace(known, seq) != seq);
    }
    result
}

#[async_trait]
impl Remote for SimRemote {
    async fn spaces(&self) -> Result<SpacesResponse, RemoteError> {
        self.call("spaces", |server, _| Ok(SpacesResponse { spaces: vec![server.info()] })).await
    }

    async fn recover(&self, _space: SpaceId, request: &RecoverRequest) -> Result<RecoverResponse, RemoteError> {
        let (request, clock) = (request.clone(), self.centre.clock.clone());
        let rows: Vec<String> = request.rows.iter().map(brief_lost).collect();
        let what = format!("recover beyond {}: {}", request.fork, rows.join(", "));
        let brought = self.call(&what, move |server, _| server.recover(&request, clock.wall())).await;
        if let Ok(response) = &brought {
            self.trace.note(self.time.now(), self.who, &format!("brought back, it is at {}", response.seq));
        }
        brought
    }

    async fn push(&self, _space: SpaceId, request: &PushRequest) -> Result<PushResponse, RemoteError> {
        let (request, clock) = (request.clone(), self.centre.clock.clone());
        let ops: Vec<String> = request.ops.iter().map(brief).collect();
        let what = format!("push at {}: {}", request.cursor.seq, ops.join(", "));
        let answered = self.call(&what, move |server, device| server.push(device, &request, clock.wall())).await;
        if let Ok(response) = &answered {
            let outcomes: Vec<String> = response.answers.iter().map(|answer| format!("{:?}", answer.outcome)).collect();
            self.trace.note(
                self.time.now(),
                self.who,
                &format!("answers, it is at {}: {}", response.after.seq, outcomes.join(", ")),
            );
        }
        answered
    }

    async fn pull(&self, _space: SpaceId, cursor: &Cursor, page: Option<&str>) -> Result<PullResponse, RemoteError> {
        let (cursor, page) = (*cursor, page.map(str::to_owned));
        let what = format!("pull {}", cursor.seq);
        self.call(&what, move |server, _| server.pull(&cursor, page.as_deref())).await
    }

    async fn children(
        &self,
        _space: SpaceId,
        node: NodeId,
        after: Option<&str>,
    ) -> Result<ChildrenResponse, RemoteError> {
        let after = after.map(str::to_owned);
        self.call("children", move |server, _| server.children(node, after.as_deref())).await
    }

    async fn missing(&self, _space: SpaceId, ids: &[ChunkId]) -> Result<MissingResponse, RemoteError> {
        let ids = ids.to_vec();
        self.call("missing", move |server, _| Ok(MissingResponse { missing: server.missing(&ids) })).await
    }

    async fn upload(&self, _space: SpaceId, items: Vec<UploadItem>) -> Result<UploadResponse, RemoteError> {
        let what = format!("upload {}", items.len());
        self.carry(items.iter().map(|item| item.stored.len()).sum()).await;
        self.call(&what, move |server, _| {
            let stored = server.upload(items.clone())?;
            Ok(UploadResponse { accepted: items.len() as u64, stored })
        })
        .await
    }

    async fn fetch(
        &self,
        _space: SpaceId,
        ranges: &[ChunkRange],
        sink: mpsc::Sender<FetchedFrames>,
    ) -> Result<(), RemoteError> {
        let ranges = ranges.to_vec();
        let frames = self.call("fetch", move |server, _| server.fetch(&ranges)).await?;
        self.carry(frames.iter().map(|one| one.frames.len()).sum()).await;
        for one in frames {
            if sink.send(one).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn notify(&self, events: mpsc::Sender<NoticeEvent>) -> Result<ReceiptSender, RemoteError> {
        self.call("notify", |_, _| Ok(())).await?;
        let (sender, receipts) = mpsc::unbounded_channel();
        let socket = Socket {
            time: self.time.clone(),
            line: self.line.subscribe(),
            seq: self.centre.seq.subscribe(),
            dice: Dice::of(self.dice.lock().roll(), 7),
            events,
        };
        tokio::spawn(socket.serve(receipts));
        Ok(sender)
    }
}

fn short(node: NodeId) -> String {
    format!("{:02x}{:02x}", node.0[0], node.0[1])
}

fn at(place: &Place) -> String {
    format!("{}/{}", short(place.parent), place.name)
}

/// What is brought back, for people.
fn brief_lost(lost: &Lost) -> String {
    match lost {
        Lost::Node(LostNode { node, seq, state, places, .. }) => {
            let places: Vec<String> = places.iter().map(at).collect();
            let size = state.as_ref().map(|state| state.file.as_ref().map(|file| file.content.size));
            format!("{} since {seq} at {places:?} {size:?}", short(*node))
        }
        Lost::Freed { place, seq } => format!("{} free since {seq}", at(place)),
        Lost::Alias { node, target } => format!("{} is {}", short(*node), short(*target)),
        Lost::Conflict { seq, state, .. } => format!("conflict of {} since {seq}", short(state.node)),
    }
}

/// What an operation is about, for people.
fn brief(op: &Operation) -> String {
    let what = match &op.kind {
        OpKind::Create { node, place, .. } => format!("create {} {}", short(*node), at(place)),
        OpKind::Write { node, place, .. } => format!("write {} {}", short(*node), at(place)),
        OpKind::SetAttr { node, .. } => format!("set {}", short(*node)),
        OpKind::Link { node, place } => format!("link {} {}", short(*node), at(place)),
        OpKind::Unlink { place, seen } => format!("unlink {} {}", short(seen.node), at(place)),
        OpKind::Rename { from, to, seen, displaced, mode } => {
            let over = displaced.as_ref().map(|seen| short(seen.node)).unwrap_or_default();
            format!("rename {} {} {} over {over} {mode:?}", short(seen.node), at(from), at(to))
        }
        OpKind::Attach { .. } => "attach".to_owned(),
    };
    format!("{} {what}", op.counter)
}

/// An open notice socket.
struct Socket {
    time: Time,
    line: watch::Receiver<Line>,
    seq: watch::Receiver<u64>,
    dice: Dice,
    events: mpsc::Sender<NoticeEvent>,
}

impl Socket {
    async fn serve(mut self, mut receipts: mpsc::UnboundedReceiver<Receipt>) {
        if self.events.send(NoticeEvent::Connected).await.is_err() {
            return;
        }
        let reason = loop {
            let line = *self.line.borrow_and_update();
            match line {
                Line::Down => break "no network",
                Line::Silent => {
                    let still = self.line.clone();
                    self.time.sleep(SILENCE).await;
                    if *still.borrow() != Line::Up {
                        break "no sign of life";
                    }
                }
                Line::Up => {}
            }
            tokio::select! {
                biased;
                receipt = receipts.recv() => if receipt.is_none() { break "closed" },
                changed = self.line.changed() => if changed.is_err() { break "the machine is off" },
                changed = self.seq.changed() => {
                    if changed.is_err() {
                        break "the server is off";
                    }
                    self.tell().await;
                }
            }
        };
        // Nobody may listen any more.
        let _ = self.events.send(NoticeEvent::Disconnected(reason.to_owned())).await;
    }

    /// A notice takes its time, comes twice, or never.
    async fn tell(&mut self) {
        let wait = Duration::from_micros(self.dice.between(200, 30_000));
        self.time.sleep(wait).await;
        let seq = *self.seq.borrow_and_update();
        let times = if self.dice.chance(30) { 0 } else { 1 + u64::from(self.dice.chance(30)) };
        for _ in 0..times {
            let _ = self.events.send(NoticeEvent::Notice(Notice::Changed { space: SPACE, seq })).await;
        }
    }
}
