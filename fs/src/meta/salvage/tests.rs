//! Claims about a database made anew: what this device alone knows is there again, as far as it could be read, and
//! what could not is said. A crash at any step leaves the old one or the new one.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::env::RealDisk;
use crate::meta::rows::*;
use crate::meta::tests::damage::{damage_table, leaf_in_the_middle, overwrite_page};
use crate::meta::{Marks, Readers};
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, NodeKind};

const COUNT: u64 = 2_000;

fn inode(n: u64) -> InodeRow {
    let local = LocalNode { kind: NodeKind::File, attrs: Attrs::default(), ticket: Ticket(n) };
    InodeRow { node: Some(node(n)), local: Some(Box::new(local)), content: Some(ContentNo(n)), ..InodeRow::default() }
}

fn node(n: u64) -> NodeId {
    let mut id = [3; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    NodeId(id)
}

fn content(n: u64) -> ContentRow {
    ContentRow {
        ino: Ino(n),
        size_bytes: n,
        place: ContentPlace::File,
        base: None,
        present: crate::meta::ranges::RangeSet::of(0..n),
        dirty: crate::meta::ranges::RangeSet::of(0..n),
        is_dirty: true,
        open_for_writing: false,
    }
}

fn name(n: u64) -> Name {
    Name::new(format!("name {n:06}")).unwrap()
}

fn rows_of(n: u64) -> [RowChange; 4] {
    let op = LocalOp::Create { ino: Ino(n), parent: ROOT, name: name(n) };
    let queued = QueuedOp {
        op,
        time: tarn_proto::node::Timestamp { secs: 1, nanos: 2 },
        frozen: None,
        name_tries: 0,
        verdict: Verdict::Open,
    };
    [
        RowChange::Inode(Ino(n), Some(inode(n))),
        RowChange::Entry(ROOT, name(n), Some(EntryRow { ino: Some(Ino(n)), ticket: Ticket(n) })),
        RowChange::Content(ContentNo(n), Some(Box::new(content(n)))),
        RowChange::Queue(Ticket(n), Some(Box::new(queued))),
    ]
}

/// A database with many rows of each kind, closed.
fn made() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(&RealDisk, &dir.path().join(FILE_NAME), Check::Quick).unwrap();
    let mut unit = writer.unit().unwrap();
    unit.apply_rows((2..COUNT).flat_map(rows_of).collect::<Vec<_>>().iter()).unwrap();
    unit.apply_rows(&[RowChange::Inode(Ino(90_000), None), RowChange::Counter(77)]).unwrap();
    let row = |n: u64| Row::Entry { parent: node(1), name: name(n), node: Some(node(n)) };
    let changes = (2..COUNT).map(|n| Change { seq: 5, row: row(n) }).collect();
    let kv = vec![("answered".to_owned(), Some(ByteString(vec![1, 2])))];
    unit.apply_remote(&RemoteWork { changes, kv, ..RemoteWork::default() }).unwrap();
    unit.commit(4_711).unwrap();
    writer.close().unwrap();
    dir
}

fn salvaged(dir: &Path) -> Salvaged {
    salvage(&RealDisk, dir, &dir.join("aside"), 5, |_| Ok(())).unwrap()
}

fn open(dir: &Path) -> (Writer, Readers) {
    Writer::open(&RealDisk, &dir.join(FILE_NAME), Check::Pages).unwrap()
}

fn assert_same_own_rows(dir: &Path) {
    let (writer, readers) = open(dir);
    assert_eq!(writer.applied().unwrap(), 4_711);
    assert_eq!(writer.marks(), Marks { ino: 90_000, ticket: COUNT - 1, content: COUNT - 1, counter: 77 });
    let reader = readers.get().unwrap();
    assert_eq!(reader.inodes_all().unwrap(), (2..COUNT).map(|n| (Ino(n), inode(n))).collect::<Vec<_>>());
    assert_eq!(reader.contents_all().unwrap(), (2..COUNT).map(|n| (ContentNo(n), content(n))).collect::<Vec<_>>());
    assert_eq!(reader.local_entries(ROOT).unwrap().len() as u64, COUNT - 2);
    assert_eq!(reader.queue_all().unwrap().len() as u64, COUNT - 2);
    assert_eq!(reader.kv("answered").unwrap(), Some(vec![1, 2]));
}

#[test]
fn damage_to_what_the_server_knows_costs_nothing() {
    let dir = made();
    damage_table(&dir.path().join(FILE_NAME), "remote_entry");
    let salvaged = salvaged(dir.path());
    assert_eq!(salvaged.unreadable, Vec::<&str>::new());
    assert_eq!(salvaged.queued_count as u64, COUNT - 2);
    assert_same_own_rows(dir.path());
    let (_writer, readers) = open(dir.path());
    assert_eq!(readers.get().unwrap().remote_children(node(1)).unwrap().len(), 0, "that is pulled again");
    assert!(dir.path().join("aside").join(FILE_NAME).exists());
}

#[test]
fn a_page_that_cannot_be_read_costs_its_rows_and_is_said() {
    for (table, index) in [("inode", 0), ("local_entry", 1), ("content", 2), ("queue", 3)] {
        let dir = made();
        let path = dir.path().join(FILE_NAME);
        overwrite_page(&path, leaf_in_the_middle(&path, table));
        let salvaged = salvaged(dir.path());
        assert_eq!(salvaged.unreadable, [table]);
        let (_writer, readers) = open(dir.path());
        let reader = readers.get().unwrap();
        let left = [
            reader.inodes_all().unwrap().len(),
            reader.local_entries(ROOT).unwrap().len(),
            reader.contents_all().unwrap().len(),
            reader.queue_all().unwrap().len(),
        ];
        for (kind, &left) in left.iter().enumerate() {
            let lost = COUNT as usize - 2 - left;
            assert!(if kind == index { (1..COUNT as usize / 5).contains(&lost) } else { lost == 0 }, "{table}: {lost}");
        }
        assert_eq!(salvaged.contents.len(), left[2]);
    }
}

#[test]
fn of_a_file_that_is_no_database_nothing_is_taken_over_and_all_is_said() {
    let dir = made();
    std::fs::write(dir.path().join(FILE_NAME), vec![b'x'; 90_000]).unwrap();
    let salvaged = salvaged(dir.path());
    assert_eq!(salvaged.unreadable, ["mark", "inode", "content", "queue", "local_entry", "rescue"]);
    let (writer, readers) = open(dir.path());
    assert_eq!(writer.applied().unwrap(), 5, "what the log's owner said");
    assert!(readers.get().unwrap().inodes_all().unwrap().is_empty());
    assert_eq!(std::fs::read(dir.path().join("aside").join(FILE_NAME)).unwrap(), vec![b'x'; 90_000]);
}

#[test]
fn an_exchange_that_was_cut_short_is_ended_by_the_next_one_who_opens() {
    let dir = made();
    let path = dir.path().join(FILE_NAME);
    damage_table(&path, "remote_entry");
    let refused = |_: &Salvaged| Err(io::Error::other("no"));
    salvage(&RealDisk, dir.path(), &dir.path().join("aside"), 5, refused).unwrap_err();
    assert!(Writer::open(&RealDisk, &path, Check::Pages).is_err(), "the old one is in its place");
    // As if the program had ended between the new one being ready and the old one being gone.
    std::fs::rename(dir.path().join(MAKING), dir.path().join(READY)).unwrap();
    std::fs::write(beside(&path, "-wal"), b"of the old one").unwrap();
    finish_rebuild(&RealDisk, dir.path()).unwrap();
    assert_same_own_rows(dir.path());
    finish_rebuild(&RealDisk, dir.path()).unwrap();
    assert_same_own_rows(dir.path());
}
