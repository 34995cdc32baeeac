//! Owns the notice socket: notices in, receipts out, and the certainty that silence is noticed.

use super::client::HttpClient;
use super::http::socket_error;
use super::line::Lease;
use super::{NoticeEvent, ReceiptSender, RemoteError, TransferCounters};
use crate::limits;
use futures_util::{SinkExt as _, StreamExt as _};
use std::sync::Arc;
use tarn_proto::api::{Notice, NotifyMessage, Receipt, from_binary};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens the socket and serves it until it is gone, `events` is closed, or the sender is dropped.
pub(super) async fn open(client: &HttpClient, events: mpsc::Sender<NoticeEvent>) -> Result<ReceiptSender, RemoteError> {
    let mut request = client.address.notify().into_client_request().map_err(socket_error)?;
    if let Some(token) = client.token() {
        let value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| RemoteError::Malformed("the token is no header value".into()))?;
        request.headers_mut().insert("authorization", value);
    }
    let size = Some(limits::NOTICE_BYTES_MAX);
    let config = WebSocketConfig::default().max_message_size(size).max_frame_size(size);
    let connecting = connect_async_with_config(request, Some(config), true);
    let mut lease = client.line.lease()?;
    let late = || RemoteError::Unreachable("the notice socket does not open".into());
    let (socket, _) = lease.within(limits::CONNECT_TIMEOUT, late, connecting).await?.map_err(socket_error)?;
    let (sender, receipts) = mpsc::unbounded_channel();
    let counters = Arc::clone(&client.counters);
    let mut pings = interval(limits::NOTIFY_PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::spawn(serve(Session { socket, lease, events, receipts, counters, pings, pings_unanswered: 0 }));
    Ok(sender)
}

async fn serve(mut session: Session) {
    if session.events.send(NoticeEvent::Connected).await.is_err() {
        return;
    }
    let reason = loop {
        match session.step().await {
            Ok(()) => {}
            Err(reason) => break reason,
        }
    };
    // Whoever listened may be gone: then nobody wants to know.
    let _ = session.events.send(NoticeEvent::Disconnected(reason)).await;
}

struct Session {
    socket: Socket,
    lease: Lease,
    events: mpsc::Sender<NoticeEvent>,
    receipts: mpsc::UnboundedReceiver<Receipt>,
    counters: Arc<TransferCounters>,
    pings: Interval,
    pings_unanswered: u32,
}

impl Session {
    /// Waits for one thing and does it; the error says why the socket ends.
    async fn step(&mut self) -> Result<(), String> {
        tokio::select! {
            message = self.socket.next() => self.take(message).await,
            receipt = self.receipts.recv() => match receipt {
                Some(receipt) => self.say(receipt).await,
                None => Err("closed".into()),
            },
            _ = self.pings.tick() => self.ping().await,
            () = self.lease.ended() => Err("this machine goes to sleep".into()),
        }
    }

    async fn take(&mut self, message: Option<Result<Message, SocketError>>) -> Result<(), String> {
        let message = message.ok_or("the server closed the notice socket")?.map_err(|e| e.to_string())?;
        self.pings_unanswered = 0;
        self.counters.add_received(message.len());
        let notice = match &message {
            Message::Text(text) => serde_json::from_str(text).map_err(|e| e.to_string())?,
            Message::Binary(bytes) => from_binary(bytes).map_err(|e| e.to_string())?,
            Message::Close(_) => return Err("the server closed the notice socket".into()),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
        };
        self.pass_on(notice).await
    }

    async fn pass_on(&mut self, notice: Notice) -> Result<(), String> {
        self.events.send(NoticeEvent::Notice(notice)).await.map_err(|_| "closed".to_owned())
    }

    async fn say(&mut self, receipt: Receipt) -> Result<(), String> {
        let text = serde_json::to_string(&NotifyMessage::Receipt(receipt)).map_err(|e| e.to_string())?;
        self.send(Message::text(text)).await
    }

    async fn ping(&mut self) -> Result<(), String> {
        if self.pings_unanswered >= limits::NOTIFY_PINGS_UNANSWERED_MAX {
            return Err("the notice socket fell silent".into());
        }
        self.pings_unanswered += 1;
        self.send(Message::Ping(Vec::new().into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), String> {
        self.counters.add_sent(message.len());
        let sent = timeout(limits::IDLE_TIMEOUT, self.socket.send(message)).await;
        sent.map_err(|_| "the notice socket is stuck".to_owned())?.map_err(|e| e.to_string())
    }
}
