//! The disk under the database fails at each of its changes in turn: what was logged is not lost, and comes into the
//! database as soon as that can be written.

use super::model::*;
use crate::env::{CrashDisk, Fault};
use crate::journal::*;
use crate::log::Lsn;
use crate::meta::FILE_NAME;
use std::io::ErrorKind;
use std::path::Path;

const STEPS: u64 = 40;

fn begin(disk: &CrashDisk, sink: &MemSink) -> Result<(Journal, MemSink, u64), JournalError> {
    // Small enough that the write-ahead log is brought into the database again and again.
    let options = JournalOptions { wal_bytes: 32 << 10, ..options(Materialise::Manual) };
    let prepared = Journal::prepare(&env(disk), dir(), options)?;
    let sink = sink.reloaded(&prepared.readers());
    let (journal, recovered) = prepared.recover(Box::new(sink.clone()))?;
    Ok((journal, sink, recovered.applied.0))
}

/// The database, or what SQLite keeps beside it.
fn is_database(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(FILE_NAME.as_bytes()))
}

/// Everything that was done is in the database now, or in the log for the next start.
fn one_failure(at: u64, kind: ErrorKind) -> u64 {
    let disk = CrashDisk::new();
    disk.count_only(is_database);
    disk.fail_after(at, Fault::Error(kind));
    let what = format!("change {at} fails with {kind}");
    let begun = begin(&disk, &MemSink::default());
    // The failure may befall the making of the database: the next start makes it.
    let (journal, sink, _) = begun.or_else(|_| begin(&disk, &MemSink::default())).expect(&what);
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
            let after = disk.copy().power_cut(|| false);
            let (again, sink, applied) = begin(&after, &sink).unwrap_or_else(|e| panic!("{what}, cut: {e}"));
            assert!(applied >= n, "{what}: the power cut took what was synced, {applied} of {n} are there");
            let found = load(&again.readers(), &sink.live.lock());
            assert_eq!(found, worlds[applied as usize], "{what}, after a power cut");
        }
    }
    journal.drain().unwrap_or_else(|e| panic!("{what}: it is not written once it can be: {e}"));
    assert_eq!(load(&journal.readers(), &sink.live.lock()), worlds[STEPS as usize], "{what}");
    disk.change_count()
}

#[test]
fn a_database_whose_disk_fails_at_any_change_loses_nothing() {
    let changes = one_failure(u64::MAX / 2, ErrorKind::Other);
    assert!(changes > 100, "{changes}");
    for at in 0..changes {
        for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
            one_failure(at, kind);
        }
    }
}
