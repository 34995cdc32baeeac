//! One pull by itself.

use super::*;
use crate::remote::Remote;
use crate::sync::apply::Applier;
use crate::sync::ports::SyncTree as _;
use crate::sync::pull::Puller;
use crate::sync::recover::Recoverer;
use crate::sync::upload::Uploader;
use tarn_proto::api::{PushRequest, PushResponse};
use tarn_proto::change::{Change, Row};
use tarn_proto::node::{Attrs, NodeKind};
use tarn_proto::op::{OpKind, Operation, Place, Seen};
use tokio::sync::Semaphore;

async fn push(server: &Arc<MemoryServer>, device: DeviceId, op: Operation) -> PushResponse {
    let request = PushRequest { cursor: server.cursor(), ops: vec![op], answered: 0 };
    server.device(device).push(SPACE, &request).await.unwrap()
}

async fn make_folder(server: &Arc<MemoryServer>, counter: u64) {
    let place = Place { parent: NodeId::root_of(SPACE), name: name(&format!("folder {counter}")) };
    let node = NodeId([0x40 + counter as u8; 16]);
    let kind = OpKind::Create { node, place, kind: NodeKind::Dir, attrs: Attrs::default(), content: None };
    push(server, BEN, Operation { counter, time: Default::default(), alt_name: None, kind }).await;
}

fn names(tree: &FakeTree) -> Vec<Change> {
    let is_name = |change: &Change| is_present(change) && matches!(change.row, Row::Entry { .. });
    tree.rows().into_iter().filter(is_name).collect()
}

pub(super) fn puller(tree: &Arc<FakeTree>, remote: Arc<dyn Remote>, applier: Applier) -> Puller {
    let uploader = Arc::new(Uploader::new(Env::real(), SPACE, tree.clone(), remote.clone()));
    let recoverer = Recoverer { env: Env::real(), space: SPACE, tree: tree.clone(), remote: remote.clone(), uploader };
    let lister = Lister::new(Env::real(), SPACE, tree.clone(), remote.clone());
    Puller { env: Env::real(), space: SPACE, tree: tree.clone(), remote, lister, applier, recoverer }
}

#[tokio::test]
async fn what_is_gone_by_now_goes_also_for_a_device_that_still_stands_at_the_start() {
    let server = MemoryServer::new(SPACE);
    let tree = Arc::new(FakeTree::default());
    let remote = Arc::new(server.device(ANN));
    let (applier, _applying) = Applier::start(&Env::real(), tree.clone());
    let puller = puller(&tree, remote, applier);
    assert_eq!(puller.pull(false).await.unwrap(), 0);
    // Its own push is answered, but its cursor does not move with it: others came between.
    let ticket = tree.create("x", None, false);
    let op = tree.freeze(vec![(ticket, None)]).unwrap().remove(0).1;
    let OpKind::Create { node, place, .. } = op.kind.clone() else { panic!("{op:?}") };
    let response = push(&server, ANN, op).await;
    tree.settle(vec![(ticket, response.answers[0].clone())], response.after, response.after).unwrap();
    assert_eq!(names(&tree).len(), 1);
    let place = Place { parent: place.parent, name: place.name };
    let kind = OpKind::Unlink { place, seen: Seen { node, vector: Default::default(), seq: None, alt_name: None } };
    push(&server, BEN, Operation { counter: 1, time: Default::default(), alt_name: None, kind }).await;
    assert_eq!(puller.pull(false).await.unwrap(), server.cursor().seq);
    assert_eq!(names(&tree), []);
}

/// A server with more than one page, and a tree that keeps the first one when the sender is gone.
async fn several_pages() -> (Arc<MemoryServer>, Arc<FakeTree>, std::sync::mpsc::Sender<()>) {
    let server = MemoryServer::new(SPACE);
    for counter in 1..=9 {
        make_folder(&server, counter).await;
    }
    let (closed, gate) = std::sync::mpsc::channel();
    let tree = Arc::new(FakeTree::default());
    *tree.page_gate.lock() = Some(gate);
    (server, tree, closed)
}

#[tokio::test]
async fn while_a_page_of_a_load_is_kept_the_next_one_is_asked_for() {
    let (server, tree, closed) = several_pages().await;
    let remote = Arc::new(server.device(ANN));
    let (applier, _applying) = Applier::start(&Env::real(), tree.clone());
    let puller = puller(&tree, remote, applier);
    let asked = async {
        while server.page_count() < 2 {
            tokio::task::yield_now().await;
        }
        drop(closed);
    };
    let (pulled, ()) = within(async { tokio::join!(puller.pull(false), asked) }).await;
    assert_eq!((pulled.unwrap(), names(&tree).len()), (server.cursor().seq, 9));
}

#[tokio::test]
async fn what_a_full_pull_could_not_show_is_shown_before_the_server_is_asked() {
    let server = MemoryServer::new(SPACE);
    make_folder(&server, 1).await;
    let tree = Arc::new(FakeTree::default());
    tree.leave_unseen(server.cursor());
    let (applier, _applying) = Applier::start(&Env::real(), tree.clone());
    let puller = puller(&tree, Arc::new(server.device(ANN)), applier);
    assert_eq!(puller.pull(false).await.unwrap(), server.cursor().seq);
    assert_eq!(names(&tree), [], "nothing was loaded a second time");
}

#[tokio::test]
async fn only_a_history_that_is_no_more_is_replaced_by_another_one() {
    let server = MemoryServer::new(SPACE);
    make_folder(&server, 1).await;
    let tree = Arc::new(FakeTree::default());
    let remote = Arc::new(FaultyRemote::new(server.device(ANN)));
    let (applier, _applying) = Applier::start(&Env::real(), tree.clone());
    let puller = puller(&tree, remote.clone(), applier);
    puller.pull(false).await.unwrap();
    let before = remote.calls().len();
    remote.plan(Call::Pull, Fault::Before(RemoteError::Unreachable("away".into())));
    puller.pull(false).await.unwrap_err();
    assert_eq!(remote.calls()[before..], [Call::Pull], "a server that is away is not asked for everything");
    server.open_epoch(EpochId([9; 16]));
    puller.pull(false).await.unwrap();
    assert_eq!(tree.cursor(), Some(server.cursor()));
}

#[tokio::test]
async fn a_load_asks_for_no_further_page_while_somebody_lists_a_folder() {
    let (server, tree, closed) = several_pages().await;
    let remote = Arc::new(server.device(ANN));
    let (applier, _applying) = Applier::start(&Env::real(), tree.clone());
    let listed = Arc::new(FaultyRemote::new(server.device(ANN)));
    let second_page = Arc::new(Semaphore::new(0));
    listed.plan(Call::Children, Fault::None);
    listed.plan(Call::Children, Fault::Held(second_page.clone()));
    let lister = Lister::new(Env::real(), SPACE, tree.clone(), listed.clone());
    let puller = Puller { lister: lister.clone(), ..puller(&tree, remote, applier) };
    let listing = tokio::spawn(async move { lister.list(NodeId::root_of(SPACE)).await });
    within(async {
        while listed.calls().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let pulled = tokio::spawn(async move { puller.pull(false).await });
    within(async {
        while tree.page_gate.try_lock().is_some_and(|gate| gate.is_some()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.page_count(), 1, "the first page is being kept, and the next one not asked for");
    drop(closed);
    second_page.add_permits(1);
    within(listing).await.unwrap().unwrap();
    assert_eq!(within(pulled).await.unwrap().unwrap(), server.cursor().seq);
    assert!(server.page_count() > 1);
}
