//! Looks at what is mounted, and takes mounts away without ever waiting for them.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether something is mounted exactly here. Never touches the mount.
pub fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .any(|dir| unescape(dir).as_bytes() == path.as_os_str().as_bytes())
}

/// The kernel writes blanks, tabs, line breaks and backslashes in octal.
fn unescape(dir: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(dir.to_string(), |text, (from, to)| text.replace(from, to))
}

/// Takes a mount away whose daemon was killed a moment ago: whoever waits for it gets an error, now.
pub fn unmount_by_force(path: &Path) {
    if let Ok(path) = CString::new(path.as_os_str().as_bytes()) {
        // SAFETY: the path is a NUL-terminated string that outlives the call.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_FORCE | libc::MNT_DETACH) };
    }
}

/// Takes a mount away at once, whatever state its daemon is in.
pub fn unmount_lazily(path: &Path) {
    if !is_mounted(path) {
        return;
    }
    let Ok(c_path) = CString::new(path.as_os_str().as_bytes()) else { return };
    // SAFETY: the path is a NUL-terminated string that outlives the call.
    if unsafe { libc::umount2(c_path.as_ptr(), libc::MNT_DETACH) } != 0 {
        let unmount = Command::new("fusermount3").args(["-u", "-z", "--"]).arg(path).stderr(Stdio::null()).status();
        if !unmount.is_ok_and(|status| status.success()) {
            eprintln!("cannot unmount {}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_their_exact_path() {
        assert!(is_mounted(Path::new("/proc")));
        assert!(!is_mounted(Path::new("/proc/self")));
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
    }
}
