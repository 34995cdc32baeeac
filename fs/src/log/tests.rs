//! Claims about the log: what is left after any end is a prefix, no older than the last sync.
#![allow(clippy::unwrap_used)]

mod read_back;
mod rot;
mod space;

use super::segment::HEADER_BYTES;
use super::{Log, LogError, LogOptions, Lsn};
use crate::env::{CrashDisk, Env, Fault, OpenMode};
use proptest::prelude::*;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/log";
const SMALL: LogOptions = LogOptions { segment_bytes: HEADER_BYTES + 2048, spare_max: 2 };

fn env(disk: &CrashDisk) -> Env {
    Env { disk: Arc::new(disk.clone()), ..Env::real() }
}

fn open(disk: &CrashDisk, next: u64) -> Result<Log, LogError> {
    Log::scan(&env(disk), Path::new(DIR), SMALL)?.start(Lsn(next))
}

fn replay(disk: &CrashDisk, from: u64) -> (Vec<Vec<u8>>, Option<LogError>) {
    let scan = Log::scan(&env(disk), Path::new(DIR), SMALL).unwrap();
    let (mut found, mut error, mut next) = (Vec::new(), None, from);
    for record in scan.replay(Lsn(from)) {
        match record {
            Ok((lsn, payload)) => {
                assert_eq!(lsn, Lsn(next));
                next += 1;
                found.push(payload);
            }
            Err(e) => error = Some(e),
        }
    }
    (found, error)
}

fn payload(number: u64, len: usize) -> Vec<u8> {
    (0..len.max(1)).map(|i| (number as usize * 31 + i) as u8 | 1).collect()
}

fn path_of(number: u32) -> std::path::PathBuf {
    Path::new(DIR).join(format!("{number:08}.log"))
}

fn xorshift(seed: u64) -> impl FnMut() -> bool {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match seed % 4 {
            0 => false,
            1 => true,
            _ => state & 1 == 0,
        }
    }
}

#[test]
fn what_was_flushed_is_replayed_across_segments() {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    let all: Vec<_> = (1..=100).map(|n| payload(n, n as usize)).collect();
    for record in &all {
        log.append(record).unwrap();
    }
    log.flush(Lsn(100)).unwrap();
    let (found, error) = replay(&disk, 1);
    assert!(error.is_none() && found == all);
    assert_eq!(replay(&disk, 41).0, all[40..]);
    assert_eq!(replay(&disk, 101).0.len(), 0);
}

#[test]
fn a_tail_cut_at_any_byte_leaves_a_prefix() {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    let all: Vec<_> = (1..=8).map(|n| payload(n, 20 + n as usize)).collect();
    let mut ends = vec![HEADER_BYTES as usize];
    for record in &all {
        log.append(record).unwrap();
        ends.push(ends.last().unwrap() + 16 + record.len());
    }
    log.flush(Lsn(8)).unwrap();
    for cut in HEADER_BYTES as usize..*ends.last().unwrap() {
        let whole = ends.iter().filter(|&&end| end <= cut).count() - 1;
        for fill in [0u8, 0xff] {
            let torn = disk.copy();
            torn.tamper(&path_of(1), |bytes| bytes[cut..].fill(fill)).unwrap();
            let (found, error) = replay(&torn, 1);
            assert!(error.is_none());
            assert_eq!(found, all[..whole.max(found.len().min(whole + 1))], "cut at {cut}");
            assert!(found.len() >= whole);
        }
        let short = disk.copy();
        short.tamper(&path_of(1), |bytes| bytes.truncate(cut)).unwrap();
        assert_eq!(replay(&short, 1).0, all[..whole]);
    }
}

#[test]
fn a_flipped_byte_in_what_was_never_synced_ends_the_replay_there() {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    let all: Vec<_> = (1..=8).map(|n| payload(n, 30)).collect();
    for record in &all {
        log.append(record).unwrap();
    }
    log.flush(Lsn(8)).unwrap();
    for at in 0..8 * 46 {
        let bad = disk.copy();
        bad.tamper(&path_of(1), |bytes| bytes[HEADER_BYTES as usize + at] ^= 0x10).unwrap();
        let (found, error) = replay(&bad, 1);
        assert!(error.is_none());
        assert_eq!(found, all[..at / 46]);
    }
}

#[test]
fn a_flipped_byte_in_a_sealed_segment_is_reported_as_damage() {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    let all: Vec<_> = (1..=60).map(|n| payload(n, 100)).collect();
    for record in &all {
        log.append(record).unwrap();
    }
    log.flush(Lsn(60)).unwrap();
    for at in [HEADER_BYTES as usize, HEADER_BYTES as usize + 700] {
        let bad = disk.copy();
        bad.tamper(&path_of(2), |bytes| bytes[at] ^= 1).unwrap();
        let (found, error) = replay(&bad, 1);
        assert!(matches!(error, Some(LogError::Damaged(_))), "byte {at}: {error:?}");
        assert_eq!(found, all[..found.len()]);
    }
}

#[test]
fn a_newer_format_is_refused() {
    let disk = CrashDisk::new();
    drop(open(&disk, 1).unwrap());
    disk.tamper(&path_of(1), |bytes| {
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
    })
    .unwrap();
    assert!(matches!(open(&disk, 1), Err(LogError::TooNew { found: 2, .. })));
}

#[test]
fn records_of_a_void_history_never_come_back() {
    let mut disk = CrashDisk::new();
    let mut history: Vec<Vec<u8>> = Vec::new();
    for round in 0..40u64 {
        let log = open(&disk, history.len() as u64 + 1).unwrap();
        for n in 0..9 {
            // The same lengths in every round: stale records line up with new ones.
            history.push(payload(round * 1000 + n, 90));
            log.append(history.last().unwrap()).unwrap();
        }
        log.flush(log.last()).unwrap();
        log.truncate_before(Lsn(history.len().saturating_sub(30) as u64)).unwrap();
        disk = disk.power_cut(xorshift(round));
        let from = history.len().saturating_sub(20).max(1) as u64;
        let (found, error) = replay(&disk, from);
        assert!(error.is_none(), "round {round}: {error:?}");
        let kept = from as usize - 1 + found.len();
        assert_eq!(found, history[from as usize - 1..kept], "round {round}");
        history.truncate(kept);
    }
}

#[test]
fn durable_records_that_were_made_void_never_come_back() {
    let disk = CrashDisk::new();
    for round in 0..8 {
        let log = open(&disk, 1).unwrap();
        let all: Vec<_> = (0..8 - round).map(|n| payload(round * 100 + n, 90)).collect();
        for record in &all {
            log.append(record).unwrap();
        }
        log.sync(log.last()).unwrap();
        let (found, error) = replay(&disk, 1);
        assert!(error.is_none() && found == all, "round {round}: {} records", found.len());
    }
}

#[test]
fn truncation_keeps_every_record_from_its_bound_on() {
    let disk = CrashDisk::new();
    let options = LogOptions { spare_max: 0, ..SMALL };
    let log = Log::scan(&env(&disk), Path::new(DIR), options).unwrap().start(Lsn(1)).unwrap();
    for n in 1..=100 {
        log.append(&payload(n, 100)).unwrap();
    }
    log.flush(Lsn(100)).unwrap();
    let before = log.size_bytes();
    for bound in 1..=100 {
        log.truncate_before(Lsn(bound)).unwrap();
        let (found, error) = replay(&disk, bound);
        assert!(error.is_none() && found.len() as u64 == 101 - bound, "{bound}: {error:?}");
    }
    assert!(log.size_bytes() < before / 3);
}

#[test]
fn truncation_uses_segments_again_and_keeps_the_log_small() {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    for n in 1..=500 {
        let lsn = log.append(&payload(n, 200)).unwrap();
        log.flush(lsn).unwrap();
        log.truncate_before(Lsn(n.saturating_sub(5))).unwrap();
        assert!(log.size_bytes() <= 5 * SMALL.segment_bytes);
    }
    let (found, error) = replay(&disk, 496);
    assert!(error.is_none() && found.len() == 5);
}

/// Appends with a sync now and then until the disk is off; gives how many were taken and synced.
fn run_until_off(disk: &CrashDisk) -> (u64, u64) {
    let Ok(log) = open(disk, 1) else { return (0, 0) };
    let (mut taken, mut synced) = (0, 0);
    for n in 1..=60u64 {
        let Ok(lsn) = log.append(&payload(n, (n * 37 % 150) as usize)) else { break };
        assert_eq!(lsn, Lsn(n));
        taken = n;
        if n % 3 == 0 && log.flush(lsn).is_err() {
            break;
        }
        if n % 7 == 0 {
            if log.sync(lsn).is_err() {
                break;
            }
            synced = n;
        }
    }
    (taken, synced)
}

#[test]
fn after_a_power_cut_at_any_change_a_prefix_no_older_than_the_last_sync_is_left() {
    let calm = CrashDisk::new();
    run_until_off(&calm);
    for at in 0..=calm.change_count() {
        for seed in 0..6 {
            let disk = CrashDisk::new();
            disk.fail_after(at, Fault::Off);
            let (taken, synced) = run_until_off(&disk);
            let (found, error) = replay(&disk.power_cut(xorshift(seed)), 1);
            assert!(error.is_none(), "change {at}, seed {seed}: {error:?}");
            let count = found.len() as u64;
            assert!((synced..=taken).contains(&count), "change {at}, seed {seed}: {synced} <= {count} <= {taken}");
            for (n, record) in (1..).zip(&found) {
                assert_eq!(record, &payload(n, (n * 37 % 150) as usize));
            }
        }
    }
}

#[test]
fn a_failed_write_or_sync_poisons_and_never_pretends() {
    let calm = CrashDisk::new();
    run_until_off(&calm);
    for at in 5..calm.change_count() {
        let disk = CrashDisk::new();
        disk.fail_after(at, Fault::Error(ErrorKind::Other));
        let (_, synced) = run_until_off(&disk);
        let (found, error) = replay(&disk.power_cut(|| false), 1);
        assert!(error.is_none() && found.len() as u64 >= synced, "change {at}");
    }
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    let lsn = log.append(b"one").unwrap();
    log.flush(lsn).unwrap();
    disk.fail_after(0, Fault::Error(ErrorKind::Other));
    assert!(matches!(log.sync(lsn), Err(LogError::Poisoned(_))));
    assert!(matches!(log.append(b"two"), Err(LogError::Poisoned(_))));
    assert!(matches!(log.sync(lsn), Err(LogError::Poisoned(_))), "a second try must not succeed");
}

#[test]
fn one_sync_serves_many() {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    let before = disk.sync_count();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let log = &log;
            scope.spawn(move || {
                for n in 0..50 {
                    let lsn = log.append(&payload(thread * 100 + n, 10)).unwrap();
                    log.sync(lsn).unwrap();
                    assert!(log.synced() >= lsn);
                }
            });
        }
    });
    let lsns: Vec<_> = (0..100).map(|n| log.append(&payload(n, 3)).unwrap()).collect();
    let middle = disk.sync_count();
    lsns.iter().rev().for_each(|&lsn| log.sync(lsn).unwrap());
    assert_eq!(disk.sync_count(), middle + 1);
    assert!(disk.sync_count() - before <= 440, "each sync covers all that waited, rotations apart");
    assert_eq!(replay(&disk.power_cut(|| false), 1).0.len(), 500);
}

#[test]
fn the_real_disk_holds_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::real();
    let scan = Log::scan(&env, dir.path(), SMALL).unwrap();
    let log = scan.start(Lsn(7)).unwrap();
    let lsn = log.append(b"record").unwrap();
    log.sync(lsn).unwrap();
    let file = env.disk.open(&dir.path().join("00000001.log"), OpenMode::Existing).unwrap();
    assert_eq!(file.len_bytes().unwrap(), SMALL.segment_bytes);
    let scan = Log::scan(&env, dir.path(), SMALL).unwrap();
    let found: Vec<_> = scan.replay(Lsn(7)).map(Result::unwrap).collect();
    assert_eq!(found, [(Lsn(7), b"record".to_vec())]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_garbage_after_any_records_leaves_them_whole(
        lens in proptest::collection::vec(1usize..300, 1..40),
        garbage in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let disk = CrashDisk::new();
        let log = open(&disk, 1).unwrap();
        let all: Vec<_> = (1..).zip(&lens).map(|(n, &len)| payload(n, len)).collect();
        for record in &all {
            log.append(record).unwrap();
        }
        log.flush(log.last()).unwrap();
        let (found, error) = replay(&disk, 1);
        prop_assert!(error.is_none());
        prop_assert_eq!(&found, &all);
        let newest = (1..=9u32).map(path_of).rfind(|path| disk.tamper(path, |_| ()).is_ok()).unwrap();
        let mut used = 0;
        disk.tamper(&newest, |bytes| {
            used = bytes.iter().rposition(|&byte| byte != 0).unwrap_or(0) + 1;
            let room = bytes.len() - used;
            let count = garbage.len().min(room);
            bytes[used..used + count].copy_from_slice(&garbage[..count]);
        }).unwrap();
        let (found, error) = replay(&disk, 1);
        prop_assert!(error.is_none());
        prop_assert_eq!(found, all);
    }
}

#[test]
fn a_record_longer_than_a_segment_gets_one_of_its_own_and_leaves_none_behind() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::real();
    let log = Log::scan(&env, dir.path(), SMALL).unwrap().start(Lsn(1)).unwrap();
    let long = vec![7; 3 * SMALL.segment_bytes as usize];
    log.append(b"before").unwrap();
    log.append(&long).unwrap();
    let last = log.append(b"after").unwrap();
    log.sync(last).unwrap();
    let scan = Log::scan(&env, dir.path(), SMALL).unwrap();
    let records: Vec<Vec<u8>> = scan.replay(Lsn(1)).map(|record| record.unwrap().1).collect();
    assert!(records == [b"before".to_vec(), long, b"after".to_vec()]);
    for _ in 0..5 {
        let last = log.append(&[1; 2000]).unwrap();
        log.sync(last).unwrap();
    }
    log.truncate_before(log.last()).unwrap();
    assert!(log.size_bytes() <= 3 * SMALL.segment_bytes, "{}", log.size_bytes());
}

#[test]
fn a_log_of_a_larger_budget_shrinks() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::real();
    let large = LogOptions { segment_bytes: 1 << 20, spare_max: 2 };
    let log = Log::scan(&env, dir.path(), large).unwrap().start(Lsn(1)).unwrap();
    let last = log.append(b"kept until it is truncated").unwrap();
    log.sync(last).unwrap();
    let log = Log::scan(&env, dir.path(), SMALL).unwrap().start(last.next()).unwrap();
    log.truncate_before(last.next()).unwrap();
    assert_eq!(log.size_bytes(), SMALL.segment_bytes);
}
