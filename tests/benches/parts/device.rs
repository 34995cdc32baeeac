//! What a device's log, database and tree cost.

use criterion::{BatchSize, Criterion, Throughput};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use tarn::content::Options;
use tarn::env::{Env, RealDisk};
use tarn::journal::JournalOptions;
use tarn::log::{Log, LogOptions, Lsn};
use tarn::meta::rows::ROOT;
use tarn::meta::{Check, FILE_NAME, RemoteWork, Writer};
use tarn::tree::{Identity, Loaded, NewNode, Opened, Tree};
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::ids::{DeviceId, EpochId, JournalHash, NodeId, SpaceId};
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, NodeKind, NodeState};

/// About what a record of a small file's creation has.
const RECORD_BYTES: usize = 200;
const ROWS: u64 = 1_000;
const SPACE: SpaceId = SpaceId([5; 16]);
const FILE_BYTES: usize = 4096;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for the bench")
}

/// Appending, up to the kernel and up to the disk.
pub fn log(c: &mut Criterion) {
    let (dir, record) = (scratch(), [7; RECORD_BYTES]);
    let scan = Log::scan(&Env::real(), &dir.path().join("log"), LogOptions::default()).expect("a new log");
    let log = scan.start(Lsn(1)).expect("a new log starts");
    let append = || log.append(black_box(&record)).expect("there is room");
    let tidy = |lsn: Lsn| {
        if lsn.0.is_multiple_of(10_000) {
            log.truncate_before(lsn).expect("old segments go");
        }
    };
    let mut group = c.benchmark_group("log");
    group.bench_function("append and flush", |b| {
        b.iter(|| {
            let lsn = append();
            log.flush(lsn).expect("it is written");
            tidy(lsn);
        });
    });
    group.bench_function("append and sync", |b| b.iter(|| log.sync(append()).expect("it is durable")));
    group.finish();
}

fn name(n: u64) -> Name {
    Name::new(format!("file {n:08}")).expect("a plain name")
}

fn node(n: u64) -> NodeId {
    let mut id = [1; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    NodeId(id)
}

/// Files that are new in one folder, as a pull brings them.
fn rows(from: u64, count: u64) -> RemoteWork {
    let changes = (from..from + count).flat_map(|n| {
        let state = NodeState { kind: NodeKind::Fifo, attrs: Attrs { mode: 0o644, ..Attrs::default() }, file: None };
        let entry = Row::Entry { parent: NodeId::root_of(SPACE), name: name(n), node: Some(node(n)) };
        let node = Row::Node { node: node(n), state: Some(Arc::new(state)) };
        [node, entry].map(|row| Change { seq: n + 1, row })
    });
    RemoteWork { changes: changes.collect(), ..RemoteWork::default() }
}

/// A thousand nodes with their names in one unit of work, and one name looked up among them.
pub fn database(c: &mut Criterion) {
    let dir = scratch();
    let (mut writer, readers) =
        Writer::open(&RealDisk, &dir.path().join(FILE_NAME), Check::Quick).expect("a new database");
    let mut next = 0;
    let mut group = c.benchmark_group("database");
    group.throughput(Throughput::Elements(ROWS));
    group.bench_function("1,000 nodes and names", |b| {
        b.iter_batched(
            || {
                next += ROWS;
                rows(next, ROWS)
            },
            |work| {
                let mut unit = writer.unit().expect("nobody else writes");
                unit.apply_remote(&work).expect("rows fit");
                unit.commit(0).expect("it is kept");
            },
            BatchSize::LargeInput,
        );
    });
    group.throughput(Throughput::Elements(1));
    let reader = readers.get().expect("a reader");
    let mut n = 0;
    group.bench_function("one name", |b| {
        b.iter(|| {
            n = (n + 1) % ROWS;
            reader.remote_entry(NodeId::root_of(SPACE), &name(ROWS + n)).expect("it can be read").expect("it is there")
        });
    });
    group.finish();
}

/// With an empty space, pulled.
fn open_tree(dir: &Path) -> Opened {
    let identity = Identity { device: DeviceId([3; 16]), device_name: "bench".to_owned(), space: SPACE };
    let opened = Tree::assemble(&Env::real(), dir, JournalOptions::default(), Options::default(), identity);
    let opened = opened.expect("a new state folder opens");
    let upto = Cursor { epoch: EpochId([1; 16]), seq: 0, hash: JournalHash([0; 32]) };
    opened.tree.begin_load().and_then(|()| opened.tree.finish_load(Loaded::first(upto))).expect("an empty space");
    opened
}

/// What programs ask for most.
pub fn tree(c: &mut Criterion) {
    let dir = scratch();
    let Opened { tree, .. } = open_tree(dir.path());
    let bytes = [9; FILE_BYTES];
    let folder = |n: u64| tree.create(ROOT, &name(n), NewNode::plain(NodeKind::Dir, 0o755)).expect("a new folder").ino;
    let (mut made, mut parent) = (0, folder(0));
    let mut group = c.benchmark_group("tree");
    group.bench_function("create and write 4 KiB", |b| {
        b.iter(|| {
            made += 1;
            if made % 100 == 0 {
                parent = folder(made);
            }
            let stat = tree.create(parent, &name(made), NewNode::plain(NodeKind::File, 0o644)).expect("a new file");
            tree.write(stat.ino, 0, &bytes).expect("there is room")
        });
    });
    let asked = folder(u64::MAX);
    tree.create(asked, &name(1), NewNode::plain(NodeKind::File, 0o644)).expect("a new file");
    group.bench_function("look up", |b| b.iter(|| tree.lookup(asked, black_box(&name(1)))));
    group.bench_function("look up in vain", |b| b.iter(|| tree.lookup(asked, black_box(&name(2))).is_err()));
    group.finish();
}
