//! Files over HTTP: pushed, pulled, listed, read by range, restored, noticed.

use crate::database::Place;
use crate::notify;
use crate::server::{Device, Server, code, json, noise, upload_body};
use axum::http::StatusCode;
use bytes::BytesMut;
use reqwest::{Method, Response};
use tarn_proto::api::*;
use tarn_proto::change::Cursor;
use tarn_proto::chunk::wire::{ChunkKind, put_upload_item};
use tarn_proto::chunk::{ContentKey, content_id, encode};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{EpochId, JournalHash, NodeId, VersionId};
use tarn_proto::manifest::{ManifestEntry, build};
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, Content, NodeKind, Timestamp};
use tarn_proto::op::{OpKind, Operation, Place as TreePlace};

each_database!(
    a_file_is_read_whole_and_by_range,
    a_pushed_file_is_pulled_and_listed_in_both_encodings,
    history_is_served_and_restored,
    a_push_is_noticed_by_the_other_devices_only,
    a_push_that_names_unsent_chunks_is_told_which,
    other_users_files_do_not_exist,
    it_is_known_which_devices_have_a_version,
);

pub const FILE: NodeId = NodeId([42; 16]);

/// Sends a plaintext as chunks of 1,000 bytes, with its manifest's nodes.
pub async fn send(device: &Device<'_>, version: u8, plain: &[u8]) -> Content {
    let pieces: Vec<Vec<u8>> = plain.chunks(1_000).map(<[u8]>::to_vec).collect();
    let (body, ids) = upload_body(&pieces);
    let entry = |(id, piece): (_, &Vec<u8>)| ManifestEntry { id, length: piece.len() as u64, stored: 1 };
    let built = build(ids.into_iter().zip(&pieces).map(entry).collect()).unwrap();
    let mut body = BytesMut::from(body.as_slice());
    for node in &built.nodes {
        let stored = encode(&ContentKey::Ordinary, &node.bytes, 1).unwrap();
        put_upload_item(&mut body, ChunkKind::Manifest, node.id, &stored);
    }
    json::<UploadResponse>(device.upload(body.to_vec()).await).await;
    Content {
        version: VersionId([version; 16]),
        size: plain.len() as u64,
        content_id: content_id(&ContentKey::Ordinary, plain),
        manifest: built.manifest,
    }
}

pub async fn cursor(device: &Device<'_>) -> Cursor {
    json::<SpacesResponse>(device.get("/spaces").await).await.spaces[0].cursor
}

pub fn file_at(device: &Device<'_>) -> TreePlace {
    TreePlace { parent: NodeId::root_of(device.login.home), name: Name::new("file").unwrap() }
}

async fn push(device: &Device<'_>, counter: u64, kind: OpKind) -> PushResponse {
    push_op(device, counter, None, kind).await
}

pub async fn push_op(device: &Device<'_>, counter: u64, alt_name: Option<Name>, kind: OpKind) -> PushResponse {
    let op = Operation { counter, time: Timestamp::default(), alt_name, kind };
    let request = PushRequest { cursor: cursor(device).await, answered: counter - 1, ops: vec![op] };
    json(device.post(&device.space("/push"), &request).await).await
}

pub async fn create(device: &Device<'_>, content: Content) -> PushResponse {
    let (place, attrs) = (file_at(device), Attrs::default());
    push(device, 1, OpKind::Create { node: FILE, place, kind: NodeKind::File, attrs, content: Some(content) }).await
}

async fn read(device: &Device<'_>, range: &str) -> Response {
    device.call(Method::GET, &format!("/files/{FILE}/content")).header("range", range).send().await.unwrap()
}

async fn a_file_is_read_whole_and_by_range(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let plain = noise(1, 700_500);
    let content = send(&laptop, 1, &plain).await;
    assert!(content.manifest.level > 0, "a tree of nodes");
    assert_eq!(create(&laptop, content).await.answers[0].outcome, Outcome::Applied);
    let whole = laptop.get(&format!("/files/{FILE}/content")).await;
    assert_eq!(whole.headers()["content-length"], "700500");
    let etag = whole.headers()["etag"].clone();
    assert_eq!(whole.bytes().await.unwrap(), plain);
    let part = read(&laptop, "bytes=1999-500000").await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 1999-500000/700500");
    assert_eq!(part.headers()["content-length"], "498002");
    assert_eq!(part.bytes().await.unwrap(), plain[1_999..=500_000]);
    assert_eq!(read(&laptop, "bytes=-1").await.bytes().await.unwrap(), plain[700_499..]);
    assert_eq!(read(&laptop, "bytes=700500-").await.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let path = format!("/files/{FILE}/content");
    let again = laptop.call(Method::GET, &path).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let stale = laptop.call(Method::GET, &path).header("range", "bytes=0-0").header("if-range", "\"other\"");
    assert_eq!(stale.send().await.unwrap().bytes().await.unwrap().len(), plain.len());
}

async fn a_pushed_file_is_pulled_and_listed_in_both_encodings(place: Place) {
    let server = Server::start(place).await;
    let (laptop, phone) = (server.device("anna", "laptop").await, server.device("anna", "phone").await);
    let content = send(&laptop, 1, b"hello").await;
    create(&laptop, content.clone()).await;
    let pull = |from: Cursor| phone.space(&format!("/pull?epoch={}&seq={}&hash={}", from.epoch, from.seq, from.hash));
    let from = Cursor { seq: 0, hash: JournalHash([0; 32]), ..cursor(&phone).await };
    let pulled: PullResponse = json(phone.get(&pull(from)).await).await;
    assert_eq!((pulled.upto, pulled.next.is_none()), (cursor(&phone).await, true));
    let binary = phone.call(Method::GET, &pull(from)).header("accept", MEDIA_BINARY).send().await.unwrap();
    assert_eq!(from_binary::<PullResponse>(&binary.bytes().await.unwrap()).unwrap(), pulled);
    let children = phone.space(&format!("/nodes/{}/children", NodeId::root_of(phone.login.home)));
    let listed: ChildrenResponse = json(phone.get(&children).await).await;
    let child = &listed.children[0];
    assert_eq!((child.name.as_bytes(), child.node), (&b"file"[..], FILE));
    assert_eq!(child.state.file.as_ref().unwrap().content, content);
    let other = Cursor { epoch: EpochId([9; 16]), ..from };
    assert_eq!(code(phone.get(&pull(other)).await).await, ErrorCode::EpochChanged);
}

async fn history_is_served_and_restored(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let (one, two) = (send(&laptop, 1, b"one").await, send(&laptop, 2, b"two").await);
    create(&laptop, one.clone()).await;
    let base = tarn_proto::version::VersionVector::default().with(laptop.login.device, 1);
    let place = file_at(&laptop);
    push(&laptop, 2, OpKind::Write { node: FILE, place, base, content: two, attrs: Default::default() }).await;
    let versions =
        || async { json::<VersionsResponse>(laptop.get(&format!("/files/{FILE}/versions")).await).await.versions };
    assert_eq!(versions().await.iter().map(|v| v.version.0[0]).collect::<Vec<_>>(), [2, 1]);
    let old = laptop.get(&format!("/files/{FILE}/content?version={}", one.version)).await;
    assert_eq!(old.bytes().await.unwrap(), "one");
    let mut socket = notify::open(&laptop).await;
    notify::next(&mut socket).await;
    let restore = format!("/files/{FILE}/versions/{}/restore", one.version);
    json::<Answer>(laptop.call(Method::POST, &restore).send().await.unwrap()).await;
    assert_eq!(laptop.get(&format!("/files/{FILE}/content")).await.bytes().await.unwrap(), "one");
    assert_eq!(versions().await.len(), 3);
    let space = laptop.login.home;
    assert_eq!(notify::next(&mut socket).await, Some(Notice::Changed { space, seq: cursor(&laptop).await.seq }));
}

async fn it_is_known_which_devices_have_a_version(place: Place) {
    let server = Server::start(place).await;
    let (laptop, phone) = (server.device("anna", "laptop").await, server.device("anna", "phone").await);
    let (old, stranger) = (server.device("anna", "old").await, server.device("bert", "pc").await);
    create(&laptop, send(&laptop, 1, b"one").await).await;
    let receipts = format!("/files/{FILE}/receipts");
    let who = async || {
        let told = json::<ReceiptsResponse>(laptop.get(&receipts).await).await;
        told.devices.into_iter().filter(|device| device.has_version).map(|device| device.name).collect::<Vec<_>>()
    };
    assert_eq!(who().await, ["laptop"], "its author has it");
    let mut socket = notify::open(&phone).await;
    notify::tell(&mut socket, &phone, cursor(&phone).await).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while who().await != ["laptop", "phone"] {
        assert!(std::time::Instant::now() < deadline, "the receipt is not there");
    }
    let base = tarn_proto::version::VersionVector::default().with(laptop.login.device, 1);
    let (content, place) = (send(&laptop, 2, b"two").await, file_at(&laptop));
    push(&laptop, 2, OpKind::Write { node: FILE, place, base, content, attrs: Default::default() }).await;
    assert_eq!(who().await, ["laptop"], "the phone has the version before");
    old.call(Method::DELETE, &format!("/devices/{}", old.login.device)).send().await.unwrap();
    let told = json::<ReceiptsResponse>(laptop.get(&receipts).await).await;
    assert_eq!((told.devices.len(), told.version), (2, VersionId([2; 16])));
    assert!(told.devices[1].seq < Some(told.seq) && told.devices[1].time.is_some());
    assert_eq!(code(stranger.get(&receipts).await).await, ErrorCode::NotFound);
}

/// On PostgreSQL the other device is connected to another process's server.
async fn a_push_is_noticed_by_the_other_devices_only(place: Place) {
    let server = Server::start(place).await;
    let second = server.second().await;
    let laptop = server.device("anna", "laptop").await;
    let phone = second.as_ref().unwrap_or(&server).device("anna", "phone").await;
    let (mut at_laptop, mut at_phone) = (notify::open(&laptop).await, notify::open(&phone).await);
    for socket in [&mut at_laptop, &mut at_phone] {
        notify::next(socket).await;
    }
    let content = send(&laptop, 1, b"hello").await;
    let seq = create(&laptop, content).await.after.seq;
    let changed = Notice::Changed { space: laptop.login.home, seq };
    assert_eq!(notify::next(&mut at_phone).await, Some(changed));
    phone.call(Method::DELETE, &format!("/devices/{}", laptop.login.device)).send().await.unwrap();
    assert_eq!(notify::next(&mut at_laptop).await, Some(Notice::Revoked), "its own change is no news to it");
}

async fn a_push_that_names_unsent_chunks_is_told_which(place: Place) {
    let server = Server::start(place).await;
    let (laptop, bert) = (server.device("anna", "laptop").await, server.device("bert", "laptop").await);
    let content = send(&bert, 1, b"secret").await;
    let answer = create(&laptop, content.clone()).await.answers.remove(0).outcome;
    let missing = vec![content.manifest.entries[0].id];
    assert_eq!(answer, Outcome::RetryLater { code: ErrorCode::MissingChunks, missing });
    assert_eq!(cursor(&laptop).await.seq, 0);
}

async fn other_users_files_do_not_exist(place: Place) {
    let server = Server::start(place).await;
    let (anna, bert) = (server.device("anna", "laptop").await, server.device("bert", "laptop").await);
    let content = send(&anna, 1, b"secret").await;
    create(&anna, content.clone()).await;
    let from = cursor(&anna).await;
    let pull = format!("/pull?epoch={}&seq={}&hash={}", from.epoch, from.seq, from.hash);
    for path in [
        format!("/files/{FILE}/content"),
        format!("/files/{FILE}/versions"),
        anna.space(&pull),
        anna.space(&format!("/nodes/{}/children", NodeId::root_of(anna.login.home))),
    ] {
        assert_eq!(code(bert.get(&path).await).await, ErrorCode::NotFound, "{path}");
    }
    let restore = format!("/files/{FILE}/versions/{}/restore", content.version);
    assert_eq!(code(bert.call(Method::POST, &restore).send().await.unwrap()).await, ErrorCode::NotFound);
    let push = PushRequest { cursor: from, answered: 0, ops: vec![] };
    assert_eq!(code(bert.post(&anna.space("/push"), &push).await).await, ErrorCode::NotFound);
}
