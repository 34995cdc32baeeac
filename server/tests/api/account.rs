//! Signing in and out, devices, whose space is whose.

use crate::database::Place;
use crate::server::{PASSWORD, Server, code, json, space};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use reqwest::Method;
use std::net::SocketAddr;
use std::sync::Arc;
use tarn_proto::api::*;
use tarn_proto::error::ErrorCode;
use tarn_server::env::Env;
use tarn_server::{app, router};
use tower::ServiceExt as _;

each_database!(
    a_login_opens_the_account,
    a_wrong_password_and_an_unknown_user_look_the_same,
    guessing_is_stopped,
    a_call_without_a_good_token_is_refused,
    a_revoked_token_ends_at_once,
    a_logout_ends_the_token_and_keeps_the_device,
    a_device_that_signs_in_again_stays_itself,
    devices_of_one_name_are_told_apart,
    a_device_enrols_its_successor,
    another_accounts_device_is_out_of_reach,
    passwords_are_not_taken_from_other_machines,
    another_users_space_does_not_exist,
);

async fn devices(device: &crate::server::Device<'_>) -> Vec<DeviceInfo> {
    json::<DevicesResponse>(device.get("/devices").await).await.devices
}

async fn a_login_opens_the_account(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let spaces: SpacesResponse = json(laptop.get("/spaces").await).await;
    assert_eq!(spaces.spaces.len(), 1);
    let home = &spaces.spaces[0];
    assert!(home.home && home.space == laptop.login.home && home.cursor.seq == 0);
    assert_eq!(home.root, tarn_proto::ids::NodeId::root_of(home.space));
    let devices = devices(&laptop).await;
    assert_eq!(devices.len(), 1);
    assert!(devices[0].current && devices[0].name == "laptop" && !devices[0].revoked);
    let call = laptop.call(Method::GET, "/spaces").header("accept", MEDIA_BINARY).send().await.unwrap();
    assert_eq!(call.headers()["content-type"], MEDIA_BINARY);
    assert_eq!(from_binary::<SpacesResponse>(&call.bytes().await.unwrap()).unwrap(), spaces);
}

async fn a_wrong_password_and_an_unknown_user_look_the_same(place: Place) {
    let server = Server::start(place).await;
    let mut bodies = Vec::new();
    for (user, password) in [("anna", "wrong"), ("nobody", PASSWORD), ("", PASSWORD)] {
        let response = server.login(user, password, "laptop", None).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        bodies.push(response.text().await.unwrap());
    }
    assert!(bodies.iter().all(|body| *body == bodies[0] && body.contains("bad_credentials")), "{bodies:?}");
    assert_eq!(code(server.login("anna", PASSWORD, "", None).await).await, ErrorCode::BadRequest);
    assert_eq!(code(server.login("anna", PASSWORD, &"x".repeat(65), None).await).await, ErrorCode::BadRequest);
}

async fn guessing_is_stopped(place: Place) {
    let server = Server::start(place).await;
    for _ in 0..10 {
        assert_eq!(code(server.login("anna", "wrong", "laptop", None).await).await, ErrorCode::BadCredentials);
    }
    assert_eq!(code(server.login("anna", PASSWORD, "laptop", None).await).await, ErrorCode::TooManyRequests);
    server.device("bert", "laptop").await;
}

async fn a_call_without_a_good_token_is_refused(place: Place) {
    let server = Server::start(place).await;
    let response = server.call(Method::GET, "/api/v1/spaces").send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(code(response).await, ErrorCode::Unauthenticated);
    for token in ["tarn1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "", "' OR 1=1 --"] {
        let response = server.call(Method::GET, "/api/v1/spaces").bearer_auth(token).send().await.unwrap();
        assert_eq!(code(response).await, ErrorCode::Unauthenticated, "{token}");
    }
}

async fn a_revoked_token_ends_at_once(place: Place) {
    let server = Server::start(place).await;
    let (laptop, phone) = (server.device("anna", "laptop").await, server.device("anna", "phone").await);
    assert_eq!(phone.get("/spaces").await.status(), StatusCode::OK);
    let revoke = format!("/devices/{}", phone.login.device);
    assert_eq!(laptop.call(Method::DELETE, &revoke).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(code(phone.get("/spaces").await).await, ErrorCode::Unauthenticated);
    assert_eq!(laptop.get("/spaces").await.status(), StatusCode::OK);
    let listed = devices(&laptop).await;
    assert_eq!(listed.iter().map(|device| device.revoked).collect::<Vec<_>>(), [false, true]);
    let again = server.login("anna", PASSWORD, "phone", Some(phone.login.device)).await;
    assert_eq!(json::<LoginResponse>(again).await.device, phone.login.device);
}

async fn a_logout_ends_the_token_and_keeps_the_device(place: Place) {
    let server = Server::start(place).await;
    let (laptop, phone) = (server.device("anna", "laptop").await, server.device("anna", "phone").await);
    let done = phone.call(Method::POST, "/auth/logout").send().await.unwrap();
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    assert_eq!(code(phone.get("/spaces").await).await, ErrorCode::Unauthenticated);
    assert!(devices(&laptop).await.iter().all(|device| !device.revoked));
}

async fn a_device_that_signs_in_again_stays_itself(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let id = laptop.login.device;
    let again: LoginResponse = json(server.login("anna", PASSWORD, "new name", Some(id)).await).await;
    assert_eq!(again.device, id);
    assert_eq!(code(laptop.get("/spaces").await).await, ErrorCode::Unauthenticated);
    let laptop = crate::server::Device { server: &server, login: again };
    let listed = devices(&laptop).await;
    assert_eq!((listed.len(), listed[0].name.as_str()), (1, "new name"));
    let unknown = tarn_proto::ids::DeviceId([77; 16]);
    let restored: LoginResponse = json(server.login("anna", PASSWORD, "old", Some(unknown)).await).await;
    assert_eq!(restored.device, unknown, "the server may have been restored from before it was enrolled");
}

async fn devices_of_one_name_are_told_apart(place: Place) {
    let server = Server::start(place).await;
    let (long, first) = ("ü".repeat(64), server.device("anna", "laptop").await);
    for name in ["laptop", "laptop", &long, &long] {
        server.device("anna", name).await;
    }
    let names: Vec<String> = devices(&first).await.into_iter().map(|device| device.name).collect();
    let cut = format!("{} 2", "ü".repeat(62));
    assert_eq!(names, ["laptop", "laptop 2", "laptop 3", &long, &cut]);
}

async fn another_accounts_device_is_out_of_reach(place: Place) {
    let server = Server::start(place).await;
    let (anna, bert) = (server.device("anna", "laptop").await, server.device("bert", "laptop").await);
    let revoke = format!("/devices/{}", anna.login.device);
    let response = bert.call(Method::DELETE, &revoke).send().await.unwrap();
    assert_eq!(code(response).await, ErrorCode::NotFound);
    let taken = server.login("bert", PASSWORD, "mine", Some(anna.login.device)).await;
    assert_eq!(code(taken).await, ErrorCode::Forbidden);
    assert_eq!(anna.get("/spaces").await.status(), StatusCode::OK);
}

async fn passwords_are_not_taken_from_other_machines(place: Place) {
    for (insecure, expected) in [(false, StatusCode::FORBIDDEN), (true, StatusCode::UNAUTHORIZED)] {
        let config = tarn_server::config::ServeConfig { insecure, ..place.config() };
        let (_end, ending) = tokio::sync::watch::channel(false);
        let services = Arc::new(app::wire(&config, Env::real(), ending).await.unwrap());
        let router = router::router(services.clone());
        let request = LoginRequest { user: "anna".into(), password: "x".into(), device_name: "d".into(), device: None };
        let request = Request::post("/api/v1/auth/login")
            .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 1))))
            .body(Body::from(serde_json::to_vec(&request).unwrap()))
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), expected);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&body).contains("insecure_transport"), !insecure);
        services.db.close().await;
    }
}

async fn another_users_space_does_not_exist(place: Place) {
    let server = Server::start(place).await;
    let (anna, bert) = (server.device("anna", "laptop").await, server.device("bert", "laptop").await);
    let foreign = |path: &str| space(anna.login.home, path);
    let missing = bert.post(&foreign("/chunks/missing"), &MissingRequest { ids: vec![] }).await;
    assert_eq!(code(missing).await, ErrorCode::NotFound);
    let fetch = bert.post(&foreign("/chunks/fetch"), &FetchRequest { ranges: vec![] }).await;
    assert_eq!(code(fetch).await, ErrorCode::NotFound);
    let upload = bert.call(Method::POST, &foreign("/chunks")).header("content-type", MEDIA_CHUNKS).body("");
    assert_eq!(code(upload.send().await.unwrap()).await, ErrorCode::NotFound);
    let zeros = "0".repeat(64);
    assert_eq!(code(bert.get(&foreign(&format!("/chunks/{zeros}"))).await).await, ErrorCode::NotFound);
}

async fn a_device_enrols_its_successor(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let as_json = |call: reqwest::RequestBuilder, name: &str| {
        let body = serde_json::to_vec(&EnrolRequest { device_name: name.into() }).unwrap();
        call.header("content-type", MEDIA_JSON).body(body).send()
    };
    let enrolled = as_json(laptop.call(Method::POST, "/devices"), "laptop").await.unwrap();
    let enrolled: EnrolResponse = json(enrolled).await;
    assert_ne!(enrolled.device, laptop.login.device);
    assert_eq!(enrolled.device_name, "laptop 2");
    let call = server.call(Method::GET, "/api/v1/spaces").bearer_auth(&enrolled.token).send().await.unwrap();
    let spaces: SpacesResponse = json(call).await;
    assert_eq!(spaces.spaces[0].space, laptop.login.home);
    assert_eq!(devices(&laptop).await.len(), 2, "the caller's own token stays good");
    let refused = as_json(laptop.call(Method::POST, "/devices"), "").await.unwrap();
    assert_eq!(code(refused).await, ErrorCode::BadRequest);
    let nobody = as_json(server.call(Method::POST, "/api/v1/devices"), "laptop").await.unwrap();
    assert_eq!(code(nobody).await, ErrorCode::Unauthenticated);
}
