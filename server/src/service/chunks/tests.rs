//! Holds the calls on chunks to what they promise.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::packs::{PackError, PackId};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use tarn_proto::api::ChunkRange;
use tarn_proto::chunk::wire::{ChunkKind, FetchDecoder, FetchItem, FetchStatus, put_upload_item};
use tarn_proto::chunk::{ContentKey, chunk_id, encode};
use tarn_proto::ids::DeviceId;
use tarn_proto::manifest::{ManifestEntry, encode_node, node_id};

struct World {
    chunks: Chunks,
    dir: tempfile::TempDir,
}

const ANNA: Identity = Identity { user: UserId([1; 16]), device: DeviceId([1; 16]) };
const BERT: Identity = Identity { user: UserId([2; 16]), device: DeviceId([2; 16]) };

async fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(&crate::config::default_database(dir.path())).await.unwrap();
    let packs = crate::packs::open(&crate::config::default_objects(dir.path())).await.unwrap();
    World { chunks: Chunks::new(db, Env::real(), packs, None), dir }
}

fn plain(seed: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn item(out: &mut BytesMut, kind: ChunkKind, plain: &[u8]) -> ChunkId {
    let id = chunk_id(&ContentKey::Ordinary, plain);
    put_upload_item(out, kind, id, &encode(&ContentKey::Ordinary, plain, 1).unwrap());
    id
}

impl World {
    async fn send(&self, who: Identity, body: BytesMut) -> Result<(u64, u64), ErrorCode> {
        let pieces: Vec<Result<Bytes, String>> =
            body.freeze().chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let answer = self.chunks.upload(who, stream::iter(pieces)).await;
        answer.map(|answer| (answer.accepted, answer.stored)).map_err(|failure| failure.code())
    }

    async fn fetch(&self, who: Identity, ranges: Vec<ChunkRange>) -> Vec<FetchItem> {
        let mut body = Box::pin(self.chunks.fetch(who, ranges).await.unwrap());
        let (mut decoder, mut items) = (FetchDecoder::new(), Vec::new());
        while let Some(piece) = body.next().await {
            decoder.push(&piece.unwrap());
            while let Some(item) = decoder.next_item().unwrap() {
                items.push(item);
            }
        }
        decoder.finish().unwrap();
        items
    }

    async fn findings(&self) -> Vec<Report> {
        let mut reports = Vec::new();
        check(&self.chunks.0.db, &*self.chunks.0.packs, &mut |report| reports.push(report)).await.unwrap();
        reports
    }

    fn pack_files(&self) -> Vec<std::path::PathBuf> {
        let dirs = std::fs::read_dir(self.dir.path().join("objects")).unwrap().map(|dir| dir.unwrap().path());
        let files = dirs.flat_map(|dir| std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()));
        files.collect()
    }
}

fn whole(id: ChunkId) -> ChunkRange {
    ChunkRange { id, first_frame: 0, frame_count: u32::MAX }
}

/// The connection breaks with an error, or the call is dropped with it.
#[tokio::test]
async fn of_a_body_that_is_cut_off_the_whole_chunks_are_kept() {
    for is_dropped in [false, true] {
        let world = world().await;
        let mut body = BytesMut::new();
        let (first, second) = (plain(1, 300_000), plain(2, 300_000));
        let ids = [item(&mut body, ChunkKind::Data, &first), item(&mut body, ChunkKind::Data, &second)];
        let arrived = body.freeze().slice(..400_000);
        let pieces: Vec<Result<Bytes, String>> =
            arrived.chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let pieces = stream::iter(pieces);
        if is_dropped {
            let mut call = Box::pin(world.chunks.upload(ANNA, pieces.chain(stream::pending())));
            let has_come = async {
                while !world.chunks.0.arriving.holds_any(ANNA.user, &ids[..1]) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                _ = &mut call => panic!("it has no end"),
                () = has_come => {}
            }
            drop(call);
        } else {
            let broken = pieces.chain(stream::iter([Err("connection reset".to_owned())]));
            assert_eq!(
                world.chunks.upload(ANNA, broken).await.map_err(|failure| failure.code()),
                Err(ErrorCode::BadRequest)
            );
        }
        // Who asks waits for what is arriving.
        assert_eq!(world.chunks.missing(ANNA, ids.to_vec()).await.unwrap().missing, ids[1..], "dropped: {is_dropped}");
        assert_eq!(world.chunks.missing(BERT, ids.to_vec()).await.unwrap().missing, ids);
        assert!(world.findings().await.is_empty());
    }
}

#[tokio::test]
async fn what_was_sent_comes_back_whole_and_by_frames() {
    let world = world().await;
    let bodies: Vec<Vec<u8>> = (0..5).map(|n| plain(n, 150_000)).collect();
    let mut body = BytesMut::new();
    let ids: Vec<ChunkId> = bodies.iter().map(|plain| item(&mut body, ChunkKind::Data, plain)).collect();
    assert_eq!(world.chunks.missing(ANNA, ids.clone()).await.unwrap().missing, ids);
    assert_eq!(world.send(ANNA, body).await, Ok((5, 5)));
    assert_eq!(world.pack_files().len(), 1);
    assert_eq!(world.chunks.missing(ANNA, ids.clone()).await.unwrap().missing, []);
    for (item, plain) in world.fetch(ANNA, ids.iter().map(|id| whole(*id)).collect()).await.iter().zip(&bodies) {
        assert_eq!(&item.open(&ContentKey::Ordinary).unwrap().1, plain);
    }
    let second = ChunkRange { id: ids[3], first_frame: 1, frame_count: 1 };
    let items = world.fetch(ANNA, vec![second]).await;
    assert_eq!(items[0].open(&ContentKey::Ordinary).unwrap().1, bodies[3][65_536..131_072]);
    assert_eq!(world.findings().await, []);
}

#[tokio::test]
async fn another_user_reaches_nothing_before_sending_it_and_nothing_is_stored_twice() {
    let world = world().await;
    let mut body = BytesMut::new();
    let id = item(&mut body, ChunkKind::Data, &plain(1, 1_000));
    assert_eq!(world.send(ANNA, body.clone()).await, Ok((1, 1)));
    assert_eq!(world.chunks.missing(BERT, vec![id]).await.unwrap().missing, [id]);
    assert_eq!(world.fetch(BERT, vec![whole(id)]).await[0].status, FetchStatus::Unknown);
    assert_eq!(world.chunks.stored(BERT, id).await.unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(world.send(BERT, body).await, Ok((1, 0)));
    assert_eq!(world.fetch(BERT, vec![whole(id)]).await[0].status, FetchStatus::Ok);
    assert_eq!(world.pack_files().len(), 1);
}

#[tokio::test]
async fn one_bad_chunk_refuses_the_whole_body() {
    let world = world().await;
    let mut body = BytesMut::new();
    let good = item(&mut body, ChunkKind::Data, &plain(1, 70_000));
    let stored = encode(&ContentKey::Ordinary, &plain(2, 70_000), 1).unwrap();
    put_upload_item(&mut body, ChunkKind::Data, ChunkId([9; 32]), &stored);
    assert_eq!(world.send(ANNA, body).await, Err(ErrorCode::BadChunk));
    assert_eq!(world.chunks.missing(ANNA, vec![good]).await.unwrap().missing, [good]);
    assert_eq!(world.pack_files(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_body_that_ends_early_keeps_nothing() {
    let world = world().await;
    let mut body = BytesMut::new();
    item(&mut body, ChunkKind::Data, &plain(1, 70_000));
    body.truncate(body.len() - 1);
    assert_eq!(world.send(ANNA, body).await, Err(ErrorCode::BadRequest));
    assert_eq!(world.pack_files(), Vec::<std::path::PathBuf>::new());
}

fn node(level: u8, children: &[(ChunkId, u64)]) -> Vec<u8> {
    let entry = |&(id, length): &(ChunkId, u64)| ManifestEntry { id, length, stored: 1 };
    encode_node(level, &children.iter().map(entry).collect::<Vec<_>>()).unwrap()
}

#[tokio::test]
async fn a_manifest_node_needs_its_children_and_their_lengths() {
    let world = world().await;
    let (mut data, child) = (BytesMut::new(), plain(1, 5_000));
    let id = item(&mut data, ChunkKind::Data, &child);
    let leaf = node(0, &[(id, 5_000)]);
    let mut alone = BytesMut::new();
    item(&mut alone, ChunkKind::Manifest, &leaf);
    assert_eq!(world.send(ANNA, alone.clone()).await, Err(ErrorCode::MissingChunks));
    assert_eq!(world.send(BERT, data.clone()).await, Ok((1, 1)));
    assert_eq!(world.send(ANNA, alone.clone()).await, Err(ErrorCode::MissingChunks), "reached by another only");
    let mut wrong = data.clone();
    item(&mut wrong, ChunkKind::Manifest, &node(0, &[(id, 4_999)]));
    assert_eq!(world.send(ANNA, wrong).await, Err(ErrorCode::BadManifest));
    let mut together = data.clone();
    together.extend_from_slice(&alone);
    item(&mut together, ChunkKind::Manifest, &node(1, &[(node_id(&leaf), 5_000)]));
    assert_eq!(world.send(ANNA, together).await, Ok((3, 2)));
    let mut skipping = BytesMut::new();
    item(&mut skipping, ChunkKind::Manifest, &node(2, &[(node_id(&leaf), 5_000)]));
    assert_eq!(world.send(ANNA, skipping).await, Err(ErrorCode::BadManifest));
    assert_eq!(world.findings().await, []);
}

#[tokio::test]
async fn a_node_that_was_first_sent_as_data_becomes_a_node() {
    let world = world().await;
    let mut body = BytesMut::new();
    let id = item(&mut body, ChunkKind::Data, &plain(1, 10));
    let leaf = node(0, &[(id, 10)]);
    item(&mut body, ChunkKind::Data, &leaf);
    assert_eq!(world.send(ANNA, body).await, Ok((2, 2)));
    let mut again = BytesMut::new();
    item(&mut again, ChunkKind::Manifest, &leaf);
    assert_eq!(world.send(ANNA, again).await, Ok((1, 1)));
    let mut conn = world.chunks.0.db.reader().await.unwrap();
    let entry = ManifestEntry { id: node_id(&leaf), length: 10, stored: 1 };
    let judged = chunks::judge_entries(&mut conn, ANNA.user, 1, &[entry]).await.unwrap();
    assert_eq!(judged, chunks::Judgement::Good);
}

#[tokio::test]
async fn a_damaged_pack_spoils_only_its_chunks_and_is_found() {
    let world = world().await;
    let (mut one, mut two) = (BytesMut::new(), BytesMut::new());
    let bad = item(&mut one, ChunkKind::Data, &plain(1, 150_000));
    assert_eq!(world.send(ANNA, one).await, Ok((1, 1)));
    let file = world.pack_files().remove(0);
    let good = item(&mut two, ChunkKind::Data, &plain(2, 150_000));
    assert_eq!(world.send(ANNA, two).await, Ok((1, 1)));
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(100).unwrap();
    let statuses: Vec<FetchStatus> =
        world.fetch(ANNA, vec![whole(bad), whole(good)]).await.iter().map(|item| item.status).collect();
    assert_eq!(statuses, [FetchStatus::Damaged, FetchStatus::Ok]);
    assert_eq!(world.findings().await.len(), 2, "the pack and its chunk");
}

#[tokio::test]
async fn frames_that_are_not_there_and_too_much_at_once_are_refused() {
    let world = world().await;
    let mut body = BytesMut::new();
    let id = item(&mut body, ChunkKind::Data, &plain(1, 100_000));
    world.send(ANNA, body).await.unwrap();
    for (first_frame, frame_count) in [(2, 1), (0, 0), (u32::MAX, u32::MAX)] {
        let refused = world.chunks.fetch(ANNA, vec![ChunkRange { id, first_frame, frame_count }]).await.err();
        assert_eq!(refused.unwrap().code(), ErrorCode::BadRequest);
    }
    let refused = world.chunks.fetch(ANNA, vec![whole(id); 2_000]).await.err();
    assert_eq!(refused.unwrap().code(), ErrorCode::TooLarge);
}

/// Packs that are not stored before they are let.
#[derive(Debug)]
struct SlowPacks {
    packs: Arc<dyn PackStore>,
    begun: tokio::sync::Notify,
    let_go: Semaphore,
}

#[async_trait::async_trait]
impl PackStore for SlowPacks {
    async fn put(&self, pack: PackId, pieces: Vec<Bytes>) -> Result<(), PackError> {
        self.begun.notify_one();
        self.let_go.acquire().await.unwrap().forget();
        self.packs.put(pack, pieces).await
    }

    async fn read(&self, pack: PackId, range: std::ops::Range<u64>) -> Result<Bytes, PackError> {
        self.packs.read(pack, range).await
    }

    async fn list(&self) -> Result<Vec<(PackId, u64)>, PackError> {
        self.packs.list().await
    }

    async fn ping(&self) -> Result<(), PackError> {
        self.packs.ping().await
    }
}

#[tokio::test]
async fn what_arrived_whole_is_stored_though_its_sender_is_gone_and_is_not_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(&crate::config::default_database(dir.path())).await.unwrap();
    let packs = crate::packs::open(&crate::config::default_objects(dir.path())).await.unwrap();
    let slow = Arc::new(SlowPacks { packs, begun: tokio::sync::Notify::new(), let_go: Semaphore::new(0) });
    let chunks = Chunks::new(db, Env::real(), Arc::clone(&slow) as Arc<dyn PackStore>, None);
    let mut body = BytesMut::new();
    let id = item(&mut body, ChunkKind::Data, &plain(1, 50_000));
    let other = chunk_id(&ContentKey::Ordinary, b"other");
    let sender = tokio::spawn({
        let chunks = chunks.clone();
        async move { chunks.upload(ANNA, stream::iter([Ok::<_, String>(body.freeze())])).await.map(drop) }
    });
    slow.begun.notified().await;
    sender.abort();
    assert!(sender.await.unwrap_err().is_cancelled());
    assert_eq!(
        chunks.missing(ANNA, vec![other]).await.unwrap().missing,
        [other],
        "nobody waits for what is not coming"
    );
    assert_eq!(chunks.missing(BERT, vec![id]).await.unwrap().missing, [id], "nor for what is another's");
    let asked = chunks.missing(ANNA, vec![id, other]);
    tokio::pin!(asked);
    assert!(futures_util::poll!(asked.as_mut()).is_pending());
    slow.let_go.add_permits(1);
    assert_eq!(asked.await.unwrap().missing, [other]);
}
