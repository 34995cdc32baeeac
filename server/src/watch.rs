//! Owns the fan-out of "space S is at seq N" to who waits for it, in this process and, over
//! PostgreSQL, in the others.
//!
//! A notice may be lost, repeated or late: it costs latency only. So a waiter keeps one number per
//! space, never a queue. Call [`Watch::changed`] after the commit, never inside the transaction.

mod remote;

pub use remote::{link, notify_channel};

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::str::FromStr as _;
use std::sync::{Arc, Weak};
use tarn_proto::api::Notice;
use tarn_proto::ids::{DeviceId, SpaceId};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

/// Something that others should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A space's journal has come to a seq.
    Changed {
        /// Which space.
        space: SpaceId,
        /// How far.
        seq: u64,
        /// Who did it, and so needs no notice.
        author: Option<DeviceId>,
    },
    /// A device was revoked.
    Revoked(DeviceId),
}

impl Signal {
    /// The text that other processes are sent.
    fn encode(&self) -> String {
        match self {
            Self::Changed { space, seq, author: Some(author) } => format!("c {space} {seq} {author}"),
            Self::Changed { space, seq, author: None } => format!("c {space} {seq}"),
            Self::Revoked(device) => format!("r {device}"),
        }
    }

    fn decode(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        match words.next()? {
            "c" => {
                let (space, seq) = (SpaceId::from_str(words.next()?).ok()?, words.next()?.parse().ok()?);
                let author = words.next().and_then(|author| DeviceId::from_str(author).ok());
                Some(Self::Changed { space, seq, author })
            }
            "r" => Some(Self::Revoked(DeviceId::from_str(words.next()?).ok()?)),
            _ => None,
        }
    }
}

/// Who waits for what; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiters: Mutex<HashMap<SpaceId, Vec<Weak<Mailbox>>>>,
    others: Mutex<Option<UnboundedSender<Signal>>>,
}

#[derive(Debug)]
struct Mailbox {
    device: DeviceId,
    pending: Mutex<Pending>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    changed: BTreeMap<SpaceId, u64>,
    revoked: bool,
}

/// One waiter; it waits until it is dropped.
#[derive(Debug)]
pub struct Subscription(Arc<Mailbox>);

impl Subscription {
    /// The next notice; several of one space become one. Cancel-safe.
    pub async fn next(&self) -> Notice {
        loop {
            let woken = self.0.wake.notified();
            if let Some(notice) = self.0.take() {
                return notice;
            }
            woken.await;
        }
    }
}

impl Mailbox {
    fn take(&self) -> Option<Notice> {
        let mut pending = self.pending.lock();
        if pending.revoked {
            return Some(Notice::Revoked);
        }
        pending.changed.pop_first().map(|(space, seq)| Notice::Changed { space, seq })
    }

    fn put(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.pending.lock());
        self.wake.notify_one();
    }
}

impl Watch {
    /// Waits for news of these spaces on behalf of a device.
    pub fn subscribe(&self, device: DeviceId, spaces: &[SpaceId]) -> Subscription {
        let mailbox = Arc::new(Mailbox { device, pending: Mutex::default(), wake: Notify::new() });
        let mut waiters = self.0.waiters.lock();
        for space in spaces {
            let list = waiters.entry(*space).or_default();
            list.retain(|waiter| waiter.strong_count() > 0);
            list.push(Arc::downgrade(&mailbox));
        }
        Subscription(mailbox)
    }

    /// Tells all who wait, here and elsewhere, that a commit brought a space to `seq`.
    pub fn changed(&self, space: SpaceId, seq: u64, author: Option<DeviceId>) {
        self.everywhere(Signal::Changed { space, seq, author });
    }

    /// Tells a device's sockets, here and elsewhere, that it was revoked.
    pub fn revoked(&self, device: DeviceId) {
        self.everywhere(Signal::Revoked(device));
    }

    fn everywhere(&self, signal: Signal) {
        self.here(signal);
        if let Some(others) = &*self.0.others.lock() {
            let _ = others.send(signal);
        }
    }

    fn here(&self, signal: Signal) {
        let mut waiters = self.0.waiters.lock();
        match signal {
            Signal::Changed { space, seq, author } => {
                let Some(list) = waiters.get_mut(&space) else { return };
                list.retain(|waiter| waiter.strong_count() > 0);
                for waiter in list.iter().filter_map(Weak::upgrade).filter(|waiter| Some(waiter.device) != author) {
                    waiter.put(|pending| {
                        let at = pending.changed.entry(space).or_default();
                        *at = seq.max(*at);
                    });
                }
                if list.is_empty() {
                    waiters.remove(&space);
                }
            }
            Signal::Revoked(device) => {
                let all = waiters.values().flatten().filter_map(Weak::upgrade);
                all.filter(|waiter| waiter.device == device).for_each(|waiter| waiter.put(|p| p.revoked = true));
            }
        }
    }

    /// The spaces that someone here waits for.
    fn spaces(&self) -> Vec<SpaceId> {
        self.0.waiters.lock().keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: SpaceId = SpaceId([1; 16]);
    const ONE: DeviceId = DeviceId([1; 16]);
    const TWO: DeviceId = DeviceId([2; 16]);

    #[tokio::test]
    async fn notices_of_one_space_become_one_and_spare_their_author() {
        let watch = Watch::default();
        let (one, two) = (watch.subscribe(ONE, &[SPACE]), watch.subscribe(TWO, &[SPACE]));
        for seq in [1, 3, 2] {
            watch.changed(SPACE, seq, Some(ONE));
        }
        assert_eq!(two.next().await, Notice::Changed { space: SPACE, seq: 3 });
        assert_eq!((one.0.take(), two.0.take()), (None, None));
    }

    #[tokio::test]
    async fn a_revoked_device_hears_nothing_else() {
        let watch = Watch::default();
        let one = watch.subscribe(ONE, &[SPACE]);
        watch.changed(SPACE, 1, None);
        watch.revoked(ONE);
        assert_eq!(one.next().await, Notice::Revoked);
    }

    #[test]
    fn who_left_is_forgotten() {
        let watch = Watch::default();
        drop(watch.subscribe(ONE, &[SPACE]));
        watch.changed(SPACE, 1, None);
        assert_eq!(watch.spaces(), []);
    }

    #[test]
    fn a_signal_survives_its_text() {
        for author in [None, Some(TWO)] {
            let signal = Signal::Changed { space: SPACE, seq: u64::MAX, author };
            assert_eq!(Signal::decode(&signal.encode()), Some(signal));
        }
        assert_eq!(Signal::decode(&Signal::Revoked(ONE).encode()), Some(Signal::Revoked(ONE)));
        assert_eq!(Signal::decode("c zz 1"), None);
    }
}
