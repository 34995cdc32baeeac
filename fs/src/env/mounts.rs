//! Owns the table of mounts: who is mounted where, which mounts are dead, and taking mounts away. Never
//! waits for a mount: whatever may touch one runs beside, with a deadline.

use rustix::mount::UnmountFlags;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How the kernel names the file systems of this program.
pub const FS_TYPE: &str = "fuse.tarn";
/// A mount that takes longer to answer a stat of its root is busy, not dead.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Names this mount for as long as it stands; may be used again later.
    pub id: u64,
    /// Names the connection to its daemon, if it is a FUSE mount: the file system's device number.
    pub device: u32,
    /// Where it is.
    pub mount_point: PathBuf,
    /// The file system's type.
    pub fs_type: String,
    /// What is mounted.
    pub source: String,
}

/// Whether a mount answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulse {
    /// It does.
    Alive,
    /// Its daemon is gone: everything in it fails with ENOTCONN.
    Dead,
    /// It did not answer in time.
    Silent,
}

/// The table as this process sees it.
///
/// # Errors
/// Fails without /proc.
pub fn table() -> io::Result<Vec<MountEntry>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// What is mounted exactly here (on top, if several are). `path` is absolute and has no symlinks.
///
/// # Errors
/// Fails without /proc.
pub fn mounted_at(path: &Path) -> io::Result<Option<MountEntry>> {
    Ok(table()?.into_iter().rfind(|entry| entry.mount_point == path))
}

/// Whether this path is a mount point. Never touches the mount.
///
/// # Errors
/// Fails without /proc.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    Ok(mounted_at(path)?.is_some())
}

/// Looks whether the mount at `path` answers.
pub fn pulse(path: &Path) -> Pulse {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    // The thread may stay in the kernel for as long as the daemon is silent: nobody waits for it.
    std::thread::spawn(move || sender.send(rustix::fs::statfs(&path).map(drop)));
    match receiver.recv_timeout(PROBE_TIMEOUT) {
        Ok(Err(rustix::io::Errno::NOTCONN | rustix::io::Errno::CONNABORTED)) => Pulse::Dead,
        Ok(_) => Pulse::Alive,
        Err(_) => Pulse::Silent,
    }
}

/// Takes the mount away, as `umount` does; with `lazily` even while it is in use, and never waits.
///
/// # Errors
/// `ResourceBusy` while programs use it (not `lazily`); else what the system or `fusermount3` said.
pub fn unmount(path: &Path, lazily: bool) -> io::Result<()> {
    let flags = if lazily { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match rustix::mount::unmount(path, flags | UnmountFlags::NOFOLLOW) {
        Err(rustix::io::Errno::PERM) => unmount_by_helper(path, lazily),
        other => Ok(other?),
    }
}

/// Takes a mount of this program away whose daemon is gone, if there is one at `path`. Returns whether there was.
///
/// # Errors
/// As [`unmount`].
pub fn clear_dead(path: &Path) -> io::Result<bool> {
    let is_ours = mounted_at(path)?.is_some_and(|entry| entry.fs_type == FS_TYPE);
    let is_dead = is_ours && pulse(path) == Pulse::Dead;
    if is_dead {
        clear(path)?;
    }
    Ok(is_dead)
}

/// Takes a mount away whose daemon is gone, whatever it is of.
///
/// # Errors
/// As [`unmount`].
pub fn clear(path: &Path) -> io::Result<()> {
    tracing::info!(path = %path.display(), "a dead mount point is cleaned up");
    unmount(path, true)
}

/// Ends the connection of a FUSE mount: every call that waits in it fails, and its daemon, should there be one, cannot answer
/// any more. The way out when a daemon was killed and a thread of it waits in the kernel for an answer that it owed itself:
/// the process then never ends, and nobody else would ever be told.
///
/// # Errors
/// What the system says; not being allowed to, above all.
pub fn abort(entry: &MountEntry) -> io::Result<()> {
    let control = format!("/sys/fs/fuse/connections/{}/abort", entry.device);
    #[expect(clippy::disallowed_methods, reason = "a switch of the kernel's, not a file")]
    match std::fs::write(control, "1") {
        // Not everywhere is the kernel's folder of connections mounted. This ends the connection first, and
        // may then find that the mount is in use.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            match rustix::mount::unmount(&entry.mount_point, UnmountFlags::FORCE | UnmountFlags::NOFOLLOW) {
                Err(rustix::io::Errno::BUSY) | Ok(()) => Ok(()),
                Err(e) => Err(e.into()),
            }
        }
        other => other,
    }
}

fn unmount_by_helper(path: &Path, lazily: bool) -> io::Result<()> {
    let lazy: &[&str] = if lazily { &["-z"] } else { &[] };
    let mut command = Command::new("fusermount3");
    command.arg("-u").args(lazy).arg("--").arg(path).stdin(Stdio::null()).env("LC_ALL", "C");
    let output = command.output().map_err(|e| io::Error::new(e.kind(), format!("fusermount3: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let kind = if said.contains("busy") { io::ErrorKind::ResourceBusy } else { io::ErrorKind::Other };
    Err(io::Error::new(kind, said))
}

fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw`; the fields before the dash vary.
fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let (_, minor) = std::str::from_utf8(fields.nth(1)?).ok()?.split_once(':')?;
    let device = minor.parse().ok()?;
    let mount_point = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    fields.find(|field| *field == b"-")?;
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    let fs_type = text(fields.next()?);
    Some(MountEntry { id, device, mount_point, fs_type, source: text(fields.next()?) })
}

/// The kernel writes blanks, tabs, line breaks and backslashes as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.get(..3).filter(|_| first == b'\\').and_then(octal);
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    bytes
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_read_with_octal_escapes_and_optional_fields() {
        let text = b"36 30 0:35 / /mnt/a\\040b\\134c\\011 rw master:1 shared:7 - fuse.tarn host:alice rw\n\
                     37 35 0:3 / /plain rw - tmpfs none rw\nnonsense\n";
        let entries = parse(text);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].mount_point, Path::new("/mnt/a b\\c\t"));
        assert_eq!((entries[0].id, entries[0].device, entries[0].fs_type.as_str()), (36, 35, FS_TYPE));
        assert_eq!(entries[0].source, "host:alice");
        assert_eq!(entries[1].mount_point, Path::new("/plain"));
    }

    #[test]
    fn a_backslash_without_octal_digits_stays() {
        assert_eq!(unescape(b"a\\9x\\04"), b"a\\9x\\04");
        assert_eq!(unescape(b"\\777"), b"\\777");
    }

    #[test]
    fn the_system_says_what_is_mounted() {
        assert!(is_mount_point(Path::new("/proc")).unwrap());
        assert!(!is_mount_point(Path::new("/proc/self")).unwrap());
        assert_eq!(pulse(Path::new("/proc")), Pulse::Alive);
    }

    #[test]
    fn what_is_alive_is_not_cleared() {
        assert!(!clear_dead(Path::new("/proc")).unwrap());
        assert!(!clear_dead(Path::new("/nowhere")).unwrap());
    }

    #[test]
    fn what_is_not_mounted_cannot_be_unmounted() {
        let dir = tempfile::tempdir().unwrap();
        assert!(unmount(dir.path(), true).is_err());
    }
}
