//! Claims about reading the log back while it is open.

use super::*;

#[test]
fn what_is_read_back_ends_where_a_record_was_changed() {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    assert_eq!(log.read_back(Lsn(1)).unwrap(), Lsn(0));
    (1..=5).for_each(|number| assert_eq!(log.append(&payload(number, 100)).unwrap(), Lsn(number)));
    assert_eq!(log.read_back(Lsn(1)).unwrap(), Lsn(5));
    let file = Env { disk: Arc::new(disk.clone()), ..Env::real() }.disk.open(&path_of(1), OpenMode::Existing).unwrap();
    // In the payload of the third record.
    file.write_at(b"\0", HEADER_BYTES + 2 * 116 + 50).unwrap();
    assert_eq!(log.read_back(Lsn(1)).unwrap(), Lsn(2));
    assert_eq!(log.read_back(Lsn(5)).unwrap(), Lsn(2), "what follows the damage in its segment is hidden");
}

#[test]
fn segments_of_an_earlier_life_are_not_read_back() {
    let disk = CrashDisk::new();
    let log = open(&disk, 1).unwrap();
    (1..=60).for_each(|number| assert_eq!(log.append(&payload(number, 100)).unwrap(), Lsn(number)));
    log.flush(Lsn(60)).unwrap();
    log.truncate_before(Lsn(40)).unwrap();
    drop(log);
    let log = open(&disk, 61).unwrap();
    (61..=65).for_each(|number| assert_eq!(log.append(&payload(number, 100)).unwrap(), Lsn(number)));
    assert_eq!(log.read_back(Lsn(61)).unwrap(), Lsn(65));
}
