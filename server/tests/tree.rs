//! The tree over the store: push, pull, listings, history, check, on both databases.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use sqlx::Executor as _;
use std::collections::BTreeMap;
use support::world::*;
use tarn_proto::api::{Outcome, PullResponse};
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, JournalHash, NodeId, UserId};
use tarn_proto::limits::PAGE_ROWS_MAX;
use tarn_proto::manifest::{Manifest, ManifestEntry};
use tarn_proto::name::Name;
use tarn_proto::node::{AttrChange, Content};
use tarn_proto::op::OpKind;
use tarn_proto::version::VersionVector;
use tarn_server::service::{Failure, Identity, check, children, conflicts, pull, push, spaces, versions};
use tarn_server::store::Database;

on_each_database!(
    created_files_are_pulled_and_listed,
    a_retry_gets_its_first_answer_and_changes_nothing,
    a_reused_counter_is_a_rolled_back_device,
    counters_that_do_not_increase_refuse_the_push,
    a_batch_stops_at_the_first_unsettled_operation,
    what_is_lifted_by_another_name_is_the_same_operation_when_it_comes_again,
    missing_chunks_are_named_and_nothing_is_settled,
    another_users_space_does_not_exist,
    cursors_of_another_history_are_refused,
    a_pull_is_a_cut_whatever_is_pushed_between_its_pages,
    what_vanished_is_pulled_once_and_not_to_a_fresh_device,
    a_listing_goes_on_as_of_its_first_page,
    a_folders_removal_spares_what_its_remover_had_not_seen,
    a_removed_folder_comes_back_for_a_write_in_it,
    a_moved_back_folder_brings_what_went_with_it,
    a_conflict_is_listed_with_its_sibling,
    history_is_listed_and_restored,
    two_folders_of_one_name_are_one,
    a_batch_sees_its_own_operations,
    attributes_change_field_by_field,
    concurrent_pushes_leave_no_gap,
    a_dropped_begin_leaves_no_transaction_behind,
);

async fn healthy(world: &World) {
    assert_eq!(check::check_tree(&world.db).await.unwrap(), Vec::<String>::new());
}

fn code(failure: Failure) -> ErrorCode {
    failure.code()
}

fn rows_of(changes: &[Change]) -> BTreeMap<String, (u64, bool)> {
    let key = |row: &Row| match row {
        Row::Node { node, state } => (format!("node {node}"), state.is_some()),
        Row::Entry { parent, name, node } => (format!("entry {parent} {name}"), node.is_some()),
        Row::Alias { node, .. } => (format!("alias {node}"), true),
        Row::Conflict { conflict, state } => (format!("conflict {conflict}"), state.is_some()),
    };
    changes
        .iter()
        .map(|change| {
            let (key, there) = key(&change.row);
            (key, (change.seq, there))
        })
        .collect()
}

async fn pull_all(client: &Client<'_>) -> (Vec<Change>, Cursor) {
    let mut all = Vec::new();
    let mut page: Option<String> = None;
    loop {
        let PullResponse { upto, changes, next, .. } =
            pull::pull(&client.world.db, client.who, client.world.space, client.cursor, page.as_deref()).await.unwrap();
        all.extend(changes);
        match next {
            Some(next) => page = Some(next),
            None => return (all, upto),
        }
    }
}

async fn names(world: &World, client: &Client<'_>, dir: NodeId) -> Vec<String> {
    let listed = children::children(&world.db, client.who, world.space, dir, None).await.unwrap();
    listed.children.iter().map(|child| child.name.to_string()).collect()
}

async fn created_files_are_pulled_and_listed(db: Database) {
    let world = World::new(db).await;
    let (mut a, b) = (world.client("a").await, world.client("b").await);
    let (dir, file) = (world.node(), world.node());
    let ops = vec![
        a.op(create_dir(dir, &world.top("docs"))),
        a.op(create_file(file, &world.at(dir, "note"), world.empty("one"))),
    ];
    let answer = a.send(ops).await.unwrap();
    assert!(answer.answers.iter().all(|answer| answer.outcome == Outcome::Applied));
    assert_eq!((answer.before.seq, answer.after.seq), (0, 2));
    let (changes, upto) = pull_all(&b).await;
    assert_eq!(upto, answer.after);
    assert_eq!(changes.len(), 4);
    let pushed: Vec<Change> = answer.answers.into_iter().flat_map(|answer| answer.changes).collect();
    assert_eq!(rows_of(&changes), rows_of(&pushed));
    assert_eq!(names(&world, &b, dir).await, ["note"]);
    let listed = spaces::list(&world.db, a.who, world.space).await.unwrap();
    assert_eq!(listed.spaces[0].cursor, upto);
    healthy(&world).await;
}

async fn a_retry_gets_its_first_answer_and_changes_nothing(db: Database) {
    let world = World::new(db).await;
    let mut a = world.client("a").await;
    let op = a.op(create_file(world.node(), &world.top("f"), world.empty("one")));
    let next = a.op(create_dir(world.node(), &world.top("d")));
    let first = a.send(vec![op.clone()]).await.unwrap();
    let again = a.send(vec![op.clone(), next]).await.unwrap();
    assert_eq!(first.answers[0], again.answers[0]);
    assert_eq!(again.answers[1].outcome, Outcome::Applied);
    assert_eq!(again.after.seq, 2);
    // Once the device says that it has applied the answer, the counter is spent.
    a.answered = 1;
    let third = a.op(create_dir(world.node(), &world.top("e")));
    a.send(vec![third]).await.unwrap();
    let late = a.send(vec![op]).await;
    // The first push's answers are forgotten only as a whole push.
    assert_eq!(late.map_err(code).err(), Some(ErrorCode::DeviceRolledBack));
    healthy(&world).await;
}

async fn a_reused_counter_is_a_rolled_back_device(db: Database) {
    let world = World::new(db).await;
    let mut a = world.client("a").await;
    a.push(create_dir(world.node(), &world.top("d"))).await;
    a.counter = 0;
    let other = a.op(create_dir(world.node(), &world.top("other")));
    assert_eq!(code(a.send(vec![other]).await.unwrap_err()), ErrorCode::DeviceRolledBack);
    let future = VersionVector::default().with(a.who.device, 99);
    let write = a.op(write(world.node(), &world.top("f"), &future, world.empty("x")));
    assert_eq!(code(a.send(vec![write]).await.unwrap_err()), ErrorCode::DeviceRolledBack);
    assert_eq!(world.head().await.seq, 1);
}

async fn counters_that_do_not_increase_refuse_the_push(db: Database) {
    let world = World::new(db).await;
    let mut a = world.client("a").await;
    let op = a.op(create_dir(world.node(), &world.top("d")));
    assert_eq!(code(a.send(vec![op.clone(), op.clone()]).await.unwrap_err()), ErrorCode::BadCounter);
    let zero = tarn_proto::op::Operation { counter: 0, ..op };
    assert_eq!(code(a.send(vec![zero]).await.unwrap_err()), ErrorCode::BadCounter);
    assert_eq!(world.head().await.seq, 0);
}

async fn a_batch_stops_at_the_first_unsettled_operation(db: Database) {
    let world = World::new(db).await;
    let (mut a, mut b) = (world.client("a").await, world.client("b").await);
    a.push(create_file(world.node(), &world.top("f"), world.empty("one"))).await;
    let node = world.node();
    let kind = create_file(node, &world.top("f"), world.empty("two"));
    let ops = vec![
        b.op(create_dir(world.node(), &world.top("before"))),
        b.op(kind.clone()),
        b.op(create_dir(world.node(), &world.top("after"))),
    ];
    let answers = b.send(ops.clone()).await.unwrap().answers;
    let outcomes: Vec<&Outcome> = answers.iter().map(|answer| &answer.outcome).collect();
    assert_eq!(outcomes, [&Outcome::Applied, &Outcome::NeedsName, &Outcome::Skipped]);
    let mut again = ops;
    again[1].alt_name = Some(Name::new("f (b)").unwrap());
    let answers = b.send(again).await.unwrap().answers;
    let outcomes: Vec<&Outcome> = answers.iter().map(|answer| &answer.outcome).collect();
    assert_eq!(outcomes, [&Outcome::Applied, &Outcome::Merged, &Outcome::Applied]);
    assert_eq!(names(&world, &a, world.root).await, ["after", "before", "f", "f (b)"]);
    healthy(&world).await;
}

async fn what_is_lifted_by_another_name_is_the_same_operation_when_it_comes_again(db: Database) {
    let world = World::new(db).await;
    let (mut a, mut b) = (world.client("a").await, world.client("b").await);
    a.push(create_file(world.node(), &world.top("f"), world.empty("one"))).await;
    let node = world.node();
    let mut create = b.op(create_file(node, &world.top("f"), world.empty("two")));
    create.alt_name = Some(Name::new("f (b)").unwrap());
    let mut remove = b.op(unlink(&world.top("f"), node, &Default::default()));
    remove.kind.seen_mut().for_each(|seen| seen.alt_name.clone_from(&create.alt_name));
    let first = b.send(vec![create.clone(), remove.clone()]).await.unwrap().answers;
    let outcomes: Vec<&Outcome> = first.iter().map(|answer| &answer.outcome).collect();
    assert_eq!(outcomes, [&Outcome::Merged, &Outcome::Applied]);
    assert_eq!(names(&world, &a, world.root).await, ["f"]);
    remove.kind.seen_mut().for_each(|seen| seen.alt_name = None);
    assert_eq!(b.send(vec![create, remove]).await.unwrap().answers, first);
    healthy(&world).await;
}

fn one_chunk(world: &World, length: u64, size: u64) -> Content {
    let entry = ManifestEntry { id: ChunkId([7; 32]), length, stored: length };
    Content { size, manifest: Manifest { level: 0, entries: vec![entry] }, ..world.empty("bytes") }
}

async fn missing_chunks_are_named_and_nothing_is_settled(db: Database) {
    let world = World::new(db).await;
    let mut a = world.client("a").await;
    let ops = vec![
        a.op(create_file(world.node(), &world.top("bad"), one_chunk(&world, 5, 6))),
        a.op(create_file(world.node(), &world.top("absent"), one_chunk(&world, 5, 5))),
        a.op(create_dir(world.node(), &world.top("d"))),
    ];
    let answer = a.send(ops).await.unwrap();
    let refused = &answer.answers[0].outcome;
    assert!(matches!(refused, Outcome::Refused { code: ErrorCode::BadManifest, .. }), "{refused:?}");
    let missing = vec![ChunkId([7; 32])];
    assert_eq!(answer.answers[1].outcome, Outcome::RetryLater { code: ErrorCode::MissingChunks, missing });
    assert_eq!(answer.answers[2].outcome, Outcome::Skipped);
    assert_eq!(answer.after.seq, 0);
    healthy(&world).await;
}

async fn another_users_space_does_not_exist(db: Database) {
    let world = World::new(db).await;
    let a = world.client("a").await;
    let stranger = Identity { user: UserId([9; 16]), device: a.who.device };
    let request = tarn_proto::api::PushRequest { cursor: a.cursor, answered: 0, ops: Vec::new() };
    let pushed = push::push(&world.db, &world.env, stranger, world.space, request).await;
    assert_eq!(pushed.map_err(code).err(), Some(ErrorCode::NotFound));
    let pulled = pull::pull(&world.db, stranger, world.space, a.cursor, None).await;
    assert_eq!(pulled.map_err(code).err(), Some(ErrorCode::NotFound));
    let listed = children::children(&world.db, stranger, world.space, world.root, None).await;
    assert_eq!(listed.map_err(code).err(), Some(ErrorCode::NotFound));
}

async fn cursors_of_another_history_are_refused(db: Database) {
    let world = World::new(db).await;
    let mut a = world.client("a").await;
    a.push(create_dir(world.node(), &world.top("d"))).await;
    let head = world.head().await;
    let wrong = [
        (Cursor { epoch: tarn_proto::ids::EpochId([1; 16]), ..head }, ErrorCode::EpochChanged),
        (Cursor { hash: JournalHash([1; 32]), ..head }, ErrorCode::EpochChanged),
        (Cursor { seq: head.seq + 1, ..head }, ErrorCode::LaggingReplica),
    ];
    for (cursor, expected) in wrong {
        let pulled = pull::pull(&world.db, a.who, world.space, cursor, None).await;
        assert_eq!(pulled.map_err(code).err(), Some(expected));
        a.cursor = cursor;
        assert_eq!(a.send(Vec::new()).await.map_err(code).err(), Some(expected));
    }
}

async fn a_pull_is_a_cut_whatever_is_pushed_between_its_pages(db: Database) {
    let world = World::new(db).await;
    let (mut a, b) = (world.client("a").await, world.client("b").await);
    let count = PAGE_ROWS_MAX / 2 + 300;
    let mut first = Vec::new();
    for batch in (0..count).collect::<Vec<_>>().chunks(700) {
        let mut ops = Vec::new();
        for n in batch {
            first.push(world.node());
            ops.push(a.op(create_dir(first[*n], &world.top(&format!("d{n:05}")))));
        }
        a.send(ops).await.unwrap();
    }
    let page = pull::pull(&world.db, b.who, world.space, b.cursor, None).await.unwrap();
    assert_eq!(page.changes.len(), PAGE_ROWS_MAX);
    let upto = page.upto;
    // A folder of the cut goes, another comes: neither shows in the pages that are left.
    a.catch_up().await;
    a.push(unlink(&world.top("d00000"), first[0], &VersionVector::default())).await;
    a.push(create_dir(world.node(), &world.top("later"))).await;
    let rest = pull::pull(&world.db, b.who, world.space, b.cursor, page.next.as_deref()).await.unwrap();
    assert_eq!((rest.upto, rest.next), (upto, None));
    assert_eq!(page.changes.len() + rest.changes.len(), 2 * count);
    let other = pull::pull(&world.db, b.who, world.space, upto, page.next.as_deref()).await;
    assert_eq!(other.map_err(code).err(), Some(ErrorCode::BadRequest));
    healthy(&world).await;
}

async fn what_vanished_is_pulled_once_and_not_to_a_fresh_device(db: Database) {
    let world = World::new(db).await;
    let (mut a, mut b) = (world.client("a").await, world.client("b").await);
    let fresh = b.cursor;
    let (node, place) = (world.node(), world.top("f"));
    a.push(create_file(node, &place, world.empty("one"))).await;
    b.catch_up().await;
    for text in ["two", "three"] {
        let vector = a.vector(a.counter);
        a.push(write(node, &place, &vector, world.empty(text))).await;
    }
    let vector = a.vector(a.counter);
    a.push(unlink(&place, node, &vector)).await;
    let (changes, _) = pull_all(&b).await;
    let rows = rows_of(&changes);
    assert_eq!(rows.len(), changes.len());
    assert_eq!(rows.values().copied().collect::<Vec<_>>(), [(4, false), (4, false)]);
    b.cursor = fresh;
    assert_eq!(pull_all(&b).await.0, []);
    healthy(&world).await;
}

async fn a_listing_goes_on_as_of_its_first_page(db: Database) {
    let world = World::new(db).await;
    let mut a = world.client("a").await;
    let count = 1_010;
    let mut nodes = Vec::new();
    for batch in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let mut ops = Vec::new();
        for n in batch {
            let node = world.node();
            nodes.push(node);
            ops.push(a.op(create_dir(node, &world.top(&format!("d{n:05}")))));
        }
        a.send(ops).await.unwrap();
    }
    let first = children::children(&world.db, a.who, world.space, world.root, None).await.unwrap();
    assert_eq!(first.children.len(), 1_000);
    a.catch_up().await;
    a.push(unlink(&world.top("d01005"), nodes[1_005], &VersionVector::default())).await;
    a.push(create_dir(world.node(), &world.top("d01005x"))).await;
    let next = first.next.as_deref();
    let rest = children::children(&world.db, a.who, world.space, world.root, next).await.unwrap();
    assert_eq!(rest.seq, first.seq);
    let names: Vec<String> = rest.children.iter().map(|child| child.name.to_string()).collect();
    let expected: Vec<String> = (1_000..count).map(|n| format!("d{n:05}")).collect();
    assert_eq!((names, rest.next), (expected, None));
    let bad = children::children(&world.db, a.who, world.space, world.root, Some("nonsense!")).await;
    assert_eq!(bad.map_err(code).err(), Some(ErrorCode::BadRequest));
}

async fn a_folders_removal_spares_what_its_remover_had_not_seen(db: Database) {
    let world = World::new(db).await;
    let (mut a, mut b) = (world.client("a").await, world.client("b").await);
    let (dir, seen, unseen) = (world.node(), world.node(), world.node());
    a.push(create_dir(dir, &world.top("d"))).await;
    a.push(create_file(seen, &world.at(dir, "seen"), world.empty("one"))).await;
    b.catch_up().await;
    a.push(create_file(unseen, &world.at(dir, "unseen"), world.empty("two"))).await;
    let answer = b.push(unlink(&world.top("d"), dir, &VersionVector::default())).await;
    assert_eq!(answer.outcome, Outcome::Merged);
    assert_eq!(names(&world, &a, dir).await, ["unseen"]);
    b.catch_up().await;
    let answer = b.push(unlink(&world.top("d"), dir, &VersionVector::default())).await;
    assert_eq!(answer.outcome, Outcome::Applied);
    assert_eq!(names(&world, &a, world.root).await, Vec::<String>::new());
    healthy(&world).await;
}

async fn a_removed_folder_comes_back_for_a_write_in_it(db: Database) {
    let world = World::new(db).await;
    let (mut a, mut b) = (world.client("a").await, world.client("b").await);
    let (outer, inner, file) = (world.node(), world.node(), world.node());
    let place = world.at(inner, "note");
    a.push(create_dir(outer, &world.top("outer"))).await;
    a.push(create_dir(inner, &world.at(outer, "inner"))).await;
    a.push(create_file(file, &place, world.empty("one"))).await;
    let base = a.vector(a.counter);
    a.catch_up().await;
    let gone = a.push(unlink(&world.top("outer"), outer, &VersionVector::default())).await;
    assert_eq!(gone.outcome, Outcome::Applied);
    let answer = b.push(write(file, &place, &base, world.empty("two"))).await;
    assert_eq!(answer.outcome, Outcome::Merged);
    assert_eq!(names(&world, &a, inner).await, ["note"]);
    healthy(&world).await;
}

async fn a_moved_back_folder_brings_what_went_with_it(db: Database) {
    let world = World::new(db).await;
    let (mut a, mut b) = (world.client("a").await, world.client("b").await);
    let (dir, inner) = (world.node(), world.node());
    a.push(create_dir(dir, &world.top("d"))).await;
    a.push(create_dir(inner, &world.at(dir, "inner"))).await;
    a.push(create_file(world.node(), &world.at(inner, "note"), world.empty("one"))).await;
    a.catch_up().await;
    a.push(unlink(&world.top("d"), dir, &VersionVector::default())).await;
    let answer = b.push(rename(dir, &world.top("d"), &world.top("moved"))).await;
    assert_eq!(answer.outcome, Outcome::Merged);
    assert_eq!(names(&world, &a, world.root).await, ["moved"]);
    assert_eq!(names(&world, &a, inner).await, ["note"]);
    healthy(&world).await;
}

async fn a_conflict_is_listed_with_its_sibling(db: Database) {
    let world = World::new(db).await;
    let (mut a, mut b) = (world.client("a").await, world.client("b").await);
    let (node, place) = (world.node(), world.top("f"));
    a.push(create_file(node, &place, world.empty("base"))).await;
    let base = a.vector(a.counter);
    a.push(write(node, &place, &base, world.empty("mine"))).await;
    for text in ["theirs", "theirs, saved again"] {
        let answer = b.push_alt(write(node, &place, &base, world.empty(text)), "f (b)").await;
        assert!(matches!(answer.outcome, Outcome::Conflicted { .. }), "{:?}", answer.outcome);
    }
    let open = conflicts::conflicts(&world.db, a.who).await.unwrap().conflicts;
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].state.node, open[0].state.device_name.as_str()), (node, "b"));
    assert_eq!(names(&world, &a, world.root).await, ["f", "f (b)"]);
    let sibling = versions::content(&world.db, a.who, open[0].state.sibling.unwrap(), None).await.unwrap();
    assert_eq!(sibling.file.content.content_id, world.empty("theirs, saved again").content_id);
    let (changes, _) = pull_all(&world.client("c").await).await;
    assert_eq!(changes.len(), 0);
    healthy(&world).await;
}

async fn history_is_listed_and_restored(db: Database) {
    let world = World::new(db).await;
    let mut a = world.client("a").await;
    let (node, place) = (world.node(), world.top("f"));
    let first = world.empty("one");
    a.push(create_file(node, &place, first.clone())).await;
    let vector = a.vector(a.counter);
    a.push(write(node, &place, &vector, world.empty("two"))).await;
    let restored = versions::restore(&world.db, &world.env, a.who, node, first.version).await.unwrap();
    assert_eq!((restored.answer.outcome, restored.cursor.seq), (Outcome::Applied, 3));
    let history = versions::versions(&world.db, a.who, node).await.unwrap().versions;
    let contents: Vec<_> = history.iter().map(|version| version.content.content_id).collect();
    assert_eq!(contents, [first.content_id, world.empty("two").content_id, first.content_id]);
    assert!(history[0].vector.has_seen(&history[1].vector));
    assert_eq!(history[0].author, a.who.device);
    let absent = versions::restore(&world.db, &world.env, a.who, node, world.empty("x").version).await;
    assert_eq!(absent.map_err(code).err(), Some(ErrorCode::NotFound));
    // A removed file comes back where it was.
    a.catch_up().await;
    a.push(unlink(&place, node, &history[0].vector)).await;
    versions::restore(&world.db, &world.env, a.who, node, first.version).await.unwrap();
    assert_eq!(names(&world, &a, world.root).await, ["f"]);
    healthy(&world).await;
}

async fn two_folders_of_one_name_are_one(db: Database) {
    let world = World::new(db).await;
    let (mut a, mut b) = (world.client("a").await, world.client("b").await);
    let (first, second) = (world.node(), world.node());
    a.push(create_dir(first, &world.top("d"))).await;
    let ops =
        vec![b.op(create_dir(second, &world.top("d"))), b.op(create_dir(world.node(), &world.at(second, "inner")))];
    let answers = b.send(ops).await.unwrap().answers;
    assert_eq!((&answers[0].outcome, &answers[1].outcome), (&Outcome::Merged, &Outcome::Applied));
    b.push(create_dir(world.node(), &world.at(second, "later"))).await;
    assert_eq!(names(&world, &a, first).await, ["inner", "later"]);
    assert_eq!(names(&world, &a, second).await, ["inner", "later"]);
    healthy(&world).await;
}

async fn a_batch_sees_its_own_operations(db: Database) {
    let world = World::new(db).await;
    let mut a = world.client("a").await;
    let (dir, file) = (world.node(), world.node());
    let (from, to) = (world.at(dir, "x"), world.at(dir, "y"));
    let mut ops = vec![
        a.op(create_dir(dir, &world.top("d"))),
        a.op(create_file(file, &from, world.empty("one"))),
        a.op(rename(file, &from, &to)),
    ];
    let vector = a.vector(2);
    ops.push(a.op(write(file, &to, &vector, world.empty("two"))));
    let vector = a.vector(4);
    ops.push(a.op(unlink(&to, file, &vector)));
    ops.push(a.op(unlink(&world.top("d"), dir, &VersionVector::default())));
    ops.push(a.op(create_dir(world.node(), &world.top("d"))));
    let answer = a.send(ops).await.unwrap();
    assert!(answer.answers.iter().all(|answer| answer.outcome == Outcome::Applied), "{answer:?}");
    assert_eq!(answer.after.seq, 7);
    assert_eq!(names(&world, &a, world.root).await, ["d"]);
    healthy(&world).await;
}

async fn attributes_change_field_by_field(db: Database) {
    let world = World::new(db).await;
    let (mut a, mut b) = (world.client("a").await, world.client("b").await);
    let node = world.node();
    a.push(create_dir(node, &world.top("d"))).await;
    let mode = AttrChange { mode: Some(0o700), ..AttrChange::default() };
    let owner = AttrChange { uid: Some(7), ..AttrChange::default() };
    a.push(OpKind::SetAttr { node, attrs: mode.clone() }).await;
    b.push(OpKind::SetAttr { node, attrs: owner }).await;
    let again = b.push(OpKind::SetAttr { node, attrs: mode }).await;
    assert_eq!((again.outcome, again.changes.len()), (Outcome::Applied, 2));
    let listed = children::children(&world.db, a.who, world.space, node, None).await.unwrap();
    assert_eq!((listed.node.attrs.mode, listed.node.attrs.uid, listed.node_seq), (0o700, 7, 3));
    assert_eq!(world.head().await.seq, 3);
}

async fn concurrent_pushes_leave_no_gap(db: Database) {
    let world = World::new(db).await;
    let mut clients = Vec::new();
    for n in 0..6 {
        clients.push(world.client(&format!("device {n}")).await);
    }
    let pushes = clients.iter_mut().enumerate().map(async |(n, client)| {
        for m in 0..5 {
            let place = client.world.top(&format!("d{n}-{m}"));
            let node = client.world.node();
            client.push(create_dir(node, &place)).await;
        }
    });
    futures_util::future::join_all(pushes).await;
    assert_eq!(world.head().await.seq, 30);
    assert_eq!(names(&world, &clients[0], world.root).await.len(), 30);
    healthy(&world).await;
}

/// Begins a transaction and drops it when it is there or was asked so many times; how often it was asked.
async fn begin_and_drop(db: &Database, polls_max: u32) -> u32 {
    let mut begin = Box::pin(db.begin());
    for polls in 0..polls_max {
        if futures_util::poll!(&mut begin).is_ready() {
            return polls;
        }
        tokio::task::yield_now().await;
    }
    polls_max
}

async fn a_dropped_begin_leaves_no_transaction_behind(db: Database) {
    let mut whole = u32::MAX;
    for _ in 0..20 {
        whole = whole.min(begin_and_drop(&db, u32::MAX).await);
    }
    for part in 0..1000 {
        begin_and_drop(&db, whole * (part % 100) / 60).await;
        // In a transaction, nothing succeeds after the first error until it is rolled back.
        let mut connection = db.reader().await.unwrap();
        connection.execute("SELECT no_such_column").await.unwrap_err();
        connection.execute("SELECT 1").await.unwrap();
    }
}
