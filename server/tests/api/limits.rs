//! Bounds and encodings: what is too much or cannot be read is refused with its code.

use crate::database::Place;
use crate::server::{Server, code, json, noise};
use axum::http::StatusCode;
use reqwest::Method;
use tarn_proto::api::*;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::ChunkId;

each_database!(
    what_cannot_be_read_is_a_bad_request,
    too_much_at_once_is_refused,
    bodies_travel_compressed_both_ways,
    a_bomb_is_not_unpacked,
    both_encodings_say_the_same,
);

async fn what_cannot_be_read_is_a_bad_request(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let missing = laptop.space("/chunks/missing");
    let send = |media: &'static str, body: &'static [u8]| {
        laptop.call(Method::POST, &missing).header("content-type", media).body(body).send()
    };
    for (media, body) in [
        (MEDIA_JSON, &b"{"[..]),
        (MEDIA_JSON, b"{\"ids\":[\"xyz\"]}"),
        (MEDIA_BINARY, b"{\"ids\":[]}"),
        (MEDIA_BINARY, b"\x81\xa3ids\xdd\xff\xff\xff\xff"),
        ("text/html", b"{\"ids\":[]}"),
    ] {
        assert_eq!(code(send(media, body).await.unwrap()).await, ErrorCode::BadRequest, "{media} {body:?}");
    }
    for path in ["/spaces/nonsense/pull", &laptop.space("/pull?seq=x"), &laptop.space("/chunks/xyz")] {
        assert_eq!(code(laptop.get(path).await).await, ErrorCode::BadRequest, "{path}");
    }
    assert_eq!(code(laptop.get("/nowhere").await).await, ErrorCode::NotFound);
    assert_eq!(code(laptop.get("/auth/login").await).await, ErrorCode::NotFound, "the wrong method");
    let compressed = laptop.call(Method::POST, &missing).header("content-encoding", "zstd").body("{}").send().await;
    assert_eq!(code(compressed.unwrap()).await, ErrorCode::BadRequest);
}

async fn too_much_at_once_is_refused(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let many = MissingRequest { ids: vec![ChunkId([1; 32]); 16_385] };
    assert_eq!(code(laptop.post(&laptop.space("/chunks/missing"), &many).await).await, ErrorCode::TooLarge);
    let range = ChunkRange { id: ChunkId([1; 32]), first_frame: 0, frame_count: 1 };
    let many = FetchRequest { ranges: vec![range; 4_097] };
    assert_eq!(code(laptop.post(&laptop.space("/chunks/fetch"), &many).await).await, ErrorCode::TooLarge);
    let long = laptop.call(Method::POST, "/auth/login").body(vec![b' '; (1 << 20) + 1]).send().await.unwrap();
    assert_eq!(code(long).await, ErrorCode::TooLarge);
    let long = laptop.call(Method::POST, &laptop.space("/push")).body(vec![b' '; (8 << 20) + 1]).send().await.unwrap();
    assert_eq!(code(long).await, ErrorCode::TooLarge);
}

async fn bodies_travel_compressed_both_ways(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let ids: Vec<ChunkId> = (0..1_000u16).map(|n| ChunkId([n as u8; 32])).collect();
    let body = serde_json::to_vec(&MissingRequest { ids }).unwrap();
    let call = laptop
        .call(Method::POST, &laptop.space("/chunks/missing"))
        .header("content-type", MEDIA_JSON)
        .header("content-encoding", "zstd")
        .header("accept-encoding", "zstd")
        .body(zstd::bulk::compress(&body, 1).unwrap());
    let response = call.send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "zstd");
    let answer = zstd::bulk::decompress(&response.bytes().await.unwrap(), 1 << 20).unwrap();
    let answer: MissingResponse = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer.missing.len(), 256, "each id is asked for once");
}

async fn a_bomb_is_not_unpacked(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let bomb = zstd::bulk::compress(&vec![b' '; 200 << 20], 1).unwrap();
    assert!(bomb.len() < 100_000);
    let call = laptop.call(Method::POST, &laptop.space("/push")).header("content-encoding", "zstd").body(bomb);
    assert_eq!(code(call.send().await.unwrap()).await, ErrorCode::TooLarge);
}

async fn both_encodings_say_the_same(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let request = MissingRequest { ids: vec![ChunkId(noise(1, 32).try_into().unwrap())] };
    let plain: MissingResponse = json(laptop.post(&laptop.space("/chunks/missing"), &request).await).await;
    let call = laptop
        .call(Method::POST, &laptop.space("/chunks/missing"))
        .header("content-type", MEDIA_BINARY)
        .header("accept", format!("text/html;q=0.1, {MEDIA_BINARY}"))
        .body(to_binary(&request));
    let response = call.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(from_binary::<MissingResponse>(&response.bytes().await.unwrap()).unwrap(), plain);
}
