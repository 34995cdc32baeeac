//! Claims about a state folder whose database was damaged: made anew, it has all that was not sent yet, or says what not
//! and where its bytes are.

use super::fixture::*;
use crate::content::Read;
use crate::meta::FILE_NAME;
use crate::meta::rows::Ino;
use crate::meta::tests::damage::{damage_table, leaf_in_the_middle, overwrite, overwrite_page};
use crate::tree::Rebuilt;
use std::path::Path;

const COUNT: usize = 250;

pub(super) fn bytes_of(n: usize) -> Vec<u8> {
    // Small ones are in the slab, every tenth has a file of its own.
    (0..if n.is_multiple_of(10) { 100_000 } else { 100 }).map(|at| (at * 7 + n) as u8).collect()
}

/// A device with a folder that the server has and many files in it that it has not.
fn busy() -> Device {
    let mut device = Device::new();
    let dir = device.folder(TOP, "dir").ino;
    device.written(dir, "sent", b"sent");
    device.push();
    for n in 0..COUNT {
        device.written(dir, &format!("file {n}"), &bytes_of(n));
    }
    device.journal.drain().unwrap();
    device
}

pub(super) fn rebuilt(device: Device, damage: impl FnOnce(&Path)) -> (Device, Rebuilt) {
    let mut report = None;
    let device = device.closed(|dir| {
        damage(&dir.join(FILE_NAME));
        report = Some(crate::tree::Tree::rebuild(&crate::env::Env::real(), dir).unwrap());
    });
    (device, report.unwrap())
}

/// What a file has in the tree, if it is there and local.
fn bytes_in_tree(device: &Device, n: usize) -> Option<Vec<u8>> {
    let dir = device.lookup(TOP, "dir").ok()?.ino;
    let ino = device.lookup(dir, &format!("file {n}")).ok()?.ino;
    device.tree.content(ino).ok().map(|_| device.read(ino))
}

#[test]
fn damage_to_the_servers_rows_loses_nothing_that_was_not_sent() {
    let device = busy();
    let (node, queued) = (device.tree.stat(device.at("/dir")).unwrap().ino, device.tree.queue(10_000).unwrap().len());
    let (mut device, report) = rebuilt(device, |path| damage_table(path, "remote_entry"));
    assert_eq!(report.salvaged.queued_count, queued);
    assert_eq!(report.mended, crate::tree::Mended::default());
    device.pull_all();
    assert_eq!(device.at("/dir"), node, "inode numbers stay");
    for n in 0..COUNT {
        assert!(bytes_in_tree(&device, n).unwrap() == bytes_of(n), "file {n}");
    }
    assert_eq!(device.push().len(), queued);
}

#[test]
fn what_cannot_be_put_back_is_copied_out_or_named() {
    for table in ["content", "inode", "queue", "local_entry"] {
        let (mut device, report) = rebuilt(busy(), |path| overwrite_page(path, leaf_in_the_middle(path, table)));
        assert_eq!(report.salvaged.unreadable, [table]);
        let copies: Vec<Vec<u8>> = report.mended.files.iter().map(|path| std::fs::read(path).unwrap()).collect();
        device.pull_all();
        let sent: Vec<String> = device.push().iter().map(|op| format!("{:?}", op.kind)).collect();
        let mut lost = 0;
        for n in 0..COUNT {
            let is_in_tree = bytes_in_tree(&device, n).is_some_and(|bytes| bytes == bytes_of(n));
            let is_sent = sent.iter().any(|op| op.contains(&format!("\"file {n}\"")));
            let is_kept = is_in_tree && is_sent;
            lost += usize::from(!is_kept);
            let is_named = report.mended.lost.contains(&format!("file {n}"));
            assert!(is_kept || copies.contains(&bytes_of(n)) || is_named, "{table}: file {n} is gone");
            assert!(!(is_kept && is_named), "{table}: file {n} is there");
        }
        // A name that is not there is made again by the operation that takes it to the server.
        let is_as_expected = if table == "local_entry" { lost == 0 } else { (1..COUNT).contains(&lost) };
        assert!(is_as_expected, "{table}: {lost}");
        assert!(device.tree.queue(10_000).unwrap().is_empty(), "{table}: nothing is stuck");
    }
}

#[test]
fn what_the_log_tells_of_pulls_does_not_count() {
    let mut device = Device::new();
    let dir = device.folder(TOP, "dir").ino;
    device.written(dir, "sent", b"sent");
    device.push();
    // Its pages are in the database alone; the record in the log says only that they are all there is.
    device.pull_all();
    device.written(dir, "not sent", b"not sent");
    let (mut device, _) = rebuilt(device, overwrite);
    assert!(device.tree.cursor().is_none(), "all of it is pulled again");
    device.pull_all();
    assert_eq!(device.list(device.at("/dir")), ["not sent", "sent"]);
}

#[test]
fn a_rebuild_that_was_cut_short_is_done_again_before_anything_is_mounted() {
    let device = busy().closed(|dir| {
        overwrite(&dir.join(FILE_NAME));
        let aside = dir.join("damaged-1");
        std::fs::create_dir(&aside).unwrap();
        std::fs::write(dir.join("rebuilding"), "").unwrap();
        let identity = crate::tree::Identity { device: ME, device_name: "laptop".to_owned(), space: SPACE };
        let (env, options) = (crate::env::Env::real(), crate::journal::JournalOptions::default());
        let refused = crate::tree::Tree::assemble(&env, dir, options, Default::default(), identity).unwrap_err();
        assert!(refused.to_string().contains("tarn doctor --rebuild"), "{refused}");
        let report = crate::tree::Tree::rebuild(&env, dir).unwrap();
        assert!(report.aside.ends_with("damaged-2"));
    });
    assert!(device.tree.cursor().is_none());
}

#[test]
fn what_an_interrupted_rebuild_could_not_read_is_mended_by_the_next() {
    let mut report = None;
    let mut device = busy().closed(|dir| {
        let (path, env) = (dir.join(FILE_NAME), crate::env::Env::real());
        overwrite_page(&path, leaf_in_the_middle(&path, "inode"));
        let mark = |_: &crate::meta::Salvaged| std::fs::write(dir.join("rebuilding"), "");
        let salvaged = crate::meta::salvage(env.disk.as_ref(), dir, &dir.join("damaged-1"), 0, mark).unwrap();
        assert_eq!(salvaged.unreadable, ["inode"]);
        report = Some(crate::tree::Tree::rebuild(&env, dir).unwrap());
    });
    let Rebuilt { salvaged, mended, is_resumed, .. } = report.unwrap();
    assert!(is_resumed && salvaged.unreadable.is_empty() && mended.dropped_count > 0);
    let copies: Vec<Vec<u8>> = mended.files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    device.pull_all();
    device.push();
    for n in 0..COUNT {
        let is_in_tree = bytes_in_tree(&device, n).is_some_and(|bytes| bytes == bytes_of(n));
        let is_named = mended.lost.contains(&format!("file {n}"));
        assert!(is_in_tree || copies.contains(&bytes_of(n)) || is_named, "file {n} is gone");
    }
    assert!(device.tree.queue(10_000).unwrap().is_empty(), "nothing is stuck");
}

#[test]
fn a_folder_that_is_kept_for_what_is_queued_in_it_stays_when_rows_are_mended() {
    let mut device = busy();
    let dir = device.at("/dir");
    let tarn_proto::op::OpKind::Create { place, .. } = device.freeze().remove(0).1.kind else { panic!("not created") };
    device
        .pull(vec![entry_row(root(), "dir", None), tarn_proto::change::Row::Node { node: place.parent, state: None }]);
    device.journal.drain().unwrap();
    let (device, report) = rebuilt(device, |path| overwrite_page(path, leaf_in_the_middle(path, "content")));
    assert_eq!(report.salvaged.unreadable, ["content"]);
    let entries = device.journal.readers().get().unwrap().local_entries_all().unwrap();
    assert!(entries.iter().any(|(_, text, row)| *text == name("dir") && row.ino == Some(dir)));
}

#[test]
fn without_a_database_the_log_brings_back_what_it_still_has() {
    let (mut device, report) = rebuilt(busy(), overwrite);
    assert!(report.salvaged.unreadable.contains(&"mark") && report.salvaged.contents.is_empty());
    device.pull_all();
    for n in 0..COUNT {
        assert!(bytes_in_tree(&device, n).unwrap() == bytes_of(n), "file {n}");
    }
}

#[test]
fn what_was_removed_since_keeps_nothing_of_the_log_from_coming_back() {
    let mut device = Device::new();
    let dir = device.folder(TOP, "dir").ino;
    let grown = |device: &Device, text: &str, n: usize| {
        let (first, second) = (&bytes_of(n)[..50_000], &bytes_of(n)[50_000..]);
        let ino = device.written(dir, text, first);
        // It has a file of its own from here on.
        device.write(ino, 50_000, second);
    };
    grown(&device, "removed", 0);
    device.push();
    device.tree.unlink(dir, &name("removed")).unwrap();
    device.push();
    grown(&device, "never sent", 10);
    device.tree.unlink(dir, &name("never sent")).unwrap();
    device.written(dir, "file 20", &bytes_of(20));
    device.written(dir, "file 1", &bytes_of(1));
    device.journal.drain().unwrap();
    let (mut device, report) = rebuilt(device, overwrite);
    device.pull_all();
    assert_eq!((report.mended.lost, report.mended.files), (vec![], vec![]));
    assert_eq!(device.list(device.at("/dir")), ["file 1", "file 20"]);
    assert!([1, 20].iter().all(|&n| bytes_in_tree(&device, n).unwrap() == bytes_of(n)));
}

fn evict(device: &Device, ino: Ino) {
    let content = device.tree.content(ino).unwrap();
    assert!(device.tree.core.contents.evict(content.no()).unwrap() > 0);
}

/// Whether it is said to be local, and is not what was written.
fn shows_others(device: &Device, path: &str, bytes: &[u8]) -> bool {
    let content = device.tree.content(device.at(path)).unwrap();
    matches!(content.read(0, bytes.len()).unwrap(), Read::Bytes(found) if found != bytes)
}

#[test]
fn bytes_that_were_dropped_are_not_taken_for_local_because_an_older_row_says_so() {
    let mut device = Device::new();
    let dropped = device.written(TOP, "dropped", &bytes_of(0));
    let edited = device.written(TOP, "edited", &bytes_of(10));
    device.push();
    device.write(edited, 70_000, b"not sent");
    device.tree.fsync(edited).unwrap();
    evict(&device, dropped);
    evict(&device, edited);
    let (mut device, report) = rebuilt(device, overwrite);
    device.pull_all();
    assert!(!shows_others(&device, "/dropped", &bytes_of(0)), "zeros are shown");
    let mut wanted = bytes_of(10);
    wanted[70_000..70_008].copy_from_slice(b"not sent");
    assert!(!shows_others(&device, "/edited", &wanted), "zeros are shown");
    let content = device.tree.content(device.at("/edited")).unwrap();
    let is_in_place = matches!(content.read(70_000, 8).unwrap(), Read::Bytes(found) if found == b"not sent"[..]);
    let has_them = |path: &std::path::PathBuf| std::fs::read(path).unwrap()[70_000..70_008] == b"not sent"[..];
    assert!(is_in_place || report.mended.files.iter().any(has_them), "what was not sent is gone");
    assert!(report.mended.lost.is_empty());
}

/// Flips a byte where a log has these bytes.
pub(super) fn flip_in_log(dir: &Path, bytes: &[u8]) {
    let segments = std::fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let found = segments.filter_map(|path| {
        let all = std::fs::read(&path).unwrap();
        let at = all.windows(bytes.len()).position(|window| window == bytes)?;
        Some((path, all, at))
    });
    let (path, mut all, at) = found.last().unwrap();
    all[at + bytes.len() / 2] ^= 0x10;
    std::fs::write(path, all).unwrap();
}

pub(super) fn files_in(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn with_database_and_log_both_damaged_what_was_not_sent_is_there_or_kept_under_its_name() {
    const DAMAGED: usize = 101;
    let (mut device, report) = rebuilt(busy(), |path| {
        overwrite(path);
        flip_in_log(path.parent().unwrap(), &bytes_of(DAMAGED));
    });
    let log_aside = report.log_aside.unwrap();
    let note = std::fs::read_to_string(log_aside.join("README")).unwrap();
    let small = files_in(&log_aside.join("files"));
    let large = [files_in(&log_aside.join("contents")), files_in(&report.aside.join("contents"))].concat();
    device.pull_all();
    assert!(device.list(device.at("/dir")).contains(&"sent".to_owned()));
    for n in 0..COUNT {
        if bytes_in_tree(&device, n).is_some_and(|bytes| bytes == bytes_of(n)) {
            assert!(n < DAMAGED, "file {n} rests on what is missing");
            continue;
        }
        assert!(n >= DAMAGED, "file {n} is gone");
        assert!(note.contains(&format!("/file {n}\n")), "file {n} is not named: {note}");
        if n.is_multiple_of(10) {
            assert!(large.iter().any(|(_, bytes)| *bytes == bytes_of(n)), "file {n} is not kept");
        } else if n > DAMAGED {
            assert!(small.contains(&(format!("file {n}"), bytes_of(n))), "file {n} is not kept");
        }
    }
    let almost = small.iter().find(|(named, _)| named.starts_with("damaged")).unwrap();
    assert_eq!(almost.0, format!("damaged file {DAMAGED}"));
    device.push();
    assert!(device.tree.queue(10_000).unwrap().is_empty(), "nothing is stuck");
}

#[test]
fn large_files_that_no_row_names_any_more_are_set_aside() {
    let (_device, report) = rebuilt(busy(), |path| {
        overwrite(path);
        std::fs::remove_dir_all(path.with_file_name("log")).unwrap();
    });
    let aside = std::fs::read_dir(report.aside.join("contents")).unwrap();
    let found: Vec<Vec<u8>> = aside.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    let large = (0..COUNT).step_by(10);
    for n in large {
        assert!(found.contains(&bytes_of(n)), "file {n}");
    }
    assert!(report.aside.join("slab").exists());
}
