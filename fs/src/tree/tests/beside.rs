//! What queued operations say of a node that got another name than the one they know. Seeds of the simulation found these.

use super::fixture::*;
use crate::meta::rows::Ticket;
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::Change;
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
