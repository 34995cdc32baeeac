//! Memory stays small: what is let go of comes back as it was, and the kernel hears of all that changes meanwhile.

use super::fixture::*;
use crate::meta::rows::{Ino, ROOT};
use crate::meta::{RemoteWork, Staged};
use crate::tree::{Invalidation, Notifier, Stat, TreeError};
use std::sync::{Arc, Mutex};
use tarn_proto::api::{ChildEntry, ChildrenResponse};
use tarn_proto::change::Row;
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::op::{OpKind, RenameMode};

const D: NodeId = NodeId([12; 16]);

fn node(number: u32) -> NodeId {
    let mut id = [0x77; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

fn file_name(number: u32) -> String {
    format!("f{number:05}")
}

#[derive(Debug, Default)]
pub struct Told(pub Mutex<Vec<Invalidation>>);

impl Notifier for Told {
    fn invalidate(&self, batch: Vec<Invalidation>) {
        self.0.lock().unwrap().extend(batch);
    }
}

impl Told {
    pub fn has(&self, invalidation: &Invalidation) -> bool {
        self.0.lock().unwrap().contains(invalidation)
    }

    fn is_told_of(&self, ino: Ino) -> bool {
        self.has(&Invalidation::Content(ino)) || self.has(&Invalidation::Attributes(ino))
    }
}

/// A device with a folder of others at `/d`, and so many files in it.
fn with_files(count: u32) -> Device {
    let mut device = Device::new();
    let files = (0..count).flat_map(|number| {
        let bytes = format!("the bytes of {number}");
        [node_row(node(number), theirs(bytes.as_bytes(), 1)), entry_row(D, &file_name(number), Some(node(number)))]
    });
    let folder = [node_row(D, folder()), entry_row(root(), "d", Some(D))];
    device.pull(folder.into_iter().chain(files).collect());
    device
}

/// Twenty files that the kernel knows and memory does not hold, and their folder.
fn swept_files() -> (Device, Ino, Vec<Stat>) {
    let device = with_files(20);
    let dir = device.at("/d");
    device.tree.refer(dir).unwrap();
    let files = device.walk(dir);
    device.swept();
    (device, dir, files)
}

impl Device {
    /// What `find -size` makes the kernel know: all entries with their attributes.
    fn walk(&self, dir: Ino) -> Vec<Stat> {
        let known = |entry: crate::tree::DirEntry| {
            self.tree.refer(entry.ino).unwrap();
            self.tree.stat(entry.ino).unwrap()
        };
        self.tree.read_dir_whole(dir).unwrap().into_iter().map(known).collect()
    }

    /// Lets go of all that can be let go of.
    pub fn swept(&self) {
        self.journal.drain().unwrap();
        self.tree.sweep_beyond(0);
        self.tree.tidy();
        self.tree.tidy();
        self.tree.sweep_beyond(1_000_000);
    }

    fn is_in_memory(&self, ino: Ino) -> bool {
        self.tree.with(|session| session.state.inodes.contains_key(&ino))
    }

    fn kernel_refs(&self, ino: Ino) -> u64 {
        self.tree.with(|session| session.inode(ino).unwrap().kernel_refs)
    }

    pub fn watched(&self) -> Arc<Told> {
        let told = Arc::new(Told::default());
        self.tree.set_notifier(told.clone());
        told
    }

    fn cookies(&self, dir: Ino) -> Vec<(u64, Name, Ino)> {
        self.tree.read_dir_whole(dir).unwrap().into_iter().map(|e| (e.cookie, e.name, e.ino)).collect()
    }
}

#[test]
fn a_swept_inode_comes_back_with_its_number_references_and_attributes() {
    let device = with_files(20);
    let dir = device.at("/d");
    device.tree.refer(dir).unwrap();
    let before = device.walk(dir);
    device.tree.refer(before[3].ino).unwrap();
    device.swept();
    let (held, swept) = device.tree.inode_counts();
    assert!(held <= 2 && swept >= 20, "{held} in memory, {swept} swept");
    for stat in &before {
        assert!(!device.is_in_memory(stat.ino));
        assert_eq!(device.tree.stat(stat.ino).unwrap(), *stat);
    }
    assert_eq!((device.kernel_refs(before[3].ino), device.kernel_refs(before[4].ino)), (2, 1));
    assert_eq!(device.at("/d"), dir);
    assert_eq!(device.at("/d/f00003"), before[3].ino);
}

#[test]
fn the_kernel_forgets_what_memory_does_not_hold() {
    let device = with_files(20);
    let files = device.walk(device.at("/d"));
    device.tree.refer(files[0].ino).unwrap();
    device.swept();
    let (_, swept) = device.tree.inode_counts();
    device.tree.forget(files[0].ino, 1);
    device.tree.forget(files[1].ino, 1);
    assert_eq!(device.tree.inode_counts().1, swept - 1);
    assert_eq!((device.kernel_refs(files[0].ino), device.kernel_refs(files[1].ino)), (1, 0));
}

#[test]
fn what_is_in_use_stays_in_memory() {
    let mut device = with_files(20);
    let files = device.walk(device.at("/d"));
    // Open; open without a name; queued.
    device.tree.opened(files[0].ino, false).unwrap();
    device.tree.opened(files[1].ino, false).unwrap();
    device.tree.unlink(device.at("/d"), &name("f00001")).unwrap();
    device.push();
    device.tree.set_attrs(files[2].ino, &mode(0o600)).unwrap();
    device.swept();
    for kept in &files[..3] {
        assert!(device.is_in_memory(kept.ino), "{}", kept.ino.0);
    }
    assert!(!device.is_in_memory(files[3].ino));
    assert_eq!(device.tree.stat(files[1].ino).unwrap().link_count, 0);
    assert_eq!(device.tree.stat(files[2].ino).unwrap().attrs.mode, 0o600);
}

fn mode(mode: u32) -> tarn_proto::node::AttrChange {
    tarn_proto::node::AttrChange { mode: Some(mode), ..tarn_proto::node::AttrChange::default() }
}

#[test]
fn what_was_done_here_shows_when_it_comes_back() {
    let mut device = with_files(5);
    let dir = device.at("/d");
    device.tree.refer(dir).unwrap();
    let own = device.written(dir, "own", b"my own bytes");
    let sub = device.folder(dir, "sub").ino;
    device.renamed((dir, "f00001"), (dir, "moved"));
    device.renamed((dir, "f00002"), (dir, "f00003"));
    device.push();
    for ino in [own, sub, device.at("/d/moved"), device.at("/d/f00003")] {
        device.tree.refer(ino).unwrap();
    }
    let before: Vec<Stat> = [dir, own, sub, device.at("/d/moved"), device.at("/d/f00003")]
        .into_iter()
        .map(|ino| device.tree.stat(ino).unwrap())
        .collect();
    device.swept();
    assert!(!device.is_in_memory(own) && !device.is_in_memory(before[3].ino));
    for stat in before {
        assert_eq!(device.tree.stat(stat.ino).unwrap(), stat);
    }
    assert_eq!(device.list(dir), ["f00000", "f00003", "f00004", "moved", "own", "sub"]);
    assert_eq!(device.read(own), b"my own bytes");
}

#[test]
fn the_kernel_is_told_of_one_more_name_of_a_file_that_memory_does_not_hold() {
    const NEW: NodeId = NodeId([13; 16]);
    for names_before in [1, 2] {
        let (mut device, _, files) = swept_files();
        if names_before == 2 {
            device.pull(vec![entry_row(root(), "second", Some(node(3)))]);
            assert_eq!(device.tree.stat(files[3].ino).unwrap().link_count, 2);
            device.swept();
        }
        assert!(!device.is_in_memory(files[3].ino));
        let told = device.watched();
        // In a folder that nobody here has heard of.
        device.pull(vec![
            node_row(NEW, folder()),
            entry_row(root(), "new", Some(NEW)),
            entry_row(NEW, "hard link", Some(node(3))),
        ]);
        assert!(told.has(&Invalidation::Attributes(files[3].ino)), "{names_before}");
        assert_eq!(device.tree.stat(files[3].ino).unwrap().link_count, names_before + 1);
    }
}

#[test]
fn the_kernel_is_told_of_what_comes_back_under_a_name_that_waits_to_be_sent() {
    let mut device = with_files(1);
    let dir = device.at("/d");
    device.renamed((dir, "f00000"), (dir, "there"));
    device.renamed((dir, "there"), (dir, "here"));
    device.pull(vec![entry_row(D, "f00000", None), gone(node(0))]);
    device.swept();
    assert_eq!(device.lookup(dir, "here").unwrap().size_bytes, 14);
    let mut device = device.restart();
    assert!(matches!(device.lookup(dir, "here"), Err(TreeError::NotFound)));
    let told = device.watched();
    // The first rename won over the removal; the second has not been answered yet.
    device.told(vec![node_row(node(0), theirs(b"as it was", 2)), entry_row(D, "there", Some(node(0)))]);
    assert!(told.has(&Invalidation::Entry { parent: dir, name: name("here") }));
    assert_eq!(device.lookup(dir, "here").unwrap().size_bytes, 9);
}

#[test]
fn the_kernel_is_told_of_changes_of_what_memory_does_not_hold() {
    let (mut device, dir, files) = swept_files();
    let told = device.watched();
    device.pull(vec![
        node_row(node(1), theirs(b"other bytes, and more of them", 2)),
        entry_row(D, "f00002", None),
        Row::Node { node: node(2), state: None },
        entry_row(D, "new", Some(node(100))),
        node_row(node(100), theirs(b"new", 1)),
        // One more name: its link count is another.
        entry_row(root(), "hard link", Some(node(3))),
    ]);
    assert!(told.has(&Invalidation::Content(files[1].ino)));
    assert!(told.has(&Invalidation::Gone { parent: dir, name: name("f00002"), child: files[2].ino }));
    assert!(told.has(&Invalidation::Entry { parent: dir, name: name("new") }));
    assert!(told.has(&Invalidation::Content(dir)), "the kernel's copy of the listing is old");
    assert!(told.is_told_of(files[3].ino));
    assert!(!told.is_told_of(files[4].ino));
    assert_eq!(device.tree.stat(files[3].ino).unwrap().link_count, 2);
    assert_eq!(device.tree.stat(files[1].ino).unwrap().size_bytes, 29);
}

#[test]
fn the_first_full_pull_tells_of_a_file_that_has_another_name_where_nobody_looked() {
    let mut device = Device::unloaded();
    let child = |text: &str, node, state| {
        let name = name(text);
        ChildEntry { name, entry_seq: 1, node, node_seq: 1, state }
    };
    let children = vec![child("d", D, folder()), child("file", node(1), theirs(b"bytes", 1))];
    let page = ChildrenResponse { seq: 1, node: folder_state(), node_seq: 1, children, next: None, epoch: None };
    device.listed(root(), page);
    let file = device.walk(ROOT)[1].clone();
    device.swept();
    let told = device.watched();
    let rows = vec![
        node_row(root(), folder()),
        node_row(D, folder()),
        entry_row(root(), "d", Some(D)),
        node_row(node(1), theirs(b"bytes", 1)),
        entry_row(root(), "file", Some(node(1))),
        node_row(node(2), folder()),
        entry_row(D, "below", Some(node(2))),
        entry_row(node(2), "hard link", Some(node(1))),
    ];
    device.seq = 1;
    device.tree.begin_load().unwrap();
    let changes = rows.into_iter().map(|row| tarn_proto::change::Change { seq: 1, row }).collect();
    device.tree.load_page(changes).unwrap();
    device.tree.finish_load(crate::tree::Loaded::first(cursor(1))).unwrap();
    assert!(told.is_told_of(file.ino));
    assert_eq!((file.link_count, device.tree.stat(file.ino).unwrap().link_count), (1, 2));
}

#[test]
fn a_full_pull_tells_of_what_changed_and_of_nothing_else() {
    let (mut device, dir, files) = swept_files();
    let told = device.watched();
    device.tree.begin_load().unwrap();
    let mut rows = vec![node_row(root(), folder()), node_row(D, folder()), entry_row(root(), "d", Some(D))];
    for number in (0..20).filter(|number| *number != 2) {
        let bytes = if number == 1 { "other bytes".to_owned() } else { format!("the bytes of {number}") };
        rows.push(node_row(node(number), theirs(bytes.as_bytes(), if number == 1 { 2 } else { 1 })));
        rows.push(entry_row(D, &file_name(number), Some(node(number))));
    }
    rows.extend([node_row(node(100), theirs(b"new", 1)), entry_row(D, "new", Some(node(100)))]);
    rows.push(entry_row(root(), "hard link", Some(node(3))));
    device.seq += 1;
    let changes = rows.into_iter().map(|row| tarn_proto::change::Change { seq: device.seq, row }).collect();
    device.tree.load_page(changes).unwrap();
    device.tree.finish_load(crate::tree::Loaded::first(cursor(device.seq))).unwrap();
    assert!(told.has(&Invalidation::Content(files[1].ino)));
    for gone_or_new in ["f00002", "new"] {
        assert!(told.has(&Invalidation::Entry { parent: dir, name: name(gone_or_new) }), "{gone_or_new}");
    }
    assert!(told.has(&Invalidation::Content(dir)));
    assert!(told.is_told_of(files[2].ino) && told.is_told_of(files[3].ino));
    for same in &files[4..] {
        assert!(!told.is_told_of(same.ino));
    }
    assert!(!told.has(&Invalidation::Entry { parent: dir, name: name("f00005") }));
    assert_eq!(device.tree.stat(files[1].ino).unwrap().size_bytes, 11);
    assert!(matches!(device.lookup(dir, "f00002"), Err(TreeError::NotFound)));
}

#[test]
fn a_full_pull_tells_of_names_that_were_looked_up_alone() {
    let mut device = with_files(1);
    assert!(matches!(device.lookup(TOP, "absent"), Err(TreeError::NotFound)));
    let told = device.watched();
    device.tree.begin_load().unwrap();
    let mut rows = vec![node_row(root(), folder()), node_row(node(7), theirs(b"new", 1))];
    rows.push(entry_row(root(), "absent", Some(node(7))));
    device.seq += 1;
    let changes = rows.into_iter().map(|row| tarn_proto::change::Change { seq: device.seq, row }).collect();
    device.tree.load_page(changes).unwrap();
    device.tree.finish_load(crate::tree::Loaded::first(cursor(device.seq))).unwrap();
    assert!(told.has(&Invalidation::Entry { parent: TOP, name: name("absent") }));
    assert!(told.has(&Invalidation::Content(TOP)));
}

#[test]
fn the_cookies_of_a_listing_come_back_or_the_kernel_drops_its_own() {
    let mut device = with_files(20);
    let dir = device.at("/d");
    device.tree.refer(dir).unwrap();
    device.walk(dir);
    let told = device.watched();
    let before = device.cookies(dir);
    device.swept();
    assert_eq!(device.cookies(dir), before);
    assert!(!told.has(&Invalidation::Content(dir)));
    // What comes later stands at the end, until the listing is loaded again.
    device.file(dir, "a file");
    device.push();
    let grown = device.cookies(dir);
    assert_eq!(grown[..20], before[..]);
    device.swept();
    assert!(told.has(&Invalidation::Content(dir)));
    assert_ne!(device.cookies(dir), grown);
}

#[test]
fn an_open_listing_keeps_its_place() {
    let device = with_files(50);
    let dir = device.at("/d");
    device.tree.refer(dir).unwrap();
    let handle = device.tree.open_dir(dir).unwrap();
    let first = device.tree.read_dir(handle, 0, 10).unwrap();
    device.file(dir, "a file");
    device.swept();
    let rest = device.tree.read_dir(handle, first[9].cookie, 100).unwrap();
    assert_eq!((first.len(), rest.len()), (10, 41));
    assert_eq!(rest[40].name, name("a file"));
    device.tree.close_dir(handle);
}

#[test]
fn a_large_folder_is_listed_without_its_inodes() {
    let mut device = Device::new();
    let count = 5_000;
    let mut rows = vec![node_row(D, folder()), entry_row(root(), "d", Some(D))];
    for number in 0..count {
        rows.extend([node_row(node(number), theirs(b"same", 1)), entry_row(D, &file_name(number), Some(node(number)))]);
    }
    let changes = rows.into_iter().map(|row| tarn_proto::change::Change { seq: 1, row }).collect();
    device.tree.begin_load().unwrap();
    device.tree.load_page(changes).unwrap();
    device.tree.finish_load(crate::tree::Loaded::first(cursor(1))).unwrap();
    device.seq = 1;
    device.tree.sweep_beyond(1_000);
    let dir = device.at("/d");
    let listing = device.cookies(dir);
    assert_eq!(listing.len(), count as usize);
    assert!(listing.iter().zip(0..count).all(|((_, listed, _), number)| *listed == name(&file_name(number))));
    device.tree.tidy();
    let (held, _) = device.tree.inode_counts();
    assert!(held <= 1_000, "{held} inodes in memory");
    for (_, listed, ino) in listing.iter().step_by(500) {
        assert_eq!(device.tree.lookup(dir, listed).unwrap().ino, *ino);
    }
    // Changes of others, under way to the database and there, and of this device.
    let mut device = device.lagging();
    device.pull(vec![entry_row(D, "f00001", None), Row::Node { node: node(1), state: None }]);
    device.pull(vec![entry_row(D, "b", Some(node(9_000))), node_row(node(9_000), theirs(b"b", 1))]);
    device.tree.unlink(dir, &name("f00002")).unwrap();
    device.rename((dir, "f00003"), (dir, "a"), RenameMode::Replace).unwrap();
    let names = device.list(dir);
    assert_eq!((names.len(), &names[..4]), (4_999, &["a", "b", "f00000", "f00004"].map(str::to_owned)[..]));
}

/// A device with a large file that memory has let go of, and its node.
fn with_swept_file() -> (Device, NodeId, Ino) {
    let mut device = Device::new();
    let ino = device.written(TOP, "f", &[1; 100_000]);
    let OpKind::Create { node, .. } = device.push()[0].kind else { panic!("not created") };
    device.swept();
    device.tree.begin_load().unwrap();
    (device, node, ino)
}

#[test]
fn what_a_full_pull_takes_goes_with_its_bytes_though_it_was_swept() {
    let (device, _, ino) = with_swept_file();
    device.tree.finish_load(crate::tree::Loaded::first(cursor(device.seq))).unwrap();
    device.journal.drain().unwrap();
    let known = device.tree.look(|session| Ok(session.core.reader()?.known_inode(ino)?));
    assert!(known.unwrap().is_none());
}

#[test]
fn a_large_file_that_a_full_pull_took_comes_back_after_a_crash_before_it_was_let_go_of() {
    let (device, node, _) = with_swept_file();
    let work =
        RemoteWork { staged: Staged::Replace, cursor: Some((SPACE, cursor(device.seq))), ..RemoteWork::default() };
    device.tree.edit(|session| Ok(session.core.journal.submit_remote(work)?)).unwrap();
    let mut device = device.restart();
    assert!(device.lookup(TOP, "f").is_err());
    device.pull(vec![node_row(node, theirs(b"newer", 2)), entry_row(root(), "f", Some(node))]);
    assert_eq!(device.lookup(TOP, "f").unwrap().size_bytes, 5);
}
