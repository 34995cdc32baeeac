//! Where refused bytes go.

use super::fixture::*;
use super::saves::assert_waiting;
use tarn_proto::api::{Answer, Outcome};
use tarn_proto::change::{Change, Row};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::node::AttrChange;
use tarn_proto::op::{OpKind, Operation, RenameMode};
use tarn_proto::version::VersionVector;

const N: NodeId = NodeId([51; 16]);

/// The server refuses the first operation that is ready.
fn refuse(device: &Device) {
    refuse_one(device, 0);
}

fn refuse_one(device: &Device, index: usize) {
    let (ticket, op) = device.freeze().remove(index);
    let outcome = Outcome::Refused { code: ErrorCode::QuotaExceeded, detail: String::new() };
    let answer = Answer { counter: op.counter, outcome, changes: Vec::new() };
    device.tree.settle(&[(ticket, answer)], cursor(device.seq), cursor(device.seq)).unwrap();
}

/// The one entry of a folder.
fn only(device: &Device, path: &str) -> String {
    let names = device.list(device.at(path));
    assert_eq!(names.len(), 1, "{names:?}");
    format!("{path}/{}", names[0])
}

#[test]
fn refused_bytes_are_rescued() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"precious");
    refuse(&device);
    assert_eq!(device.list(TOP), ["Tarn rescued"]);
    assert_eq!(device.read(ino), b"precious");
    let ops = device.push();
    assert_eq!(ops.len(), 3, "two folders and the file");
    let day = only(&device, "/Tarn rescued");
    assert_eq!(only(&device, &day), format!("{day}/f"));
}

#[test]
fn all_that_is_refused_is_in_one_folder_of_the_day_also_before_that_is_sent() {
    let device = Device::new();
    let told = device.watched();
    device.tree.set_attrs(TOP, &AttrChange { mode: Some(0o700), ..AttrChange::default() }).unwrap();
    device.written(TOP, "a", b"a");
    device.written(TOP, "b", b"b");
    let sent = device.freeze();
    for (ticket, op) in sent.into_iter().filter(|(_, op)| matches!(op.kind, OpKind::Create { .. })) {
        let outcome = Outcome::Refused { code: ErrorCode::QuotaExceeded, detail: String::new() };
        let answer = Answer { counter: op.counter, outcome, changes: Vec::new() };
        device.tree.settle(&[(ticket, answer)], cursor(device.seq), cursor(device.seq)).unwrap();
    }
    assert_eq!(device.list(TOP), ["Tarn rescued"]);
    assert!(told.has(&crate::tree::Invalidation::Entry { parent: TOP, name: name("Tarn rescued") }));
    assert_eq!(device.list(device.at(&only(&device, "/Tarn rescued"))), ["a", "b"]);
    let attrs = device.lookup(TOP, "Tarn rescued").unwrap().attrs;
    assert_eq!(attrs.mode, 0o755);
    assert!(attrs.btime.secs > 1_000_000_000, "it was made just now");
    assert_waiting(&device);
}

#[test]
fn where_a_file_has_the_name_of_the_folder_for_refused_bytes_that_gets_a_number() {
    let mut device = Device::new();
    let theirs = remote_file(b"theirs", VersionVector::default().with(OTHER, 1), OTHER);
    device.pull(vec![node_row(N, theirs), entry_row(root(), "Tarn rescued", Some(N))]);
    device.written(TOP, "f", b"precious");
    let before = device.tree.stat(device.at("/Tarn rescued")).unwrap().attrs;
    refuse(&device);
    assert_eq!(device.list(TOP), ["Tarn rescued", "Tarn rescued 2"]);
    device.push();
    let file = only(&device, &only(&device, "/Tarn rescued 2"));
    assert_eq!(device.read(device.at(&file)), b"precious");
    assert_eq!(device.tree.stat(device.at("/Tarn rescued")).unwrap().attrs, before, "nothing was put in the file");
}

#[test]
fn refused_bytes_do_not_go_where_others_removed_the_folder() {
    let mut device = Device::new();
    device.written(TOP, "f", b"precious");
    refuse(&device);
    let folders: Vec<(NodeId, Row)> = device.push().into_iter().take(2).map(removed).collect();
    let day = only(&device, "/Tarn rescued");
    device.written(device.at(&day), "g", b"more");
    // It is kept here for what is still to be sent.
    device.pull(folders.into_iter().flat_map(|(node, entry)| [Row::Node { node, state: None }, entry]).collect());
    refuse(&device);
    device.push();
    assert_eq!(device.list(TOP), ["Tarn rescued 2"]);
    let file = only(&device, &only(&device, "/Tarn rescued 2"));
    assert_eq!(device.read(device.at(&file)), b"more");
}

/// What a creation made, and its name as it is afterwards.
fn removed(op: Operation) -> (NodeId, Row) {
    let OpKind::Create { node, place, .. } = op.kind else { panic!("{op:?}") };
    (node, Row::Entry { parent: place.parent, name: place.name, node: None })
}

#[test]
fn what_is_refused_with_the_folder_that_it_was_made_in_keeps_its_name() {
    let device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    let ino = device.written(dir, "f", b"precious");
    refuse(&device);
    refuse(&device);
    let day = only(&device, "/Tarn rescued");
    assert_eq!(only(&device, &day), format!("{day}/f"));
    assert_eq!(device.read(ino), b"precious");
}

#[test]
fn a_refused_backup_has_the_bytes_that_were_the_files_though_the_server_has_the_older_backup() {
    let mut device = Device::new();
    device.written(TOP, "f~", b"before the last");
    device.written(TOP, "f", b"last");
    device.push();
    device.renamed((TOP, "f"), (TOP, "f~"));
    device.written(TOP, "f", b"present");
    refuse_one(&device, 1);
    let day = only(&device, "/Tarn rescued");
    assert_eq!(device.read(device.at(&format!("{day}/f~"))), b"last");
    assert_eq!(device.read(device.at("/f")), b"present");
    assert_eq!(device.tree.lookup(TOP, &name("f~")).unwrap().size_bytes, 15, "what the server has");
}

/// What it was made from is of another file.
#[test]
fn what_refused_bytes_took_the_place_of_is_removed_as_it_was_seen() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"first");
    device.push();
    device.pull(vec![node_row(N, theirs(b"theirs", 5)), entry_row(root(), "g", Some(N))]);
    device.write(ino, 0, b"other");
    refuse(&device);
    let day = only(&device, "/Tarn rescued");
    device.renamed((device.at(&day), "f"), (TOP, "g"));
    device.tree.unlink(TOP, &name("g")).unwrap();
    let ops = device.push();
    let removed = ops.iter().find_map(|op| if let OpKind::Unlink { seen, .. } = &op.kind { Some(seen) } else { None });
    let seen = removed.unwrap();
    assert_eq!((seen.node, &seen.vector), (N, &VersionVector::default().with(OTHER, 5)));
}

#[test]
fn what_the_server_has_by_now_is_refused_without_a_rescue() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"first");
    let node = device.push().first().and_then(created).unwrap();
    device.write(ino, 0, b"other");
    device.pull(vec![node_row(node, theirs(b"other", 5))]);
    refuse(&device);
    assert_eq!(device.list(TOP), ["f"]);
    assert_eq!(device.read(ino), b"other");
    assert_eq!(device.freeze(), []);
    device.write(ino, 0, b"later");
    assert!(matches!(device.push().as_slice(), [Operation { kind: OpKind::Write { .. }, .. }]));
}

/// What is sent of `/d/f`, moved to `/d/g` and removed there, when the move is refused with these rows about `/d`.
fn after_refused_move(rows: fn(NodeId) -> Vec<Row>) -> Vec<Operation> {
    let mut device = Device::new();
    let dir = device.folder(TOP, "d").ino;
    device.written(dir, "f", b"goes");
    let folder = device.push().first().and_then(created).unwrap();
    device.renamed((dir, "f"), (dir, "g"));
    device.tree.unlink(dir, &name("g")).unwrap();
    device.seq += 1;
    let changes: Vec<Change> = rows(folder).into_iter().map(|row| Change { seq: device.seq, row }).collect();
    let refused = Outcome::Refused { code: ErrorCode::ParentGone, detail: String::new() };
    let answer = |op: &Operation| match op.kind {
        OpKind::Rename { .. } => Answer { counter: op.counter, outcome: refused.clone(), changes: changes.clone() },
        _ => Answer { counter: op.counter, outcome: Outcome::Merged, changes: Vec::new() },
    };
    let answers: Vec<_> = device.freeze().iter().map(|(ticket, op)| (*ticket, answer(op))).collect();
    assert_eq!(answers.len(), 2);
    device.tree.settle(&answers, cursor(device.seq - 1), cursor(device.seq)).unwrap();
    let sent = device.push();
    assert!(!device.list(dir).contains(&"f".to_owned()));
    sent
}

/// Seeds 741895 and 816426 of the simulation.
#[test]
fn a_file_whose_name_is_refused_goes_from_where_it_stays_if_its_person_removed_it_since() {
    let others = |folder| vec![entry_row(folder, "other", Some(N)), entry_row(root(), "f", Some(N))];
    for rows in [|_| Vec::new(), others] {
        let sent = after_refused_move(rows);
        let [Operation { kind: OpKind::Unlink { place, .. }, .. }] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(place.name, name("f"));
    }
    assert_eq!(after_refused_move(|folder| vec![entry_row(folder, "f", None)]), [], "others took it from there");
}

/// Seed 571129 of the simulation.
#[test]
fn a_name_that_waits_to_be_sent_is_not_that_of_rescued_bytes() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"published");
    device.written(TOP, "g", b"other");
    let node = device.push().first().and_then(created).unwrap();
    device.write(ino, 0, b"refused!!");
    device.rename((TOP, "f"), (TOP, "g"), RenameMode::Exchange).unwrap();
    refuse(&device);
    let rescued = only(&device, &only(&device, "/Tarn rescued"));
    assert!(rescued.ends_with("/g"), "{rescued}: as programs see it");
    assert_eq!(device.read(device.at(&rescued)), b"refused!!");
    assert_eq!(device.list(TOP), ["Tarn rescued", "f", "g"]);
    assert_ne!(device.at("/g"), ino, "there is what the server has");
    device.tree.truncate(device.at("/g"), 0).unwrap();
    device.write(device.at("/g"), 0, b"later");
    let sent = device.push();
    let writes = |op: &Operation| matches!(op.kind, OpKind::Write { node: written, .. } if written == node);
    assert!(sent.iter().any(writes), "{sent:?}");
    assert_eq!((device.read(device.at("/g")), device.read(device.at("/f"))), (b"later".to_vec(), b"other".to_vec()));
}

fn created(op: &Operation) -> Option<NodeId> {
    if let OpKind::Create { node, .. } = &op.kind { Some(*node) } else { None }
}

/// Others had brought it back after the server was put back, and wrote to it.
#[test]
fn what_the_server_knows_already_is_not_sent_again_and_what_followed_it_shows() {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", b"first");
    let node = device.push().first().and_then(created).unwrap();
    device.write(ino, 0, b"mine");
    let (ticket, op) = device.freeze().remove(0);
    let changes = vec![Change { seq: device.seq + 1, row: node_row(node, theirs(b"what followed", 5)) }];
    let answer = Answer { counter: op.counter, outcome: Outcome::Merged, changes };
    device.tree.settle(&[(ticket, answer)], cursor(device.seq), cursor(device.seq + 1)).unwrap();
    assert_eq!(device.tree.stat(device.at("/f")).unwrap().size_bytes, 13);
    assert_eq!(device.freeze(), []);
}

/// The folder was removed by others, who gave its name to a file.
#[test]
fn a_file_whose_last_name_is_refused_gets_another() {
    for is_moved in [false, true] {
        let mut device = Device::new();
        let dir = device.folder(TOP, "d").ino;
        let ino = device.written(TOP, "f", b"precious");
        let node = device.push().iter().filter_map(created).next_back().unwrap();
        device.tree.link(ino, dir, &name("g")).unwrap();
        if is_moved {
            device.renamed((dir, "g"), (dir, "h"));
        }
        device.tree.unlink(TOP, &name("f")).unwrap();
        device.pull(vec![]);
        let refused = || Outcome::Refused { code: ErrorCode::ParentGone, detail: String::new() };
        let gone =
            || vec![Change { seq: 100, row: gone(node) }, Change { seq: 100, row: entry_row(root(), "f", None) }];
        let answer = |op: &Operation| match &op.kind {
            OpKind::Unlink { .. } => Answer { counter: op.counter, outcome: Outcome::Applied, changes: gone() },
            _ => Answer { counter: op.counter, outcome: refused(), changes: Vec::new() },
        };
        let answers: Vec<_> = device.freeze().iter().map(|(ticket, op)| (*ticket, answer(op))).collect();
        assert_eq!(answers.len(), 2 + usize::from(is_moved));
        device.tree.settle(&answers, cursor(device.seq), cursor(100)).unwrap();
        let day = only(&device, "/Tarn rescued");
        assert_eq!(device.at(&only(&device, &day)), ino);
        let sent: Vec<OpKind> = device.freeze().into_iter().map(|(_, op)| op.kind).collect();
        assert!(matches!(sent.last(), Some(OpKind::Link { node: linked, .. }) if *linked == node), "{sent:?}");
    }
}
