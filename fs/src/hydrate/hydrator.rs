//! Owns [`Hydrator`]: what the rest of the client asks for.

use super::calls::{self, pause_after};
use super::counters::{CounterValues, Counters};
use super::error::HydrateError;
use super::flights::{FrameKey, Outcome, Table, Target};
use super::local::Wanted;
use super::memory::Memory;
use super::nodes::Nodes;
use super::reach::{Reach, Way};
use crate::content::{LocalContent, Read};
use crate::env::Env;
use crate::meta::rows::BaseVersion;
use crate::remote::Remote;
use parking_lot::Mutex;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::chunk::ContentKey;
use tarn_proto::ids::SpaceId;
use tarn_proto::limits::FRAME_BYTES;
use tarn_proto::manifest::{LocatedChunk, Manifest, resolve};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

/// Who wants bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits.
    Demand,
    /// Somebody will probably want them.
    Prefetch,
    /// Somebody may want them: what has no use is the first to be dropped again.
    Guess,
}

/// Bounds of a hydrator.
#[derive(Debug, Clone)]
pub struct HydrateOptions {
    /// How long a reader waits without a byte arriving.
    pub timeout: Duration,
    /// Memory for bytes that the disk has no room for.
    pub memory_bytes: usize,
    /// What chunk ids depend on.
    pub key: ContentKey,
}

impl Default for HydrateOptions {
    fn default() -> Self {
        Self { timeout: crate::limits::READ_TIMEOUT_DEFAULT, memory_bytes: 64 << 20, key: ContentKey::Ordinary }
    }
}

/// Manifest nodes kept at hand: 12 KiB each.
const NODES_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
/// Bytes of a file whose flights are in the table at once.
const SLICE_BYTES: u64 = 32 << 20;
/// Attempts to see a range whole: each one that fails was overtaken by an eviction or another version.
const ROUNDS_MAX: u32 = 8;

/// What a hydrator's tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) remote: Arc<dyn Remote>,
    pub(super) space: SpaceId,
    pub(super) key: ContentKey,
    pub(super) runtime: Handle,
    pub(super) table: Mutex<Table>,
    pub(super) nodes: Nodes,
    pub(super) memory: Memory,
    pub(super) counters: Counters,
    timeout: Duration,
    way: Way,
    went_offline: Notify,
}

/// Brings bytes of one space. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hydrator {
    pub(super) shared: Arc<Shared>,
}

impl Shared {
    /// A call failed that has not answered these, or somebody waited in vain. Whether nobody waits any more: all were told that
    /// there is no way.
    pub(super) fn note_failure(&self, unanswered: &[FrameKey]) -> bool {
        let is_offline = self.way.failed(self.env.clock.monotonic());
        if is_offline {
            self.tell_offline(unanswered);
        }
        is_offline
    }

    /// What has failed ends before anybody hears of it: whoever asks again then asks anew.
    fn tell_offline(&self, unanswered: &[FrameKey]) {
        let mut table = self.table.lock();
        unanswered.iter().for_each(|key| table.end(key, Err(HydrateError::Offline)));
        table.fail_waiting(&HydrateError::Offline);
        drop(table);
        self.went_offline.notify_waiters();
    }

    pub(super) fn pause(&self) -> Duration {
        pause_after(self.way.failure_count().saturating_sub(1))
    }
}

impl Hydrator {
    /// A hydrator whose tasks run on `runtime`.
    pub fn new(env: Env, remote: Arc<dyn Remote>, space: SpaceId, runtime: Handle, options: HydrateOptions) -> Self {
        let shared = Shared {
            env,
            remote,
            space,
            key: options.key,
            runtime,
            table: Mutex::default(),
            nodes: Nodes::new(NODES_MAX),
            memory: Memory::new(options.memory_bytes),
            counters: Counters::default(),
            timeout: options.timeout,
            way: Way::default(),
            went_offline: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Says what is known of the way to the server. Offline, whoever wants bytes is told at once.
    pub fn set_reach(&self, reach: Reach) {
        self.shared.way.set(reach);
        if reach == Reach::Away {
            self.shared.tell_offline(&[]);
        }
    }

    /// Whether there may be a way, by what [`Self::set_reach`] said last.
    pub fn is_online(&self) -> bool {
        self.shared.way.reach() != Reach::Away
    }

    /// What was fetched so far.
    pub fn counters(&self) -> CounterValues {
        self.shared.counters.values()
    }

    /// Reads a content: what [`Self::need`] has just brought is there, on the disk or in memory.
    ///
    /// # Errors
    /// The disk's.
    pub fn read_through(&self, content: &LocalContent, offset: u64, len: usize) -> io::Result<Read> {
        self.shared.memory.read_through(content, offset, len)
    }

    /// Brings ranges of a content. Dropping the future takes nothing back: bytes on the wire still arrive.
    ///
    /// # Errors
    /// See [`HydrateError`].
    pub async fn need(
        &self,
        content: &Arc<LocalContent>,
        ranges: &[Range<u64>],
        priority: Priority,
    ) -> Result<(), HydrateError> {
        for range in ranges {
            self.need_range(content, range.clone(), priority).await?;
        }
        Ok(())
    }

    /// Brings ranges of a content to the disk: what is in memory alone, because there was no room when it came, is
    /// tried again. Whether all of it is there.
    ///
    /// # Errors
    /// See [`HydrateError`].
    pub async fn need_on_disk(
        &self,
        content: &Arc<LocalContent>,
        ranges: &[Range<u64>],
        priority: Priority,
    ) -> Result<bool, HydrateError> {
        self.need(content, ranges, priority).await?;
        let gaps = |content: &LocalContent, ranges: &[Range<u64>]| -> Vec<Range<u64>> {
            ranges.iter().flat_map(|range| content.missing(range.clone())).collect()
        };
        let missing = gaps(content, ranges);
        if missing.is_empty() {
            return Ok(true);
        }
        let (this, filling) = (self.clone(), content.clone());
        let moved = self.shared.env.blocking(move || this.move_to_disk(&filling, &missing)).await;
        moved.map_err(|_| HydrateError::Unreachable)??;
        Ok(gaps(content, ranges).is_empty())
    }

    fn move_to_disk(&self, content: &LocalContent, missing: &[Range<u64>]) -> io::Result<()> {
        let Some(base) = content.base() else { return Ok(()) };
        let frame_bytes = FRAME_BYTES as u64;
        for gap in missing {
            let mut at = gap.start;
            while at < gap.end {
                let end = gap.end.min((at / frame_bytes + 1) * frame_bytes);
                if let Read::Bytes(bytes) = self.read_through(content, at, (end - at) as usize)? {
                    // Whether it found room is seen by what is missing afterwards.
                    content.fill(base.content.version, at, &bytes)?;
                }
                at = end;
            }
        }
        Ok(())
    }

    async fn need_range(
        &self,
        content: &Arc<LocalContent>,
        range: Range<u64>,
        priority: Priority,
    ) -> Result<(), HydrateError> {
        let mut at = range.start;
        let end = range.end.min(content.size_bytes());
        while at < end {
            let slice = at..end.min(at + SLICE_BYTES);
            at = slice.end;
            self.need_slice(content, slice, priority).await?;
        }
        Ok(())
    }

    async fn need_slice(
        &self,
        content: &Arc<LocalContent>,
        slice: Range<u64>,
        priority: Priority,
    ) -> Result<(), HydrateError> {
        // What came first must not make room for what comes last.
        let _guard = (priority == Priority::Demand).then(|| content.guard(slice.clone()));
        for _ in 0..ROUNDS_MAX {
            let Some(base) = content.base() else {
                return if content.missing(slice).is_empty() { Ok(()) } else { Err(HydrateError::NoVersion) };
            };
            let missing = self.missing(content, &base, slice.clone());
            if missing.is_empty() {
                return Ok(());
            }
            let mut wanted: Vec<Wanted> = Vec::new();
            for gap in missing {
                let chunks = self.chunks(&base.content.manifest, gap.clone(), priority).await?;
                wanted.extend(chunks.into_iter().map(|chunk| (chunk, gap.clone())));
            }
            let wanted = self.take_local(content, &base, wanted, priority).await?;
            self.fetch(content, &base, &wanted, priority).await?;
            if priority != Priority::Demand {
                return Ok(());
            }
        }
        Err(HydrateError::Unreachable)
    }

    /// Fetches what no other content has, and notes that this one has it.
    async fn fetch(
        &self,
        content: &Arc<LocalContent>,
        base: &BaseVersion,
        wanted: &[Wanted],
        priority: Priority,
    ) -> Result<(), HydrateError> {
        if wanted.is_empty() {
            return Ok(());
        }
        self.check_online()?;
        let mut flights = Vec::new();
        for (chunk, gap) in wanted {
            // Some may have come while others were copied.
            let part = gap.start.max(chunk.offset)..gap.end.min(chunk.range().end);
            for gap in self.missing(content, base, part) {
                self.join_frames(content, base, chunk, &gap, priority, &mut flights);
            }
        }
        calls::dispatch(&self.shared);
        self.wait_all(flights).await?;
        content.note_chunks(wanted.iter().map(|(chunk, _)| chunk));
        Ok(())
    }

    /// What is neither on the disk nor in memory.
    pub(super) fn missing(&self, content: &LocalContent, base: &BaseVersion, range: Range<u64>) -> Vec<Range<u64>> {
        let gaps = content.missing(range).into_iter();
        gaps.flat_map(|gap| self.shared.memory.gaps(content.no(), base.content.version, gap)).collect()
    }

    fn check_online(&self) -> Result<(), HydrateError> {
        self.shared.way.check(self.shared.env.clock.monotonic())
    }

    fn join_frames(
        &self,
        content: &Arc<LocalContent>,
        base: &BaseVersion,
        chunk: &LocatedChunk,
        gap: &Range<u64>,
        priority: Priority,
        flights: &mut Vec<watch::Receiver<Outcome>>,
    ) {
        let frame_bytes = FRAME_BYTES as u64;
        let start = gap.start.max(chunk.offset) - chunk.offset;
        let end = gap.end.min(chunk.range().end) - chunk.offset;
        let mut table = self.shared.table.lock();
        for frame in start / frame_bytes..end.div_ceil(frame_bytes) {
            let key = FrameKey { id: chunk.entry.id, frame: frame as u32 };
            let offset = chunk.offset + frame * frame_bytes;
            let range = offset..(offset + frame_bytes).min(chunk.range().end);
            if table.get(&key).is_none() && content.surely_has(range) {
                continue; // its flight has just landed
            }
            let (content, version, is_guess) = (content.clone(), base.content.version, priority == Priority::Guess);
            let target = Target::Content { content, version, offset, is_guess };
            flights.push(table.join(key, Some(chunk.entry.length), target, priority == Priority::Demand));
        }
    }

    /// Waits for flights; every one that lands starts the time anew.
    async fn wait_all(&self, flights: Vec<watch::Receiver<Outcome>>) -> Result<(), HydrateError> {
        for mut flight in flights {
            let offline = self.shared.went_offline.notified();
            let outcome = tokio::select! {
                biased;
                outcome = self.shared.env.timeout(self.shared.timeout, flight.wait_for(Option::is_some)) => outcome,
                () = offline => return Err(HydrateError::Offline),
            };
            let outcome = outcome.map_err(|_| {
                self.shared.note_failure(&[]);
                HydrateError::Unreachable
            })?;
            // A flight that vanishes without an outcome lost its task.
            let outcome = outcome.map_err(|_| HydrateError::Unreachable)?.clone();
            outcome.unwrap_or(Err(HydrateError::Unreachable))?;
            self.shared.way.answered();
        }
        Ok(())
    }

    /// The chunks that hold a range of a version; fetches manifest nodes that are not at hand.
    ///
    /// # Errors
    /// See [`HydrateError`].
    pub async fn chunks(
        &self,
        manifest: &Manifest,
        range: Range<u64>,
        priority: Priority,
    ) -> Result<Vec<LocatedChunk>, HydrateError> {
        let mut fetched = std::collections::HashMap::new();
        loop {
            let lookup = |id: &_| fetched.get(id).cloned().or_else(|| self.shared.nodes.get(id));
            let resolved =
                resolve(manifest, range.clone(), lookup).map_err(|e| HydrateError::Manifest(e.to_string()))?;
            if resolved.missing.is_empty() {
                return Ok(resolved.chunks);
            }
            self.check_online()?;
            let flights = {
                let mut table = self.shared.table.lock();
                let join = |&id: &_| {
                    let key = FrameKey { id, frame: 0 };
                    table.join(key, None, Target::Node, priority == Priority::Demand)
                };
                resolved.missing.iter().map(join).collect()
            };
            calls::dispatch(&self.shared);
            self.wait_all(flights).await?;
            for id in resolved.missing {
                // One that was pushed out of the cache already is asked for again.
                fetched.extend(self.shared.nodes.get(&id).map(|bytes| (id, bytes)));
            }
        }
    }

    /// All chunks of a version, for [`crate::content::Snapshot::plan_upload`] and for re-binding.
    ///
    /// # Errors
    /// See [`HydrateError`].
    pub async fn all_chunks(&self, base: Option<&BaseVersion>) -> Result<Vec<LocatedChunk>, HydrateError> {
        let Some(base) = base else { return Ok(Vec::new()) };
        self.chunks(&base.content.manifest, 0..base.content.size, Priority::Demand).await
    }

    /// Fetches ranges in the background, behind everything that is waited for. Returns at once.
    pub fn prefetch(&self, content: &Arc<LocalContent>, ranges: Vec<Range<u64>>) {
        if ranges.iter().all(|range| content.missing(range.clone()).is_empty()) {
            return;
        }
        let (this, content) = (self.clone(), content.clone());
        self.shared.runtime.spawn(async move {
            if let Err(e) = this.need(&content, &ranges, Priority::Prefetch).await {
                tracing::debug!(error = %e, "nothing was fetched ahead");
            }
        });
    }

    /// Fetches whole small files in the background, many to a call: all of them wait for a call before the first
    /// one leaves. Waits for the local disk alone. A file whose manifest has nodes is left out: it is not small.
    pub fn siblings(&self, contents: &[Arc<LocalContent>]) {
        if self.check_online().is_err() {
            return;
        }
        // Nobody waits: what fails is fetched when it is read.
        let mut flights = Vec::new();
        for content in contents {
            let Some(base) = content.base() else { continue };
            for gap in self.missing(content, &base, 0..content.size_bytes()) {
                let Ok(resolved) = resolve(&base.content.manifest, gap.clone(), |_: &_| None::<bytes::Bytes>) else {
                    continue;
                };
                if !resolved.missing.is_empty() {
                    continue;
                }
                let wanted = resolved.chunks.into_iter().map(|chunk| (chunk, gap.clone())).collect();
                for (chunk, gap) in self.copy_all(content, &base, wanted, Priority::Guess).unwrap_or_default() {
                    self.join_frames(content, &base, &chunk, &gap, Priority::Guess, &mut flights);
                }
            }
        }
        calls::dispatch(&self.shared);
    }
}
