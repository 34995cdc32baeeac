//! Owns what the kernel's table of mounts says: which device a mount is, and when it is gone from the table though
//! programs still use it (lazy unmount).

use std::fs::{File, read_to_string};
use std::io;
use std::path::Path;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const TABLE: &str = "/proc/self/mountinfo";

/// The device ("major:minor") of the FUSE mount that stands on `mountpoint`, the topmost if there are several.
pub(super) fn device_of(mountpoint: &Path) -> Option<String> {
    device_in(&read_to_string(TABLE).ok()?, mountpoint.to_str()?)
}

/// Returns once no mount of this device is in the table. Asks the kernel to be woken, does not poll.
pub(super) async fn gone(device: &str) -> io::Result<()> {
    // SAFETY: a `File` owns its descriptor and names the same one as long as it lives.
    let table = unsafe { AsyncFd::register_with_interest(File::open(TABLE)?, Interest::PRIORITY)? };
    while is_listed(&read_to_string(TABLE)?, device) {
        table.ready(Interest::PRIORITY).await?.clear_ready();
    }
    Ok(())
}

fn device_in(table: &str, mountpoint: &str) -> Option<String> {
    let mounts = table.lines().filter_map(fields);
    let mut ours = mounts.filter(|mount| mount.is_fuse && unescaped(mount.mountpoint) == mountpoint);
    ours.next_back().map(|mount| mount.device.into())
}

fn is_listed(table: &str, device: &str) -> bool {
    table.lines().filter_map(fields).any(|mount| mount.device == device)
}

struct Mount<'t> {
    device: &'t str,
    mountpoint: &'t str,
    is_fuse: bool,
}

/// `ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAGS…] - TYPE SOURCE SUPER-OPTIONS`
fn fields(line: &str) -> Option<Mount<'_>> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(2);
    let (device, mountpoint) = (left.next()?, left.nth(1)?);
    Some(Mount { device, mountpoint, is_fuse: right.starts_with("fuse") })
}

/// The table writes blanks and backslashes as three octal digits.
fn unescaped(text: &str) -> String {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes.iter().fold(text.to_string(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        90 22 0:51 / /home/a/My\\040Tarn rw,nosuid - fuse.tarn tarn:a@host rw\n\
        91 90 0:52 / /home/a/My\\040Tarn rw,nosuid shared:4 - fuse.tarn tarn:a@host rw\n";

    #[test]
    fn the_topmost_fuse_mount_of_a_place_is_found_by_its_unescaped_path() {
        assert_eq!(device_in(SAMPLE, "/home/a/My Tarn").as_deref(), Some("0:52"));
        assert_eq!(device_in(SAMPLE, "/"), None);
    }

    #[test]
    fn a_device_is_listed_while_any_mount_of_it_is() {
        assert!(is_listed(SAMPLE, "0:51") && is_listed(SAMPLE, "0:52"));
        assert!(!is_listed(SAMPLE, "0:5"));
    }
}
