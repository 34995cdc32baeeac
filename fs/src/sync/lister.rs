//! Owns listing folders on demand: one flight for each folder, however many wait, be it for all of it or for what comes next.

use super::ports::SyncTree;
use crate::env::Env;
use crate::remote::{Remote, RemoteError};
use crate::tree::{Listing, TreeError, Unlisted};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tarn_proto::api::{ChildEntry, ChildrenResponse};
use tarn_proto::ids::{NodeId, SpaceId};
use tarn_proto::name::Name;
use tokio::sync::watch;

/// A folder that is being listed.
#[derive(Clone)]
struct Flight {
    end: Shared<BoxFuture<'static, Result<(), RemoteError>>>,
    /// What the tree has taken in: see [`Unlisted`].
    progress: Arc<watch::Sender<u64>>,
}

/// Lists folders. Cheap to clone.
#[derive(Clone)]
pub struct Lister(Arc<Inner>);

struct Inner {
    env: Env,
    space: SpaceId,
    tree: Arc<dyn SyncTree>,
    remote: Arc<dyn Remote>,
    flights: Mutex<HashMap<NodeId, Flight>>,
    /// Flights of more than one page.
    long_flights: watch::Sender<usize>,
}

impl fmt::Debug for Lister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lister").field("space", &self.0.space).finish_non_exhaustive()
    }
}

impl Lister {
    /// A lister of one space. Must be used inside a tokio runtime.
    pub fn new(env: Env, space: SpaceId, tree: Arc<dyn SyncTree>, remote: Arc<dyn Remote>) -> Self {
        let (flights, long_flights) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Inner { env, space, tree, remote, flights, long_flights }))
    }

    /// Lists a folder and hands it to the tree. Once begun it goes on even if nobody waits any more:
    /// dropping the future is safe.
    ///
    /// # Errors
    /// What the network says; `Refused(NotFound)` if there is no such folder any more.
    pub async fn list(&self, node: NodeId) -> Result<(), RemoteError> {
        self.board(node).end.await
    }

    /// The same, but returns as soon as the tree has taken in more of the folder than somebody found there.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn list_further(&self, folder: Unlisted) -> Result<(), RemoteError> {
        let Flight { end, progress } = self.board(folder.node);
        let mut progress = progress.subscribe();
        tokio::select! {
            biased;
            ended = end => ended,
            // The flight has a sender as long as it has not ended.
            _ = progress.wait_for(|progress| *progress > folder.progress) => Ok(()),
        }
    }

    /// The tree may know more than listings have brought: whoever waits for one looks again.
    pub fn look_again(&self) {
        for flight in self.0.flights.lock().values() {
            flight.progress.send_replace(u64::MAX);
        }
    }

    /// Returns once no folder of more than one page is being listed, at the latest after so long: somebody waits for those, and
    /// for nobody's sake does what comes by itself take their place on the line and the processor.
    pub async fn make_way(&self, at_most: Duration) {
        let mut long_flights = self.0.long_flights.subscribe();
        tokio::select! {
            biased;
            // The sender is this lister's.
            _ = long_flights.wait_for(|count| *count == 0) => {}
            () = self.0.env.sleep(at_most) => {}
        }
    }

    fn board(&self, node: NodeId) -> Flight {
        self.0.flights.lock().entry(node).or_insert_with(|| self.take_off(node)).clone()
    }

    fn take_off(&self, node: NodeId) -> Flight {
        let inner = Arc::clone(&self.0);
        let landing = Landing { inner: Arc::downgrade(&self.0), node };
        let progress = Arc::new(watch::Sender::new(0));
        let for_task = Arc::clone(&progress);
        let task = tokio::spawn(async move {
            let _landing = landing;
            inner.fetch(node, &for_task).await
        });
        let joined = task.map(|done| done.unwrap_or_else(|e| Err(RemoteError::Unreachable(e.to_string()))));
        Flight { end: joined.boxed().shared(), progress }
    }
}

/// A flight of more than one page.
struct LongFlight<'a>(&'a watch::Sender<usize>);

impl<'a> LongFlight<'a> {
    fn begin(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for LongFlight<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
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
    let (mut listing, mut last) = in_order(remote.children(space, node, None).await?, None)?;
    while let Some(next) = listing.next.take() {
        let page = remote.children(space, node, Some(&next)).await?;
        let (mut page, upto) = in_order(following(page, listing.seq, &next)?, last)?;
        last = upto;
        listing.children.append(&mut page.children);
        listing.next = page.next;
    }
    Ok(listing)
}

/// A page that was asked for with `token`, if it is of the listing as of `seq`.
pub(super) fn following(page: ChildrenResponse, seq: u64, token: &str) -> Result<ChildrenResponse, RemoteError> {
    if page.seq != seq || page.next.as_deref() == Some(token) {
        return Err(RemoteError::Malformed("the pages are not of one listing".into()));
    }
    Ok(page)
}

/// A page whose names are in their order, and behind `last`; with the last name by then.
pub(super) fn in_order(
    page: ChildrenResponse,
    last: Option<Name>,
) -> Result<(ChildrenResponse, Option<Name>), RemoteError> {
    let names = || page.children.iter().map(|child| &child.name);
    if !last.iter().chain(names()).is_sorted_by(|a, b| a < b) {
        return Err(RemoteError::Malformed("a listing is not in the order of its names".into()));
    }
    let last = names().next_back().cloned().or(last);
    Ok((page, last))
}

impl Inner {
    /// Each page is taken in while the next one is on its way.
    async fn fetch(&self, node: NodeId, progress: &watch::Sender<u64>) -> Result<(), RemoteError> {
        let (mut page, mut last) = in_order(self.remote.children(self.space, node, None).await?, None)?;
        let _long = page.next.is_some().then(|| LongFlight::begin(&self.long_flights));
        let tree = Arc::clone(&self.tree);
        let (seq, epoch) = (page.seq, page.epoch);
        let begun = move || match epoch.map_or(Ok(true), |epoch| tree.note_listed(epoch))? {
            true => tree.begin_listing(node, seq).map(Some),
            false => Ok(None),
        };
        // One that was under way when the server was put back is of no use.
        let lost = || RemoteError::Unreachable("the listing is of a history that the server lost".into());
        let mut listing = self.local(begun).await?.ok_or_else(lost)?;
        loop {
            let taken = self.take(listing, std::mem::take(&mut page.children), progress);
            let Some(token) = page.next.take() else {
                listing = taken.await?;
                break;
            };
            let (taken, next) = tokio::join!(taken, self.remote.children(self.space, node, Some(&token)));
            listing = taken?;
            if listing.is_over() {
                break;
            }
            (page, last) = in_order(following(next?, seq, &token)?, last)?;
        }
        let tree = Arc::clone(&self.tree);
        self.local(move || tree.end_listing(listing, page)).await
    }

    /// Hands a page to the tree, and tells those who wait for it.
    async fn take(
        &self,
        listing: Listing,
        children: Vec<ChildEntry>,
        progress: &watch::Sender<u64>,
    ) -> Result<Listing, RemoteError> {
        let tree = Arc::clone(&self.tree);
        let listing = self.local(move || tree.list_children(listing, children)).await?;
        progress.send_replace(listing.progress());
        Ok(listing)
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
