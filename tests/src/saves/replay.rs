//! Makes the calls of a fixture in a folder. What is written where follows from the fixture alone, so two folders in which
//! the same one was replayed hold the same bytes.

use super::{Call, Flags};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes of a line of what is written.
const LINE_BYTES: u64 = 16;
/// The time that files get whose times are set: 2001-09-09.
const LONG_AGO: u64 = 1_000_000_000;

/// A program that does what a fixture says.
#[derive(Debug)]
pub struct Replayer {
    folder: PathBuf,
    handles: BTreeMap<u32, File>,
}

impl Replayer {
    /// One that works in a folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.into(), handles: BTreeMap::new() }
    }

    /// What it has open, by the fixture's numbers.
    pub fn handles(&self) -> &BTreeMap<u32, File> {
        &self.handles
    }

    /// Makes a call.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn call(&mut self, call: &Call) -> Result<()> {
        self.try_call(call).with_context(|| format!("{call:?} in {}", self.folder.display()))
    }

    fn try_call(&mut self, call: &Call) -> Result<()> {
        let at = |path: &Path| self.folder.join(path);
        match call {
            Call::File(path, bytes) => fs::write(at(path), text("old", 0, *bytes))?,
            Call::Open(handle, path, flags, mode) => {
                let file = opened(&at(path), *flags, *mode)?;
                self.handles.insert(*handle, file);
            }
            Call::Write(handle, bytes, at) => self.write(*handle, *bytes, *at)?,
            Call::SetLength(handle, bytes) => self.handle(*handle)?.set_len(*bytes)?,
            Call::Sync(handle) => self.handle(*handle)?.sync_all()?,
            Call::SetMode(handle, mode) => {
                self.handle(*handle)?.set_permissions(Permissions::from_mode(*mode))?;
            }
            Call::SetTimes(handle) => {
                let then = SystemTime::UNIX_EPOCH + Duration::from_secs(LONG_AGO);
                self.handle(*handle)?.set_times(FileTimes::new().set_accessed(then).set_modified(then))?;
            }
            Call::Close(handle) => drop(self.handles.remove(handle).context("it is not open")?),
            Call::Rename(from, to) => fs::rename(at(from), at(to))?,
            Call::Link(from, to) => fs::hard_link(at(from), at(to))?,
            Call::Symlink(target, path) => symlink(target, at(path))?,
            Call::Unlink(path) => fs::remove_file(at(path))?,
            Call::MakeDir(path, mode) => fs::DirBuilder::new().mode(*mode).create(at(path))?,
            Call::RemoveDir(path) => fs::remove_dir(at(path))?,
            Call::SetPathMode(path, mode) => fs::set_permissions(at(path), Permissions::from_mode(*mode))?,
            Call::SetPathTimes(path) => set_times(&at(path))?,
            Call::Pause => {}
        }
        Ok(())
    }

    fn handle(&self, handle: u32) -> Result<&File> {
        self.handles.get(&handle).context("it is not open")
    }

    fn write(&self, handle: u32, bytes: usize, at: Option<u64>) -> Result<()> {
        let mut file = self.handle(handle)?;
        let start = at.map_or_else(|| file.stream_position(), Ok)?;
        let text = text(&format!("h{handle}"), start, bytes);
        if at.is_some() {
            file.write_all_at(&text, start)?
        } else {
            file.write_all(&text)?
        }
        Ok(())
    }
}

/// The text that a writer puts at an offset: lines that tell the writer and their place.
fn text(writer: &str, offset: u64, bytes: usize) -> Vec<u8> {
    let (first, skipped) = (offset / LINE_BYTES, (offset % LINE_BYTES) as usize);
    let lines = (first..).flat_map(|number| format!("{writer:>5} {number:>9}\n").into_bytes());
    lines.skip(skipped).take(bytes).collect()
}

fn opened(path: &Path, flags: Flags, mode: u32) -> Result<File> {
    let Flags { reads, creates, excludes, truncates, appends } = flags;
    let mut options = OpenOptions::new();
    options.read(reads).write(!appends).append(appends).create(creates).truncate(truncates).mode(mode);
    Ok(options.create_new(excludes).open(path)?)
}

fn set_times(path: &Path) -> Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let then = libc::timespec { tv_sec: LONG_AGO as i64, tv_nsec: 0 };
    let times = [then, then];
    // SAFETY: path and times live as long as the call, which takes two times.
    let done = unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW) };
    ensure!(done == 0, "{}", std::io::Error::last_os_error());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_follows_from_writer_and_place() {
        let whole = text("h1", 0, 100);
        assert_eq!(&whole[..32], b"   h1         0\n   h1         1\n");
        assert_eq!(text("h1", 37, 20), whole[37..57]);
        assert_ne!(text("h2", 0, 100), whole);
    }
}
