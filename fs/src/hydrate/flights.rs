//! Owns who waits for what: one flight for each frame that is wanted and not here yet.

use super::error::HydrateError;
use super::turns::{Owner, Turns};
use crate::content::LocalContent;
use crate::remote::Urgency;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tarn_proto::ids::{ChunkId, VersionId};
use tokio::sync::watch;

/// A frame of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FrameKey {
    pub(super) id: ChunkId,
    pub(super) frame: u32,
}

/// Where a frame goes.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// Into a content that shows this version, at this offset of the file; `is_guess`: nobody may ever read it.
    Content { content: Arc<LocalContent>, version: VersionId, offset: u64, is_guess: bool },
    /// Among the manifest nodes.
    Node,
}

impl Target {
    /// Whether bytes for one are bytes for the other.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Node, Self::Node) => true,
            (
                Self::Content { content, version, offset, .. },
                Self::Content { content: other, version: other_version, offset: other_offset, .. },
            ) => Arc::ptr_eq(content, other) && version == other_version && offset == other_offset,
            _ => false,
        }
    }
}

impl Target {
    /// In whose turn its frame is fetched ahead.
    fn owner(&self) -> Owner {
        match self {
            Self::Node => 0,
            Self::Content { content, .. } => Arc::as_ptr(content).addr(),
        }
    }
}

/// How a flight ended; `None` while it has not.
pub(super) type Outcome = Option<Result<(), HydrateError>>;

/// One frame on its way.
#[derive(Debug)]
pub(super) struct Flight {
    /// Plaintext bytes of the whole chunk, as the manifest says; `None` for a node.
    pub(super) chunk_bytes: Option<u64>,
    targets: Vec<Target>,
    owner: Owner,
    done: watch::Sender<Outcome>,
    pub(super) is_demand: bool,
    /// How urgent the call is that it is part of.
    call: Option<Urgency>,
    /// Answers that were not the frame.
    damaged_count: u32,
}

/// All flights.
#[derive(Debug, Default)]
pub(super) struct Table {
    flights: HashMap<FrameKey, Flight>,
    demand: VecDeque<FrameKey>,
    prefetch: Turns,
    /// Calls on the wire.
    pub(super) call_count: usize,
    /// Of these, calls that hold only prefetches.
    pub(super) prefetch_call_count: usize,
}

/// How often a frame may come damaged before it is given up.
const DAMAGED_MAX: u32 = 2;

impl Table {
    /// Joins a frame's flight, or starts one.
    pub(super) fn join(
        &mut self,
        key: FrameKey,
        chunk_bytes: Option<u64>,
        target: Target,
        is_demand: bool,
    ) -> watch::Receiver<Outcome> {
        let (is_new, owner) = (!self.flights.contains_key(&key), target.owner());
        let flight = self.flights.entry(key).or_insert_with(|| Flight {
            chunk_bytes,
            targets: Vec::new(),
            owner,
            done: watch::Sender::new(None),
            is_demand: false,
            call: None,
            damaged_count: 0,
        });
        let is_promoted = is_demand && !flight.is_demand;
        flight.is_demand |= is_demand;
        if !flight.targets.iter().any(|known| known.is_same(&target)) {
            flight.targets.push(target);
        }
        let receiver = flight.done.subscribe();
        match &flight.call {
            Some(call) if is_promoted => call.raise(),
            None if is_promoted => self.demand.push_back(key),
            _ if is_new => self.prefetch.push_back(owner, key),
            _ => {}
        }
        receiver
    }

    /// Takes flights for one call, demand first; prefetches only if there is no demand. `take` says whether
    /// one more fits. The call is urgent as soon as a program waits for one of them.
    pub(super) fn board(
        &mut self,
        may_prefetch: bool,
        urgency: &Urgency,
        mut take: impl FnMut() -> bool,
    ) -> Vec<FrameKey> {
        let mut boarded = Vec::new();
        let has_demand =
            self.demand.iter().any(|key| self.flights.get(key).is_some_and(|flight| flight.call.is_none()));
        if !has_demand && !may_prefetch {
            return boarded;
        }
        loop {
            let front = if has_demand { self.demand.front().copied() } else { self.prefetch.front() };
            let Some(key) = front else { break };
            if let Some(flight) = self.flights.get_mut(&key).filter(|flight| flight.call.is_none()) {
                if !take() {
                    break;
                }
                flight.call = Some(urgency.clone());
                if flight.is_demand {
                    urgency.raise();
                }
                boarded.push(key);
            }
            if has_demand {
                self.demand.pop_front()
            } else {
                self.prefetch.pop_front()
            };
        }
        boarded
    }

    /// What is known of a flight.
    pub(super) fn get(&self, key: &FrameKey) -> Option<&Flight> {
        self.flights.get(key)
    }

    /// Targets that were not served yet.
    pub(super) fn take_targets(&mut self, key: &FrameKey) -> Vec<Target> {
        self.flights.get_mut(key).map(|flight| std::mem::take(&mut flight.targets)).unwrap_or_default()
    }

    /// Ends a flight, unless somebody joined with a target that was not served. `false`: serve again.
    pub(super) fn land(&mut self, key: &FrameKey) -> bool {
        let is_served = self.flights.get(key).is_none_or(|flight| flight.targets.is_empty());
        if is_served {
            self.end(key, Ok(()));
        }
        is_served
    }

    /// Ends a flight, well or not.
    pub(super) fn end(&mut self, key: &FrameKey, outcome: Result<(), HydrateError>) {
        if let Some(flight) = self.flights.remove(key) {
            flight.done.send_replace(Some(outcome));
        }
    }

    /// Puts a flight back into its queue.
    pub(super) fn requeue(&mut self, key: FrameKey) {
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.call = None;
            match flight.is_demand {
                true => self.demand.push_front(key),
                false => self.prefetch.push_front(flight.owner, key),
            }
        }
    }

    /// Takes note of a damaged answer: tries once more, then gives up.
    pub(super) fn damaged(&mut self, key: FrameKey, detail: &str) {
        let Some(flight) = self.flights.get_mut(&key) else { return };
        flight.damaged_count += 1;
        if flight.damaged_count < DAMAGED_MAX {
            return self.requeue(key);
        }
        self.end(&key, Err(HydrateError::Damaged { chunk: key.id, detail: detail.to_owned() }));
    }

    /// Drops prefetches that nobody waits for any more; whether the flight is still wanted.
    pub(super) fn is_wanted(&self, key: &FrameKey) -> bool {
        self.flights.get(key).is_some_and(|flight| flight.done.receiver_count() > 0)
    }

    /// Ends everything that is not on the wire.
    pub(super) fn fail_waiting(&mut self, error: &HydrateError) {
        let waiting: Vec<_> =
            self.flights.iter().filter(|(_, flight)| flight.call.is_none()).map(|(&key, _)| key).collect();
        waiting.iter().for_each(|key| self.end(key, Err(error.clone())));
        self.demand.clear();
        self.prefetch.clear();
    }

    /// Whether anything waits to be called.
    pub(super) fn has_waiting(&self, may_prefetch: bool) -> bool {
        !self.demand.is_empty() || (may_prefetch && !self.prefetch.is_empty())
    }
}
