//! How a journal behaves while it runs.

use super::model::*;
use crate::env::{CrashDisk, Env, Fault};
use crate::journal::*;
use crate::log::{LogError, Lsn};
use crate::meta::rows::*;
use crate::meta::{FILE_NAME, MetaError, RemoteWork, Staged};
use std::io::ErrorKind;
use std::time::Duration;
use tarn_proto::change::{Change, Row};

fn fresh(how: Materialise) -> (CrashDisk, Opened) {
    let disk = CrashDisk::new();
    let opened = open(&disk, &MemSink::default(), how).unwrap();
    (disk, opened)
}

fn put(ticket: u64) -> Vec<RowChange> {
    vec![RowChange::Queue(Ticket(ticket), Some(Box::new(queued())))]
}

fn tickets(journal: &Journal) -> Vec<u64> {
    let queue = journal.readers().get().unwrap().queue_all().unwrap();
    queue.into_iter().map(|(ticket, _)| ticket.0).collect()
}

#[test]
fn the_thread_brings_everything_into_the_database_in_order() {
    let (_disk, opened) = fresh(Materialise::Thread);
    let mut world = World::default();
    for n in 1..=400 {
        step(&opened.journal, &opened.sink, n, &mut world).unwrap();
        if n % 37 == 0 {
            opened.journal.drain().unwrap();
            assert_eq!(opened.journal.materialised(), Lsn(n));
            assert_eq!(load(&opened.journal.readers(), &opened.sink.live.lock()), world);
        }
    }
    opened.journal.drain().unwrap();
    assert_eq!(load(&opened.journal.readers(), &opened.sink.live.lock()), world);
    assert_eq!(opened.journal.health(), Health::Good);
}

#[test]
fn replay_ends_in_the_same_database_as_a_live_run() {
    let (disk, live) = fresh(Materialise::Manual);
    let mut world = World::default();
    for n in 1..=300 {
        step(&live.journal, &live.sink, n, &mut world).unwrap();
    }
    live.journal.flush(Lsn(300)).unwrap();
    let replayed = open(&disk.copy(), &MemSink::default(), Materialise::Manual).unwrap();
    assert_eq!(replayed.recovered.replayed_count, 300);
    live.journal.drain().unwrap();
    let seen = |opened: &Opened| load(&opened.journal.readers(), &opened.sink.live.lock());
    assert_eq!((seen(&live), seen(&replayed)), (world.clone(), world));
    drop(live);
    let again = open(&disk, &replayed.sink, Materialise::Manual).unwrap();
    assert_eq!(again.recovered.replayed_count, 0);
    assert_eq!(again.recovered.marks, replayed.recovered.marks);
}

#[test]
fn closing_writes_what_is_pending() {
    let (disk, opened) = fresh(Materialise::Thread);
    opened.journal.commit(put(1), Vec::new()).unwrap();
    opened.journal.flush(Lsn(1)).unwrap();
    drop(opened.journal);
    let again = open(&disk, &opened.sink, Materialise::Manual).unwrap();
    assert_eq!((again.recovered.replayed_count, tickets(&again.journal)), (0, vec![1]));
}

#[test]
fn staged_rows_survive_a_crash_between_staging_and_swapping() {
    let (disk, opened) = fresh(Materialise::Thread);
    let change = Change { seq: 5, row: Row::Entry { parent: node(), name: name(), node: Some(node()) } };
    opened.journal.discard_staged().blocking_recv().unwrap();
    opened.journal.stage(vec![change]).blocking_recv().unwrap();
    let lsn = opened.journal.submit_remote(RemoteWork { staged: Staged::Apply, ..RemoteWork::default() }).unwrap();
    opened.journal.sync(lsn).unwrap();
    drop(opened.journal);
    let again = open(&disk.power_cut(|| false), &opened.sink, Materialise::Manual).unwrap();
    let children = again.journal.readers().get().unwrap().remote_children(node()).unwrap();
    assert_eq!(children.len(), 1);
}

#[test]
fn a_failing_materialiser_reports_keeps_everything_and_recovers() {
    let (_disk, opened) = fresh(Materialise::Thread);
    let Opened { journal, sink, .. } = &opened;
    *sink.fail_count.lock() = 2;
    let mut world = World::default();
    for n in 1..=9 {
        step(journal, sink, n, &mut world).unwrap();
    }
    assert!(matches!(journal.drain(), Err(JournalError::Stalled { .. })));
    assert!(matches!(journal.health(), Health::Failing { .. } | Health::Good));
    reaches(journal, Lsn(9));
    assert_eq!(journal.health(), Health::Good);
    assert_eq!(load(&journal.readers(), &sink.live.lock()), world);
}

#[test]
fn too_much_pending_makes_writers_wait_and_a_stuck_database_refuses_them() {
    let disk = CrashDisk::new();
    let options = JournalOptions { pending_bytes_max: 2000, ..options(Materialise::Thread) };
    let sink = MemSink::default();
    let prepared = Journal::prepare(&env(&disk), dir(), options).unwrap();
    let (journal, _) = prepared.recover(Box::new(sink.clone())).unwrap();
    for n in 1..=200 {
        journal.wait_room().unwrap();
        journal.commit(put(n), Vec::new()).unwrap();
    }
    journal.drain().unwrap();
    *sink.fail_count.lock() = u32::MAX;
    let mut world = World::default();
    journal
        .commit(vec![RowChange::Content(ContentNo(1), Some(Box::new(content_row(ContentPlace::None, 0))))], vec![])
        .unwrap();
    let refused = (201..2000).find_map(|n| journal.wait_room().and_then(|()| journal.commit(put(n), Vec::new())).err());
    assert!(refused.unwrap().is_full(), "the writer gets ENOSPC, not a hang");
    *sink.fail_count.lock() = 0;
    world.queue.clear();
    while journal.wait_room().is_err() {
        std::thread::yield_now();
    }
    journal.drain().unwrap();
}

#[test]
fn a_full_disk_refuses_a_commit_whole() {
    let (disk, opened) = fresh(Materialise::Manual);
    disk.set_space_bytes(Some(8192));
    let mut taken = Vec::new();
    let error = (1..500).find_map(|n| match opened.journal.commit(put(n), Vec::new()) {
        Ok(_) => {
            taken.push(n);
            None
        }
        Err(e) => Some(e),
    });
    assert!(error.unwrap().is_full());
    assert!(opened.journal.drain().unwrap_err().is_full(), "the database has no room either");
    disk.set_space_bytes(None);
    opened.journal.drain().unwrap();
    assert_eq!(tickets(&opened.journal), taken);
    opened.journal.commit(put(999), Vec::new()).unwrap();
    opened.journal.drain().unwrap();
    assert_eq!(tickets(&opened.journal).last(), Some(&999));
}

#[test]
fn a_poisoned_log_takes_nothing_more_but_what_was_taken_reaches_the_database() {
    let (disk, opened) = fresh(Materialise::Manual);
    opened.journal.commit(put(1), Vec::new()).unwrap();
    disk.fail_after(0, Fault::Error(ErrorKind::Other));
    assert!(matches!(opened.journal.flush(Lsn(1)), Err(JournalError::Log(LogError::Poisoned(_)))));
    assert!(opened.journal.commit(put(2), Vec::new()).is_err());
    opened.journal.drain().unwrap();
    assert_eq!(tickets(&opened.journal), [1]);
}

#[test]
fn a_content_removed_in_the_batch_is_not_brought_back() {
    let (_disk, opened) = fresh(Materialise::Manual);
    let Opened { journal, sink, .. } = &opened;
    let row = content_row(ContentPlace::None, 0);
    journal.commit(vec![RowChange::Content(ContentNo(1), Some(Box::new(row)))], Vec::new()).unwrap();
    journal.write_small(ContentNo(1), 0, b"bytes").unwrap();
    sink.live.lock().insert(ContentNo(1), b"bytes".to_vec());
    journal.commit(vec![RowChange::Content(ContentNo(1), None)], Vec::new()).unwrap();
    journal.drain().unwrap();
    assert!(journal.readers().get().unwrap().contents_all().unwrap().is_empty());
}

#[test]
fn rows_of_contents_are_recorded_on_request_and_not_of_removed_ones() {
    let (_disk, opened) = fresh(Materialise::Thread);
    let Opened { journal, sink, .. } = &opened;
    sink.live.lock().insert(ContentNo(3), b"fetched".to_vec());
    journal.record_contents(&[ContentNo(3), ContentNo(4)]).unwrap();
    let rows = journal.readers().get().unwrap().contents_all().unwrap();
    assert_eq!(rows.iter().map(|(no, row)| (no.0, row.size_bytes)).collect::<Vec<_>>(), [(3, 7)]);
}

#[test]
fn a_sink_that_panics_loses_nothing_and_hangs_nobody() {
    let (disk, opened) = fresh(Materialise::Thread);
    let Opened { journal, sink, .. } = &opened;
    *sink.panics.lock() = true;
    journal.commit(put(1), Vec::new()).unwrap();
    journal.commit(vec![RowChange::Content(ContentNo(1), None)], Vec::new()).unwrap();
    journal.write_small(ContentNo(2), 0, b"bytes").unwrap();
    assert!(matches!(journal.drain(), Err(JournalError::Stalled { .. })));
    assert!(matches!(journal.drain(), Err(JournalError::Stalled { .. })), "nor the next one");
    let lsn = journal.commit(put(2), Vec::new()).unwrap();
    journal.flush(lsn).unwrap();
    *sink.panics.lock() = false;
    drop(opened.journal);
    let again = open(&disk, &opened.sink, Materialise::Manual).unwrap();
    assert_eq!(tickets(&again.journal), [1, 2]);
}

#[test]
fn rows_made_inside_the_order_are_committed_there() {
    let (_disk, opened) = fresh(Materialise::Manual);
    assert_eq!(opened.journal.commit_with(Vec::new).unwrap(), Lsn(0));
    assert_eq!(opened.journal.commit_with(|| put(4)).unwrap(), Lsn(1));
    opened.journal.drain().unwrap();
    assert_eq!(tickets(&opened.journal), [4]);
}

#[test]
fn a_damaged_database_is_refused_with_its_path_and_a_way_out() {
    let (disk, opened) = fresh(Materialise::Manual);
    drop(opened);
    disk.tamper(&dir().join(FILE_NAME), |bytes| *bytes = vec![b'x'; 9000]).unwrap();
    let error = Journal::prepare(&env(&disk), dir(), options(Materialise::Manual)).unwrap_err();
    assert!(matches!(error, JournalError::Meta(MetaError::Damaged { .. })));
    assert!(error.to_string().contains("tarn doctor --rebuild"));
}

#[test]
fn a_record_that_makes_no_sense_stops_the_opening_and_stays() {
    assert!(Record::decode(&[]).is_err());
    assert!(Record::decode(&[9, 1]).is_err());
    assert!(Record::decode(&[2, 1, 1]).is_err());
    assert!(Record::decode(&[1, 0xc1]).is_err());
    let disk = CrashDisk::new();
    let options = options(Materialise::Manual);
    let log = crate::log::Log::scan(&env(&disk), &dir().join("log"), options.log).unwrap().start(Lsn(1)).unwrap();
    log.append(&[77, 1, 2]).unwrap();
    log.sync(Lsn(1)).unwrap();
    for _ in 0..2 {
        let prepared = Journal::prepare(&env(&disk), dir(), options).unwrap();
        assert!(matches!(prepared.recover(Box::new(NoContents)), Err(JournalError::Record { lsn: 1, .. })));
    }
}

#[test]
fn a_state_folder_has_one_holder_at_a_time() {
    let (env, dir) = (Env::real(), tempfile::tempdir().unwrap());
    let held = StateLock::acquire(&env, dir.path(), Duration::ZERO).unwrap();
    let refused = StateLock::acquire(&env, dir.path(), Duration::from_millis(30));
    assert!(matches!(refused, Err(LockError::Held(_))));
    let waiter = std::thread::spawn({
        let (env, dir) = (env.clone(), dir.path().to_owned());
        move || StateLock::acquire(&env, &dir, Duration::from_secs(20)).is_ok()
    });
    drop(held);
    assert!(waiter.join().unwrap());
}

fn reaches(journal: &Journal, lsn: Lsn) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let waited = async { tokio::time::timeout(Duration::from_secs(20), journal.wait_materialised(lsn)).await };
    runtime.block_on(waited).unwrap().unwrap();
}

#[test]
fn in_a_rush_rows_are_gathered_until_it_is_over() {
    let rush_gather = Duration::from_secs(3600);
    let options = JournalOptions { rush_gather, ..options(Materialise::Thread) };
    let Opened { journal, .. } = open_with(&CrashDisk::new(), &MemSink::default(), options).unwrap();
    let rushes = [journal.rush(), journal.rush()];
    // Far longer than is gathered otherwise.
    for n in 1..=200 {
        let lsn = journal.commit(put(n), Vec::new()).unwrap();
        journal.sync(lsn).unwrap();
    }
    for rush in rushes {
        assert_eq!(journal.materialised(), Lsn(0));
        drop(rush);
    }
    reaches(&journal, Lsn(200));
}

#[test]
fn a_rush_ends_for_those_who_wait_and_where_much_is_pending() {
    let rush_gather = Duration::from_secs(3600);
    let options = JournalOptions { rush_gather, pending_bytes_max: 40_000, ..options(Materialise::Thread) };
    let Opened { journal, .. } = open_with(&CrashDisk::new(), &MemSink::default(), options).unwrap();
    let rush = journal.rush();
    journal.commit(put(1), Vec::new()).unwrap();
    journal.drain().unwrap();
    assert_eq!(journal.materialised(), Lsn(1));
    for n in 2..=400 {
        journal.wait_room().unwrap();
        journal.commit(put(n), Vec::new()).unwrap();
    }
    reaches(&journal, Lsn(2));
    drop(journal);
    drop(rush);
}
