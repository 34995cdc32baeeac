//! Claims about a log that was damaged while no journal had it open.

use super::model::*;
use crate::env::{CrashDisk, OpenMode};
use crate::journal::*;
use crate::log::{LogError, Lsn};
use crate::meta::rows::*;
use std::path::{Path, PathBuf};

const COUNT: u64 = 10;

fn tickets(journal: &Journal) -> Vec<u64> {
    let queue = journal.readers().get().unwrap().queue_all().unwrap();
    queue.into_iter().map(|(ticket, _)| ticket.0).collect()
}

/// A journal of so many tickets, each synced, those up to `applied` in the database; killed.
fn killed(applied: u64) -> CrashDisk {
    let disk = CrashDisk::new();
    let opened = open(&disk, &MemSink::default(), Materialise::Manual).unwrap();
    for ticket in 1..=COUNT {
        let rows = vec![RowChange::Queue(Ticket(ticket), Some(Box::new(queued())))];
        let lsn = opened.journal.commit(rows, Vec::new()).unwrap();
        opened.journal.sync(lsn).unwrap();
        if ticket == applied {
            opened.journal.materialise_now().unwrap();
        }
    }
    disk
}

/// Changes a byte in the middle of record `lsn`, all of which are equally long.
fn damage(disk: &CrashDisk, lsn: u64) {
    let path = dir().join(LOG_DIR).join("00000001.log");
    disk.tamper(&path, |bytes| {
        let len = u32::from_le_bytes(bytes[4096..4100].try_into().unwrap()) as usize + 16;
        bytes[4096 + (lsn as usize - 1) * len + len / 2] ^= 1;
    })
    .unwrap();
}

fn files_in(disk: &CrashDisk, dir: &Path) -> usize {
    env(disk).disk.read_dir(dir).unwrap().len()
}

/// Opens it; what `keep` was told: the first missing record, and those behind.
fn opened(disk: &CrashDisk) -> (Journal, Recovered, Option<(Lsn, Vec<Lsn>)>) {
    let prepared = Journal::prepare(&env(disk), dir(), options(Materialise::Manual)).unwrap();
    let mut told = None;
    let keep = |lost: &Lost<'_>| {
        told = Some((lost.damage.expected, lost.behind.iter().map(|(lsn, _)| *lsn).collect()));
        Ok(dir().join("aside"))
    };
    let (journal, recovered) = prepared.recover_keeping(Box::new(NoContents), keep).unwrap();
    (journal, recovered, told)
}

#[test]
fn all_before_a_damage_is_there_what_is_behind_is_kept_and_a_new_log_begins() {
    let disk = killed(2);
    damage(&disk, 6);
    let aside: PathBuf = dir().join("aside");
    let (journal, recovered, told) = opened(&disk);
    assert_eq!((recovered.applied, recovered.aside.as_deref()), (Lsn(5), Some(aside.as_path())));
    assert_eq!(told, Some((Lsn(6), (7..=COUNT).map(Lsn).collect())));
    assert_eq!(tickets(&journal), [1, 2, 3, 4, 5]);
    assert_eq!(files_in(&disk, &aside.join(LOG_DIR)), 1);
    let lsn = journal.commit(vec![RowChange::Queue(Ticket(50), Some(Box::new(queued())))], Vec::new()).unwrap();
    journal.sync(lsn).unwrap();
    std::mem::forget(journal);
    let (journal, recovered, told) = opened(&disk.power_cut(|| false));
    assert_eq!((recovered.aside, told, tickets(&journal)), (None, None, vec![1, 2, 3, 4, 5, 50]));
}

#[test]
fn without_a_place_for_it_a_damaged_log_is_refused_and_stays() {
    let disk = killed(0);
    damage(&disk, 6);
    for _ in 0..2 {
        let refused = open(&disk, &MemSink::default(), Materialise::Manual).map(drop).unwrap_err();
        assert!(matches!(refused, JournalError::Log(LogError::Damaged(_))), "{refused}");
    }
    assert_eq!(opened(&disk).2.unwrap().1.len(), 4);
}

#[test]
fn a_damage_in_what_the_database_has_is_none() {
    for lsn in 1..=4 {
        let disk = killed(4);
        damage(&disk, lsn);
        let (journal, recovered, told) = opened(&disk);
        assert_eq!((recovered.aside, told), (None, None));
        assert_eq!(tickets(&journal), (1..=COUNT).collect::<Vec<_>>());
    }
}

#[test]
fn the_last_record_is_missed_too() {
    let disk = killed(4);
    damage(&disk, COUNT);
    let (journal, _, told) = opened(&disk);
    assert_eq!(told, Some((Lsn(COUNT), Vec::new())));
    assert_eq!(tickets(&journal).len() as u64, COUNT - 1);
    assert!(env(&disk).disk.open(&dir().join("aside/log/00000001.log"), OpenMode::Existing).is_ok());
}
