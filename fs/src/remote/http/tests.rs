//! Tests of the HTTP remote against hand-written answers: what a lying, broken or foreign server may send.
#![allow(clippy::unwrap_used)]

use super::*;
use std::time::Duration;
use tarn_proto::api::{Answer, Outcome, to_binary};
use tarn_proto::chunk::wire::{FetchHead, put_fetch_item};
use tarn_proto::ids::{EpochId, JournalHash};
use tarn_proto::node::{AttrChange, Timestamp};
use tarn_proto::op::{OpKind, Operation};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const SPACE: SpaceId = SpaceId([1; 16]);
const DEADLINE: Duration = Duration::from_secs(20);

/// A server that answers one request with these bytes and closes; returns what it was asked.
async fn answering(answer: Vec<u8>) -> (HttpRemote, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = read_request(&mut stream).await;
        // The client may have heard enough before the end.
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
        request
    });
    (HttpRemote::new(ServerAddress::parse(&address).unwrap(), "secret").unwrap(), served)
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let mut piece = [0; 65_536];
        let count = stream.read(&mut piece).await.unwrap();
        request.extend_from_slice(&piece[..count]);
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if count == 0 || request.len() >= end + 4 + length {
            return request;
        }
    }
}

fn http(status: &str, media: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn binary(body: &[u8]) -> Vec<u8> {
    http("200 OK", tarn_proto::api::MEDIA_BINARY, body)
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("in time")
}

fn request(counters: &[u64]) -> PushRequest {
    let cursor = Cursor { epoch: EpochId([1; 16]), seq: 0, hash: JournalHash([0; 32]) };
    let op = |counter: &u64| {
        let kind = OpKind::SetAttr { node: NodeId([1; 16]), attrs: AttrChange::default() };
        Operation { counter: *counter, time: Timestamp::default(), alt_name: None, kind }
    };
    PushRequest { cursor, answered: 0, ops: counters.iter().map(op).collect() }
}

#[tokio::test]
async fn a_call_carries_the_token_and_reads_the_answer() {
    let answer = SpacesResponse { spaces: Vec::new() };
    let (remote, served) = answering(binary(&to_binary(&answer))).await;
    assert_eq!(within(remote.spaces()).await.unwrap(), answer);
    let asked = String::from_utf8(within(served).await.unwrap()).unwrap().to_lowercase();
    assert!(asked.starts_with("get /api/v1/spaces http/1.1"), "{asked}");
    assert!(asked.contains("authorization: bearer secret"), "{asked}");
}

#[tokio::test]
async fn a_packed_answer_is_unpacked() {
    let answer = MissingResponse { missing: vec![ChunkId([1; 32]); 1_000] };
    let packed = zstd::bulk::compress(&to_binary(&answer), 1).unwrap();
    let media = format!("{}\r\nContent-Encoding: zstd", tarn_proto::api::MEDIA_BINARY);
    let (remote, served) = answering(http("200 OK", &media, &packed)).await;
    let ids = vec![ChunkId([1; 32]); 1_000];
    assert_eq!(within(remote.missing(SPACE, &ids)).await.unwrap(), answer);
    let asked = String::from_utf8_lossy(&within(served).await.unwrap()).to_lowercase();
    assert!(asked.contains("content-encoding: zstd"), "a large request is packed");
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let (remote, _served) = answering(binary(&vec![0; limits::ANSWER_BYTES_MAX + 1])).await;
    assert!(matches!(within(remote.spaces()).await, Err(RemoteError::Malformed(_))));
}

#[tokio::test]
async fn a_login_page_is_no_answer() {
    let (remote, _served) = answering(http("200 OK", "text/html", b"<html>pay here</html>")).await;
    assert!(matches!(within(remote.spaces()).await, Err(RemoteError::Unreachable(_))));
}

#[tokio::test]
async fn a_cut_answer_and_a_closed_port_are_unreachable() {
    let mut cut = binary(&[0; 100]);
    cut.truncate(cut.len() - 50);
    let (remote, _served) = answering(cut).await;
    assert!(matches!(within(remote.spaces()).await, Err(RemoteError::Unreachable(_))));
    let closed = HttpRemote::new(ServerAddress::parse("http://127.0.0.1:1").unwrap(), "x").unwrap();
    assert!(matches!(within(closed.spaces()).await, Err(RemoteError::Unreachable(_))));
    let (events, _) = mpsc::channel(1);
    assert!(matches!(within(closed.notify(events)).await, Err(RemoteError::Unreachable(_))));
}

#[tokio::test]
async fn a_refusal_keeps_its_code() {
    let problem = br#"{"title":"t","status":409,"code":"device_rolled_back","retryable":false}"#;
    let (remote, _served) = answering(http("409 Conflict", tarn_proto::api::MEDIA_PROBLEM, problem)).await;
    let refused = within(remote.push(SPACE, &request(&[1]))).await;
    assert!(matches!(refused, Err(RemoteError::Refused { code: ErrorCode::DeviceRolledBack, .. })), "{refused:?}");
}

#[tokio::test]
async fn answers_to_other_operations_are_malformed() {
    let cursor = request(&[]).cursor;
    let answers = vec![Answer { counter: 2, outcome: Outcome::Applied, changes: Vec::new() }];
    let response = PushResponse { answers, before: cursor, after: cursor, usage: None };
    let (remote, _served) = answering(binary(&to_binary(&response))).await;
    let result = within(remote.push(SPACE, &request(&[1]))).await;
    assert!(matches!(result, Err(RemoteError::Malformed(_))), "{result:?}");
}

#[tokio::test]
async fn an_upload_is_framed_and_counted() {
    let (remote, served) = answering(binary(&to_binary(&UploadResponse { accepted: 2, stored: 2 }))).await;
    let item =
        |id, manifest_node| UploadItem { id: ChunkId([id; 32]), manifest_node, stored: vec![id; 100_000].into() };
    within(remote.upload(SPACE, vec![item(1, false), item(2, true)])).await.unwrap();
    let asked = within(served).await.unwrap();
    let at = asked.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut decoder = tarn_proto::chunk::wire::UploadDecoder::new();
    decoder.push(&asked[at..]).unwrap();
    let (first, second) = (decoder.next_item().unwrap().unwrap(), decoder.next_item().unwrap().unwrap());
    assert_eq!((first.kind, second.kind), (ChunkKind::Data, ChunkKind::Manifest));
    assert_eq!((first.stored.len(), second.stored[0]), (100_000, 2));
    let counted = remote.counters().get();
    assert_eq!((counted.chunks_sent, counted.requests), (2, 1));
    assert!(counted.bytes_sent >= 200_000);
}

#[tokio::test]
async fn a_fetch_is_held_against_what_was_asked() {
    let range = ChunkRange { id: ChunkId([1; 32]), first_frame: 0, frame_count: 1 };
    let item = FetchItem {
        id: range.id,
        status: FetchStatus::Ok,
        first_frame: 0,
        frame_count: 1,
        header: vec![0; 10].into(),
        frames: vec![0; 5].into(),
    };
    let fetch = async |body: Vec<u8>| {
        let (remote, _served) = answering(http("200 OK", tarn_proto::api::MEDIA_CHUNKS, &body)).await;
        let (sink, mut items) = mpsc::channel(4);
        let result = within(remote.fetch(SPACE, &[range], sink)).await;
        (result, items.recv().await.is_some())
    };
    let mut good = Vec::new();
    put_fetch_item(&mut good, &item);
    assert!(matches!(fetch(good.clone()).await, (Ok(()), true)));
    let mut other = Vec::new();
    put_fetch_item(&mut other, &FetchItem { id: ChunkId([2; 32]), ..item });
    assert!(matches!(fetch(other).await, (Err(RemoteError::Malformed(_)), false)));
    good.truncate(good.len() - 1);
    assert!(matches!(fetch(good).await, (Err(RemoteError::Unreachable(_)), false)));
    assert!(matches!(fetch(Vec::new()).await, (Err(RemoteError::Unreachable(_)), false)));
    let unknown = FetchHead::without_bytes(range.id, FetchStatus::Unknown).to_bytes().to_vec();
    let (result, _) = fetch(unknown).await;
    assert!(matches!(result, Err(RemoteError::Refused { code: ErrorCode::NotFound, .. })));
}
