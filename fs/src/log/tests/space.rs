//! Claims about a log whose disk is full.

use super::*;

#[test]
fn a_full_disk_refuses_an_append_whole_and_recovers() {
    let disk = CrashDisk::new();
    disk.set_space_bytes(Some(8192));
    let log = open(&disk, 1).unwrap();
    let mut taken = 0;
    while log.append(&payload(taken + 1, 100)).is_ok() {
        taken += 1;
    }
    assert!(matches!(log.append(b"more"), Ok(_) | Err(LogError::Full)));
    let last = log.last();
    assert!(matches!(log.append(&payload(0, 1000)), Err(LogError::Full)));
    assert_eq!(log.last(), last, "a refused append leaves no gap");
    log.sync(last).unwrap();
    disk.set_space_bytes(None);
    let lsn = log.append(&payload(0, 1000)).unwrap();
    log.sync(lsn).unwrap();
    let (found, error) = replay(&disk.power_cut(|| false), 1);
    assert!(error.is_none());
    assert_eq!(found.len() as u64, lsn.0);
}

#[test]
fn a_log_starts_on_a_full_disk_in_the_place_of_an_old_segment() {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    log.sync(log.append(b"old").unwrap()).unwrap();
    drop(log);
    disk.set_space_bytes(Some(0));
    let log = open(&disk, 2).unwrap();
    log.sync(log.append(b"new").unwrap()).unwrap();
    drop(log);
    assert_eq!(replay(&disk.power_cut(|| false), 2).0, [b"new".to_vec()]);
}

#[test]
fn a_rotation_refused_for_space_at_any_change_loses_nothing() {
    for at in 0..8 {
        let disk = CrashDisk::new();
        let log = open(&disk, 1).unwrap();
        let mut all = Vec::new();
        let mut append = |record: Vec<u8>| {
            let taken = log.append(&record).is_ok();
            all.extend(taken.then_some(record));
            taken
        };
        assert!(append(payload(1, 1500)));
        log.flush(Lsn(1)).unwrap();
        disk.fail_after(at, Fault::Error(ErrorKind::StorageFull));
        append(payload(2, 700));
        for n in 3..9 {
            append(payload(n, 60));
        }
        if log.flush(log.last()).is_ok() {
            let (found, error) = replay(&disk, 1);
            assert!(error.is_none() && found == all, "change {at}: {} of {}", found.len(), all.len());
        }
    }
}

#[test]
fn a_write_refused_for_space_is_repeated_by_the_next_flush() {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    let first = log.append(b"first").unwrap();
    disk.fail_after(0, Fault::Error(ErrorKind::StorageFull));
    assert!(matches!(log.flush(first), Err(LogError::Full)));
    let second = log.append(b"second").unwrap();
    log.sync(second).unwrap();
    assert_eq!(replay(&disk.power_cut(|| false), 1).0, [b"first".to_vec(), b"second".to_vec()]);
}
