//! A mount of a real tree, over its log, database and contents, with a server that cannot be reached.

use super::super::{KernelNotifier, MountOptions, Session, mount};
use super::shown;
use crate::content::Options as ContentOptions;
use crate::env::Env;
use crate::hydrate::{HydrateOptions, Hydrator};
use crate::journal::{JournalOptions, StateLock};
use crate::remote::{FetchedFrames, NoticeEvent, ReceiptSender, Remote, RemoteError, UploadItem};
use crate::tree::Unlisted;
use crate::tree::{Identity, Opened, Tree};
use crate::vfs::ports::{BringError, Lister};
use crate::vfs::{LiveTree, Ports, Vfs};
use async_trait::async_trait;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::api::{
    ChildrenResponse, ChunkRange, MissingResponse, PullResponse, PushRequest, PushResponse, SpacesResponse,
    UploadResponse,
};
use tarn_proto::change::Cursor;
use tarn_proto::ids::{ChunkId, DeviceId, EpochId, JournalHash, NodeId, SpaceId};
use tarn_proto::lost::{RecoverRequest, RecoverResponse};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Sender;

const SPACE: SpaceId = SpaceId([7; 16]);

/// The mount.
pub struct Live {
    session: Option<Session>,
    folder: TempDir,
    _runtime: Runtime,
    _opened: Opened,
    _lock: StateLock,
    _state: TempDir,
}

impl Live {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (runtime, state, env) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap(), Env::real());
        let lock = StateLock::acquire(&env, state.path(), Duration::from_secs(5)).unwrap();
        let identity = Identity { device: DeviceId([1; 16]), device_name: "laptop".into(), space: SPACE };
        let (journal, contents) = (JournalOptions::default(), ContentOptions::default());
        let opened = Tree::assemble(&env, state.path(), journal, contents, identity).unwrap();
        opened.tree.take_inventory().unwrap();
        let start = Cursor { epoch: EpochId([9; 16]), seq: 0, hash: JournalHash([0; 32]) };
        opened.tree.begin_load().unwrap();
        opened.tree.finish_load(crate::tree::Loaded::first(start)).unwrap();
        let hydrator =
            Hydrator::new(env.clone(), Arc::new(Away), SPACE, runtime.handle().clone(), HydrateOptions::default());
        let place = (state.path().into(), u64::MAX);
        let tree = LiveTree::new(opened.tree.clone(), hydrator, runtime.handle().clone(), place);
        let notifier = Arc::new(KernelNotifier::default());
        opened.tree.set_notifier(notifier.clone());
        let (tree, lister, clock) = (Arc::new(tree), Arc::new(Away), env.clock.clone());
        let ports = Ports { tree, lister, clock, stale: notifier.stale().clone(), replay: notifier.replay().clone() };
        let vfs = Vfs::new(ports, shown());
        let options = MountOptions {
            waits: Arc::default(),
            mountpoint: folder.path().into(),
            source: "tarn:anna@example.org".into(),
            allow_other: rustix::process::getuid().is_root(),
            read_timeout: Duration::from_secs(2),
            backings: Arc::default(),
        };
        let session = mount(Arc::new(vfs), &notifier, &options, runtime.handle(), None).unwrap();
        Self { session: Some(session), folder, _runtime: runtime, _opened: opened, _lock: lock, _state: state }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let _ = session.detach();
            let _ = session.join();
        }
    }
}

/// A server that cannot be reached.
#[derive(Debug)]
struct Away;

fn away<T>() -> Result<T, RemoteError> {
    Err(RemoteError::Unreachable("a test".into()))
}

#[async_trait]
impl Lister for Away {
    async fn list(&self, _: Unlisted) -> Result<(), BringError> {
        Err(BringError::Unreachable)
    }
}

#[async_trait]
impl Remote for Away {
    async fn spaces(&self) -> Result<SpacesResponse, RemoteError> {
        away()
    }
    async fn push(&self, _: SpaceId, _: &PushRequest) -> Result<PushResponse, RemoteError> {
        away()
    }
    async fn recover(&self, _: SpaceId, _: &RecoverRequest) -> Result<RecoverResponse, RemoteError> {
        away()
    }
    async fn pull(&self, _: SpaceId, _: &Cursor, _: Option<&str>) -> Result<PullResponse, RemoteError> {
        away()
    }
    async fn children(&self, _: SpaceId, _: NodeId, _: Option<&str>) -> Result<ChildrenResponse, RemoteError> {
        away()
    }
    async fn missing(&self, _: SpaceId, _: &[ChunkId]) -> Result<MissingResponse, RemoteError> {
        away()
    }
    async fn upload(&self, _: SpaceId, _: Vec<UploadItem>) -> Result<UploadResponse, RemoteError> {
        away()
    }
    async fn fetch(&self, _: SpaceId, _: &[ChunkRange], _: Sender<FetchedFrames>) -> Result<(), RemoteError> {
        away()
    }
    async fn notify(&self, _: Sender<NoticeEvent>) -> Result<ReceiptSender, RemoteError> {
        away()
    }
}
