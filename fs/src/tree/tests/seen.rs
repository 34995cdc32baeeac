//! What removals and renames that wait to be sent say had been seen.

use super::fixture::*;
use super::remote::losing;
use crate::meta::rows::Ino;
use tarn_proto::ids::{DeviceId, NodeId};
use tarn_proto::op::OpKind;
use tarn_proto::version::VersionVector;

const G: NodeId = NodeId([31; 16]);

/// Others have put `g` beside a file; a person here renames it over that.
fn renames_over(device: &mut Device, file: &str) {
    device.told(vec![node_row(G, theirs(b"g", 1)), entry_row(root(), "g", Some(G))]);
    device.renamed((TOP, "g"), (TOP, file));
}

/// What the queued rename says had been seen of the file that it displaces.
fn seen_of_displaced(device: &Device) -> VersionVector {
    let frozen = device.freeze();
    let OpKind::Rename { displaced: Some(seen), .. } = &frozen[0].1.kind else { panic!("{frozen:?}") };
    seen.vector.clone()
}

/// A device whose own `/f` is on the server, and that has written to it since.
fn writing() -> (Device, Ino) {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"old");
    device.push();
    device.write(ino, 0, b"mine");
    (device, ino)
}

/// Seed 821657 of the simulation.
#[test]
fn what_stayed_and_was_opened_was_not_seen_by_a_rename_that_was_queued_before() {
    let (mut device, ino, _, answer) = losing();
    let sent = answer.1.counter;
    renames_over(&mut device, "f");
    device.tree.settle(&[answer], cursor(device.seq - 2), cursor(device.seq)).unwrap();
    let stayed = device.tree.content(ino).unwrap();
    assert_eq!(stayed.base().unwrap().vector.get(OTHER), 9);
    let seen = seen_of_displaced(&device);
    assert_eq!((seen.get(ME), seen.get(OTHER)), (sent, 0));
}

#[test]
fn what_was_sent_before_the_device_got_a_new_id_was_seen_by_what_was_queued_behind_it() {
    let (mut device, _) = writing();
    let (ticket, sent) = device.freeze().remove(0);
    renames_over(&mut device, "f");
    let answer = device.apply(&sent);
    device.tree.settle(&[(ticket, answer)], cursor(device.seq - 2), cursor(device.seq)).unwrap();
    device.tree.device_rolled_back(DeviceId([9; 16])).unwrap();
    assert_eq!(seen_of_displaced(&device).get(ME), sent.counter);
}
