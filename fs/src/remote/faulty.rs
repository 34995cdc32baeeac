//! Owns a remote that fails as told: before the server has heard, or after it has acted and before the
//! answer arrives. What survives this survives a real network.

use super::{FetchedFrames, NoticeEvent, ReceiptSender, Remote, RemoteError, UploadItem};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::api::{
    ChildrenResponse, ChunkRange, MissingResponse, PullResponse, PushRequest, PushResponse, SpacesResponse,
    UploadResponse,
};
use tarn_proto::change::Cursor;
use tarn_proto::ids::{ChunkId, NodeId, SpaceId};
use tarn_proto::lost::{RecoverRequest, RecoverResponse};
use tokio::sync::{Semaphore, mpsc};

/// One of the server's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `spaces`
    Spaces,
    /// `push`
    Push,
    /// `recover`
    Recover,
    /// `pull`
    Pull,
    /// `children`
    Children,
    /// `missing`
    Missing,
    /// `upload`
    Upload,
    /// `fetch`
    Fetch,
    /// `notify`
    Notify,
}

/// What happens to a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It fails, and the server never heard of it.
    Before(RemoteError),
    /// The server acts, and the answer is lost.
    After(RemoteError),
    /// The answer comes late.
    Delay(Duration),
    /// The server hears of it when this has a permit; never, if it is closed.
    Held(Arc<Semaphore>),
    /// `fetch` breaks off after so many items.
    Cut(usize),
    /// Nothing happens.
    None,
}

/// A remote whose calls meet faults, in the order in which they were planned.
#[derive(Debug)]
pub struct FaultyRemote<R> {
    inner: R,
    faults: Mutex<VecDeque<(Call, Fault)>>,
    calls: Mutex<Vec<Call>>,
    is_down: Mutex<bool>,
}

impl<R: Remote> FaultyRemote<R> {
    /// A remote without faults.
    pub fn new(inner: R) -> Self {
        Self { inner, faults: Mutex::default(), calls: Mutex::default(), is_down: Mutex::new(false) }
    }

    /// The next call of this kind that has no fault yet meets this one.
    pub fn plan(&self, call: Call, fault: Fault) {
        self.faults.lock().push_back((call, fault));
    }

    /// From now on nothing is reachable, or everything again. An open notice socket stays open.
    pub fn set_down(&self, is_down: bool) {
        *self.is_down.lock() = is_down;
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    fn fault(&self, call: Call) -> Fault {
        self.calls.lock().push(call);
        if *self.is_down.lock() {
            return Fault::Before(RemoteError::Unreachable("down".into()));
        }
        let mut faults = self.faults.lock();
        let at = faults.iter().position(|(planned, _)| *planned == call);
        at.and_then(|at| faults.remove(at)).map_or(Fault::None, |(_, fault)| fault)
    }

    async fn meet<T>(&self, call: Call, work: impl Future<Output = Result<T, RemoteError>>) -> Result<T, RemoteError> {
        match self.fault(call) {
            Fault::Before(error) => Err(error),
            Fault::After(error) => work.await.and(Err(error)),
            Fault::Delay(delay) => {
                let result = work.await;
                tokio::time::sleep(delay).await;
                result
            }
            Fault::Held(gate) => {
                pass(&gate).await?;
                work.await
            }
            Fault::Cut(_) | Fault::None => work.await,
        }
    }
}

async fn pass(gate: &Semaphore) -> Result<(), RemoteError> {
    let permit = gate.acquire().await.map_err(|e| RemoteError::Unreachable(e.to_string()))?;
    permit.forget();
    Ok(())
}

#[async_trait]
impl<R: Remote> Remote for FaultyRemote<R> {
    async fn spaces(&self) -> Result<SpacesResponse, RemoteError> {
        self.meet(Call::Spaces, self.inner.spaces()).await
    }

    async fn push(&self, space: SpaceId, request: &PushRequest) -> Result<PushResponse, RemoteError> {
        self.meet(Call::Push, self.inner.push(space, request)).await
    }

    async fn recover(&self, space: SpaceId, request: &RecoverRequest) -> Result<RecoverResponse, RemoteError> {
        self.meet(Call::Recover, self.inner.recover(space, request)).await
    }

    async fn pull(&self, space: SpaceId, cursor: &Cursor, page: Option<&str>) -> Result<PullResponse, RemoteError> {
        self.meet(Call::Pull, self.inner.pull(space, cursor, page)).await
    }

    async fn children(
        &self,
        space: SpaceId,
        node: NodeId,
        after: Option<&str>,
    ) -> Result<ChildrenResponse, RemoteError> {
        self.meet(Call::Children, self.inner.children(space, node, after)).await
    }

    async fn missing(&self, space: SpaceId, ids: &[ChunkId]) -> Result<MissingResponse, RemoteError> {
        self.meet(Call::Missing, self.inner.missing(space, ids)).await
    }

    async fn upload(&self, space: SpaceId, items: Vec<UploadItem>) -> Result<UploadResponse, RemoteError> {
        self.meet(Call::Upload, self.inner.upload(space, items)).await
    }

    async fn fetch(
        &self,
        space: SpaceId,
        ranges: &[ChunkRange],
        sink: mpsc::Sender<FetchedFrames>,
    ) -> Result<(), RemoteError> {
        match self.fault(Call::Fetch) {
            Fault::Before(error) => Err(error),
            Fault::After(error) => self.inner.fetch(space, ranges, sink).await.and(Err(error)),
            Fault::Cut(count) => {
                let ranges = &ranges[..count.min(ranges.len())];
                self.inner.fetch(space, ranges, sink).await?;
                Err(RemoteError::Unreachable("cut off".into()))
            }
            Fault::Delay(delay) => {
                tokio::time::sleep(delay).await;
                self.inner.fetch(space, ranges, sink).await
            }
            Fault::Held(gate) => {
                pass(&gate).await?;
                self.inner.fetch(space, ranges, sink).await
            }
            Fault::None => self.inner.fetch(space, ranges, sink).await,
        }
    }

    async fn notify(&self, events: mpsc::Sender<NoticeEvent>) -> Result<ReceiptSender, RemoteError> {
        self.meet(Call::Notify, self.inner.notify(events)).await
    }
}
