//! The client's remote and sync engine against a real server over HTTP, without a kernel in between.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "tests live in the real world")]

use std::sync::Arc;
use std::time::{Duration, Instant};
use tarn::content::Options;
use tarn::env::Env;
use tarn::hydrate::{HydrateOptions, Hydrator, Priority};
use tarn::journal::{JournalOptions, StateLock};
use tarn::meta::rows::{Ino, ROOT};
use tarn::remote::conformance;
use tarn::remote::{Account, HttpRemote, RemoteError, ServerAddress};
use tarn::sync::{Parts, SyncHandle, TreeBridge, WaitOutcome, ports::Identity};
use tarn::tree::{self, NewNode, Tree, TreeError};
use tarn_proto::api::{LoginRequest, LoginResponse};
use tarn_proto::chunk::ContentKey;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::DeviceId;
use tarn_proto::name::Name;
use tarn_proto::node::NodeKind;
use tarn_tests::server::{Db, PASSWORD, Server, USER};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

const DEADLINE: Duration = Duration::from_secs(60);

async fn sign_in(server: &Server, device: &str) -> (LoginResponse, HttpRemote) {
    let address = ServerAddress::parse(&server.url()).unwrap();
    let account = Account::new(address.clone(), None).unwrap();
    let request =
        LoginRequest { user: USER.into(), password: PASSWORD.into(), device_name: device.into(), device: None };
    let signed_in = account.login(&request).await.unwrap();
    let remote = HttpRemote::new(address, &signed_in.token).unwrap();
    (signed_in, remote)
}

async fn server(db: Db) -> Option<Server> {
    spawn_blocking(move || Server::start(db)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_server_conforms() {
    for db in [Db::Sqlite, Db::Postgres] {
        let Some(server) = server(db).await else { continue };
        let (_, ann) = sign_in(&server, "laptop").await;
        let (_, ben) = sign_in(&server, "desktop").await;
        conformance::check(&ann, &ben).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_sign_in_are_listed_and_revoked() {
    let server = server(Db::Sqlite).await.unwrap();
    let (first, _) = sign_in(&server, "laptop").await;
    let (second, remote) = sign_in(&server, "desktop").await;
    let account = Account::new(ServerAddress::parse(&server.url()).unwrap(), Some(&first.token)).unwrap();
    assert_eq!(account.devices().await.unwrap().len(), 2);
    account.revoke(second.device).await.unwrap();
    let refused = tarn::remote::Remote::spaces(&remote).await;
    assert!(matches!(refused, Err(RemoteError::Refused { code: ErrorCode::Unauthenticated, .. })), "{refused:?}");
    account.logout().await.unwrap();
    assert!(account.devices().await.is_err());
}

struct Device {
    tree: Arc<Tree>,
    hydrator: Hydrator,
    sync: SyncHandle,
    _lock: StateLock,
    _dir: tempfile::TempDir,
}

/// Nobody signs in anew here.
#[derive(Debug)]
struct NoNewIdentity;

#[async_trait::async_trait]
impl Identity for NoNewIdentity {
    async fn renew(&self) -> Result<DeviceId, RemoteError> {
        Err(RemoteError::Unreachable("no new identity".into()))
    }
}

async fn device(server: &Server, text: &str) -> Device {
    let (signed_in, remote) = sign_in(server, text).await;
    let dir = tempfile::tempdir().unwrap();
    let env = Env::real();
    let lock = StateLock::acquire(&env, dir.path(), Duration::from_secs(5)).unwrap();
    let identity = tree::Identity { device: signed_in.device, device_name: text.into(), space: signed_in.home };
    let opened = Tree::assemble(&env, dir.path(), JournalOptions::default(), Options::default(), identity).unwrap();
    opened.tree.take_inventory().unwrap();
    let counters = remote.counters();
    let remote = Arc::new(remote);
    let hydrator =
        Hydrator::new(env.clone(), remote.clone(), signed_in.home, Handle::current(), HydrateOptions::default());
    let bridge = TreeBridge::new(opened.tree.clone(), hydrator.clone(), ContentKey::Ordinary);
    let identity = Arc::new(NoNewIdentity);
    let parts = Parts { env, space: signed_in.home, tree: bridge, remote, identity, counters };
    let sync = SyncHandle::start(parts);
    Device { tree: opened.tree, hydrator, sync, _lock: lock, _dir: dir }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl Device {
    fn write_file(&self, parent: Ino, text: &str, bytes: &[u8]) {
        let new = NewNode::plain(NodeKind::File, 0o644);
        let ino = self.tree.create(parent, &name(text), new).unwrap().ino;
        self.tree.opened(ino, true).unwrap();
        self.tree.write(ino, 0, bytes).unwrap();
        self.tree.closed(ino, true).unwrap();
    }

    /// Waits until a name shows; listing what is not known.
    async fn shows(&self, text: &str) -> Ino {
        let deadline = Instant::now() + DEADLINE;
        let lister = self.sync.lister();
        loop {
            match self.tree.lookup(ROOT, &name(text)) {
                Ok(stat) => return stat.ino,
                Err(TreeError::Unlisted(folder)) => lister.list(folder.node).await.unwrap(),
                Err(TreeError::NotFound) => tokio::time::sleep(Duration::from_micros(200)).await,
                Err(other) => panic!("{other}"),
            }
            assert!(Instant::now() < deadline, "{text} never came: {:?}", self.sync.status());
        }
    }

    async fn list_root(&self) {
        let lister = self.sync.lister();
        if let Err(TreeError::Unlisted(folder)) = self.tree.lookup(ROOT, &name("x")) {
            lister.list(folder.node).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_soon_on_the_other_device_and_its_bytes_too() {
    let server = server(Db::Sqlite).await.unwrap();
    let (ann, ben) = (device(&server, "laptop").await, device(&server, "desktop").await);
    ann.list_root().await;
    ben.list_root().await;
    let mut times = Vec::new();
    for n in 0..60 {
        let text = format!("file {n}");
        let started = Instant::now();
        ann.write_file(ROOT, &text, text.as_bytes());
        let ino = ben.shows(&text).await;
        times.push(started.elapsed());
        let content = ben.tree.content(ino).unwrap();
        let whole = 0..text.len() as u64;
        ben.hydrator.need(&content, std::slice::from_ref(&whole), Priority::Demand).await.unwrap();
    }
    times.sort();
    println!("visible after p50 {:?}, p90 {:?}, max {:?}", times[30], times[54], times[59]);
    assert!(times[30] < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_files_are_soon_durable() {
    let server = server(Db::Sqlite).await.unwrap();
    let ann = device(&server, "laptop").await;
    ann.list_root().await;
    let count = 4_000;
    let started = Instant::now();
    let ann = spawn_blocking(move || {
        for n in 0..count {
            ann.write_file(ROOT, &format!("file {n}"), format!("{n:4096}").as_bytes());
        }
        ann
    })
    .await
    .unwrap();
    let written = started.elapsed();
    let outcome = tokio::time::timeout(DEADLINE, ann.sync.wait_until_clean()).await.unwrap();
    assert_eq!(outcome, WaitOutcome::Clean);
    println!("{count} files written in {written:?}, durable after {:?}; {:?}", started.elapsed(), ann.sync.status());
}
