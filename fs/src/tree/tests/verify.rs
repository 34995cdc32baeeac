//! Rows that are changed behind the tree's back are found, and nothing else is.

use super::fixture::*;
use crate::meta::RowFault;
use crate::tree::{MemoryLook, compare_folder};
use rusqlite::{Connection, params};
use tarn_proto::api::{ChildEntry, ChildrenResponse};
use tarn_proto::change::Row;
use tarn_proto::ids::NodeId;
use tarn_proto::version::VersionVector;

fn node(n: u8) -> NodeId {
    NodeId([n; 16])
}

/// A device with files of its own, sent and not sent, files of others, and listings at hand.
fn lived_in() -> Device {
    let mut device = Device::new();
    device.written(TOP, "sent", b"sent");
    device.written(TOP, "removed", b"sent");
    device.push();
    device.pull(vec![
        node_row(node(1), folder_state()),
        entry_row(root(), "theirs", Some(node(1))),
        node_row(node(2), remote_file(b"abc", VersionVector::default().with(OTHER, 1), OTHER)),
        entry_row(node(1), "file", Some(node(2))),
        entry_row(node(1), "second name", Some(node(2))),
    ]);
    assert_eq!(device.list(device.at("/theirs")), ["file", "second name"]);
    device.tree.content(device.at("/theirs/file")).unwrap();
    device.written(TOP, "small", b"not sent");
    device.written(TOP, "large", &vec![7; 300_000]);
    device.tree.unlink(TOP, &name("removed")).unwrap();
    device.list(TOP);
    device
}

fn look(device: &Device) -> MemoryLook {
    device.tree.compare_memory(usize::MAX, 0).unwrap()
}

fn faults(device: &Device) -> Vec<RowFault> {
    device.tree.row_faults(100).unwrap().1
}

/// Changes the database as nobody may.
fn change(device: &Device, sql: &str, params: impl rusqlite::Params) {
    device.journal.drain().unwrap();
    let db = Connection::open(device.dir.path().join("state.db")).unwrap();
    assert_eq!(db.execute(sql, params).unwrap(), 1, "{sql}");
}

/// What is told about a device after one of its rows was changed.
fn told_after(sql: &str, params: impl rusqlite::Params) -> Vec<String> {
    let device = lived_in();
    change(&device, sql, params);
    let told = look(&device).mismatches.into_iter();
    told.map(|m| format!("{}: {:?} / {:?}", m.what, m.memory, m.database)).collect()
}

#[test]
fn a_content_whose_row_names_another_inode_is_told_whose_it_is_at_the_next_start() {
    let device = lived_in();
    // As if a conflict's sibling had taken it over, and the power had gone before its row said so.
    device.tree.content(device.at("/theirs/file")).unwrap().set_ino(TOP);
    device.tree.core.contents.record_presence().unwrap();
    assert_eq!(faults(&device).len(), 1);
    let device = device.restart();
    device.tree.core.contents.record_presence().unwrap();
    assert_eq!(faults(&device), []);
}

#[test]
fn a_content_that_no_inode_has_is_gone_after_the_next_start() {
    let device = lived_in();
    let ino = device.at("/theirs/file");
    change(&device, "delete from inode where ino = ?1", [i64::try_from(ino.0).unwrap()]);
    assert_eq!(faults(&device).len(), 1);
    assert_eq!(faults(&device.restart()), []);
}

#[test]
fn a_sound_tree_has_no_differences_before_and_after_a_restart() {
    let device = lived_in();
    let found = look(&device);
    assert_eq!(found.mismatches, []);
    assert!(found.rows > 15, "{} rows", found.rows);
    assert_eq!(faults(&device), []);
    assert!(device.journal.readers().get().unwrap().damaged_pages(10).unwrap().is_empty());
    let mut device = device.restart();
    device.list(TOP);
    device.list(device.at("/theirs"));
    assert_eq!(look(&device).mismatches, []);
    device.push();
    assert_eq!((look(&device).mismatches, faults(&device)), (Vec::new(), Vec::new()));
}

#[test]
fn a_queued_operation_that_the_database_lost_is_named() {
    let told = told_after("delete from queue where ticket = (select max(ticket) from queue)", []);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("queued operation") && told[0].contains("Unlink") && told[0].ends_with("/ None"));
}

#[test]
fn a_local_name_that_leads_elsewhere_is_named() {
    let told = told_after("update local_entry set ino = 1 where name = ?1", [b"small".as_slice()]);
    assert!(told.iter().any(|said| said.contains("the local name small") && said.contains("inode 1")), "{told:?}");
    assert!(told.iter().any(|said| said.contains("the name small in the folder's listing")), "{told:?}");
}

#[test]
fn a_name_of_the_server_that_is_gone_from_the_database_is_named() {
    let told = told_after("delete from remote_entry where name = ?1", [b"sent".as_slice()]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("the name sent in the folder's listing: Some") && told[0].ends_with("/ None"));
}

#[test]
fn an_inode_that_the_database_lost_and_a_node_that_it_changed_are_named() {
    let told = told_after(
        "delete from inode where ino = (select ino from local_entry where name = ?1)",
        [b"large".as_slice()],
    );
    assert!(told.iter().any(|said| said.starts_with("the inode: Some") && said.ends_with("/ None")), "{told:?}");
    let told = told_after("update remote_node set state = null where node = ?1", [node(2).as_bytes()]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("what the server said of it: Some"), "{told:?}");
}

#[test]
fn a_cursor_and_a_content_that_the_database_has_otherwise_are_named() {
    let told = told_after("delete from cursor", []);
    assert!(told[0].starts_with("how far the server's journal is known: Some(\"seq"), "{told:?}");
    let told = told_after("delete from content where no = (select max(no) from content)", []);
    assert!(told.iter().any(|said| said.contains("its local content") && said.ends_with("/ None")), "{told:?}");
}

#[test]
fn rows_that_cannot_be_are_faults() {
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("update inode set row = x'01' where node = ?1", node(2).as_bytes().to_vec(), "inode"),
        ("delete from remote_node where node = ?1", node(2).as_bytes().to_vec(), "remote_entry"),
        ("delete from remote_entry where name = ?1", b"theirs".to_vec(), "remote_node"),
        ("update remote_node set state = x'0102' where node = ?1", node(1).as_bytes().to_vec(), "remote_node"),
        ("update local_entry set ino = 999 where name = ?1", b"small".to_vec(), "local_entry"),
    ];
    for (sql, key, table) in cases {
        let device = lived_in();
        change(&device, sql, params![key]);
        let found = faults(&device);
        assert!(found.iter().any(|fault| fault.table == table), "{sql}: {found:?}");
    }
}

/// What the server lists of the folder of others.
fn listing(device: &Device) -> ChildrenResponse {
    let known = device.tree.known_folder(node(1)).unwrap();
    let child = |(entry, row): &(crate::meta::RemoteEntry, Option<crate::meta::RemoteNode>)| {
        let row = row.clone()?;
        Some(ChildEntry {
            name: entry.name.clone(),
            entry_seq: entry.seq,
            node: entry.node?,
            node_seq: row.seq,
            state: row.state?,
        })
    };
    let own = known.node.clone().unwrap();
    ChildrenResponse {
        seq: device.seq,
        node: own.state.unwrap(),
        node_seq: own.seq,
        children: known.entries.iter().filter_map(child).collect(),
        next: None,
        epoch: None,
    }
}

#[test]
fn a_folder_is_what_the_server_lists_unless_one_side_cannot_know() {
    let device = lived_in();
    let (known, listed) = (device.tree.known_folder(node(1)).unwrap(), listing(&device));
    assert_eq!(compare_folder(&known, &listed), []);

    let mut other = listed.clone();
    other.children[0].state.attrs.mode = 0o600;
    let found = compare_folder(&known, &other);
    assert_eq!((found.len(), found[0].what), (1, "attributes and content"));
    assert!(found[0].here.ends_with("mode 644") && found[0].server.ends_with("mode 600"), "{found:?}");

    let mut fewer = listed.clone();
    fewer.children.pop();
    assert_eq!(compare_folder(&known, &fewer).len(), 1, "a name that the server does not have");
    fewer.seq += 1;
    assert_eq!(compare_folder(&known, &fewer), [], "it may have gone since");

    let mut newer = listed.clone();
    newer.seq += 5;
    newer.children[0].node_seq += 5;
    newer.children[0].state.attrs.mode = 0o600;
    assert_eq!(compare_folder(&known, &newer), [], "a change that this device does not know yet");

    let mut behind = known.clone();
    behind.entries.remove(0);
    let found = compare_folder(&behind, &listed);
    assert_eq!((found.len(), found[0].here.as_str()), (1, "not there"));
    behind.upto = None;
    assert_eq!(compare_folder(&behind, &listed), [], "nothing was pulled yet");
}

#[test]
fn an_entry_that_the_database_lost_is_missing_beside_the_server_s_listing() {
    let device = lived_in();
    let listed = listing(&device);
    change(&device, "delete from remote_entry where name = ?1", [b"second name".as_slice()]);
    let found = compare_folder(&device.tree.known_folder(node(1)).unwrap(), &listed);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, Some(name("second name")));
}

#[test]
fn what_is_queued_makes_no_difference_to_what_the_server_lists() {
    let mut device = lived_in();
    let listed = listing(&device);
    let file = device.at("/theirs/file");
    device.write(file, 0, b"changed");
    assert_eq!(compare_folder(&device.tree.known_folder(node(1)).unwrap(), &listed), []);
    device.push();
    let known = device.tree.known_folder(node(1)).unwrap();
    assert_eq!(compare_folder(&known, &listed), [], "acknowledged, and newer than the listing");
    assert!(matches!(device.tree.published(file), Ok(Some(found)) if found == node(2)));
    device.pull(vec![Row::Node { node: node(2), state: None }, entry_row(node(1), "file", None)]);
}
