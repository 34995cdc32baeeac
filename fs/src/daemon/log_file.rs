//! Owns the daemon's log file: appended to, and renamed to `….1` when it has grown.

use crate::env::{DiskFile, Env, OpenMode};
use crate::telemetry::LogWriter;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file and the one before it stay below this, each.
const BYTES_MAX: u64 = 8 << 20;

/// Opens the log file for appending.
///
/// # Errors
/// What the file system says.
pub fn open_log(env: &Env, path: &Path) -> io::Result<LogWriter> {
    Ok(LogWriter::new(RotatingFile::open(env, path, BYTES_MAX)?))
}

struct RotatingFile {
    env: Env,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    bytes_max: u64,
}

impl RotatingFile {
    fn open(env: &Env, path: &Path, bytes_max: u64) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            env.disk.create_dir_all(dir)?;
        }
        let file = env.disk.open(path, OpenMode::Create)?;
        Ok(Self { env: env.clone(), path: path.to_owned(), file, bytes_max })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        self.env.disk.rename(&self.path, Path::new(&old))?;
        self.file = self.env.disk.open(&self.path, OpenMode::Create)?;
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A `tarn mount` that is refused writes here, too.
        let mut end = self.file.len_bytes()?;
        if end > 0 && end + bytes.len() as u64 > self.bytes_max && self.rotate().is_ok() {
            // A log that cannot be rotated goes on growing: better than losing what it says.
            end = self.file.len_bytes()?;
        }
        self.file.write_at(bytes, end)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_log_goes_on_where_it_was_and_one_old_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/daemon.log");
        let text = |name: &str| std::fs::read_to_string(path.with_file_name(name)).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            RotatingFile::open(&Env::real(), &path, 10).unwrap().write_all(line.as_bytes()).unwrap();
        }
        assert_eq!((text("daemon.log.1"), text("daemon.log")), ("three\n".into(), "four\n".into()));
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 2);
    }

    #[test]
    fn two_writers_do_not_overwrite_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let mut writers = [0, 1].map(|_| RotatingFile::open(&Env::real(), &path, 1000).unwrap());
        for line in ["one\n", "two\n", "three\n"] {
            writers.iter_mut().for_each(|writer| writer.write_all(line.as_bytes()).unwrap());
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\none\ntwo\ntwo\nthree\nthree\n");
    }
}
