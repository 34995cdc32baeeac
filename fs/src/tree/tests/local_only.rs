//! Locks and temporary files stay on the device until they are something else.

use super::fixture::*;
use crate::content::Options;
use crate::env::{Clock, Env};
use crate::journal::JournalOptions;
use crate::tree::{LOCAL_ONLY_DEFAULT, LocalNames, SyncState, Tree};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tarn_proto::api::Outcome;
use tarn_proto::change::Row;
use tarn_proto::ids::NodeId;
use tarn_proto::node::{AttrChange, NodeKind, Timestamp};
use tarn_proto::op::{OpKind, Operation, RenameMode};

fn usual_names() -> LocalNames {
    LocalNames::matching(LOCAL_ONLY_DEFAULT).unwrap()
}

fn device() -> Device {
    let device = Device::new();
    device.tree.keep_here(usual_names()).unwrap();
    device
}

#[test]
fn locks_and_temporary_files_are_not_sent_and_not_waited_for() {
    let mut device = device();
    for text in [".~lock.report.odt#", "~$report.docx", ".notes.txt.swp", ".notes.txt.swo", "4913", "#notes.txt#"] {
        let ino = device.written(TOP, text, b"meanwhile");
        device.tree.set_attrs(ino, &AttrChange { mode: Some(0o600), ..AttrChange::default() }).unwrap();
        device.write(ino, 4, b"more");
        assert_eq!(device.tree.sync_state(ino).unwrap(), SyncState::LocalOnly, "{text}");
        assert!(device.tree.tickets_of(ino).unwrap().is_empty());
    }
    assert!(device.push().is_empty());
    assert_eq!((device.tree.first_ticket(), device.tree.last_ticket()), (None, None));
    let totals = device.tree.queue_totals();
    assert_eq!((totals.operations, totals.bytes, totals.local_only), (0, 0, 6));
    device.tree.unlink(TOP, &name("4913")).unwrap();
    assert_eq!(device.tree.queue_totals().local_only, 5);
    assert!(device.push().is_empty(), "nobody is told of the end of what nobody was told of");
}

#[test]
fn only_regular_files_stay() {
    let mut device = device();
    device.folder(TOP, ".folder.swp");
    device.tree.create(TOP, &name(".pipe.swp"), new(NodeKind::Fifo)).unwrap();
    device.written(TOP, "notes.swap", b"an ordinary name");
    assert_eq!(device.push().len(), 3);
}

#[test]
fn a_temporary_file_with_another_name_is_sent_as_that() {
    let mut device = device();
    let ino = device.written(TOP, ".notes.txt.swp", b"saved from a crash");
    device.renamed((TOP, ".notes.txt.swp"), (TOP, "recovered.txt"));
    let ops = device.push();
    let [OpKind::Create { place, content: Some(content), .. }] = &ops.iter().map(|op| &op.kind).collect::<Vec<_>>()[..]
    else {
        panic!("{ops:?}")
    };
    assert_eq!((place.name.clone(), content.size), (name("recovered.txt"), 18));
    assert_eq!(device.tree.sync_state(ino).unwrap(), SyncState::InSync);
}

#[test]
fn what_was_not_sent_and_gets_the_name_of_a_temporary_file_stays() {
    let mut device = device();
    device.written(TOP, "notes.txt", b"draft");
    device.renamed((TOP, "notes.txt"), (TOP, ".notes.txt.swp"));
    assert!(device.push().is_empty());
    assert_eq!(device.tree.queue_totals().local_only, 1);
}

#[test]
fn a_temporary_file_renamed_over_another_is_its_next_version() {
    let mut device = device();
    device.written(TOP, "notes.txt", b"one");
    device.push();
    device.written(TOP, ".goutputstream-AB12", b"two");
    device.renamed((TOP, ".goutputstream-AB12"), (TOP, "notes.txt"));
    let ops = device.push();
    assert!(matches!(&ops[..], [op] if matches!(op.kind, OpKind::Write { .. })), "{ops:?}");
}

#[test]
fn what_gets_another_name_beside_or_changes_places_is_sent() {
    let mut device = device();
    let ino = device.written(TOP, ".a.swp", b"a");
    device.tree.link(ino, TOP, &name("a")).unwrap();
    assert_eq!(device.push().len(), 2);
    device.written(TOP, ".b.swp", b"b");
    device.written(TOP, "b", b"published");
    device.push();
    device.rename((TOP, "b"), (TOP, ".b.swp"), RenameMode::Exchange).unwrap();
    assert_eq!(device.push().len(), 2);
    assert_eq!(device.tree.queue_totals(), crate::tree::QueueTotals::default());
}

#[test]
fn what_stays_is_there_after_a_crash_and_goes_when_its_name_is_no_longer_one_of_those() {
    let device = device();
    device.written(TOP, ".notes.txt.swp", b"meanwhile");
    device.written(TOP, "~$report.docx", b"lock");
    let mut device = device.kill();
    device.tree.keep_here(usual_names()).unwrap();
    assert_eq!(device.read(device.at("/.notes.txt.swp")), b"meanwhile");
    assert!(device.push().is_empty());
    device.tree.keep_here(LocalNames::matching(["~$*"]).unwrap()).unwrap();
    assert_eq!(device.push().len(), 1);
    device.tree.keep_here(LocalNames::default()).unwrap();
    assert_eq!(device.push().len(), 1);
}

#[test]
fn a_folder_that_others_removed_stays_while_it_holds_what_stays_here() {
    const D: NodeId = NodeId([5; 16]);
    let mut device = device();
    device.pull(vec![node_row(D, folder()), entry_row(root(), "d", Some(D))]);
    let dir = device.at("/d");
    device.written(dir, ".notes.txt.swp", b"unsaved");
    device.pull(vec![entry_row(root(), "d", None), gone(D)]);
    assert!(device.push().is_empty());
    assert_eq!(device.read(device.at("/d/.notes.txt.swp")), b"unsaved");
    device.tree.unlink(dir, &name(".notes.txt.swp")).unwrap();
    assert!(device.list(TOP).is_empty());
}

/// Seed 706551 of the simulation.
#[test]
fn bytes_that_were_saved_over_are_sent_when_what_stays_here_no_longer_hides_their_file() {
    let mut device = device();
    let ino = device.written(TOP, "notes.txt", b"published");
    let OpKind::Create { node, .. } = device.push()[0].kind else { panic!("not created") };
    device.written(TOP, "other", b"moves over it");
    device.push();
    device.write(ino, 0, b"what is not sent");
    device.renamed((TOP, "other"), (TOP, "notes.txt"));
    device.written(TOP, ".notes.txt.swp", b"meanwhile");
    // Others have given it another name, so that the server keeps it: that name is taken here.
    let moved = entry_row(root(), ".notes.txt.swp", Some(node));
    let (ticket, op) = device.freeze().remove(0);
    let mut answer = device.apply(&op);
    answer.outcome = Outcome::Merged;
    answer.changes.retain(|change| !matches!(change.row, Row::Node { state: None, .. }));
    device.tree.settle(&[(ticket, answer)], cursor(device.seq - 1), cursor(device.seq)).unwrap();
    device.pull_known(vec![moved]);
    assert!(device.push().is_empty(), "nobody can see it");
    device.renamed((TOP, ".notes.txt.swp"), (TOP, "recovered.txt"));
    let sent = device.push();
    let brings = |op: &Operation| matches!(op.kind, OpKind::Write { node: written, .. } if written == node);
    assert!(sent.iter().any(brings), "{sent:?}");
    assert_eq!(device.read(device.at("/.notes.txt.swp")), b"what is not sent");
}

/// A wall clock that can be put forward.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn wall(&self) -> Timestamp {
        let now = Env::real().clock.wall();
        Timestamp { secs: now.secs + self.0.load(Ordering::Relaxed), ..now }
    }

    fn monotonic(&self) -> Duration {
        Env::real().clock.monotonic()
    }
}

#[test]
fn what_is_left_alone_for_a_day_is_sent_but_for_locks() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let env = Env { clock: clock.clone(), ..Env::real() };
    let opened = Tree::assemble(&env, dir.path(), JournalOptions::default(), Options::default(), identity()).unwrap();
    let tree = opened.tree;
    tree.begin_load().unwrap();
    tree.finish_load(crate::tree::Loaded::first(cursor(0))).unwrap();
    tree.keep_here(usual_names()).unwrap();
    for (text, open) in [("~$report.docx", None), (".closed.swp", None), (".open.swp", Some(true))] {
        tree.create(TOP, &name(text), crate::tree::NewNode { open, ..new(NodeKind::File) }).unwrap();
    }
    let waiting = || (tree.queue_totals().operations, tree.queue_totals().local_only);
    clock.0.store(23 * 3600, Ordering::Relaxed);
    tree.review_local_only().unwrap();
    assert_eq!(waiting(), (0, 3));
    clock.0.store(25 * 3600, Ordering::Relaxed);
    tree.review_local_only().unwrap();
    assert_eq!(waiting(), (1, 2));
    let open = tree.lookup(TOP, &name(".open.swp")).unwrap().ino;
    tree.closed(open, true).unwrap();
    clock.0.store(100 * 3600, Ordering::Relaxed);
    tree.review_local_only().unwrap();
    assert_eq!(waiting(), (2, 1), "a lock never goes");
}
