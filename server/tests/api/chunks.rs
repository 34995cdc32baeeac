//! Chunks over HTTP: what is sent comes back, what is wrong leaves nothing, nothing is sent twice.

use crate::database::Place;
use crate::server::{Device, Server, code, json, noise, upload_body};
use axum::http::StatusCode;
use reqwest::Method;
use tarn_proto::api::*;
use tarn_proto::chunk::wire::{ChunkKind, FetchDecoder, FetchItem, FetchStatus, put_upload_item};
use tarn_proto::chunk::{ContentKey, decode, encode};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::ChunkId;

each_database!(
    what_was_sent_comes_back,
    each_bad_body_has_its_code_and_leaves_nothing,
    a_body_over_its_limit_leaves_nothing,
    one_chunk_is_immutable_and_cacheable,
    the_put_log_tells_what_was_acknowledged,
    another_user_must_send_what_is_there,
    acknowledged_chunks_survive_a_restart,
    uploads_side_by_side_of_the_same_chunks_agree,
);

async fn fetch(device: &Device<'_>, ranges: Vec<ChunkRange>) -> Vec<FetchItem> {
    let response = device.post(&device.space("/chunks/fetch"), &FetchRequest { ranges }).await;
    assert_eq!(response.headers()["content-type"], MEDIA_CHUNKS);
    let (mut decoder, mut items) = (FetchDecoder::new(), Vec::new());
    decoder.push(&response.bytes().await.unwrap());
    while let Some(item) = decoder.next_item().unwrap() {
        items.push(item);
    }
    decoder.finish().unwrap();
    items
}

fn whole(id: ChunkId) -> ChunkRange {
    ChunkRange { id, first_frame: 0, frame_count: u32::MAX }
}

async fn what_was_sent_comes_back(place: Place) {
    let server = Server::start(place).await;
    let (laptop, phone) = (server.device("anna", "laptop").await, server.device("anna", "phone").await);
    let plains: Vec<Vec<u8>> = (0..40).map(|n| noise(n, 1_000 + 20_000 * n as usize)).collect();
    let (body, ids) = upload_body(&plains);
    assert_eq!(laptop.missing(&ids).await, ids);
    let answer: UploadResponse = json(laptop.upload(body).await).await;
    assert_eq!(answer, UploadResponse { accepted: 40, stored: 40 });
    assert_eq!(phone.missing(&ids).await, []);
    let mut ranges: Vec<ChunkRange> = ids.iter().rev().map(|id| whole(*id)).collect();
    ranges.push(ChunkRange { id: ids[39], first_frame: 3, frame_count: 2 });
    ranges.push(whole(ChunkId([0; 32])));
    let items = fetch(&phone, ranges).await;
    for (item, plain) in items.iter().zip(plains.iter().rev()) {
        assert_eq!(&item.open(&ContentKey::Ordinary).unwrap().1, plain);
    }
    assert_eq!(items[40].open(&ContentKey::Ordinary).unwrap().1, plains[39][3 * 65_536..5 * 65_536]);
    assert_eq!(items[41].status, FetchStatus::Unknown);
    assert_eq!(server.place.packs().len(), 1, "one body is one pack");
}

async fn each_bad_body_has_its_code_and_leaves_nothing(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let (good, ids) = upload_body(&[noise(1, 70_000)]);
    let stored = encode(&ContentKey::Ordinary, &noise(2, 70_000), 1).unwrap();
    let with = |kind: ChunkKind, id: ChunkId, stored: &[u8]| {
        let mut body = bytes::BytesMut::from(good.as_slice());
        put_upload_item(&mut body, kind, id, stored);
        body.to_vec()
    };
    let mut flipped = good.clone();
    flipped[60_000] ^= 1;
    let mut unknown_kind = good.clone();
    unknown_kind[0] = 9;
    let (short, _) = good.split_at(good.len() - 1);
    for (body, expected) in [
        (with(ChunkKind::Data, ChunkId([9; 32]), &stored), ErrorCode::BadChunk),
        (with(ChunkKind::Data, ids[0], &stored), ErrorCode::BadChunk),
        (with(ChunkKind::Data, ChunkId([9; 32]), &[0; 20]), ErrorCode::BadChunk),
        (with(ChunkKind::Data, ChunkId([9; 32]), b"x"), ErrorCode::BadChunk),
        (
            with(ChunkKind::Manifest, tarn_proto::chunk::chunk_id(&ContentKey::Ordinary, &noise(2, 70_000)), &stored),
            ErrorCode::BadManifest,
        ),
        (flipped, ErrorCode::BadChunk),
        (unknown_kind, ErrorCode::BadRequest),
        (short.to_vec(), ErrorCode::BadRequest),
    ] {
        assert_eq!(code(laptop.upload(body).await).await, expected);
    }
    let plain = laptop.call(Method::POST, &laptop.space("/chunks")).body(good.clone()).send().await.unwrap();
    assert_eq!(code(plain).await, ErrorCode::BadRequest, "without its media type");
    assert_eq!(laptop.missing(&ids).await, ids);
    assert_eq!(server.place.packs(), Vec::<std::path::PathBuf>::new());
    assert_eq!(laptop.upload(good).await.status(), StatusCode::OK);
}

async fn a_body_over_its_limit_leaves_nothing(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let plains: Vec<Vec<u8>> = (0..9).map(|n| noise(n, 4 << 20)).collect();
    let (body, ids) = upload_body(&plains);
    assert_eq!(code(laptop.upload(body).await).await, ErrorCode::TooLarge);
    assert_eq!(laptop.missing(&ids).await, ids);
    assert_eq!(server.place.packs(), Vec::<std::path::PathBuf>::new());
}

async fn one_chunk_is_immutable_and_cacheable(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let plain = noise(1, 100_000);
    let (body, ids) = upload_body(std::slice::from_ref(&plain));
    laptop.upload(body).await;
    let path = laptop.space(&format!("/chunks/{}", ids[0]));
    let response = laptop.get(&path).await;
    assert!(response.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    let etag = response.headers()["etag"].clone();
    assert_eq!(decode(&ContentKey::Ordinary, ids[0], &response.bytes().await.unwrap()).unwrap(), plain);
    let again = laptop.call(Method::GET, &path).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let absent = laptop.get(&laptop.space(&format!("/chunks/{}", ChunkId([1; 32])))).await;
    assert_eq!(code(absent).await, ErrorCode::NotFound);
}

async fn the_put_log_tells_what_was_acknowledged(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let (one, one_ids) = upload_body(&[noise(1, 100), noise(2, 100)]);
    let (two, two_ids) = upload_body(&[noise(2, 100), noise(3, 100)]);
    laptop.upload(one).await;
    laptop.upload(two).await;
    let text = std::fs::read_to_string(server.place.dir.path().join("put.log")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids = |value: &serde_json::Value| {
        let mut ids: Vec<String> = serde_json::from_value(value.clone()).unwrap();
        ids.sort();
        ids
    };
    let sorted = |ids: &[ChunkId]| {
        let mut ids: Vec<String> = ids.iter().map(ChunkId::to_string).collect();
        ids.sort();
        ids
    };
    assert_eq!((ids(&lines[0]["ids"]), ids(&lines[1]["ids"])), (sorted(&one_ids), sorted(&two_ids)));
    assert_eq!((ids(&lines[0]["again"]), ids(&lines[1]["again"])), (vec![], sorted(&one_ids[1..])));
    assert_eq!((lines[0]["stored"].as_u64(), lines[1]["stored"].as_u64()), (Some(2), Some(1)));
}

async fn another_user_must_send_what_is_there(place: Place) {
    let server = Server::start(place).await;
    let (anna, bert) = (server.device("anna", "laptop").await, server.device("bert", "laptop").await);
    let (body, ids) = upload_body(&[noise(1, 100_000)]);
    anna.upload(body.clone()).await;
    assert_eq!(bert.missing(&ids).await, ids);
    assert_eq!(fetch(&bert, vec![whole(ids[0])]).await[0].status, FetchStatus::Unknown);
    let answer: UploadResponse = json(bert.upload(body).await).await;
    assert_eq!(answer, UploadResponse { accepted: 1, stored: 0 });
    assert_eq!(fetch(&bert, vec![whole(ids[0])]).await[0].status, FetchStatus::Ok);
    assert_eq!(server.place.packs().len(), 1);
}

async fn acknowledged_chunks_survive_a_restart(place: Place) {
    let mut server = Server::start(place).await;
    let (body, ids) = upload_body(&[noise(1, 100_000)]);
    let login = {
        let laptop = server.device("anna", "laptop").await;
        laptop.upload(body).await;
        laptop.login
    };
    server.stop().await;
    server.restart().await;
    let laptop = Device { server: &server, login };
    assert_eq!(laptop.missing(&ids).await, []);
    assert_eq!(fetch(&laptop, vec![whole(ids[0])]).await[0].open(&ContentKey::Ordinary).unwrap().1, noise(1, 100_000));
}

async fn uploads_side_by_side_of_the_same_chunks_agree(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let plains: Vec<Vec<u8>> = (0..50).map(|n| noise(n, 2_000)).collect();
    let (body, ids) = upload_body(&plains);
    let uploads = (0..8).map(|_| laptop.upload(body.clone()));
    for response in futures_util::future::join_all(uploads).await {
        assert_eq!(json::<UploadResponse>(response).await.accepted, 50);
    }
    assert_eq!(laptop.missing(&ids).await, []);
    let items = fetch(&laptop, ids.iter().map(|id| whole(*id)).collect()).await;
    assert!(items.iter().zip(&plains).all(|(item, plain)| item.open(&ContentKey::Ordinary).unwrap().1 == *plain));
}
