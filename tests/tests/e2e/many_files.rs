//! A daemon keeps some files in memory, however many the kernel knows: nobody notices, but for the memory.

use crate::{converge, server};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::wait::eventually;

const FOLDERS: usize = 20;
const FILES: usize = 100;
/// Of one folder more.
const LARGE: usize = 3_000;
const IN_MEMORY: u64 = 300;

fn bytes_of(folder: usize, file: usize) -> String {
    format!("folder {folder}, file {file}\n")
}

fn path_of(folder: usize, file: usize) -> String {
    format!("d{folder:02}/f{file:03}")
}

fn make(root: &Path) {
    for folder in 0..FOLDERS {
        fs::create_dir(root.join(format!("d{folder:02}"))).unwrap();
        for file in 0..FILES {
            fs::write(root.join(path_of(folder, file)), bytes_of(folder, file)).unwrap();
        }
    }
    fs::create_dir(root.join("large")).unwrap();
    for file in 0..LARGE {
        File::create(root.join(format!("large/one of many {file:05}"))).unwrap();
    }
}

/// Inode number, size and permissions of everything below a folder, by its path.
fn look(root: &Path) -> BTreeMap<String, (u64, u64, u32)> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if meta.is_dir() {
                folders.push(entry.path());
            }
            let size = if meta.is_dir() { 0 } else { meta.len() };
            assert_eq!(found.insert(path, (meta.ino(), size, meta.mode())), None, "listed twice");
        }
    }
    found
}

fn inodes(device: &Device, which: &str) -> u64 {
    device.status().unwrap()["inodes"][which].as_u64().unwrap()
}

/// Memory is swept when what was done is in the database.
fn await_small(device: &Device) {
    let is_small = || inodes(device, "in_memory") <= 2 * IN_MEMORY;
    eventually(Duration::from_secs(30), "memory holds few inodes", is_small);
}

#[test]
fn few_of_many_files_are_kept_in_memory_and_nobody_notices() {
    let server = server();
    let a = Device::mounted(&server, "a").unwrap();
    make(a.path());
    a.wait().unwrap();
    let limit = IN_MEMORY.to_string();
    let b = Device::new(&server, "b").unwrap().with_mount_args(&["--files-in-memory", &limit]);
    b.mount().unwrap();
    b.wait().unwrap();

    let held = File::open(b.join(&path_of(3, 3))).unwrap();
    let before = look(b.path());
    assert_eq!(before.len(), FOLDERS * (FILES + 1) + LARGE + 1);
    await_small(&b);
    assert!(inodes(&b, "in_database") > (before.len() as u64) / 2, "the kernel knows them all");
    assert_eq!(look(b.path()), before, "the same numbers, sizes and permissions");
    for (folder, file) in (0..FOLDERS).flat_map(|folder| (0..FILES).step_by(7).map(move |file| (folder, file))) {
        assert_eq!(fs::read_to_string(b.join(&path_of(folder, file))).unwrap(), bytes_of(folder, file));
    }
    await_small(&b);

    // What others change shows, though the kernel had it cached and memory did not.
    fs::write(a.join(&path_of(1, 1)), "longer than it was before, by far\n").unwrap();
    fs::remove_file(a.join(&path_of(2, 2))).unwrap();
    fs::write(a.join(&path_of(3, 3)), "another version\n").unwrap();
    fs::set_permissions(a.join(&path_of(4, 4)), fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(a.join("d05"), a.join("d06/below")).unwrap();
    fs::hard_link(a.join(&path_of(7, 7)), a.join("large/hard link")).unwrap();
    // And what this device changes.
    fs::write(b.join(&path_of(8, 8)), "by b\n").unwrap();
    fs::rename(b.join(&path_of(9, 9)), b.join(&path_of(9, 10))).unwrap();
    converge(&a, &b);
    assert_eq!(fs::metadata(b.join(&path_of(7, 7))).unwrap().nlink(), 2);
    let mut old = String::new();
    (&held).read_to_string(&mut old).unwrap();
    assert_eq!(old, bytes_of(3, 3), "what is open keeps its version");
    await_small(&b);
}
