//! What a device brings back to a server that was put back to an older copy of itself.

use super::*;
use crate::sync::ports::{PlanStep, SyncTree as _, UploadSource as _};
use crate::sync::recover::Recoverer;
use crate::sync::testing::FakeSource;
use crate::sync::upload::Uploader;
use tarn_proto::api::SpaceInfo;
use tarn_proto::change::Cursor;
use tarn_proto::ids::{JournalHash, VersionId};
use tarn_proto::lost::{EpochStart, Lost, LostNode, RecoverRequest};
use tarn_proto::node::{Attrs, Content, FileVersion, NodeKind, NodeState};

fn epoch(number: u8, seq: u64) -> EpochStart {
    EpochStart { epoch: EpochId([number; 16]), seq }
}

fn stands_at(number: u8, seq: u64) -> Option<Cursor> {
    Some(Cursor { epoch: EpochId([number; 16]), seq, hash: JournalHash([0; 32]) })
}

fn content(bytes: &Bytes) -> Content {
    let Ok(PlanStep::Ready(plan)) = FakeSource(bytes.clone()).plan(&mut |_| {}) else { panic!("it is whole") };
    let version = VersionId(bytes[..16].try_into().unwrap());
    Content { version, size: plan.size_bytes, content_id: plan.content_id, manifest: plan.manifest }
}

fn lost(seq: u64, content: Option<Content>) -> (u64, Lost) {
    let file = content.map(|content| FileVersion { content, vector: Default::default(), author: ANN });
    let state = Some(Box::new(NodeState { kind: NodeKind::File, attrs: Attrs::default(), file }));
    (seq, Lost::Node(LostNode { node: NodeId([9; 16]), seq, state, places: Vec::new(), alt_name: None }))
}

/// Brings back what a device has, to a server with these histories; up to where they are one, and what was sent.
async fn recovered(
    tree: &Arc<FakeTree>,
    server: &Arc<MemoryServer>,
    epochs: &[EpochStart],
) -> (Option<u64>, Vec<RecoverRequest>) {
    epochs[1..].iter().for_each(|start| server.open_epoch(start.epoch));
    let remote = Arc::new(server.device(ANN));
    let info: SpaceInfo = remote.spaces().await.unwrap().spaces.remove(0);
    let info = SpaceInfo { epochs: epochs.to_vec(), ..info };
    let uploader = Arc::new(Uploader::new(Env::real(), SPACE, tree.clone(), remote.clone()));
    let recoverer = Recoverer { env: Env::real(), space: SPACE, tree: tree.clone(), remote, uploader };
    (within(recoverer.recover(&info)).await.unwrap(), server.recovered())
}

#[tokio::test]
async fn what_is_beyond_the_fork_is_sent_with_how_far_the_device_had_followed() {
    let server = MemoryServer::new(SPACE);
    let tree = Arc::new(FakeTree::default());
    tree.follow(stands_at(2, 5), &[epoch(1, 0), epoch(2, 2)], vec![lost(1, None), lost(4, None)]);
    let (fork, sent) = recovered(&tree, &server, &[epoch(1, 0), epoch(9, 3)]).await;
    assert_eq!(fork, Some(2), "both left the first history, this device earlier");
    let [request] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((request.fork, request.upto, &request.rows[..]), (2, 5, &[lost(4, None).1][..]));
}

#[tokio::test]
async fn a_device_that_knows_nothing_yet_brings_nothing_and_notes_the_history_that_it_begins_with() {
    for cursor in [None, stands_at(1, 0)] {
        let server = MemoryServer::new(SPACE);
        let tree = Arc::new(FakeTree::default());
        tree.follow(cursor, &[], vec![lost(4, None)]);
        let epochs = [epoch(1, 0), epoch(9, 3)];
        assert_eq!(recovered(&tree, &server, &epochs).await, (None, Vec::new()));
        assert_eq!(tree.epochs().unwrap(), epochs);
    }
}

#[tokio::test]
async fn bytes_that_are_here_alone_go_along_and_of_those_that_are_nowhere_the_file_is_left() {
    let (here, nowhere) = (bytes(40_000, 1), bytes(40_000, 2));
    let server = MemoryServer::new(SPACE);
    let tree = Arc::new(FakeTree::default());
    tree.contents.lock().insert(content(&here).version, here.clone());
    let both = vec![lost(3, Some(content(&here))), lost(4, Some(content(&nowhere)))];
    tree.follow(stands_at(1, 5), &[epoch(1, 0)], both);
    let (_, sent) = recovered(&tree, &server, &[epoch(1, 0), epoch(9, 2)]).await;
    assert_eq!(sent[0].rows, [lost(3, Some(content(&here))).1, lost(4, None).1]);
    let chunks: Vec<_> = content(&here).manifest.entries.iter().map(|entry| entry.id).collect();
    assert_eq!(server.device(ANN).missing(SPACE, &chunks).await.unwrap().missing, []);
}
