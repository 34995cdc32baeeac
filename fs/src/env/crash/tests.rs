//! Claims about databases on a disk in memory: their connections meet as on a real one, and a power cut takes what was not
//! synced and nothing else.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::env::RealDisk;
use rusqlite::{Connection, ErrorCode};

fn open(disk: &dyn Disk, path: &Path) -> rusqlite::Result<Connection> {
    let at = disk.database(path);
    let db = Connection::open_with_flags_and_vfs(&at.path, rusqlite::OpenFlags::default(), at.vfs)?;
    // Each commit is synced, and each second one is brought to its place.
    db.execute_batch("pragma journal_mode = wal; pragma synchronous = full; pragma wal_autocheckpoint = 4")?;
    db.busy_timeout(std::time::Duration::ZERO)?;
    Ok(db)
}

fn count(db: &Connection) -> i64 {
    db.query_row("select count(*) from t", [], |row| row.get(0)).unwrap()
}

fn is_busy(outcome: rusqlite::Result<()>) -> bool {
    outcome.is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy))
}

/// What connections see and refuse each other.
fn connections_meet(disk: &dyn Disk, path: &Path) {
    let (one, other) = (open(disk, path).unwrap(), open(disk, path).unwrap());
    one.execute_batch("create table t (n); begin immediate; insert into t values (1)").unwrap();
    assert_eq!(count(&other), 0, "what is not committed is nobody else's");
    assert!(is_busy(other.execute_batch("begin immediate")), "one writes at a time");
    other.execute_batch("begin").unwrap();
    assert_eq!(count(&other), 0);
    one.execute_batch("commit").unwrap();
    assert_eq!((count(&one), count(&other)), (1, 0), "who reads sees one state");
    let checkpoint = |db: &Connection| db.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get::<_, i64>(0));
    assert_eq!(checkpoint(&one).unwrap(), 1, "what somebody reads stays in the log");
    other.execute_batch("commit").unwrap();
    assert_eq!((count(&other), checkpoint(&one).unwrap()), (1, 0));
    one.execute_batch("insert into t values (2)").unwrap();
    let log = path.with_extension("db-wal");
    drop(one);
    assert!(disk.open(&log, OpenMode::Existing).is_ok() && count(&other) == 2);
    drop(other);
    assert!(disk.open(&log, OpenMode::Existing).is_err(), "the last one to close it takes the log along");
    assert_eq!(count(&open(disk, path).unwrap()), 2);
}

#[test]
fn connections_meet_as_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    connections_meet(&RealDisk, &dir.path().join("some.db"));
    connections_meet(&CrashDisk::new(), Path::new("/state/some.db"));
}

/// Fills a table until the power fails: how many rows were said to be there for good, and what is there.
fn fill(disk: &CrashDisk, keep: impl FnMut() -> bool) -> (i64, i64) {
    const ROWS: i64 = 12;
    let path = Path::new("/state/some.db");
    let run = || -> rusqlite::Result<i64> {
        let db = open(disk, path)?;
        db.execute_batch("create table t (n, bytes)")?;
        let insert = |n: &i64| db.execute("insert into t values (?1, zeroblob(3000))", [n]).is_ok();
        Ok((0..ROWS).take_while(insert).count() as i64)
    };
    let said = run();
    let db = open(&disk.power_cut(keep), path).unwrap();
    let sound: String = db.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let Ok(said) = said else { return (0, 0) };
    (said, count(&db))
}

#[test]
fn what_was_committed_survives_a_power_cut_at_any_change() {
    let calm = CrashDisk::new();
    assert_eq!(fill(&calm, || false), (12, 12));
    assert!(calm.change_count() > 100);
    for at in 0..calm.change_count() {
        let chosen: [fn(u32) -> bool; 3] = [|_| false, |_| true, |n| n.is_multiple_of(3)];
        for keeps in chosen {
            let (disk, mut asked) = (CrashDisk::new(), 0);
            disk.fail_after(at, Fault::Off);
            let keep = || {
                asked += 1;
                keeps(asked)
            };
            let (said, found) = fill(&disk, keep);
            assert!((said..=said + 1).contains(&found), "change {at}: {said} rows were said to be there, {found} are");
        }
    }
}

#[test]
fn a_disk_that_lies_about_syncs_loses_what_was_committed() {
    let disk = CrashDisk::new();
    disk.lie_about(|path| path.to_string_lossy().ends_with("-wal"));
    let db = open(&disk, Path::new("/state/some.db")).unwrap();
    db.execute_batch("create table t (n)").unwrap();
    let after = open(&disk.power_cut(|| false), Path::new("/state/some.db")).unwrap();
    assert!(after.prepare("select * from t").is_err());
}
