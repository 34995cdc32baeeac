//! The notice socket.

use crate::database::Place;
use crate::server::{Device, Server, code};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Method;
use std::time::Duration;
use tarn_proto::api::{Notice, NotifyMessage, Receipt};
use tarn_proto::change::Cursor;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{EpochId, JournalHash};
use tarn_server::store::{Database, receipts};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

each_database!(
    a_socket_is_told_where_its_spaces_stand,
    revoking_closes_the_socket,
    the_end_of_the_server_closes_sockets,
    receipts_are_written_down,
    a_socket_needs_a_token,
    nonsense_closes_the_socket,
);

pub type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

pub async fn open(device: &Device<'_>) -> Socket {
    let url = format!("{}/api/v1/notify", device.server.url().replace("http://", "ws://"));
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", device.login.token).parse().unwrap());
    connect_async(request).await.unwrap().0
}

/// The next notice, or None when the socket was closed.
pub async fn next(socket: &mut Socket) -> Option<Notice> {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("a message in time");
        match message {
            Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

/// Says how far a device has come.
pub async fn tell(socket: &mut Socket, device: &Device<'_>, cursor: Cursor) {
    let receipt = NotifyMessage::Receipt(Receipt { space: device.login.home, cursor });
    socket.send(Message::text(serde_json::to_string(&receipt).unwrap())).await.unwrap();
}

async fn a_socket_is_told_where_its_spaces_stand(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let mut socket = open(&laptop).await;
    assert_eq!(next(&mut socket).await, Some(Notice::Changed { space: laptop.login.home, seq: 0 }));
}

async fn revoking_closes_the_socket(place: Place) {
    let server = Server::start(place).await;
    let (laptop, phone) = (server.device("anna", "laptop").await, server.device("anna", "phone").await);
    let mut socket = open(&phone).await;
    next(&mut socket).await;
    laptop.call(Method::DELETE, &format!("/devices/{}", phone.login.device)).send().await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Notice::Revoked));
    assert_eq!(next(&mut socket).await, None);
}

async fn the_end_of_the_server_closes_sockets(place: Place) {
    let mut server = Server::start(place).await;
    let mut socket = open(&server.device("anna", "laptop").await).await;
    next(&mut socket).await;
    let closed = async { while next(&mut socket).await.is_some() {} };
    tokio::join!(server.stop(), closed);
}

async fn receipts_are_written_down(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    let mut socket = open(&laptop).await;
    let cursor = Cursor { epoch: EpochId([1; 16]), seq: 7, hash: JournalHash([2; 32]) };
    let receipt = NotifyMessage::Receipt(Receipt { space: laptop.login.home, cursor });
    socket.send(Message::text(serde_json::to_string(&receipt).unwrap())).await.unwrap();
    let db = Database::open(&server.place.database).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let mut conn = db.reader().await.unwrap();
        if receipts::get(&mut conn, laptop.login.device, laptop.login.home).await.unwrap() == Some(cursor) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the receipt is not there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    db.close().await;
}

async fn a_socket_needs_a_token(place: Place) {
    let server = Server::start(place).await;
    let call = server.call(Method::GET, "/api/v1/notify").header("upgrade", "websocket");
    assert_eq!(code(call.send().await.unwrap()).await, ErrorCode::Unauthenticated);
    let laptop = server.device("anna", "laptop").await;
    assert_eq!(code(laptop.get("/notify").await).await, ErrorCode::BadRequest, "no upgrade");
}

async fn nonsense_closes_the_socket(place: Place) {
    let server = Server::start(place).await;
    let laptop = server.device("anna", "laptop").await;
    for message in [Message::text("{}"), Message::binary(vec![1]), Message::text("x".repeat(20_000))] {
        let mut socket = open(&laptop).await;
        next(&mut socket).await;
        socket.send(message).await.unwrap();
        assert_eq!(next(&mut socket).await, None);
    }
}
