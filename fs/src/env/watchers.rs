//! Owns the answer to "which inodes does anybody watch?", as far as this process may see: of the processes of its own user,
//! or of all if it is root's. The kernel lists in `/proc/PID/fdinfo` what each descriptor of inotify and fanotify watches.

use std::collections::HashSet;
use std::fs::{read_dir, read_link, read_to_string};

/// What is watched of one mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Everything: somebody has marked the mount or its file system.
    all: bool,
    inodes: HashSet<u64>,
}

impl Watched {
    /// Whether somebody watches this inode.
    pub fn contains(&self, inode: u64) -> bool {
        self.all || self.inodes.contains(&inode)
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        !self.all && self.inodes.is_empty()
    }

    /// Adds what one descriptor watches, by its `fdinfo`.
    fn add(&mut self, info: &str, mount_id: u64, device: u32) {
        for line in info.lines() {
            let mut words = line.split_ascii_whitespace();
            if !matches!(words.next(), Some("inotify" | "fanotify")) {
                continue;
            }
            let fields: Vec<(&str, &str)> = words.filter_map(|word| word.split_once(':')).collect();
            let field = |name: &str| fields.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
            let hex = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
            match (hex("sdev"), hex("ino")) {
                // A device number of the kernel's own kind: a file system without a disk has major 0.
                (Some(found), Some(inode)) if found == u64::from(device) => drop(self.inodes.insert(inode)),
                (Some(found), None) if field("ino").is_none() => self.all |= found == u64::from(device),
                _ => self.all |= hex("mnt_id") == Some(mount_id),
            }
        }
    }
}

/// What is watched of the mount with this id and device number, by anybody whom this process can see.
pub fn watched(mount_id: u64, device: u32) -> Watched {
    let mut watched = Watched::default();
    let Ok(processes) = read_dir("/proc") else { return watched };
    let is_pid = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    for process in processes.flatten().filter(|entry| is_pid(&entry.file_name())) {
        // Others' processes do not show their descriptors, and one that ends has none.
        let Ok(descriptors) = read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let Ok(target) = read_link(descriptor.path()) else { continue };
            let target = target.as_os_str().as_encoded_bytes();
            if !matches!(target, b"anon_inode:inotify" | b"anon_inode:[fanotify]") {
                continue;
            }
            let info = process.path().join("fdinfo").join(descriptor.file_name());
            if let Ok(info) = read_to_string(info) {
                watched.add(&info, mount_id, device);
            }
        }
    }
    watched
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustix::fs::inotify;
    use std::os::unix::fs::MetadataExt;

    fn of(info: &str) -> Watched {
        let mut watched = Watched::default();
        watched.add(info, 36, 0x2f);
        watched
    }

    #[test]
    fn marks_of_inodes_count_for_their_own_device() {
        let info = "pos:\t0\nflags:\t00\nmnt_id:\t15\nino:\t1057\ninotify wd:3 ino:9e7e sdev:2f mask:800afce ignored_mask:0 \
                    fhandle-bytes:8 fhandle-type:1 f_handle:7e9e0000640d1b6d\ninotify wd:2 ino:a sdev:800013 mask:2\n";
        let watched = of(info);
        assert!(watched.contains(0x9e7e) && !watched.contains(0xa) && !watched.is_empty());
        assert!(of("fanotify ino:5 sdev:2f mflags:0 mask:3b ignored_mask:0\n").contains(5));
        assert!(of("pos:\t0\nino:\t5\n").is_empty() && of("inotify wd:1 ino:zz sdev:2f\n").is_empty());
    }

    #[test]
    fn a_mark_of_the_mount_or_the_file_system_is_of_everything() {
        assert!(of("fanotify sdev:2f mflags:0 mask:8\n").contains(77));
        assert!(of("fanotify mnt_id:24 mflags:0 mask:8\n").contains(77));
        assert!(of("fanotify mnt_id:36 mflags:0 mask:8\nfanotify sdev:2e mflags:0 mask:8\n").is_empty());
    }

    #[test]
    fn what_this_process_watches_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let inode = folder.path().metadata().unwrap();
        let (major, minor) = (rustix::fs::major(inode.dev()), rustix::fs::minor(inode.dev()));
        let device = major << 20 | minor;
        let before = watched(0, device).contains(inode.ino());
        let notifier = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&notifier, folder.path(), inotify::WatchFlags::CREATE).unwrap();
        assert!(!before && watched(0, device).contains(inode.ino()));
    }
}
