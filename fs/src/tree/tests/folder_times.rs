//! Claims about the time of a folder's content: what somebody set stays, until a name comes, goes or moves after that.

use super::fixture::*;
use crate::meta::rows::Ino;
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::node::{AttrChange, Attrs, NodeState, Timestamp};
use tarn_proto::op::OpKind;

const D: NodeId = NodeId([41; 16]);
const F: NodeId = NodeId([42; 16]);
const G: NodeId = NodeId([43; 16]);

fn at(secs: i64) -> Timestamp {
    Timestamp { secs, nanos: 5 }
}

fn with_times(mtime: Timestamp, ctime: Timestamp, mode: u32) -> Row {
    node_row(D, NodeState { attrs: Attrs { mode, mtime, ctime, ..folder().attrs }, ..folder() })
}

/// A device that has looked into a folder of others, in which a file came since.
fn looked_into() -> (Device, Ino) {
    let mut device = Device::new();
    device.pull(vec![with_times(at(1), at(1), 0o755), entry_row(root(), "d", Some(D))]);
    let dir = device.at("/d");
    assert!(device.list(dir).is_empty());
    device.pull(vec![node_row(F, theirs(b"f", 1)), entry_row(D, "f", Some(F))]);
    assert!(mtime(&device, dir) > at(1), "a name came");
    (device, dir)
}

fn mtime(device: &Device, ino: Ino) -> Timestamp {
    device.tree.stat(ino).unwrap().attrs.mtime
}

/// A cut of rows in their order.
fn cut(device: &mut Device, rows: Vec<Row>) {
    let first = device.seq + 1;
    let changes: Vec<Change> = (first..).zip(rows).map(|(seq, row)| Change { seq, row }).collect();
    device.seq += changes.len() as u64;
    device.tree.apply_cut(changes, cursor(device.seq)).unwrap();
}

#[test]
fn a_time_that_others_set_after_names_came_is_shown() {
    let (mut device, dir) = looked_into();
    device.pull(vec![with_times(at(77), at(90), 0o755)]);
    assert_eq!(mtime(&device, dir), at(77));
    // rsync sets it to what it was, after it has made files anew.
    let renewed = vec![node_row(G, theirs(b"g", 2)), entry_row(D, "g", Some(G)), with_times(at(77), at(91), 0o755)];
    cut(&mut device, renewed);
    assert_eq!(mtime(&device, dir), at(77));
}

#[test]
fn a_time_that_others_set_before_names_came_and_a_change_of_mode_set_no_clock_back() {
    let (mut device, dir) = looked_into();
    device.pull(vec![with_times(at(1), at(90), 0o700)]);
    assert!(mtime(&device, dir) > at(1), "a name came before its mode changed");
    let later = vec![with_times(at(77), at(91), 0o700), node_row(G, theirs(b"g", 2)), entry_row(D, "g", Some(G))];
    cut(&mut device, later);
    assert!(mtime(&device, dir) > at(77), "a name came after its time was set");
}

#[test]
fn the_time_of_a_folder_goes_to_the_server_after_the_names_that_were_made_in_it_before() {
    let mut device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    device.written(dir, "f", b"f");
    let set = |seconds| AttrChange { mtime: Some(at(seconds)), ..AttrChange::default() };
    device.tree.set_attrs(dir, &set(76)).unwrap();
    device.tree.set_attrs(dir, &set(77)).unwrap();
    let sent: Vec<OpKind> = device.push().into_iter().map(|op| op.kind).collect();
    let [OpKind::Create { attrs, .. }, OpKind::Create { .. }, OpKind::SetAttr { attrs: later, .. }] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_ne!(attrs.mtime, at(77), "others tell by the change that it was set");
    assert_eq!((later.mtime, mtime(&device, dir)), (Some(at(77)), at(77)));
    // Nothing was made in it since.
    device.tree.set_attrs(dir, &set(78)).unwrap();
    device.tree.set_attrs(dir, &set(79)).unwrap();
    assert_eq!((device.push().len(), mtime(&device, dir)), (1, at(79)));
    device.written(dir, "g", b"g");
    assert!(mtime(&device, dir) > at(79));
}

#[test]
fn what_is_done_to_names_here_changes_the_times_of_their_folders_and_of_what_they_stand_for() {
    type Act = fn(&Device, Ino, Ino);
    let acts: [(&str, Act); 4] = [
        ("made", |device, dir, _| drop(device.file(dir, "g"))),
        ("linked", |device, dir, file| drop(device.tree.link(file, dir, &name("link")).unwrap())),
        ("moved", |device, dir, _| device.renamed((dir, "f"), (dir, "other"))),
        ("removed", |device, dir, _| device.tree.unlink(dir, &name("link")).unwrap()),
    ];
    let device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    let file = device.written(dir, "f", b"f");
    for (done, act) in acts {
        let long_ago = AttrChange { mtime: Some(at(5)), ctime: Some(at(5)), ..AttrChange::default() };
        [dir, file].iter().for_each(|ino| drop(device.tree.set_attrs(*ino, &long_ago).unwrap()));
        act(&device, dir, file);
        assert!(mtime(&device, dir) > at(5), "{done}");
        let ctime = device.tree.stat(file).unwrap().attrs.ctime;
        assert_eq!(ctime > at(5), done != "made", "{done}");
    }
}

#[test]
fn a_time_that_others_set_does_not_hide_a_later_name_in_a_folder_with_attributes_of_its_own_here() {
    let (mut device, dir) = looked_into();
    device.tree.set_attrs(dir, &AttrChange { mtime: Some(at(5)), ..AttrChange::default() }).unwrap();
    device.file(dir, "g");
    let shown = mtime(&device, dir);
    assert!(shown > at(5));
    device.pull(vec![with_times(at(77), at(90), 0o755)]);
    assert_eq!(mtime(&device, dir), shown);
}
