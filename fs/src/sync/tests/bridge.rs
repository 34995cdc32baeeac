//! What the engine asks of the real tree.

use super::real::{Ground, ground, real};
use super::*;
use crate::meta::rows::{Ino, ROOT, Ticket};
use crate::sync::Goal;
use crate::sync::ports::{PlanStep, SyncTree as _};
use crate::tree::{Loaded, NewNode, Tree};
use tarn_proto::api::Usage;
use tarn_proto::ids::VersionId;
use tarn_proto::node::{FileVersion, NodeKind};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// A device that has pulled an empty space, and does not sync.
fn loaded() -> Ground {
    let server = MemoryServer::new(SPACE);
    let ground = ground(&server, ANN);
    ground.bridge.begin_load().unwrap();
    ground.bridge.finish_load(Loaded::first(server.cursor())).unwrap();
    ground
}

/// Makes a file, as a device that is not syncing does; its operation.
fn make_file(tree: &Tree, text: &str, content: &[u8]) -> (Ino, Ticket) {
    let ino = tree.create(ROOT, &name(text), NewNode::plain(NodeKind::File, 0o644)).unwrap().ino;
    rewrite(tree, ino, content);
    (ino, tree.last_ticket().unwrap())
}

fn rewrite(tree: &Tree, ino: Ino, content: &[u8]) {
    tree.opened(ino, true).unwrap();
    tree.write(ino, 0, content).unwrap();
    tree.closed(ino, true).unwrap();
}

/// The only file that the server has.
fn the_file(server: &MemoryServer) -> (NodeId, FileVersion) {
    let rows = server.rows();
    let file = rows.iter().find_map(|change| match &change.row {
        tarn_proto::change::Row::Node { node, state: Some(state) } => Some((*node, state.file.clone()?)),
        _ => None,
    });
    file.expect("a file is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_some_operations_hears_when_these_are_done() {
    let server = MemoryServer::new(SPACE);
    let ann = real(&server, ANN);
    ann.caught_up(&server).await;
    ann.remote.set_down(true);
    ann.mkdir(ROOT, "one").await;
    let goal = Goal::These(ann.tree.last_ticket().into_iter().collect());
    ann.mkdir(ROOT, "two").await;
    assert_eq!(ann.sync.status().queue.operations, 2);
    let outcome = within(ann.sync.wait_until(&goal)).await;
    assert!(matches!(outcome, WaitOutcome::Away(_)), "{outcome:?}");
    ann.remote.set_down(false);
    ann.sync.network_changed();
    assert_eq!(within(ann.sync.wait_until(&goal)).await, WaitOutcome::Clean);
    ann.clean().await;
    // With the next one the answers before it are durable.
    ann.mkdir(ROOT, "three").await;
    ann.clean().await;
    assert!(ann.tree.answered() > 1, "the server may forget what it answered");
    assert_eq!(ann.bridge.answered(), ann.tree.answered());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_of_this_device_and_of_its_room_reaches_the_tree() {
    let ground = loaded();
    let usage = Usage { bytes_used: 90, bytes_max: Some(1_000) };
    ground.bridge.note_usage(usage);
    assert_eq!(ground.tree.usage(), Some(usage));
    let (_, ticket) = make_file(&ground.tree, "large", &[1; 500]);
    ground.bridge.put_aside(ticket).unwrap();
    assert!(ground.bridge.queue(10).unwrap().is_empty(), "it waits for room");
    ground.bridge.device_rolled_back(BEN).unwrap();
    assert_eq!(ground.tree.identity().device, BEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_frozen_in_vain_takes_later_bytes_along() {
    let ground = loaded();
    let (ino, ticket) = make_file(&ground.tree, "notes", b"one");
    assert!(ground.bridge.prepare(ticket).unwrap().is_some());
    ground.bridge.unprepare(ticket);
    rewrite(&ground.tree, ino, b"two");
    assert_eq!(ground.tree.last_ticket(), Some(ticket), "one operation brings both");
    assert!(ground.bridge.prepare(ticket).unwrap().is_some());
    rewrite(&ground.tree, ino, b"three");
    assert_ne!(ground.tree.last_ticket(), Some(ticket), "what is being sent may not change");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_again_are_no_new_version_and_are_whole_here() {
    let server = MemoryServer::new(SPACE);
    let ann = real(&server, ANN);
    ann.caught_up(&server).await;
    let ino = ann.write_file(ROOT, "report", bytes(50_000, 1)).await;
    ann.clean().await;
    let (node, first) = the_file(&server);
    let tree = ann.tree.clone();
    spawn_blocking(move || rewrite(&tree, ino, &bytes(50_000, 1))).await.unwrap();
    ann.clean().await;
    assert_eq!(the_file(&server).1.content.version, first.content.version);
    let (bridge, version) = (ann.bridge.clone(), first.content.version);
    let source = spawn_blocking(move || bridge.whole_content(node, version)).await.unwrap().unwrap();
    let step = spawn_blocking(move || source.expect("all of it is here").plan(&mut |_| {})).await.unwrap();
    let Ok(PlanStep::Ready(plan)) = step else { panic!("{step:?}") };
    assert_eq!((plan.size_bytes, plan.content_id), (50_000, first.content.content_id));
    let bridge = ann.bridge.clone();
    let other = spawn_blocking(move || bridge.whole_content(node, VersionId([9; 16]))).await.unwrap().unwrap();
    assert!(other.is_none(), "of another version there is nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_server_lacks_bytes_that_are_no_more_the_present_ones_stand_in_for_them() {
    let server = MemoryServer::new(SPACE);
    let ann = real(&server, ANN);
    ann.caught_up(&server).await;
    let gate = Arc::new(Semaphore::new(0));
    ann.remote.plan(Call::Push, Fault::Held(gate.clone()));
    let ino = ann.write_file(ROOT, "report", bytes(50_000, 1)).await;
    within(async {
        while !ann.remote.calls().contains(&Call::Push) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.forget_chunks();
    let tree = ann.tree.clone();
    spawn_blocking(move || rewrite(&tree, ino, &bytes(50_000, 2))).await.unwrap();
    gate.add_permits(1);
    ann.clean().await;
    let ben = real(&server, BEN);
    ben.caught_up(&server).await;
    let ino = ben.find(ROOT, "report").await.unwrap();
    assert_eq!(ben.read(ino).await, bytes(50_000, 2));
}
