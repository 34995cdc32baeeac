//! Claims about the database: what is read is what was written, a higher seq stays, and whatever is
//! wrong on the disk is an error, never a panic.
#![allow(clippy::unwrap_used)]

pub(crate) mod damage;

use super::rows::*;
use super::*;
use crate::env::RealDisk;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::ids::{EpochId, JournalHash, NodeId, SpaceId, VersionId};
use tarn_proto::lost::Lost;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, ByteString, NodeKind, NodeState, Timestamp};
use tarn_proto::op::Place;

struct Db {
    dir: tempfile::TempDir,
    writer: Writer,
    readers: Readers,
}

impl Db {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (writer, readers) = Writer::open(&RealDisk, &dir.path().join(FILE_NAME), Check::Quick).unwrap();
        Self { dir, writer, readers }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(FILE_NAME)
    }

    fn rows(&mut self, rows: &[RowChange]) {
        let mut unit = self.writer.unit().unwrap();
        unit.apply_rows(rows).unwrap();
        unit.commit(0).unwrap();
    }

    fn remote(&mut self, work: RemoteWork) {
        let mut unit = self.writer.unit().unwrap();
        unit.apply_remote(&work).unwrap();
        unit.commit(0).unwrap();
    }

    fn stage(&mut self, changes: &[Change]) {
        let mut unit = self.writer.unit().unwrap();
        unit.stage(changes).unwrap();
        unit.commit(0).unwrap();
    }

    fn names(&self, parent: NodeId) -> Vec<String> {
        let children = self.readers.get().unwrap().remote_children(parent).unwrap();
        children.into_iter().map(|entry| entry.name.to_string()).collect()
    }
}

fn node(n: u8) -> NodeId {
    NodeId([n; 16])
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn state(mode: u32) -> NodeState {
    NodeState { kind: NodeKind::Dir, attrs: Attrs { mode, ..Attrs::default() }, file: None }
}

fn node_row(seq: u64, n: u8, mode: Option<u32>) -> Change {
    Change { seq, row: Row::Node { node: node(n), state: mode.map(|mode| Arc::new(state(mode))) } }
}

fn entry_row(seq: u64, parent: u8, text: &str, to: Option<u8>) -> Change {
    Change { seq, row: Row::Entry { parent: node(parent), name: name(text), node: to.map(node) } }
}

fn changes(changes: Vec<Change>) -> RemoteWork {
    RemoteWork { changes, ..RemoteWork::default() }
}

fn mode_of(db: &Db, n: u8) -> Option<u32> {
    db.readers.get().unwrap().remote_node(node(n)).unwrap().and_then(|row| row.state).map(|state| state.attrs.mode)
}

fn content_row() -> ContentRow {
    ContentRow {
        ino: Ino(5),
        size_bytes: 10,
        place: ContentPlace::Slab { offset: 4096, capacity_bytes: 4096 },
        base: None,
        present: super::ranges::RangeSet::of(0..10),
        dirty: super::ranges::RangeSet::of(2..4),
        is_dirty: true,
        open_for_writing: false,
    }
}

fn inode_row(shown: Option<NodeId>) -> InodeRow {
    let local = LocalNode { kind: NodeKind::File, attrs: Attrs::default(), ticket: Ticket(3) };
    InodeRow { node: shown, local: Some(Box::new(local)), content: Some(ContentNo(7)), pinned: true, taken: None }
}

fn queued() -> QueuedOp {
    let op = LocalOp::Create { ino: Ino(5), parent: ROOT, name: name("ä") };
    QueuedOp {
        op,
        time: Timestamp { secs: -5, nanos: 1 },
        frozen: None,
        name_tries: 2,
        verdict: crate::meta::rows::Verdict::Held,
    }
}

#[test]
fn local_rows_read_back_as_written_and_vanish_when_removed() {
    let mut db = Db::new();
    let version = VersionId([9; 16]);
    let entry = EntryRow { ino: Some(Ino(5)), ticket: Ticket(3) };
    let hidden = EntryRow { ino: None, ticket: Ticket(4) };
    db.rows(&[
        RowChange::Inode(Ino(5), Some(inode_row(Some(node(1))))),
        RowChange::Inode(Ino(6), Some(inode_row(None))),
        RowChange::Entry(ROOT, name("b"), Some(entry)),
        RowChange::Entry(ROOT, name("a"), Some(hidden)),
        RowChange::Content(ContentNo(7), Some(Box::new(content_row()))),
        RowChange::Queue(Ticket(3), Some(Box::new(queued()))),
        RowChange::Counter(42),
        RowChange::Rescue(version, Some("x/y".to_owned())),
    ]);
    let reader = db.readers.get().unwrap();
    assert_eq!(reader.inode(Ino(5)).unwrap(), Some(inode_row(Some(node(1)))));
    assert_eq!(reader.inode_of(node(1)).unwrap().unwrap().0, Ino(5));
    assert_eq!(reader.orphans_all().unwrap(), [(Ino(6), inode_row(None))]);
    assert_eq!(reader.local_entry(ROOT, &name("b")).unwrap(), Some(entry));
    assert_eq!(reader.local_entries(ROOT).unwrap(), [(name("a"), hidden), (name("b"), entry)]);
    assert_eq!(reader.local_entries_of(Ino(5)).unwrap(), [(ROOT, name("b"), entry)]);
    assert_eq!(reader.content(ContentNo(7)).unwrap(), Some(content_row()));
    assert_eq!(reader.contents_all().unwrap().len(), 1);
    assert_eq!(reader.queue_all().unwrap(), [(Ticket(3), queued())]);
    assert_eq!(reader.rescues_all().unwrap(), [(version, "x/y".to_owned())]);
    drop(reader);
    db.rows(&[
        RowChange::Inode(Ino(5), None),
        RowChange::Entry(ROOT, name("b"), None),
        RowChange::Content(ContentNo(7), None),
        RowChange::Queue(Ticket(3), None),
        RowChange::Rescue(version, None),
    ]);
    let reader = db.readers.get().unwrap();
    assert!(reader.inode(Ino(5)).unwrap().is_none() && reader.inode_of(node(1)).unwrap().is_none());
    assert!(reader.local_entry(ROOT, &name("b")).unwrap().is_none());
    assert!(reader.contents_all().unwrap().is_empty() && reader.queue_all().unwrap().is_empty());
    assert!(reader.rescues_all().unwrap().is_empty());
}

#[test]
fn marks_outlive_the_rows_that_raised_them() {
    let mut db = Db::new();
    db.rows(&[
        RowChange::Inode(Ino(50), Some(inode_row(None))),
        RowChange::Queue(Ticket(60), Some(Box::new(queued()))),
        RowChange::Content(ContentNo(70), Some(Box::new(content_row()))),
        RowChange::Counter(80),
    ]);
    db.rows(&[
        RowChange::Inode(Ino(50), None),
        RowChange::Queue(Ticket(60), None),
        RowChange::Content(ContentNo(70), None),
        RowChange::Counter(3),
    ]);
    let Db { dir, writer, readers } = db;
    drop((writer, readers));
    let (writer, _) = Writer::open(&RealDisk, &dir.path().join(FILE_NAME), Check::Pages).unwrap();
    assert_eq!(writer.marks(), Marks { ino: 50, ticket: 60, content: 70, counter: 80 });
}

#[test]
fn a_row_never_overwrites_one_of_a_higher_seq() {
    let mut db = Db::new();
    db.remote(changes(vec![node_row(5, 1, Some(5)), entry_row(5, 1, "a", Some(2))]));
    db.remote(changes(vec![node_row(4, 1, None), entry_row(4, 1, "a", None)]));
    assert_eq!((mode_of(&db, 1), db.names(node(1))), (Some(5), vec!["a".to_owned()]));
    db.remote(changes(vec![node_row(7, 1, None), entry_row(7, 1, "a", None)]));
    db.remote(changes(vec![node_row(6, 1, Some(6)), entry_row(6, 1, "a", Some(2))]));
    assert_eq!((mode_of(&db, 1), db.names(node(1)).len()), (None, 0));
    let reader = db.readers.get().unwrap();
    let tombstone = reader.remote_entry(node(1), &name("a")).unwrap().unwrap();
    assert_eq!((tombstone.node, tombstone.seq), (None, 7));
}

#[test]
fn a_listed_folder_ignores_streamed_entries_up_to_its_seq() {
    let mut db = Db::new();
    let listing = RemoteWork {
        changes: vec![entry_row(3, 1, "kept", Some(2))],
        listed: vec![(node(1), 10)],
        ..RemoteWork::default()
    };
    db.remote(listing);
    db.remote(changes(vec![entry_row(9, 1, "gone by 10", Some(3)), entry_row(11, 1, "newer", Some(4))]));
    assert_eq!(db.names(node(1)), ["kept", "newer"]);
    db.stage(&[entry_row(8, 1, "gone by 10", Some(3)), entry_row(12, 1, "staged", Some(5))]);
    db.remote(RemoteWork { staged: Staged::Apply, ..RemoteWork::default() });
    assert_eq!(db.names(node(1)), ["kept", "newer", "staged"]);
    assert_eq!(db.readers.get().unwrap().listed(node(1)).unwrap(), Some(10));
}

#[test]
fn staged_rows_are_unseen_until_they_are_applied_with_the_cursor() {
    let mut db = Db::new();
    let space = SpaceId([1; 16]);
    let cursor = Cursor { epoch: EpochId([2; 16]), seq: 9, hash: JournalHash([3; 32]) };
    db.remote(changes(vec![entry_row(9, 1, "old", Some(2)), node_row(9, 2, Some(9))]));
    db.stage(&[entry_row(8, 1, "old", Some(4)), node_row(8, 2, Some(8)), entry_row(8, 1, "new", Some(3))]);
    assert_eq!(db.names(node(1)), ["old"]);
    let kv = vec![("k".to_owned(), Some(ByteString(b"v".to_vec())))];
    db.remote(RemoteWork { staged: Staged::Apply, cursor: Some((space, cursor)), kv, ..RemoteWork::default() });
    assert_eq!((db.names(node(1)), mode_of(&db, 2)), (vec!["new".to_owned(), "old".to_owned()], Some(9)));
    let reader = db.readers.get().unwrap();
    assert_eq!(reader.cursor(space).unwrap(), Some(cursor));
    assert_eq!(reader.kv("k").unwrap(), Some(b"v".to_vec()));
    assert_eq!(reader.remote_entry(node(1), &name("old")).unwrap().unwrap().node, Some(node(2)));
    drop(reader);
    db.remote(RemoteWork { staged: Staged::Replace, kv: vec![("k".to_owned(), None)], ..RemoteWork::default() });
    assert!(db.names(node(1)).is_empty(), "nothing was staged, so nothing is left");
    assert_eq!(db.readers.get().unwrap().kv("k").unwrap(), None);
}

#[test]
fn replacing_takes_lower_seqs_of_a_new_epoch_and_forgets_listings() {
    let mut db = Db::new();
    let first = vec![node_row(90, 1, Some(1)), entry_row(90, 1, "a", Some(2)), entry_row(91, 1, "b", Some(3))];
    db.remote(RemoteWork { changes: first, listed: vec![(node(1), 91)], ..RemoteWork::default() });
    db.stage(&[node_row(5, 1, Some(7)), entry_row(5, 1, "c", Some(4))]);
    db.remote(RemoteWork { staged: Staged::Replace, ..RemoteWork::default() });
    assert_eq!((db.names(node(1)), mode_of(&db, 1)), (vec!["c".to_owned()], Some(7)));
    assert_eq!(db.readers.get().unwrap().listed(node(1)).unwrap(), None);
}

#[test]
fn names_of_a_node_are_found_and_children_come_with_their_nodes() {
    let mut db = Db::new();
    let rows = vec![
        entry_row(1, 1, "x", Some(9)),
        entry_row(1, 2, "y", Some(9)),
        node_row(1, 9, Some(1)),
        entry_row(1, 1, "z", Some(8)),
        Change { seq: 1, row: Row::Alias { node: node(7), target: node(9) } },
    ];
    db.remote(changes(rows));
    let reader = db.readers.get().unwrap();
    assert_eq!(reader.entries_of_node(node(9)).unwrap().len(), 2);
    let children = reader.remote_children_with_nodes(node(1)).unwrap();
    assert_eq!(children.len(), 2);
    assert!(children[0].1.is_some() && children[1].1.is_none());
    assert_eq!(reader.alias(node(7)).unwrap(), Some(node(9)));
    assert_eq!(reader.aliases().unwrap(), [(node(7), node(9))]);
}

/// Seed 819905 of the simulation.
#[test]
fn of_a_folder_that_is_known_by_two_names_the_newer_one_was_lost() {
    let mut db = Db::new();
    db.remote(changes(vec![node_row(2, 9, Some(1)), entry_row(2, 1, "a", Some(9)), entry_row(7, 1, "b", Some(9))]));
    db.remote(changes(vec![entry_row(6, 2, "c", Some(9))]));
    let lost = db.readers.get().unwrap().lost_since(4).unwrap();
    let [(7, Lost::Node(lost))] = &lost[..] else { panic!("{lost:?}") };
    assert_eq!(lost.places, [Place { parent: node(1), name: name("b") }]);
}

#[test]
fn a_unit_dropped_before_commit_never_was() {
    let mut db = Db::new();
    let mut unit = db.writer.unit().unwrap();
    unit.apply_rows(&[RowChange::Queue(Ticket(1), Some(Box::new(queued())))]).unwrap();
    drop(unit);
    assert!(db.readers.get().unwrap().queue_all().unwrap().is_empty());
    assert_eq!((db.writer.applied().unwrap(), db.writer.marks()), (0, Marks::default()));
}

#[test]
fn malformed_rows_are_errors() {
    let mut db = Db::new();
    let sql = "insert into content values (1, x''), (2, x'09'), (3, x'01c1'), (4, x'0193');
        insert into inode values (1, null, x'01ff'); insert into queue values (1, x'01');
        insert into local_entry values (1, x'2f', null, 1), (1, x'61', -4, 1);
        insert into remote_node values (x'01010101010101010101010101010101', -1, null);
        insert into remote_entry values (x'01010101010101010101010101010101', x'61', x'02', 1);
        insert into cursor values (x'01010101010101010101010101010101', x'0100');";
    rusqlite::Connection::open(db.path()).unwrap().execute_batch(sql).unwrap();
    let reader = db.readers.get().unwrap();
    let malformed = |result: Result<()>| assert!(matches!(result, Err(MetaError::Malformed { .. })), "{result:?}");
    (1..=4).for_each(|no| malformed(reader.content(ContentNo(no)).map(drop)));
    malformed(reader.inode(Ino(1)).map(drop));
    malformed(reader.queue_all().map(drop));
    malformed(reader.local_entries(ROOT).map(drop));
    malformed(reader.local_entry(ROOT, &name("a")).map(drop));
    malformed(reader.remote_node(node(1)).map(drop));
    malformed(reader.remote_children(node(1)).map(drop));
    malformed(reader.cursor(SpaceId([1; 16])).map(drop));
    malformed(reader.inode(Ino(u64::MAX)).map(drop));
    let mut unit = db.writer.unit().unwrap();
    malformed(unit.apply_rows(&[RowChange::Queue(Ticket(u64::MAX), None)]));
}

fn tamper(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_database_is_named_and_the_way_out_with_it() {
    let mut db = Db::new();
    let rows: Vec<_> = (1..2000).map(|n| RowChange::Queue(Ticket(n), Some(Box::new(queued())))).collect();
    db.rows(&rows);
    let path = db.path();
    let Db { dir: _dir, writer, readers } = db;
    drop((writer, readers));
    let sound = std::fs::read(&path).unwrap();
    tamper(&path, |bytes| bytes[4096 * 20..4096 * 24].fill(0xa5));
    let error = Writer::open(&RealDisk, &path, Check::Pages).unwrap_err();
    assert!(matches!(&error, MetaError::Damaged { path: named, .. } if *named == path), "{error}");
    assert!(error.to_string().contains("tarn doctor --rebuild") && error.to_string().contains("state.db"));
    let (writer, readers) = Writer::open(&RealDisk, &path, Check::Quick).unwrap();
    let error = readers.get().unwrap().queue_all().unwrap_err();
    assert!(matches!(&error, MetaError::Damaged { path: named, .. } if *named == path), "{error}");
    drop((writer, readers));
    std::fs::write(&path, [sound, vec![]].concat()).unwrap();
    tamper(&path, |bytes| bytes[..16].fill(b'x'));
    assert!(matches!(Writer::open(&RealDisk, &path, Check::Quick).unwrap_err(), MetaError::Damaged { .. }));
}

#[test]
fn a_newer_database_is_refused_with_a_clear_message() {
    let db = Db::new();
    let path = db.path();
    rusqlite::Connection::open(&path).unwrap().execute_batch("pragma user_version = 99").unwrap();
    let error = Writer::open(&RealDisk, &path, Check::Quick).unwrap_err();
    assert!(matches!(error, MetaError::TooNew { found: 99, .. }));
    assert!(error.to_string().contains("install a newer Tarn"));
}

#[test]
fn a_snapshot_sees_one_state() {
    let mut db = Db::new();
    let reader = db.readers.get().unwrap();
    let seen = reader.snapshot(|reader| {
        let before = reader.queue_all()?.len();
        db.rows(&[RowChange::Queue(Ticket(1), Some(Box::new(queued())))]);
        Ok((before, reader.queue_all()?.len()))
    });
    assert_eq!(seen.unwrap(), (0, 0));
    assert_eq!(reader.queue_all().unwrap().len(), 1);
}
