//! Owns the tests of hydration: against a server in memory that counts and can misbehave.

#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

mod local;
mod server;

use super::delivery::{Arrived, stretches};
use super::flights::{FrameKey, Target};
use super::{HydrateError, HydrateOptions, Hydrator, Priority, Reach};
use crate::content::{ContentRows, Contents, LocalContent, LocalState, Options, Read, SmallLog};
use crate::env::{Env, RealDisk};
use crate::meta::rows::{BaseVersion, ContentNo, ContentRow, Ino};
use crate::remote::Urgency;
use server::{Mischief, Server, noise};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tarn_proto::ids::{ChunkId, SpaceId, VersionId};
use tarn_proto::limits::FRAME_BYTES;
use tokio::runtime::Handle;

/// A log and rows that forget everything: nothing here restarts.
#[derive(Debug)]
struct Forgetful;

impl SmallLog for Forgetful {
    fn admit(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _: ContentNo, _: u64, _: &[u8]) -> io::Result<u64> {
        Ok(0)
    }

    fn left_behind(&self) -> u64 {
        0
    }

    fn resize(&self, _: ContentNo, _: u64) -> io::Result<u64> {
        Ok(0)
    }

    fn flush(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn mark_open(&self, _: ContentNo, _: &ContentRow, _: bool) -> io::Result<u64> {
        Ok(0)
    }

    fn ask_less(&self, _: ContentNo, _: u64) -> io::Result<u64> {
        Ok(0)
    }

    fn note(&self, _: ContentNo, _: &ContentRow) -> io::Result<u64> {
        Ok(0)
    }
}

impl ContentRows for Forgetful {
    fn load(&self, _: ContentNo) -> io::Result<Option<ContentRow>> {
        Ok(None)
    }

    fn record(&self, _: &[ContentNo]) -> io::Result<()> {
        Ok(())
    }
}

struct World {
    _dir: tempfile::TempDir,
    server: Arc<Server>,
    contents: Arc<Contents>,
    hydrator: Hydrator,
}

fn world(budget_bytes: u64) -> World {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { budget_bytes, floor_bytes: 0, ..Options::default() };
    let contents = Contents::open(Arc::new(RealDisk), dir.path(), options).unwrap();
    contents.attach(Arc::new(Forgetful), Arc::new(Forgetful));
    let server = Arc::new(Server::default());
    let options = HydrateOptions { timeout: Duration::from_secs(5), ..HydrateOptions::default() };
    let hydrator = Hydrator::new(Env::real(), server.clone(), SpaceId([1; 16]), Handle::current(), options);
    World { _dir: dir, server, contents, hydrator }
}

impl World {
    fn file(&self, no: u64, bytes: &[u8]) -> Arc<LocalContent> {
        let base: BaseVersion = self.server.store(bytes);
        self.contents.adopt(ContentNo(no), Ino(no), base)
    }

    async fn read(&self, content: &Arc<LocalContent>, offset: u64, len: usize) -> Vec<u8> {
        let range = offset..offset + len as u64;
        self.hydrator.need(content, &[range], Priority::Demand).await.unwrap();
        match self.hydrator.read_through(content, offset, len).unwrap() {
            Read::Bytes(bytes) => bytes.to_vec(),
            Read::Missing(ranges) => panic!("{ranges:?} missing after they were brought"),
        }
    }
}

async fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !what() {
        assert!(Instant::now() < deadline, "not in time");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_is_one_chunk_and_one_call() {
    let world = world(1 << 30);
    let bytes = noise(1, 3000);
    let file = world.file(1, &bytes);
    assert_eq!(world.read(&file, 0, 3000).await, bytes);
    let counted = world.hydrator.counters();
    assert_eq!((counted.chunks_fetched, counted.frames_fetched, counted.calls), (1, 1, 1));
    assert!(counted.bytes_fetched <= 3000 + 64);
    assert_eq!(world.read(&file, 100, 50).await, bytes[100..150]);
    assert_eq!(world.hydrator.counters(), counted);
    assert_eq!(file.state(), LocalState::Hydrated);
}

#[tokio::test(flavor = "multi_thread")]
async fn scattered_reads_of_a_large_file_fetch_a_frame_each() {
    let world = world(1 << 30);
    let bytes = noise(1, 96 << 20);
    let file = world.file(1, &bytes);
    for index in 0..200u64 {
        let offset = (index * 7_919 % 1_000) * 100_000;
        assert_eq!(world.read(&file, offset, 4096).await, bytes[offset as usize..offset as usize + 4096]);
    }
    let counted = world.hydrator.counters();
    assert!(counted.bytes_fetched <= 15 << 20, "{counted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_wait_a_frame_is_fetched_once() {
    let world = world(1 << 30);
    let bytes = noise(1, 3 << 20);
    let file = world.file(1, &bytes);
    world.server.hold(true);
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let (hydrator, file) = (world.hydrator.clone(), file.clone());
            let ranges = vec![0..3 << 20];
            tokio::spawn(async move { hydrator.need(&file, &ranges, Priority::Demand).await })
        })
        .collect();
    until(|| world.hydrator.counters().calls > 0).await;
    world.server.hold(false);
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
    let chunks = world.hydrator.all_chunks(file.base().as_ref()).await.unwrap();
    let frames: u64 = chunks.iter().map(|chunk| chunk.entry.length.div_ceil(64 << 10)).sum();
    assert_eq!(world.hydrator.counters().frames_fetched, frames);
    assert_eq!(world.read(&file, 0, 3 << 20).await, bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_tree_is_walked_and_its_nodes_fetched_once() {
    let world = world(1 << 30);
    let bytes = noise(1, 4 << 20);
    let base = world.server.store_as_tree(&bytes);
    assert!(base.content.manifest.level > 0);
    let file = world.contents.adopt(ContentNo(1), Ino(1), base.clone());
    assert_eq!(world.read(&file, 2 << 20, 100).await, bytes[2 << 20..(2 << 20) + 100]);
    let chunks = world.hydrator.all_chunks(Some(&base)).await.unwrap();
    assert_eq!(chunks.last().unwrap().range().end, 4 << 20);
    let counted = world.hydrator.counters();
    world.hydrator.all_chunks(Some(&base)).await.unwrap();
    assert_eq!(world.hydrator.counters(), counted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_frame_is_refused_and_fetched_again_once() {
    let world = world(1 << 30);
    let bytes = noise(1, 200_000);
    let file = world.file(1, &bytes);
    world.server.misbehave(Mischief::DamageNext(1));
    assert_eq!(world.read(&file, 0, 200_000).await, bytes);
    assert_eq!(world.hydrator.counters().damaged, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_stays_damaged_is_an_error_and_nothing_of_it_is_kept() {
    let world = world(1 << 30);
    let file = world.file(1, &noise(1, 200_000));
    world.server.misbehave(Mischief::DamageNext(100));
    let all = vec![0..200_000];
    let error = world.hydrator.need(&file, &all, Priority::Demand).await.unwrap_err();
    assert!(matches!(error, HydrateError::Damaged { .. }), "{error}");
    assert_eq!(file.state(), LocalState::OnlineOnly);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chunk_is_never_taken_for_the_one_asked() {
    let world = world(1 << 30);
    let file = world.file(1, &noise(1, 2000));
    world.file(2, &noise(2, 2000));
    world.server.misbehave(Mischief::SwapChunks);
    let all = vec![0..2000];
    let error = world.hydrator.need(&file, &all, Priority::Demand).await.unwrap_err();
    assert!(matches!(error, HydrateError::Damaged { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_readers_are_told_at_once_and_local_bytes_stay_readable() {
    let world = world(1 << 30);
    let (here, away) = (noise(1, 5000), noise(2, 5000));
    let (local, remote) = (world.file(1, &here), world.file(2, &away));
    world.read(&local, 0, 5000).await;
    world.hydrator.set_reach(Reach::Away);
    assert_eq!(world.read(&local, 0, 5000).await, here);
    let all = vec![0..5000];
    let error = world.hydrator.need(&remote, &all, Priority::Demand).await.unwrap_err();
    assert!(matches!(error, HydrateError::Offline));
    world.hydrator.set_reach(Reach::Linked);
    assert_eq!(world.read(&remote, 0, 5000).await, away);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_in_time_is_waited_for() {
    let world = world(1 << 30);
    let bytes = noise(1, 5000);
    let file = world.file(1, &bytes);
    world.server.misbehave(Mischief::Unreachable(3));
    assert_eq!(world.read(&file, 0, 5000).await, bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_notice_socket_nobody_waits_for_a_server_that_is_away_and_whoever_can_reads() {
    let world = world(1 << 30);
    let bytes = noise(1, 5000);
    let file = world.file(1, &bytes);
    let other = world.file(2, &noise(2, 5000));
    world.hydrator.set_reach(Reach::Doubtful);
    assert_eq!(world.read(&other, 0, 5000).await, noise(2, 5000), "requests may come through where it does not");
    world.server.misbehave(Mischief::Unreachable(1));
    let all = vec![0..5000];
    let error = world.hydrator.need(&file, &all, Priority::Demand).await.unwrap_err();
    assert!(matches!(error, HydrateError::Offline), "{error}");
    // The server would answer by now, and is not asked.
    let error = world.hydrator.need(&file, &all, Priority::Demand).await.unwrap_err();
    assert!(matches!(error, HydrateError::Offline), "{error}");
    world.hydrator.set_reach(Reach::Linked);
    assert_eq!(world.read(&file, 0, 5000).await, bytes);
}

#[tokio::test]
async fn what_a_call_did_not_answer_has_ended_when_all_are_told_that_there_is_no_way() {
    let world = world(1 << 30);
    let shared = &world.hydrator.shared;
    let key = FrameKey { id: ChunkId([7; 32]), frame: 0 };
    let flight = shared.table.lock().join(key, None, Target::Node, true);
    assert_eq!(shared.table.lock().board(false, &Urgency::default(), || true), [key]);
    assert!(!shared.note_failure(&[key]) && flight.borrow().is_none(), "linked: it is tried again");
    world.hydrator.set_reach(Reach::Doubtful);
    assert!(shared.note_failure(&[key]));
    assert!(matches!(*flight.borrow(), Some(Err(HydrateError::Offline))));
    assert!(shared.table.lock().get(&key).is_none(), "whoever asks again begins anew");
}

#[tokio::test]
async fn frames_that_lie_side_by_side_in_one_file_go_in_with_one_write() {
    let world = world(1 << 30);
    let contents = [world.file(1, &noise(1, 5000)), world.file(2, &noise(2, 5000))];
    let target = |file: usize, frame: usize, is_guess| {
        let (content, offset) = (Arc::clone(&contents[file]), (frame * FRAME_BYTES) as u64);
        Target::Content { content, version: VersionId([1; 16]), offset, is_guess }
    };
    let wanted = [
        vec![target(0, 7, false)],
        vec![target(0, 8, false)],
        vec![target(0, 9, true)],
        vec![target(0, 10, true)],
        vec![target(0, 12, true)],
        vec![target(1, 13, true)],
        vec![target(1, 14, true), target(0, 14, true)],
        vec![],
        vec![Target::Node],
        vec![target(1, 16, false)],
        vec![target(1, 17, false)],
    ];
    let key = FrameKey { id: ChunkId([7; 32]), frame: 0 };
    // The third one is waited for by now: no guess any more.
    let arrived = wanted.into_iter().enumerate();
    let arrived: Vec<Arrived> =
        arrived.map(|(index, targets)| Arrived { key, targets, is_demand: index == 2 }).collect();
    let found: Vec<_> =
        stretches(&arrived).into_iter().map(|one| (one.frames, one.offset / FRAME_BYTES as u64)).collect();
    assert_eq!(found, [(0..3, 7), (9..11, 16)]);
}

#[tokio::test]
async fn a_call_of_what_is_fetched_ahead_becomes_urgent_when_a_program_waits_for_some_of_it() {
    let world = world(1 << 30);
    let table = &world.hydrator.shared.table;
    let (key, urgency) = (FrameKey { id: ChunkId([7; 32]), frame: 0 }, Urgency::default());
    let _ahead = table.lock().join(key, None, Target::Node, false);
    assert_eq!(table.lock().board(true, &urgency, || true), [key]);
    assert!(!urgency.is_high());
    let _demand = table.lock().join(key, None, Target::Node, true);
    assert!(urgency.is_high() && !table.lock().has_waiting(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_the_server_lacks_fails_alone() {
    let world = world(1 << 30);
    let (lost, kept) = (world.file(1, &noise(1, 5000)), world.file(2, &noise(2, 5000)));
    world.server.lose(&noise(1, 5000));
    let all = vec![0..5000];
    let (first, second) = tokio::join!(
        world.hydrator.need(&lost, &all, Priority::Demand),
        world.hydrator.need(&kept, &all, Priority::Demand)
    );
    assert!(matches!(first, Err(HydrateError::Refused { .. })), "{first:?}");
    second.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_on_the_disk_reads_are_served_from_memory() {
    let world = world(64 << 10);
    let bytes = noise(1, 2 << 20);
    let file = world.file(1, &bytes);
    for offset in (0..2u64 << 20).step_by(256 << 10) {
        let end = offset as usize + (256 << 10);
        assert_eq!(world.read(&file, offset, 256 << 10).await, bytes[offset as usize..end]);
    }
    assert!(world.contents.usage().bytes <= 64 << 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn siblings_come_many_to_a_call() {
    let world = world(1 << 30);
    let files: Vec<_> = (0..100).map(|no| world.file(no, &noise(no + 1, 2000))).collect();
    world.hydrator.siblings(&files);
    until(|| files.iter().all(|file| file.is_complete())).await;
    let counted = world.hydrator.counters();
    assert_eq!((counted.chunks_fetched, counted.frames_fetched), (100, 100));
    assert_eq!(counted.calls, 1, "{counted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_write_is_not_overwritten_by_what_arrives_later() {
    let world = world(1 << 30);
    let mut bytes = noise(1, 200_000);
    let file = world.file(1, &bytes);
    file.write(70_000, b"mine").unwrap();
    bytes[70_000..70_004].copy_from_slice(b"mine");
    assert_eq!(world.read(&file, 0, 200_000).await, bytes);
}
