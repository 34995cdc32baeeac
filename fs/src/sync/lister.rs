//! Owns listing folders on demand: one flight for each folder, however many wait.

use super::ports::SyncTree;
use crate::env::Env;
use crate::remote::{Remote, RemoteError};
use crate::tree::TreeError;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use tarn_proto::api::ChildrenResponse;
use tarn_proto::ids::{NodeId, SpaceId};

type Flight = Shared<BoxFuture<'static, Result<(), RemoteError>>>;

/// Lists folders. Cheap to clone.
#[derive(Clone)]
pub struct Lister(Arc<Inner>);

struct Inner {
    env: Env,
    space: SpaceId,
    tree: Arc<dyn SyncTree>,
    remote: Arc<dyn Remote>,
    flights: Mutex<HashMap<NodeId, Flight>>,
}

impl fmt::Debug for Lister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lister").field("space", &self.0.space).finish_non_exhaustive()
    }
}

impl Lister {
    /// A lister of one space. Must be used inside a tokio runtime.
    pub fn new(env: Env, space: SpaceId, tree: Arc<dyn SyncTree>, remote: Arc<dyn Remote>) -> Self {
        Self(Arc::new(Inner { env, space, tree, remote, flights: Mutex::default() }))
    }

    /// Lists a folder and hands it to the tree. Once begun it goes on even if nobody waits any more:
    /// dropping the future is safe.
    ///
    /// # Errors
    /// What the network says; `Refused(NotFound)` if there is no such folder any more.
    pub async fn list(&self, node: NodeId) -> Result<(), RemoteError> {
        let flight = {
            let mut flights = self.0.flights.lock();
            flights.entry(node).or_insert_with(|| self.take_off(node)).clone()
        };
        flight.await
    }

    fn take_off(&self, node: NodeId) -> Flight {
        let inner = Arc::clone(&self.0);
        let landing = Landing { inner: Arc::downgrade(&self.0), node };
        let task = tokio::spawn(async move {
            let _landing = landing;
            inner.fetch(node).await
        });
        let joined = task.map(|done| done.unwrap_or_else(|e| Err(RemoteError::Unreachable(e.to_string()))));
        joined.boxed().shared()
    }
}

/// Forgets the flight, however it ended.
struct Landing {
    inner: Weak<Inner>,
    node: NodeId,
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.flights.lock().remove(&self.node);
        }
    }
}

/// Lists a folder, all pages of it, and hands it to nobody.
///
/// # Errors
/// What the network says; `Refused(NotFound)` if there is no such folder any more.
pub async fn whole_listing(remote: &dyn Remote, space: SpaceId, node: NodeId) -> Result<ChildrenResponse, RemoteError> {
    let mut listing = remote.children(space, node, None).await?;
    while let Some(next) = listing.next.take() {
        let mut page = following(remote.children(space, node, Some(&next)).await?, listing.seq, &next)?;
        listing.children.append(&mut page.children);
        listing.next = page.next;
    }
    Ok(listing)
}

/// A page that was asked for with `token`, if it is of the listing as of `seq`.
fn following(page: ChildrenResponse, seq: u64, token: &str) -> Result<ChildrenResponse, RemoteError> {
    if page.seq != seq || page.next.as_deref() == Some(token) {
        return Err(RemoteError::Malformed("the pages are not of one listing".into()));
    }
    Ok(page)
}

impl Inner {
    /// Each page is taken in while the next one is on its way.
    async fn fetch(&self, node: NodeId) -> Result<(), RemoteError> {
        let mut page = self.remote.children(self.space, node, None).await?;
        let tree = Arc::clone(&self.tree);
        let seq = page.seq;
        let mut listing = self.local(move || tree.begin_listing(node, seq)).await?;
        loop {
            let (tree, children) = (Arc::clone(&self.tree), std::mem::take(&mut page.children));
            let taken = self.local(move || tree.list_children(listing, children));
            let Some(token) = page.next.take() else {
                listing = taken.await?;
                break;
            };
            let (taken, next) = tokio::join!(taken, self.remote.children(self.space, node, Some(&token)));
            (listing, page) = (taken?, following(next?, seq, &token)?);
        }
        let tree = Arc::clone(&self.tree);
        self.local(move || tree.end_listing(listing, page)).await
    }

    /// What the tree does with it, on a thread of its own.
    async fn local<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, TreeError> + Send + 'static,
    ) -> Result<T, RemoteError> {
        let done = self.env.blocking(work).await;
        let done = done.map_err(|e| RemoteError::Unreachable(e.to_string()))?;
        done.map_err(|e| RemoteError::Unreachable(format!("local state: {e}")))
    }
}
