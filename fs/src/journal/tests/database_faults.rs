//! The disk under the database fails at each of its changes in turn: what was logged is not lost, and comes into the
//! database as soon as that can be written.

use super::model::*;
use super::sqlite_disk::SqliteDisk;
use crate::env::CrashDisk;
use crate::journal::*;
use crate::log::Lsn;
use rusqlite::ffi;
use std::path::{Path, PathBuf};

const STEPS: u64 = 40;

fn begin(disk: &CrashDisk, dir: &Path, sink: &MemSink) -> Result<(Journal, MemSink, u64), JournalError> {
    // Small enough that the write-ahead log is brought into the database again and again.
    let options = JournalOptions { wal_bytes: 32 << 10, ..options(Materialise::Manual) };
    let prepared = Journal::prepare(&env(disk), dir, options)?;
    let sink = sink.reloaded(&prepared.readers());
    let (journal, recovered) = prepared.recover(Box::new(sink.clone()))?;
    Ok((journal, sink, recovered.applied.0))
}

/// Everything that was done is in the database now, or in the log for the next start.
fn one_failure(at: u64, code: i32) -> u64 {
    let (disk, dir) = (CrashDisk::new(), tempfile::tempdir_in(place()).unwrap());
    let database = SqliteDisk::of(dir.path());
    database.fail_after(at, code);
    let what = format!("change {at} fails with {code}");
    let begun = begin(&disk, dir.path(), &MemSink::default());
    // The failure may befall the making of the database: the next start makes it.
    let (journal, sink, _) = begun.or_else(|_| begin(&disk, dir.path(), &MemSink::default())).expect(&what);
    let mut worlds = vec![World::default()];
    for n in 1..=STEPS {
        let mut world = worlds.last().unwrap().clone();
        step(&journal, &sink, n, &mut world).expect(&what);
        worlds.push(world);
        if n % 4 == 0 {
            // Told, and tried again with the next ones.
            let _ = journal.materialise_now();
        }
        if n == STEPS / 2 {
            journal.sync(Lsn(n)).expect(&what);
            let cut = tempfile::tempdir_in(place()).unwrap();
            database.cut_into(cut.path());
            let after = disk.copy().power_cut(|| false);
            after.move_dir(dir.path(), cut.path());
            let (again, sink, applied) =
                begin(&after, cut.path(), &sink).unwrap_or_else(|e| panic!("{what}, cut: {e}"));
            assert!(applied >= n, "{what}: the power cut took what was synced, {applied} of {n} are there");
            let found = load(&again.readers(), &sink.live.lock());
            assert_eq!(found, worlds[applied as usize], "{what}, after a power cut");
        }
    }
    journal.drain().unwrap_or_else(|e| panic!("{what}: it is not written once it can be: {e}"));
    assert_eq!(load(&journal.readers(), &sink.live.lock()), worlds[STEPS as usize], "{what}");
    database.change_count()
}

/// In memory where that can be had: SQLite syncs often.
fn place() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}

#[test]
fn a_database_whose_disk_fails_at_any_change_loses_nothing() {
    let changes = one_failure(u64::MAX / 2, ffi::SQLITE_IOERR);
    assert!(changes > 100, "{changes}");
    for at in 0..changes {
        for code in [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_FULL] {
            one_failure(at, code);
        }
    }
}
