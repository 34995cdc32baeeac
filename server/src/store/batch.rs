//! Owns how a batch of decided operations is written: rows that the batch itself supersedes are
//! stored ended, so that each table takes few statements however many operations there are.

use super::conflicts::{self, ConflictInterval};
use super::entries::{self, EntryInterval};
use super::journal::{self, JournalRow};
use super::nodes::{self, NodeInterval};
use super::versions::{self, StoredVersion};
use super::{Conn, StoreError};
use crate::rules::{AliasRow, Effects, NodeSlot};
use std::collections::HashMap;
use tarn_proto::api::to_binary;
use tarn_proto::change::Cursor;
use tarn_proto::ids::{ConflictId, NodeId, SpaceId, VersionId};
use tarn_proto::op::Place;

/// The rows of a batch that are not written yet.
#[derive(Debug)]
pub struct Batch {
    space: SpaceId,
    now_ms: i64,
    cursor: Cursor,
    bytes_grown: i64,
    nodes: Intervals<NodeId, NodeInterval>,
    entries: Intervals<Place, EntryInterval>,
    conflicts: Intervals<ConflictId, ConflictInterval>,
    aliases: Vec<(NodeId, AliasRow)>,
    versions: Vec<StoredVersion>,
    version_at: HashMap<VersionId, usize>,
    journal: Vec<JournalRow>,
}

/// New intervals of one table, and stored ones that end.
#[derive(Debug)]
struct Intervals<K, R> {
    rows: Vec<R>,
    open: HashMap<K, usize>,
    ended: Vec<(K, u64)>,
}

impl<K, R> Default for Intervals<K, R> {
    fn default() -> Self {
        Self { rows: Vec::new(), open: HashMap::new(), ended: Vec::new() }
    }
}

impl<K: std::hash::Hash + Eq, R> Intervals<K, R> {
    /// Ends the present interval of a key, which the batch made or the store has.
    fn end(&mut self, key: K, seq: u64, seq_to: impl FnOnce(&mut R) -> &mut Option<u64>) {
        match self.open.remove(&key) {
            Some(index) => *seq_to(&mut self.rows[index]) = Some(seq),
            None => self.ended.push((key, seq)),
        }
    }

    fn begin(&mut self, key: K, row: R) {
        self.open.insert(key, self.rows.len());
        self.rows.push(row);
    }
}

impl Batch {
    /// An empty batch of a space whose journal stands at `cursor`.
    pub fn new(space: SpaceId, cursor: Cursor, now_ms: i64) -> Self {
        Self {
            space,
            now_ms,
            cursor,
            bytes_grown: 0,
            nodes: Intervals::default(),
            entries: Intervals::default(),
            conflicts: Intervals::default(),
            aliases: Vec::new(),
            versions: Vec::new(),
            version_at: HashMap::new(),
            journal: Vec::new(),
        }
    }

    /// Where the journal stands with this batch.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// How many bytes the present contents have grown by.
    pub fn bytes_grown(&self) -> i64 {
        self.bytes_grown
    }

    /// Adds one operation's effects, which must have the next seq.
    pub fn add(&mut self, effects: Effects) {
        let seq = effects.seq;
        self.add_journal(&effects);
        self.bytes_grown += effects.bytes_grown;
        for change in effects.nodes {
            if change.was_present {
                self.nodes.end(change.id, seq, |row| &mut row.seq_to);
            }
            if let NodeSlot::Present(row) = change.slot {
                let interval = NodeInterval { node: change.id, space: self.space, seq_to: None, row };
                self.nodes.begin(change.id, interval);
            }
        }
        for change in effects.entries {
            if change.before.is_some() {
                self.entries.end(change.place.clone(), seq, |row| &mut row.seq_to);
            }
            if let Some(row) = change.after {
                self.entries.begin(change.place.clone(), EntryInterval { place: change.place, seq_to: None, row });
            }
        }
        for change in effects.conflicts {
            if change.was_open {
                self.conflicts.end(change.row.id, seq, |row| &mut row.seq_to);
            }
            if !change.is_resolved {
                self.conflicts.begin(change.row.id, ConflictInterval { seq_to: None, row: change.row });
            }
        }
        self.aliases.extend(effects.aliases);
        for change in effects.versions {
            self.add_version(StoredVersion { node: change.node, seq, time_ms: self.now_ms, file: change.file });
        }
    }

    fn add_version(&mut self, version: StoredVersion) {
        match self.version_at.entry(version.file.content.version) {
            std::collections::hash_map::Entry::Occupied(known) => self.versions[*known.get()].file = version.file,
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(self.versions.len());
                self.versions.push(version);
            }
        }
    }

    fn add_journal(&mut self, effects: &Effects) {
        let digest = *blake3::hash(&to_binary(&effects.changes())).as_bytes();
        let hash = journal::chain(self.cursor.hash, effects.seq, effects.device, effects.counter, &digest);
        self.cursor = Cursor { seq: effects.seq, hash, ..self.cursor };
        self.journal.push(JournalRow {
            seq: effects.seq,
            device: effects.device,
            counter: effects.counter,
            time_ms: self.now_ms,
            digest,
            hash,
        });
    }

    /// Writes all rows; the space's own row is the caller's.
    ///
    /// # Errors
    /// The database fails.
    pub async fn write(&self, conn: &mut Conn) -> Result<(), StoreError> {
        nodes::end(conn, &self.nodes.ended).await?;
        nodes::insert(conn, &self.nodes.rows).await?;
        entries::end(conn, self.space, &self.entries.ended).await?;
        entries::insert(conn, self.space, &self.entries.rows).await?;
        conflicts::end(conn, &self.conflicts.ended).await?;
        conflicts::insert(conn, self.space, &self.conflicts.rows).await?;
        nodes::insert_aliases(conn, self.space, &self.aliases).await?;
        versions::put(conn, self.space, &self.versions).await?;
        journal::insert(conn, self.space, &self.journal).await
    }
}
