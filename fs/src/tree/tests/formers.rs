//! The bytes of a version that another replaced: kept to be copied from, and for nothing else.

use super::fixture::*;
use crate::content::{Copied, Filled, LocalContent};
use crate::meta::rows::Ino;
use std::sync::Arc;
use tarn_proto::chunk::{ContentKey, chunk_id};
use tarn_proto::ids::NodeId;
use tarn_proto::manifest::{LocatedChunk, ManifestEntry};
use tarn_proto::node::NodeState;
use tarn_proto::version::VersionVector;

const N: NodeId = NodeId([11; 16]);
const PART: usize = 100_000;

fn bytes(seed: u8) -> Vec<u8> {
    (0..PART).map(|at| (at % 251) as u8 ^ seed).collect()
}

/// A version made of these chunks.
fn made_of(seeds: &[u8], counter: u64) -> (NodeState, Vec<u8>) {
    let whole: Vec<u8> = seeds.iter().flat_map(|seed| bytes(*seed)).collect();
    let mut state = remote_file(&whole, VersionVector::default().with(OTHER, counter), OTHER);
    let entry = |seed: &u8| {
        let id = chunk_id(&ContentKey::Ordinary, &bytes(*seed));
        ManifestEntry { id, length: PART as u64, stored: PART as u64 }
    };
    if let Some(file) = &mut state.file {
        file.content.manifest.entries = seeds.iter().map(entry).collect();
    }
    (state, whole)
}

/// A device on which all of version 1 is here, and which hears of version 2: a chunk in front is new.
fn with_two_versions(is_open: bool) -> (Device, Ino, Vec<u8>) {
    let mut device = Device::new();
    let (state, whole) = made_of(&[1, 2], 1);
    device.pull(vec![node_row(N, state), entry_row(root(), "f", Some(N))]);
    let ino = device.at("/f");
    fill(&device.tree.content(ino).unwrap(), &whole);
    if is_open {
        device.tree.opened(ino, false).unwrap();
    }
    let (state, _) = made_of(&[3, 1, 2], 2);
    device.pull(vec![node_row(N, state)]);
    (device, ino, whole)
}

fn fill(content: &LocalContent, whole: &[u8]) {
    let version = content.base().unwrap().content.version;
    assert_eq!(content.fill(version, 0, whole).unwrap(), Filled::Done);
}

/// What comes of copying the last two chunks of version 2, which version 1 has further in front.
fn copied(content: &Arc<LocalContent>) -> Vec<Copied> {
    let base = content.base().unwrap();
    let entries = base.content.manifest.entries.iter().enumerate().skip(1);
    let chunks = entries.map(|(at, entry)| LocatedChunk { offset: (at * PART) as u64, entry: *entry });
    chunks.map(|chunk| content.copy_chunk(base.content.version, &chunk, false).unwrap()).collect()
}

fn rows(device: &Device) -> usize {
    device.journal.drain().unwrap();
    device.journal.readers().get().unwrap().contents_all().unwrap().len()
}

#[test]
fn a_new_version_copies_from_the_one_that_it_replaced_until_it_is_all_here() {
    let (device, ino, _) = with_two_versions(false);
    assert_eq!(device.at("/f"), ino);
    let content = device.tree.content(ino).unwrap();
    assert_eq!(content.present_bytes(), 0, "nothing of the old version is taken for the new one unseen");
    assert_eq!(copied(&content), [Copied::Done, Copied::Done]);
    assert_eq!(content.present_bytes(), 2 * PART as u64);
    device.tree.tidy();
    assert_eq!(rows(&device), 2, "there is a chunk to come, perhaps from there");
    fill(&content, &bytes(3));
    device.tree.tidy();
    assert_eq!(rows(&device), 1, "nothing will be copied any more");
    assert!(device.read(ino) == made_of(&[3, 1, 2], 2).1);
}

#[test]
fn what_an_open_handle_keeps_is_copied_from_also_after_it_was_closed() {
    let (device, old, whole) = with_two_versions(true);
    let fresh = device.at("/f");
    assert_ne!(fresh, old);
    assert!(device.read(old) == whole, "the handle has its version");
    device.tree.closed(old, false).unwrap();
    assert_eq!(copied(&device.tree.content(fresh).unwrap()), [Copied::Done, Copied::Done]);
    fill(&device.tree.content(fresh).unwrap(), &bytes(3));
    device.tree.tidy();
    assert_eq!(rows(&device), 1);
}

#[test]
fn former_bytes_end_with_the_daemon_with_the_file_and_on_command() {
    let (device, ino, _) = with_two_versions(false);
    let device = device.kill();
    assert_eq!(rows(&device), 0);
    assert_eq!(copied(&device.tree.content(ino).unwrap()), [Copied::Missing, Copied::Missing]);

    let (device, ino, _) = with_two_versions(false);
    device.tree.drop_formers(Some(&[ino]));
    assert_eq!(rows(&device), 0);

    let (mut device, _, _) = with_two_versions(false);
    device.pull(vec![entry_row(root(), "f", None), tarn_proto::change::Row::Node { node: N, state: None }]);
    device.tree.tidy();
    assert_eq!(rows(&device), 0);
}

#[test]
fn of_many_versions_those_stay_that_have_bytes_and_no_more_than_two() {
    let (mut device, ino, _) = with_two_versions(false);
    for (seeds, counter) in [([4u8, 1], 3), ([5, 1], 4), ([6, 1], 5)] {
        // The file is looked at, and not read.
        device.tree.content(ino).unwrap();
        device.pull(vec![node_row(N, made_of(&seeds, counter).0)]);
    }
    device.tree.tidy();
    assert_eq!(rows(&device), 1, "the first one is the only one of which anything is here");
    for (seeds, counter) in [([7u8, 1], 6), ([8, 1], 7), ([9, 1], 8)] {
        fill(&device.tree.content(ino).unwrap(), &bytes(seeds[0] - 1));
        device.pull(vec![node_row(N, made_of(&seeds, counter).0)]);
    }
    device.tree.tidy();
    assert_eq!(rows(&device), 2);
}
