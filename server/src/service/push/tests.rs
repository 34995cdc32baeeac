//! The store against the state in memory: random batches of several devices get the same answers from
//! both, and a replica that only pulls comes to the same tree.
#![allow(clippy::unwrap_used)]

use super::push;
use crate::env::{Clock, Env, Rng};
use crate::rules::tests::random::{Heard, Step, hear, kind_of, step};
use crate::rules::tests::state::{A, B, ROOT, SPACE, State, at, device, dir, rename, top, unlink};
use crate::service::{Identity, check, pull};
use crate::store::devices::Device;
use crate::store::{Database, accounts, devices, nodes, spaces};
use proptest::prelude::*;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tarn_proto::api::{Answer, PushRequest};
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::ids::{ConflictId, EpochId, NodeId, UserId};
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, NodeKind, NodeState, Timestamp};
use tarn_proto::op::{OpKind, Operation};
use tarn_proto::version::VersionVector;

const USER: UserId = UserId([7; 16]);
/// Batches after which a device is removed. What it sends goes on, as if it were enrolled again: others drop what it brought from
/// their vectors all the same.
const REMOVED_AFTER: usize = 10;

struct Still(Instant);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn instant(&self) -> Instant {
        self.0
    }
}

impl Rng for Still {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(4);
    }
}

async fn prepare(db: &Database) {
    let mut tx = db.begin().await.unwrap();
    let account = accounts::Account { user: USER, name: "ada".to_owned(), password_hash: String::new(), home: SPACE };
    accounts::insert(&mut tx, &account, 0).await.unwrap();
    spaces::create(&mut tx, SPACE, USER, EpochId([9; 16]), 0).await.unwrap();
    for n in 1..=4 {
        let row = Device {
            device: device(n),
            user: USER,
            name: format!("device {n}"),
            enrolled_ms: 0,
            last_seen_ms: None,
            revoked: false,
        };
        devices::enrol(&mut tx, &row, &[n; 32]).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn remove(db: &Database, by: u8, state: &mut State) {
    let mut tx = db.begin().await.unwrap();
    assert!(devices::sign_out(&mut tx, device(by), Some(1)).await.unwrap());
    tx.commit().await.unwrap();
    state.snapshot.load_device(device(by), true);
}

/// What a device keeps that only pulls: the newest row of each key.
#[derive(Default)]
struct Replica {
    nodes: BTreeMap<NodeId, (u64, Option<NodeState>)>,
    entries: BTreeMap<(NodeId, Name), (u64, Option<NodeId>)>,
    conflicts: BTreeMap<ConflictId, u64>,
}

fn newer<K: Ord, V>(rows: &mut BTreeMap<K, (u64, V)>, key: K, seq: u64, value: V) {
    match rows.get(&key) {
        Some((known, _)) if *known > seq => {}
        _ => drop(rows.insert(key, (seq, value))),
    }
}

impl Replica {
    fn apply(&mut self, changes: Vec<Change>) {
        for Change { seq, row } in changes {
            match row {
                Row::Node { node, state } => newer(&mut self.nodes, node, seq, state.map(Arc::unwrap_or_clone)),
                Row::Entry { parent, name, node } => newer(&mut self.entries, (parent, name), seq, node),
                Row::Conflict { conflict, .. } => drop(self.conflicts.insert(conflict, seq)),
                Row::Alias { .. } => {}
            }
        }
    }

    fn assert_same(&self, state: &State) {
        let nodes = self.nodes.iter().filter_map(|(id, (_, node))| node.clone().map(|node| (*id, node)));
        let expected = state.snapshot.present_nodes().filter(|(id, row)| *id != ROOT || row.seq > 0);
        assert_eq!(
            nodes.collect::<BTreeMap<_, _>>(),
            expected.map(|(id, row)| (id, row.state.clone())).collect::<BTreeMap<_, _>>()
        );
        let entries = self.entries.iter().filter_map(|(place, (_, node))| node.map(|node| (place.clone(), node)));
        let expected = state.snapshot.present_entries();
        assert_eq!(
            entries.collect::<BTreeMap<_, _>>(),
            expected.map(|(place, row)| ((place.parent, place.name.clone()), row.node)).collect::<BTreeMap<_, _>>()
        );
        assert_eq!(self.conflicts.len(), state.snapshot.open_conflicts().count());
    }
}

async fn pull_all(db: &Database, who: Identity, cursor: &mut Cursor, replica: &mut Replica) {
    let mut page: Option<String> = None;
    loop {
        let answer = pull::pull(db, who, SPACE, *cursor, page.as_deref()).await.unwrap();
        replica.apply(answer.changes);
        page = answer.next;
        if page.is_none() {
            *cursor = answer.upto;
            return;
        }
    }
}

/// Makes a batch of one device in memory; it ends with the first answer that settles nothing.
fn in_memory(state: &mut State, heard: &Heard, steps: &[Step]) -> (Vec<Operation>, Vec<Answer>) {
    let (mut ops, mut answers) = (Vec::new(), Vec::new());
    let by = steps[0].by;
    for step in steps {
        let Some(kind) = kind_of(state, heard, Step { by, ..*step }) else { continue };
        let alt = step.alt.then(|| format!("alt {}", state.seq));
        let op = state.op(by, kind, alt.as_deref());
        let decision = state.run_op(by, &op);
        let settled = decision.outcome.is_settled();
        answers.push(Answer { counter: op.counter, outcome: decision.outcome, changes: decision.changes });
        ops.push(op);
        if !settled {
            *state.counters.get_mut(&by).unwrap() -= 1;
            break;
        }
    }
    (ops, answers)
}

async fn compare(db: &Database, steps: &[Step]) {
    prepare(db).await;
    let env = Env::new(Arc::new(Still(Env::real().instant())), Arc::new(Still(Env::real().instant())));
    let mut state = State::with_root(nodes::root_row(0));
    let mut heard = Heard { nodes: vec![ROOT], ..Heard::default() };
    let start = spaces::get(&mut db.reader().await.unwrap(), SPACE).await.unwrap().unwrap().cursor;
    let mut cursors = vec![start];
    let (mut replica, mut replica_at) = (Replica::default(), start);
    for (number, batch) in steps.chunks(4).enumerate() {
        if number == REMOVED_AFTER {
            remove(db, B, &mut state).await;
        }
        let who = Identity { user: USER, device: device(batch[0].by) };
        let cursor = cursors[cursors.len().saturating_sub(1 + batch[0].lag as usize)];
        state.cursors.insert(batch[0].by, cursor.seq);
        let before = state.seq;
        let (ops, expected) = in_memory(&mut state, &heard, batch);
        let request = PushRequest { cursor, answered: 0, ops };
        let pushed = push(db, &env, who, SPACE, request.clone()).await.unwrap();
        assert_eq!(pushed.answers, expected);
        assert_eq!((pushed.before.seq, pushed.after.seq), (before, state.seq));
        if expected.iter().all(|answer| answer.outcome.is_settled()) {
            assert_eq!(push(db, &env, who, SPACE, request).await.unwrap().answers, expected);
        }
        if batch[0].alt {
            pull_all(db, who, &mut replica_at, &mut replica).await;
            replica.assert_same(&state);
        }
        cursors.push(pushed.after);
        hear(&state, &mut heard);
    }
    let who = Identity { user: USER, device: device(1) };
    pull_all(db, who, &mut replica_at, &mut replica).await;
    replica.assert_same(&state);
    let (mut fresh, mut fresh_at) = (Replica::default(), start);
    pull_all(db, who, &mut fresh_at, &mut fresh).await;
    fresh.assert_same(&state);
    assert_eq!(check::check_tree(db).await.unwrap(), Vec::<String>::new());
}

async fn on_sqlite(steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(&format!("sqlite:{}?mode=rwc", dir.path().join("tarn.db").display())).await.unwrap();
    compare(&db, steps).await;
    db.close().await;
}

/// As the tests under `server/tests` do: a database for each case, in the PostgreSQL that there is.
async fn on_postgres(steps: &[Step]) {
    let Ok(admin) = std::env::var("TARN_TEST_POSTGRES") else {
        let required = std::env::var("TARN_TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
        assert!(!required, "TARN_TEST_POSTGRES is not set: run scripts/test, which starts a PostgreSQL");
        return;
    };
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let name = format!("tarn_push_{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    sqlx::any::install_default_drivers();
    let mut conn = sqlx::AnyConnection::connect(&admin).await.unwrap();
    conn.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    let server = admin.rsplit_once('/').map_or(admin.as_str(), |(server, _)| server);
    let db = Database::open(&format!("{server}/{name}")).await.unwrap();
    compare(&db, steps).await;
    db.close().await;
    conn.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
    conn.close().await.unwrap();
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// What one push stored, a later one finds: a file in a folder that it was not meant for, which its author removes by the
/// one that was removed.
#[tokio::test]
async fn what_was_put_in_a_removed_folder_is_found_by_a_later_push() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(&crate::config::default_database(folder.path())).await.unwrap();
    prepare(&db).await;
    let env = Env::new(Arc::new(Still(Env::real().instant())), Arc::new(Still(Env::real().instant())));
    let cursor = spaces::get(&mut db.reader().await.unwrap(), SPACE).await.unwrap().unwrap().cursor;
    let mut state = State::with_root(nodes::root_row(0));
    let (old, anew, queue) = (state.node(), state.node(), state.node());
    let pipe = OpKind::Create {
        node: queue,
        place: at(old, "queue"),
        kind: NodeKind::Fifo,
        attrs: Attrs::default(),
        content: None,
    };
    let kinds = [
        (A, dir(old, &top("d"))),
        (A, unlink(&top("d"), old, &VersionVector::default())),
        (A, dir(anew, &top("d"))),
        (B, pipe),
        (B, rename(old, &top("d"), &top("renamed"))),
        (B, unlink(&at(old, "queue"), queue, &VersionVector::default())),
    ];
    for (by, kind) in kinds {
        state.cursors.insert(by, cursor.seq);
        let op = state.op(by, kind, None);
        let expected = state.run_op(by, &op);
        let request = PushRequest { cursor, answered: 0, ops: vec![op] };
        let pushed = push(&db, &env, Identity { user: USER, device: device(by) }, SPACE, request).await.unwrap();
        assert_eq!((&pushed.answers[0].outcome, &pushed.answers[0].changes), (&expected.outcome, &expected.changes));
    }
    assert_eq!(state.names(), ["/d", "/renamed"]);
    db.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_decides_as_the_state_in_memory_does(steps in prop::collection::vec(step(), 1..160)) {
        block_on(on_sqlite(&steps));
    }

    #[test]
    fn postgres_decides_as_the_state_in_memory_does(steps in prop::collection::vec(step(), 1..160)) {
        block_on(on_postgres(&steps));
    }
}
