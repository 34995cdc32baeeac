//! What it costs to plan what a device sends, and to take it in on the server.

#[path = "../../../server/tests/support/world.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "it is made for the server's tests")]
mod world;

use criterion::{BenchmarkId, Criterion, Throughput};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;
use tarn::meta::rows::{Ino, Ticket};
use tarn::sync::plan::{Context, plan_batch};
use tarn::tree::{QueueItem, QueueKey, Readiness};
use tarn_proto::name::Name;
use tarn_server::config::default_database;
use tarn_server::store::Database;
use tarn_tests::postgres::Database as Postgres;
use world::{World, create_file};

const QUEUED: u64 = 1_000;
const PUSHED: u64 = 500;

fn queued(n: u64) -> QueueItem {
    let name = Name::new(format!("file {n}")).expect("a plain name");
    let folder = Ino(2 + n % 10);
    QueueItem {
        ticket: Ticket(n),
        content_of: Some(Ino(100 + n)),
        content_bytes: 4096,
        readiness: Readiness::Ready,
        frozen: None,
        keys: vec![QueueKey::Inode(Ino(100 + n)), QueueKey::Entry(folder, name)],
        above: vec![Ino(1), folder],
        ordered_tree: None,
    }
}

/// A look at a queue of a thousand new files.
pub fn planner(c: &mut Criterion) {
    let items: Vec<QueueItem> = (0..QUEUED).map(queued).collect();
    let (stages, frozen) = (HashMap::new(), HashMap::new());
    let now = Duration::from_secs(10);
    let context = Context { stages: &stages, frozen: &frozen, urged: Ticket(0), read_at: now, now };
    let mut group = c.benchmark_group("planner");
    group.throughput(Throughput::Elements(QUEUED));
    group.bench_function("1,000 queued files", |b| b.iter(|| plan_batch(black_box(&items), &context)));
    group.finish();
}

/// One push of 500 new files into each database that is here: PostgreSQL where `TARN_TEST_POSTGRES` names one, as for tests.
pub fn push(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder for the bench");
    push_into(c, "SQLite", &default_database(dir.path()));
    if let Some(postgres) = Postgres::create().expect("a database in the server that is named") {
        push_into(c, "PostgreSQL", &postgres.url());
    }
}

fn push_into(c: &mut Criterion, which: &str, url: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = runtime.block_on(async { World::new(Database::open(url).await.expect("a new database")).await });
    let mut client = runtime.block_on(world.client("bench"));
    let mut group = c.benchmark_group("push");
    group.throughput(Throughput::Elements(PUSHED));
    group.bench_function(BenchmarkId::new("500 files", which), |b| {
        b.iter(|| {
            let ops = (0..PUSHED).map(|n| {
                let (node, place) = (world.node(), world.top(&format!("file {} {n}", client.counter)));
                client.op(create_file(node, &place, world.empty("nothing")))
            });
            let ops = ops.collect();
            let pushed = runtime.block_on(client.send(ops)).expect("it is taken");
            (client.cursor, client.answered) = (pushed.after, client.counter);
            assert!(pushed.answers.iter().all(|answer| answer.outcome.is_settled()));
        });
    });
    group.finish();
    runtime.block_on(world.db.close());
}
