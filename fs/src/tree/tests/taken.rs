//! What is written to a file that others took away meanwhile, through a handle that was opened before.

use super::fixture::*;
use crate::meta::rows::{Ino, Ticket};
use crate::tree::TreeError;
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::op::{OpKind, Operation};

const N: NodeId = NodeId([11; 16]);
const D: NodeId = NodeId([12; 16]);

/// A device that has others' file `f` open to write.
fn opened() -> (Device, Ino) {
    let mut device = Device::new();
    device.pull(vec![node_row(N, theirs(b"theirs", 1)), entry_row(root(), "f", Some(N))]);
    let ino = device.at("/f");
    device.tree.refer(ino).unwrap();
    device.tree.opened(ino, true).unwrap();
    (device, ino)
}

fn removal() -> Vec<Row> {
    vec![entry_row(root(), "f", None), gone(N)]
}

/// What goes to the server as a new file, with its name.
#[track_caller]
fn created(device: &Device) -> (String, Vec<u8>) {
    let frozen = device.freeze();
    let creations = frozen.iter().filter_map(|(_, operation)| match &operation.kind {
        OpKind::Create { place, content: Some(content), .. } => Some((place.name.to_string(), content.size)),
        _ => None,
    });
    let creations: Vec<(String, u64)> = creations.collect();
    let [(name, size)] = &creations[..] else { panic!("{frozen:?}") };
    let shown = device.tree.lookup(TOP, &super::fixture::name(name)).unwrap();
    assert_eq!(shown.size_bytes, *size);
    (name.clone(), device.read(shown.ino))
}

#[test]
fn it_comes_back_under_its_name_if_that_is_free() {
    let (mut device, ino) = opened();
    device.pull(removal());
    assert!(device.list(TOP).is_empty());
    device.write(ino, 0, b"mine, after all");
    assert_eq!(device.list(TOP), ["f"]);
    assert_eq!(device.at("/f"), ino);
    device.tree.closed(ino, true).unwrap();
    assert_eq!(created(&device), ("f".to_owned(), b"mine, after all".to_vec()));
}

#[test]
fn it_is_whole_for_who_has_it_open_wherever_the_daemon_was_killed() {
    for missing in 0.. {
        let mut device = Device::new();
        device.pull(vec![node_row(N, theirs(b"theirs", 1)), entry_row(root(), "f", Some(N))]);
        let mut device = device.lagging();
        let ino = device.at("/f");
        device.tree.refer(ino).unwrap();
        device.tree.opened(ino, true).unwrap();
        device.write(ino, 0, b"mine, ");
        device.tree.closed(ino, true).unwrap();
        device.push();
        device.tree.opened(ino, true).unwrap();
        let before = device.journal.last().0;
        device.pull(removal());
        let records = device.journal.last().0 - before;
        if missing > records {
            assert!(records > 1);
            return;
        }
        let mut device = device.taken_over_without(missing);
        if missing == records {
            device.seq -= 1;
            device.pull(removal());
        }
        assert_eq!(device.list(TOP), [""; 0]);
        device.write(ino, 6, b"after all");
        assert_eq!(created(&device), ("f".to_owned(), b"mine, after all".to_vec()), "{missing} of {records}");
    }
}

#[test]
fn it_stands_beside_the_version_that_replaced_its_own() {
    let (mut device, ino) = opened();
    device.write(ino, 0, b"seen!!");
    device.tree.closed(ino, true).unwrap();
    device.push();
    device.tree.opened(ino, true).unwrap();
    device.pull(vec![node_row(N, theirs(b"their next", 7))]);
    device.tree.truncate(ino, 0).unwrap();
    device.write(ino, 0, b"saved unseen");
    device.tree.closed(ino, true).unwrap();
    let (name, bytes) = created(&device);
    assert_eq!(bytes, b"saved unseen");
    assert!(name.starts_with("f (conflict from "), "{name}");
    assert_eq!(device.list(TOP), ["f".to_owned(), name]);
    assert_eq!(device.tree.lookup(TOP, &super::fixture::name("f")).unwrap().size_bytes, 10);
}

#[test]
fn it_is_rescued_if_its_folder_went_as_well() {
    let mut device = Device::new();
    let file = [node_row(N, theirs(b"theirs", 1)), entry_row(D, "f", Some(N))];
    device.pull([&[node_row(D, folder()), entry_row(root(), "d", Some(D))], &file[..]].concat());
    let ino = device.at("/d/f");
    device.tree.opened(ino, true).unwrap();
    device.pull(vec![entry_row(D, "f", None), gone(N), entry_row(root(), "d", None), gone(D)]);
    device.write(ino, 0, b"mine");
    let [top] = &device.list(TOP)[..] else { panic!("{:?}", device.list(TOP)) };
    let [day] = &device.list(device.at(&format!("/{top}")))[..] else { panic!() };
    assert_eq!(device.at(&format!("/{top}/{day}/f")), ino);
}

#[test]
fn who_reads_only_or_writes_nothing_brings_nothing_back() {
    let (mut device, ino) = opened();
    device.pull(removal());
    device.tree.stat(ino).unwrap();
    device.tree.fsync(ino).unwrap();
    device.tree.closed(ino, true).unwrap();
    assert!(device.list(TOP).is_empty() && device.freeze().is_empty());
}

#[test]
fn what_a_person_removed_here_goes_with_its_last_handle() {
    let (mut device, ino) = opened();
    device.tree.unlink(TOP, &super::fixture::name("f")).unwrap();
    device.push();
    device.pull(removal());
    device.write(ino, 0, b"nobody's");
    assert!(device.list(TOP).is_empty() && device.freeze().is_empty());
    assert_eq!(device.read(ino), b"nobody's");
    device.tree.closed(ino, true).unwrap();
}

#[test]
fn what_was_taken_and_given_back_and_removed_here_does_not_come_back() {
    let (mut device, ino) = opened();
    device.pull(vec![entry_row(root(), "f", None), entry_row(root(), "g", Some(N))]);
    assert_eq!(device.at("/g"), ino);
    device.tree.unlink(TOP, &super::fixture::name("g")).unwrap();
    device.push();
    device.pull(vec![entry_row(root(), "g", None), gone(N)]);
    device.write(ino, 0, b"nobody's");
    assert!(device.list(TOP).is_empty() && device.freeze().is_empty());
}

#[test]
fn the_next_daemon_knows_of_it_as_well() {
    let (mut device, ino) = opened();
    device.pull(removal());
    let device = device.taken_over();
    device.tree.opened(ino, true).unwrap();
    device.write(ino, 0, b"mine, after all");
    device.tree.closed(ino, true).unwrap();
    assert_eq!(created(&device), ("f".to_owned(), b"mine, after all".to_vec()));
}

#[test]
fn a_full_pull_takes_it_away_like_any_other_news() {
    let (mut device, ino) = opened();
    // The server knows of nothing.
    device.pull_all();
    assert!(matches!(device.lookup(TOP, "f"), Err(TreeError::NotFound)));
    device.write(ino, 0, b"mine, after all");
    device.tree.closed(ino, true).unwrap();
    assert_eq!(created(&device), ("f".to_owned(), b"mine, after all".to_vec()));
}

/// The answer to a removal, when the file went with that.
fn removed(device: &mut Device, removal: (Ticket, Operation), place: &str) {
    device.seq += 1;
    let rows = [entry_row(root(), place, None), gone(N)];
    let changes = rows.into_iter().map(|row| Change { seq: device.seq, row }).collect();
    let answer = Answer { counter: removal.1.counter, outcome: Outcome::Applied, changes };
    device.tree.settle(&[(removal.0, answer)], cursor(device.seq - 1), cursor(device.seq)).unwrap();
}

/// Seed 830800 of the simulation: the file had two names, of which a person here took one and others the other.
#[test]
fn it_comes_back_by_the_name_that_others_took_once_the_removal_of_its_other_one_is_answered() {
    let (mut device, ino) = opened();
    device.pull(vec![entry_row(root(), "g", Some(N))]);
    device.tree.unlink(TOP, &super::fixture::name("g")).unwrap();
    let removal = device.freeze().remove(0);
    device.pull(vec![entry_row(root(), "f", None)]);
    device.write(ino, 0, b"mine, after all");
    device.tree.closed(ino, true).unwrap();
    device.tree.forget(ino, 1);
    assert!(device.list(TOP).is_empty() && device.freeze().len() == 1);
    removed(&mut device, removal, "g");
    assert_eq!(device.list(TOP), ["f"]);
    assert_eq!(created(&device), ("f".to_owned(), b"mine, after all".to_vec()));
}

#[test]
fn what_a_person_removed_here_stays_removed_though_a_full_pull_finds_it_gone() {
    let (mut device, ino) = opened();
    device.write(ino, 0, b"nobody's");
    device.tree.closed(ino, true).unwrap();
    device.tree.unlink(TOP, &super::fixture::name("f")).unwrap();
    let removal = device.freeze().remove(0);
    device.pull_all();
    removed(&mut device, removal, "f");
    assert!(device.list(TOP).is_empty() && device.freeze().is_empty());
}
