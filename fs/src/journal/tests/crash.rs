//! What is left after the daemon or the power ends at any moment.

use super::model::*;
use crate::env::{CrashDisk, Fault};
use crate::journal::*;
use crate::log::Lsn;
use crate::meta::rows::*;

const STEPS: u64 = 64;

fn chooser(seed: u64) -> impl FnMut() -> bool {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        !seed.is_multiple_of(3) && (seed % 3 == 1 || state & 1 == 0)
    }
}

struct Run {
    sink: MemSink,
    /// The world after each record that was taken.
    worlds: Vec<World>,
    synced: u64,
}

/// Steps until the disk is off or `STEPS` are done; materialises every `every` steps.
fn run(disk: &CrashDisk, every: u64) -> Run {
    let mut run = Run { sink: MemSink::default(), worlds: vec![World::default()], synced: 0 };
    let Ok(Opened { journal, sink, .. }) = open(disk, &run.sink, Materialise::Manual) else {
        return run;
    };
    run.sink = sink;
    for n in 1..=STEPS {
        let mut world = run.worlds.last().unwrap().clone();
        let Ok(lsn) = step(&journal, &run.sink, n, &mut world) else { break };
        assert_eq!(lsn, Lsn(n));
        run.worlds.push(world);
        if journal.flush(lsn).is_err() {
            break;
        }
        if n % 11 == 0 {
            if journal.sync(lsn).is_err() {
                break;
            }
            run.synced = n;
        }
        if n % every == 0 && journal.materialise_now().is_ok() {
            run.synced = run.synced.max(journal.materialised().0);
        }
    }
    run
}

fn check(run: &Run, disk: &CrashDisk, what: &str) -> Opened {
    let opened = open(disk, &run.sink, Materialise::Manual).unwrap();
    let (applied, taken) = (opened.recovered.applied.0, run.worlds.len() as u64 - 1);
    assert!((run.synced..=taken).contains(&applied), "{what}: {} <= {applied} <= {taken}", run.synced);
    let found = load(&opened.journal.readers(), &opened.sink.live.lock());
    assert_eq!(found, run.worlds[applied as usize], "{what}: the state after {applied}");
    opened
}

#[test]
fn after_a_power_cut_at_any_change_a_prefix_no_older_than_the_last_sync_is_there() {
    for every in [5, 17] {
        let calm = CrashDisk::new();
        run(&calm, every);
        for at in (0..=calm.change_count()).step_by(2) {
            let disk = CrashDisk::new();
            disk.fail_after(at, Fault::Off);
            let run = run(&disk, every);
            for seed in [at, at + 1] {
                // Power cuts of a disk that is off already: each leaves something else.
                check(&run, &disk.power_cut(chooser(seed)), &format!("every {every}, change {at}, seed {seed}"));
            }
        }
    }
}

#[test]
fn after_kill_everything_that_was_flushed_is_there() {
    for every in [1, 3, 20, 1000] {
        let disk = CrashDisk::new();
        let mut run = run(&disk, every);
        run.synced = STEPS;
        check(&run, &disk, "killed");
    }
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    let disk = CrashDisk::new();
    let mut run = run(&disk, 1000);
    run.synced = STEPS;
    for at in 0..12 {
        let disk = disk.copy();
        let disk = disk.power_cut(|| true);
        disk.fail_after(at, Fault::Off);
        drop(open(&disk, &run.sink, Materialise::Manual));
        check(&run, &disk.power_cut(|| false), &format!("again after change {at}"));
    }
}

#[test]
fn histories_go_on_after_many_crashes() {
    let mut disk = CrashDisk::new();
    let mut run = run(&disk, 9);
    for round in 0..12u64 {
        disk = disk.power_cut(chooser(round));
        let opened = check(&run, &disk, &format!("round {round}"));
        let applied = opened.recovered.applied.0;
        run.worlds.truncate(applied as usize + 1);
        run.sink = opened.sink;
        for n in applied + 1..applied + 20 {
            let mut world = run.worlds.last().unwrap().clone();
            // A step whose content is gone is left out of this history.
            if matches!(n % 8, 2..=4) && !world.contents.contains_key(&ContentNo(1 + n / 8 % 3)) {
                step(&opened.journal, &run.sink, 6 + n * 8, &mut world).unwrap();
            } else {
                step(&opened.journal, &run.sink, n, &mut world).unwrap();
            }
            run.worlds.push(world);
        }
        opened.journal.flush(opened.journal.last()).unwrap();
        if round % 2 == 0 {
            opened.journal.sync(Lsn(applied + 10)).unwrap();
            run.synced = applied + 10;
        }
    }
}

#[test]
fn contents_newer_than_their_batch_never_outlive_what_came_before_them() {
    let disk = CrashDisk::new();
    let Opened { journal, sink, .. } = open(&disk, &MemSink::default(), Materialise::Manual).unwrap();
    let journal = std::sync::Arc::new(journal);
    let row = content_row(ContentPlace::None, 0);
    journal.commit(vec![RowChange::Content(ContentNo(1), Some(Box::new(row)))], Vec::new()).unwrap();
    *sink.hook.0.lock() = Some(Box::new({
        let (journal, live) = (journal.clone(), sink.live.clone());
        move || {
            journal.commit(vec![RowChange::Queue(Ticket(5), Some(Box::new(queued())))], Vec::new()).unwrap();
            journal.flush(journal.write_small(ContentNo(1), 0, b"later").unwrap()).unwrap();
            live.lock().insert(ContentNo(1), b"later".to_vec());
        }
    }));
    assert!(journal.materialise_now().unwrap());
    assert_eq!(journal.materialised(), Lsn(1));
    drop(journal);
    let again = open(&disk.power_cut(|| false), &sink, Materialise::Manual).unwrap();
    let world = load(&again.journal.readers(), &again.sink.live.lock());
    assert_eq!(world.contents[&ContentNo(1)], b"later");
    assert_eq!(world.queue, [5], "what was done before the write is there with it");
}

#[test]
fn recovery_stops_before_a_record_whose_backing_file_is_too_short() {
    let disk = CrashDisk::new();
    let Opened { journal, sink, .. } = open(&disk, &MemSink::default(), Materialise::Manual).unwrap();
    let put = |ticket: u64| vec![RowChange::Queue(Ticket(ticket), Some(Box::new(queued())))];
    journal.commit(put(1), vec![(ContentNo(8), 100)]).unwrap();
    journal.commit(put(2), vec![(ContentNo(9), 100)]).unwrap();
    journal.commit(put(3), Vec::new()).unwrap();
    journal.sync(Lsn(3)).unwrap();
    sink.backing.lock().extend([(ContentNo(8), 100), (ContentNo(9), 99)]);
    drop(journal);
    let opened = open(&disk, &sink, Materialise::Manual).unwrap();
    let stopped = Some(Stopped { before: Lsn(2), content: ContentNo(9) });
    assert_eq!((opened.recovered.stopped, opened.recovered.applied), (stopped, Lsn(1)));
    assert_eq!(load(&opened.journal.readers(), &Bytes::new()).queue, [1]);
    let lsn = opened.journal.commit(put(7), Vec::new()).unwrap();
    assert_eq!(lsn, Lsn(2), "what never happened gives its place away");
    opened.journal.sync(lsn).unwrap();
    drop(opened);
    let again = open(&disk.power_cut(|| false), &sink, Materialise::Manual).unwrap();
    assert_eq!(load(&again.journal.readers(), &Bytes::new()).queue, [1, 7]);
}

#[test]
fn recovery_goes_on_beyond_a_file_that_was_whole_and_then_shortened() {
    for (len_bytes, applied) in [(40, 4), (39, 1)] {
        let disk = CrashDisk::new();
        let Opened { journal, sink, .. } = open(&disk, &MemSink::default(), Materialise::Manual).unwrap();
        let put = |ticket: u64| vec![RowChange::Queue(Ticket(ticket), Some(Box::new(queued())))];
        journal.commit(put(1), Vec::new()).unwrap();
        journal.commit(put(2), vec![(ContentNo(8), 100)]).unwrap();
        journal.commit(put(3), vec![(ContentNo(9), 0)]).unwrap();
        journal.commit(Vec::new(), vec![(ContentNo(8), 40)]).unwrap();
        journal.sync(Lsn(4)).unwrap();
        sink.backing.lock().extend([(ContentNo(8), len_bytes), (ContentNo(9), 0)]);
        drop(journal);
        let opened = open(&disk, &sink, Materialise::Manual).unwrap();
        assert_eq!(opened.recovered.applied, Lsn(applied), "{len_bytes} bytes are there");
    }
}
