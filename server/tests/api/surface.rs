//! What the server says of itself: health, metrics, description.

use crate::database::Place;
use crate::server::{Server, code, json, noise, upload_body};
use reqwest::Method;
use std::collections::BTreeSet;
use tarn_proto::error::ErrorCode;
use tarn_server::app::App;
use tarn_server::env::Env;

each_database!(
    the_server_says_how_it_is,
    every_call_is_described,
    a_lost_store_is_unavailable,
    one_process_serves_a_file_and_many_a_postgres
);

async fn the_server_says_how_it_is(place: Place) {
    let server = Server::start(place).await;
    for path in ["/healthz", "/readyz"] {
        assert!(server.call(Method::GET, path).send().await.unwrap().status().is_success());
    }
    let laptop = server.device("anna", "laptop").await;
    laptop.upload(upload_body(&[noise(1, 10)]).0).await;
    let answer = server.call(Method::GET, "/metrics").header("x-request-id", "mine").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "mine");
    let metrics = answer.text().await.unwrap();
    for name in ["tarn_http_request_seconds_bucket", "tarn_chunks_accepted_total", "tarn_pack_bytes_written_total"] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    assert!(metrics.contains("route=\"/api/v1/spaces/{space}/chunks\""), "routes, not paths, are labels\n{metrics}");
}

async fn every_call_is_described(place: Place) {
    let server = Server::start(place).await;
    let described = json(server.call(Method::GET, "/api/v1/openapi.json").send().await.unwrap()).await;
    let paths = |value: &serde_json::Value| -> BTreeSet<String> {
        let methods = |(path, item): (&String, &serde_json::Value)| -> Vec<String> {
            item.as_object().unwrap().keys().map(|method| format!("{method} {path}")).collect()
        };
        value["paths"].as_object().unwrap().iter().flat_map(methods).collect()
    };
    let expected: BTreeSet<String> = [
        "get /healthz",
        "get /readyz",
        "get /metrics",
        "post /api/v1/auth/login",
        "post /api/v1/auth/logout",
        "get /api/v1/devices",
        "post /api/v1/devices",
        "delete /api/v1/devices/{device}",
        "get /api/v1/spaces",
        "post /api/v1/spaces/{space}/push",
        "post /api/v1/spaces/{space}/recover",
        "post /api/v1/spaces/{space}/undo",
        "get /api/v1/spaces/{space}/pull",
        "get /api/v1/spaces/{space}/nodes/{node}/children",
        "post /api/v1/spaces/{space}/chunks/missing",
        "post /api/v1/spaces/{space}/chunks",
        "post /api/v1/spaces/{space}/chunks/fetch",
        "get /api/v1/spaces/{space}/chunks/{chunk}",
        "get /api/v1/files/{node}/versions",
        "get /api/v1/files/{node}/receipts",
        "post /api/v1/files/{node}/versions/{version}/restore",
        "get /api/v1/files/{node}/content",
        "get /api/v1/conflicts",
        "post /api/v1/conflicts/{conflict}/resolve",
        "get /api/v1/notify",
    ]
    .map(String::from)
    .into();
    assert_eq!(paths(&described), expected);
    let text = described.to_string();
    let schemas: BTreeSet<&str> =
        described["components"]["schemas"].as_object().unwrap().keys().map(String::as_str).collect();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains(name), "{name} is named but not described");
    }
}

async fn a_lost_store_is_unavailable(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    std::fs::remove_dir_all(server.place.dir.path().join("objects")).unwrap();
    assert_eq!(code(server.call(Method::GET, "/readyz").send().await.unwrap()).await, ErrorCode::Unavailable);
    let (body, ids) = upload_body(&[noise(1, 10)]);
    assert_eq!(code(laptop.upload(body).await).await, ErrorCode::Unavailable);
    assert_eq!(laptop.missing(&ids).await, ids);
    if server.place.lose_database().await {
        let response = laptop.get("/spaces").await;
        assert!(response.headers().contains_key("retry-after"));
        assert_eq!(code(response).await, ErrorCode::Unavailable);
    }
    assert!(server.call(Method::GET, "/healthz").send().await.unwrap().status().is_success());
}

async fn one_process_serves_a_file_and_many_a_postgres(place: Place) {
    let mut server = Server::start(place).await;
    let second = server.second().await;
    match App::start(&server.place.config(), Env::real()).await {
        Ok(third) => {
            assert!(second.is_some());
            third.stop().await.unwrap();
        }
        Err(error) => assert!(second.is_none() && error.to_string().contains("another tarn-server"), "{error}"),
    }
    server.stop().await;
    server.restart().await;
}
