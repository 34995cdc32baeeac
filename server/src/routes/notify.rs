//! Owns the notice socket: notices out, receipts in, pings both ways.
//!
//! After connecting, the caller is told where each of its spaces stands, so that nothing is missed
//! between two sockets. The socket closes when the device is revoked, when nothing was heard of
//! the caller for 45 s, and when the server ends.

use super::Called;
use crate::limits;
use crate::service::{Failure, Identity, Services, receipts, spaces};
use crate::telemetry;
use crate::watch::Subscription;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tarn_proto::api::{Notice, NotifyMessage, Receipt};
use tarn_proto::error::{ErrorCode, Problem};
use tarn_proto::ids::SpaceId;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How long receipts are gathered before they are written down.
const RECEIPT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a socket that stopped reading is waited for.
const SEND_TIME_MAX: Duration = Duration::from_secs(15);

/// Opens a socket: `Notice` messages to the caller, `NotifyMessage`s from it, both JSON text.
#[utoipa::path(get, path = "/notify", tag = "sync", security(("token" = [])),
    responses((status = 101, description = "a WebSocket"), (status = "default", body = Problem)))]
pub async fn notify(
    services: Called,
    who: Identity,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let upgrade = upgrade.map_err(|error| Failure::refused(ErrorCode::BadRequest, error.body_text()))?;
    let own: Vec<SpaceId> = spaces::of_caller(&services.db, who).await?.iter().map(|(space, _)| *space).collect();
    // Waiting begins before the seqs are read: what is committed between is told twice, never missed.
    let subscription = services.watch.subscribe(who.device, &own);
    let now_at = spaces::of_caller(&services.db, who).await?;
    let services = services.0;
    let upgrade = upgrade.max_message_size(limits::NOTIFY_MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |socket| Session::new(services, who, socket).run(subscription, now_at)))
}

struct Session {
    services: Arc<Services>,
    who: Identity,
    socket: WebSocket,
    heard: Instant,
    receipts: HashMap<SpaceId, Receipt>,
}

/// What a session wakes up for.
enum Event {
    Notice(Notice),
    Received(Option<Result<Message, axum::Error>>),
    Ping,
    WriteReceipts,
    Ending,
}

/// That the socket is to be closed.
struct Close(u16, &'static str);

impl Session {
    fn new(services: Arc<Services>, who: Identity, socket: WebSocket) -> Self {
        let heard = services.env.instant();
        Self { services, who, socket, heard, receipts: HashMap::new() }
    }

    async fn run(mut self, subscription: Subscription, now_at: Vec<(SpaceId, u64)>) {
        metrics::gauge!(telemetry::NOTIFY_SOCKETS).increment(1.0);
        let Close(code, reason) = match self.converse(&subscription, now_at).await {
            Err(close) => close,
            Ok(never) => match never {},
        };
        self.write_receipts().await;
        let frame = CloseFrame { code, reason: reason.into() };
        drop(self.send(Message::Close(Some(frame))).await);
        metrics::gauge!(telemetry::NOTIFY_SOCKETS).decrement(1.0);
    }

    async fn converse(
        &mut self,
        subscription: &Subscription,
        now_at: Vec<(SpaceId, u64)>,
    ) -> Result<std::convert::Infallible, Close> {
        for (space, seq) in now_at {
            self.tell(&Notice::Changed { space, seq }).await?;
        }
        let (mut pings, mut writes) = (ticks(limits::NOTIFY_PING), ticks(RECEIPT_INTERVAL));
        let mut ending = self.services.ending.clone();
        loop {
            let event = tokio::select! {
                _ = ending.wait_for(|ending| *ending) => Event::Ending,
                notice = subscription.next() => Event::Notice(notice),
                message = self.socket.recv() => Event::Received(message),
                _ = pings.tick() => Event::Ping,
                _ = writes.tick(), if !self.receipts.is_empty() => Event::WriteReceipts,
            };
            self.apply(event).await?;
        }
    }

    async fn apply(&mut self, event: Event) -> Result<(), Close> {
        match event {
            Event::Ending => Err(Close(close_code::AWAY, "the server ends")),
            Event::Notice(Notice::Revoked) => {
                self.tell(&Notice::Revoked).await?;
                Err(Close(close_code::POLICY, "the device was revoked"))
            }
            Event::Notice(notice) => self.tell(&notice).await,
            Event::Received(Some(Ok(message))) => self.hear(message),
            Event::Received(_) => Err(Close(close_code::NORMAL, "")),
            Event::Ping => {
                let silence = self.services.env.instant().duration_since(self.heard);
                if silence > limits::NOTIFY_SILENCE_MAX {
                    return Err(Close(close_code::AWAY, "nothing was heard"));
                }
                self.send(Message::Ping(bytes::Bytes::new())).await
            }
            Event::WriteReceipts => {
                self.write_receipts().await;
                Ok(())
            }
        }
    }

    fn hear(&mut self, message: Message) -> Result<(), Close> {
        self.heard = self.services.env.instant();
        let text = match &message {
            Message::Text(text) => text.as_str(),
            Message::Close(_) => return Err(Close(close_code::NORMAL, "")),
            Message::Binary(_) => return Err(Close(close_code::UNSUPPORTED, "messages are JSON text")),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
        };
        match serde_json::from_str(text) {
            Ok(NotifyMessage::Receipt(receipt)) => {
                self.receipts.insert(receipt.space, receipt);
                Ok(())
            }
            Err(_) => Err(Close(close_code::INVALID, "the message cannot be read")),
        }
    }

    async fn tell(&mut self, notice: &Notice) -> Result<(), Close> {
        let text = serde_json::to_string(notice).expect("notices serialise");
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Close> {
        match tokio::time::timeout(SEND_TIME_MAX, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Close(close_code::AWAY, "the socket is gone")),
        }
    }

    async fn write_receipts(&mut self) {
        for receipt in std::mem::take(&mut self.receipts).into_values() {
            if let Err(error) = receipts::record(&self.services.db, &self.services.env, self.who, &receipt).await {
                tracing::warn!(%error, "a receipt was not written down");
            }
        }
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}
