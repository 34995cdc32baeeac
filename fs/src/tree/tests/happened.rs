//! What programs that watch are told: what others did to what the kernel knows, once, and nothing else.

use super::fixture::*;
use crate::meta::rows::Ino;
use crate::tree::{Happening, Invalidation, Notifier};
use parking_lot::Mutex;
use std::sync::Arc;
use tarn_proto::api::{ChildEntry, ChildrenResponse};
use tarn_proto::change::Row;
use tarn_proto::ids::NodeId;
use tarn_proto::node::{Attrs, NodeState};
use tarn_proto::version::VersionVector;

const N: NodeId = NodeId([11; 16]);
const D: NodeId = NodeId([12; 16]);

#[derive(Debug, Default)]
pub struct Told(Mutex<Vec<String>>);

impl Notifier for Told {
    fn invalidate(&self, _: Vec<Invalidation>) {}

    fn happened(&self, batch: Vec<Happening>) {
        self.0.lock().extend(batch.into_iter().map(|happening| match happening {
            Happening::Appeared { parent, name, .. } => format!("+{}/{name}", parent.0),
            Happening::Removed { parent, name, .. } => format!("-{}/{name}", parent.0),
            Happening::Moved { from, to, .. } => format!("{}/{} > {}/{}", from.0.0, from.1, to.0.0, to.1),
            Happening::Changed { content: true, .. } => "written".to_owned(),
            Happening::Changed { content: false, .. } => "attributes".to_owned(),
        }));
    }
}

impl Told {
    pub fn of(device: &Device) -> Arc<Self> {
        let told = Arc::new(Self::default());
        device.tree.set_notifier(told.clone());
        told
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

fn with_mode(state: NodeState, mode: u32) -> NodeState {
    NodeState { attrs: Attrs { mode, ..state.attrs.clone() }, ..state }
}

/// A device with `f` and the folder `d` of another one, of which the kernel knows the folder.
fn device() -> (Device, Arc<Told>, Ino) {
    let mut device = Device::new();
    let told = Told::of(&device);
    let rows = [node_row(N, theirs(b"one", 1)), entry_row(root(), "f", Some(N))];
    device.pull(rows.into_iter().chain([node_row(D, folder_state()), entry_row(root(), "d", Some(D))]).collect());
    let dir = device.at("/d");
    device.tree.refer(dir).unwrap();
    assert_eq!(told.take(), [format!("+{}/d", TOP.0), format!("+{}/f", TOP.0)]);
    (device, told, dir)
}

#[test]
fn content_attributes_moves_and_removals_are_told_as_such() {
    let (mut device, told, dir) = device();
    device.at("/f");
    device.pull(vec![node_row(N, theirs(b"other", 2))]);
    assert_eq!(told.take(), ["written"]);
    device.pull(vec![node_row(N, with_mode(theirs(b"other", 2), 0o600))]);
    assert_eq!(told.take(), ["attributes"]);
    device.pull(vec![entry_row(root(), "f", None), entry_row(D, "g", Some(N))]);
    assert_eq!(told.take(), [format!("{}/f > {}/g", TOP.0, dir.0)]);
    device.pull(vec![entry_row(D, "g", None), Row::Node { node: N, state: None }]);
    assert_eq!(told.take(), [format!("-{}/g", dir.0)]);
}

#[test]
fn a_version_under_a_new_inode_is_told_as_written_not_as_another_file() {
    let (mut device, told, _) = device();
    let ino = device.at("/f");
    device.write(ino, 0, b"own");
    device.push();
    device.tree.opened(ino, false).unwrap();
    device.read(ino);
    told.take();
    let vector = VersionVector::default().with(OTHER, 2).with(ME, 9);
    device.pull(vec![node_row(N, remote_file(b"two", vector, OTHER))]);
    assert_ne!(device.at("/f"), ino);
    assert_eq!(told.take(), ["written"]);
}

#[test]
fn what_is_done_here_and_answered_is_not_told() {
    let (mut device, told, dir) = device();
    device.written(TOP, "own", b"bytes");
    device.folder(dir, "below");
    device.push();
    device.renamed((TOP, "own"), (dir, "moved"));
    device.push();
    device.tree.unlink(dir, &name("moved")).unwrap();
    device.push();
    assert_eq!(told.take(), Vec::<String>::new());
}

#[test]
fn names_in_folders_that_the_kernel_does_not_know_are_not_told() {
    let (mut device, told, dir) = device();
    device.tree.forget(dir, 1);
    device.pull(vec![entry_row(D, "g", Some(N))]);
    device.pull(vec![entry_row(D, "g", None)]);
    assert_eq!(told.take(), Vec::<String>::new());
}

#[test]
fn getting_to_know_a_folder_is_no_change() {
    let device = Device::unloaded();
    let told = Told::of(&device);
    let child = ChildEntry { name: name("f"), entry_seq: 5, node: N, node_seq: 5, state: theirs(b"x", 1) };
    let listing =
        ChildrenResponse { seq: 9, node: folder_state(), node_seq: 1, children: vec![child], next: None, epoch: None };
    device.listed(root(), listing);
    assert_eq!(device.list(TOP), ["f"]);
    assert_eq!(told.take(), Vec::<String>::new());
}
