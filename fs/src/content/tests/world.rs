//! Owns a store on a disk, real unless said otherwise, with a journal that is stricter than the real one: it materialises any
//! prefix of its log, and replays from there.

use crate::content::{ContentRows, Contents, Options, SmallLog};
use crate::env::{Disk, RealDisk};
use crate::meta::rows::{BaseVersion, ContentNo, ContentRow, Ino};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Weak};
use tarn_proto::chunk::{ContentKey, chunk_id, cut};
use tarn_proto::ids::{DeviceId, VersionId};
use tarn_proto::manifest::{LocatedChunk, ManifestEntry, build, content_id};
use tarn_proto::node::Content;
use tarn_proto::version::VersionVector;

#[derive(Debug, Clone)]
pub enum Record {
    Write(ContentNo, u64, Vec<u8>),
    Resize(ContentNo, u64),
    Row(ContentNo, ContentRow),
}

impl Record {
    fn no(&self) -> ContentNo {
        match self {
            Self::Write(no, ..) | Self::Resize(no, _) | Self::Row(no, _) => *no,
        }
    }
}

/// Log and database in memory; survives the store.
#[derive(Debug, Default)]
pub struct Journal {
    state: Mutex<JournalState>,
    contents: Mutex<Weak<Contents>>,
}

#[derive(Debug, Default)]
struct JournalState {
    log: Vec<Record>,
    applied: usize,
    rows: BTreeMap<ContentNo, ContentRow>,
    /// What share of the log the next batches take, in percent.
    share: usize,
}

impl SmallLog for Journal {
    fn admit(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, no: ContentNo, offset: u64, data: &[u8]) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.log.push(Record::Write(no, offset, data.to_vec()));
        Ok(state.log.len() as u64)
    }

    fn left_behind(&self) -> u64 {
        self.state.lock().applied as u64
    }

    fn resize(&self, no: ContentNo, size_bytes: u64) -> io::Result<u64> {
        self.push(Record::Resize(no, size_bytes));
        Ok(self.state.lock().log.len() as u64)
    }

    fn flush(&self, _place: u64) -> io::Result<()> {
        Ok(())
    }

    fn mark_open(&self, no: ContentNo, row: &ContentRow, _durable: bool) -> io::Result<u64> {
        self.push(Record::Row(no, row.clone()));
        Ok(self.state.lock().log.len() as u64)
    }

    fn ask_less(&self, _no: ContentNo, _size_bytes: u64) -> io::Result<u64> {
        Ok(self.state.lock().log.len() as u64)
    }

    fn note(&self, no: ContentNo, row: &ContentRow) -> io::Result<u64> {
        self.push(Record::Row(no, row.clone()));
        Ok(self.state.lock().log.len() as u64)
    }
}

impl ContentRows for Journal {
    fn load(&self, no: ContentNo) -> io::Result<Option<ContentRow>> {
        Ok(self.state.lock().rows.get(&no).cloned())
    }

    fn record(&self, numbers: &[ContentNo]) -> io::Result<()> {
        // What was logged before comes first, as in the journal's queue.
        let share = std::mem::replace(&mut self.state.lock().share, 100);
        let result = self.materialise(numbers);
        self.state.lock().share = share;
        result
    }
}

impl Journal {
    pub fn push(&self, record: Record) {
        self.state.lock().log.push(record);
    }

    /// A row as the database has it.
    pub fn row(&self, no: ContentNo) -> Option<ContentRow> {
        self.state.lock().rows.get(&no).cloned()
    }

    pub fn set_share(&self, percent: usize) {
        self.state.lock().share = percent;
    }

    /// Brings a prefix of the log into the database.
    pub fn materialise(&self, more: &[ContentNo]) -> io::Result<()> {
        let contents = self.contents.lock().upgrade().ok_or_else(|| io::Error::other("closed"))?;
        let (batch, upto) = {
            let state = self.state.lock();
            let waiting = state.log.len() - state.applied;
            let upto = state.applied + waiting * state.share.min(100) / 100;
            (state.log[state.applied..upto].to_vec(), upto)
        };
        let touched: BTreeSet<_> = batch.iter().map(Record::no).chain(more.iter().copied()).collect();
        let done = contents.materialise(&Vec::from_iter(touched))?;
        let mut state = self.state.lock();
        for record in batch {
            if let Record::Row(no, row) = record {
                state.rows.insert(no, row);
            }
        }
        for (no, row) in &done.rows {
            state.rows.insert(*no, row.clone());
        }
        state.applied = upto;
        drop(state);
        contents.after_commit(done)
    }
}

pub struct World {
    pub dir: tempfile::TempDir,
    disk: Arc<dyn Disk>,
    pub journal: Arc<Journal>,
    pub contents: Arc<Contents>,
    pub options: Options,
}

impl World {
    pub fn new(budget_bytes: u64) -> Self {
        Self::on(Arc::new(RealDisk), budget_bytes)
    }

    pub fn on(disk: Arc<dyn Disk>, budget_bytes: u64) -> Self {
        let options = Options { budget_bytes, floor_bytes: 0, ..Options::default() };
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(Journal::default());
        journal.set_share(100);
        let contents = open(&disk, &dir, &journal, &options);
        Self { dir, disk, journal, contents, options }
    }

    /// Ends the store as kill -9 would, and starts another from database and log.
    pub fn kill(&mut self) {
        self.contents = open(&self.disk, &self.dir, &self.journal, &self.options);
        let (rows, log) = {
            let state = self.journal.state.lock();
            (state.rows.clone(), state.log[state.applied..].to_vec())
        };
        for record in log {
            match record {
                Record::Write(no, offset, data) => self.contents.replay_write(no, offset, &data).unwrap(),
                Record::Resize(no, size_bytes) => self.contents.replay_resize(no, size_bytes).unwrap(),
                Record::Row(no, row) => self.contents.replay_row(no, row).unwrap(),
            }
        }
        self.contents.replayed_all().unwrap();
        self.journal.set_share(100);
        self.journal.materialise(&[]).unwrap();
        self.contents.inventory(rows.iter().map(|(&no, row)| (no, row)));
        self.contents.inventory_done().unwrap();
    }

    /// The same after a power cut that left this disk behind: the log and the database survive it whole.
    pub fn cut(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self.kill();
        self
    }

    /// A new content, with its row logged.
    pub fn create(&self, no: u64) -> Arc<crate::content::LocalContent> {
        let content = self.contents.create(ContentNo(no), Ino(no));
        self.journal.push(Record::Row(ContentNo(no), content.row()));
        content
    }

    /// A remote version of which nothing is here, with its row logged.
    pub fn adopt(&self, no: u64, bytes: &[u8], version: u8) -> Arc<crate::content::LocalContent> {
        let content = self.contents.adopt(ContentNo(no), Ino(no), base_of(bytes, version));
        self.journal.push(Record::Row(ContentNo(no), content.row()));
        content
    }

    pub fn get(&self, no: u64) -> Arc<crate::content::LocalContent> {
        self.contents.get(ContentNo(no)).unwrap()
    }

    /// Blocks that the store has allocated.
    pub fn allocated_bytes(&self) -> u64 {
        fn walk(disk: &RealDisk, dir: &std::path::Path) -> u64 {
            let of = |path: std::path::PathBuf| match std::fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => walk(disk, &path),
                Ok(meta) => std::os::unix::fs::MetadataExt::blocks(&meta) * 512,
                Err(_) => 0,
            };
            disk.read_dir(dir).unwrap().into_iter().map(of).sum()
        }
        walk(&RealDisk, self.dir.path())
    }
}

fn open(disk: &Arc<dyn Disk>, dir: &tempfile::TempDir, journal: &Arc<Journal>, options: &Options) -> Arc<Contents> {
    let contents = Contents::open(Arc::clone(disk), dir.path(), options.clone()).unwrap();
    contents.attach(journal.clone(), journal.clone());
    *journal.contents.lock() = Arc::downgrade(&contents);
    contents
}

pub fn chunks_of(bytes: &[u8]) -> Vec<LocatedChunk> {
    let key = ContentKey::Ordinary;
    let mut offset = 0;
    let locate = |length: usize| {
        let start = offset;
        offset += length;
        let id = chunk_id(&key, &bytes[start..start + length]);
        let entry = ManifestEntry { id, length: length as u64, stored: length as u64 };
        LocatedChunk { offset: start as u64, entry }
    };
    cut(&key, bytes).into_iter().map(locate).collect()
}

pub fn base_of(bytes: &[u8], version: u8) -> BaseVersion {
    let entries: Vec<_> = chunks_of(bytes).into_iter().map(|chunk| chunk.entry).collect();
    let content_id = content_id(&ContentKey::Ordinary, &entries);
    let manifest = build(entries).unwrap().manifest;
    let content = Content { version: VersionId([version; 16]), size: bytes.len() as u64, content_id, manifest };
    BaseVersion { content, vector: VersionVector::default().with(DeviceId([1; 16]), u64::from(version)) }
}

/// Incompressible bytes, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
