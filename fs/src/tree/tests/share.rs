//! Copies that move no data, as the server is told of them.

use super::fixture::*;
use tarn_proto::ids::NodeId;
use tarn_proto::op::OpKind;
use tarn_proto::version::VersionVector;

const N: NodeId = NodeId([11; 16]);
const M: NodeId = NodeId([12; 16]);
const LEN: u64 = 100_000;

fn bytes() -> Vec<u8> {
    (0..LEN).map(|i| (i % 251) as u8).collect()
}

fn seen(counter: u64) -> VersionVector {
    VersionVector::default().with(OTHER, counter)
}

/// A device that knows `source`, of which nothing is here.
fn device() -> Device {
    let mut device = Device::new();
    device.pull(vec![node_row(N, remote_file(&bytes(), seen(1), OTHER)), entry_row(root(), "source", Some(N))]);
    device
}

/// Brings what is not here of a file.
fn bring(device: &Device, path: &str) {
    let content = device.tree.content(device.at(path)).unwrap();
    let version = content.base().unwrap().content.version;
    content.fill(version, 0, &bytes()).unwrap();
}

#[test]
fn a_copy_of_what_is_not_here_is_made_and_sent_with_the_sources_chunks() {
    let device = device();
    let copy = device.file(TOP, "copy").ino;
    assert_eq!(device.tree.share(device.at("/source"), copy, 0..u64::MAX).unwrap(), Some(LEN));
    assert_eq!(device.lookup(TOP, "copy").unwrap().size_bytes, LEN);
    assert_eq!(device.tree.content(device.at("/source")).unwrap().present_bytes(), 0);

    let mut device = device.kill();
    assert_eq!(device.lookup(TOP, "copy").unwrap().size_bytes, LEN);
    bring(&device, "/copy");
    let [op] = device.push().try_into().unwrap();
    let OpKind::Create { content: Some(sent), .. } = op.kind else { panic!("{op:?}") };
    assert_eq!((sent.content_id, sent.size), (content(&bytes()).content_id, LEN));
    let shown = device.tree.content(device.at("/copy")).unwrap();
    assert!(!shown.is_dirty() && !shown.base().unwrap().is_borrowed());
    assert_eq!(device.read(device.at("/copy")), bytes());
    assert_eq!(device.tree.queue_totals().operations, 0);
}

#[test]
fn a_copy_onto_a_file_replaces_the_version_that_was_seen() {
    let mut device = device();
    device.pull(vec![node_row(M, remote_file(b"old", seen(2), OTHER)), entry_row(root(), "copy", Some(M))]);
    let copy = device.at("/copy");
    device.tree.truncate(copy, 0).unwrap();
    assert_eq!(device.tree.share(device.at("/source"), copy, 0..u64::MAX).unwrap(), Some(LEN));
    device.pull(vec![node_row(M, remote_file(b"newer", seen(3), OTHER))]);
    let mut device = device.kill();
    bring(&device, "/copy");
    let [op] = device.push().try_into().unwrap();
    let OpKind::Write { node, base, content: sent, .. } = op.kind else { panic!("{op:?}") };
    assert_eq!((node, base, sent.content_id), (M, seen(2), content(&bytes()).content_id));
    assert!(!device.tree.content(device.at("/copy")).unwrap().is_dirty());
}

#[test]
fn a_copy_that_is_removed_or_written_to_before_it_is_sent_is_like_any_file() {
    let mut device = device();
    for name in ["removed", "written"] {
        let ino = device.file(TOP, name).ino;
        device.tree.share(device.at("/source"), ino, 0..u64::MAX).unwrap().unwrap();
    }
    device.tree.unlink(TOP, &name("removed")).unwrap();
    bring(&device, "/written");
    device.write(device.at("/written"), 0, b"mine");
    let mut expected = bytes();
    expected[..4].copy_from_slice(b"mine");
    let [op] = device.push().try_into().unwrap();
    let OpKind::Create { content: Some(sent), .. } = op.kind else { panic!("{op:?}") };
    assert_eq!(sent.content_id, content(&expected).content_id);
}

#[test]
fn what_cannot_be_shared_is_left_to_be_copied() {
    let device = device();
    let source = device.at("/source");
    let written = device.written(TOP, "written", b"text");
    assert_eq!(device.tree.share(source, written, 0..u64::MAX).unwrap(), None);
    assert_eq!(device.tree.share(written, device.file(TOP, "other").ino, 0..u64::MAX).unwrap(), None);
    assert_eq!(device.tree.share(source, device.file(TOP, "behind").ino, LEN..u64::MAX).unwrap(), None);
    bring(&device, "/source");
    assert_eq!(device.tree.share(source, device.file(TOP, "here").ino, 0..u64::MAX).unwrap(), None);
    assert_eq!(device.read(written), b"text");
}
