//! Claims about bytes that change on the disk while nobody has the log open: what was durable is there, or named as missing.

use super::*;

const COUNT: u64 = 60;

fn record(number: u64) -> Vec<u8> {
    payload(number, 20 + number as usize * 37 % 110)
}

/// A log of three segments, every record synced; its records.
fn synced() -> (CrashDisk, Vec<Vec<u8>>) {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    let all: Vec<_> = (1..=COUNT).map(record).collect();
    for record in &all {
        let lsn = log.append(record).unwrap();
        log.sync(lsn).unwrap();
    }
    (disk, all)
}

fn flipped(disk: &CrashDisk, file: u32, at: usize) -> CrashDisk {
    let bad = disk.copy();
    bad.tamper(&path_of(file), |bytes| bytes[at] ^= 0x10).unwrap();
    bad
}

fn len_of(disk: &CrashDisk, file: u32) -> usize {
    let mut len = 0;
    disk.tamper(&path_of(file), |bytes| len = bytes.len()).unwrap();
    len
}

fn scan(disk: &CrashDisk) -> crate::log::LogScan {
    Log::scan(&env(disk), Path::new(DIR), SMALL).unwrap()
}

#[test]
fn after_any_flipped_byte_all_that_was_synced_is_there_or_named_as_missing() {
    let (disk, all) = synced();
    let (mut whole, mut named) = (0, 0);
    for file in 1..=3 {
        for at in 0..len_of(&disk, file) {
            let (found, error) = replay(&flipped(&disk, file, at), 1);
            match error {
                None => assert_eq!(found, all, "byte {at} of file {file}"),
                Some(LogError::Damaged(damage)) => {
                    assert_eq!(found, all[..found.len()]);
                    assert_eq!(damage.expected, Lsn(found.len() as u64 + 1), "byte {at} of file {file}");
                }
                Some(error) => panic!("byte {at} of file {file}: {error}"),
            }
            if found.len() == all.len() { whole += 1 } else { named += 1 }
        }
    }
    assert!(whole > 0 && named > 0, "{whole} {named}");
}

#[test]
fn after_any_flipped_byte_in_what_is_not_needed_any_more_the_rest_is_there() {
    let (disk, all) = synced();
    for file in 1..=3 {
        for at in (HEADER_BYTES as usize..len_of(&disk, file)).step_by(3) {
            let bad = flipped(&disk, file, at);
            let missing = replay(&bad, 1).0.len() as u64 + 1;
            if missing <= COUNT {
                let (found, error) = replay(&bad, missing + 1);
                assert!(error.is_none() && found == all[missing as usize..], "byte {at} of file {file}: {error:?}");
            }
        }
    }
}

#[test]
fn a_tail_torn_behind_the_last_sync_is_no_damage_and_one_before_it_is() {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    (1..=10).for_each(|number| assert_eq!(log.append(&record(number)).unwrap(), Lsn(number)));
    log.sync(Lsn(10)).unwrap();
    (11..=15).for_each(|number| assert_eq!(log.append(&record(number)).unwrap(), Lsn(number)));
    log.flush(Lsn(15)).unwrap();
    let end_of = |last| HEADER_BYTES as usize + (1..=last).map(|number| 16 + record(number).len()).sum::<usize>();
    for cut in HEADER_BYTES as usize..end_of(15) {
        for fill in [0u8, 0xff] {
            let torn = disk.copy();
            torn.tamper(&path_of(1), |bytes| bytes[cut..].fill(fill)).unwrap();
            let (found, error) = replay(&torn, 1);
            assert_eq!(error.is_some(), cut < end_of(10), "cut at {cut}: {error:?}");
            assert!(found.len() >= (1..=15).take_while(|&number| end_of(number) <= cut).count());
        }
    }
}

#[test]
fn the_sound_records_behind_a_damage_are_found_and_all_files_can_be_kept() {
    let (disk, all) = synced();
    // In the payload of the third record, and in one of the second segment.
    let bad = flipped(&disk, 1, HEADER_BYTES as usize + 2 * 16 + record(1).len() + record(2).len() + 20);
    let bad = flipped(&bad, 2, HEADER_BYTES as usize + 20);
    let mut scan = scan(&bad);
    let Some(Err(LogError::Damaged(damage))) = scan.replay(Lsn(1)).last() else { panic!("it is not damaged") };
    assert_eq!((damage.expected, damage.until), (Lsn(3), Some(Lsn(4))));
    let behind = scan.behind(&damage).unwrap();
    assert_eq!(behind.len(), all.len() - 4);
    for (lsn, record) in behind {
        assert_eq!(record, all[lsn.0 as usize - 1]);
    }
    let names = env(&bad).disk.read_dir(Path::new(DIR)).unwrap().len();
    scan.set_aside(Path::new("/aside")).unwrap();
    assert_eq!(env(&bad).disk.read_dir(Path::new("/aside")).unwrap().len(), names);
    let log = scan.start(Lsn(3)).unwrap();
    let lsn = log.append(b"new").unwrap();
    log.sync(lsn).unwrap();
    let (found, error) = replay(&bad.power_cut(|| false), 3);
    assert!(error.is_none() && found == [b"new".to_vec()], "{error:?}");
}

#[test]
fn what_a_crash_leaves_of_setting_a_log_aside_is_damaged_still() {
    let (disk, _) = synced();
    let at = HEADER_BYTES as usize + 20;
    for steps in 0..3 {
        let bad = flipped(&disk, 1, at);
        bad.fail_after(steps, Fault::Off);
        assert!(scan(&bad).set_aside(Path::new("/aside")).is_err());
        let (found, error) = replay(&bad.power_cut(|| true), 1);
        assert!(found.is_empty() && matches!(error, Some(LogError::Damaged(_))), "{steps}: {error:?}");
    }
}

#[test]
fn a_mark_of_an_earlier_use_of_the_file_says_nothing() {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    for number in 1..=200 {
        let lsn = log.append(&record(number)).unwrap();
        log.sync(lsn).unwrap();
        log.truncate_before(lsn).unwrap();
    }
    drop(log);
    // The files are used again, and nothing is synced.
    let log = open(&disk, 100).unwrap();
    (100..110).for_each(|number| assert_eq!(log.append(&record(number)).unwrap(), Lsn(number)));
    log.flush(Lsn(109)).unwrap();
    let (found, error) = replay(&disk.power_cut(|| false), 100);
    assert!(error.is_none() && found.is_empty(), "{error:?}");
}
