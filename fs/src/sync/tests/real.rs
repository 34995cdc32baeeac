//! The real tree behind the engine: two devices and a server in memory.

use super::*;
use crate::content::{Options, Read};
use crate::hydrate::{HydrateOptions, Hydrator, Priority};
use crate::journal::{JournalOptions, StateLock};
use crate::meta::rows::{Ino, ROOT};
use crate::sync::TreeBridge;
use crate::tree::{Identity, NewNode, Tree, TreeError};
use tarn_proto::chunk::ContentKey;
use tarn_proto::node::NodeKind;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

pub(super) struct Real {
    pub tree: Arc<Tree>,
    pub bridge: Arc<TreeBridge>,
    hydrator: Hydrator,
    pub sync: SyncHandle,
    lister: Lister,
    pub remote: Arc<FaultyRemote<MemoryRemote>>,
    _lock: StateLock,
    _dir: tempfile::TempDir,
}

/// What a device stands on, without its engine.
pub(super) struct Ground {
    pub tree: Arc<Tree>,
    pub bridge: Arc<TreeBridge>,
    pub remote: Arc<FaultyRemote<MemoryRemote>>,
    hydrator: Hydrator,
    lock: StateLock,
    dir: tempfile::TempDir,
}

pub(super) fn ground(server: &Arc<MemoryServer>, id: DeviceId) -> Ground {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::real();
    let lock = StateLock::acquire(&env, dir.path(), Duration::from_secs(5)).unwrap();
    let identity = Identity { device: id, device_name: "laptop".into(), space: SPACE };
    let opened = Tree::assemble(&env, dir.path(), JournalOptions::default(), Options::default(), identity).unwrap();
    opened.tree.take_inventory().unwrap();
    let remote = Arc::new(FaultyRemote::new(server.device(id)));
    let hydrator = Hydrator::new(env, remote.clone(), SPACE, Handle::current(), HydrateOptions::default());
    let bridge = TreeBridge::new(opened.tree.clone(), hydrator.clone(), ContentKey::Ordinary);
    Ground { tree: opened.tree, bridge, remote, hydrator, lock, dir }
}

pub(super) fn real(server: &Arc<MemoryServer>, id: DeviceId) -> Real {
    let Ground { tree, bridge, remote, hydrator, lock, dir } = ground(server, id);
    let sync = SyncHandle::start(parts(bridge.clone(), remote.clone()));
    Real { tree, bridge, hydrator, lister: sync.lister(), sync, remote, _lock: lock, _dir: dir }
}

impl Real {
    pub async fn write_file(&self, parent: Ino, text: &str, bytes: Bytes) -> Ino {
        let (tree, text) = (self.tree.clone(), text.to_owned());
        spawn_blocking(move || {
            let new = NewNode::plain(NodeKind::File, 0o644);
            let ino = tree.create(parent, &name(&text), new).unwrap().ino;
            tree.opened(ino, true).unwrap();
            tree.write(ino, 0, &bytes).unwrap();
            tree.closed(ino, true).unwrap();
            ino
        })
        .await
        .unwrap()
    }

    pub async fn mkdir(&self, parent: Ino, text: &str) -> Ino {
        let (tree, text) = (self.tree.clone(), text.to_owned());
        let new = NewNode::plain(NodeKind::Dir, 0o755);
        spawn_blocking(move || tree.create(parent, &name(&text), new).unwrap().ino).await.unwrap()
    }

    pub async fn clean(&self) {
        assert_eq!(within(self.sync.wait_until_clean()).await, WaitOutcome::Clean);
    }

    /// Finds a name, listing folders as a mount would.
    pub async fn find(&self, parent: Ino, text: &str) -> Option<Ino> {
        loop {
            match self.tree.lookup(parent, &name(text)) {
                Ok(stat) => return Some(stat.ino),
                Err(TreeError::Unlisted(folder)) => within(self.lister.list(folder.node)).await.unwrap(),
                Err(TreeError::NotFound) => return None,
                Err(other) => panic!("{other}"),
            }
        }
    }

    pub async fn read(&self, ino: Ino) -> Bytes {
        let size = self.tree.stat(ino).unwrap().size_bytes;
        let content = self.tree.content(ino).unwrap();
        within(self.hydrator.need(&content, std::slice::from_ref(&(0..size)), Priority::Demand)).await.unwrap();
        match self.hydrator.read_through(&content, 0, size as usize).unwrap() {
            Read::Bytes(bytes) => bytes,
            Read::Missing(ranges) => panic!("missing {ranges:?}"),
        }
    }

    pub async fn caught_up(&self, server: &MemoryServer) {
        let mut view = self.sync.watch();
        within(async {
            while self.tree.cursor() != Some(server.cursor()) {
                let _ = tokio::time::timeout(Duration::from_millis(5), view.changed()).await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_folders_reach_the_other_device() {
    let server = MemoryServer::new(SPACE);
    let (ann, ben) = (real(&server, ANN), real(&server, BEN));
    ann.caught_up(&server).await;
    let folder = ann.mkdir(ROOT, "folder").await;
    let contents = [bytes(0, 1), bytes(10, 2), bytes(100_000, 3), bytes(9 << 20, 4)];
    for (n, content) in contents.iter().enumerate() {
        ann.write_file(folder, &format!("file {n}"), content.clone()).await;
    }
    ann.clean().await;
    ben.caught_up(&server).await;
    let folder = ben.find(ROOT, "folder").await.unwrap();
    for (n, content) in contents.iter().enumerate() {
        let ino = ben.find(folder, &format!("file {n}")).await.unwrap();
        assert_eq!(ben.read(ino).await, *content, "file {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_cold_file_sends_little_and_arrives() {
    let server = MemoryServer::new(SPACE);
    let (ann, ben) = (real(&server, ANN), real(&server, BEN));
    ann.caught_up(&server).await;
    let mut content = bytes(20 << 20, 5).to_vec();
    ann.write_file(ROOT, "large", content.clone().into()).await;
    ann.clean().await;
    ben.caught_up(&server).await;
    let ino = ben.find(ROOT, "large").await.unwrap();
    let tree = ben.tree.clone();
    let hydrator = ben.hydrator.clone();
    let local = tree.content(ino).unwrap();
    let edited = 10 << 20..(10 << 20) + 4_096;
    within(hydrator.need(&local, std::slice::from_ref(&edited), Priority::Demand)).await.unwrap();
    spawn_blocking(move || {
        tree.opened(ino, true).unwrap();
        tree.write(ino, 10 << 20, &[7; 4_096]).unwrap();
        tree.closed(ino, true).unwrap();
    })
    .await
    .unwrap();
    content[10 << 20..(10 << 20) + 4_096].fill(7);
    ben.clean().await;
    ann.caught_up(&server).await;
    let ino = ann.find(ROOT, "large").await.unwrap();
    assert!(ann.read(ino).await == content);
    assert!(local.present_bytes() < 10 << 20, "only the edited part came here");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_go_in_few_requests() {
    let server = MemoryServer::new(SPACE);
    let ann = real(&server, ANN);
    ann.caught_up(&server).await;
    ann.remote.set_down(true);
    for n in 0..600u16 {
        ann.write_file(ROOT, &format!("file {n}"), bytes(500 + usize::from(n), n as u8)).await;
    }
    ann.remote.set_down(false);
    ann.sync.network_changed();
    let before = ann.remote.calls().len();
    ann.clean().await;
    // A notice between two pushes may cause a pull, and the server in memory has tiny pages.
    let calls: Vec<Call> = ann.remote.calls()[before..].iter().copied().filter(|call| *call != Call::Pull).collect();
    assert!(calls.len() < 20, "{calls:?}");
    assert_eq!(server.rows().iter().filter_map(node_of).filter(|node| node.kind.is_file()).count(), 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_change_nothing_with_the_real_tree() {
    let server = MemoryServer::new(SPACE);
    let (ann, ben) = (real(&server, ANN), real(&server, BEN));
    ann.caught_up(&server).await;
    ben.caught_up(&server).await;
    let lost = || RemoteError::Unreachable("lost".into());
    for _ in 0..3 {
        for call in [Call::Push, Call::Upload, Call::Pull, Call::Missing] {
            ann.remote.plan(call, Fault::After(lost()));
            ben.remote.plan(call, Fault::Before(lost()));
        }
    }
    for n in 0..30u8 {
        ann.write_file(ROOT, &format!("a {n}"), bytes(20_000, n)).await;
        ben.write_file(ROOT, &format!("b {n}"), bytes(20_000, 100 + n)).await;
    }
    let is_empty = |real: &Real| real.tree.first_ticket().is_none();
    within(async {
        while !is_empty(&ann) || !is_empty(&ben) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    ann.caught_up(&server).await;
    ben.caught_up(&server).await;
    for n in 0..30u8 {
        let ino = ann.find(ROOT, &format!("b {n}")).await.unwrap();
        assert_eq!(ann.read(ino).await, bytes(20_000, 100 + n));
        let ino = ben.find(ROOT, &format!("a {n}")).await.unwrap();
        assert_eq!(ben.read(ino).await, bytes(20_000, n));
    }
}
