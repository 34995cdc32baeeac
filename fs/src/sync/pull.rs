//! Owns one pull: all pages of a cut, applied together; or everything from the start, streamed in.

use super::apply::{Applier, Job};
use super::event::Failure;
use super::lister::Lister;
use super::ports::SyncTree;
use super::recover::Recoverer;
use crate::env::Env;
use crate::limits;
use crate::remote::{Remote, RemoteError};
use crate::tree::Loaded;
use std::sync::Arc;
use tarn_proto::api::{PullResponse, SpaceInfo};
use tarn_proto::change::{Change, Cursor};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{JournalHash, SpaceId};

/// Brings what others changed.
#[derive(Debug)]
pub(super) struct Puller {
    pub env: Env,
    pub space: SpaceId,
    pub tree: Arc<dyn SyncTree>,
    pub remote: Arc<dyn Remote>,
    pub lister: Lister,
    pub applier: Applier,
    pub recoverer: Recoverer,
}

impl Puller {
    /// Pulls once; returns the seq at which the device stands then.
    pub async fn pull(&self, full: bool) -> Result<u64, Failure> {
        if self.tree.is_load_unseen() {
            // First of all: else this device would take for lost what the server has told it of by then.
            self.applier.run(Job::ShowLoaded).await.map_err(Failure::Local)?;
        }
        // From the very start the server says nothing of what is gone: such a cut would leave rows of this device's own
        // answers behind. A load replaces them.
        match self.tree.cursor().filter(|cursor| !full && cursor.seq > 0) {
            None => self.load().await,
            Some(cursor) => match self.cut(cursor).await {
                Err(Failure::Remote(error)) if is_useless(&error) => self.load().await,
                result => result,
            },
        }
    }

    /// The cursor before the first change: what a device without one pushes and pulls with.
    pub async fn origin(&self) -> Result<Cursor, Failure> {
        let info = self.space_info().await.map_err(Failure::Remote)?;
        // What is answered from now on is of this history: should the server be put back before the first full pull is
        // complete, it has lost that.
        self.recoverer.fork_of_answers(&info).await?;
        Ok(start_of(&info))
    }

    async fn space_info(&self) -> Result<SpaceInfo, RemoteError> {
        let spaces = self.remote.spaces().await?.spaces;
        let space = spaces.into_iter().find(|info| info.space == self.space);
        space.ok_or_else(|| RemoteError::Refused {
            code: ErrorCode::NotFound,
            detail: "this account has the space no more".into(),
        })
    }

    async fn cut(&self, cursor: Cursor) -> Result<u64, Failure> {
        let mut changes: Vec<Change> = Vec::new();
        let mut pages = Pages::new(cursor);
        while let Some(page) = pages.next(self).await.map_err(Failure::Remote)? {
            changes.extend(page.changes);
        }
        if let Some(upto) = pages.upto.filter(|upto| *upto != cursor) {
            self.applier.run(Job::Cut { changes, upto }).await.map_err(Failure::Local)?;
        }
        Ok(self.tree.cursor().map_or(0, |cursor| cursor.seq))
    }

    async fn load(&self) -> Result<u64, Failure> {
        let info = self.space_info().await.map_err(Failure::Remote)?;
        // First of all: what this device takes for the server's state is about to be replaced.
        let fork = self.recoverer.recover(&info).await?;
        self.local(|tree| tree.begin_load()).await?;
        let mut pages = Pages::new(start_of(&info));
        let mut page = pages.next(self).await;
        while let Some(PullResponse { changes, .. }) = page.map_err(Failure::Remote)? {
            // The server makes a page while the one before is kept aside.
            let next = async {
                self.lister.make_way(limits::LISTING_AHEAD_MAX).await;
                pages.next(self).await
            };
            let (kept, next) = tokio::join!(self.local(move |tree| tree.load_page(changes)), next);
            kept?;
            page = next;
        }
        if let Some(upto) = pages.upto {
            let loaded = Loaded { upto, epochs: info.epochs, fork };
            self.applier.run(Job::FinishLoad { loaded }).await.map_err(Failure::Local)?;
        }
        Ok(self.tree.cursor().map_or(0, |cursor| cursor.seq))
    }

    async fn local(
        &self,
        work: impl FnOnce(&dyn SyncTree) -> Result<(), crate::tree::TreeError> + Send + 'static,
    ) -> Result<(), Failure> {
        let tree = Arc::clone(&self.tree);
        let done = self.env.blocking(move || work(tree.as_ref())).await;
        done.map_err(|e| Failure::Local(e.to_string()))?.map_err(|e| Failure::Local(e.to_string()))
    }
}

/// Before the first change of a space.
fn start_of(space: &SpaceInfo) -> Cursor {
    Cursor { epoch: space.cursor.epoch, seq: 0, hash: JournalHash([0; 32]) }
}

/// Whether the server does not know the cursor any more.
fn is_useless(error: &RemoteError) -> bool {
    matches!(error, RemoteError::Refused { code: ErrorCode::EpochChanged | ErrorCode::CursorExpired, .. })
}

/// The pages of one cut.
struct Pages {
    cursor: Cursor,
    upto: Option<Cursor>,
    next: Option<String>,
}

impl Pages {
    fn new(cursor: Cursor) -> Self {
        Self { cursor, upto: None, next: None }
    }

    /// The next page; `None` after the last. All pages must be of one cut.
    async fn next(&mut self, puller: &Puller) -> Result<Option<PullResponse>, RemoteError> {
        if self.upto.is_some() && self.next.is_none() {
            return Ok(None);
        }
        let page = puller.remote.pull(puller.space, &self.cursor, self.next.as_deref()).await?;
        if self.upto.is_some_and(|upto| upto != page.upto) {
            return Err(RemoteError::Malformed("the pages are not of one cut".into()));
        }
        if page.next.is_some() && page.next == self.next {
            return Err(RemoteError::Malformed("a page leads to itself".into()));
        }
        if let Some(usage) = page.usage {
            puller.tree.note_usage(usage);
        }
        self.upto = Some(page.upto);
        self.next.clone_from(&page.next);
        Ok(Some(page))
    }
}
