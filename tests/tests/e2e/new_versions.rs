//! Another device's new version of a file costs what is new in it, wherever that stands. New names, copies, and versions that
//! come back cost nothing.

use crate::converge;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;
use tarn_proto::chunk::{ContentKey, chunk_id, cut};
use tarn_tests::device::Device;
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::eventually;

on_both! {
    a_new_version_fetches_only_what_is_new: a_new_version_fetches_only_what_is_new_on_sqlite,
        a_new_version_fetches_only_what_is_new_on_postgres;
    what_comes_back_fetches_nothing: what_comes_back_fetches_nothing_on_sqlite,
        what_comes_back_fetches_nothing_on_postgres;
}

const SIZE: usize = 24 << 20;
/// Headers of frames, and what of small files is fetched beside.
const SLACK_BYTES: u64 = 128 << 10;

fn fetched(device: &Device) -> u64 {
    device.counter("bytes_fetched").unwrap()
}

/// Bytes of the chunks that only the new version has.
fn new_bytes(old: &[u8], new: &[u8]) -> u64 {
    let key = ContentKey::Ordinary;
    let chunks = |bytes: &[u8]| {
        let mut rest = bytes;
        let lengths = cut(&key, bytes).into_iter();
        let split = lengths.map(|length| {
            let (chunk, after) = rest.split_at(length);
            rest = after;
            (chunk_id(&key, chunk), length as u64)
        });
        split.collect::<Vec<_>>()
    };
    let known: HashSet<_> = chunks(old).into_iter().map(|(id, _)| id).collect();
    chunks(new).into_iter().filter(|(id, _)| !known.contains(id)).map(|(_, length)| length).sum()
}

/// Two devices that both have all of a file.
fn with_file(server: &Server, name: &str) -> (Device, Device, Vec<u8>) {
    let (a, b) = (Device::mounted(server, "a").unwrap(), Device::mounted(server, "b").unwrap());
    let content = Seed::new(51).bytes(SIZE);
    fs::write(a.join(name), &content).unwrap();
    converge(&a, &b);
    assert!(fs::read(b.join(name)).unwrap() == content);
    (a, b, content)
}

fn overwrite(path: &Path, content: &mut [u8]) {
    let at = content.len() / 2;
    content[at] ^= 1;
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(&content[at..=at], at as u64).unwrap();
}

fn insert_in_front(path: &Path, content: &mut Vec<u8>) {
    let mut new = Seed::new(52).bytes(1024);
    new.append(content);
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, &new).unwrap();
    fs::rename(&temporary, path).unwrap();
    *content = new;
}

fn append(path: &Path, content: &mut Vec<u8>) {
    let more = Seed::new(53).bytes(10_000);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&more, content.len() as u64).unwrap();
    content.extend(more);
}

fn cut_short(path: &Path, content: &mut Vec<u8>) {
    content.truncate(content.len() * 2 / 3);
    OpenOptions::new().write(true).open(path).unwrap().set_len(content.len() as u64).unwrap();
}

type Edit = fn(&Path, &mut Vec<u8>);

fn a_new_version_fetches_only_what_is_new(server: &Server) {
    let (a, b, mut content) = with_file(server, "file");
    let edits: [(&str, Edit); 4] = [
        ("a byte in the middle", |path, content| overwrite(path, content)),
        ("something in front", insert_in_front),
        ("something behind", append),
        ("less", cut_short),
    ];
    for (what, edit) in edits {
        let (old, before) = (content.clone(), fetched(&b));
        edit(&a.join("file"), &mut content);
        converge(&a, &b);
        assert!(fs::read(b.join("file")).unwrap() == content, "{what}");
        let (moved, new) = (fetched(&b) - before, new_bytes(&old, &content));
        eprintln!("{what}: {moved} bytes fetched of {}, {new} in new chunks", content.len());
        assert!(moved <= new + SLACK_BYTES, "{what}: {moved} bytes fetched, {new} in new chunks");
        assert!(new < SIZE as u64 / 4, "{what}: {new} bytes in new chunks show nothing");
    }
}

fn what_comes_back_fetches_nothing(server: &Server) {
    let (a, b, content) = with_file(server, "file");
    let before = fetched(&b);
    fs::rename(a.join("file"), a.join("renamed")).unwrap();
    fs::copy(a.join("renamed"), a.join("copy")).unwrap();
    converge(&a, &b);
    assert!(fs::read(b.join("copy")).unwrap() == content);
    assert!(fetched(&b) - before <= SLACK_BYTES, "a copy was fetched");

    // Undone, the old version is a new one, whose chunks are in the copy.
    let since = crate::undo::moment();
    let mut edited = content.clone();
    overwrite(&b.join("renamed"), &mut edited);
    converge(&a, &b);
    let before = (fetched(&a), fetched(&b));
    a.tarn(&["undo", "--device", "b", "--since", &since]).unwrap().ok().unwrap();
    let is_back = || fs::read(b.join("renamed")).unwrap() == content;
    eventually(crate::CONVERGENCE, "the version before on the other device", is_back);
    converge(&a, &b);
    let moved = (fetched(&a) - before.0, fetched(&b) - before.1);
    assert!(moved.0 <= SLACK_BYTES && moved.1 <= SLACK_BYTES, "{moved:?} bytes fetched for a version that came back");
}

#[test]
fn an_open_reader_keeps_its_version_and_new_ones_copy_from_it() {
    let server = crate::server();
    let (a, b, content) = with_file(&server, "file");
    let reader = File::open(b.join("file")).unwrap();
    let before = fetched(&b);
    let mut edited = content.clone();
    overwrite(&a.join("file"), &mut edited);
    converge(&a, &b);
    let mut old = vec![0; SIZE];
    reader.read_exact_at(&mut old, 0).unwrap();
    assert!(old == content, "the reader's version changed");
    assert!(fs::read(b.join("file")).unwrap() == edited);
    let (moved, new) = (fetched(&b) - before, new_bytes(&content, &edited));
    assert!(moved <= new + SLACK_BYTES, "{moved} bytes fetched, {new} in new chunks");
}

#[test]
fn what_others_wrote_first_is_copied_from_the_version_beside_it() {
    let server = crate::server();
    let (a, b, content) = with_file(&server, "file");
    server.kill();
    let (mut one, mut other) = (content.clone(), content.clone());
    overwrite(&a.join("file"), &mut one);
    append(&b.join("file"), &mut other);
    let before = fetched(&b);
    b.tarn(&["unmount", &b.path().to_string_lossy(), "--now"]).unwrap().ok().unwrap();
    server.restart().unwrap();
    a.wait().unwrap();
    b.mount().unwrap();
    converge(&a, &b);
    assert!(fs::read(b.join("file")).unwrap() == one);
    let (moved, new) = (fetched(&b).saturating_sub(before), new_bytes(&content, &one));
    assert!(moved <= new + SLACK_BYTES, "{moved} bytes fetched, {new} in new chunks");
}

#[test]
fn a_kill_between_two_versions_leaves_only_right_bytes() {
    let server = crate::server();
    let (a, b, mut content) = with_file(&server, "file");
    for edit in [insert_in_front as Edit, |path, content| overwrite(path, content)] {
        edit(&a.join("file"), &mut content);
        a.wait().unwrap();
        let knows = || fs::metadata(b.join("file")).unwrap().mtime_nsec() == mtime(&a);
        eventually(Duration::from_secs(30), "the new version", knows);
        let mut part = vec![0; 1 << 20];
        File::open(b.join("file")).unwrap().read_exact_at(&mut part, 5 << 20).unwrap();
        assert!(part == content[5 << 20..6 << 20]);
        b.kill_daemon().unwrap();
        b.mount().unwrap();
        converge(&a, &b);
        assert!(fs::read(b.join("file")).unwrap() == content);
    }
}

fn mtime(device: &Device) -> i64 {
    fs::metadata(device.join("file")).unwrap().mtime_nsec()
}
