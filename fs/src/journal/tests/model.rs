//! A small world over a journal: every step changes rows, contents or remote state, and every state it
//! went through is remembered, so that what is recovered can be found among them.

use crate::env::{CrashDisk, Env};
use crate::journal::*;
use crate::log::{LogOptions, Lsn};
use crate::meta::rows::*;
use crate::meta::{Check, Readers, RemoteWork};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, ByteString, NodeKind, NodeState, Timestamp};

pub fn options(materialise: Materialise) -> JournalOptions {
    JournalOptions {
        log: LogOptions { segment_bytes: 8192, spare_max: 2 },
        check: Check::Quick,
        materialise,
        gather: Duration::from_millis(1),
        ..JournalOptions::default()
    }
}

/// The state folder of every disk.
pub fn dir() -> &'static Path {
    Path::new("/state")
}

pub fn env(disk: &CrashDisk) -> Env {
    Env { disk: Arc::new(disk.clone()), ..Env::real() }
}

pub type Bytes = BTreeMap<ContentNo, Vec<u8>>;

type Work = Box<dyn FnOnce() + Send>;

/// Something to do in the middle of a materialisation.
#[derive(Clone, Default)]
pub struct Hook(pub Arc<Mutex<Option<Work>>>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

/// Contents in memory, and what of them is durable: like the real one it never overwrites.
#[derive(Debug, Clone, Default)]
pub struct MemSink {
    pub live: Arc<Mutex<Bytes>>,
    pub slots: Arc<Mutex<Vec<Vec<u8>>>>,
    pub backing: Arc<Mutex<BTreeMap<ContentNo, u64>>>,
    pub fail_count: Arc<Mutex<u32>>,
    pub panics: Arc<Mutex<bool>>,
    pub hook: Hook,
}

impl MemSink {
    /// What is left after the power was cut: the slots, which are never used twice.
    pub fn reloaded(&self, readers: &Readers) -> Self {
        let mut live = Bytes::new();
        for (no, row) in readers.get().unwrap().contents_all().unwrap() {
            let bytes = match row.place {
                ContentPlace::Slab { offset, .. } => self.slots.lock()[offset as usize].clone(),
                _ => Vec::new(),
            };
            live.insert(no, bytes);
        }
        let backing = self.backing.lock().clone();
        Self {
            live: Arc::new(Mutex::new(live)),
            slots: self.slots.clone(),
            backing: Arc::new(Mutex::new(backing)),
            fail_count: Arc::default(),
            panics: Arc::default(),
            hook: Hook::default(),
        }
    }
}

pub fn content_row(place: ContentPlace, size_bytes: u64) -> ContentRow {
    ContentRow {
        ino: Ino(2),
        size_bytes,
        place,
        base: None,
        present: Default::default(),
        dirty: Default::default(),
        is_dirty: true,
        open_for_writing: false,
    }
}

pub fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    bytes.resize(bytes.len().max(end), 0);
    bytes[offset as usize..end].copy_from_slice(data);
}

impl ContentSink for MemSink {
    fn materialise(&mut self, touched: &[ContentNo]) -> io::Result<Vec<(ContentNo, ContentRow)>> {
        assert!(!*self.panics.lock(), "as it was told to");
        let hook = self.hook.0.lock().take();
        hook.into_iter().for_each(|hook| hook());
        let mut fail_count = self.fail_count.lock();
        if *fail_count > 0 {
            *fail_count -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let (live, mut slots) = (self.live.lock(), self.slots.lock());
        let rows = touched.iter().filter_map(|no| Some((*no, live.get(no)?.clone())));
        let rows = rows.map(|(no, bytes)| {
            let size = bytes.len() as u64;
            slots.push(bytes);
            let place = ContentPlace::Slab { offset: slots.len() as u64 - 1, capacity_bytes: 4096 };
            (no, content_row(place, size))
        });
        Ok(rows.collect())
    }

    fn committed(&mut self, _removed: &[ContentNo]) {}
}

impl RecoverySink for MemSink {
    fn recover_row(&mut self, no: ContentNo, row: Option<&ContentRow>) -> io::Result<()> {
        match row {
            Some(_) => drop(self.live.lock().entry(no).or_default()),
            None => drop(self.live.lock().remove(&no)),
        }
        Ok(())
    }

    fn recover_write(&mut self, no: ContentNo, offset: u64, data: &[u8]) -> io::Result<()> {
        write(self.live.lock().entry(no).or_default(), offset, data);
        Ok(())
    }

    fn recover_resize(&mut self, no: ContentNo, size_bytes: u64) -> io::Result<()> {
        self.live.lock().entry(no).or_default().resize(size_bytes as usize, 0);
        Ok(())
    }

    fn backing_has(&mut self, no: ContentNo, len_bytes: u64) -> io::Result<bool> {
        Ok(self.backing.lock().get(&no).is_some_and(|&len| len >= len_bytes))
    }
}

/// Everything that the database says, and the contents' bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    pub entry: Option<EntryRow>,
    pub queue: Vec<u64>,
    pub contents: Bytes,
    pub node_seq: Option<u64>,
    pub kv: Option<Vec<u8>>,
}

pub fn name() -> Name {
    Name::new("name").unwrap()
}

pub fn node() -> NodeId {
    NodeId([1; 16])
}

pub fn load(readers: &Readers, live: &Bytes) -> World {
    let reader = readers.get().unwrap();
    let contents = reader.contents_all().unwrap();
    let contents = contents.into_iter().map(|(no, row)| {
        let bytes = live[&no].clone();
        assert_eq!(row.size_bytes, bytes.len() as u64);
        (no, bytes)
    });
    World {
        entry: reader.local_entry(ROOT, &name()).unwrap(),
        queue: reader.queue_all().unwrap().into_iter().map(|(ticket, _)| ticket.0).collect(),
        contents: contents.collect(),
        node_seq: reader.remote_node(node()).unwrap().map(|row| row.seq),
        kv: reader.kv("last").unwrap(),
    }
}

pub fn queued() -> QueuedOp {
    let op = LocalOp::Create { ino: Ino(2), parent: ROOT, name: name() };
    QueuedOp { op, time: Timestamp::default(), frozen: None, name_tries: 0, verdict: crate::meta::rows::Verdict::Open }
}

/// Does the n-th step (n is also the record's number) and says what it makes of `world`.
pub fn step(journal: &Journal, sink: &MemSink, n: u64, world: &mut World) -> Result<Lsn, JournalError> {
    let no = ContentNo(1 + n / 8 % 3);
    match n % 8 {
        0 | 5 => {
            let entry = EntryRow { ino: Some(Ino(n)), ticket: Ticket(n) };
            let gone = world.queue.first().copied().filter(|_| n.is_multiple_of(3));
            let mut rows = vec![
                RowChange::Queue(Ticket(n), Some(Box::new(queued()))),
                RowChange::Entry(ROOT, name(), Some(entry)),
                RowChange::Counter(n),
            ];
            rows.extend(gone.map(|ticket| RowChange::Queue(Ticket(ticket), None)));
            let lsn = journal.commit(rows, Vec::new())?;
            world.queue.retain(|&ticket| Some(ticket) != gone);
            world.queue.push(n);
            world.entry = Some(entry);
            Ok(lsn)
        }
        1 => {
            let mut live = sink.live.lock();
            let lsn = journal
                .commit(vec![RowChange::Content(no, Some(Box::new(content_row(ContentPlace::None, 0))))], Vec::new())?;
            live.entry(no).or_default();
            world.contents.entry(no).or_default();
            Ok(lsn)
        }
        2 | 3 => {
            let (offset, data) = (n * 7 % 40, vec![n as u8; 1 + n as usize * 13 % 90]);
            let mut live = sink.live.lock();
            let lsn = journal.write_small(no, offset, &data)?;
            write(live.get_mut(&no).unwrap(), offset, &data);
            write(world.contents.get_mut(&no).unwrap(), offset, &data);
            Ok(lsn)
        }
        4 => {
            let mut live = sink.live.lock();
            let lsn = journal.resize_small(no, n % 50)?;
            live.get_mut(&no).unwrap().resize(n as usize % 50, 0);
            world.contents.get_mut(&no).unwrap().resize(n as usize % 50, 0);
            Ok(lsn)
        }
        6 => {
            let lsn = journal.submit_remote(remote(n, world.queue.first().copied()))?;
            if !world.queue.is_empty() {
                world.queue.remove(0);
            }
            world.node_seq = Some(n.max(world.node_seq.unwrap_or(0)));
            world.kv = Some(n.to_string().into_bytes());
            Ok(lsn)
        }
        _ => {
            let gone = ContentNo(1 + (n / 8 + 1) % 3);
            let mut live = sink.live.lock();
            let lsn = journal.commit(vec![RowChange::Content(gone, None)], Vec::new())?;
            live.remove(&gone);
            world.contents.remove(&gone);
            Ok(lsn)
        }
    }
}

/// What the server said at step `n`.
pub fn remote(n: u64, settled: Option<u64>) -> RemoteWork {
    let state = NodeState { kind: NodeKind::Dir, attrs: Attrs { mode: n as u32, ..Attrs::default() }, file: None };
    RemoteWork {
        rows: settled.map(|ticket| RowChange::Queue(Ticket(ticket), None)).into_iter().collect(),
        changes: vec![Change { seq: n, row: Row::Node { node: node(), state: Some(Arc::new(state)) } }],
        kv: vec![("last".to_owned(), Some(ByteString(n.to_string().into_bytes())))],
        ..RemoteWork::default()
    }
}

pub struct Opened {
    pub journal: Journal,
    pub sink: MemSink,
    pub recovered: Recovered,
}

/// Opens the journal with what `old` kept.
pub fn open(disk: &CrashDisk, old: &MemSink, how: Materialise) -> Result<Opened, JournalError> {
    open_with(disk, old, options(how))
}

pub fn open_with(disk: &CrashDisk, old: &MemSink, options: JournalOptions) -> Result<Opened, JournalError> {
    let prepared = Journal::prepare(&env(disk), dir(), options)?;
    let sink = old.reloaded(&prepared.readers());
    let (journal, recovered) = prepared.recover(Box::new(sink.clone()))?;
    Ok(Opened { journal, sink, recovered })
}
