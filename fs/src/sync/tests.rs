//! Tests of the driver against a server in memory, with faults.
#![allow(clippy::unwrap_used)]

mod bridge;
mod lister;
mod pull;
mod push;
mod real;
mod recover;

use super::engine::Held;
use super::testing::{FakeTree, SPACE, is_present, name, node_of, parts};
use super::{Lister, SyncHandle, WaitOutcome};
use crate::env::Env;
use crate::remote::faulty::{Call, Fault, FaultyRemote};
use crate::remote::memory::{MemoryRemote, MemoryServer};
use crate::remote::{Remote as _, RemoteError};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::api::Outcome;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{DeviceId, EpochId, NodeId};

const ANN: DeviceId = DeviceId([1; 16]);
const BEN: DeviceId = DeviceId([2; 16]);
const DEADLINE: Duration = Duration::from_secs(20);

struct Device {
    tree: Arc<FakeTree>,
    remote: Arc<FaultyRemote<MemoryRemote>>,
    sync: SyncHandle,
}

fn device(server: &Arc<MemoryServer>, id: DeviceId) -> Device {
    let tree = Arc::new(FakeTree::default());
    let remote = Arc::new(FaultyRemote::new(server.device(id)));
    start(tree, remote)
}

fn start(tree: Arc<FakeTree>, remote: Arc<FaultyRemote<MemoryRemote>>) -> Device {
    let sync = SyncHandle::start(parts(tree.clone(), remote.clone()));
    Device { tree, remote, sync }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("in time")
}

/// Waits until something is so; the state is looked at again whenever the engine did something.
async fn until(device: &Device, is_so: impl Fn() -> bool) {
    let mut view = device.sync.watch();
    within(async {
        while !is_so() {
            // Changes of the server have no event here: look again soon.
            let _ = tokio::time::timeout(Duration::from_millis(5), view.changed()).await;
        }
    })
    .await;
}

fn bytes(length: usize, seed: u8) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_device_does_another_one_has() {
    let server = MemoryServer::new(SPACE);
    let (ann, ben) = (device(&server, ANN), device(&server, BEN));
    for n in 0..50u8 {
        ann.tree.create(&format!("file {n}"), Some(bytes(1_000, n)), false);
        ann.tree.create(&format!("folder {n}"), None, false);
    }
    assert_eq!(within(ann.sync.wait_until_clean()).await, WaitOutcome::Clean);
    until(&ben, || ben.sync.status().cursor == Some(server.cursor())).await;
    let shown = |rows: Vec<_>| rows.iter().filter(|change| is_present(change)).count();
    assert_eq!(shown(ben.tree.rows()), shown(server.rows()));
    until(&ann, || server.receipts().iter().any(|(id, receipt)| *id == BEN && receipt.cursor == server.cursor())).await;
    within(ann.sync.shutdown()).await;
    within(ben.sync.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_contents_arrive_whole_in_several_bodies() {
    let server = MemoryServer::new(SPACE);
    let ann = device(&server, ANN);
    ann.tree.create("large", Some(bytes(30 << 20, 1)), false);
    assert_eq!(within(ann.sync.wait_until_clean()).await, WaitOutcome::Clean);
    let uploads = ann.remote.calls().iter().filter(|call| **call == Call::Upload).count();
    assert!((3..=8).contains(&uploads), "{uploads} bodies");
    let rows = server.rows();
    assert!(rows.iter().filter_map(node_of).any(|node| node.file.as_ref().is_some_and(|f| f.content.size == 30 << 20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_the_account_has_are_not_sent_again() {
    let server = MemoryServer::new(SPACE);
    let ann = device(&server, ANN);
    ann.tree.create("one", Some(bytes(5_000, 1)), false);
    assert_eq!(within(ann.sync.wait_until_clean()).await, WaitOutcome::Clean);
    ann.tree.create("two", Some(bytes(5_000, 1)), false);
    assert_eq!(within(ann.sync.wait_until_clean()).await, WaitOutcome::Clean);
    assert_eq!(ann.remote.calls().iter().filter(|call| **call == Call::Upload).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_and_lost_requests_change_nothing() {
    let server = MemoryServer::new(SPACE);
    let ann = device(&server, ANN);
    let lost = || RemoteError::Unreachable("lost".into());
    for call in [Call::Push, Call::Upload, Call::Missing, Call::Pull, Call::Notify, Call::Spaces] {
        ann.remote.plan(call, Fault::After(lost()));
        ann.remote.plan(call, Fault::Before(lost()));
    }
    let tickets: Vec<_> = (0..20u8)
        .map(|n| ann.tree.create(&format!("file {n}"), Some(bytes(40_000 * usize::from(n), n)), false))
        .collect();
    until(&ann, || ann.tree.settled().len() == tickets.len()).await;
    assert!(ann.tree.settled().iter().all(|(_, outcome)| *outcome == Outcome::Applied));
    assert_eq!(server.highest_counter(ANN), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_could_not_be_applied_come_again() {
    let server = MemoryServer::new(SPACE);
    let ann = device(&server, ANN);
    ann.tree.fail_settles(3);
    for n in 0..5 {
        ann.tree.create(&format!("folder {n}"), None, false);
    }
    until(&ann, || ann.tree.settled().len() == 5).await;
    assert_eq!(server.highest_counter(ANN), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_file_waits_until_somebody_waits_for_it() {
    let server = MemoryServer::new(SPACE);
    let ann = device(&server, ANN);
    let open = ann.tree.create("open", Some(bytes(100, 1)), true);
    let later = ann.tree.create("folder", None, false);
    until(&ann, || ann.tree.settled().len() == 1).await;
    assert_eq!(ann.tree.settled()[0].0, later);
    assert_eq!(within(ann.sync.wait_until_clean()).await, WaitOutcome::Clean);
    assert_eq!(ann.tree.settled()[1].0, open);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_file_sends_it() {
    let server = MemoryServer::new(SPACE);
    let ann = device(&server, ANN);
    let open = ann.tree.create("open", Some(bytes(100, 1)), true);
    until(&ann, || ann.sync.status().engine.parked_count == 1).await;
    ann.tree.close(open);
    until(&ann, || ann.tree.settled().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_network_waiting_says_so_and_work_goes_on_later() {
    let server = MemoryServer::new(SPACE);
    let ann = device(&server, ANN);
    until(&ann, || ann.sync.status().cursor.is_some()).await;
    ann.remote.set_down(true);
    ann.tree.create("folder", None, false);
    let outcome = within(ann.sync.wait_until_clean()).await;
    assert!(matches!(outcome, WaitOutcome::Away(_)), "{outcome:?}");
    ann.remote.set_down(false);
    ann.sync.network_changed();
    until(&ann, || ann.tree.settled().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_held_and_keeps_its_queue() {
    let server = MemoryServer::new(SPACE);
    let ann = device(&server, ANN);
    until(&ann, || ann.sync.status().cursor.is_some()).await;
    server.revoke(ANN);
    until(&ann, || ann.sync.status().engine.held.is_some()).await;
    ann.tree.create("folder", None, false);
    assert_eq!(within(ann.sync.wait_until_clean()).await, WaitOutcome::Held(Held::SignedOut));
    assert_eq!(ann.sync.status().queue.operations, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_gets_another_one() {
    let server = MemoryServer::new(SPACE);
    let ben = device(&server, BEN);
    for text in ["report", "report (1)"] {
        ben.tree.create(text, None, false);
    }
    assert_eq!(within(ben.sync.wait_until_clean()).await, WaitOutcome::Clean);
    let ann = device(&server, ANN);
    ann.tree.create("report", Some(bytes(10, 1)), false);
    // The same node id would be refused: names decide the fake's ids.
    until(&ann, || ann.tree.settled().len() == 1).await;
    let settled = ann.tree.settled();
    assert!(matches!(settled[0].1, Outcome::Refused { code: ErrorCode::NodeExists, .. }));
    assert_eq!(ann.tree.renames(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_the_server_lost_are_sent_again() {
    let server = MemoryServer::new(SPACE);
    let ann = device(&server, ANN);
    until(&ann, || ann.sync.status().cursor.is_some()).await;
    let late = RemoteError::Unreachable("late".into());
    ann.remote.plan(Call::Push, Fault::Before(late));
    ann.tree.create("file", Some(bytes(3 << 20, 1)), false);
    until(&ann, || ann.remote.calls().contains(&Call::Push)).await;
    server.forget_chunks();
    until(&ann, || ann.tree.settled().len() == 1).await;
    assert_eq!(ann.tree.settled()[0].1, Outcome::Applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_server_is_loaded_anew() {
    let server = MemoryServer::new(SPACE);
    let ann = device(&server, ANN);
    ann.tree.create("before", None, false);
    assert_eq!(within(ann.sync.wait_until_clean()).await, WaitOutcome::Clean);
    server.open_epoch(EpochId([9; 16]));
    ann.tree.create("after", None, false);
    until(&ann, || ann.tree.settled().len() == 2).await;
    until(&ann, || ann.sync.status().cursor.is_some_and(|cursor| cursor.epoch == EpochId([9; 16]))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_device_takes_a_new_id() {
    let server = MemoryServer::new(SPACE);
    let ann = device(&server, ANN);
    for n in 0..3 {
        ann.tree.create(&format!("folder {n}"), None, false);
    }
    assert_eq!(within(ann.sync.wait_until_clean()).await, WaitOutcome::Clean);
    ann.tree.roll_back();
    ann.tree.create("again", None, false);
    until(&ann, || ann.tree.device() == Some(BEN)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_listed_once_however_many_wait() {
    let server = MemoryServer::new(SPACE);
    let ben = device(&server, BEN);
    for n in 0..10 {
        ben.tree.create(&format!("folder {n}"), None, false);
    }
    assert_eq!(within(ben.sync.wait_until_clean()).await, WaitOutcome::Clean);
    let tree = Arc::new(FakeTree::default());
    let remote = Arc::new(FaultyRemote::new(server.device(ANN)));
    remote.plan(Call::Children, Fault::Delay(Duration::from_millis(50)));
    let lister = Lister::new(Env::real(), SPACE, tree.clone(), remote.clone());
    let root = NodeId::root_of(SPACE);
    let (a, b, c) = within(async { tokio::join!(lister.list(root), lister.list(root), lister.list(root)) }).await;
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    let listed = tree.listed();
    assert_eq!((listed.len(), listed[0].children.len()), (1, 10));
    assert_eq!(listed[0].children[3].name, name("folder 3"));
    let pages = remote.calls().len();
    within(lister.list(root)).await.unwrap();
    assert_eq!(remote.calls().len(), 2 * pages, "a later wish is a new flight");
    let unknown = within(lister.list(NodeId([77; 16]))).await;
    assert!(matches!(unknown, Err(RemoteError::Refused { code: ErrorCode::NotFound, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_interrupted_goes_on_after_a_restart() {
    let server = MemoryServer::new(SPACE);
    let ann = device(&server, ANN);
    until(&ann, || ann.sync.status().cursor.is_some()).await;
    ann.remote.plan(Call::Push, Fault::After(RemoteError::Unreachable("cut".into())));
    for n in 0..10u8 {
        ann.tree.create(&format!("file {n}"), Some(bytes(100, n)), false);
    }
    until(&ann, || ann.remote.calls().contains(&Call::Push)).await;
    let (tree, remote) = (ann.tree.clone(), ann.remote.clone());
    within(ann.sync.shutdown()).await;
    let again = start(tree, remote);
    assert_eq!(within(again.sync.wait_until_clean()).await, WaitOutcome::Clean);
    assert_eq!(again.tree.settled().len(), 10);
    assert_eq!(within(again.remote.spaces()).await.unwrap().spaces[0].cursor, server.cursor());
}
