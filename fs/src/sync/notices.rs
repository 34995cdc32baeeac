//! Owns the notice socket's life: notices to the engine, receipts to the server.

use super::driver::ended;
use super::event::{Event, Failure};
use crate::remote::{NoticeEvent, ReceiptSender, Remote, RemoteError};
use parking_lot::Mutex;
use std::sync::Arc;
use tarn_proto::api::{Notice, Receipt};
use tarn_proto::change::Cursor;
use tarn_proto::ids::SpaceId;
use tokio::sync::mpsc;

/// Notices that wait to be looked at.
const NOTICES_MAX: usize = 64;

/// The notice socket of one space.
#[derive(Debug)]
pub(super) struct Link {
    space: SpaceId,
    remote: Arc<dyn Remote>,
    events: mpsc::UnboundedSender<Event>,
    receipts: Mutex<Receipts>,
}

#[derive(Debug, Default)]
struct Receipts {
    sender: Option<ReceiptSender>,
    last: Option<Cursor>,
}

impl Link {
    pub fn new(space: SpaceId, remote: Arc<dyn Remote>, events: mpsc::UnboundedSender<Event>) -> Self {
        Self { space, remote, events, receipts: Mutex::default() }
    }

    /// Opens the socket and serves it until it is gone; returns the event that says so.
    pub async fn serve(&self) -> Event {
        let (sender, mut notices) = mpsc::channel(NOTICES_MAX);
        match self.remote.notify(sender).await {
            Ok(receipts) => *self.receipts.lock() = Receipts { sender: Some(receipts), last: None },
            Err(error) => return Event::LinkLost { error: Failure::Remote(error) },
        }
        let error = loop {
            match notices.recv().await {
                Some(NoticeEvent::Connected) => self.tell(Event::LinkOpened),
                Some(NoticeEvent::Notice(notice)) => self.take(&notice),
                Some(NoticeEvent::Disconnected(reason)) => break Failure::Remote(RemoteError::Unreachable(reason)),
                None => break ended(),
            }
        };
        self.close();
        Event::LinkLost { error }
    }

    /// Closes the socket, if it is open.
    pub fn close(&self) {
        self.receipts.lock().sender = None;
    }

    /// Tells the server how far this device has applied its journal.
    pub fn receive_up_to(&self, cursor: Option<Cursor>) {
        let Some(cursor) = cursor else { return };
        let mut receipts = self.receipts.lock();
        if receipts.last == Some(cursor) {
            return;
        }
        let is_sent =
            receipts.sender.as_ref().is_some_and(|sender| sender.send(Receipt { space: self.space, cursor }).is_ok());
        if is_sent {
            receipts.last = Some(cursor);
        }
    }

    fn take(&self, notice: &Notice) {
        match notice {
            Notice::Changed { space, seq } if *space == self.space => self.tell(Event::Noticed { seq: *seq }),
            Notice::Changed { .. } => {}
            Notice::Revoked => self.tell(Event::Revoked),
        }
    }

    fn tell(&self, event: Event) {
        // The driver may have ended: then nobody wants to know.
        let _ = self.events.send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::SPACE;
    use super::*;
    use crate::remote::memory::MemoryServer;
    use std::time::Duration;
    use tarn_proto::ids::DeviceId;

    #[tokio::test]
    async fn a_socket_that_is_closed_says_that_it_is_gone() {
        let remote = Arc::new(MemoryServer::new(SPACE).device(DeviceId([1; 16])));
        let (events, mut heard) = mpsc::unbounded_channel();
        let link = Link::new(SPACE, remote, events);
        let closed = async {
            assert!(matches!(heard.recv().await, Some(Event::LinkOpened)));
            link.close();
        };
        let served = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(link.serve(), closed) });
        let (ended, ()) = served.await.expect("in time");
        assert!(matches!(ended, Event::LinkLost { .. }), "{ended:?}");
    }
}
