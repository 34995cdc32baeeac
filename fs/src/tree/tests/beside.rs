//! What queued operations say of a node that got another name than the one they know. Seeds of the simulation found these.

use super::fixture::*;
use crate::meta::rows::Ticket;
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::Change;
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::op::{OpKind, Operation, RenameMode};
use tarn_proto::version::VersionVector;

/// Answers an operation by bringing its node to its other name.
fn put_beside(device: &mut Device, (ticket, op): &(Ticket, Operation)) -> Name {
    let (OpKind::Create { node, .. } | OpKind::Rename { seen: tarn_proto::op::Seen { node, .. }, .. }) = &op.kind
    else {
        panic!("{op:?} brings nothing")
    };
    let beside = op.alt_name.clone().unwrap();
    let row = entry_row(root(), &beside.to_string(), Some(*node));
    let before = cursor(device.seq);
    device.seq += 1;
    let changes = vec![Change { seq: device.seq, row }];
    let answer = Answer { counter: op.counter, outcome: Outcome::Merged, changes };
    device.tree.settle(&[(*ticket, answer)], before, cursor(device.seq)).unwrap();
    beside
}

/// The other names that the last operation of those that lift something from its place knows of that.
fn known(ops: &[(Ticket, Operation)]) -> Vec<Option<Name>> {
    let names = |kind: &mut OpKind| kind.seen_mut().map(|seen| seen.alt_name.clone()).collect::<Vec<_>>();
    let mut all = ops.iter().rev().map(|(_, op)| names(&mut op.kind.clone()));
    all.find(|names| !names.is_empty()).unwrap()
}

#[test]
fn what_goes_out_together_says_which_other_name_the_first_brings() {
    let device = Device::new();
    device.folder(TOP, "d");
    device.renamed((TOP, "d"), (TOP, "e"));
    device.tree.rmdir(TOP, &name("e")).unwrap();
    let frozen = device.freeze();
    let [(_, create), (_, moved), _] = &frozen[..] else { panic!("{frozen:?}") };
    assert_eq!(known(&frozen[..2]), std::slice::from_ref(&create.alt_name));
    assert_eq!(known(&frozen), std::slice::from_ref(&moved.alt_name));
    assert!(create.alt_name.is_some() && create.alt_name != moved.alt_name);
}

#[test]
fn what_is_queued_learns_the_name_from_the_answer_and_keeps_it_over_a_restart() {
    for is_file in [false, true] {
        let mut device = Device::new();
        if is_file {
            device.written(TOP, "d", b"bytes");
        } else {
            device.folder(TOP, "d");
        }
        let sent = device.freeze();
        device.renamed((TOP, "d"), (TOP, "e"));
        let beside = put_beside(&mut device, &sent[0]);
        let device = device.restart();
        assert_eq!(known(&device.freeze()), [Some(beside)]);
    }
}

#[test]
fn what_is_displaced_is_known_by_its_other_name_too() {
    let mut device = Device::new();
    device.folder(TOP, "d");
    device.folder(TOP, "e");
    let sent = device.freeze();
    device.renamed((TOP, "e"), (TOP, "d"));
    let beside = put_beside(&mut device, &sent[0]);
    device.sent_one();
    assert_eq!(known(&device.freeze()), [None, Some(beside)]);
}

#[test]
fn another_name_that_the_server_asks_for_is_told_to_what_was_sent_with_it() {
    let device = Device::new();
    device.folder(TOP, "d");
    device.renamed((TOP, "d"), (TOP, "e"));
    let first = device.freeze();
    device.tree.refreeze_with_other_name(first[0].0).unwrap();
    let again = device.freeze();
    assert_ne!(first[0].1.alt_name, again[0].1.alt_name);
    assert_eq!(known(&again), std::slice::from_ref(&again[0].1.alt_name));
}

/// A round trip for each of a hundred names that were taken is what made a long queue drain at four operations a second.
#[test]
fn names_that_are_known_to_be_taken_are_not_tried() {
    let mut device = Device::new();
    device.written(TOP, "f.txt", b"mine");
    let (ticket, sent) = device.freeze().remove(0);
    let beside = sent.alt_name.unwrap().to_string();
    let (stem, end) = beside.split_once(").txt").unwrap();
    assert_eq!(end, "");
    let numbered = |number: usize| format!("{stem} {number}).txt");
    let taken = std::iter::once(beside.clone()).chain((2..=40).map(numbered));
    let rows = taken.zip(100_u8..).flat_map(|(taken, number)| {
        let node = NodeId([number; 16]);
        [node_row(node, theirs(b"lost", u64::from(number))), entry_row(root(), &taken, Some(node))]
    });
    device.pull(rows.collect());
    device.tree.refreeze_with_other_name(ticket).unwrap();
    let again = device.freeze().remove(0).1.alt_name.unwrap().to_string();
    assert_eq!(again, numbered(41));
}

#[test]
fn all_that_were_sent_for_one_place_get_another_name_each_at_once() {
    let mut device = Device::new();
    device.folder(TOP, "d");
    device.folder(TOP, "e");
    device.push();
    device.renamed((TOP, "d"), (TOP, "f"));
    device.renamed((TOP, "f"), (TOP, "d"));
    device.renamed((TOP, "e"), (TOP, "f"));
    let sent = device.freeze();
    let offered = |sent: &[(Ticket, Operation)]| -> Vec<String> {
        sent.iter().filter_map(|(_, op)| op.alt_name.as_ref().map(ToString::to_string)).collect()
    };
    let first = offered(&sent);
    assert_eq!((first.len(), &first[0]), (3, &first[2]));
    device.tree.refreeze_with_other_name(sent[0].0).unwrap();
    let stem = first[0].strip_suffix(')').unwrap();
    assert_eq!(offered(&device.freeze()), [format!("{stem} 2)"), first[1].clone(), format!("{stem} 3)")]);
}

#[test]
fn what_was_moved_by_others_meanwhile_is_known_by_no_other_name() {
    let mut device = Device::new();
    device.folder(TOP, "d");
    device.push();
    device.renamed((TOP, "d"), (TOP, "e"));
    assert_eq!(known(&device.freeze()), [None]);
}

#[test]
fn a_write_is_put_beside_the_name_by_which_it_is_sent() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"sent");
    device.push();
    device.written(TOP, "new", b"other");
    device.write(ino, 0, b"more");
    device.rename((TOP, "new"), (TOP, "f"), RenameMode::Exchange).unwrap();
    let sent = device.freeze().into_iter().find_map(|(_, op)| match op.kind {
        OpKind::Write { place, .. } => Some((place.name, op.alt_name.unwrap().to_string())),
        _ => None,
    });
    let (sent_as, beside) = sent.unwrap();
    assert_eq!(sent_as, name("new"));
    assert!(beside.starts_with("new (conflict from laptop "), "{beside}");
}

/// Seed 708736 of the simulation: before this machine became its older copy it had sent the file, and more of it.
#[test]
fn what_was_removed_before_it_was_sent_is_no_version_of_what_an_older_self_sent() {
    for is_saved_over in [true, false] {
        let mut device = Device::new();
        let ino = device.written(TOP, "notes.txt", b"older");
        let node = device.tree.edit(|session| Ok(session.inode(ino)?.node)).unwrap().unwrap();
        device.tree.opened(ino, false).unwrap();
        if is_saved_over {
            device.written(TOP, ".notes.txt.tmp", b"newest");
            device.renamed((TOP, ".notes.txt.tmp"), (TOP, "notes.txt"));
        } else {
            device.tree.unlink(TOP, &name("notes.txt")).unwrap();
        }
        let sent = remote_file(b"sent by the older self", VersionVector::default().with(OTHER, 8), OTHER);
        device.pull_known(vec![node_row(node, sent), entry_row(root(), "notes.txt", Some(node))]);
        if is_saved_over {
            let frozen = device.freeze();
            put_beside(&mut device, &frozen[0]);
        }
        let writes = |op: &Operation| matches!(op.kind, OpKind::Write { node: written, .. } if written == node);
        assert!(!device.push().iter().any(writes), "saved over: {is_saved_over}");
        assert_eq!(device.lookup(TOP, "notes.txt").unwrap().size_bytes, 22);
        assert_eq!(device.read(ino), b"older", "who has it open has that");
    }
}
